"""That the kill harness finds what it is there to find, and strikes nobody else's processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults import processes
from tests.faults.chaos import Place, Strike, _strike_server, facts, left_in, plan, wrong_with
from tests.sweeps.records.stores import Server


def test_rounds_are_a_function_of_the_seed_and_more_of_them_begin_with_the_same() -> None:
    assert plan(50, 0)[:3] == plan(3, 0)
    assert plan(50, 0) != plan(50, 1)


def test_fifty_rounds_strike_everything_alone_and_together_by_killing_and_by_stopping() -> None:
    rounds = plan(50, 0)
    struck = [strike for one in rounds for strike in one.strikes]
    assert {strike.target for strike in struck} == {"driver", "trial", "worker", "raylet", "gcs", "server"}
    assert {strike.number for strike in struck} == {signal.SIGKILL, signal.SIGSTOP}
    assert {len(one.strikes) for one in rounds} == {1, 2}
    assert all(one.server for one in rounds if any(strike.target == "server" for strike in one.strikes))
    assert all(one.launcher == "train" for one in rounds if any(strike.target == "worker" for strike in one.strikes))


def test_a_process_of_ours_is_found_after_its_parent_has_died_and_no_other_is_signalled() -> None:
    script = "import os, sys, time\nif os.fork(): os._exit(0)\nprint(os.getpid(), flush=True)\ntime.sleep(600)"
    asked = (
        "import signal, subprocess, sys\n"
        "from tests.faults import processes\n"
        "processes.adopt_orphans()\n"
        f"child = subprocess.Popen([sys.executable, '-c', {script!r}], stdout=subprocess.PIPE, text=True)\n"
        "orphan = int(child.stdout.readline()); child.wait()\n"
        "assert processes.descendants() == [orphan]\n"
        "assert not processes.send(int(sys.argv[1]), signal.SIGKILL)\n"
        "assert processes.gone_within(0)\n"
        "processes.end_all(); processes.reap()\n"
        "assert processes.gone_within(30) == []\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", asked, str(os.getpid())],
        cwd=root,
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_is_struck_with_all_its_processes(number: signal.Signals, tmp_path: Path) -> None:
    server = Server(tmp_path / "mlflow.db", tmp_path)
    script = ["sh", "-c", "sleep 600 & echo $!; wait"]
    server.process = subprocess.Popen(script, stdout=subprocess.PIPE, start_new_session=True)
    assert server.process.stdout is not None
    with server.process.stdout as said:
        child = int(said.readline())
    here = Place(tmp_path, server)
    try:
        assert _strike_server(Strike("server", number, 0.0), here)
        wanted = "T" if number == signal.SIGSTOP else "Z"
        for pid in (server.process.pid, child):
            while (state := _state(pid)) not in (wanted, ""):
                assert state in "SR"
    finally:
        server.kill()
    assert not _strike_server(Strike("server", number, 0.0), here)


def _state(pid: int) -> str:
    """As its kernel calls it; "" once nobody has to be told of its end any more."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def test_a_busy_machine_is_given_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for load, seconds in ((0.1, 60.0), (2.0, 60.0), (35.0, 1050.0)):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert processes.patience(60.0) == seconds


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ("ray::ImplicitFunc.train", "trial"),
        ("ray::RayTrainWorker.poll_status", "worker"),
        ("/x/ray/core/src/ray/raylet/raylet --raylet_socket_name=a", "raylet"),
        ("/x/ray/core/src/ray/gcs/gcs_server --log_dir=a", "gcs"),
        ("ray::IDLE", ""),
        ("vim /x/raylet/raylet", ""),
    ],
)
def test_processes_are_told_apart_by_what_they_call_themselves(line: str, role: str) -> None:
    assert processes.role(line) == role


# --- what is checked at the end --------------------------------------------------------------------------------------

RUNS = "CREATE TABLE runs (run_uuid, name, status, lifecycle_stage)"
TAGS = "CREATE TABLE tags (run_uuid, key, value)"
METRICS = "CREATE TABLE metrics (run_uuid, key, step, value)"


@pytest.fixture
def undisturbed(tmp_path: Path) -> Place:
    """A study of two finished runs, as MLflow and the folders have it."""
    here = Place(tmp_path / "here")
    for key in ("a", "b"):
        folder = here.folder / "results" / "runs" / key
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text('{"step": 2, "metrics": {"train/loss": 0.5, "time/x": 1}}\n')
        (folder / ".lock").touch()
    table = here.folder / "results" / "mini" / "study" / "table.csv"
    table.parent.mkdir(parents=True)
    table.write_text("row,ours\n")
    with closing(sqlite3.connect(here.store)) as database, database:
        for text in (RUNS, TAGS, METRICS):
            database.execute(text)
        for key in ("a", "b"):
            database.execute("INSERT INTO runs VALUES (?, ?, 'FINISHED', 'active')", (key, key))
            database.execute("INSERT INTO tags VALUES (?, 'key', ?)", (key, key))
            database.execute("INSERT INTO metrics VALUES (?, 'train/loss', 2, 0.5)", (key,))
    return here


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SELECT 1", ""),
        ("UPDATE runs SET status = 'RUNNING' WHERE name = 'a'", "left RUNNING: a"),
        ("UPDATE tags SET value = 'a'", "not every key once"),
        ("INSERT INTO metrics VALUES ('a', 'train/loss', 2, 0.5)", "a point is there twice"),
        ("DELETE FROM metrics WHERE run_uuid = 'a'", "histories: not as undisturbed"),
        ("UPDATE metrics SET value = 0.5000000001 WHERE run_uuid = 'a'", "histories: not as undisturbed"),
        ("UPDATE metrics SET key = 'time/x' WHERE run_uuid = 'a'", "histories: not as undisturbed"),
    ],
)
def test_what_is_wrong_in_mlflow_is_found(text: str, said: str, undisturbed: Place) -> None:
    right = facts(undisturbed)
    with closing(sqlite3.connect(undisturbed.store)) as database, database:
        database.execute(text)
    found = "; ".join(wrong_with(undisturbed, right))
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("results/runs/a/metrics.jsonl", "journals: not as undisturbed"),
        ("results/mini/study/table.csv", "table: not as undisturbed"),
        ("results/runs/a/config.json.12.new", "half-written: results/runs/a/config.json.12.new"),
        ("results/ray/trials", "left behind: results/ray"),
    ],
)
def test_what_is_wrong_in_the_folders_is_found(name: str, said: str, undisturbed: Place) -> None:
    right = facts(undisturbed)
    path = undisturbed.folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"step": 2, "metrics": {"train/loss": 0.4}}\n')
    assert any(said in line for line in wrong_with(undisturbed, right))


def test_a_lock_that_is_held_is_found(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as file:
        assert left_in(tmp_path) == []
        fcntl.flock(file, fcntl.LOCK_EX)
        holder = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        assert subprocess.run([sys.executable, "-c", holder, file.name], capture_output=True).returncode != 0
        assert left_in(tmp_path) == ["held: .lock"]


def test_what_a_stopped_process_holds_is_given_back_when_it_is_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    assert processes.send(child.pid, signal.SIGSTOP)
    assert child.pid in processes.descendants()
    assert processes.send(child.pid, signal.SIGKILL)
    child.wait()
    assert not processes.send(child.pid, signal.SIGKILL)
