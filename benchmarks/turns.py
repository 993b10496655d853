"""Ways of taking a training step, measured in turns: A B C … A B C …, so that each round gives ratios of its own."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Protocol

import torch

from benchmarks.rows import Row, said_by
from trm_core.config import RunConfig
from trm_core.devices import release
from trm_core.meter import peak_tflops

WARM_UP = {"cuda": 5, "cpu": 2}  # steps before any that counts; on a GPU the fourth is captured (trm_core/capture.py)


class Steps(Protocol):
    """Anything that takes steps."""

    def take_step(self) -> None:
        """One."""


def device_name(device: torch.device) -> str:
    """The GPU's name as torch gives it, or the processor's kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


class Way:
    """A way under way: how long it took to begin, and how long a step took in each round."""

    def __init__(
        self, name: str, begin: Callable[[], Steps], run: RunConfig, device: torch.device, now: Callable[[], float]
    ) -> None:
        self.name, self.run, self.device, self.now = name, run, device, now
        cuda = device.type == "cuda"
        before = torch.cuda.memory_allocated(device) if cuda else 0
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
        began = now()
        self.steps = begin()
        self.timed(WARM_UP[device.type])
        begin_s = now() - began
        self.warm_s = self.timed(1)
        self.first_step_s = max(0.0, begin_s - (WARM_UP[device.type] - 1) * self.warm_s)  # compiled and captured
        self.peak_gb = (torch.cuda.max_memory_allocated(device) - before) / 1e9 if cuda else None
        self.rounds: list[float] = []  # seconds a step

    def timed(self, steps: int) -> float:
        """Seconds a step, more than 0; the device is waited for once at the end."""
        began = self.now()
        for _ in range(steps):
            self.steps.take_step()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return max(self.now() - began, 1e-9) / steps  # a coarse clock may stand still

    def take_turn(self, steps: int) -> None:
        """One round. On a GPU a step comes before it that is not counted: the others' memory was given back."""
        if self.device.type == "cuda":
            release(self.device)
            self.timed(1)
        self.rounds.append(self.timed(steps))

    def as_fast_as(self, other: Way) -> list[float] | None:
        """How many times: median, least and greatest over the rounds that both took; None: none yet."""
        ratios = [theirs / ours for ours, theirs in zip(self.rounds, other.rounds, strict=False)]
        return [statistics.median(ratios), min(ratios), max(ratios)] if ratios else None

    def row(self, others: Iterable[Way]) -> Row:
        """What is known of it; before the first round, from the warm-up. others: those that it is compared with."""
        step_s = statistics.median(self.rounds or [self.warm_s])
        train = self.run.train
        tflops = self.run.train_flops() * train.batch_size / step_s / 1e12
        peak = peak_tflops(self.device, train.precision)
        beside = {other.name: self.as_fast_as(other) for other in others if other is not self}
        return {
            "way": self.name,
            "ms_per_step": 1000 * step_s,
            "puzzles_per_s": train.batch_size / step_s,
            "tflops": tflops,
            "utilisation": None if peak is None else tflops / peak,
            "peak_memory_gb": self.peak_gb,
            "first_step_s": self.first_step_s,
            "rounds_s": self.rounds,
            "times_as_fast_as": {name: found for name, found in beside.items() if found},
        }

    def profile(self, steps: int) -> str:
        """Where the time of so many steps goes, the operations that take longest first."""
        from torch.profiler import ProfilerActivity, profile

        cuda = self.device.type == "cuda"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
        with profile(activities=activities, acc_events=True) as profiled:  # acc_events: without it torch 2.11 warns
            self.timed(steps)
        order = f"self_{'cuda' if cuda else 'cpu'}_time_total"
        return str(profiled.key_averages().table(sort_by=order, row_limit=30, max_name_column_width=90))


class Turns:
    """The ways of one run, beside each other. rows(): what is known, at any time.

    One that fails is a row and the others go on; one that there is no time left to begin, were it as slow to begin as
    the slowest before it, is a row too. The first round is always taken.
    """

    def __init__(
        self, run: RunConfig, device: torch.device, left_s: Callable[[], float], now: Callable[[], float]
    ) -> None:
        self.run, self.device, self.left_s, self.now = run, device, left_s, now
        self.ways: list[Way] = []
        self.lost: list[Row] = []

    def rows(self, beside: Collection[str]) -> list[Row]:
        """A row per way. beside: names of those that the others are compared with."""
        others = [way for way in self.ways if way.name in beside]
        train, model = self.run.train, self.run.model
        at = {"batch_size": train.batch_size, "D": model.D, "positions": self.run.sequence}
        return [at | row for row in [*(way.row(others) for way in self.ways), *self.lost]]

    def begin(self, ways: Mapping[str, Callable[[], Steps]]) -> Iterator[None]:
        """Each way made and warm, one after the other; yields after each."""
        longest_s = 0.0
        for name, begin in ways.items():
            before = self.left_s()
            if before <= longest_s:
                self.lost.append({"way": name, "skipped": "no time left"})
                continue
            try:
                self.ways.append(Way(name, begin, self.run, self.device, self.now))
            except Exception as error:  # as in Rows
                self.lost.append({"way": name, "failed": said_by(error), "holds": False})
            release(self.device)
            longest_s = max(longest_s, before - self.left_s())
            yield

    def take(self, rounds: int, steps: int) -> Iterator[None]:
        """Rounds of so many steps a way, as many as there is time for; yields after each."""
        longest_s = 0.0
        for number in range(rounds):
            before = self.left_s()
            if number and before <= longest_s:
                break
            for way in list(self.ways):
                try:
                    way.take_turn(steps)
                except Exception as error:  # as in Rows
                    self.ways.remove(way)
                    self.lost.append({"way": way.name, "failed": said_by(error), "holds": False})
            longest_s = max(longest_s, before - self.left_s())
            yield
