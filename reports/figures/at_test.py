"""Accuracy against supervision steps at test time: what thinking longer than in training is worth (section 2.4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from reports.figures.panels import doubling_axis, fitted, in_per_cent, key_beside, key_height, panels, room_for_key
from reports.figures.picture import Facts, Found, NotDrawn, Numbers, Picture, column_and_label
from reports.figures.style import FAINT, STYLE, looks_by_name
from reports.stats import mean
from reports.types import Table, TableRow

NAME = "accuracy_against_test_steps"
AT_STEP = re.compile(r"test/exact_accuracy/step_(\d+)")
PUZZLES = "test/puzzles_at_depth"


@dataclass(frozen=True)
class Thinking:
    """A row's accuracy [0..1] after so many supervision steps: mean, lowest and highest of its seeds."""

    row: str
    base: str
    depth: int
    column: str  # the test set, where the table has several
    label: str  # its name in the key: without the column's
    trained_with: int  # N_sup of the evaluation that the table is of
    seeds: int
    puzzles: int | None  # asked so deep, of the first of the test set; the fewest of its seeds
    steps: tuple[int, ...]  # ascending, those that all seeds have
    means: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]


def accuracy_against_test_steps(table: Table) -> tuple[Thinking, ...]:
    """Of every row with a finished run that was asked at greater depth."""
    found = (_thinking(row, table) for row in table.rows)
    return tuple(one for one in found if one is not None)


def _thinking(row: TableRow, table: Table) -> Thinking | None:
    by_seed = [
        {int(at[1]): value for name, value in run.final.items() if (at := AT_STEP.fullmatch(name)) and 0 <= value <= 1}
        for run in row.runs
    ]
    by_seed = [one for one in by_seed if one]
    if not by_seed or not (steps := sorted(set.intersection(*(set(one) for one in by_seed)) - {0})):
        return None
    values = [[one[step] for one in by_seed] for step in steps]
    asked = [int(run.final[PUZZLES]) for run in row.runs if run.final.get(PUZZLES, 0) >= 1]
    return Thinking(
        row.name,
        row.base,
        row.depth or 0,
        *column_and_label(row, table),
        row.eval_steps or 0,
        len(by_seed),
        min(asked, default=None),
        tuple(steps),
        tuple(map(mean, values)),
        tuple(map(min, values)),
        tuple(map(max, values)),
    )


def numbers(found: Sequence[Thinking]) -> Numbers:
    """A line per row and number of steps."""
    header = ("column", "row", "seeds", "puzzles", "supervision_steps", "accuracy", "seeds_low", "seeds_high")
    lines = [
        (one.column, one.row, one.seeds, one.puzzles, *at)
        for one in found
        for at in zip(one.steps, one.means, one.lows, one.highs, strict=True)
    ]
    return Numbers(header, lines)


def draw(found: Sequence[Thinking], *, profile: str) -> Figure | None:
    """A line per row, its seeds' range shaded; a panel per test set; dotted where the table's numbers are."""
    if not found:
        return None
    columns = list(dict.fromkeys(one.column for one in found))
    with mpl.rc_context(STYLE):
        height = max(2.8, max(key_height(sum(one.column == column for one in found)) for column in columns))
        kept = looks_by_name((one.label, one.base, one.depth) for one in found)
        room = room_for_key(kept, lines=True)
        figure, axes = panels(len(columns), 1, width=4.6, height=height, room=room, between=0.76, share=False)
        for panel, column in zip([line[0] for line in axes], columns, strict=True):
            lines = [one for one in found if one.column == column]
            for one in lines:
                look = kept[one.label]
                how: dict[str, Any] = {"color": look.colour, "linestyle": look.dash, "marker": look.marker}
                panel.plot(one.steps, one.means, linewidth=1.4, markersize=4, **how)
                if one.seeds > 1:
                    panel.fill_between(one.steps, one.lows, one.highs, color=look.colour, alpha=0.09, linewidth=0)
            doubling_axis(panel, [step for one in lines for step in one.steps])
            panel.set_ylim(fitted(value for one in lines for of in (one.lows, one.highs) for value in of))
            in_per_cent(panel.yaxis)
            for steps in dict.fromkeys(one.trained_with for one in lines):
                panel.axvline(steps, color=FAINT, linewidth=0.9, linestyle=(0, (1, 2)), zorder=0)
            panel.set_title(f"{column or 'Exact accuracy, test'}: profile {profile}")
            panel.set_xlabel("supervision steps at test time")
            key_beside(panel, {one.label: kept[one.label] for one in lines}, lines=True)
    return figure


def picture(facts: Facts) -> Found:
    """Where runs were asked at greater depth than the table's."""
    table = facts.table
    if table.study.layout == "losses":
        return None
    found = accuracy_against_test_steps(table)
    figure = draw(found, profile=table.profile)
    if figure is None:
        return NotDrawn(
            NAME,
            "no run has recorded test/exact_accuracy/step_…; a run does so at its end where it looks at its test set"
            " (train.evaluate_on=test) and is long enough to pay for it (train.steps).",
        )
    asked = sorted({one.puzzles for one in found if one.puzzles})
    to = f" to {asked[-1]:,}" if len(asked) > 1 else ""
    of = f" of the same {asked[0]:,}{to} test puzzles" if asked else ""
    several = " Shaded: from the lowest seed to the highest." if any(one.seeds > 1 for one in found) else ""
    caption = f"Exact accuracy{of} after so many supervision steps, as in the table where the dotted line is.{several}"
    return Picture(NAME, caption, figure, numbers(found))
