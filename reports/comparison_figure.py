"""A comparison as a picture: row × setting, the darker the better, the chosen one framed."""

from __future__ import annotations

from dataclasses import replace

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.comparison import Cell, Comparison, tied_rows
from reports.comparison_tables import last_column, number
from reports.figures.style import FAINT, INK, PAPER, RAMPS, STYLE
from reports.runs import choosing_metric
from reports.words import short

TALL, CHARACTER = 0.32, 0.068  # inches: a row, a character of the values
SHADES = LinearSegmentedColormap.from_list("scores", [PAPER, RAMPS[0][0], RAMPS[0][4]])


def draw(comparison: Comparison) -> Figure | None:
    """Row × setting, the darker the better, the chosen one framed; the test of that one at the right."""
    scores = [cell.score.mean for line in comparison.lines for cell in line.cells if cell.score is not None]
    if not scores:
        return None
    what = "Exact accuracy on validation, %" if comparison.has_test else f"{choosing_metric(comparison.study)}, nats"
    title = f"{what}: profile {comparison.profile}"
    count, lines = len(comparison.settings), comparison.lines
    values = [[short(setting.values[at], 16) for setting in comparison.settings] for at in range(len(comparison.names))]
    longest = max((len(value) for of in values for value in of), default=0)
    wide = min(max(0.62, 0.1 + CHARACTER * longest), 1.0) if count <= 8 else 0.62 if count <= 16 else 0.5
    lengths = [CHARACTER * max(map(len, of)) for of in values]  # inches
    steps = [0.19 if length <= wide - 0.08 else length + 0.1 for length in lengths]  # upright, or on their side
    left = 0.3 + 0.076 * max(len(text) for text in [*(line.row for line in lines), *comparison.names])
    right = 1.4 if comparison.has_test else 0.25
    ties = tied_rows(lines)
    top, bottom = 0.45 + sum(steps), 0.4 if ties else 0.15
    size = (max(left + count * wide + right, 0.3 + 0.08 * len(title)), top + TALL * len(lines) + bottom)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=100, facecolor=PAPER)
        FigureCanvasAgg(figure)
        place = (left / size[0], bottom / size[1], count * wide / size[0], TALL * len(lines) / size[1])
        axes = figure.add_axes(place)
        axes.set_xlim(0, count)
        axes.set_ylim(len(lines), 0)
        axes.set_axis_off()
        for y, line in enumerate(lines):
            axes.text(-0.12 / wide, y + 0.5, line.row, ha="right", va="center")
            for x, cell in enumerate(line.cells):
                _draw_cell(axes, x, y, cell, comparison, (min(scores), max(scores)))
            if comparison.has_test:
                axes.text(count + 0.15 / wide, y + 0.5, "".join(last_column(comparison, line)), ha="left", va="center")
        height = 0.07  # inches above the cells
        for name, of, step in reversed(list(zip(comparison.names, values, steps, strict=True))):
            axes.text(-0.12 / wide, -height / TALL, name, ha="right", va="bottom", weight="bold")
            for x, value in enumerate(of):
                side = 0 if step == 0.19 else 90
                axes.text(x + 0.5, -height / TALL, value, ha="center", va="bottom", rotation=side, fontsize=8)
            height += step
        if comparison.has_test:
            axes.text(count + 0.15 / wide, -0.07 / TALL, "test of the best", ha="left", va="bottom", weight="bold")
        figure.text(0.12 / size[0], 1 - 0.12 / size[1], title, va="top", fontsize=9.5)
        if ties:
            said = short(f"Equally good, the first framed: {ties}", int((size[0] - 0.24) / CHARACTER))
            figure.text(0.12 / size[0], 0.12 / size[1], said, va="bottom", fontsize=8)
    return figure


def _draw_cell(axes: Axes, x: int, y: int, cell: Cell, comparison: Comparison, ends: tuple[float, float]) -> None:
    """A square in the shade of its score, between the least and the greatest of all; or the word for why none."""
    if cell.score is None:
        words = short(cell.word.partition(":")[0], 24).replace(" ", "\n", 1)
        axes.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, facecolor="none", edgecolor=FAINT, linewidth=0.3))
        axes.text(x + 0.5, y + 0.5, words, ha="center", va="center", fontsize=5.5, color=FAINT)
        return
    low, high = ends
    share = 0.5 if high == low else (cell.score.mean - low) / (high - low)
    share = 0.08 + 0.92 * (share if comparison.has_test else 1 - share)  # of losses the least is darkest
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=SHADES(share), edgecolor=PAPER, linewidth=0.8))
    if cell.chosen:
        frame = Rectangle((x, y), 1, 1, facecolor="none", edgecolor=INK, linewidth=1.6, zorder=4)
        axes.add_patch(frame)
        frame.set_clip_on(False)
    text = number(comparison.study, replace(cell.score, low=None, high=None))
    colour, weight = PAPER if share > 0.5 else INK, "bold" if cell.chosen else "normal"
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=8, color=colour, weight=weight)
