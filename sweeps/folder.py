"""A run's folder, as its trainer fills it and others read it: what is to be done there, and why it failed.

config.json, metrics.jsonl (journal.py), checkpoints/, evaluating/ (apart.py), with ARC predictions/,
outcomes.npz (which test puzzles it solved), thought.npz (how it solved one), and failure.txt if it failed. No torch
here: the driver reads these without loading it.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from data_prep.files import check_regular
from data_prep.redaction import redacted
from sweeps.failures import Failure, FolderGone, Kind
from sweeps.journal import write_whole
from sweeps.words import whole_number
from trm_core.config import RunConfig

LACK = "out_of_memory.txt"  # that one of several workers was


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
    gpu: float = 0.0  # the share of a GPU that each of its workers has


class Place:
    """A folder that is to stay where it is: a disk that is unmounted leaves none there, or another."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError where it is not there now."""
        self.folder, self._was = folder, folder.stat()

    def refuse_if_gone(self) -> None:
        """Raise FolderGone where it is not there any more."""
        with contextlib.suppress(OSError):
            if os.path.samestat(self._was, self.folder.stat()):
                return
        raise FolderGone(
            f"{self.folder} is not there any more; see that its disk is mounted, then give the same command again"
        )

    @contextlib.contextmanager
    def named_if_gone(self) -> Iterator[None]:
        """What fails because it is gone says that, whatever it could not find first."""
        try:
            yield
        except Exception:
            self.refuse_if_gone()
            raise


def note_failure(folder: Path, launch: str, error: Exception) -> str:
    """Write failure.txt, the whole of it, where the disk takes it, and return the reason in one line."""
    failure = Failure.of(error)
    heading = f"{failure.reason}\nlaunch {launch}\nkind {failure.kind}"
    text = f"{heading}\n\n{redacted(''.join(traceback.format_exception(error)))}"
    with contextlib.suppress(OSError):  # a full disk may be the very reason
        if not isinstance(error, FolderGone):
            for each in (folder.parent, folder):  # and no more: nothing is to be made where a disk was mounted
                each.mkdir(exist_ok=True)
        write_whole(folder / "failure.txt", text)
    return failure.reason


def noted_failure(folder: Path, launch: str) -> Failure | None:
    """How this run failed in this launch already, if it did."""
    with contextlib.suppress(OSError):
        lines = check_regular(folder / "failure.txt").read_text(encoding="utf-8", errors="replace").split("\n", 3)
        kinds: dict[str, Kind] = {f"kind {kind}": kind for kind in get_args(Kind)}
        if len(lines) == 4 and lines[1] == f"launch {launch}" and lines[2] in kinds:
            return Failure(kinds[lines[2]], lines[0])
    return None


def earlier_failure(folder: Path, launch: str) -> str | None:
    """Why this run failed in this launch already, if it did."""
    failure = noted_failure(folder, launch)
    return None if failure is None else failure.reason


def last_checkpoint(folder: Path) -> int | None:
    """The step of a run's newest checkpoint, by its name; it may be torn."""
    names = [path.name.removeprefix("step_") for path in (folder / "checkpoints").glob("step_*")]
    return max((int(name) for name in names if whole_number(name) is not None), default=None)


def note_lack(task: Task, error: Exception) -> None:
    """Write down that one of several workers was out of memory, and why."""
    with contextlib.suppress(OSError):  # then it fails by itself once more
        write_whole(task.folder / LACK, f"launch {task.launch}\n{Failure.of(error).reason}\n")


def noted_lack(task: Task) -> str | None:
    """Why this launch goes on with activation checkpointing, if it does."""
    try:
        lines = check_regular(task.folder / LACK).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return lines[1] if len(lines) == 2 and lines[0] == f"launch {task.launch}" else None
