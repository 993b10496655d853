"""Accuracy against supervision steps at test time."""

from __future__ import annotations

import pytest

from reports.figures import at_test
from reports.figures.picture import Facts, NotDrawn, Picture
from sweeps.study import Study
from tests.reports.records import record, table_of


def deeper(*values: float, puzzles: int = 100) -> dict[str, float]:
    return {f"test/exact_accuracy/step_{1 << at:02d}": value for at, value in enumerate(values)} | {
        "test/puzzles_at_depth": float(puzzles)
    }


def test_a_row_is_its_seeds_mean_lowest_and_highest_where_all_have_a_number(plain_study: Study) -> None:
    records = [
        record(plain_study, "TRM", 0.5, seed=0, more=deeper(0.1, 0.3, 0.5, 0.6)),
        record(plain_study, "TRM", 0.5, seed=1, more=deeper(0.3, 0.4, 0.5, puzzles=80)),
        record(plain_study, "HRM", 0.4, more={"test/exact_accuracy/step_01": float("nan")}),
    ]
    (found,) = at_test.accuracy_against_test_steps(table_of(plain_study, "mini", records))
    assert (found.row, found.seeds, found.puzzles) == ("TRM", 2, 80)
    assert found.steps == (1, 2, 4)
    assert found.means == pytest.approx((0.2, 0.35, 0.5))
    assert (found.lows, found.highs) == ((0.1, 0.3, 0.5), (0.3, 0.4, 0.5))
    drawn = at_test.picture(Facts(table_of(plain_study, "mini", records)))
    assert isinstance(drawn, Picture)
    assert "same 80 test puzzles" in drawn.caption
    assert len(drawn.numbers.lines) == 3
    (panel,) = drawn.figure.axes
    assert list(panel.lines[0].get_ydata()) == pytest.approx([0.2, 0.35, 0.5])  # type: ignore[arg-type]


def test_each_test_set_has_a_panel_with_an_axis_of_its_own(arc_study: Study) -> None:
    records = [
        record(arc_study, row.name, 0.5, profile="official", more=deeper(top / 2, top))
        for row, top in zip(arc_study.rows, (0.4, 0.05, 0.3, 0.04), strict=True)
    ]
    drawn = at_test.picture(Facts(table_of(arc_study, "official", records)))
    assert isinstance(drawn, Picture)
    first, second = drawn.figure.axes
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == (
        "ARC-AGI-1: profile official",
        "ARC-AGI-2: profile official",
    )
    assert second.get_ylim()[1] < 0.06 < 0.4 < first.get_ylim()[1]


def test_what_is_not_recorded_is_said_with_what_records_it(plain_study: Study) -> None:
    lacking = at_test.picture(Facts(table_of(plain_study, "mini", [record(plain_study, "TRM", 0.5)])))
    assert isinstance(lacking, NotDrawn)
    assert "train.evaluate_on=test" in lacking.why
