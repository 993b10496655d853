"""Runs that are stopped in their middle, on any machine, however fast or busy; and what undisturbed ones report."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from data_prep.puzzle_set import PuzzleSet
from sweeps.journal import read_journal
from sweeps.records.types import Measurement
from tests.faults import processes
from trm_core.config import RunConfig
from trm_core.trainer import train

# what processes call themselves that train; Train's workers have no name of their own while a backend sets them up
TRAINS = {"inline": ("ray::ImplicitFunc.train",), "train": ("ray::RayTrainWorker", "ray::execute.")}
ANY = tuple(name for of in TRAINS.values() for name in of)
TURN_S = 0.2

Rows = list[tuple[int, dict[str, float]]]


def at_work(below: int) -> list[int]:
    """Processes below this one that train, or are about to."""
    return [pid for pid in processes.descendants(below) if processes.command_line(pid).startswith(ANY)]


def hold(below: int, n: int) -> set[int]:
    """Stop whoever trains as they appear until there are n of them. Tune starts them one by one."""
    held: set[int] = set()
    while len(held) < n:
        held |= {pid for pid in set(at_work(below)) - held if processes.send(pid, signal.SIGSTOP)}
        time.sleep(0.05)
    return held


def let_go(held: Iterable[int]) -> None:
    for pid in held:
        processes.send(pid, signal.SIGCONT)


def brought_to_its_middle(
    workers: Callable[[], Iterable[int]], runs: Callable[[], Iterable[Path]], standing: Iterable[int] = ()
) -> Path:
    """One of these runs' folders: it has a checkpoint, and steps left. Its workers, who had turns until then, stand.

    standing: who was stopped before, whatever he calls himself by now.
    """
    stood = set(standing)
    while True:
        let_go(stood | set(workers()))
        time.sleep(TURN_S)
        stood = {pid for pid in workers() if processes.send(pid, signal.SIGSTOP)}
        for folder in runs():
            if list(folder.glob("checkpoints/step_*/training.safetensors")) and _is_under_way(folder):
                return folder


def locked_by(runs: Path, holder: str) -> list[Path]:
    """Folders of runs that this holder has locked ("process 7 on host", or the end of it), and has not let go of."""
    return [
        lock.parent for lock in runs.glob("*/.lock") if holder_of(lock).endswith(holder) and _is_under_way(lock.parent)
    ]


def holder_of(lock: Path) -> str:
    """Who a lock says has it: "process 7 on host", or nobody."""
    return lock.read_text().partition("\n")[0]


def _is_under_way(folder: Path) -> bool:
    rows = read_journal(folder / "metrics.jsonl")
    return not rows or rows[-1].step < _settings(folder).train.steps


def _settings(folder: Path) -> RunConfig:
    return RunConfig.parse(json.loads((folder / "config.json").read_text())["settings"])


def timeless(rows: Iterable[Measurement]) -> Rows:
    """Without what depends on how fast the machine was."""
    return [
        (row.step, {name: value for name, value in row.metrics.items() if not name.startswith("time/")}) for row in rows
    ]


def reported(folder: Path) -> Rows:
    """What a run's journal holds."""
    return timeless(read_journal(folder / "metrics.jsonl"))


def undisturbed(folder: Path, data: Path, checkpoints: Path) -> Rows:
    """What the same run reports in one go, by itself, in this process."""
    rows: list[Measurement] = []
    torch.set_num_threads(1)
    train(
        _settings(folder),
        PuzzleSet.open(data),
        lambda step, metrics, _: rows.append(Measurement(step, 0, dict(metrics))),
        checkpoints=checkpoints,
        device="cpu",
    )
    return timeless(rows)
