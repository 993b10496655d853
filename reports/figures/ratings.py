"""Accuracy by how hard a puzzle is rated: in groups of about equal size, the same for all rows of a test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.figures.panels import fitted, in_per_cent, key_beside, key_height, panels, room_for_key
from reports.figures.picture import Facts, Found, NotDrawn, Numbers, Picture, column_and_label
from reports.figures.style import STYLE, looks_by_name
from reports.stats import Interval, mean, test_set_interval
from reports.types import Table
from sweeps.study import PuzzleName
from trm_core.outcomes import Outcomes

NAME = "accuracy_by_rating"
MOST = 6  # groups
RATINGS: Mapping[PuzzleName, str] = {
    "sudoku": "rating: guesses that a solver needs",
    "maze": "rating: cells of a shortest path",
}
AGAIN = "`python -m trm_core evaluate CHECKPOINT DATA --outcomes FILE.npz`"


@dataclass(frozen=True)
class Group:
    """Puzzles of a test set that are rated from low to high, both included."""

    low: int
    high: int
    puzzles: int

    @property
    def name(self) -> str:
        """ "7", "8–12"."""
        return f"{self.low:,}" if self.low == self.high else f"{self.low:,}–{self.high:,}"


@dataclass(frozen=True)
class Rated:
    """A row's accuracy [0..1] in each group of its test set: mean over its runs, and what the puzzles leave open."""

    row: str
    base: str
    depth: int
    column: str  # the test set, where the table has several
    label: str  # its name in the key: without the column's
    test_set: str  # its hash
    what: str  # what a rating is
    runs: int
    groups: tuple[Group, ...]
    means: tuple[float, ...]
    intervals: tuple[Interval, ...]  # Wilson, at the mean


def accuracy_by_rating(table: Table, outcomes: Mapping[str, Outcomes]) -> tuple[Rated, ...]:
    """Of every row whose puzzles are rated. Runs that were asked other puzzles than its first stay out."""
    found = []
    groups_of: dict[str, tuple[Group, ...]] = {}
    for row in table.rows:
        kept = [outcomes[run.run_id] for run in row.runs if run.accuracy is not None and run.run_id in outcomes]
        kept = [one for one in kept if one.ratings is not None and len(one)]
        kept = [one for one in kept if one.test_set == kept[0].test_set]
        if not kept or row.puzzle not in RATINGS:
            continue
        groups = groups_of.setdefault(kept[0].test_set, _groups(_ratings(kept[0])))
        if len(groups) < 2:
            continue
        means = tuple(mean([_share(one, group) for one in kept]) for group in groups)
        found.append(
            Rated(
                row.name,
                row.base,
                row.depth or 0,
                *column_and_label(row, table),
                kept[0].test_set,
                RATINGS[row.puzzle],
                len(kept),
                groups,
                means,
                tuple(test_set_interval(at, group.puzzles) for at, group in zip(means, groups, strict=True)),
            )
        )
    return tuple(found)


def _ratings(of: Outcomes) -> NDArray[np.int32]:
    assert of.ratings is not None
    return of.ratings


def _groups(ratings: NDArray[np.int32]) -> tuple[Group, ...]:
    """About equally many puzzles each, equal ratings together."""
    ends = np.unique(np.quantile(ratings, np.arange(1, MOST + 1) / MOST, method="inverted_cdf"))
    lows = [ratings.min(), *ends[:-1] + 1]
    groups = []
    for low, high in zip(lows, ends, strict=True):
        inside = ratings[(ratings >= low) & (ratings <= high)]
        if len(inside):
            groups.append(Group(int(inside.min()), int(inside.max()), len(inside)))
    return tuple(groups)


def _share(of: Outcomes, group: Group) -> float:
    ratings = _ratings(of)
    return float(of.solved[(ratings >= group.low) & (ratings <= group.high)].mean())


def numbers(found: Sequence[Rated]) -> Numbers:
    """A line per row and group."""
    header = (
        "column",
        "row",
        "runs",
        "rating_low",
        "rating_high",
        "puzzles",
        "accuracy",
        "wilson95_low",
        "wilson95_high",
    )
    lines = [
        (one.column, one.row, one.runs, group.low, group.high, group.puzzles, at, ends.low, ends.high)
        for one in found
        for group, at, ends in zip(one.groups, one.means, one.intervals, strict=True)
    ]
    return Numbers(header, lines)


def draw(found: Sequence[Rated], *, profile: str) -> Figure | None:
    """A line per row over the groups, each with the bar that its puzzles leave; a panel per test set."""
    if not found:
        return None
    columns = list(dict.fromkeys((one.column, one.test_set) for one in found))
    with mpl.rc_context(STYLE):
        of = {at: [one for one in found if (one.column, one.test_set) == at] for at in columns}
        height = max(2.8, max(key_height(len(lines)) for lines in of.values()))
        kept = looks_by_name((one.label, one.base, one.depth) for one in found)
        room = room_for_key(kept, lines=True)
        figure, axes = panels(
            len(columns), 1, width=4.6, height=height, room=room, share=False, below=0.12, between=0.92
        )
        for panel, (column, test_set) in zip([line[0] for line in axes], columns, strict=True):
            lines = of[column, test_set]
            groups = lines[0].groups
            for at, one in enumerate(lines):
                look = kept[one.label]
                x = np.arange(len(groups)) + 0.36 * ((at + 0.5) / len(lines) - 0.5)  # bars beside each other
                for place, ends in zip(x, one.intervals, strict=True):
                    panel.plot([place] * 2, [ends.low, ends.high], color=look.colour, linewidth=0.7, alpha=0.6)
                how: dict[str, Any] = {
                    "linestyle": look.dash,
                    "marker": look.marker,
                    "linewidth": 1.2,
                    "markersize": 4.5,
                }
                panel.plot(x, one.means, color=look.colour, **how)
            panel.set_xlim(-0.5, len(groups) - 0.5)
            panel.set_xticks(range(len(groups)), [f"{group.name}\n{group.puzzles:,}" for group in groups])
            panel.set_xlabel(f"{lines[0].what}, puzzles under it")
            panel.set_ylim(fitted(value for one in lines for ends in one.intervals for value in (ends.low, ends.high)))
            in_per_cent(panel.yaxis)
            panel.set_title(f"{column or 'Exact accuracy, test'}: profile {profile}")
            key_beside(panel, {one.label: kept[one.label] for one in lines}, lines=True)
    return figure


def picture(facts: Facts) -> Found:
    """Of puzzles that carry a rating: ARC's tasks do not."""
    table = facts.table
    if table.study.layout == "losses" or not {row.puzzle for row in table.rows} & set(RATINGS):
        return None
    found = accuracy_by_rating(table, facts.outcomes)
    figure = draw(found, profile=table.profile)
    if figure is None:
        of_runs = [facts.outcomes[run.run_id] for row in table.rows for run in row.runs if run.run_id in facts.outcomes]
        why = (
            "no run's outcomes.npz is at hand; a run that looks at its test set (train.evaluate_on=test) keeps one,"
            f" and {AGAIN} makes one of a checkpoint."
            if not of_runs
            else f"these runs' outcomes.npz hold no ratings; {AGAIN} makes them anew with these."
            if all(one.ratings is None for one in of_runs)
            else "all test puzzles are rated alike; a wider range tells (python -m data_prep sudoku --rating)."
        )
        return NotDrawn(NAME, why)
    caption = (
        "Exact accuracy on test puzzles of about equally large groups by their rating, mean over the seeds; bars: what"
        " the number of puzzles in the group leaves open, 95 % (Wilson)."
    )
    return Picture(NAME, caption, figure, numbers(found))
