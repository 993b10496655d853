"""What a table is made of: a run, a row, the whole. Plain values, and what follows from them alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal, NamedTuple

from reports.stats import Difference, Interval, Pool
from reports.stats_outcomes import Parts
from reports.verdicts import Judged, Verdict
from sweeps.campaign import Campaign
from sweeps.records.types import seconds_at_work
from sweeps.study import Losses, ProfileName, PuzzleName, Quoted, Study
from trm_core.config import RunConfig

Status = Literal["finished", "running", "failed", "diverged", "out of memory", "interrupted"]
STATUSES: tuple[Status, ...] = ("finished", "running", "failed", "diverged", "out of memory", "interrupted")
NOT_JUDGED = Verdict("not run")


class Seeds(NamedTuple):
    """What draws a run's puzzles and their variants, and what its weights, order and exploration."""

    data: int
    train: int

    def __str__(self) -> str:
        return f"seed {self.train}" + (f", data seed {self.data}" if self.data else "")


@dataclass(frozen=True)
class SeedRun:
    """One recorded run of a row."""

    seeds: Seeds
    key: str
    run_id: str
    status: Status
    reason: str  # why there is no number; empty where there is one
    accuracy: float | None  # [0..1]
    chosen_by: float | None  # what a comparison of settings looks at (choosing_metric), never a test score
    has_validation: bool  # whether it was scored on validation puzzles
    cell_accuracy: float | None  # [0..1], the mean share of right cells
    shortest_path: float | None  # [0..1], mazes answered by a shortest path, whichever
    puzzles: int | None  # test puzzles behind it; ARC: test inputs
    votes: int | None  # ARC: so many variants of a task voted, at most
    log_every: int | None  # steps that each reported training loss is the mean of
    interval: Interval | None  # Wilson, of the test set
    started: datetime
    ended: datetime | None
    tags: Mapping[str, str]
    final: Mapping[str, float] = field(default_factory=dict)  # every finite metric that it ended with, by its name

    @property
    def seed(self) -> int:
        """Of its weights, order and exploration."""
        return self.seeds.train

    @property
    def data_seed(self) -> int:
        """Of its puzzles and their variants."""
        return self.seeds.data

    @property
    def leaks(self) -> tuple[str, ...]:
        """The tasks that were tested although they had been learnt from (ARC, data.allow_leak)."""
        return leaked(self.tags)

    @property
    def seconds(self) -> float | None:
        """For how long it was made, pauses between launches left out; None where that is not known."""
        return seconds_at_work(self.tags, self.started, self.ended)


@dataclass(frozen=True)
class Reached:
    """Where a run came to the accuracy that a table of speed asks for, and what its training had taken by then."""

    seeds: Seeds
    step: int | None = None  # None: nowhere
    flops: float | None = None  # by formula, evaluations not counted
    seconds: float | None = None  # of training alone; None, too, where the run's reports do not say


@dataclass(frozen=True)
class TableRow:
    """One row with everything that is known of it. Accuracies are fractions, the paper's cell per cent as printed."""

    name: str
    base: str
    puzzle: PuzzleName
    place: Mapping[str, str]
    settings: RunConfig | None  # both seeds at 0; None: the changes cannot be for this row, nor what follows from them
    depth: int | None  # T(n+1)·n_layers
    paper_depth: int | None  # where the paper prints another
    nfp: int | None
    parameters: int | None
    eval_steps: int | None  # supervision steps at test
    runs: tuple[SeedRun, ...]  # by seed
    values: tuple[float, ...]  # of the finished seeds
    mean: float | None
    cell_accuracy: float | None  # mean over the same seeds; None unless all of them recorded it
    shortest_path: float | None  # the same
    seed_interval: Interval | None  # of the mean, by the spread over seeds (stats.Pool); None where none is known
    test_interval: Interval | None  # Wilson, one run at the mean accuracy
    puzzles: int | None
    paper: float | str | None
    difference: float | None  # ours minus paper, percentage points; None where they cannot be compared
    status: str  # why there is no number; empty where there is one
    paper_losses: Losses | None = None
    losses: tuple[Losses, ...] = ()  # of each finished seed that has a curve (with_losses)
    reached: tuple[Reached, ...] = ()  # of each finished seed that was looked at on the way (reach.with_reached)
    verdict: Verdict = NOT_JUDGED
    against: Difference | None = None  # the baseline, where the study names one
    is_best: bool = False  # or not significantly below the best

    @property
    def seeds(self) -> tuple[Seeds, ...]:
        """The seeds behind the mean."""
        return tuple(run.seeds for run in self.runs if run.accuracy is not None)


@dataclass(frozen=True)
class Selected:
    """A row's accuracy at three of its checkpoints: means over the seeds that have a curve, [0..1]."""

    row: str
    seeds: int
    last: float
    by_validation: float | None  # of each run at the step of its best score on validation; None: no validation
    by_test: float  # at the best on test, which nobody could have picked: peeking
    declined: bool  # the last is well below what was there before


@dataclass(frozen=True)
class Paired:
    """Two rows on the test puzzles that both were asked: where the doubt about their difference comes from."""

    row: str
    other: str
    runs: tuple[int, int]  # of each, on these puzzles
    puzzles: int  # ARC: tasks
    parts: Parts
    bootstrap: Interval | None  # a check, 95 %, seeds and puzzles drawn again; None: one of the rows has a single run


@dataclass(frozen=True)
class Grid:
    """The paper's layout of a study whose rows have a place: lines of labels, and for each column a row or none."""

    labels: tuple[str, ...]  # ("k", "T"), ("method",)
    columns: tuple[str, ...]  # ("HRM", "TRM"), ("Sudoku-Extreme", "Maze-Hard")
    by_puzzle: bool  # whether each column is measured on a test set of its own
    lines: tuple[tuple[tuple[str, ...], tuple[TableRow | None, ...]], ...]


@dataclass(frozen=True)
class VoteCurve:
    """A row's accuracy on ARC by the number of variants that vote: means over the seeds that have one, [0..1]."""

    row: str
    seeds: int
    votes: tuple[int, ...]  # ascending; those that all of these seeds have
    pass_at: Mapping[int, tuple[float, ...]]  # by k: 1 and 2


@dataclass(frozen=True)
class Table:
    """A campaign, ready to be rendered."""

    campaign: Campaign
    warning: str  # why it cannot stand beside the paper's column; empty where it can
    rows: tuple[TableRow, ...]
    grid: Grid | None
    facts: tuple[tuple[str, str], ...]  # what was run: (name, text)
    notes: tuple[str, ...]
    leak: str = ""  # which tasks were tested although learnt from; empty where none was
    vote_curves: tuple[VoteCurve, ...] = ()  # ARC's accuracy against the number of votes (with_votes)
    pools: tuple[Pool, ...] = ()  # the seeds of the rows that share a test set
    claims: tuple[Judged, ...] = ()
    selected: tuple[Selected, ...] = ()  # the last checkpoint beside the best (with_selection)
    not_drawn: tuple[str, ...] = ()  # figures that it would have, and what they lack
    paired: tuple[Paired, ...] = ()  # rows beside their baseline on the puzzles that both were asked (with_outcomes)

    @property
    def study(self) -> Study:
        """What was asked for, and what the paper prints."""
        return self.campaign.study

    @property
    def profile(self) -> ProfileName:
        """At what scale."""
        return self.campaign.profile

    @property
    def overrides(self) -> tuple[str, ...]:
        """What was changed in the profile's settings."""
        return self.campaign.changes

    @cached_property
    def draws(self) -> bool:
        """Whether any run has other puzzles, or other variants, than those of data seed 0."""
        return any(run.data_seed for row in self.rows for run in row.runs)

    @property
    def over(self) -> str:
        """What a spread is over: of the two seeds the one that varies, or both."""
        seeds = [row.seeds for row in self.rows]
        if not any(one.data for of_row in seeds for one in of_row):
            return "seeds"
        draws = any(len({one.data for one in of_row}) > 1 for of_row in seeds)
        weights = any(len({one.train for one in of_row}) > 1 for of_row in seeds)
        words = ("draws of the puzzles" if draws else "", "training seeds" if weights or not draws else "")
        return " and ".join(word for word in words if word)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What stands above every form of the table."""
        return tuple(text for text in (self.leak, self.warning) if text)

    @property
    def quoted(self) -> tuple[Quoted, ...]:
        """The rows that the paper quotes: printed apart, and never ours."""
        return self.study.quoted

    @property
    def comparable(self) -> bool:
        """Whether ours and the paper's may be subtracted."""
        return not self.warning

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """Supervision steps at test, over all rows: without it an accuracy is ambiguous."""
        return tuple(sorted({row.eval_steps for row in self.rows if row.eval_steps is not None}))

    @property
    def puzzles(self) -> tuple[int, ...]:
        """Numbers of test puzzles behind the accuracies."""
        return tuple(sorted({row.puzzles for row in self.rows if row.puzzles is not None}))

    @property
    def voters(self) -> tuple[int, ...]:
        """ARC: how many variants of a task voted, at most, in the runs behind the numbers."""
        return tuple(sorted({run.votes for row in self.rows for run in row.runs if run.votes is not None}))

    @property
    def has_shortest_paths(self) -> bool:
        """Whether any row says how many of its mazes were answered by a shortest path."""
        return any(row.shortest_path is not None for row in self.rows)


def leaked(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The tasks that a run's tags name as tested although learnt from."""
    return tuple(task.strip() for task in tags.get("leaks", "").split(",") if task.strip())
