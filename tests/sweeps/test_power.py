"""How many seeds separate what: against numbers found by simulation, and against a simulation of our own."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy import stats

from sweeps.power import ASSUMED_SD, in_words, power, seed_sd, seeds_to_separate, separates
from sweeps.records.types import RunRecord


@pytest.mark.parametrize(("points", "seeds"), [(5, 3), (3, 6), (1.3, 27)])
def test_nine_rows_with_a_spread_of_1_3_points_need_3_6_and_27_seeds(points: float, seeds: int) -> None:
    assert seeds_to_separate(points, n_rows=9, sd=1.3) == seeds


@pytest.mark.parametrize(("points", "n_rows", "seeds"), [(3.0, 9, 6), (4.0, 2, 3)])
def test_the_power_is_how_often_simulated_studies_find_the_difference(points: float, n_rows: int, seeds: int) -> None:
    random, sd, n = np.random.default_rng(0), 1.3, 20_000
    rows = random.normal(0.0, sd, (n, n_rows, seeds))
    rows[:, 1] += points
    pooled = np.sqrt(rows.var(axis=2, ddof=1).mean(axis=1))
    t = (rows[:, 1].mean(axis=1) - rows[:, 0].mean(axis=1)) / (pooled * math.sqrt(2 / seeds))
    found = np.abs(t) > stats.t.isf(0.025 / (n_rows - 1), n_rows * (seeds - 1))
    assert power(points, n_rows, seeds, sd) == pytest.approx(found.mean(), abs=0.01)


@pytest.mark.parametrize("seeds", [2, 3, 10, 100])
def test_what_seeds_separate_they_separate_four_times_in_five(seeds: int) -> None:
    points = separates(9, seeds, 1.3)
    assert power(points, 9, seeds, 1.3) == pytest.approx(0.8)
    assert seeds_to_separate(points * 1.0001, 9, 1.3) == seeds


def test_one_seed_or_one_row_separates_nothing() -> None:
    assert separates(9, 1, 1.3) == separates(1, 5, 1.3) == math.inf
    assert power(50, 9, 1, 1.3) == 0


def test_a_huge_difference_is_found_and_a_tiny_one_never() -> None:
    assert power(1e4, 9, 50, 1.3) == pytest.approx(1)
    assert seeds_to_separate(0.001, 9, 1.3) is None


def _record(row: str, accuracy: float, status: str = "FINISHED") -> RunRecord:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    metrics = {"test/exact_accuracy": accuracy}
    return RunRecord("k", "s", row, "trm", "mini", 0, status, "r", {}, {}, metrics, now, now)


def test_the_spread_is_pooled_over_rows_with_two_seeds_or_more() -> None:
    records = [_record("a", 0.5), _record("a", 0.52), _record("b", 0.8), _record("b", 0.8), _record("b", 0.86)]
    sd, source = seed_sd([*records, _record("c", 0.1), _record("a", 0.9, "FAILED")], "test/exact_accuracy")
    assert sd == pytest.approx(math.sqrt((2 + 24) / 3))  # squared deviations in points, over 1 + 2 degrees of freedom
    assert "2 finished rows" in source


@pytest.mark.parametrize(
    "records",
    [
        [],
        [_record("a", 0.5), _record("a", 0.6)],
        [_record("a", 0.5), _record("a", math.nan), _record("b", 0.5), _record("b", 0.6)],
        [_record("a", 0.0), _record("a", 0.0), _record("b", 0.0), _record("b", 0.0)],
    ],
)
def test_with_fewer_than_two_such_rows_or_no_spread_at_all_it_is_that_of_another_reproduction(
    records: list[RunRecord],
) -> None:
    sd, source = seed_sd(records, "test/exact_accuracy")
    assert sd == ASSUMED_SD
    assert "another reproduction" in source


def test_the_sentence_says_what_these_seeds_separate_and_how_many_more_it_would_take() -> None:
    said = in_words(9, 3, 1.3, "a test")
    assert said.startswith("3 seeds of each row separate 4.2 points")
    assert "For 3, 1.3 points: 6, 27 seeds." in said
    assert in_words(9, 1, 1.3, "a test").startswith("One seed of each row separates nothing")
    assert "For" not in in_words(9, 30, 1.3, "a test")
    assert in_words(1, 3, 1.3, "a test") == ""
