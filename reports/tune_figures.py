"""A tuned study's figures: each row as published and tuned alike, and Optuna's slices of each row's trials."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from reports.figures.style import FAINT, INK, PAPER, RAMPS, STYLE
from reports.search_figures import pictures
from reports.search_tables import difference_text, is_share
from sweeps.records.summary import Spread
from sweeps.tune_record import TuningRecord

AS_PUBLISHED, TUNED = INK, RAMPS[0][2]
OFFSET = 0.13  # of a line: the two intervals lie apart


def figures(record: TuningRecord) -> Iterator[tuple[str, str, Figure]]:
    """(name, caption, picture) in the page's order: those for which there are numbers."""
    if (gains := draw_gains(record)) is not None:
        bars = ", with its 95 % interval over seeds" if len(record.seeds) > 1 else ""
        yield "gains", f"{record.metric} of each row as published and at its own best settings{bars}.", gains
    for at, row in enumerate(record.rows, start=1):
        for name, caption, figure in pictures(row.search, kinds=("slices",)).drawn:
            yield f"{name}-{at}-{_slug(row.name)}", f"{row.name}: {caption}", figure


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40]


def draw_gains(record: TuningRecord) -> Figure | None:
    """A line per row: hollow as published, filled tuned alike, the gain at the right edge."""
    if not any(row.as_published or row.tuned for row in record.rows):
        return None
    n = len(record.rows)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.4, 1.1 + 0.42 * n), layout="constrained")
        panel = figure.add_subplot()
        panel.set_ylim(n - 0.4, -0.6)  # the first row on top
        panel.set_yticks(range(n), [row.name if len(row.name) <= 34 else f"{row.name[:33]}…" for row in record.rows])
        panel.tick_params(axis="y", length=0)
        panel.grid(visible=True, axis="x", color=FAINT, linewidth=0.3)
        for at, row in enumerate(record.rows):
            before, after = row.as_published, row.tuned
            if before and after:
                panel.plot([before.mean, after.mean], [at - OFFSET, at + OFFSET], color=FAINT, linewidth=0.9)
            within = (0.0, 1.0) if is_share(record.metric) else (-math.inf, math.inf)
            _draw(panel, at - OFFSET, before, within, AS_PUBLISHED, hollow=True)
            _draw(panel, at + OFFSET, after, within, TUNED, hollow=False)
            said = difference_text(record.metric, row.gain).partition(" [")[0]
            panel.text(1.02, at, said, transform=panel.get_yaxis_transform(), va="center", fontsize=8, color=INK)
        panel.margins(x=0.06)
        if is_share(record.metric):
            panel.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
        panel.set_xlabel(record.metric)
        panel.text(1.02, -0.6, "gain", transform=panel.get_yaxis_transform(), va="bottom", fontsize=8, color=FAINT)
        shown = [
            Line2D([], [], color=AS_PUBLISHED, marker="o", markerfacecolor=PAPER, markersize=5, linestyle="none"),
            Line2D([], [], color=TUNED, marker="o", markersize=5, linestyle="none"),
        ]
        names = ["as published", "tuned alike"]
        panel.legend(shown, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderpad=0.2)
    return figure


def _draw(
    panel: Axes, at: float, found: Spread | None, within: tuple[float, float], colour: str, *, hollow: bool
) -> None:
    """A mean and its interval, as far as that lies within what a score can be."""
    if found is None:
        return
    if found.low is not None and found.high is not None:
        panel.plot(
            [max(within[0], found.low), min(within[1], found.high)],
            [at, at],
            color=colour,
            linewidth=0.9,
            marker="|",
            markersize=6,
        )
    face = PAPER if hollow else colour
    panel.plot([found.mean], [at], color=colour, marker="o", markersize=5, markerfacecolor=face, zorder=3)
