"""ARC: accuracy against how many variants of a task vote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from reports import words
from reports.curves import NO_VOTES
from reports.figures.panels import fitted, in_per_cent, name_ends, panels, room_for
from reports.figures.picture import Facts, Found, NotDrawn, Numbers, Picture
from reports.figures.style import DASHED, FAINT, STYLE, looks_by_name
from reports.runs import passes
from reports.types import Table, VoteCurve


def numbers(table: Table) -> Numbers:
    """A line per row, attempts and number of votes."""

    def lines() -> Iterator[tuple[object, ...]]:
        for curve in table.vote_curves:
            for k, values in sorted(curve.pass_at.items()):
                for votes, value in zip(curve.votes, values, strict=True):
                    yield (curve.row, curve.seeds, k, votes, value)

    return Numbers(("row", "seeds", "attempts", "variants_that_vote", "accuracy"), list(lines()))


def draw_accuracy_against_votes(table: Table) -> Figure | None:
    """pass@2 solid and pass@1 dashed against how many variants of a task vote; a panel per column of the table."""
    rows = {row.name: row for row in table.rows}
    by_column: dict[str, list[VoteCurve]] = {}
    for curve in table.vote_curves:
        by_column.setdefault(rows[curve.row].place.get("model", "") if table.grid is not None else "", []).append(curve)
    if not by_column:
        return None
    labels = {curve.row: rows[curve.row].place.get("method", curve.row) for curve in table.vote_curves}
    with mpl.rc_context(STYLE):
        room = room_for(labels.values())
        figure, axes = panels(len(by_column), 1, width=4.2, height=2.3, room=room, between=0.76, below=0.3)
        kept = looks_by_name(
            (labels[row.name], row.base, row.depth or 0) for row in rows.values() if row.name in labels
        )
        for panel, (column, curves) in zip([line[0] for line in axes], by_column.items(), strict=True):
            found = [kept[labels[curve.row]] for curve in curves]
            for curve, look in zip(curves, found, strict=True):
                how: dict[str, Any] = {"color": look.colour, "linewidth": 1.3, "marker": look.marker, "markersize": 3.5}
                panel.plot(curve.votes, curve.pass_at[1], linestyle=DASHED, markerfacecolor="none", **how)
                panel.plot(curve.votes, curve.pass_at[2], **how)
            most = max(curve.votes[-1] for curve in curves)
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
            panel.set_ylim(fitted(value for curve in curves for k in (1, 2) for value in curve.pass_at[k]))
            in_per_cent(panel.yaxis)
            ends = [(labels[curve.row], float(curve.votes[-1]), curve.pass_at[2][-1]) for curve in curves]
            name_ends(panel, ends, [look.colour for look in found])
        two = Line2D([], [], color=FAINT, linewidth=1.3, marker="o", markersize=3.5)
        one = Line2D([], [], color=FAINT, linewidth=1.3, linestyle=DASHED, marker="o", markersize=3.5)
        one.set_markerfacecolor("none")
        axes[-1][0].legend(
            [two, one],
            ["two attempts (pass@2)", "one (pass@1)"],
            loc="center left",
            bbox_to_anchor=(0.0, -0.63 / 2.3),
            ncols=2,
            borderpad=0,
        )
    return figure


def picture(facts: Facts) -> Found:
    """Of a study whose answers are voted on."""
    table = facts.table
    if passes(table.study.metric) is None:
        return None
    figure = draw_accuracy_against_votes(table)
    if figure is None:
        return NotDrawn(
            "accuracy_against_votes",
            f"{NO_VOTES} of any row; a run writes it at its end, and `python -m trm_core vote` from its predictions.",
        )
    caption = f"{words.VOTES_TITLE}: where only the first so many variants of each task vote. {words.ONE_CHECKPOINT}"
    return Picture("accuracy_against_votes", caption, figure, numbers(table))
