"""Figures of a study: data first (pure functions that return the arrays), the picture second.

Drawn with matplotlib's objects, no global state; two draws of the same data are the same bytes. Colours come from one
ramp per model, readable without hue (lightness orders the rows) and safe for colour-blind readers; `SCHEMES` says what
each becomes on a dark page.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray

from reports.collect import CELL_ACCURACY, LOSS, SHORTEST_PATH, Table, TableRow, VoteCurve, base_name, loss_metric
from reports.plain import plain
from reports.stats import Interval, mean

Points = Sequence[tuple[int, float]]
Curves = Mapping[tuple[str, str], Points]  # (run id, metric) → (step, value)
Array = NDArray[np.float64]

PANELS = (  # metric, what the axis says
    ("test/exact_accuracy", "Exact accuracy, test"),
    (CELL_ACCURACY, "Cell accuracy, test"),
    (SHORTEST_PATH, "A shortest path, test"),  # mazes alone
    (LOSS, "Training loss"),
)
MOST_POINTS = 200  # per curve; longer ones are averaged in bins of equal length

INK, FAINT, PAPER = "#1f2429", "#8b939c", "#ffffff"
# light page → dark page. One ramp per model, from shallow to deep.
RAMPS: tuple[tuple[str, ...], ...] = (
    ("#5a9bcb", "#347fb9", "#1f6cab", "#0b4f8a", "#083a68", "#05294d", "#031b35"),  # blue
    ("#d97f35", "#cc6a1c", "#b9560f", "#964207", "#733204", "#552303", "#3d1802"),  # vermilion
    ("#4fa98c", "#2f957a", "#158063", "#07634b", "#054a38", "#033628", "#02251b"),  # green
    ("#a586c9", "#8d6bb8", "#7a55a8", "#643f91", "#4c2d72", "#352052", "#221436"),  # purple
)
DARK_RAMPS: tuple[tuple[str, ...], ...] = (
    ("#3a80b5", "#4a95cc", "#5aa6dc", "#7dbdea", "#9fd0f2", "#bfe0f8", "#dceffc"),
    ("#bb6a2c", "#d47d3a", "#e88f4c", "#f3a970", "#f8c196", "#fbd7ba", "#fdeada"),
    ("#2f8f74", "#40a588", "#52bb9c", "#7dd0b6", "#a3dfcb", "#c4ebdd", "#e0f5ed"),
    ("#8a68b3", "#9f7fc6", "#b196d4", "#c6b1e2", "#d8c9ec", "#e7ddf4", "#f4effa"),
)
BASE_ORDER = ("trm", "hrm", "trm_att", "direct")  # whose ramp is which
DASHED = (0, (4, 2))
SCHEMES: dict[str, tuple[str, str]] = {
    **{
        light: (f"{ramp}-{step}", dark)
        for ramp, (lights, darks) in enumerate(zip(RAMPS, DARK_RAMPS, strict=True))
        for step, (light, dark) in enumerate(zip(lights, darks, strict=True))
    },
    INK: ("ink", "#e6e9ec"),
    FAINT: ("faint", "#7d8690"),
    PAPER: ("paper", "#14171a"),
}

STYLE: dict[str, object] = {
    "svg.hashsalt": "trm",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.grid": False,
}

# --- data -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """One row's curve in one panel: each seed's points, and their mean where all seeds have a point."""

    row: str
    label: str  # the row's name without its model's
    base: str
    depth: int
    seeds: tuple[tuple[Array, Array], ...]  # (steps, values) per seed
    steps: Array
    values: Array  # mean over seeds


@dataclass(frozen=True)
class Panel:
    """What one metric looks like in one column of the table; "": for all rows together."""

    metric: str
    column: str  # a base (Table 3), or the puzzles (Tables 4 and 5)
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Mark:
    """One row in the depth figure. Accuracies as fractions."""

    row: str
    label: str
    depth: int
    accuracy: float | None  # None: no number, `word` says why
    interval: Interval | None  # over seeds
    seeds: tuple[float, ...]
    word: str = ""


@dataclass(frozen=True)
class Series:
    """One base in the depth figure, by depth: ours and the paper's."""

    base: str
    name: str
    ours: tuple[Mark, ...]
    paper: tuple[Mark, ...]


def metrics_of(row: TableRow) -> tuple[str, ...]:
    """The metrics whose curves are drawn for this row."""
    return tuple(metric for metric, _ in PANELS if metric != SHORTEST_PATH or row.puzzle == "maze")


def learning_curves(table: Table, curves: Curves) -> tuple[Panel, ...]:
    """The curves of every row that has any: by metric, and by what the table sets side by side: models, or puzzles."""

    def column_of(row: TableRow) -> str:
        if table.grid is None:
            return ""
        return row.place["model"] if table.grid.by_puzzle else row.base

    columns = {
        column_of(row): [other for other in table.rows if column_of(other) == column_of(row)] for row in table.rows
    }
    if table.grid is not None and table.grid.by_puzzle:
        columns = {column: columns[column] for column in table.grid.columns}
    panels = []
    for metric, _ in PANELS:
        for column, rows in columns.items():
            lines = [_line(row, _label(row, rows), metric, curves) for row in rows]
            panels.append(Panel(metric, column, tuple(line for line in lines if line is not None)))
    return tuple(panels)


def training_losses(table: Table, curves: Curves) -> Panel:
    """The training loss of every row that has a curve, all in one panel."""
    metric = loss_metric(table.study)
    lines = [_line(row, row.name, metric, curves) for row in table.rows]
    return Panel(metric, "", tuple(line for line in lines if line is not None))


def _line(row: TableRow, label: str, metric: str, curves: Curves) -> Line | None:
    seeds = tuple(thinned(points) for run in row.runs if (points := curves.get((run.run_id, metric), ())))
    if not seeds:
        return None
    common = sorted(set.intersection(*(set(steps.tolist()) for steps, _ in seeds)))
    found = [dict(zip(steps.tolist(), values.tolist(), strict=True)) for steps, values in seeds]
    means = [mean([values[step] for values in found]) for step in common]
    return Line(row.name, label, row.base, row.depth or 0, seeds, np.array(common), np.array(means))


def thinned(points: Points, most: int = MOST_POINTS) -> tuple[Array, Array]:
    """(steps, values), averaged in consecutive bins of equal length where there are more than `most`."""
    finite = [(step, value) for step, value in points if np.isfinite(value)]
    size = -(-len(finite) // most) or 1
    bins = [finite[start : start + size] for start in range(0, len(finite), size)]
    steps = np.array([part[-1][0] for part in bins], dtype=np.float64)
    return steps, np.array([mean([value for _, value in part]) for part in bins], dtype=np.float64)


def accuracy_against_depth(table: Table) -> tuple[Series, ...]:
    """Ours and the paper's accuracy by effective depth, one series per base."""
    series = []
    for base in dict.fromkeys(row.base for row in table.rows):
        by_depth = sorted((row.depth, at) for at, row in enumerate(table.rows) if row.base == base and row.depth)
        rows = [table.rows[at] for _, at in by_depth]
        if not rows:
            continue
        ours = tuple(
            Mark(row.name, _label(row, rows), row.depth or 0, row.mean, row.seed_interval, row.values)
            for row in rows
            if row.mean is not None
        )
        papers = tuple(
            Mark(
                row.name,
                _label(row, rows),
                row.depth or 0,
                None if isinstance(row.paper, str) else row.paper / 100,
                None,
                (),
                row.paper if isinstance(row.paper, str) else "",
            )
            for row in rows
            if row.paper is not None
        )
        series.append(Series(base, base_name(rows), ours, papers))
    return tuple(series)


@dataclass(frozen=True)
class Dot:
    """One row in the figure of rows. Accuracies as fractions; None: no number, `word` says why."""

    row: str
    base: str
    ours: float | None
    interval: Interval | None  # over seeds
    word: str
    paper: float | None
    paper_word: str  # "OOM"


def accuracy_by_row(table: Table) -> tuple[Dot, ...]:
    """Ours and the paper's accuracy of each row, in the table's order; column by column where each has its puzzles."""
    rows = table.rows
    if table.grid is not None and table.grid.by_puzzle:
        rows = tuple(sorted(rows, key=lambda row: table.grid.columns.index(row.place["model"])))  # type: ignore[union-attr]
    return tuple(
        Dot(
            row.name,
            row.base,
            row.mean,
            row.seed_interval,
            row.status.partition(":")[0],
            row.paper / 100 if isinstance(row.paper, float) else None,
            row.paper if isinstance(row.paper, str) else "",
        )
        for row in rows
    )


def _label(row: TableRow, rows: Sequence[TableRow]) -> str:
    """The row's name without the words that all names of its column begin with; its method where the table has one."""
    if "method" in row.place:
        return row.place["method"]
    first = [name.split() for name in (other.name for other in rows)]
    shared = 0
    while len(rows) > 1 and all(len(words) > shared + 1 and words[shared] == first[0][shared] for words in first):
        shared += 1
    return " ".join(row.name.split()[shared:])


# --- pictures -------------------------------------------------------------------------------------------------------


def draw_learning_curves(panels: Sequence[Panel], names: Mapping[str, str]) -> Figure | None:
    """Seeds thin, their mean thick, each named at its end; a line of panels per metric, columns as in the table.

    names: what a column is called, where that is not its own name.
    """
    metrics = [(metric, title) for metric, title in PANELS if any(p.metric == metric and p.lines for p in panels)]
    columns = [
        one for one in dict.fromkeys(p.column for p in panels) if any(p.column == one and p.lines for p in panels)
    ]
    if not metrics or not columns:
        return None
    by_place = {(panel.metric, panel.column): panel.lines for panel in panels}
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        room = 0.35 + 0.065 * max(len(line.label) for panel in panels for line in panel.lines)  # for names, inches
        width, height = (2.75, 1.6) if len(columns) > 1 else (4.2, 1.9)
        figure, axes = _panels(len(metrics), len(columns), width=width, height=height, room=room)
        for at, (metric, title) in enumerate(metrics):
            drawn = [place for place, column in enumerate(columns) if by_place[metric, column]]
            for place, column in enumerate(columns):
                panel = axes[at][place]
                panel.set_visible(place in drawn)
                _draw_lines(panel, by_place[metric, column], _line_colours(by_place[metric, column]))
                panel.set_title(f"{title}, {names.get(column, column)}" if column else title)
                panel.tick_params(labelleft=place == drawn[0])
                if at == len(metrics) - 1:
                    panel.set_xlabel("training step")
            if metric.endswith("accuracy"):
                axes[at][0].set_ylim(-0.02, 1.02)
                axes[at][0].yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
            else:
                axes[at][0].set_ylim(bottom=0)  # when all curves of all columns are there: they share it
        for at, (metric, _) in enumerate(metrics):  # when all limits stand
            for place, column in enumerate(columns):
                axes[at][place].set_xlim(0, _last(by_place, column))
                lines = by_place[metric, column]
                named = [line for line in lines if len(line.steps)]
                _name_lines(axes[at][place], named, _line_colours(named))
    return figure


def draw_training_losses(panel: Panel, *, profile: str) -> Figure | None:
    """The losses of all rows in one picture, each named at its end in a colour of its own.

    Linear: in a short run a loss falls by half, not by powers.
    """
    if not panel.lines:
        return None
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        room = 0.35 + 0.065 * max(len(line.label) for line in panel.lines)
        figure, axes = _panels(1, 1, width=5.2, height=3.0, room=room)
        shown = axes[0][0]
        colours = [RAMPS[at % len(RAMPS)][1 + at // len(RAMPS) * 3 % 6] for at in range(len(panel.lines))]
        _draw_lines(shown, panel.lines, colours, dash_every_other=True)
        shown.set_title(f"Training loss: profile {profile}")
        shown.set_xlabel("training step")
        shown.set_ylabel("nats")
        shown.set_xlim(0, max(float(steps[-1]) for line in panel.lines for steps, _ in line.seeds))
        _name_lines(shown, panel.lines, colours)
    return figure


def _draw_lines(panel: Axes, lines: Sequence[Line], colours: Sequence[str], *, dash_every_other: bool = False) -> None:
    """Each row's seeds thin, their mean thick; dashed, a line leaves to be seen what it covers."""
    for at, (line, colour) in enumerate(zip(lines, colours, strict=True)):
        style: str | tuple[int, tuple[int, int]] = DASHED if dash_every_other and at % 2 else "-"
        for steps, values in line.seeds:
            panel.plot(steps, values, color=colour, linewidth=0.6, alpha=0.45)
        panel.plot(line.steps, line.values, color=colour, linewidth=1.7, linestyle=style)


def _name_lines(panel: Axes, lines: Sequence[Line], colours: Sequence[str]) -> None:
    """Each row's name at its mean's end; when all limits stand."""
    named = [(line, colour) for line, colour in zip(lines, colours, strict=True) if len(line.steps)]
    ends = [(line.label, line.steps[-1], line.values[-1]) for line, _ in named]
    _name_ends(panel, ends, [colour for _, colour in named])


def draw_accuracy_against_votes(table: Table) -> Figure | None:
    """pass@2 solid and pass@1 dashed against how many variants of a task vote; a panel per column of the table."""
    rows = {row.name: row for row in table.rows}
    by_column: dict[str, list[VoteCurve]] = {}
    for curve in table.vote_curves:
        by_column.setdefault(rows[curve.row].place.get("model", "") if table.grid is not None else "", []).append(curve)
    if not by_column:
        return None
    labels = {curve.row: rows[curve.row].place.get("method", curve.row) for curve in table.vote_curves}
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        room = 0.35 + 0.065 * max(len(label) for label in labels.values())
        several = len(by_column) > 1
        width, ticks = (2.75, 0.4) if several else (4.2, 0.0)
        figure, axes = _panels(1, len(by_column), width=width, height=2.3, room=room + ticks, share=False, below=0.3)
        for panel, (column, curves) in zip(axes[0], by_column.items(), strict=True):
            colours = [_ramp(rows[curve.row].base)[2] for curve in curves]
            for curve, colour in zip(curves, colours, strict=True):
                panel.plot(curve.votes, curve.pass_at[1], color=colour, linewidth=1.3, linestyle=DASHED)
                panel.plot(curve.votes, curve.pass_at[2], color=colour, linewidth=1.3, marker="o", markersize=3)
            most = max(curve.votes[-1] for curve in curves)
            highest = max(max(curve.pass_at[2]) for curve in curves)
            panel.set_title(f"{column}: profile {table.profile}" if column else f"Profile {table.profile}")
            panel.set_xscale("log")
            panel.set_xlim(0.9, 1.1 * max(most, 2))
            if most < 100:  # too few for powers of ten
                panel.xaxis.set_major_locator(
                    FixedLocator(sorted({votes for curve in curves for votes in curve.votes}))
                )
            panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            panel.xaxis.set_minor_locator(NullLocator())
            panel.set_xlabel("variants that vote")
            top = min(1.02, 1.08 * highest) or 1.02
            panel.set_ylim(-0.02 * top, top)
            panel.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
            ends = [(labels[curve.row], float(curve.votes[-1]), curve.pass_at[2][-1]) for curve in curves]
            _name_ends(panel, ends, colours)
        two = Line2D([], [], color=FAINT, linewidth=1.3, marker="o", markersize=3)
        one = Line2D([], [], color=FAINT, linewidth=1.3, linestyle=DASHED)
        place = (0.0, -0.63 / 2.3)
        axes[0][0].legend(
            [two, one],
            ["two attempts (pass@2)", "one (pass@1)"],
            loc="center left",
            bbox_to_anchor=place,
            ncols=2,
            borderpad=0,
            frameon=False,
        )
    return figure


def _last(by_place: Mapping[tuple[str, str], Sequence[Line]], column: str) -> float:
    """The last step that any curve of this column has."""
    lines = [line for (_, of), found in by_place.items() if of == column for line in found]
    return max(float(steps[-1]) for line in lines for steps, _ in line.seeds)


def draw_accuracy_against_depth(series: Sequence[Series], *, comparable: bool, profile: str) -> Figure | None:
    """Ours filled, with intervals over seeds; the paper's hollow, in its own panel where it cannot be compared."""
    if not any(one.ours for one in series):
        return None
    has_paper = any(one.paper for one in series)
    apart = has_paper and not comparable
    room = 0.35 + 0.075 * max(len(one.name) for one in series)
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure, axes = _panels(1, 2 if apart else 1, width=3.1 if apart else 4.6, height=2.7, room=room)
        ours, papers = axes[0][0], axes[0][-1]
        ours.set_title(
            f"Exact accuracy, test: profile {profile}" + (" and the paper" if has_paper and not apart else "")
        )
        if apart:
            papers.set_title("The paper, full size: not comparable")
        for one in series:
            _draw_ours(ours, one, _ramp(one.base)[2])
            _draw_paper(papers, one, _ramp(one.base)[2])
        depths = sorted({mark.depth for one in series for mark in one.ours + one.paper})
        for panel in dict.fromkeys((ours, papers)):
            panel.set_xscale("log", base=2)
            panel.set_xlim(depths[0] / 1.25, depths[-1] * 1.15)
            panel.xaxis.set_major_locator(FixedLocator(_ticks(depths)))
            panel.xaxis.set_minor_locator(NullLocator())
            panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            panel.set_ylim(-0.02, 1.02)
            panel.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
            panel.set_xlabel("effective depth T(n+1)·n_layers")
        papers.tick_params(labelleft=not apart)
        for panel, kind in ((ours, "ours"), (papers, "paper")) if apart else ((ours, "either"),):
            ends = [(one, marks[-1]) for one in series if (marks := _numbers(one, kind))]
            points = [(one.name, float(mark.depth), mark.accuracy or 0.0) for one, mark in ends]
            _name_ends(panel, points, [_ramp(one.base)[2] for one, _ in ends], at="point" if apart else "edge")
        if has_paper and not apart:
            spreads = any(mark.interval for one in series for mark in one.ours)
            _say_which(ours, "ours, bars: 95 % over seeds" if spreads else "ours, one seed")
    return figure


def draw_accuracy_by_row(
    dots: Sequence[Dot], *, comparable: bool, profile: str, metric: str = "Exact accuracy, test"
) -> Figure | None:
    """A line per row, the accuracy along it: ours filled, the paper's hollow, apart where they cannot be compared.

    metric: what is measured, as the title says it.
    """
    if all(dot.ours is None for dot in dots):
        return None
    has_paper = any(dot.paper is not None or dot.paper_word for dot in dots)
    apart = has_paper and not comparable
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure, axes = _panels(
            1,
            2 if apart else 1,
            width=2.9 if apart else 4.6,
            height=0.3 * len(dots) + 0.1,
            room=0.3 + 0.06 * max(4, *(len(dot.word) for dot in dots if dot.ours is None), 0),
            left=0.2 + 0.066 * max(len(dot.row) for dot in dots),
        )
        ours, papers = axes[0][0], axes[0][-1]
        ours.set_title(f"{metric}: profile {profile}" + (" and the paper" if has_paper and not apart else ""))
        if apart:
            papers.set_title("The paper, full size: not comparable")
        for panel in dict.fromkeys((ours, papers)):
            panel.set_xlim(-0.02, 1.02)
            panel.set_ylim(len(dots) - 0.4, -0.6)  # the first row on top
            panel.set_yticks(range(len(dots)), [dot.row for dot in dots])
            panel.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
            panel.tick_params(axis="y", length=0, labelleft=panel is ours)
        for at, dot in enumerate(dots):
            colour = _ramp(dot.base)[2]
            if dot.paper is not None:
                papers.plot([dot.paper], [at], color=colour, marker="o", markersize=5, markerfacecolor=PAPER, zorder=3)
            if dot.interval is not None:
                ends = [max(0.0, dot.interval.low), min(1.0, dot.interval.high)]
                ours.plot(ends, [at, at], color=colour, linewidth=0.9, marker="|", markersize=6)
            if dot.ours is not None:
                ours.plot([dot.ours], [at], color=colour, marker="o", markersize=5)
            ours_says = dot.word if dot.ours is None else f"{100 * dot.ours:.1f}"
            _say_at_edge(ours, at, ours_says, dot.ours, colour)
            if apart:
                paper_says = dot.paper_word if dot.paper is None else f"{100 * dot.paper:.1f}"
                _say_at_edge(papers, at, paper_says, dot.paper, colour)
        if has_paper and not apart:
            spreads = any(dot.interval for dot in dots)
            _say_which(ours, "ours, bars: 95 % over seeds" if spreads else "ours, one seed", below=0.37)
    return figure


def _say_at_edge(panel: Axes, at: int, text: str, accuracy: float | None, colour: str) -> None:
    """A row's number at the right edge; in place of a number, the word for why there is none."""
    place = panel.get_yaxis_transform()
    panel.text(1.03, at, text, transform=place, va="center", fontsize=8, color=FAINT if accuracy is None else colour)


def _numbers(one: Series, kind: str) -> list[Mark]:
    """The marks of a series that carry a number: ours, the paper's, or ours where there are any."""
    marks = one.ours if kind == "ours" or (kind == "either" and one.ours) else one.paper
    return [mark for mark in marks if mark.accuracy is not None]


def _draw_ours(panel: Axes, one: Series, colour: str) -> None:
    depths = [mark.depth for mark in one.ours]
    values = [mark.accuracy or 0.0 for mark in one.ours]
    joined = "-" if len(set(depths)) == len(depths) else "none"  # rows of equal depth are no curve
    panel.plot(depths, values, color=colour, linewidth=1.4, linestyle=joined, marker="o", markersize=4.5, zorder=3)
    for mark in one.ours:
        if mark.interval is not None:
            low, high = max(0.0, mark.interval.low), min(1.0, mark.interval.high)
            panel.plot([mark.depth] * 2, [low, high], color=colour, linewidth=0.9, marker="_", markersize=6, zorder=2)


def _draw_paper(panel: Axes, one: Series, colour: str) -> None:
    printed = [mark for mark in one.paper if mark.accuracy is not None]
    depths = [mark.depth for mark in printed]
    values = [mark.accuracy or 0.0 for mark in printed]
    joined = (0, (4, 2)) if len(set(depths)) == len(depths) else "none"
    hollow = {"marker": "o", "markersize": 5, "markerfacecolor": PAPER, "markeredgecolor": colour}
    panel.plot(depths, values, color=colour, linewidth=0.9, linestyle=joined, zorder=1, **hollow)  # type: ignore[arg-type]
    for mark in one.paper:
        if mark.accuracy is None:
            at = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center", "fontsize": 7, "color": colour}
            panel.annotate(mark.word, (mark.depth, 0.0), **at)  # type: ignore[arg-type]


def _say_which(panel: Axes, of_ours: str, *, below: float | None = None) -> None:
    """Filled is ours, hollow is the paper's: in grey, since colour says the model.

    below: inches under the panel, side by side and of dots that no line joins; None: inside, lower left.
    """
    filled = Line2D([], [], color=FAINT, linewidth=1.4, marker="o", markersize=4.5)
    hollow = Line2D([], [], color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)), marker="o", markersize=5)
    hollow.set_markerfacecolor(PAPER)
    names = [of_ours, "the paper, one run per cell"]
    if below is None:
        panel.legend([filled, hollow], names, loc="lower left", bbox_to_anchor=(0.0, 0.08), frameon=False)
        return
    for line in (filled, hollow):
        line.set_linestyle("none")
    height = panel.bbox.height / panel.get_figure(root=True).dpi  # type: ignore[union-attr]
    place = (0.0, -below / height)
    panel.legend([filled, hollow], names, loc="center left", bbox_to_anchor=place, ncols=2, borderpad=0, frameon=False)


def _ticks(depths: Sequence[int]) -> list[int]:
    """Powers of two about the depths."""
    return [2**power for power in range(12) if depths[0] / 1.25 <= 2**power <= depths[-1] * 1.45]


def _name_ends(
    panel: Axes,
    ends: Sequence[tuple[str, float, float]],
    colours: Sequence[str],
    *,
    at: Literal["leader", "edge", "point"] = "leader",
) -> None:
    """Each line's name at its end's height, moved apart where they would overlap.

    At the panel's right edge, with a leader to the line's end or without; or right beside the line's last point.
    """
    if not ends:
        return
    points = [panel.transData.transform((x, y)) for _, x, y in ends]
    pixels = panel.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    heights = spread_apart([float(y) for _, y in points], 10.5 * pixels, panel.bbox.y0, panel.bbox.y1)
    beside = {"leader": 13.0, "edge": 5.0, "point": 8.0}
    leader = {"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5)}
    for (label, x, y), (left, low), height, colour in zip(ends, points, heights, colours, strict=True):
        panel.annotate(
            label,
            (x, y),
            xytext=(beside[at] + (0 if at == "point" else (panel.bbox.x1 - left) / pixels), (height - low) / pixels),
            textcoords="offset points",
            va="center",
            color=colour,
            fontsize=8,
            annotation_clip=False,
            arrowprops={**leader, "color": colour} if at == "leader" else None,
        )


def spread_apart(
    wanted: Sequence[float], gap: float, lowest: float = -math.inf, highest: float = math.inf
) -> list[float]:
    """Positions at least `gap` apart, in the order of the wanted ones, with the least squared distance to them.

    Then moved between lowest and highest, as far as there is room; where there is not, they go on below.
    """
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], i))
    blocks: list[list[float]] = []  # of wanted positions less their rank's gap; each block shares its mean
    for rank, index in enumerate(order):
        blocks.append([wanted[index] - rank * gap])
        while len(blocks) > 1 and mean(blocks[-2]) >= mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    placed = [mean(block) + rank * gap for rank, block in enumerate(block for block in blocks for _ in block)]
    placed = [max(position, lowest + rank * gap) for rank, position in enumerate(placed)]
    placed = [min(position, highest - rank * gap) for rank, position in enumerate(reversed(placed))][::-1]
    result = [0.0] * len(wanted)
    for position, index in zip(placed, order, strict=True):
        result[index] = position
    return result


def _ramp(base: str) -> tuple[str, ...]:
    return RAMPS[BASE_ORDER.index(base) % len(RAMPS)] if base in BASE_ORDER else RAMPS[-1]


def _line_colours(lines: Sequence[Line]) -> list[str]:
    """Each line's colour, from its own base's ramp."""
    left = {
        base: iter(_colours(base, [line.depth for line in lines if line.base == base]))
        for base in {line.base for line in lines}
    }
    return [next(left[line.base]) for line in lines]


def _colours(base: str, depths: Sequence[int]) -> list[str]:
    """From the base's ramp, shallow to deep, the whole ramp where there are many rows."""
    ramp = _ramp(base)
    order = sorted(range(len(depths)), key=lambda i: (depths[i], i))
    step = 2 if len(depths) <= 3 else 1
    colours = [""] * len(depths)
    for rank, index in enumerate(order):
        colours[index] = ramp[min(rank * step, len(ramp) - 1)]
    return colours


def _panels(
    lines: int,
    columns: int,
    *,
    width: float,
    height: float,
    room: float,
    left: float = 0.62,
    below: float = 0.0,
    share: bool = True,
) -> tuple[Figure, list[list[Axes]]]:
    """Axes of a size in inches, with `room` right of each for the names of its lines, and `left` of the first.

    below: more room under the last. share: the axes of a line have one y axis.
    """
    bottom, top, between = 0.5 + below, 0.32, 0.58
    whole = left + columns * (width + room)
    tall = bottom + lines * height + (lines - 1) * between + top
    figure = Figure(figsize=(whole, tall), dpi=100, facecolor=PAPER)
    FigureCanvasAgg(figure)
    axes: list[list[Axes]] = []
    for line in range(lines):
        y = bottom + (lines - 1 - line) * (height + between)
        row: list[Axes] = []
        for column in range(columns):
            x = left + column * (width + room)
            place = (x / whole, y / tall, width / whole, height / tall)
            panel = figure.add_axes(place, sharey=row[0] if row and share else None)
            panel.grid(axis="y", color=FAINT, linewidth=0.4, alpha=0.35)
            panel.set_axisbelow(True)
            row.append(panel)
        axes.append(row)
    return figure, axes


# --- bytes ----------------------------------------------------------------------------------------------------------


def png(figure: Figure) -> bytes:
    """The picture at 200 dots per inch, without a date or a program's name."""
    return _saved(figure, lambda out: figure.savefig(out, format="png", dpi=200, metadata={"Software": None}))


def svg(figure: Figure) -> str:
    """The picture as SVG, without a date."""
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    return plain(_saved(figure, lambda out: figure.savefig(out, format="svg", metadata=metadata)).decode())


def _saved(figure: Figure, save: Callable[[io.BytesIO], None]) -> bytes:
    out = io.BytesIO()
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        save(out)
    return out.getvalue()


def inline(image: str, title: str, prefix: str) -> str:
    """An SVG for the inside of a page: no prolog, its own ids, and colours that follow the page's scheme."""
    image = image[image.index("<svg") :].strip()
    image = re.sub(r"<metadata>.*?</metadata>", "", image, flags=re.DOTALL)
    image = re.sub(r' xmlns(:\w+)?="[^"]*"', "", image)
    image = image.replace("xlink:href", "href")
    image = re.sub(r'\bid="', f'id="{prefix}-', image)
    image = re.sub(r'(url\(#|href="#)', rf"\1{prefix}-", image)
    for light, (name, _) in SCHEMES.items():
        image = image.replace(light, f"var(--{name})")
    return image.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)
