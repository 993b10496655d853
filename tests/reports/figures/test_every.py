"""The door of the figures: each is drawn or says what it lacks, and none leaves a file that nobody knows of."""

from __future__ import annotations

import pytest

from reports.figures.every import EVERY, NAMES, draw, stale
from reports.types import Table
from sweeps.study import find_study
from tests.reports.figures.made import assert_nothing_is_cut, outcomes
from tests.reports.records import table_of


@pytest.mark.parametrize("study", ["recursion_depth", "cycles", "components", "arc_agi", "tutorial"])
def test_every_figure_of_a_study_without_a_run_is_drawn_or_says_what_it_lacks(study: str) -> None:
    found = draw(table_of(find_study(study), "mini"), {})
    names = [*(one.name for one in found.pictures), *(one.name for one in found.left_out)]
    assert len(names) == len(set(names))
    assert set(names) <= set(NAMES)
    for one in found.left_out:
        assert one.sentence.startswith(one.name.replace("_", " ").capitalize() + ": "), one.name
        assert one.why.endswith("."), one.name


def test_the_figures_stand_in_the_pages_order_and_each_has_its_numbers(table: Table) -> None:
    curves = {(run.run_id, "test/exact_accuracy"): [(10, 0.3), (20, 0.6)] for row in table.rows for run in row.runs}
    found = draw(table, curves)
    at = [NAMES.index(one.name) for one in found.pictures]
    assert at == sorted(at)
    assert NAMES.index("learning_curves") in at
    for one in found.pictures:
        assert one.caption, one.name
        assert len(one.numbers.csv().splitlines()) > 1, one.name


def test_a_name_for_each_figure_and_all_its_files_are_known() -> None:
    assert len(NAMES) == len(EVERY) == len(set(NAMES))
    assert {f"figures/{name}.{kind}" for name in NAMES for kind in ("png", "svg", "csv")} == set(stale())


@pytest.mark.parametrize("which", ["table", "two_puzzles", "arc", "losses"])
def test_nothing_in_a_figure_is_cut_at_its_edge(which: str, request: pytest.FixtureRequest) -> None:
    table: Table = request.getfixturevalue(which)
    runs = [run for row in table.rows for run in row.runs]
    metrics = ("test/exact_accuracy", "train/loss", "train/lm_loss")
    curves = {(run.run_id, metric): [(10, 0.3), (20, 0.6)] for run in runs for metric in metrics}
    kept = {run.run_id: outcomes([1, 0, 1, 0], ratings=[0, 5, 30, 80]) for run in runs}
    drawn = draw(table, curves, kept).pictures
    assert len(drawn) > 1
    for one in drawn:
        assert_nothing_is_cut(one.figure)
