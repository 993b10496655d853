"""Residuals and the EMA's distance, where train.diagnostics recorded them."""

from __future__ import annotations

import numpy as np
import pytest

from reports.figures import residuals
from reports.figures.every import metrics_of
from reports.figures.picture import Facts, NotDrawn, Picture
from reports.types import Table
from sweeps.study import Study
from tests.reports.records import record, table_of


def test_residuals_are_means_over_the_seeds_by_feature_and_kind_of_step(study: Study) -> None:
    def final(scale: float) -> dict[str, float]:
        by_step = {f"validation/residual_y/step_{step:02d}": scale / step for step in (1, 2)}
        return by_step | {f"validation/residual_z/recursion_{at:02d}": scale for at in (1, 2, 4)}

    records = [record(study, "TRM k=1", 0.5, seed=seed, more=final(scale)) for seed, scale in enumerate((1.0, 3.0))]
    table = table_of(study, "mini", records)
    y, z = residuals.residuals(table)
    assert (y.feature, y.over, y.at, y.means, y.runs) == ("y", "step", (1, 2), (2.0, 1.0), 2)
    assert (z.feature, z.over, z.at) == ("z", "recursion", (1, 2, 4))
    drawn = residuals.residuals_picture(Facts(table))
    assert isinstance(drawn, Picture)
    titles = [axes.get_title(loc="left") for axes in drawn.figure.axes]
    assert titles == ["Residual of y, over supervision steps", "Residual of z, within the last step"]
    heights = drawn.figure.axes[1].lines[0].get_ydata()
    assert np.isnan(np.asarray(heights, dtype=float)).tolist() == [False, False, True, False, True]
    assert len(drawn.numbers.lines) == 5


def test_the_emas_distance_is_drawn_by_training_step_and_read_of_runs_that_have_it(table: Table, study: Study) -> None:
    curves = {
        (run.run_id, residuals.EMA): [(10, value), (20, 2 * value)]
        for run, value in zip(table.rows[0].runs, (0.1, 0.3), strict=True)
    }
    drawn = residuals.distances_picture(Facts(table, curves))
    assert isinstance(drawn, Picture)
    assert drawn.numbers.lines == [("TRM k=1", 2, 10, pytest.approx(0.2)), ("TRM k=1", 2, 20, pytest.approx(0.4))]
    (row, *_) = table_of(study, "mini", [record(study, "TRM k=1", 0.5, more={residuals.EMA: 0.2})]).rows
    assert residuals.EMA in metrics_of(row, row.runs[0])
    assert residuals.EMA not in metrics_of(table.rows[0], table.rows[0].runs[0])


def test_what_is_not_recorded_is_said_with_the_setting_that_records_it(table: Table) -> None:
    for make in (residuals.residuals_picture, residuals.distances_picture):
        lacking = make(Facts(table))
        assert isinstance(lacking, NotDrawn)
        assert "--set train.diagnostics=true" in lacking.why
