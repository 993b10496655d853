"""A forest plot: every row less the baseline, with the simultaneous 95 % interval of its test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from reports import words
from reports.figures.panels import CHARACTER, panels, say_at_edge
from reports.figures.picture import Facts, Found, NotDrawn, Numbers, Picture
from reports.figures.style import FAINT, INK, PAPER, STYLE, ramp
from reports.stats import Difference
from reports.types import Table

NAME = "differences"


@dataclass(frozen=True)
class Gap:
    """One row of the plot; points are percentage points."""

    row: str
    base: str
    other: str  # the baseline
    found: Difference | None  # None: the row has no number, `word` says why
    word: str


def differences(table: Table) -> tuple[Gap, ...]:
    """Every row that was tested against its baseline, and those that could not be; without the baselines."""
    tested = [row for row in table.rows if row.against is not None]
    if not tested:
        return ()
    default = tested[0].against.other if tested[0].against is not None else ""
    return tuple(
        Gap(
            row.name,
            row.base,
            default if row.against is None else row.against.other,
            row.against,
            "" if row.against is not None else row.status.partition(":")[0] or "not tested",
        )
        for row in table.rows
        if row.name not in table.study.baseline and row.runs
    )


def numbers(gaps: Sequence[Gap]) -> Numbers:
    """A line per row; differences as fractions."""
    header = (
        "row",
        "baseline",
        "difference",
        "simultaneous95_low",
        "simultaneous95_high",
        "p_adjusted",
        "test",
        "word",
    )

    def line(gap: Gap) -> tuple[object, ...]:
        if gap.found is None:
            return (gap.row, gap.other, None, None, None, None, "", gap.word)
        ends = (None, None) if gap.found.interval is None else (gap.found.interval.low, gap.found.interval.high)
        return (gap.row, gap.other, gap.found.mean, *ends, gap.found.p, gap.found.by, "")

    return Numbers(header, [line(gap) for gap in gaps])


def draw(gaps: Sequence[Gap], *, metric: str, profile: str) -> Figure | None:
    """A line per row about zero: filled where chance alone is an unlikely reason, hollow where not."""
    if all(gap.found is None for gap in gaps):
        return None
    said = [_said(gap) for gap in gaps]
    with mpl.rc_context(STYLE):
        left = 0.25 + CHARACTER * max(len(gap.row) for gap in gaps)
        height = 0.27 * len(gaps) + 0.1
        room = 0.3 + 0.062 * max(map(len, said))
        figure, axes = panels(1, 1, width=3.6, height=height, room=room, left=left, share=False, grid="x")
        panel = axes[0][0]
        panel.axvline(0, color=FAINT, linewidth=1.0, zorder=0)
        for at, gap in enumerate(gaps):
            colour = ramp(gap.base)[2]
            say_at_edge(panel, at, said[at], colour=INK, there_is_one=gap.found is not None)
            if gap.found is None:
                continue
            if gap.found.interval is not None:
                ends = [100 * gap.found.interval.low, 100 * gap.found.interval.high]
                panel.plot(ends, [at, at], color=colour, linewidth=1.2, marker="|", markersize=6)
            fill = colour if gap.found.is_real else PAPER
            panel.plot([100 * gap.found.mean], [at], color=colour, marker="s", markersize=5.5, markerfacecolor=fill)
        panel.set_ylim(len(gaps) - 0.4, -0.6)
        panel.set_yticks(range(len(gaps)), [gap.row for gap in gaps])
        panel.tick_params(axis="y", length=0)
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:+.10g}".replace("-", "−") if value else "0")
        panel.set_xlabel("percentage points")
        others = list(dict.fromkeys(gap.other for gap in gaps))
        beside = f", less {others[0]}" if len(others) == 1 else ", less the baseline"
        panel.set_title(f"{metric}{beside}: profile {profile}")
        panel.title.set_x(-left / 3.6 + 0.12 / 3.6)
    return figure


def _said(gap: Gap) -> str:
    """ "−3.2  p 0.01"."""
    if gap.found is None:
        return gap.word
    p = words.probability(gap.found.p)
    return f"{words.signed(100 * gap.found.mean)}   p {p}"


def picture(facts: Facts) -> Found:
    """Of a study that names its baseline."""
    table = facts.table
    if table.study.layout == "losses" or not table.study.baseline:
        return None
    gaps = differences(table)
    figure = draw(gaps, metric=words.metric_name(table), profile=table.profile) if gaps else None
    if figure is None:
        return NotDrawn(
            NAME,
            "no row can be tested against the baseline yet; two seeds or more of both tell (--seeds 3).",
        )
    by = " and ".join(dict.fromkeys(gap.found.by for gap in gaps if gap.found is not None))
    has = [gap.found.interval is not None for gap in gaps if gap.found is not None]
    bars = (
        "Bars: simultaneous 95 % intervals."
        if all(has)
        else "Bars, where there are some: simultaneous 95 % intervals; the logit scale has none in points."
        if any(has)
        else "No intervals: the logit scale has none in points."
    )
    others = "; ".join(dict.fromkeys(gap.other for gap in gaps))
    caption = (
        f"{words.metric_name(table)}: each row less the baseline, {others},"
        f" in percentage points. {bars} Filled: significantly different, 5 % in all ({by})."
    )
    return Picture(NAME, caption, figure, numbers(gaps))
