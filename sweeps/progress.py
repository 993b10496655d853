"""What a person sees while a study runs: bars in a terminal, plain lines elsewhere. State is pure, drawing is apart."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweeps.words import shorten_run, wrapped

LINE_EVERY_S = 20.0  # per run, where there is no terminal
LEAST_FOR_A_BAR = 30  # columns beside the numbers; where there are fewer, the name has them all
# The first that is there; an ARC run ends with the two attempts of its vote.
ACCURACIES = ("test/pass_at_2", "test/exact_accuracy", "validation/exact_accuracy", "train/exact_accuracy")


@dataclass
class RunState:
    """One run under way."""

    name: str
    steps: int
    work: float  # in any unit, the same for all runs of a study
    began_s: float
    step: int = 0
    first_step: int | None = None  # the first that was seen, after a resumption not the run's first
    first_step_s: float = 0.0
    loss: float | None = None
    accuracy: float | None = None  # [0..1]
    measured_on: str = "test"  # or "validation", "train"
    said_s: float = 0.0

    def left_s(self, now: float) -> float | None:
        """Seconds to its end at the speed seen so far; None while nothing was seen."""
        if self.first_step is None or self.step <= self.first_step:
            return None
        return (self.steps - self.step) * (now - self.first_step_s) / (self.step - self.first_step)

    @property
    def done_work(self) -> float:
        """Of its work, what this launch has done: what came from a checkpoint does not count as speed."""
        return self.work * (self.step - (self.first_step or 0)) / self.steps


@dataclass
class StudyState:
    """A study under way: what is known, and when it will end. Times are seconds of one clock, handed in."""

    runs: int  # of the study
    done: int  # of them, before this launch and in it
    work_waiting: float  # of runs not begun
    began_s: float
    failed: int = 0
    active: dict[str, RunState] = field(default_factory=dict)
    work_done: float = 0.0  # by runs that have ended, in this launch
    first_row_s: float | None = None

    def begin(self, key: str, name: str, steps: int, work: float, now: float) -> None:
        """A run begins; one that is active already begins again, since its process ended."""
        if key in self.active:
            self.work_done += self.active[key].done_work
        else:
            self.work_waiting = max(0.0, self.work_waiting - work)
        self.active[key] = RunState(name, steps, work, now, said_s=now)

    def update(self, key: str, step: int, metrics: Mapping[str, float], now: float) -> None:
        """A row of an active run."""
        run = self.active[key]
        run.step = step
        if run.first_step is None:
            run.first_step, run.first_step_s = step, now
        if self.first_row_s is None:
            self.first_row_s = now
        run.loss = metrics.get("train/loss", run.loss)
        if (seen := next((name for name in ACCURACIES if name in metrics), None)) is not None:
            run.accuracy, run.measured_on = metrics[seen], seen.partition("/")[0]

    def end(self, key: str, *, failed: bool) -> RunState:
        """An active run has ended."""
        run = self.active.pop(key)
        self.work_done += run.done_work
        self.failed += failed
        self.done += not failed
        return run

    def leave_out(self, work: float, *, failed: bool) -> None:
        """A run that waited has ended elsewhere."""
        self.work_waiting = max(0.0, self.work_waiting - work)
        self.failed += failed
        self.done += not failed

    def left_s(self, now: float) -> float | None:
        """Seconds to the study's end at the speed seen so far; None while nothing was seen."""
        done = self.work_done + sum(run.done_work for run in self.active.values())
        if self.first_row_s is None or done <= 0 or now <= self.first_row_s:
            return None
        left = self.work_waiting + sum(run.work * (run.steps - run.step) / run.steps for run in self.active.values())
        return left * (now - self.first_row_s) / done


def duration(seconds: float | None) -> str:
    """12 s, 3:04, 2:03:04; a hyphen where it is not known."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def percent(fraction: float | None) -> str:
    """A fraction as per cent, a hyphen where there is none."""
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


def headline(study: StudyState, now: float) -> str:
    """The study in one line."""
    failed = f", {study.failed} failed" if study.failed else ""
    left = study.left_s(now)
    ends = f", about {duration(left)} left" if left is not None else ""
    return f"{study.done} of {study.runs} runs done{failed}, {duration(now - study.began_s)} so far{ends}"


@dataclass
class Bars:
    """The study and its active runs, for a terminal of any width: rich asks for them when it knows how wide it is."""

    study: StudyState
    now: float

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        for line in wrapped(headline(self.study, self.now), width):
            yield Text(line, style="bold", no_wrap=True)
        runs = tuple(self.study.active.values())
        if not runs:
            return
        numbers = [self._numbers(run) for run in runs]
        widths = [max(map(len, column)) for column in zip(*numbers, strict=True)]
        room = width - sum(widths) - len(widths)
        bar = room // 3 if room >= LEAST_FOR_A_BAR else 0
        table = Table.grid(padding=(0, 1), pad_edge=False)
        table.add_column(no_wrap=True, width=max(1, room - (bar + 1 if bar else 0)))
        if bar:
            table.add_column(width=bar)
        for each in widths:
            table.add_column(justify="right", no_wrap=True, width=each)
        for run, words in zip(runs, numbers, strict=True):
            name = Text(shorten_run(run.name, max(1, room - (bar + 1 if bar else 0))), no_wrap=True)
            drawn = [ProgressBar(total=run.steps, completed=run.step, width=bar)] if bar else []
            table.add_row(name, *drawn, *words)
        yield table

    def _numbers(self, run: RunState) -> tuple[str, str, str, str]:
        return (
            f"{run.step}/{run.steps}",
            "starting" if run.loss is None else f"loss {run.loss:.3g}",
            percent(run.accuracy),
            duration(run.left_s(self.now)),
        )


class Progress:
    """The display of one launch. Use as a context manager; what is to be said meanwhile goes through `say`."""

    def __init__(
        self,
        *,
        runs: int,
        done: int,
        work: float,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        width: int | None = None,
    ) -> None:
        """runs, done: of the study. work: of all runs not done, in the unit that `begin` is told.

        width: columns; the terminal's, else COLUMNS, else 80 where it is not given.
        """
        self.study = StudyState(runs, done, work, clock())
        self._clock = clock
        self._console = Console(file=stream or sys.stdout, highlight=False, soft_wrap=False, width=width)
        self._live = (
            Live(console=self._console, get_renderable=self._render, refresh_per_second=4, transient=True)
            if self._console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """A text that stays, above the bars, as lines that break between words."""
        self._console.print("\n".join(wrapped(text, self._console.width)), markup=False, soft_wrap=True)

    def begin(self, key: str, name: str, steps: int, work: float, at: int | None = None) -> None:
        """A run begins, or begins again. at: the step of the checkpoint that an earlier launch left."""
        again = key in self.study.active
        self.study.begin(key, name, steps, work, self._clock())
        if again:
            self.say(f"{name}: its process ended; it goes on from its last checkpoint")
        elif at:
            self.say(f"{name}: goes on from step {at} of {steps}")
        elif self._live is None:
            self.say(f"{name}: started, {steps} steps")

    def update(self, key: str, step: int, metrics: Mapping[str, float]) -> None:
        """A row of a run."""
        now = self._clock()
        self.study.update(key, step, metrics, now)
        run = self.study.active[key]
        if self._live is None and now - run.said_s >= LINE_EVERY_S and step < run.steps:
            run.said_s = now
            loss = "-" if run.loss is None else f"{run.loss:.3g}"
            self.say(
                f"{run.name}: step {step}/{run.steps}, loss {loss}, accuracy {percent(run.accuracy)},"
                f" {duration(run.left_s(now))} left ({headline(self.study, now)})"
            )

    def left_s(self, key: str) -> float | None:
        """Seconds to an active run's end; None while nothing is known."""
        return self.study.active[key].left_s(self._clock()) if key in self.study.active else None

    def all_left_s(self) -> float | None:
        """Seconds to the end of all runs; None while nothing is known."""
        return self.study.left_s(self._clock())

    def elsewhere(self, name: str, work: float, *, failure: str = "") -> None:
        """A run that waited was made by another launch."""
        self.study.leave_out(work, failed=bool(failure))
        what = f"FAILED there: {failure}" if failure else "done there"
        self.say(f"{name}: made by another launch, {what} ({self.study.done} of {self.study.runs} runs done)")

    def gone(self, key: str) -> None:
        """An active run was taken over by another launch."""
        run = self.study.active.pop(key)
        self.study.work_waiting += run.work
        self.say(f"{run.name}: another launch has taken it over; waiting for that")

    def end(self, key: str, *, failure: str = "", pruned: bool = False) -> None:
        """A run has ended: well, with a failure, or given up by its search."""
        now = self._clock()
        run = self.study.end(key, failed=bool(failure))
        took = duration(now - run.began_s)
        what = (
            f"FAILED after {took}: {failure}"
            if failure
            else f"pruned at step {run.step:,}, {took}"
            if pruned
            else f"done, {percent(run.accuracy)} of {run.measured_on} puzzles, {took}"
        )
        self.say(f"{run.name}: {what} ({self.study.done} of {self.study.runs} runs done)")

    def _render(self) -> RenderableType:
        return Bars(self.study, self._clock())
