"""Learning curves: accuracy on test and the training loss by training step, seeds and their mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reports.figures.panels import fitted, in_per_cent, in_training_steps, name_ends, panels, room_for
from reports.figures.picture import Curves, Facts, Found, NotDrawn, Numbers, Picture, Points
from reports.figures.style import STYLE, Look, looks_by_name
from reports.runs import CELL_ACCURACY, LOSS, SHORTEST_PATH
from reports.stats import Interval, mean, test_set_interval
from reports.types import Table, TableRow

Array = NDArray[np.float64]

METRICS = (  # metric, what the axis says
    ("test/exact_accuracy", "Exact accuracy, test"),
    (CELL_ACCURACY, "Cell accuracy, test"),
    (SHORTEST_PATH, "A shortest path, test"),  # mazes alone
    (LOSS, "Training loss"),
)
PUZZLES = "test/puzzles"  # how many were evaluated: fewer in mid-run
OF_WHOLE_ANSWERS = ("test/exact_accuracy", SHORTEST_PATH)  # a puzzle is solved or not; its cells are no sample
ACROSS, WIDE = 2, 8.2  # panels in a line, inches of it
MOST_POINTS = 200  # per curve; longer ones are averaged in bins of equal length
NO_CURVES = "no run has reported yet; `python -m reports` again once one has."

# --- numbers ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One row's curve in one panel: each seed's points, and their mean where all seeds have a point."""

    row: str
    label: str  # the row's name without what all of its panel share
    base: str
    depth: int
    seeds: tuple[tuple[Array, Array], ...]  # (steps, values) per seed
    steps: Array
    values: Array  # mean over seeds
    band: tuple[Interval, ...] = ()  # per step: where the mean may lie for other test puzzles, as many as there were
    names: tuple[str, ...] = ()  # of the seeds: "seed 0"

    @cached_property
    def spread(self) -> tuple[Array, Array] | None:
        """(lowest, highest) of the seeds at each step of the mean; None with one seed."""
        if len(self.seeds) < 2 or not len(self.steps):
            return None
        at = np.array([values[np.searchsorted(steps, self.steps)] for steps, values in self.seeds])
        return at.min(axis=0), at.max(axis=0)


@dataclass(frozen=True)
class Panel:
    """What one metric looks like in one column of the table; "": for all rows together."""

    metric: str
    column: str  # a model (Table 3), or the puzzles (Tables 4 and 5)
    lines: tuple[Line, ...]


def metrics_of(row: TableRow) -> tuple[str, ...]:
    """The metrics whose curves are drawn for this row, and the one that says how sure they are."""
    return (*(metric for metric, _ in METRICS if metric != SHORTEST_PATH or row.puzzle == "maze"), PUZZLES)


def learning_curves(table: Table, curves: Curves) -> tuple[Panel, ...]:
    """The curves of every row that has any: by metric, and by what the table sets side by side: models, or puzzles."""

    def column_of(row: TableRow) -> str:
        return "" if table.grid is None else row.place["model"]

    columns: dict[str, list[TableRow]] = {} if table.grid is None else {name: [] for name in table.grid.columns}
    for row in table.rows:
        columns.setdefault(column_of(row), []).append(row)
    found = []
    for metric, _ in METRICS:
        for column, rows in columns.items():
            lines = [line_of(row, short_label(row, rows), metric, curves) for row in rows]
            found.append(Panel(metric, column, tuple(line for line in lines if line is not None)))
    return tuple(found)


def line_of(row: TableRow, label: str, metric: str, curves: Curves) -> Line | None:
    """A row's curve of a metric; None where no run of it has one."""
    drawn = [(str(run.seeds), thinned(points)) for run in row.runs if (points := curves.get((run.run_id, metric), ()))]
    seeds = tuple(curve for _, curve in drawn)
    if not seeds:
        return None
    common = sorted(set.intersection(*(set(steps.tolist()) for steps, _ in seeds)))
    found = [dict(zip(steps.tolist(), values.tolist(), strict=True)) for steps, values in seeds]
    means = [mean([values[step] for values in found]) for step in common]
    band = _band(row, common, means, curves) if metric in OF_WHOLE_ANSWERS else ()
    names = tuple(name for name, _ in drawn)
    return Line(row.name, label, row.base, row.depth or 0, seeds, np.array(common), np.array(means), band, names)


def _band(row: TableRow, steps: Sequence[float], means: Sequence[float], curves: Curves) -> tuple[Interval, ...]:
    """Wilson's interval of each mean; none unless every run says how many puzzles each evaluation had."""
    counts = [dict(points) for run in row.runs if (points := curves.get((run.run_id, PUZZLES), ()))]
    ns = [min((found.get(int(step), 0) for found in counts), default=0) for step in steps]
    if not all(1 <= n < math.inf and 0 <= value <= 1 for n, value in zip(ns, means, strict=True)):
        return ()
    return tuple(test_set_interval(value, int(n)) for n, value in zip(ns, means, strict=True))


def thinned(points: Points, most: int = MOST_POINTS) -> tuple[Array, Array]:
    """(steps, values), averaged in consecutive bins of equal length where there are more than `most`."""
    finite = [(step, value) for step, value in points if math.isfinite(value)]
    size = -(-len(finite) // most) or 1
    bins = [finite[start : start + size] for start in range(0, len(finite), size)]
    steps = np.array([part[-1][0] for part in bins], dtype=np.float64)
    return steps, np.array([mean([value for _, value in part]) for part in bins], dtype=np.float64)


def short_label(row: TableRow, rows: Sequence[TableRow]) -> str:
    """The row's name without the words that all names of its column begin with; its method where the table has one."""
    if "method" in row.place:
        return row.place["method"]
    first = [name.split() for name in (other.name for other in rows)]
    shared = 0
    while len(rows) > 1 and all(len(words) > shared + 1 and words[shared] == first[0][shared] for words in first):
        shared += 1
    return " ".join(row.name.split()[shared:])


def numbers(found: Iterable[Panel]) -> Numbers:
    """A line per step of each seed, and of their mean with what its intervals are."""
    header = ("metric", "column", "row", "of", "training_step", "value", "seeds_low", "seeds_high")
    return Numbers((*header, "test_set_wilson95_low", "test_set_wilson95_high"), list(_lines(found)))


def _lines(found: Iterable[Panel]) -> Iterator[tuple[object, ...]]:
    for panel in found:
        for line in panel.lines:
            of = (panel.metric, panel.column, line.row)
            for name, (steps, values) in zip(line.names, line.seeds, strict=True):
                for step, value in zip(steps.tolist(), values.tolist(), strict=True):
                    yield (*of, name, int(step), value, None, None, None, None)
            for at, step in enumerate(line.steps.tolist()):
                ends = (line.band[at].low, line.band[at].high) if line.band else (None, None)
                spread = (None, None) if line.spread is None else (float(line.spread[0][at]), float(line.spread[1][at]))
                yield (*of, "mean", int(step), float(line.values[at]), *spread, *ends)


# --- pictures ---------------------------------------------------------------------------------------------------------


def draw_learning_curves(found: Sequence[Panel], *, share: bool = True) -> Figure | None:
    """Seeds thin, their mean thick, each named at its end; for each metric a panel per column, two beside each other.

    share: the panels of a metric have one y axis; else each fits its own.
    """
    lines = _laid_out(found)
    if not lines:
        return None
    across = max(len(line) for line in lines)
    with mpl.rc_context(STYLE):
        room = room_for(line.label for panel in found for line in panel.lines) + (0 if share else 0.35)
        width = max(1.9, min(2.75, (WIDE - 0.62) / across - room)) if across > 1 else 4.4
        height = max(1.6 if across > 1 else 2.1, 0.16 * max(len(panel.lines) for panel in found))  # for their names
        figure, axes = panels(len(lines), across, width=width, height=height, room=room, share=False)
        for at, line in enumerate(lines):
            is_last = {place for place in range(across) if not any(place < len(under) for under in lines[at + 1 :])}
            for place in range(across):
                shown = axes[at][place]
                shown.set_visible(place < len(line) and bool(line[place].lines))
                if shown.get_visible():
                    panel = line[place]
                    beside = [one for one in found if one.metric == panel.metric] if share else [panel]
                    kept = [panel] if share else found  # whose lines of one name have one look
                    _draw_panel(shown, panel, beside, found, looks_of(line for one in kept for line in one.lines))
                    shown.tick_params(labelleft=not share or not any(one.lines for one in line[:place]))
                    in_training_steps(shown)
                    shown.xaxis.label.set_visible(place in is_last)
    return figure


def _laid_out(found: Sequence[Panel]) -> list[tuple[Panel, ...]]:
    """The panels line by line, columns in order and under each other; none of a metric or column without a curve."""
    columns = [c for c in dict.fromkeys(p.column for p in found) if any(p.lines for p in found if p.column == c)]
    by_place = {(panel.metric, panel.column): panel for panel in found}
    lines = [
        tuple(by_place[metric, column] for column in columns[start : start + ACROSS])
        for metric in dict.fromkeys(panel.metric for panel in found)
        for start in range(0, len(columns), ACROSS)
    ]
    return [line for line in lines if any(panel.lines for panel in line)]


def _draw_panel(
    shown: Axes, panel: Panel, beside: Sequence[Panel], found: Sequence[Panel], kept: Mapping[str, Look]
) -> None:
    """beside: whose y axis is the same; found: whose x axis is, where they are of the same column."""
    title = dict(METRICS)[panel.metric]
    shown.set_title(f"{title}, {panel.column}" if panel.column else title)
    draw_lines(shown, panel.lines, kept)
    heights = list(_heights(line for one in beside for line in one.lines))
    if panel.metric.endswith("accuracy"):
        shown.set_ylim(fitted(heights))
        in_per_cent(shown.yaxis)
    else:
        shown.set_ylim(0, 1.05 * max(heights))
    steps = [steps for one in found if one.column == panel.column for line in one.lines for steps, _ in line.seeds]
    shown.set_xlim(0, max(float(of[-1]) for of in steps))
    name_lines(shown, panel.lines, kept)  # when all limits stand


def looks_of(lines: Iterable[Line]) -> dict[str, Look]:
    """A look for each label."""
    return looks_by_name((line.label, line.base, line.depth) for line in lines)


def draw_lines(panel: Axes, lines: Sequence[Line], kept: Mapping[str, Look]) -> None:
    """Each row's mean thick, its seeds thin between their lowest and highest, the test set's band shaded lightly."""
    for line in lines:
        look = kept[line.label]
        panel.plot(*_in_one(line.seeds), color=look.colour, linewidth=0.5, alpha=0.45)
        if line.band:
            low, high = [one.low for one in line.band], [one.high for one in line.band]
            panel.fill_between(line.steps, low, high, color=look.colour, alpha=0.07, linewidth=0)
        if line.spread is not None:
            panel.fill_between(line.steps, *line.spread, color=look.colour, alpha=0.2, linewidth=0)
        panel.plot(
            line.steps, line.values, color=look.colour, linewidth=1.6, linestyle=look.dash, marker=look.marker,
            markersize=4, markevery=_marked(len(line.steps)), clip_on=False,
        )  # fmt: skip


def _in_one(curves: Sequence[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Several curves as a single line that is interrupted between them: one to draw in place of many."""
    gap = np.array([math.nan])
    steps, values = ([part for curve in curves for part in (curve[of], gap)] for of in (0, 1))
    return np.concatenate(steps), np.concatenate(values)


def _marked(n: int) -> list[int]:
    """Which of n points carry a marker: a few, spread evenly, the last among them."""
    return sorted({n - 1 - round(part * (n - 1) / 4) for part in range(4)} | {n - 1}) if n else []


def _heights(lines: Iterable[Line]) -> Iterator[float]:
    """What of these lines has to be seen; the test set's bands may leave the panel, but where they end."""
    for line in lines:
        if line.band:
            yield from (line.band[-1].low, line.band[-1].high)
        for _, values in line.seeds:
            yield from values.tolist()


def name_lines(panel: Axes, lines: Sequence[Line], kept: Mapping[str, Look]) -> None:
    """Each row's name at its mean's end; when all limits stand."""
    ends = [(line.label, float(line.steps[-1]), float(line.values[-1])) for line in lines if len(line.steps)]
    name_ends(panel, ends, [kept[label].colour for label, *_ in ends])


# --- the figures ------------------------------------------------------------------------------------------------------


def picture(facts: Facts) -> Found:
    """The learning curves of a table of accuracies."""
    table = facts.table
    if table.study.layout == "losses":
        return None
    found = learning_curves(table, facts.curves)
    figure = draw_learning_curves(found, share=table.grid is None or not table.grid.by_puzzle)
    if figure is None:
        return NotDrawn("learning_curves", NO_CURVES)
    kinds = {row.puzzle for row in table.rows}
    given = (
        "Cell accuracy counts the given cells too."
        if kinds == {"sudoku"}
        else "Cell accuracy counts the cells that a puzzle shows, too."
    )
    alone = " Each ARC test input as it is: no variants, no vote." if "arc" in kinds else ""
    lines = [line for panel in found for line in panel.lines]
    seeds = " Shaded: from the lowest seed to the highest." if any(line.spread is not None for line in lines) else ""
    lightly = "Lightly shaded" if seeds else "Shaded"
    puzzles = (
        f" {lightly}: what the number of test puzzles leaves open around the mean, a 95 % interval (Wilson)."
        if any(line.band for line in lines)
        else ""
    )
    caption = (
        "Thin lines: one seed each; thick: their mean. Long curves are averaged in bins of equal length."
        f" Evaluations before the last may use fewer puzzles, always the same.{seeds}{puzzles} {given}{alone}"
    )
    return Picture("learning_curves", caption, figure, numbers(found))
