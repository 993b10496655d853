"""What the test set leaves open, from puzzles' outcomes: against textbooks' numbers and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from reports import stats_outcomes
from reports.stats_outcomes import NotPaired, Outcomes


def solved(rng: np.random.Generator, seeds: int, easy: Outcomes, spread: float = 0.3) -> Outcomes:
    """Outcomes of a recipe: each puzzle as easy as it is (logits), each run as good as its seed made it."""
    good = rng.normal(0, spread, (seeds, 1))
    chance = 1 / (1 + np.exp(-(easy + good)))
    return (rng.random(chance.shape) < chance).astype(np.float64)


def test_mcnemar_is_the_textbooks() -> None:
    """Agresti, approval of the prime minister in two surveys: 794, 150, 86 and 570 of 1,600; p = 4.115e-05."""
    first = np.repeat([1, 1, 0, 0], [794, 150, 86, 570])
    second = np.repeat([1, 0, 1, 0], [794, 150, 86, 570])
    found = stats_outcomes.mcnemar(first, second)
    assert (found.only_first, found.only_second) == (150, 86)
    assert found.p == pytest.approx(4.115e-05, rel=1e-3)


def test_with_few_discordant_puzzles_mcnemar_is_exact() -> None:
    first, second = np.repeat([1, 1, 0], [50, 9, 2]), np.repeat([1, 0, 1], [50, 9, 2])
    assert stats_outcomes.mcnemar(first, second).p == pytest.approx(scipy_stats.binomtest(2, 11).pvalue)
    assert stats_outcomes.mcnemar(first, first).p == 1.0


def test_the_interval_of_the_test_set_is_the_paired_ts() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 40)).round(), rng.random((3, 40)).round()
    found = stats_outcomes.paired_interval(a, b)
    expected = scipy_stats.ttest_rel(a.mean(axis=0), b.mean(axis=0)).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_the_doubt_from_seeds_and_from_puzzles_stand_apart() -> None:
    """Runs that solve the same puzzles leave no doubt about seeds; rows that solve the same, none about puzzles."""
    a = np.tile([1.0, 0.0, 1.0, 1.0], (2, 1))
    b = np.tile([1.0, 0.0, 0.0, 1.0], (2, 1))
    found = stats_outcomes.parts(a, b)
    assert (found.difference, found.seeds) == (0.25, 0.0)
    assert found.puzzles == pytest.approx(math.sqrt(np.var([0, 0, 1, 0], ddof=1) / 4))
    one = stats_outcomes.parts(a[:1], b)
    assert one.seeds is None
    assert stats_outcomes.parts(a, a).puzzles == 0


def test_tasks_of_arc_are_scored_by_the_share_of_their_inputs() -> None:
    found = stats_outcomes.by_task([[1, 0, 1, 1], [0, 0, 1, 0]], ["b", "b", "a", "c"])
    assert found.tolist() == [[1.0, 0.5, 1.0], [1.0, 0.0, 0.0]]
    with pytest.raises(NotPaired, match="a column per test input"):
        stats_outcomes.by_task([[1, 0]], ["a"])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([[1, 0]], [[1, 0, 1]]),
        ([1, 0], [1, 0]),
        ([[1]], [[0]]),
        ([[1, float("nan")]], [[1, 0]]),
        ([[1, 2]], [[1, 0]]),
    ],
)
def test_what_is_not_the_outcomes_of_the_same_puzzles_is_refused(first: object, second: object) -> None:
    with pytest.raises(NotPaired):
        stats_outcomes.parts(first, second)  # type: ignore[arg-type]


def test_mcnemar_takes_no_shares() -> None:
    with pytest.raises(NotPaired, match="0 and 1"):
        stats_outcomes.mcnemar([0.5, 1], [1, 0])


def test_the_bootstrap_by_patterns_has_the_spread_that_the_parts_foretell() -> None:
    rng = np.random.default_rng(5)
    easy = rng.normal(1, 2, 20_000)
    a, b = solved(rng, 8, easy, spread=0.1), solved(rng, 8, easy + 0.2, spread=0.1)
    found = stats_outcomes.parts(a, b)
    assert found.seeds is not None
    interval, sd = stats_outcomes.two_way_bootstrap(a, b, np.random.default_rng(0), times=4000)
    assert interval.holds(found.difference)
    assert sd == pytest.approx(math.hypot(found.seeds, found.puzzles), rel=0.15)


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.timeout(900)
def test_by_both_parts_two_equal_recipes_differ_in_4_to_6_of_100_and_by_mcnemar_in_most() -> None:
    rng = np.random.default_rng(20251126)
    times, differs, by_mcnemar = 2000, 0, 0
    for _ in range(times):
        easy = rng.normal(1, 2, 1000)
        a, b = solved(rng, 3, easy), solved(rng, 3, easy)
        found = stats_outcomes.parts(a, b)
        assert found.seeds is not None
        differs += abs(found.difference) > scipy_stats.t.ppf(0.975, 4) * math.hypot(found.seeds, found.puzzles)
        by_mcnemar += stats_outcomes.mcnemar(a[0], b[0]).p < 0.05
    assert 0.03 < differs / times < 0.06
    assert by_mcnemar / times > 0.3


def test_of_many_patterns_the_normal_of_the_mean_is_drawn_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    easy = rng.normal(0, 2, 2_000)
    a, b = solved(rng, 3, easy), solved(rng, 4, easy - 0.3)
    drawn, sd = stats_outcomes.two_way_bootstrap(a, b, np.random.default_rng(0), times=4000)
    monkeypatch.setattr(stats_outcomes, "MOST_PATTERNS", 1)
    normal, same_sd = stats_outcomes.two_way_bootstrap(a, b, np.random.default_rng(0), times=4000)
    assert same_sd == pytest.approx(sd, rel=0.1)
    assert normal.low == pytest.approx(drawn.low, abs=0.2 * sd)
    assert normal.high == pytest.approx(drawn.high, abs=0.2 * sd)
