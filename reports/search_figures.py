"""Optuna's figures of a search, mended for a page: sized by what they hold, on paper, no label cut.

Only here does a report load Optuna, and only when there are figures to draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryLocator
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patheffects import AbstractPathEffect, withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from reports.figures.style import FAINT, INK, PAPER, STYLE
from sweeps.search_record import SearchRecord

CAPTIONS = {
    "pareto_front": "What was found of the objectives together; red: those that no other trial dominates.",
    "history": "Every complete trial by its number, and the best until then.",
    "importances": "What the best tenth of the trials has in common: PED-ANOVA's importance of each setting.",
    "parallel_coordinates": "A line per complete trial, through its settings; the darker, the better.",
    "slices": "Each setting alone against the objective; the darker, the later the trial.",
    "timeline": "When each trial ran, in UTC, and how it ended.",
}
KINDS = tuple(CAPTIONS)
ACROSS = 3  # slices in a line
WIDE = 7.4  # inches


@dataclass(frozen=True)
class Pictures:
    """Figures in the page's order, (name, caption, picture), and why others are not there."""

    drawn: Sequence[tuple[str, str, Figure]]
    left_out: Mapping[str, str]


def pictures(record: SearchRecord, kinds: Sequence[str] = KINDS) -> Pictures:
    """Every figure of Optuna's that the trials allow, of these kinds."""
    from sweeps.search_figures import draw

    drawn = draw(record, kinds)
    found = []
    for name, figure in drawn.figures.items():
        kind, _, of = name.partition("-")
        _mend(kind, figure, record)
        found.append((name, CAPTIONS[kind] + (f" Objective: {of}." if of else ""), figure))
    return Pictures(found, drawn.left_out)


def _mend(kind: str, figure: Figure, record: SearchRecord) -> None:
    """Optuna's figure as a page can have it."""
    panels = [panel for panel in figure.axes if panel.get_label() != "<colorbar>"]
    with mpl.rc_context(STYLE):
        figure.set_facecolor(PAPER)
        figure.suptitle("")
        for panel in figure.axes:
            _on_paper(panel)
        for panel in panels:
            _settle_legend(panel, kind)
        figure.set_size_inches(*SIZES.get(kind, _size)(record))
        MENDS.get(kind, _mend_plain)(panels, record)
        has_bar_beside_one = len(figure.axes) > len(panels) and (len(panels) == 1 or kind == "parallel_coordinates")
        figure.set_layout_engine("tight" if has_bar_beside_one else "constrained")  # else the bar has no height
        for _ in range(2):  # where tick labels change, the first layout does not know of it yet
            figure.draw_without_rendering()


def _on_paper(panel: Axes) -> None:
    """White, thin grey lines, dark words of one size, no title: the caption says it."""
    panel.set_facecolor(PAPER)
    for place in ("left", "center", "right"):
        panel.set_title("", loc=place)
    panel.grid(False)
    for side, spine in panel.spines.items():
        spine.set_color(FAINT)
        spine.set_linewidth(0.7)
        spine.set_visible(spine.get_visible() and side in ("left", "bottom", "outline"))
    panel.tick_params(which="both", color=FAINT, labelcolor=INK, labelsize=8)
    for label in (panel.xaxis.label, panel.yaxis.label, *panel.texts):
        label.set_color(INK)
        label.set_fontsize(8.5)
    for axis in (panel.xaxis, panel.yaxis):
        axis.get_offset_text().set(fontsize=8, color=INK)


def _settle_legend(panel: Axes, kind: str) -> None:
    """Over the panel, in one line; none where it only repeats the objective."""
    if (legend := panel.get_legend()) is None:
        return
    handles, labels = list(legend.legend_handles), [text.get_text() for text in legend.get_texts()]
    legend.remove()
    if kind != "importances" and len(labels) > 1:
        panel.legend(
            handles=[handle for handle in handles if handle is not None],
            labels=labels,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=len(labels),
            frameon=False,
            borderpad=0.2,
            fontsize=8,
            labelcolor=INK,
        )


# --- each kind -------------------------------------------------------------------------------------------------------


def _size(record: SearchRecord) -> tuple[float, float]:
    return WIDE, 3.4


def _front(record: SearchRecord) -> tuple[float, float]:
    return WIDE, 3.4 if len(record.objectives) < 3 else 4.8


def _mend_plain(panels: Sequence[Axes], record: SearchRecord) -> None:
    for panel in panels:
        _settle_ticks(panel.xaxis, whole=panel.get_xlabel() == "Trial")
        if panel.name == "3d":  # a front of three, whose names stand outside of what a layout measures
            _mend_depth(panel)


def _mend_depth(panel: Any) -> None:  # an Axes3D, which matplotlib does not type
    for axis in (panel.xaxis, panel.yaxis, panel.zaxis):
        axis.label.set(fontsize=8.5, color=INK)
        axis.set_major_locator(MaxNLocator(4))
    panel.zaxis.labelpad = 8
    panel.set_box_aspect(None, zoom=0.8)


def _mend_importances(panels: Sequence[Axes], record: SearchRecord) -> None:
    for panel in panels:
        panel.set_ylabel("")
        panel.set_xlabel("Importance")
        panel.margins(x=0.1)


def _mend_timeline(panels: Sequence[Axes], record: SearchRecord) -> None:
    for panel in panels:
        locator = AutoDateLocator(minticks=3)  # type: ignore[no-untyped-call]
        panel.xaxis.set_major_locator(locator)
        panel.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        panel.xaxis.get_offset_text().set(fontsize=8, color=INK)
        panel.tick_params(axis="x", rotation=0)
        for label in panel.get_xticklabels():
            label.set_horizontalalignment("center")
        panel.set_xlabel("UTC")


def _mend_parallel(panels: Sequence[Axes], record: SearchRecord) -> None:
    """An axis per setting: names upright, few numbers, each legible over the lines."""
    first, *others = panels
    halo: list[AbstractPathEffect] = [withStroke(linewidth=2.5, foreground=PAPER)]
    names = [label.get_text() for label in first.get_xticklabels()]
    first.set_xticks(first.get_xticks(), [name.rpartition("/")[2] for name in names], rotation=0, ha="center")
    for name, panel in zip(names[1:], others, strict=True):
        panel.spines["right"].set_visible(True)
        panel.spines["left"].set_visible(False)
        panel.patch.set_visible(False)
        _settle_ticks(panel.yaxis, whole=_is_whole(record, name), fine=True)
        for label in panel.get_yticklabels():
            label.set_path_effects(halo)


def _mend_slices(panels: Sequence[Axes], record: SearchRecord) -> None:
    """So many in a line, the objective's name at the first of each. One alone stays where it is, beside its bar."""
    across, lines = _slices(len(panels))
    figure = panels[0].get_figure(root=True)
    assert figure is not None
    grid = figure.add_gridspec(lines, across)
    for at, panel in enumerate(panels):
        if len(panels) > 1:
            panel.set_subplotspec(grid[at // across, at % across])
        panel.set_ylabel(panel.get_ylabel() or panels[0].get_ylabel())
        panel.tick_params(labelbottom=True)
        panel.xaxis.label.set_visible(True)
        if panel.get_xticklabels() and isinstance(panel.xaxis.get_major_locator(), StrCategoryLocator):
            texts = [label.get_text().strip("'") for label in panel.get_xticklabels()]
            panel.set_xticks(panel.get_xticks(), texts)
            panel.margins(x=0.2)
            panel.autoscale(axis="x")
        else:
            _settle_ticks(panel.xaxis, whole=_is_whole(record, panel.get_xlabel()))
    for bar in figure.axes[len(panels) :]:
        bar.yaxis.set_major_locator(MaxNLocator(5, integer=True))  # trials
    for at, panel in enumerate(panels):
        panel.yaxis.label.set_visible(at % across == 0)
        panel.tick_params(labelleft=at % across == 0)


def _slices(n: int) -> tuple[int, int]:
    """How many across, and how many lines."""
    return min(ACROSS, n), math.ceil(n / ACROSS)


def _is_whole(record: SearchRecord, label: str) -> bool:
    """Whether the setting of this label takes whole numbers."""
    return any(axis.step and record.labels[axis.name] == label for axis in record.space)


def _settle_ticks(axis: Axis, *, whole: bool, fine: bool = False) -> None:
    """Few, in plain numbers; whole ones where nothing lies between; fine: on a logarithmic axis between tens too."""
    if axis.get_scale() == "log":
        axis.set_major_locator(LogLocator(subs=(1.0, 3.0) if fine else (1.0,), numticks=6))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    elif isinstance(axis.get_major_locator(), MaxNLocator):
        axis.set_major_locator(MaxNLocator(5, integer=whole))
        if fine:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def _panels(record: SearchRecord) -> tuple[float, float]:
    across, lines = _slices(max(1, len(record.names)))
    return 1.2 + 2.3 * across, 0.3 + 2.2 * lines


SIZES: Mapping[str, Callable[[SearchRecord], tuple[float, float]]] = {  # inches
    "importances": lambda record: (WIDE, 1.0 + 0.32 * len(record.names)),
    "parallel_coordinates": lambda record: (max(WIDE, 2.2 + 1.15 * len(record.names)), 3.8),
    "pareto_front": _front,
    "slices": _panels,
    "timeline": lambda record: (WIDE, min(8.0, 1.4 + 0.09 * max(20, len(record.trials)))),
}
MENDS: Mapping[str, Callable[[Sequence[Axes], SearchRecord], None]] = {
    "importances": _mend_importances,
    "parallel_coordinates": _mend_parallel,
    "slices": _mend_slices,
    "timeline": _mend_timeline,
}
