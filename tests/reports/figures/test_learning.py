"""Learning curves: their numbers, then what is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from reports import stats
from reports.figures import learning
from reports.figures.files import svg
from reports.figures.picture import Curves, Facts, NotDrawn, Picture, Points
from reports.types import Table
from sweeps.study import Study
from tests.reports.records import record, table_of


def curves_of(table: Table, metric: str, *points: Points) -> Curves:
    return {(run.run_id, metric): curve for run, curve in zip(table.rows[0].runs, points, strict=True)}


def panel(table: Table, curves: Curves, metric: str) -> learning.Panel:
    return next(
        panel for panel in learning.learning_curves(table, curves) if (panel.metric, panel.column) == (metric, "TRM")
    )


def test_the_mean_curve_is_over_the_steps_that_all_seeds_have(table: Table) -> None:
    curves = curves_of(table, "test/exact_accuracy", [(10, 0.2), (20, 0.4), (30, 0.9)], [(10, 0.4), (20, 0.6)])
    (line,) = panel(table, curves, "test/exact_accuracy").lines
    assert line.steps.tolist() == [10, 20]
    assert line.values.tolist() == pytest.approx([0.3, 0.5])
    assert [len(steps) for steps, _ in line.seeds] == [3, 2]


def test_a_row_without_a_curve_has_no_line(table: Table) -> None:
    assert all(panel.lines == () for panel in learning.learning_curves(table, {}))
    assert learning.draw_learning_curves(learning.learning_curves(table, {})) is None


def test_long_curves_are_averaged_in_equal_bins_and_keep_their_last_step() -> None:
    steps, values = learning.thinned([(step, float(step)) for step in range(1, 1001)], most=100)
    assert len(steps) == 100
    assert steps[:2].tolist() == [10, 20]
    assert steps[-1] == 1000
    assert values[0] == pytest.approx(5.5)
    short = [(1, 0.5), (2, float("nan")), (3, 0.7)]
    assert learning.thinned(short)[0].tolist() == [1, 3], "what is not finite cannot be drawn"


def test_rows_without_a_place_share_their_panels_in_looks_of_their_own(plain_study: Study) -> None:
    table = table_of(plain_study, "mini", [record(plain_study, name, 0.5) for name in ("TRM", "w/ ACT", "HRM")])
    curves = {(row.runs[0].run_id, "train/loss"): [(1, 2.0), (2, 1.0)] for row in table.rows}
    panels = learning.learning_curves(table, curves)
    assert {panel.column for panel in panels} == {""}
    assert [line.label for line in panels[-1].lines] == ["TRM", "w/ ACT", "HRM"]
    figure = learning.draw_learning_curves(panels)
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Training loss"]
    means = figure.axes[0].lines[1::2]
    assert len({line.get_color() for line in means}) == len({line.get_marker() for line in means}) == 3


def test_every_column_of_learning_curves_shows_its_highest_loss(table: Table) -> None:
    def line(base: str, highest: float) -> learning.Line:
        steps, values = np.array([1.0, 2.0]), np.array([highest, 1.0])
        return learning.Line(base, base, base, 6, ((steps, values),), steps, values)

    panels = [learning.Panel("train/loss", base, (line(base, top),)) for base, top in (("hrm", 2.0), ("trm", 9.0))]
    figure = learning.draw_learning_curves(panels)
    assert figure is not None
    assert all(axes.get_ylim()[1] >= 9.0 for axes in figure.axes)


def test_learning_curves_are_drawn_the_same_twice_and_name_their_rows(table: Table) -> None:
    curves = curves_of(table, "train/loss", [(1, 2.0), (2, 1.0)], [(1, 1.8), (2, 0.9)])
    drawn = []
    for _ in range(2):
        figure = learning.draw_learning_curves(learning.learning_curves(table, curves))
        assert figure is not None
        drawn.append(svg(figure))
    assert drawn[0] == drawn[1]
    assert "k=1" in drawn[0]
    assert "Training loss, TRM" in drawn[0]


def test_a_row_that_solves_nothing_still_shows_the_cells_it_got_right(table: Table) -> None:
    curves = curves_of(table, "test/cell_accuracy", [(10, 0.2), (20, 0.4)], [(10, 0.4), (20, 0.6)])
    assert panel(table, curves, "test/cell_accuracy").lines[0].values.tolist() == pytest.approx([0.3, 0.5])


# --- several puzzles, ARC, losses -------------------------------------------------------------------------------------


def curves_of_all(table: Table) -> Curves:
    """A short curve of everything that is drawn, of every run."""
    return {
        (run.run_id, metric): [(10, 0.9), (20, 0.5)]
        for row in table.rows
        for run in row.runs
        for metric in (*learning.metrics_of(row), "train/lm_loss")
    }


def test_curves_on_several_puzzles_stand_in_a_column_each_named_by_method(puzzles_study: Study) -> None:
    names = ("TRM-MLP, Sudoku-Extreme", "TRM-Att, Sudoku-Extreme", "TRM-Att, Maze-Hard")
    table = table_of(
        puzzles_study, "official", [record(puzzles_study, name, 0.5, profile="official") for name in names]
    )
    panels = learning.learning_curves(table, curves_of_all(table))
    labels = {(panel.metric, panel.column): [line.label for line in panel.lines] for panel in panels}
    assert labels["train/loss", "Sudoku-Extreme"] == ["TRM-MLP", "TRM-Att"]
    assert labels["train/loss", "Maze-Hard"] == ["TRM-Att"]
    assert labels["test/shortest_path_accuracy", "Maze-Hard"] == ["TRM-Att"]
    assert labels["test/shortest_path_accuracy", "Sudoku-Extreme"] == []
    figure = learning.draw_learning_curves(panels)
    assert figure is not None
    shown = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert shown[4:] == ["A shortest path, test, Maze-Hard", *(f"Training loss, {c}" for c in table.grid.columns)]  # type: ignore[union-attr]


def test_only_mazes_are_asked_for_the_curve_of_shortest_paths(puzzles_study: Study) -> None:
    metrics = {row.puzzle: learning.metrics_of(row) for row in table_of(puzzles_study, "official", []).rows}
    assert set(metrics["maze"]) - set(metrics["sudoku"]) == {"test/shortest_path_accuracy"}


def test_the_band_of_a_curve_is_as_wide_as_the_puzzles_of_each_evaluation_leave_it(table: Table) -> None:
    exact, cells = "test/exact_accuracy", "test/cell_accuracy"
    points = [[(10, 0.2), (20, 0.4)], [(10, 0.4), (20, 0.6)]]
    counts = curves_of(table, learning.PUZZLES, [(10, 50.0), (20, 500.0)], [(10, 50.0), (20, 500.0)])
    curves = {**curves_of(table, exact, *points), **curves_of(table, cells, *points), **counts}
    (line,) = panel(table, curves, exact).lines
    for found, (value, n) in zip(line.band, [(0.3, 50), (0.5, 500)], strict=True):
        wanted = stats.test_set_interval(value, n)
        assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))
    assert panel(table, curves, cells).lines[0].band == (), "cells of a puzzle are right or wrong together"
    assert panel(table, curves_of(table, exact, *points), exact).lines[0].band == ()
    endless = curves_of(table, learning.PUZZLES, [(10, math.inf), (20, 500.0)], [(10, math.inf), (20, 500.0)])
    assert panel(table, {**curves, **endless}, exact).lines[0].band == ()
    few = {**curves, **curves_of(table, learning.PUZZLES, [(10, 50.0)], [(10, 50.0), (20, 500.0)])}
    assert panel(table, few, exact).lines[0].band == (), "one evaluation does not say how many it asked"
    figure = learning.draw_learning_curves(learning.learning_curves(table, curves))
    assert figure is not None
    bands = [sum(isinstance(one, PolyCollection) for one in of.collections) for of in figure.axes if of.get_visible()]
    assert bands == [2, 1], "the seeds' own, and the puzzles'"


def test_the_spread_of_a_curve_goes_from_its_lowest_seed_to_its_highest(table: Table) -> None:
    curves = curves_of(table, "test/exact_accuracy", [(10, 0.2), (20, 0.6), (30, 0.9)], [(10, 0.4), (20, 0.5)])
    (line,) = panel(table, curves, "test/exact_accuracy").lines
    assert line.spread is not None
    assert [ends.tolist() for ends in line.spread] == [[0.2, 0.5], [0.4, 0.6]]
    (alone,) = panel(table, dict([next(iter(curves.items()))]), "test/exact_accuracy").lines
    assert alone.spread is None


def test_the_numbers_of_the_curves_are_each_seeds_and_their_means(table: Table) -> None:
    curves = curves_of(table, "train/loss", [(1, 2.0), (2, 1.0)], [(1, 1.0), (2, 0.5)])
    drawn = learning.picture(Facts(table, curves))
    assert isinstance(drawn, Picture)
    lines = [dict(zip(drawn.numbers.header, line, strict=True)) for line in drawn.numbers.lines]
    assert [(line["of"], line["training_step"], line["value"]) for line in lines] == [
        *(("seed 0", 1, 2.0), ("seed 0", 2, 1.0), ("seed 1", 1, 1.0), ("seed 1", 2, 0.5)),
        *(("mean", 1, 1.5), ("mean", 2, 0.75)),
    ]
    assert (lines[-1]["seeds_low"], lines[-1]["seeds_high"]) == (0.5, 1.0)
    assert "from the lowest seed to the highest" in drawn.caption
    lacking = learning.picture(Facts(table))
    assert isinstance(lacking, NotDrawn)
    assert lacking.sentence.startswith("Learning curves: no run has reported yet")


def test_a_column_that_learns_little_has_an_axis_of_its_own_where_columns_are_test_sets() -> None:
    def of(column: str, top: float) -> learning.Panel:
        steps, values = np.array([1.0, 2.0]), np.array([0.0, top])
        line = learning.Line(column, "TRM", "trm", 6, ((steps, values),), steps, values)
        return learning.Panel("test/exact_accuracy", column, (line,))

    found = [of("ARC-AGI-1", 0.4), of("ARC-AGI-2", 0.05)]
    for share, tops in ((True, (0.4, 0.4)), (False, (0.4, 0.05))):
        figure = learning.draw_learning_curves(found, share=share)
        assert figure is not None
        assert [axes.get_ylim()[1] for axes in figure.axes] == pytest.approx([1.05 * top for top in tops])


def test_four_columns_stand_two_beside_each_other() -> None:
    steps = np.array([1.0, 2.0])
    line = learning.Line("row", "row", "trm", 6, ((steps, steps),), steps, steps)
    figure = learning.draw_learning_curves([learning.Panel("train/loss", f"n={n}", (line,)) for n in (2, 4, 6, 8)])
    assert figure is not None
    assert figure.get_figwidth() < 8.3
    assert len({axes.get_position().y0 for axes in figure.axes}) == 2
