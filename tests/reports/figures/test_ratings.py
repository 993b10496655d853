"""Accuracy by rating."""

from __future__ import annotations

import pytest

from reports.figures import ratings
from reports.figures.picture import Facts, NotDrawn, Picture
from reports.stats import test_set_interval as wilson
from reports.types import Table
from sweeps.study import Study
from tests.reports.figures.made import outcomes
from tests.reports.records import table_of


def test_groups_hold_about_equally_many_and_never_part_equal_ratings(table: Table) -> None:
    rated = [0] * 50 + list(range(1, 51))
    first, second = (outcomes([1] * 50 + [seed] * 50, ratings=rated) for seed in (0, 1))
    runs = table.rows[0].runs
    (row,) = ratings.accuracy_by_rating(table, {runs[0].run_id: first, runs[1].run_id: second})
    assert [group.puzzles for group in row.groups] == [50, 17, 17, 16]
    assert [group.name for group in row.groups] == ["0", "1–17", "18–34", "35–50"]
    assert row.means == pytest.approx((1.0, 0.5, 0.5, 0.5)), "of two seeds one solves the harder half"
    assert row.intervals[1] == wilson(0.5, 17)
    drawn = ratings.picture(Facts(table, {}, {runs[0].run_id: first, runs[1].run_id: second}))
    assert isinstance(drawn, Picture)
    (panel,) = drawn.figure.axes
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["0\n50", "1–17\n17", "18–34\n17", "35–50\n16"]
    assert drawn.numbers.lines[1][3:7] == (1, 17, 17, 0.5)


def test_runs_that_were_asked_other_puzzles_are_not_averaged(table: Table) -> None:
    runs = table.rows[0].runs
    kept = {
        runs[0].run_id: outcomes([1, 0], ratings=[1, 2]),
        runs[1].run_id: outcomes([0, 0], ratings=[1, 2], test_set="c" * 64),
    }
    (row,) = ratings.accuracy_by_rating(table, kept)
    assert (row.runs, row.means) == (1, (1.0, 0.0))


def test_what_is_lacking_is_said(table: Table, arc_study: Study) -> None:
    run = table.rows[0].runs[0].run_id
    for kept, word in (
        ({}, "no run's outcomes.npz is at hand"),
        ({run: outcomes([1, 0])}, "hold no ratings"),
        ({run: outcomes([1, 0], ratings=[7, 7])}, "rated alike"),
    ):
        lacking = ratings.picture(Facts(table, {}, kept))
        assert isinstance(lacking, NotDrawn)
        assert word in lacking.why
    assert ratings.picture(Facts(table_of(arc_study, "mini"))) is None, "ARC's tasks are not rated"
