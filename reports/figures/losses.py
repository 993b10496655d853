"""Training losses: every row of a table of losses in one panel."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure

from reports.figures.learning import NO_CURVES, Panel, draw_lines, line_of, looks_of, name_lines, numbers
from reports.figures.panels import in_training_steps, panels, room_for
from reports.figures.picture import Curves, Facts, Found, NotDrawn, Picture
from reports.figures.style import STYLE
from reports.runs import loss_metric
from reports.types import Table


def training_losses(table: Table, curves: Curves) -> Panel:
    """The training loss of every row that has a curve, all in one panel."""
    metric = loss_metric(table.study)
    lines = [line_of(row, row.name, metric, curves) for row in table.rows]
    return Panel(metric, "", tuple(line for line in lines if line is not None))


def draw_training_losses(panel: Panel, *, profile: str) -> Figure | None:
    """The losses of all rows in one picture, each named at its end in a look of its own.

    Linear: in a short run a loss falls by half, not by powers.
    """
    if not panel.lines:
        return None
    with mpl.rc_context(STYLE):
        room = room_for(line.label for line in panel.lines)
        figure, axes = panels(1, 1, width=5.2, height=3.0, room=room)
        shown = axes[0][0]
        draw_lines(shown, panel.lines, looks_of(panel.lines))
        shown.set_title(f"Training loss: profile {profile}")
        in_training_steps(shown)
        shown.set_ylabel("nats")
        shown.set_xlim(0, max(float(steps[-1]) for line in panel.lines for steps, _ in line.seeds))
        name_lines(shown, panel.lines, looks_of(panel.lines))
    return figure


def picture(facts: Facts) -> Found:
    """All training losses of a table of losses."""
    if facts.table.study.layout != "losses":
        return None
    found = training_losses(facts.table, facts.curves)
    figure = draw_training_losses(found, profile=facts.table.profile)
    if figure is None:
        return NotDrawn("training_losses", NO_CURVES)
    caption = (
        "Training loss of every row. Thin lines: one seed each; thick: their mean."
        " Long curves are averaged in bins of equal length."
    )
    return Picture("training_losses", caption, figure, numbers([found]))
