"""The losses of a table of losses."""

from __future__ import annotations

from reports.curves import with_losses
from reports.figures import losses
from reports.figures.files import svg
from sweeps.study import Study
from tests.reports.records import record, table_of


def test_all_training_losses_are_in_one_panel_in_colours_of_their_own(losses_study: Study) -> None:
    records = [record(losses_study, row.name, 0.0, profile="official") for row in losses_study.rows]
    table = table_of(losses_study, "official", records)
    curves = {(row.runs[0].run_id, "train/lm_loss"): [(10, 0.9), (20, 0.5)] for row in table.rows}
    table = with_losses(table, curves)
    panel = losses.training_losses(table, curves)
    assert [line.label for line in panel.lines] == [row.name for row in losses_study.rows]
    figure = losses.draw_training_losses(panel, profile="official")
    assert figure is not None
    (axes,) = figure.axes
    assert len({line.get_color() for line in axes.lines}) == 4, "all rows are of one base"
    image = svg(figure)
    assert [image.count(f">{row.name}<") for row in losses_study.rows] == [1, 1, 1, 1]
    assert losses.draw_training_losses(losses.training_losses(table, {}), profile="official") is None
