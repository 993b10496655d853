from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sweeps.records import address
from sweeps.records.address import NOTE, Store, StoreGone, TrackingUnavailable, explained, locate, looked, note
from sweeps.records.read import read_runs
from sweeps.records.write import Tracker
from tests.conftest import campaign
from tests.sweeps.records.stores import another_process, ended, hear, tell


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("./mlruns", "no MLflow address"),
        ("ftp://host/x", "no MLflow address"),
        ("sqlite://", "no path"),
        ("sqlite:////no/such/folder/mlflow.db", "cannot write"),
        ("http://127.0.0.1:9", "nothing answers"),
        ("postgresql://me:secret@127.0.0.1:9/mlflow", "nothing answers"),
    ],
)
def test_an_address_that_is_none_is_said_in_one_line(uri: str, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(TrackingUnavailable) as error:
        Tracker.open(campaign())
    assert found in str(error.value)
    assert "MLFLOW_TRACKING_URI" in str(error.value)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("scheme", ["postgresql+no_such_driver", "mysql+cymysql"])
def test_a_database_without_its_driver_is_said_in_one_line(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as database:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://me:secret@127.0.0.1:{database.getsockname()[1]}/mlflow")
        with pytest.raises(TrackingUnavailable) as error:
            Tracker.open(campaign())
    assert scheme.partition("+")[2] in str(error.value)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    with pytest.raises(TrackingUnavailable, match="is damaged, or no MLflow store .file is not a database"):
        read_runs("a_study", "mini")


@pytest.mark.parametrize("rest", [50, 1000, -4096])  # the shortest is refused by MLflow alone: SQLite sees no page yet
def test_a_store_that_was_cut_short_is_called_damaged_and_its_folder_is_not(mlflow_here: Path, rest: int) -> None:
    mlflow_here.write_bytes(mlflow_here.read_bytes()[:rest])
    with pytest.raises(
        TrackingUnavailable, match="is damaged, .*malformed.; put a copy of it back, or move it"
    ) as error:
        read_runs("a_study", "mini")
    assert "folder;" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_damaged_store_that_is_moved_away_is_made_anew(mlflow_here: Path) -> None:
    mlflow_here.write_bytes(mlflow_here.read_bytes()[:1000])
    with pytest.raises(TrackingUnavailable, match="the study's command then records in a new one"):
        Tracker.open(campaign())
    mlflow_here.rename(mlflow_here.with_suffix(".damaged"))
    with Tracker.open(campaign()):
        assert mlflow_here.exists()


def test_a_file_in_which_bytes_have_changed_is_one_line(mlflow_here: Path) -> None:
    mlflow_here.write_bytes(mlflow_here.read_bytes().replace(b"experiments", b"exper\xc4ments"))
    with pytest.raises(TrackingUnavailable, match="MLflow could not look for experiments .*; see that it is") as error:
        read_runs("a_study", "mini")
    assert "\n" not in str(error.value)


def test_a_file_that_another_process_keeps_locked_is_said_in_one_line_with_what_to_do(
    mlflow_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.records.address.LOCKED_FOR_S", 0.1)
    with closing(sqlite3.connect(mlflow_here)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingUnavailable, match="another process keeps it locked; see which") as error:
            read_runs("a_study", "mini")
    assert "\n" not in str(error.value)
    with pytest.raises(TrackingUnavailable, match="another process keeps it locked"), explained("create a run"):
        raise OSError("(sqlite3.OperationalError) database is locked [SQL: INSERT …]")
    assert read_runs("a_study", "mini") == []


READ_ONLY_STORE = """
import sqlite3
from functools import partial
from sweeps.records.address import *
from sweeps.records.write import Tracker
from tests.conftest import campaign

def for_reading(usual, path, **options):
    return usual(f"file:{path}?mode=ro", **{**options, "uri": True})

for module in (sqlite3, sqlite3.dbapi2):
    module.connect = partial(for_reading, module.connect)
try: Tracker.open(campaign())
except TrackingUnavailable as error: print(error)
"""


def test_a_store_that_can_only_be_read_is_one_line_without_mlflows_own_words_and_is_read(mlflow_here: Path) -> None:
    """As on a file system that is mounted so, where SQLite begins to write and is refused."""
    process = another_process(READ_ONLY_STORE)
    said, errors = process.communicate()
    (line,) = said.splitlines()
    assert f"cannot write {mlflow_here} (it can only be read); expected a file in an existing, writable folder" in line
    assert errors == ""


def test_a_store_that_cannot_be_made_whole_leaves_no_file_and_one_line(tmp_path: Path) -> None:
    asked = (
        "import resource, sys; from sweeps.records.address import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))\n"  # as on a disk that is full by then
        "try: connect('sqlite:///mlflow.db')\nexcept TrackingUnavailable as error: print(error)"
    )
    root = str(Path(__file__).resolve().parents[3])
    answer = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(answer.stdout.splitlines()) == 1, answer.stderr
    assert not (tmp_path / "mlflow.db").exists()


def test_where_there_is_no_file_there_are_no_runs_and_reading_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert read_runs("a_study", "mini") == []
    assert list(tmp_path.iterdir()) == []


def test_two_first_commands_at_once_in_a_folder_both_find_their_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    program = (
        "from sweeps.records.write import Tracker; from tests.conftest import campaign\n"
        "print('ready', flush=True); input()\n"
        "with Tracker.open(campaign()): pass\n"
    )
    commands = [another_process(program, folder=tmp_path) for _ in range(2)]
    assert [hear(command) for command in commands] == ["ready", "ready"]
    for command in commands:  # both begin before either ends
        tell(command)
    for command in commands:
        ended(command)
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlruns"}


# --- found again from another folder ---------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A results folder that knows its store; one stands in another folder, with no address given."""
    out, here = tmp_path / "first" / "results", tmp_path / "second"
    out.mkdir(parents=True)
    here.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{empty_mlflow}")
    note(out)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    monkeypatch.chdir(here)
    return out


def test_a_results_folder_knows_where_its_runs_are(elsewhere: Path, empty_mlflow: Path) -> None:
    assert str(empty_mlflow) in locate(elsewhere)
    assert address.address() == f"sqlite:///{empty_mlflow}"
    assert str(empty_mlflow) in looked(elsewhere)


def test_an_mlflow_of_this_folder_comes_before_the_one_that_the_results_name(elsewhere: Path) -> None:
    Path("mlflow.db").touch()
    assert locate(elsewhere) == ""
    assert address.address() == "sqlite:///mlflow.db"


def test_an_address_that_was_given_comes_before_all(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert locate(elsewhere) == ""
    assert address.address() == "http://server:5000"


@pytest.mark.parametrize(
    "torn", ["", "{", "[]", "7", '{"sqlite": 7}', '{"sqlite": "/dev/null"}', '{"sqlite": "\\u0000"}']
)
def test_a_note_that_is_none_is_passed_over(elsewhere: Path, torn: str) -> None:
    (elsewhere / NOTE).write_text(torn)
    assert locate(elsewhere) == ""
    assert "which is not there" in looked(elsewhere)


def test_a_note_is_written_anew_in_the_place_of_whatever_lay_there(
    elsewhere: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (elsewhere / NOTE).read_bytes()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{empty_mlflow}")
    for torn in (b"", b"\x93NUMPY\x87", whole[:-2], whole.replace(b"sqlite", b"\xff")):
        (elsewhere / NOTE).write_bytes(torn)
        note(elsewhere)
        assert (elsewhere / NOTE).read_bytes() == whole


def test_a_note_names_no_file_but_a_database_and_that_is_only_read(elsewhere: Path, tmp_path: Path) -> None:
    mine = tmp_path / "thesis.tex"
    mine.write_text("precious")
    (elsewhere / NOTE).write_text(json.dumps({"sqlite": str(mine)}))
    assert locate(elsewhere) == ""
    assert mine.read_text() == "precious"


def test_a_server_is_not_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@server:5000")
    note(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_gone_once_it_was_deleted_or_another_lies_in_its_place_and_back_when_it_is(tmp_path: Path) -> None:
    path, aside = tmp_path / "mlflow.db", tmp_path / "aside.db"
    path.write_bytes(b"records")
    store = Store(f"sqlite:///{path}")
    path.write_bytes(b"more records")
    store.refuse_if_gone()
    path.rename(aside)
    with pytest.raises(StoreGone, match=r"mlflow\.db: the file was deleted or replaced"):
        store.refuse_if_gone()
    path.write_bytes(b"records")
    with pytest.raises(StoreGone):
        store.refuse_if_gone()
    aside.replace(path)
    store.refuse_if_gone()


def test_of_a_server_no_file_is_asked() -> None:
    Store("http://127.0.0.1:9").refuse_if_gone()
