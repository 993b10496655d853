"""What the figures share: axes of a size in inches, names at the ends of lines, limits and ticks that fit the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullLocator

from reports.figures.style import FAINT, INK, PAPER, Look
from reports.stats import mean

CHARACTER = 0.067  # inches, of a name in letters of 8.5 points
MARGIN = 0.05  # of an axis, beyond what is drawn
NARROW = 0.02  # an axis of fractions is no shorter: noise is not drawn as a difference


def dpi_of(panel: Axes) -> float:
    """Dots per inch of the figure that a panel stands in."""
    figure = panel.get_figure(root=True)
    assert figure is not None
    return float(figure.dpi)


def panels(
    lines: int,
    columns: int,
    *,
    width: float,
    height: float,
    room: float,
    left: float = 0.62,
    below: float = 0.0,
    between: float = 0.58,
    share: bool = True,
    grid: Literal["x", "y", "both", "none"] = "y",
) -> tuple[Figure, list[list[Axes]]]:
    """Axes of a size in inches, with `room` right of each for the names of its lines, and `left` of the first.

    below: more room under the last; between: under each other. share: the axes of a line have one y axis.
    """
    bottom, top = 0.5 + below, 0.32
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
            if grid != "none":
                panel.grid(axis=grid, color=FAINT, linewidth=0.4, alpha=0.35)
            panel.set_axisbelow(True)
            row.append(panel)
        axes.append(row)
    return figure, axes


# --- limits and ticks -------------------------------------------------------------------------------------------------


def fitted(fractions: Iterable[float]) -> tuple[float, float]:
    """The limits of an axis of fractions [0..1] that fit what is drawn; from 0 where that is not far."""
    values = [value for value in fractions if math.isfinite(value)]
    if not values or max(values) <= 0:
        return -MARGIN * NARROW, NARROW
    low, high = max(0.0, min(values)), min(1.0, max(values))
    low = 0.0 if low <= 0.6 * high else low
    if high - low < NARROW:
        high = min(1.0, max(0.0, (low + high - NARROW) / 2) + NARROW)
        low = high - NARROW
    pad = MARGIN * (high - low)
    return low - pad, high + pad


def in_per_cent(axis: Axis) -> None:
    """A few ticks of an axis of fractions, in per cent, without needless decimals."""
    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(lambda value, _: f"{100 * value:.10g} %".replace("-", "−"))


def whole_ticks(axis: Axis, most: int = 8) -> None:
    """Ticks at whole numbers alone."""
    axis.set_major_locator(MaxNLocator(nbins=most, integer=True, min_n_ticks=1, steps=[1, 2, 4, 5, 8, 10]))


def in_training_steps(panel: Axes) -> None:
    """An x axis of training steps, thousands apart."""
    panel.set_xlabel("training step")
    most = max(4, int(panel.bbox.width / dpi_of(panel) / 0.72))
    panel.xaxis.set_major_locator(MaxNLocator(nbins=most, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def doubling_axis(panel: Axes, values: Iterable[float], *, most: int = 12) -> None:
    """An x axis of powers of two about these positive numbers, each tick printed as a number."""
    low, high = min(values := sorted(values)), max(values)
    panel.set_xscale("log", base=2)
    panel.set_xlim(low / 1.25, high * 1.15)
    powers = [2**power for power in range(40) if low / 1.25 <= 2**power <= high * 1.15]
    panel.xaxis.set_major_locator(FixedLocator(powers[:: -(-len(powers) // most)]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def price_axis(panel: Axes, values: Iterable[float]) -> None:
    """An x axis about these positive numbers: from 0 where they are near each other, else logarithmic."""
    low, high = min(values := sorted(values)), max(values)
    if high < 3 * low:
        panel.set_xlim(0, 1.08 * high)
        panel.xaxis.set_major_locator(MaxNLocator(nbins=5))
        panel.xaxis.set_major_formatter(lambda value, _: amount(value))
    else:
        pad = (high / low) ** 0.06
        panel.set_xscale("log")
        panel.set_xlim(low / pad, high * pad)
        logarithmic_ticks(panel.xaxis, high / low)


def logarithmic_ticks(axis: Axis, ratio: float) -> None:
    """Ticks of an axis over so many times its least: 1, 2, 5, or of a long one the powers of ten alone."""
    axis.set_minor_locator(NullLocator())
    if ratio < 4:
        axis.set_major_locator(MaxNLocator(nbins=5))
        axis.set_major_formatter(lambda value, _: f"{value:.3g}")
        return
    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0) if ratio < 50 else (1.0,), numticks=9))
    axis.set_major_formatter(lambda value, _: amount(value))


def amount(value: float) -> str:
    """A positive number as a person reads it: "0.02", "37", "1,200", "3.4·10¹⁵"."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.2g}" if abs(value) < 10 else f"{value:,.0f}"
    mantissa, exponent = f"{value:.1e}".split("e")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPTS)
    mantissa = mantissa.removesuffix(".0")
    return power if mantissa == "1" else f"{mantissa}·{power}"


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# --- names ------------------------------------------------------------------------------------------------------------


def name_ends(
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
    pixels = dpi_of(panel) / 72
    heights = spread_apart([float(y) for _, y in points], 10.5 * pixels, panel.bbox.y0, panel.bbox.y1)
    beside = {"leader": 13.0, "edge": 5.0, "point": 8.0}[at] * pixels
    figure = panel.figure
    inches, dots = figure.dpi_scale_trans, dpi_of(panel)  # the panels' size in inches is settled
    leaders = []
    for (label, *_), (left, low), height, colour in zip(ends, points, heights, colours, strict=True):
        x = beside + (left if at == "point" else panel.bbox.x1)
        panel.text(x / dots, height / dots, label, transform=inches, va="center", color=colour, fontsize=8)
        leaders.append([(left / dots, low / dots), ((x - 4 * pixels) / dots, height / dots)])
    if at == "leader":
        panel.add_collection(
            LineCollection(leaders, colors=colours, linewidths=0.5, transform=inches, clip_on=False), autolim=False
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


def room_for(names: Iterable[str]) -> float:
    """Inches that the longest of these names takes beside a panel."""
    return 0.35 + CHARACTER * max((len(name) for name in names), default=0)


def room_for_key(names: Iterable[str], *, lines: bool = False) -> float:
    """Inches that the key of these names takes beside a panel."""
    return room_for(names) + (0.3 if lines else 0.12)


def key_beside(panel: Axes, found: Mapping[str, Look], *, lines: bool = False) -> Legend:
    """Which marker is which row, right of the panel; with its dash where the rows are lines."""
    handles = [
        Line2D([], [], color=look.colour, marker=look.marker, markersize=5, linestyle=look.dash if lines else "none")
        for look in found.values()
    ]
    return panel.legend(
        handles,
        list(found),
        loc="upper left",
        bbox_to_anchor=(1.02, 1.04),
        borderpad=0,
        borderaxespad=0,
        handlelength=2.6 if lines else 1.0,
        labelspacing=0.45,
        labelcolor=INK,
    )


def key_height(rows: int) -> float:
    """Inches that a key of so many rows takes."""
    return 0.175 * rows


def say_at_edge(panel: Axes, at: float, text: str, *, colour: str, there_is_one: bool = True) -> None:
    """A line's number at the panel's right edge; in place of a number, faint, the word for why there is none."""
    place = panel.get_yaxis_transform()
    panel.text(1.03, at, text, transform=place, va="center", fontsize=8, color=colour if there_is_one else FAINT)
