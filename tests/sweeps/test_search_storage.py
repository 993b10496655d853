"""What is said of a storage, whose a search in it is, and that it is made whole."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
from pathlib import Path

import pytest

from data_prep.unfinished import partial_of
from sweeps.search import read_trials
from sweeps.search_spec import Objective, Search
from sweeps.search_storage import OtherSearch, SearchHeld, StorageUnavailable, default_storage
from tests.sweeps.records.stores import another_process, hear
from tests.sweeps.toy_search import FEW, NAME, ledger, toy


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (toy(seed=1), "seed"),
        (toy(lag=5), "lag"),
        (toy(seeds=3), "seeds"),
        (toy(space=FEW), "space"),
        (toy(objectives=(Objective(metric="train/loss", direction="minimize"),)), "objectives"),
    ],
)
def test_a_storage_that_belongs_to_another_search_is_refused(storage: str, other: Search, what: str) -> None:
    with ledger(storage, trials=0):
        pass
    with pytest.raises(OtherSearch, match=rf"toy in mini: .* another search under this name \(other {what}\); "):
        ledger(storage, other).__enter__()
    with ledger(storage, other, name="other in mini", trials=0):
        pass


def test_other_puzzles_make_another_search(storage: str) -> None:
    with ledger(storage, trials=0, data="a"):
        pass
    with pytest.raises(OtherSearch, match=r"\(other data\)"):
        ledger(storage, data="b").__enter__()


def test_a_study_that_another_program_has_made_is_refused(storage: str) -> None:
    import optuna

    optuna.create_study(study_name=NAME, storage=storage, direction="maximize").add_trial(
        optuna.trial.create_trial(value=0.5)
    )
    with pytest.raises(OtherSearch, match="was made by another program"):
        ledger(storage).__enter__()


def test_two_drivers_of_one_search_refuse_each_other_and_those_of_two_do_not(
    storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys; from tests.sweeps.toy_search import ledger\n"
        "with ledger(sys.argv[1]): print('held', flush=True); input()\n"
    )
    monkeypatch.setattr("sweeps.search_storage.ENDS_WITHIN_S", 0)
    holder = another_process(code, storage)
    assert hear(holder) == "held"
    with pytest.raises(SearchHeld, match=f"toy in mini: process {holder.pid} on .* makes this search"):
        ledger(storage).__enter__()
    with ledger(storage, name="another"):
        pass
    holder.kill()
    holder.communicate()
    with ledger(storage):  # whatever ends its holder lets go of it
        pass


def test_a_storage_that_is_none_is_one_line_and_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.search_storage.ANSWERS_WITHIN_S", 1)
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.db").write_text("no database, but long enough to be looked at\n" * 40)
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE experiments (a INTEGER)")
    database.close()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        for url, said in {
            f"sqlite:///{tmp_path}/folder": "is a folder; give a file in it",
            f"sqlite:///{tmp_path}/nowhere/optuna.db": f"no folder {tmp_path}/nowhere",
            f"sqlite:///{tmp_path}/text.db": "the file is damaged, or no storage of Optuna's (file is not",
            f"sqlite:///{tmp_path}/mlflow.db": "no storage of Optuna's (it has a table 'experiments'",
            "sqlite://": "no path (expected sqlite:///file",
            "optuna.db": "no storage address (expected sqlite:/// or postgresql://)",
            "mysql://a:secret@host/b": "mysql://…@host/b: no storage address",
            f"postgresql://a:secret@127.0.0.1:{port}/b": f"postgresql://…@127.0.0.1:{port}/b: nothing answers",
        }.items():
            for attempt in (lambda url=url: ledger(url).__enter__(), lambda url=url: read_trials(NAME, url)):
                with pytest.raises(StorageUnavailable) as error:
                    attempt()
                assert said in str(error.value)
                assert "\n" not in str(error.value)
                assert "secret" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "mlflow.db", "text.db"]
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("experiments",)]
    database.close()


def test_a_storage_in_which_bytes_have_changed_is_one_line(storage: str, tmp_path: Path) -> None:
    path = tmp_path / "optuna.db"
    path.write_bytes(path.read_bytes().replace(b"studies", b"stu\xc4ies"))
    with pytest.raises(StorageUnavailable, match="Optuna's storage could not be opened") as error:
        ledger(storage).__enter__()
    assert "\n" not in str(error.value)


def test_a_storage_that_another_has_locked_and_keeps_is_one_line(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.search_storage.ANSWERS_WITHIN_S", 0.2)
    with sqlite3.connect(tmp_path / "optuna.db") as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="cannot be written .database is locked"):
            ledger(storage).__enter__()
    other.close()


def test_reading_a_search_that_is_not_there_makes_nothing(storage: str, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="no such file, so no search has been kept there"):
        read_trials(NAME, f"sqlite:///{tmp_path}/missing.db")
    assert not (tmp_path / "missing.db").exists()
    with pytest.raises(OtherSearch, match="toy in mini: no such search in .*; it is empty"):
        read_trials(NAME, storage)
    with ledger(storage, name="another", trials=0):
        pass
    with pytest.raises(OtherSearch, match="no such search in .*; there are another"):
        read_trials(NAME, storage)


def test_a_storage_is_made_whole_also_where_an_earlier_try_was_killed_or_left_an_empty_file(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    partial_of(tmp_path / "optuna.db", ended.pid).write_bytes(b"torn")
    (tmp_path / "optuna.db").touch()
    with ledger(f"sqlite:///{tmp_path / 'optuna.db'}", trials=0):
        pass
    assert not list(tmp_path.glob(".optuna.db.partial-*"))
    assert read_trials(NAME, f"sqlite:///{tmp_path / 'optuna.db'}") == ()


def test_a_folder_with_braces_in_its_name_holds_a_storage(tmp_path: Path, empty: Path) -> None:
    (tmp_path / "{x} 100%").mkdir()
    shutil.copy(empty, tmp_path / "{x} 100%" / "optuna.db")
    with ledger(f"sqlite:///{tmp_path}/{{x}} 100%/optuna.db", trials=0):
        pass


def test_the_storage_lies_beside_mlflows_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////somewhere/mlflow.db")
    assert default_storage() == "sqlite:////somewhere/optuna.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert default_storage() == "sqlite:///optuna.db"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert default_storage() == "sqlite:///optuna.db"
