"""What the tests of records share: measurements, a look into the database itself, other processes, a server."""

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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sweeps.campaign import Campaign, Job
from sweeps.records.types import Measurement
from sweeps.records.write import Tracker

ROOT = Path(__file__).parents[3]
OURS = (  # children that stand for no other's run
    "SELECT t.value, r.run_uuid, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'key'"
    " WHERE r.lifecycle_stage = 'active' AND NOT EXISTS"
    " (SELECT 1 FROM tags o WHERE o.run_uuid = r.run_uuid AND o.key = 'reused_from')"
)

ENDS = "SELECT run_uuid, status, end_time FROM runs ORDER BY 1"  # of all runs, the campaigns' and the rows' among them


def rows(*steps: int, loss: float = 1.0) -> list[Measurement]:
    return [Measurement(step, 1_700_000_000_000 + step, {"train/loss": loss / step}) for step in steps]


def final(step: int, accuracy: float) -> list[Measurement]:
    return [Measurement(step, 1_700_000_000_000 + step, {"test/exact_accuracy": accuracy})]


def only(of: Campaign) -> Job:
    """A campaign's one run."""
    (job,) = of.jobs()
    return job


def finish(tracker: Tracker, job: Job, accuracy: float = 0.9) -> None:
    """Train a run, as far as the records are concerned."""
    assert tracker.begin(job, "hash").what == "ours"
    tracker.log(job.key, [*rows(2, 4), *final(4, accuracy)])
    tracker.finish(job.key, "FINISHED")


def send_all(tracker: Tracker) -> None:
    """Until MLflow holds all that was said so far."""
    while not tracker._send():
        time.sleep(0.01)


# --- the database itself ---------------------------------------------------------------------------------------------


def query(store: Path, text: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(store)) as database:
        return list(database.execute(text))


def points(store: Path, run_id: str) -> list[tuple[int, float]]:
    """All points of train/loss as they lie in the database, doubles and all."""
    found = query(store, f"SELECT step, value FROM metrics WHERE run_uuid = '{run_id}' AND key = 'train/loss'")
    return sorted((int(step), float(value)) for step, value in found)


def roles(store: Path) -> list[tuple[str, str]]:
    """(campaign, row or run; status) of every run that was not deleted, sorted."""
    found = query(
        store,
        "SELECT COALESCE(t.value, 'run'), r.status FROM runs r LEFT JOIN tags t ON t.run_uuid = r.run_uuid AND"
        " t.key = 'role' WHERE r.lifecycle_stage = 'active'",
    )
    return sorted((str(role), str(status)) for role, status in found)


def tags(store: Path, run_id: str) -> dict[str, str]:
    return dict(query(store, f"SELECT key, value FROM tags WHERE run_uuid = '{run_id}'"))


# --- other processes -------------------------------------------------------------------------------------------------


def another_process(program: str, *arguments: str, folder: Path = ROOT) -> subprocess.Popen[str]:
    """A process of ours that was told nothing yet; each line on its stdin is one `input()`."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def hear(process: subprocess.Popen[str]) -> str:
    """Its next line; fails with what it said on stderr where there is none."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        assert process.stderr is not None
        raise AssertionError(process.stderr.read())
    return line.rstrip("\n")


def tell(process: subprocess.Popen[str], line: str = "") -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def together(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    """All have got ready, all go on at once; what each says then."""
    assert [hear(process) for process in processes] == ["ready"] * len(processes)
    for process in processes:
        tell(process)
    return [hear(process) for process in processes]


def ended(process: subprocess.Popen[str]) -> None:
    errors = process.communicate()[1]
    assert process.returncode == 0, errors


# --- a server --------------------------------------------------------------------------------------------------------


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
        while self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())

    @contextlib.contextmanager
    def up(self, patch: pytest.MonkeyPatch) -> Iterator[Server]:
        """It runs, and is the MLflow that everything here speaks to."""
        self.start()
        try:
            patch.setenv("MLFLOW_TRACKING_URI", self.address)
            yield self
        finally:
            self.kill()

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
