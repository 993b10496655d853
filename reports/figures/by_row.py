"""Accuracy row by row: ours, and the paper's beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from reports import words
from reports.figures.depth import say_which
from reports.figures.panels import fitted, in_per_cent, panels, say_at_edge
from reports.figures.picture import Facts, Found, NotDrawn, Numbers, Picture
from reports.figures.style import BASE_ORDER, MARKERS, PAPER, STYLE, ramp
from reports.stats import Interval
from reports.types import Table


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


def numbers(dots: Sequence[Dot]) -> Numbers:
    """A line per row."""
    header = ("row", "accuracy", "seed_interval_95_low", "seed_interval_95_high", "word", "paper", "paper_word")

    def line(dot: Dot) -> tuple[object, ...]:
        ends = (None, None) if dot.interval is None else (dot.interval.low, dot.interval.high)
        return (dot.row, dot.ours, *ends, dot.word, dot.paper, dot.paper_word)

    return Numbers(header, [line(dot) for dot in dots])


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
    with mpl.rc_context(STYLE):
        figure, axes = panels(
            1,
            2 if apart else 1,
            width=2.9 if apart else 4.6,
            height=0.3 * len(dots) + 0.1,
            room=0.3 + 0.06 * max(4, *(len(dot.word) for dot in dots if dot.ours is None), 0),
            left=0.2 + 0.066 * max(len(dot.row) for dot in dots),
            share=False,
            grid="x",
        )
        ours, papers = axes[0][0], axes[0][-1]
        ours.set_title(f"{metric}: profile {profile}" + (" and the paper" if has_paper and not apart else ""))
        if apart:
            papers.set_title("The paper, full size: not comparable")
        for panel in dict.fromkeys((ours, papers)):
            panel.set_xlim(fitted(_drawn(dots, panel is ours, panel is papers)))
            panel.set_ylim(len(dots) - 0.4, -0.6)  # the first row on top
            panel.set_yticks(range(len(dots)), [dot.row for dot in dots])
            in_per_cent(panel.xaxis)
            panel.tick_params(axis="y", length=0, labelleft=panel is ours)
        for at, dot in enumerate(dots):
            colour = ramp(dot.base)[2]
            marker = MARKERS[BASE_ORDER.index(dot.base)] if dot.base in BASE_ORDER else MARKERS[0]
            if dot.paper is not None:
                papers.plot(
                    [dot.paper], [at], color=colour, marker=marker, markersize=5, markerfacecolor=PAPER, zorder=3
                )
            if dot.interval is not None:
                ends = [max(0.0, dot.interval.low), min(1.0, dot.interval.high)]
                ours.plot(ends, [at, at], color=colour, linewidth=0.9, marker="|", markersize=6)
            if dot.ours is not None:
                ours.plot([dot.ours], [at], color=colour, marker=marker, markersize=5)
            ours_says = dot.word if dot.ours is None else f"{100 * dot.ours:.1f}"
            say_at_edge(ours, at, ours_says, colour=colour, there_is_one=dot.ours is not None)
            if apart:
                paper_says = dot.paper_word if dot.paper is None else f"{100 * dot.paper:.1f}"
                say_at_edge(papers, at, paper_says, colour=colour, there_is_one=dot.paper is not None)
        if has_paper and not apart:
            spreads = any(dot.interval for dot in dots)
            say_which(ours, "ours, bars: 95 % over seeds" if spreads else "ours, one seed", below=0.37)
    return figure


def _drawn(dots: Sequence[Dot], ours: bool, papers: bool) -> Iterator[float]:
    for dot in dots:
        if ours and dot.ours is not None:
            yield dot.ours
        if ours and dot.interval is not None:
            yield from (dot.interval.low, dot.interval.high)
        if papers and dot.paper is not None:
            yield dot.paper


def picture(facts: Facts) -> Found:
    """Of a table whose rows are each a change of its own."""
    table = facts.table
    if table.study.layout == "losses" or not (table.grid is None or table.grid.by_puzzle):
        return None
    found = accuracy_by_row(table)
    figure = draw_accuracy_by_row(
        found, comparable=table.comparable, profile=table.profile, metric=words.metric_name(table)
    )
    if figure is None:
        return NotDrawn("accuracy_by_row", "no run has finished yet.")
    return Picture(
        "accuracy_by_row", f"{words.metric_on(table)}, row by row.{words.bars(table)}", figure, numbers(found)
    )
