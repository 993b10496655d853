"""At which supervision steps the answers settled, and at which the halting head asked to halt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from reports.figures.panels import fitted, in_per_cent, key_height, panels, whole_ticks
from reports.figures.picture import Facts, Found, NotDrawn, Numbers, Picture
from reports.figures.ratings import AGAIN
from reports.figures.style import FAINT, INK, STYLE, ramp
from reports.plain import one_line
from reports.types import Table
from trm_core.outcomes import Outcomes

NAME = "halting"
ACROSS = 3  # panels in a line
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Settled:
    """One row: shares [0..1] of its test puzzles by supervision step 1, …, N_sup, means over its runs."""

    row: str
    base: str
    runs: int
    N_sup: int
    right: Array  # [N_sup], settled on the right answer after this step
    wrong: Array  # [N_sup], on another
    halted: Array | None  # [N_sup], the head first asked to halt here; None: nothing trains the head
    never: float  # the head asked at none of them

    @property
    def steps(self) -> range:
        """Of the supervision, from 1."""
        return range(1, self.N_sup + 1)


def halting(table: Table, outcomes: Mapping[str, Outcomes]) -> tuple[Settled, ...]:
    """Of every row whose outcomes are at hand. Runs of another N_sup than its first stay out."""
    found = []
    for row in table.rows:
        kept = [outcomes[run.run_id] for run in row.runs if run.accuracy is not None and run.run_id in outcomes]
        kept = [one for one in kept if len(one) and one.N_sup == kept[0].N_sup]
        if not kept:
            continue
        N_sup, trained = kept[0].N_sup, row.settings is None or row.settings.model.halting != "none"
        right = _mean_shares([_shares(one.settled_at[one.solved], N_sup, len(one)) for one in kept])
        wrong = _mean_shares([_shares(one.settled_at[~one.solved], N_sup, len(one)) for one in kept])
        halted = _mean_shares([_shares(one.halted_at, N_sup, len(one)) for one in kept])
        never = float(np.mean([(one.halted_at == 0).mean() for one in kept]))
        found.append(Settled(row.name, row.base, len(kept), N_sup, right, wrong, halted if trained else None, never))
    return tuple(found)


def _shares(steps: NDArray[np.unsignedinteger[Any]], N_sup: int, n: int) -> Array:
    return np.bincount(steps, minlength=N_sup + 1)[1 : N_sup + 1] / n


def _mean_shares(shares: Sequence[Array]) -> Array:
    return np.asarray(np.mean(shares, axis=0))


def numbers(found: Sequence[Settled]) -> Numbers:
    """A line per row and step, and one for the puzzles at which the head never asked."""
    header = ("row", "runs", "supervision_step", "settled_right", "settled_wrong", "halted")

    def lines() -> Iterator[tuple[object, ...]]:
        for one in found:
            for at, step in enumerate(one.steps):
                halted = None if one.halted is None else float(one.halted[at])
                yield (one.row, one.runs, step, float(one.right[at]), float(one.wrong[at]), halted)
            if one.halted is not None:
                yield (one.row, one.runs, "never", None, None, one.never)

    return Numbers(header, list(lines()))


def draw(found: Sequence[Settled]) -> Figure | None:
    """A panel per row: filled where answers settled, right and wrong on each other; outlined where the head asked."""
    if not found:
        return None
    across = min(ACROSS, len(found))
    down = -(-len(found) // across)
    top = max(float((one.right + one.wrong).max()) for one in found)
    top = max(top, max(float(one.halted.max()) for one in found if one.halted is not None) if any(
        one.halted is not None for one in found) else 0.0)  # fmt: skip
    with mpl.rc_context(STYLE):
        key_lines = 1 if across > 2 else 3  # what it says is as wide as three panels
        below = 0.32 + key_height(key_lines - 1)
        figure, axes = panels(down, across, width=2.1, height=1.15, room=0.22, between=0.62, below=below)
        for at in range(down * across):
            panel = axes[at // across][at % across]
            panel.set_visible(at < len(found))
            if at < len(found):
                _draw_panel(panel, found[at])
                panel.set_ylim(0, fitted([0.0, top])[1])
                in_per_cent(panel.yaxis)
                panel.tick_params(labelleft=at % across == 0)
                if at + across >= len(found):
                    panel.set_xlabel("supervision step")
        dark, light = (Patch(facecolor=FAINT, alpha=alpha) for alpha in (1.0, 0.35))
        asked = Line2D([], [], color=INK, linewidth=1.2)
        figure.legend(
            [dark, light, asked],
            ["settled, right answer", "settled, wrong", "the head first asks to halt"],
            loc="lower left",
            bbox_to_anchor=(0.5 / figure.get_size_inches()[0], 0.0),
            ncols=3 // key_lines,
        )
    return figure


def _draw_panel(panel: Axes, one: Settled) -> None:
    colour = ramp(one.base)[2]
    panel.bar(one.steps, one.right, width=0.86, color=colour)
    panel.bar(one.steps, one.wrong, width=0.86, bottom=one.right, color=colour, alpha=0.35)
    if one.halted is not None:
        panel.stairs(one.halted, np.arange(0.5, one.N_sup + 1), color=INK, linewidth=1.1)
    never = f" · never {100 * one.never:.0f} %" if one.halted is not None and one.never >= 0.005 else ""
    panel.set_title(one_line(f"{one.row}{never}"), fontsize=8.5)
    panel.set_xlim(0.3, one.N_sup + 0.7)
    whole_ticks(panel.xaxis, 6)


def picture(facts: Facts) -> Found:
    """Of runs whose outcomes are at hand."""
    if facts.table.study.layout == "losses":
        return None
    found = halting(facts.table, facts.outcomes)
    figure = draw(found)
    if figure is None:
        return NotDrawn(
            NAME,
            "no run's outcomes.npz is at hand; a run that looks at its test set (train.evaluate_on=test) keeps one, and"
            f" {AGAIN} makes one of a checkpoint.",
        )
    caption = (
        "Test puzzles by the supervision step after which their answer did not change any more, and by the first at"
        " which the halting head asked to halt, as in training and without exploration; means over the seeds."
        " Never: so many it did not ask to halt at any step."
    )
    return Picture(NAME, caption, figure, numbers(found))
