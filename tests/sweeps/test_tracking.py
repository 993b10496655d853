from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sweeps.tracking import (
    Measurement,
    Tracker,
    TrackingUnavailable,
    launch_is_dead,
    read_curve,
    read_runs,
)

from sweeps import tracking
from tests.conftest import job
from trm_core.config import RunConfig

ROOT = Path(__file__).parents[2]


def rows(*steps: int, loss: float = 1.0) -> list[Measurement]:
    return [Measurement(step, 1_700_000_000_000 + step, {"train/loss": loss / step}) for step in steps]


# --- the address -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("./mlruns", "no MLflow address"),
        ("ftp://host/x", "no MLflow address"),
        ("sqlite://", "no path"),
        ("sqlite:////no/such/folder/mlflow.db", "cannot write"),
        ("http://127.0.0.1:9", "nothing answers"),
        ("postgresql://me:secret@127.0.0.1:9/mlflow", "nothing answers"),
    ],
)
def test_an_address_that_is_none_is_said_in_one_line_at_once(
    address: str, found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    began = time.monotonic()
    with pytest.raises(TrackingUnavailable) as error:
        Tracker.open("a_study", "mini", out=tmp_path)
    assert found in str(error.value)
    assert "MLFLOW_TRACKING_URI" in str(error.value)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("scheme", ["postgresql+no_such_driver", "mysql+cymysql"])
def test_a_database_without_its_driver_is_said_in_one_line(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as database:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://me:secret@127.0.0.1:{database.getsockname()[1]}/mlflow")
        with pytest.raises(TrackingUnavailable) as error:
            Tracker.open("a_study", "mini", out=tmp_path)
    assert scheme.partition("+")[2] in str(error.value)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 100)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    with pytest.raises(TrackingUnavailable, match="not a database"):
        read_runs("a_study", "mini")


def test_where_there_is_no_file_there_are_no_runs_and_reading_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert read_runs("a_study", "mini") == []
    assert list(tmp_path.iterdir()) == []


def test_two_first_commands_at_once_in_a_folder_both_find_their_store(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from sweeps.tracking import Tracker\n"
        "print('ready', flush=True); input()\n"
        "with Tracker.open('a_study', 'mini', out=Path('results')): pass\n"
    )
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for command in commands:
        assert command.stdout is not None
        assert command.stdout.readline() == "ready\n"
    for command in commands:  # both begin before either ends
        assert command.stdin is not None
        command.stdin.write("\n")
        command.stdin.flush()
    ends = [(command.communicate(timeout=120)[1], command.returncode) for command in commands]
    assert [code for _, code in ends] == [0, 0], ends
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "results"}


# --- one child per key -----------------------------------------------------------------------------------------------


def test_a_finished_run_is_read_as_it_was_written(mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig) -> None:
    done = job(tiny_run, seed=3, data="hash")
    with Tracker.open("a_study", "mini", out=tmp_path) as tracker:
        tracker.child(done, "hash")
        tracker.tag(done.key, {"device": "cpu"})
        tracker.log(done.key, rows(2, 4))
        tracker.log(done.key, [Measurement(4, 1_700_000_000_004, {"test/exact_accuracy": 0.5})])
        tracker.finish(done.key, "FINISHED")
        assert tracker.close("FINISHED") == []
    (record,) = read_runs("a_study", "mini")
    assert (record.key, record.row, record.base, record.seed) == (done.key, "TRM k=1, T=1", "trm", 3)
    assert record.status == "FINISHED"
    assert record.ended is not None
    assert record.metrics == {"train/loss": 0.25, "test/exact_accuracy": 0.5}
    assert record.params["model.D"] == "16"
    assert record.params["optim.ema"] == "0.999"
    assert record.params["depth"] == str(tiny_run.model.depth)
    assert {"commit", "dirty", "data", "device", "version.torch", "version.ray", "version.python"} <= record.tags.keys()
    assert read_curve(record.run_id, "train/loss") == [(2, 0.5), (4, 0.25)]
    assert read_runs("a_study", "paper") == []


def test_a_launch_that_was_killed_leaves_a_child_that_the_next_picks_up_and_does_not_double(
    mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from sweeps.tracking import Tracker\n"
        "from tests.conftest import job, TINY; from tests.sweeps.test_tracking import rows\n"
        "from trm_core.config import RunConfig\n"
        "tracker = Tracker.open('a_study', 'mini', out=Path(sys.argv[1]))\n"
        "a, b = job(RunConfig.parse(TINY)), job(RunConfig.parse(TINY), seed=1)\n"
        "for each in (a, b): tracker.child(each, 'hash'); tracker.log(each.key, rows(2, 4, 6))\n"
        "while not tracker._send(): pass\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    assert [run.status for run in read_runs("a_study", "mini")] == ["RUNNING", "RUNNING"]

    again = job(tiny_run)
    with Tracker.open("a_study", "mini", out=tmp_path) as tracker:
        assert [run.status for run in read_runs("a_study", "mini")] == ["KILLED", "KILLED"]
        tracker.child(again, "hash")
        tracker.log(again.key, rows(2, 4, 6, 8, loss=2.0))  # the first three are there already
        tracker.finish(again.key, "FINISHED")
        assert tracker.close("FINISHED") == []
    runs = {run.seed: run for run in read_runs("a_study", "mini")}
    assert {seed: run.status for seed, run in runs.items()} == {0: "FINISHED", 1: "KILLED"}
    assert runs[0].tags["mlflow.parentRunId"] == tracker.parent_id
    assert points(mlflow_here, runs[0].run_id) == [(2, 0.5), (4, 0.25), (6, 1 / 6), (8, 0.25)]
    assert statuses(mlflow_here) == ["FINISHED", "FINISHED", "KILLED", "KILLED"]  # two launches, two children


def test_a_launch_that_lives_is_left_alone(mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig) -> None:
    with Tracker.open("a_study", "mini", out=tmp_path) as living:
        living.child(job(tiny_run), "hash")
        while not living._send():
            pass
        with Tracker.open("a_study", "mini", out=tmp_path):
            assert [run.status for run in read_runs("a_study", "mini")] == ["RUNNING"]
        living.close("FINISHED")


def test_whether_a_launch_is_dead_is_known_from_its_lock_or_else_its_process_here_or_else_not() -> None:
    here = socket.gethostname()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert launch_is_dead(None, here, str(gone.pid))
    assert launch_is_dead("/no/such/lock", here, str(gone.pid))
    assert not launch_is_dead(None, here, str(os.getpid()))
    assert not launch_is_dead(None, "another-host", str(gone.pid))


def test_whatever_ends_the_command_no_run_is_left_running(
    mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    def command() -> None:
        with Tracker.open("a_study", "mini", out=tmp_path) as tracker:
            tracker.child(job(tiny_run), "hash")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()
    assert statuses(mlflow_here) == ["FAILED", "KILLED"]
    assert list((tmp_path / "launches").iterdir()) == []


def test_a_run_that_two_studies_need_stands_in_the_second_with_its_metrics_and_the_name_of_the_first(
    mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    first, second = job(tiny_run), job(tiny_run, study="another_study", row="TRM")
    with Tracker.open("a_study", "mini", out=tmp_path) as tracker:
        tracker.child(first, "hash")
        tracker.log(first.key, rows(2, 4))
        tracker.finish(first.key, "FINISHED")
        tracker.close("FINISHED")
    (origin,) = read_runs("a_study", "mini")
    with Tracker.open("another_study", "mini", out=tmp_path) as tracker:
        found = tracker.elsewhere([second.key, "0" * 16])
        assert found == {second.key: origin}
        tracker.reuse(second, "hash", origin, tags={"leaks": "0934a4d8"})
        tracker.close("FINISHED")
    (reused,) = read_runs("another_study", "mini")
    assert (reused.status, reused.row, reused.tags["reused_from"]) == ("FINISHED", "TRM", origin.run_id)
    assert reused.tags["leaks"] == "0934a4d8"
    assert reused.metrics == origin.metrics
    assert read_curve(reused.run_id, "train/loss") == [(2, 0.5), (4, 0.25)]


def test_more_runs_than_fit_on_a_page_are_all_read(
    mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "PAGE", 2)
    with Tracker.open("a_study", "mini", out=tmp_path) as tracker:
        for seed in range(5):
            tracker.child(job(tiny_run, seed), "hash")
        tracker.close("FINISHED")
    assert sorted(run.seed for run in read_runs("a_study", "mini")) == [0, 1, 2, 3, 4]


def test_a_loss_that_is_no_number_is_tagged_and_said_once_and_the_rest_is_kept(
    mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    said: list[str] = []
    odd = job(tiny_run)
    with Tracker.open("a_study", "mini", out=tmp_path, say=said.append) as tracker:
        tracker.child(odd, "hash")
        for _ in range(2):
            tracker.log(odd.key, [Measurement(2, 0, {"train/loss": float("nan"), "train/lr": 0.1})])
        tracker.close("FINISHED")
    (record,) = read_runs("a_study", "mini")
    assert record.tags["non_finite"] == "train/loss at step 2"
    assert record.metrics == {"train/lr": 0.1}
    assert len(said) == 1
    assert "nan at step 2" in said[0]


def test_the_report_lies_with_the_launch(mlflow_here: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.mkdir()
    (report / "table.md").write_text("| a |")
    with Tracker.open("a_study", "mini", out=tmp_path) as tracker:
        assert tracker.close("FINISHED", report) == []
    assert [path.read_text() for path in (tmp_path / "mlruns").rglob("table.md")] == ["| a |"]


def test_a_report_that_cannot_be_stored_is_said_and_the_launch_ends_all_the_same(
    mlflow_here: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    report.mkdir()
    (report / "table.md").write_text("| a |")
    (tmp_path / "mlruns").write_text("a file where the artefacts' folder should be")
    with Tracker.open("a_study", "mini", out=tmp_path) as tracker:
        (problem,) = tracker.close("FINISHED", report)
    assert f"{report} was not stored" in problem
    assert "\n" not in problem
    assert statuses(mlflow_here) == ["FINISHED"]


# --- an outage -------------------------------------------------------------------------------------------------------


class Server:
    """A real MLflow server on loopback, over a SQLite file."""

    def __init__(self, store: Path, folder: Path) -> None:
        self.store, self.folder = store, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.store}", "--artifacts-destination", str(self.folder)]
        quiet = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with (self.folder / "server.log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=quiet, start_new_session=True)
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def server(empty_mlflow: Path, mlflow_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(mlflow_here, tmp_path)
    server.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.address)
    yield server
    server.kill()


@pytest.mark.slow
def test_a_server_that_dies_in_mid_study_and_comes_back_has_every_point_once_and_one_that_stays_away_is_said(
    server: Server, tmp_path: Path, tiny_run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "RETRY_AFTER_S", 0.2)
    said: list[str] = []
    before, during = job(tiny_run), job(tiny_run, seed=1)
    with Tracker.open("a_study", "mini", out=tmp_path, say=said.append) as tracker:
        tracker.child(before, "hash")
        tracker.log(before.key, rows(2, 4))
        while not tracker._send():
            pass
        server.kill()
        began = time.monotonic()
        tracker.log(before.key, rows(6, 8))
        tracker.finish(before.key, "FINISHED")
        tracker.child(during, "hash")
        tracker.log(during.key, rows(2))
        assert time.monotonic() - began < 0.5  # training does not wait
        while not said:
            time.sleep(0.05)
        server.start()
        tracker.log(during.key, rows(4))
        tracker.finish(during.key, "FINISHED")
        while not tracker._send():
            time.sleep(0.1)
        runs = {run.seed: run for run in read_runs("a_study", "mini")}
        assert {run.status for run in runs.values()} == {"FINISHED"}
        assert points(server.store, runs[0].run_id) == [(2, 0.5), (4, 0.25), (6, 1 / 6), (8, 0.125)]
        assert points(server.store, runs[1].run_id) == [(2, 0.5), (4, 0.25)]
        assert ["does not answer" in text for text in said] == [True, False]
        server.kill()
        tracker.log(during.key, rows(6))
        problems = tracker.close("FINISHED", patience_s=0.5)
    assert during.key in problems[0]
    assert "1 rows" in problems[0]
    assert "metrics.jsonl" in problems[0]
    server.start()
    assert {run.status for run in read_runs("a_study", "mini")} == {"FINISHED"}


def points(store: Path, run_id: str) -> list[tuple[int, float]]:
    """All points of train/loss as they lie in the database, doubles and all."""
    found = query(store, f"SELECT step, value FROM metrics WHERE run_uuid = '{run_id}' AND key = 'train/loss'")
    return sorted((int(step), float(value)) for step, value in found)


def statuses(store: Path) -> list[str]:
    return sorted(str(status) for (status,) in query(store, "SELECT status FROM runs"))


def query(store: Path, text: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(store)) as database:
        return list(database.execute(text))
