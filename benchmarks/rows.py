"""Rows measured one after the other for as long as the time allows; one that fails is a row, one left out is named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from trm_core.devices import release

Row = dict[str, Any]


class Clock:
    """How many of the minutes are left; None: as many as it takes."""

    def __init__(self, minutes: float | None, now: Callable[[], float]) -> None:
        self.now, self.began = now, now()
        self.total_s = float("inf") if minutes is None else 60 * minutes

    def left_s(self) -> float:
        """Seconds."""
        return self.total_s - (self.now() - self.began)


class Rows:
    """The rows of a section, until only kept_s seconds of the clock are left."""

    def __init__(self, clock: Clock, device: torch.device, kept_s: float = 0.0) -> None:
        self.clock, self.device, self.kept_s = clock, device, kept_s
        self.longest_s = 0.0
        self.rows: list[Row] = []
        self.left_out: list[str] = []

    def left_s(self) -> float:
        """Seconds that this section still has."""
        return self.clock.left_s() - self.kept_s

    def add(self, what: Row, measured: Callable[[], Iterable[Row]]) -> list[Row]:
        """What was measured, as rows; or one that says why not: failed, no time left."""
        before = len(self.rows)
        began = self.left_s()
        if began <= self.longest_s:
            self.leave_out(what)
            return self.rows[before:]
        try:
            self.rows.extend(measured())
        except Exception as error:
            # compilers, drivers and a full card raise what they like: recorded, printed, and the exit code is 1
            self.rows.append(what | {"failed": said_by(error), "holds": False})
        release(self.device)  # the next row finds the card as this one did
        self.longest_s = max(self.longest_s, began - self.left_s())
        return self.rows[before:]

    def leave_out(self, what: Row) -> None:
        """A row that there is no time for."""
        self.left_out.append(" ".join(str(value) for value in what.values()))
        self.rows.append(what | {"skipped": "no time left"})

    def finish(self, section: str) -> None:
        """Say what there was no time for."""
        if self.left_out:
            print(f"{section}: left out, no time: {', '.join(self.left_out)}", flush=True)


def said_by(error: Exception) -> str:
    """An error of any kind in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
