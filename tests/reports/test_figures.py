"""Numbers of the figures without drawing; then that drawing is deterministic and follows the page's colours."""

from __future__ import annotations

import re

import numpy as np
import pytest

from reports import figures
from reports.collect import Table, with_losses, with_votes
from sweeps.study import Row, Study
from tests.reports.records import record, table_of


@pytest.fixture
def table(study: Study) -> Table:
    return table_of(study, "mini", [record(study, "TRM k=1", 0.9, seed=0), record(study, "TRM k=1", 0.8, seed=1)])


def curves_of(table: Table, metric: str, *points: figures.Points) -> figures.Curves:
    return {(run.run_id, metric): curve for run, curve in zip(table.rows[0].runs, points, strict=True)}


def panel(table: Table, curves: figures.Curves, metric: str) -> figures.Panel:
    return next(
        panel for panel in figures.learning_curves(table, curves) if (panel.metric, panel.column) == (metric, "trm")
    )


def test_the_mean_curve_is_over_the_steps_that_all_seeds_have(table: Table) -> None:
    curves = curves_of(table, "test/exact_accuracy", [(10, 0.2), (20, 0.4), (30, 0.9)], [(10, 0.4), (20, 0.6)])
    (line,) = panel(table, curves, "test/exact_accuracy").lines
    assert line.steps.tolist() == [10, 20]
    assert line.values.tolist() == pytest.approx([0.3, 0.5])
    assert [len(steps) for steps, _ in line.seeds] == [3, 2]


def test_a_row_without_a_curve_has_no_line(table: Table) -> None:
    assert all(panel.lines == () for panel in figures.learning_curves(table, {}))
    assert figures.draw_learning_curves(figures.learning_curves(table, {}), {}) is None


def test_long_curves_are_averaged_in_equal_bins_and_keep_their_last_step() -> None:
    steps, values = figures.thinned([(step, float(step)) for step in range(1, 1001)], most=100)
    assert len(steps) == 100
    assert steps[:2].tolist() == [10, 20]
    assert steps[-1] == 1000
    assert values[0] == pytest.approx(5.5)
    short = [(1, 0.5), (2, float("nan")), (3, 0.7)]
    assert figures.thinned(short)[0].tolist() == [1, 3], "what is not finite cannot be drawn"


def test_the_depth_figure_holds_ours_and_the_papers_by_depth(table: Table) -> None:
    trm, hrm = figures.accuracy_against_depth(table)
    assert (trm.name, hrm.name) == ("TRM", "HRM")
    assert [mark.depth for mark in trm.ours] == [6]
    assert trm.ours[0].accuracy == pytest.approx(0.85)
    assert trm.ours[0].interval == table.rows[0].seed_interval
    assert [(mark.depth, mark.accuracy, mark.word) for mark in trm.paper] == [(6, 0.632, ""), (156, None, "OOM")]
    assert hrm.ours == ()


def test_labels_leave_out_what_all_names_of_a_base_share(table: Table) -> None:
    trm, hrm = figures.accuracy_against_depth(table)
    assert [mark.label for mark in trm.paper] == ["k=1", "k=6"]
    assert [mark.label for mark in hrm.paper] == ["HRM k=1"]


def test_names_are_spread_apart_about_where_they_want_to_be() -> None:
    assert figures.spread_apart([5.0, 5.0, 5.0], 2.0) == pytest.approx([3.0, 5.0, 7.0])
    assert figures.spread_apart([10.0, 0.0], 2.0) == [10.0, 0.0], "what is far apart stays"
    placed = np.sort(figures.spread_apart([0.0, 0.5, 0.6, 9.0, 9.1], 1.0))
    assert np.diff(placed).min() >= 1.0 - 1e-9


def test_names_stay_inside_their_panel_where_there_is_room() -> None:
    assert figures.spread_apart([9.0, 9.5, 10.0], 2.0, 0.0, 10.0) == pytest.approx([6.0, 8.0, 10.0])
    assert figures.spread_apart([0.0, 0.5], 2.0, 0.0, 10.0) == pytest.approx([0.0, 2.0])
    assert figures.spread_apart([5.0, 5.0, 5.0], 6.0, 0.0, 10.0) == pytest.approx([-2.0, 4.0, 10.0]), "no room: below"


@pytest.fixture
def plain_study() -> Study:
    """Like Table 1: no places, two bases."""
    return Study(
        name="plain",
        title="Plain",
        puzzle="sudoku",
        source="Table 0",
        rows=(
            Row(name="TRM", base="trm", paper=87.4),
            Row(name="w/ ACT", base="trm", change={"model": {"halting": "q_learning"}}, paper="OOM"),
            Row(name="HRM", base="hrm", paper=55.0),
        ),
    )


def test_the_figure_of_rows_holds_ours_and_the_papers_in_the_tables_order(plain_study: Study) -> None:
    table = table_of(plain_study, "mini", [record(plain_study, "TRM", 0.9, seed=s) for s in (0, 1)])
    trm, act, hrm = figures.accuracy_by_row(table)
    assert (trm.row, trm.ours, trm.interval) == ("TRM", 0.9, table.rows[0].seed_interval)
    assert trm.paper == pytest.approx(0.874)
    assert (act.ours, act.word, act.paper, act.paper_word) == (None, "did not run", None, "OOM")
    assert (hrm.base, hrm.paper) == ("hrm", 0.55)


@pytest.mark.parametrize("comparable", [True, False])
def test_the_figure_of_rows_names_each_row_once_with_its_numbers(plain_study: Study, comparable: bool) -> None:
    dots = figures.accuracy_by_row(table_of(plain_study, "mini", [record(plain_study, "TRM", 0.943)]))
    figure = figures.draw_accuracy_by_row(dots, comparable=comparable, profile="mini")
    assert figure is not None
    image = figures.svg(figure)
    assert [image.count(f">{name}<") for name in ("TRM", "w/ ACT", "HRM", "94.3", "did not run")] == [1, 1, 1, 1, 2]
    assert (">87.4<" in image and ">OOM<" in image and "not comparable" in image) == (not comparable)
    assert figures.draw_accuracy_by_row(dots[1:], comparable=comparable, profile="mini") is None, "no number of ours"


def test_without_numbers_of_the_papers_the_figure_of_rows_is_ours_alone(plain_study: Study) -> None:
    rows = tuple(row.model_copy(update={"paper": None}) for row in plain_study.rows)
    study = plain_study.model_copy(update={"rows": rows})
    dots = figures.accuracy_by_row(table_of(study, "mini", [record(study, "TRM", 0.9)]))
    figure = figures.draw_accuracy_by_row(dots, comparable=False, profile="mini")
    assert figure is not None
    assert len(figure.axes) == 1
    assert "paper" not in figures.svg(figure).lower()


def test_rows_without_a_place_share_their_panels_and_keep_their_models_colours(plain_study: Study) -> None:
    table = table_of(plain_study, "mini", [record(plain_study, name, 0.5) for name in ("TRM", "w/ ACT", "HRM")])
    curves = {(row.runs[0].run_id, "train/loss"): [(1, 2.0), (2, 1.0)] for row in table.rows}
    panels = figures.learning_curves(table, curves)
    assert {panel.column for panel in panels} == {""}
    assert [line.label for line in panels[-1].lines] == ["TRM", "w/ ACT", "HRM"]
    figure = figures.draw_learning_curves(panels, {})
    assert figure is not None
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Training loss"]
    colours = [line.get_color() for line in figure.axes[0].lines[1::2]]  # the means
    assert (colours[0] in figures.RAMPS[0], colours[1] in figures.RAMPS[0], colours[2] in figures.RAMPS[1]) == (
        True,
    ) * 3
    assert colours[0] != colours[1]


def test_every_column_of_learning_curves_shows_its_highest_loss(table: Table) -> None:
    def line(base: str, highest: float) -> figures.Line:
        steps, values = np.array([1.0, 2.0]), np.array([highest, 1.0])
        return figures.Line(base, base, base, 6, ((steps, values),), steps, values)

    panels = [figures.Panel("train/loss", base, (line(base, top),)) for base, top in (("hrm", 2.0), ("trm", 9.0))]
    figure = figures.draw_learning_curves(panels, {})
    assert figure is not None
    assert all(axes.get_ylim()[1] >= 9.0 for axes in figure.axes)


@pytest.mark.parametrize("comparable", [True, False])
def test_a_figure_drawn_twice_is_the_same_bytes_with_no_date(table: Table, comparable: bool) -> None:
    def draw() -> tuple[bytes, str]:
        figure = figures.draw_accuracy_against_depth(
            figures.accuracy_against_depth(table), comparable=comparable, profile="mini"
        )
        assert figure is not None
        return figures.png(figure), figures.svg(figure)

    (png, svg), again = draw(), draw()
    assert (png, svg) == again
    assert "<dc:date>" not in svg
    assert ("not comparable" in svg) == (not comparable)


def test_learning_curves_are_drawn_the_same_twice_and_name_their_rows(table: Table) -> None:
    curves = curves_of(table, "train/loss", [(1, 2.0), (2, 1.0)], [(1, 1.8), (2, 0.9)])
    drawn = []
    for _ in range(2):
        figure = figures.draw_learning_curves(figures.learning_curves(table, curves), {"trm": "TRM"})
        assert figure is not None
        drawn.append(figures.svg(figure))
    assert drawn[0] == drawn[1]
    assert "k=1" in drawn[0]
    assert "Training loss, TRM" in drawn[0]


def test_an_inlined_figure_takes_its_colours_from_the_page_and_keeps_its_ids_to_itself(table: Table) -> None:
    figure = figures.draw_accuracy_against_depth(
        figures.accuracy_against_depth(table), comparable=False, profile="mini"
    )
    assert figure is not None
    image = figures.inline(figures.svg(figure), "a title", "one")
    assert image.startswith('<svg role="img" aria-label="a title"')
    assert set(re.findall(r"#[0-9a-f]{6}\b", image)) <= {"#000000"}, "a colour that the dark page cannot change"
    ids = set(re.findall(r'\bid="([^"]*)"', image))
    assert all(name.startswith("one-") for name in ids)
    assert set(re.findall(r'(?:url\(#|href="#)([^")]*)', image)) <= ids, "a reference to nothing"
    assert "http" not in image


def test_a_row_that_solves_nothing_still_shows_the_cells_it_got_right(table: Table) -> None:
    curves = curves_of(table, "test/cell_accuracy", [(10, 0.2), (20, 0.4)], [(10, 0.4), (20, 0.6)])
    assert panel(table, curves, "test/cell_accuracy").lines[0].values.tolist() == pytest.approx([0.3, 0.5])


# --- several puzzles, ARC, losses -------------------------------------------------------------------------------------


def curves_of_all(table: Table) -> figures.Curves:
    """A short curve of everything that is drawn, of every run."""
    return {
        (run.run_id, metric): [(10, 0.9), (20, 0.5)]
        for row in table.rows
        for run in row.runs
        for metric in (*figures.metrics_of(row), "train/lm_loss")
    }


def test_curves_on_several_puzzles_stand_in_a_column_each_named_by_method(puzzles_study: Study) -> None:
    names = ("TRM-MLP, Sudoku-Extreme", "TRM-Att, Sudoku-Extreme", "TRM-Att, Maze-Hard")
    table = table_of(
        puzzles_study, "official", [record(puzzles_study, name, 0.5, profile="official") for name in names]
    )
    panels = figures.learning_curves(table, curves_of_all(table))
    labels = {(panel.metric, panel.column): [line.label for line in panel.lines] for panel in panels}
    assert labels["train/loss", "Sudoku-Extreme"] == ["TRM-MLP", "TRM-Att"]
    assert labels["train/loss", "Maze-Hard"] == ["TRM-Att"]
    assert labels["test/shortest_path_accuracy", "Maze-Hard"] == ["TRM-Att"]
    assert labels["test/shortest_path_accuracy", "Sudoku-Extreme"] == []
    figure = figures.draw_learning_curves(panels, {})
    assert figure is not None
    shown = [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible()]
    assert shown[4:] == ["A shortest path, test, Maze-Hard", *(f"Training loss, {c}" for c in table.grid.columns)]  # type: ignore[union-attr]


def test_only_mazes_are_asked_for_the_curve_of_shortest_paths(puzzles_study: Study) -> None:
    metrics = {row.puzzle: figures.metrics_of(row) for row in table_of(puzzles_study, "official", []).rows}
    assert set(metrics["maze"]) - set(metrics["sudoku"]) == {"test/shortest_path_accuracy"}


def test_the_figure_of_rows_goes_puzzle_by_puzzle_and_names_its_metric(arc_study: Study) -> None:
    table = table_of(arc_study, "official", [record(arc_study, "TRM-MLP, ARC-AGI-1", 0.4, profile="official")])
    dots = figures.accuracy_by_row(table)
    assert [dot.row for dot in dots] == [
        *("TRM-Att, ARC-AGI-1", "TRM-MLP, ARC-AGI-1"),
        *("TRM-Att, ARC-AGI-2", "TRM-MLP, ARC-AGI-2"),
    ]
    figure = figures.draw_accuracy_by_row(dots, comparable=True, profile="official", metric="pass@2, test")
    assert figure is not None
    assert figure.axes[0].get_title(loc="left") == "pass@2, test: profile official and the paper"


def test_all_training_losses_are_in_one_panel_in_colours_of_their_own(losses_study: Study) -> None:
    records = [record(losses_study, row.name, 0.0, profile="official") for row in losses_study.rows]
    table = table_of(losses_study, "official", records)
    table = with_losses(table, curves_of_all(table))
    panel = figures.training_losses(table, curves_of_all(table))
    assert [line.label for line in panel.lines] == [row.name for row in losses_study.rows]
    figure = figures.draw_training_losses(panel, profile="official")
    assert figure is not None
    (axes,) = figure.axes
    assert len({line.get_color() for line in axes.lines}) == 4, "all rows are of one base"
    image = figures.svg(figure)
    assert [image.count(f">{row.name}<") for row in losses_study.rows] == [1, 1, 1, 1]
    assert figures.draw_training_losses(figures.training_losses(table, {}), profile="official") is None


def test_accuracy_against_votes_has_a_panel_per_task_set_and_draws_the_same_twice(arc_study: Study) -> None:
    records = [record(arc_study, row.name, 0.4, profile="official") for row in arc_study.rows]
    table = table_of(arc_study, "official", records)
    assert figures.draw_accuracy_against_votes(table) is None, "no curve is known"
    curve = [(1, 0.1, 0.2), (10, 0.2, 0.3), (100, 0.3, 0.4)]
    table = with_votes(table, {run.run_id: curve for run in records})
    images = []
    for _ in range(2):
        figure = figures.draw_accuracy_against_votes(table)
        assert figure is not None
        assert [axes.get_title(loc="left") for axes in figure.axes] == [
            "ARC-AGI-1: profile official",
            "ARC-AGI-2: profile official",
        ]
        first, second = figure.axes[0].lines[:2]
        assert (list(first.get_xdata()), list(first.get_ydata())) == ([1, 10, 100], [0.1, 0.2, 0.3])  # type: ignore[arg-type]
        assert list(second.get_ydata()) == [0.2, 0.3, 0.4]  # type: ignore[arg-type]
        images.append(figures.svg(figure))
    assert images[0] == images[1]
    assert ("TRM-Att" in images[0], "two attempts (pass@2)" in images[0]) == (True, True)


def test_every_base_has_a_ramp_of_its_own() -> None:
    assert len(figures.RAMPS) == len(figures.DARK_RAMPS) == len(figures.BASE_ORDER)
    colours = [colour for ramp in figures.RAMPS for colour in ramp]
    assert len(set(colours)) == len(colours), "what a colour becomes on a dark page is told by the colour"
