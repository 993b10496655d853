"""Accuracy against effective depth, T(n+1)·n_layers: ours, and the paper's beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports import words
from reports.facts import base_name
from reports.figures.learning import short_label
from reports.figures.panels import doubling_axis, dpi_of, fitted, in_per_cent, name_ends, panels
from reports.figures.picture import Facts, Found, NotDrawn, Numbers, Picture
from reports.figures.style import DASHED, FAINT, PAPER, STYLE, Dash, Look, looks
from reports.stats import Interval
from reports.types import Table, TableRow

OUT_OF_MEMORY, OOM = "out of memory", "OOM"  # as we say it, and the paper


@dataclass(frozen=True)
class Mark:
    """One row in the figure. Accuracies as fractions."""

    row: str
    label: str
    depth: int
    accuracy: float | None  # None: no number, `word` says why, and no line goes through
    interval: Interval | None  # over seeds
    seeds: tuple[float, ...]
    word: str = ""


@dataclass(frozen=True)
class Series:
    """One column of the table, by depth: ours and the paper's."""

    base: str
    name: str
    ours: tuple[Mark, ...]
    paper: tuple[Mark, ...]


def accuracy_against_depth(table: Table) -> tuple[Series, ...]:
    """Ours and the paper's accuracy by effective depth, a series per column of the table."""
    found = []
    for name, of in _columns(table).items():
        rows = sorted((row for row in of if row.depth), key=lambda row: row.depth or 0)  # equal: in the table's order
        if rows:
            ours = [_ours(row, rows) for row in rows if row.runs]
            papers = [_papers(row, rows) for row in rows if row.paper is not None]
            found.append(Series(rows[0].base, name, tuple(ours), tuple(papers)))
    return tuple(found)


def _columns(table: Table) -> dict[str, list[TableRow]]:
    columns: dict[str, list[TableRow]] = {}
    for row in table.rows:
        columns.setdefault(row.place["model"] if table.grid else row.base, []).append(row)
    return columns if table.grid else {base_name(rows): rows for rows in columns.values()}


def _ours(row: TableRow, rows: Sequence[TableRow]) -> Mark:
    word = row.status.partition(":")[0] if row.mean is None else ""
    return Mark(row.name, short_label(row, rows), row.depth or 0, row.mean, row.seed_interval, row.values, word)


def _papers(row: TableRow, rows: Sequence[TableRow]) -> Mark:
    printed, word = (None, row.paper) if isinstance(row.paper, str) else (row.paper, "")
    accuracy = None if printed is None else printed / 100
    return Mark(row.name, short_label(row, rows), row.depth or 0, accuracy, None, (), word)


def numbers(series: Sequence[Series]) -> Numbers:
    """A line per mark, ours and the paper's."""
    header = ("whose", "column", "row", "depth", "accuracy", "seed_interval_95_low", "seed_interval_95_high", "word")

    def lines() -> Iterator[tuple[object, ...]]:
        for one in series:
            for whose, marks in (("ours", one.ours), ("paper", one.paper)):
                for mark in marks:
                    ends = (None, None) if mark.interval is None else (mark.interval.low, mark.interval.high)
                    yield (whose, one.name, mark.row, mark.depth, mark.accuracy, *ends, mark.word)

    return Numbers(header, list(lines()))


def draw_accuracy_against_depth(series: Sequence[Series], *, comparable: bool, profile: str) -> Figure | None:
    """Ours filled, with intervals over seeds; the paper's hollow, in its own panel where it cannot be compared."""
    if not any(mark.accuracy is not None for one in series for mark in one.ours):
        return None
    has_paper = any(one.paper for one in series)
    apart = has_paper and not comparable
    room = 0.35 + 0.075 * max(len(one.name) for one in series)
    found = looks([(one.base, 0) for one in series])
    with mpl.rc_context(STYLE):
        figure, axes = panels(1, 2 if apart else 1, width=3.1 if apart else 4.6, height=2.7, room=room, share=False)
        ours, papers = axes[0][0], axes[0][-1]
        ours.set_title(
            f"Exact accuracy, test: profile {profile}" + (" and the paper" if has_paper and not apart else "")
        )
        if apart:
            papers.set_title("The paper, full size: not comparable")
        depths = sorted({mark.depth for one in series for mark in one.ours + one.paper})
        for panel in dict.fromkeys((ours, papers)):
            doubling_axis(panel, depths)
            panel.set_ylim(fitted(_heights(series, panel is ours, panel is papers)))
            in_per_cent(panel.yaxis)
            panel.set_xlabel("effective depth T(n+1)·n_layers")
        for one, look in zip(series, found, strict=True):
            _draw_ours(ours, one, look, beside=has_paper and not apart)
            _draw_paper(papers, one, look)
        for panel, kind in ((ours, "ours"), (papers, "paper")) if apart else ((ours, "either"),):
            named = [
                (one.name, marks[-1], look)
                for one, look in zip(series, found, strict=True)
                if (marks := _numbers(one, kind))
            ]
            points = [(name, float(mark.depth), mark.accuracy or 0.0) for name, mark, _ in named]
            name_ends(panel, points, [look.colour for *_, look in named], at="point" if apart else "leader")
        if has_paper and not apart:
            spreads = any(mark.interval for one in series for mark in one.ours)
            say_which(ours, "ours, bars: 95 % over seeds" if spreads else "ours, one seed")
    return figure


def _heights(series: Sequence[Series], ours: bool, papers: bool) -> Iterator[float]:
    for one in series:
        for mark in (one.ours if ours else ()) + (one.paper if papers else ()):
            yield from mark.seeds
            if mark.accuracy is not None:
                yield mark.accuracy
            if mark.interval is not None:
                yield from (mark.interval.low, mark.interval.high)


def _numbers(one: Series, kind: str) -> list[Mark]:
    """The marks of a series that carry a number: ours, the paper's, or ours where there are any."""
    numbered = [[mark for mark in marks if mark.accuracy is not None] for marks in (one.ours, one.paper)]
    return numbered[0] if kind == "ours" or (kind == "either" and numbered[0]) else numbered[1]


def _draw_ours(panel: Axes, one: Series, look: Look, *, beside: bool) -> None:
    """beside: the paper's are in the same panel."""
    style = _joined(one.ours, "-")
    panel.plot(
        *_points(one.ours), color=look.colour, linewidth=1.4, linestyle=style, marker=look.marker, markersize=4.5
    )
    _say_why(panel, one.ours, look.colour, up=11 if beside else 2, whose="ours " if beside else "")
    for mark in one.ours:
        if mark.interval is not None:
            low, high = max(0.0, mark.interval.low), min(1.0, mark.interval.high)
            panel.plot([mark.depth] * 2, [low, high], color=look.colour, linewidth=0.9, marker="_", markersize=6)


def _draw_paper(panel: Axes, one: Series, look: Look) -> None:
    (line,) = panel.plot(
        *_points(one.paper), color=look.colour, linewidth=0.9, linestyle=_joined(one.paper, DASHED), zorder=1
    )
    line.set(marker=look.marker, markersize=5, markerfacecolor=PAPER)
    _say_why(panel, one.paper, look.colour)


def _joined(marks: Sequence[Mark], line: Dash) -> Dash:
    """Rows of equal depth are no curve."""
    return line if len({mark.depth for mark in marks}) == len(marks) else "none"


def _points(marks: Sequence[Mark]) -> tuple[list[int], list[float]]:
    """(depths, accuracies); a line is interrupted where there is no number."""
    return [m.depth for m in marks], [math.nan if m.accuracy is None else m.accuracy for m in marks]


def _say_why(panel: Axes, marks: Sequence[Mark], colour: str, *, up: float = 2, whose: str = "") -> None:
    """At the panel's foot, so many points up, why there is no number."""
    for mark in marks:
        if mark.accuracy is None:
            panel.annotate(
                whose + mark.word.replace(OUT_OF_MEMORY, OOM), (mark.depth, panel.get_ylim()[0]), xytext=(0, up),
                textcoords="offset points", ha="center", fontsize=7, color=colour,
            )  # fmt: skip


def say_which(panel: Axes, of_ours: str, *, below: float | None = None) -> None:
    """Filled is ours, hollow is the paper's: in grey, since colour says the model.

    below: inches under the panel, side by side and of dots that no line joins; None: inside, lower left.
    """
    filled = Line2D([], [], color=FAINT, linewidth=1.4, marker="o", markersize=4.5)
    hollow = Line2D([], [], color=FAINT, linewidth=0.9, linestyle=(0, (4, 2)), marker="o", markersize=5)
    hollow.set_markerfacecolor(PAPER)
    names = [of_ours, "the paper, one run per cell"]
    if below is None:
        panel.legend([filled, hollow], names, loc="best", frameon=False)
        return
    for line in (filled, hollow):
        line.set_linestyle("none")
    height = panel.bbox.height / dpi_of(panel)
    place = (0.0, -below / height)
    panel.legend([filled, hollow], names, loc="center left", bbox_to_anchor=place, ncols=2, borderpad=0, frameon=False)


def picture(facts: Facts) -> Found:
    """Of a table whose rows are a ladder of depths."""
    table = facts.table
    if table.study.layout == "losses" or table.grid is None or table.grid.by_puzzle:
        return None
    found = accuracy_against_depth(table)
    figure = draw_accuracy_against_depth(found, comparable=table.comparable, profile=table.profile)
    if figure is None:
        return NotDrawn("accuracy_against_depth", "no run has finished yet.")
    bars = words.bars(table)
    caption = f"{words.metric_on(table)} against effective depth.{bars}"
    return Picture("accuracy_against_depth", caption, figure, numbers(found))
