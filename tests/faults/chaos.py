"""`make chaos ROUNDS=50`: a small study whose processes are killed and stopped while it runs, at seeded moments.

A round gives the command, strikes, and gives the same command again until it ends well. Then everything has to be as in
a study that nobody disturbed: every key once, no run RUNNING, histories without gap or double, journals and table equal
bit for bit, and no process, lock or half-written file left. Only processes that descend from the round's own launch are
ever signalled.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import processes
from tests.sweeps.records.stores import Server

ROOT = Path(__file__).resolve().parents[2]
STUDY = (
    *("--study", "recursion_depth", "--profile", "mini", "--only", "TRM k=1*", "TRM k=2*", "--set"),
    *("data.train=24", "data.validation=4", "data.test=12", "model.D=16", "model.n_heads=2", "model.N_sup=2"),
    *("train.steps=300", "train.batch_size=8", "train.eval_every=100", "train.checkpoint_every=20"),
)
N_RUNS = 2
CODES = (0, 1, 2, 130)  # that the command documents
HANGS_S = 600.0  # of an idle machine, after which a command counts as hanging
GONE_S = 60.0  # of an idle machine: Ray's own processes need a while to notice that nobody needs them
COMMANDS = 4  # as often as it may be given until it ends well


@dataclass(frozen=True)
class Strike:
    """What is done to which process."""

    target: str  # driver, trial, worker, raylet, gcs or server
    number: signal.Signals  # SIGKILL, or SIGSTOP and SIGCONT after lasts_s
    lasts_s: float  # a server that was killed is started again after that, too

    def __str__(self) -> str:
        how = "killed" if self.number == signal.SIGKILL else f"stopped for {self.lasts_s:.0f} s"
        return f"{self.target} {how}"


@dataclass(frozen=True)
class Round:
    """What happens in one round, and when."""

    number: int
    launcher: str
    server: bool  # whether runs are recorded through an MLflow server, else in a file
    strikes: tuple[Strike, ...]  # together
    when: float | None  # share [0..1] of all journal lines, or None: as soon as the first target is there
    delay_s: float

    def __str__(self) -> str:
        where = "as it appears" if self.when is None else f"at {self.when:.0%}"
        store = "server" if self.server else "file"
        what = " and ".join(map(str, self.strikes))
        return f"round {self.number} ({self.launcher}, {store}): {what}, {where} + {self.delay_s:.1f} s"


def plan(rounds: int, seed: int) -> list[Round]:
    """The rounds of a seed; more rounds begin with the same ones."""
    return [_round(number, random.Random(f"{seed} {number}")) for number in range(rounds)]


def _round(number: int, draw: random.Random) -> Round:
    launcher = "train" if draw.random() < 0.2 else "inline"
    server = draw.random() < 0.4
    targets = ["driver", "trial", "raylet", "gcs"] + ["worker"] * (launcher == "train") + ["server"] * server
    strikes = []
    for target in draw.sample(targets, 1 if draw.random() < 0.6 else 2):
        number_ = signal.SIGKILL if draw.random() < 0.7 else signal.SIGSTOP
        strikes.append(Strike(target, number_, draw.uniform(1, 15)))
    when = None if draw.random() < 0.3 else draw.random()
    return Round(number, launcher, server, tuple(strikes), when, draw.uniform(0, 4 if when is None else 0.5))


# --- carrying it out -------------------------------------------------------------------------------------------------


@dataclass
class Place:
    """Where a round takes place: a folder, and an MLflow of its own."""

    folder: Path
    server: Server | None = None
    said: list[str] = field(default_factory=list)  # what each command said
    codes: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """MLflow's SQLite file."""
        return self.folder / "mlflow.db"

    def start(self, launcher: str) -> subprocess.Popen[str]:
        """Give the command; what it says is in the last of `said`."""
        address = self.server.address if self.server else f"sqlite:///{self.store}"
        log = self.folder / f"command {len(self.codes)}.log"
        environment = os.environ | {"MLFLOW_TRACKING_URI": address, "CUDA_VISIBLE_DEVICES": ""}
        environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "RAY_ADDRESS": "local"}
        environment.setdefault("RAY_worker_niceness", "0")
        with log.open("w") as stream:
            return subprocess.Popen(
                [sys.executable, str(ROOT / "sweeps" / "run.py"), *STUDY, "--launcher", launcher],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                text=True,
                start_new_session=True,
            )

    def wait(self, command: subprocess.Popen[str], struck: Sequence[Strike] = ()) -> int:
        """Its exit code, with everything noted that is wrong with it."""
        at = len(self.codes)
        began = time.monotonic()
        while command.poll() is None:
            time.sleep(0.1)
            if time.monotonic() - began > processes.patience(HANGS_S):
                self.problems.append(f"command {at} hangs")
                command.kill()
                break
        code = command.wait()
        self.codes.append(code)
        said = (self.folder / f"command {at}.log").read_text(errors="replace")
        self.said.append(said)
        meant = any(one.target == "driver" and one.number == signal.SIGKILL for one in struck)
        if code not in CODES and not (meant and code == -signal.SIGKILL):
            self.problems.append(f"command {at} ended with {code}")
        if "Traceback" in said:
            self.problems.append(f"command {at} ended in a traceback")
        return code


@contextlib.contextmanager
def place(folder: Path, empty: Path | None, *, server: bool) -> Iterator[Place]:
    """A folder with an MLflow of its own, copied from an empty one: to make one takes seconds."""
    folder.mkdir(parents=True)
    here = Place(folder)
    if empty is not None:
        shutil.copy(empty, here.store)
    if server:
        here.server = Server(here.store, folder)
        here.server.start()
    try:
        yield here
    finally:
        processes.end_all()
        processes.reap()


def carry_out(what: Round, here: Place, lines: int) -> None:
    """One round: the command, the strikes, and the command again until it ends well."""
    command = here.start(what.launcher)
    struck = []
    if _moment(what, here, command, lines):
        time.sleep(what.delay_s)
        struck = [one for one in what.strikes if _strike(one, here, command)]
        _undo(struck, here, command)
    code = here.wait(command, struck)
    if here.server is not None and here.server.process.poll() is not None:
        here.server.start()
    while code != 0 and len(here.codes) < COMMANDS:
        code = here.wait(here.start(what.launcher))
        if code != 0:
            here.problems.append(f"the same command again, undisturbed, ended with {code}")


def _moment(what: Round, here: Place, command: subprocess.Popen[str], lines: int) -> bool:
    """Wait for it; False if the command has ended before."""
    while command.poll() is None:
        if what.when is None:
            if _targets(what.strikes[0].target, here, command):
                return True
        elif _journal_lines(here.folder) >= max(1, what.when * lines):
            return True
        time.sleep(0.02)
    return False


def _targets(target: str, here: Place, command: subprocess.Popen[str]) -> list[int]:
    if target == "driver":
        return [command.pid]
    if target == "server":
        return [] if here.server is None else [here.server.process.pid, *processes.descendants(here.server.process.pid)]
    return processes.with_role(target, command.pid)


def _strike(one: Strike, here: Place, command: subprocess.Popen[str]) -> bool:
    if one.target == "server":
        return _strike_server(one, here)
    targets = _targets(one.target, here, command)
    if one.target == "trial":
        targets = targets[:1]
    struck = [pid for pid in targets if processes.send(pid, one.number)]
    return bool(struck)


def _strike_server(one: Strike, here: Place) -> bool:
    """The whole group at once: a child whose parent has just died is easily overlooked, and keeps the port."""
    if here.server is None or here.server.process.poll() is not None:
        return False
    os.killpg(here.server.process.pid, one.number)
    return True


def _undo(struck: Sequence[Strike], here: Place, command: subprocess.Popen[str]) -> None:
    """What was stopped goes on, and a dead server is started again, each after its time; an ended command has none."""
    began = time.monotonic()
    for one in sorted(struck, key=lambda one: one.lasts_s):
        if one.number == signal.SIGSTOP or one.target == "server":
            while time.monotonic() - began < one.lasts_s and (command.poll() is None or one.target == "server"):
                time.sleep(0.05)
            if one.number == signal.SIGSTOP:
                for pid in processes.descendants():
                    processes.send(pid, signal.SIGCONT)
            elif here.server is not None:
                here.server.process.wait()
                here.server.start()


def _journal_lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("results/runs/*/metrics.jsonl"))


# --- what has to be there at the end ---------------------------------------------------------------------------------


def facts(here: Place) -> dict[str, Any]:
    """What must not depend on disturbances: journals, histories in MLflow, the table."""
    journals = {
        path.parent.name: [
            (row["step"], sorted(_lasting(row["metrics"].items())))
            for row in map(json.loads, path.read_text().splitlines())
        ]
        for path in here.folder.glob("results/runs/*/metrics.jsonl")
    }
    with contextlib.closing(sqlite3.connect(here.store)) as database:
        points = database.execute(
            "SELECT t.value, m.key, m.step, m.value FROM metrics m JOIN runs r ON r.run_uuid = m.run_uuid"
            " JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'key' WHERE r.lifecycle_stage = 'active'"
        ).fetchall()
    tables = sorted(path.read_text() for path in here.folder.glob("results/mini/**/table.csv"))
    return {
        "journals": journals,
        "histories": sorted(p for p in points if not p[1].startswith("time/")),
        "table": tables,
    }


def _lasting(metrics: Any) -> list[tuple[str, float]]:
    return [(name, value) for name, value in metrics if not name.startswith("time/")]


def wrong_with(here: Place, undisturbed: dict[str, Any]) -> list[str]:
    """What is not as in an undisturbed study, a line each."""
    found = []
    with contextlib.closing(sqlite3.connect(here.store)) as database:
        keys = database.execute(
            "SELECT t.value, r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'key'"
            " WHERE r.lifecycle_stage = 'active'"
        ).fetchall()
        running = database.execute(
            "SELECT r.name FROM runs r WHERE r.status = 'RUNNING' AND r.lifecycle_stage = 'active'"
        ).fetchall()
    if sorted(status for _, status in keys) != ["FINISHED"] * N_RUNS or len({key for key, _ in keys}) != N_RUNS:
        found.append(f"not every key once and FINISHED: {keys}")
    found += [f"left RUNNING: {name}" for (name,) in running]
    now = facts(here)
    found += [f"{name}: not as undisturbed" for name, there in undisturbed.items() if now[name] != there]
    seen = [point[:3] for point in now["histories"]]
    if len(set(seen)) != len(seen):
        found.append("a point is there twice")
    return found + left_in(here.folder)


def left_in(folder: Path) -> list[str]:
    """Locks that somebody holds, and files that were being written."""
    found = []
    for path in folder.rglob("*"):
        if path.name == ".lock":
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(f"held: {path.relative_to(folder)}")
        elif path.name.endswith((".new", ".partial", ".tmp")) or (path.name.startswith(".") and path.is_file()):
            found.append(f"half-written: {path.relative_to(folder)}")
    if (folder / "results" / "ray").exists():
        found.append("left behind: results/ray")
    return found


# --- the command -----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """All rounds; 1 if anything was wrong. A round that failed leaves its folder."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, metavar="ROUND", help="begin with this one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for what failed (default: a new one)")
    options = parser.parse_args(arguments)
    base = options.keep or Path(tempfile.mkdtemp(prefix="chaos-"))
    processes.adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # so that nothing is left then either
    with processes.nothing_left():
        return _rounds(plan(options.first + options.rounds, options.seed)[options.first :], base)


def _rounds(rounds: Sequence[Round], base: Path) -> int:
    with place(base / "undisturbed", None, server=False) as here:
        if here.wait(here.start("inline")) != 0 or here.problems:
            print(here.said[-1])
            return 1
        here.problems += processes.gone_within(GONE_S)
        undisturbed = facts(here)
        lines = _journal_lines(here.folder)
        empty = base / "empty.db"
        _empty(empty)
    failed = 0
    for what in rounds:
        with place(base / f"round {what.number}", empty, server=what.server) as here:
            began = time.monotonic()
            carry_out(what, here, lines)
            server = frozenset({here.server.process.pid} if here.server else ())
            here.problems += [f"left running: {line[:100]}" for line in processes.gone_within(GONE_S, but=server)]
            if here.server is not None:
                here.server.kill()
            here.problems += wrong_with(here, undisturbed)
            took = time.monotonic() - began
        print(f"{what}: exit codes {here.codes}, {took:.0f} s: {'; '.join(here.problems) or 'ok'}", flush=True)
        for code, said in zip(here.codes, here.said, strict=True):
            if code not in (0, -signal.SIGKILL):
                print(f"    {code}: {' / '.join(said.strip().splitlines()[-3:])[:400]}", flush=True)
        failed += bool(here.problems)
        if not here.problems:
            shutil.rmtree(here.folder)
    print(f"{len(rounds)} rounds, {failed} failed" + (f"; see {base}" if failed else ""))
    if not failed:
        shutil.rmtree(base)
    return 1 if failed else 0


def _empty(path: Path) -> None:
    """An MLflow without runs, made in a process of its own: it would leave threads here."""
    made = f"from sweeps.records.address import connect; connect('sqlite:///{path}')"
    subprocess.run([sys.executable, "-c", made], check=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})


if __name__ == "__main__":
    sys.exit(main())
