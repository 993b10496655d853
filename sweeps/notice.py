"""Word that a run's process, machine or command is about to go, heard in that process; and checkpoints by the clock.

Three words: SIGTERM (SLURM, a spot machine that is taken back, `ray stop`), that Ray drains the machine, and that the
command was told to end, which it tells its runs wherever they are (watch.py). Python lets only the main thread handle
signals, and in Ray's workers a run is trained in another; faulthandler's handlers can be put in place by any. Ray's
own, which ends the process at once, is back in its place afterwards.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Self

from sweeps.failures import Preempted
from sweeps.ray_internals import is_draining, is_told_to_end

SAVED_WITHIN_S = 240.0  # between checkpoints, beside train.checkpoint_every: so no more than 5 minutes are lost
LOOK_S = 2.0  # between two questions to Ray


class Notice:
    """Listens for the words while a run is trained. Use as a context manager. launch: its command's, for Ray."""

    def __init__(
        self,
        launch: str,
        *,
        draining: Callable[[], bool] = is_draining,
        told: Callable[[str], bool] = is_told_to_end,
        look_s: float = LOOK_S,
    ) -> None:
        self._draining, self._told, self._look_s = draining, partial(told, launch), look_s
        self._why = ""
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look, name="preemption notice", daemon=True)

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        faulthandler.register(signal.SIGTERM, file=self._write, all_threads=False)
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        faulthandler.unregister(signal.SIGTERM)
        os.close(self._write)
        os.close(self._read)

    def why(self) -> str:
        """What was heard, in words; "" where nothing was."""
        with contextlib.suppress(BlockingIOError):
            if os.read(self._read, 65536):
                self._why = "its process was told to end (SIGTERM)"
        return self._why

    def _look(self) -> None:
        words = (
            (self._told, "its command was told to end"),
            (self._draining, "its machine is being taken away (drained)"),
        )
        while not self._over.wait(self._look_s):
            for asks, answer in words:
                with contextlib.suppress(Exception):  # Ray's own, of many kinds; if it is gone nobody says anything
                    if asks():
                        self._why = answer
                        return


class Due:
    """When a run is to save beside train.checkpoint_every, and that it ends once it has because of a notice.

    agreed: makes a number the largest of all workers', who all call it as often. every: the steps at which several
    workers ask each other; one alone asks itself after each.
    """

    def __init__(
        self,
        why: Callable[[], str] = lambda: "",
        *,
        agreed: Callable[[int], int] = lambda asked: asked,
        every: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._why, self._agreed, self._every, self._clock = why, agreed, every, clock
        self._saved_at = clock()
        self._ends = ""

    def due(self, step: int) -> bool:
        """As train() asks."""
        if step % self._every:
            return False
        why = self._why()
        asked = self._agreed(2 if why else 1 if self._clock() - self._saved_at > SAVED_WITHIN_S else 0)
        if asked == 2:
            self._ends = why or "another of its workers is about to go"
        return asked > 0

    def saved(self, step: int) -> None:
        """As train() says. Raises Preempted."""
        self._saved_at = self._clock()
        if self._ends:
            raise Preempted(f"{self._ends}; a checkpoint of step {step} is written")
