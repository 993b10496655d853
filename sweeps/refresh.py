"""A study's report while its runs go on: written again when a run has ended, and never in the runs' way.

It is written by a process of its own at the lowest priority, one at a time, no more often than takes a small share of
the time, and not where the end is near, which has a report of its own. What goes wrong with it is a line.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sweeps.campaign import Campaign
from sweeps.words import clean

AT_MOST_EVERY_S = 60.0
SHARE = 0.1  # of the time, that reports may take
NEAR_THE_END_S = 60.0  # to the end of all runs: their own report comes soon
ASK_AGAIN_S = 5.0
LOWEST = 19  # priority
ID_DIGITS = 8  # of a campaign's id, which tell it
ROOT = Path(__file__).resolve().parent.parent


def waits_s(now: float, began: float, took: float, left_s: float | None) -> float | None:
    """Seconds until a report may be written; None where none is to be.

    began, took: of the last one, by one clock. left_s: to the end of all runs, None: not known yet.
    """
    if left_s is not None and left_s < NEAR_THE_END_S:
        return None
    return max(0.0, began + max(AT_MOST_EVERY_S, took / SHARE) - now)


def command_of(campaign: Campaign, out: Path) -> list[str]:
    """What writes the campaign's report."""
    which = ["--profile", campaign.profile, "--label", campaign.id[:ID_DIGITS], "--out", str(out)]
    return [sys.executable, "-m", "reports", campaign.study.name, *which]


class Refresher:
    """Hears of runs that have ended, and has reports written. A context manager: no process outlives it."""

    def __init__(
        self,
        out: Path,
        *,
        left_s: Callable[[], float | None],
        say: Callable[[str], None],
        command: Callable[[Campaign, Path], Sequence[str]] = command_of,
    ) -> None:
        self.out, self.left_s, self.say, self.command = out, left_s, say, command
        self._news: dict[str, Campaign] = {}  # campaigns of which runs have ended, by id
        self._process: subprocess.Popen[str] | None = None
        self._change = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="reports", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None) -> None:
        with self._change:
            self._closed = True
            if self._process is not None:
                self._process.terminate()
            self._change.notify_all()
        self._thread.join()

    def ended(self, campaign: Campaign) -> None:
        """One of its runs has. Returns at once."""
        with self._change:
            self._news[campaign.id] = campaign
            self._change.notify_all()

    def _work(self) -> None:
        began, took, has_said = -math.inf, 0.0, False
        while True:
            with self._change:
                while not self._closed and not self._news:
                    self._change.wait()
                if self._closed:
                    return
                wait_s = waits_s(time.monotonic(), began, took, self.left_s())
                if wait_s is None or wait_s > 0:
                    self._change.wait(ASK_AGAIN_S if wait_s is None else wait_s)
                    continue
                campaign = self._news.pop(next(iter(self._news)))
                began = time.monotonic()
                try:
                    process = self._process = self._begin(campaign)
                except OSError as error:
                    process, wrong = None, str(error)
            if process is not None:
                wrong = self._end(process)
            took = time.monotonic() - began
            if wrong and not self._closed and not has_said:
                has_said = True
                self.say(f"no report of {campaign.name} while its runs go on: {wrong}")

    def _begin(self, campaign: Campaign) -> subprocess.Popen[str]:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(
            list(self.command(campaign, self.out)),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        if hasattr(os, "setpriority"):
            with contextlib.suppress(OSError):  # it is over
                os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST)
        return process

    def _end(self, process: subprocess.Popen[str]) -> str:
        """Its last words, where it went wrong; empty where it did not."""
        said = process.communicate()[1].strip().splitlines()
        with self._change:
            self._process = None
        if process.returncode == 0:
            return ""
        return clean(said[-1]).removeprefix("error: ") if said else f"it ended with code {process.returncode}"
