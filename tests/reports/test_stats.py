"""Means and intervals against scipy."""

from __future__ import annotations

import pytest
from scipy import stats as scipy_stats

from reports import stats


@pytest.mark.parametrize("values", [[0.5, 0.6], [0.871, 0.862, 0.88], [0.0, 0.1, 0.4, 0.9, 1.0]])
def test_the_interval_over_seeds_is_scipys_t_interval(values: list[float]) -> None:
    interval = stats.seed_interval(values)
    expected = scipy_stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.half_width == pytest.approx((expected.high - expected.low) / 2)


@pytest.mark.parametrize("values", [[], [0.9]])
def test_fewer_than_two_seeds_have_no_interval(values: list[float]) -> None:
    assert stats.seed_interval(values) is None


def test_seeds_that_agree_have_an_interval_of_no_width() -> None:
    assert stats.seed_interval([0.75, 0.75, 0.75]) == stats.Interval(0.75, 0.75)


@pytest.mark.parametrize(("solved", "puzzles"), [(0, 10), (10, 10), (7, 10), (437, 500), (369_000, 422_786)])
def test_the_interval_of_the_test_set_is_scipys_wilson_interval(solved: int, puzzles: int) -> None:
    interval = stats.test_set_interval(solved / puzzles, puzzles)
    expected = scipy_stats.binomtest(solved, puzzles).proportion_ci(0.95, method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_mean_does_not_depend_on_the_order_of_the_seeds() -> None:
    values = [0.1, 0.7, 0.2, 0.3, 1 / 3]
    assert stats.mean(values) == stats.mean(values[::-1]) == stats.mean(sorted(values))
