"""A run's folder, as its trainer fills it and others read it: what is to be done there, the journal, why it failed.

config.json, metrics.jsonl (the journal, the source of truth for the run's curves), checkpoints/, with ARC predictions/,
outcomes.npz (which test puzzles it solved), thought.npz (how it solved one), and failure.txt if it failed. No torch
here: the driver reads these without loading it.
"""

from __future__ import annotations

import contextlib
import json
import os
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard, get_args

from sweeps.failures import Failure, Kind
from sweeps.records.types import Measurement
from trm_core.config import RunConfig

LACK = "out_of_memory.txt"  # that one of several workers was
MAX_FAILURES = 2  # processes that may die under a run before it counts as failed
LARGEST = 2**63 - 1  # that MLflow's tables take as a step, or a time


@dataclass(frozen=True)
class Task:
    """What a worker needs to know of a run."""

    key: str
    run: RunConfig
    data: Path  # a PuzzleSet's folder, verified by the driver
    folder: Path
    threads: int  # that torch may use; the same number gives the same bits
    launch: str  # names this launch in failure.txt
    device: str  # "cuda" or "cpu": what the launcher has set aside for it


class Journal:
    """metrics.jsonl: a line per step, ascending, also after any number of deaths and resumptions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = read_journal(path)  # as they were found
        self._continued = False

    def add(self, row: Measurement) -> list[Measurement]:
        """Append a row. The first after a resumption cuts what lies behind it, and brings the kept rows along.

        Training resumed at step s reports its next row as it did before: rows behind that one belong to steps not
        taken yet, rows before it are s or older. A row for a step that is there already (the last, when all that was
        left was to evaluate again) adds to it.
        """
        if self._continued:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(row))
            return [row]
        kept = [old for old in self.rows if old.step <= row.step]
        if kept and kept[-1].step == row.step:
            row = Measurement(row.step, row.time_ms, {**kept.pop().metrics, **row.metrics})
        write_whole(self.path, "".join(map(_line, [*kept, row])))
        self._continued = True
        return [*kept, row]


def read_journal(path: Path) -> list[Measurement]:
    """The rows of a metrics.jsonl by ascending step, none if it is not there.

    A line that is no row, torn by a kill or damaged otherwise, is left out. Raises OSError alone.
    """
    rows = {}
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            row = _row(line)
            if row is not None:
                rows[row.step] = row
    return [rows[step] for step in sorted(rows)]


def _row(line: bytes) -> Measurement | None:
    try:
        found = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    step, time_ms, metrics = (found.get(name) for name in Measurement._fields)
    if not (_is_count(step) and _is_count(time_ms) and isinstance(metrics, dict)):
        return None
    return Measurement(step, time_ms, metrics) if all(map(_is_number, metrics.values())) else None


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= LARGEST


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) <= LARGEST)


def note_failure(folder: Path, launch: str, error: Exception) -> str:
    """Write failure.txt, the whole of it, where the disk takes it, and return the reason in one line."""
    failure = Failure.of(error)
    heading = f"{failure.reason}\nlaunch {launch}\nkind {failure.kind}"
    text = f"{heading}\n\n{''.join(traceback.format_exception(error))}"
    with contextlib.suppress(OSError):  # a full disk may be the very reason
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "failure.txt", text)
    return failure.reason


def noted_failure(folder: Path, launch: str) -> Failure | None:
    """How this run failed in this launch already, if it did."""
    with contextlib.suppress(FileNotFoundError):
        lines = (folder / "failure.txt").read_text(encoding="utf-8", errors="replace").split("\n", 3)
        kinds: dict[str, Kind] = {f"kind {kind}": kind for kind in get_args(Kind)}
        if len(lines) == 4 and lines[1] == f"launch {launch}" and lines[2] in kinds:
            return Failure(kinds[lines[2]], lines[0])
    return None


def earlier_failure(folder: Path, launch: str) -> str | None:
    """Why this run failed in this launch already, if it did."""
    failure = noted_failure(folder, launch)
    return None if failure is None else failure.reason


def note_lack(task: Task, error: Exception) -> None:
    """Write down that one of several workers was out of memory, and why."""
    with contextlib.suppress(OSError):  # then it fails by itself once more
        write_whole(task.folder / LACK, f"launch {task.launch}\n{Failure.of(error).reason}\n")


def noted_lack(task: Task) -> str | None:
    """Why this launch goes on with activation checkpointing, if it does."""
    try:
        lines = (task.folder / LACK).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return lines[1] if len(lines) == 2 and lines[0] == f"launch {task.launch}" else None


def _line(row: Measurement) -> str:
    return json.dumps({"step": row.step, "time_ms": row.time_ms, "metrics": dict(row.metrics)}) + "\n"


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
