"""Intervals and tests over seeds, against textbooks' and libraries' numbers, and by simulation of a true null."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as formulas
from scipy import stats as scipy_stats

from reports import stats
from reports.stats import Pool

SPREAD = 0.013  # seed sd of a row, 1.3 points
BASE = "0"


def rows_of(*values: Sequence[float]) -> dict[str, tuple[float, ...]]:
    return {str(at): tuple(of) for at, of in enumerate(values)}


def drawn(rng: np.random.Generator, n_rows: int, seeds: int, mean: float = 0.8) -> Pool:
    return Pool(rows_of(*rng.normal(mean, SPREAD, (n_rows, seeds)).tolist()))


# --- one row and the pool ---------------------------------------------------------------------------------------------


def test_of_one_row_the_interval_is_students() -> None:
    values = (0.70, 0.74, 0.72, 0.66)
    found = Pool({"a": values}).interval("a")
    expected = scipy_stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_seed_of_every_row_has_no_spread_and_decides_nothing() -> None:
    pool = Pool(rows_of([0.5], [0.9]))
    assert (pool.df, pool.sd("0"), pool.interval("0"), pool.prediction("1")) == (0, None, None, None)
    assert (pool.against(BASE), pool.pairs([("1", "0")]), pool.among_the_best()) == ((), (), frozenset())


def test_a_row_of_one_seed_has_the_spread_of_the_others() -> None:
    pool = Pool(rows_of([0.70], [0.75, 0.77]))
    found = pool.interval("0")
    assert found is not None
    t = float(scipy_stats.t.ppf(0.975, 1))
    assert found.half_width == pytest.approx(t * math.sqrt(0.0002))


def test_seeds_that_agree_have_an_interval_of_no_width_and_what_differs_differs() -> None:
    pool = Pool(rows_of([0.75] * 3, [0.75] * 3, [0.5] * 3))
    assert pool.interval("0") == stats.Interval(0.75, 0.75)
    assert [(one.row, one.p) for one in pool.against(BASE)] == [("1", 1.0), ("2", 0.0)]
    assert pool.among_the_best() == {"0", "1"}
    assert [one.p for one in pool.pairs([("0", "1"), ("0", "2")])] == [1.0, 0.0]


def test_the_pooled_spread_and_both_intervals_are_those_of_a_regression_on_the_rows() -> None:
    rows = rows_of([0.70, 0.74, 0.72], [0.80, 0.79], [0.66, 0.62, 0.65, 0.60])
    table = pd.DataFrame([(name, value) for name, values in rows.items() for value in values], columns=["row", "y"])
    fit = formulas.ols("y ~ C(row)", table).fit()
    pool = Pool(rows)
    assert pool.scale == "points"
    assert pool.sd("0") == pytest.approx(math.sqrt(fit.mse_resid))
    for name in rows:
        expected = fit.get_prediction(pd.DataFrame({"row": [name]})).summary_frame(alpha=0.05).iloc[0]
        mean, one_more = pool.interval(name), pool.prediction(name)
        assert mean is not None
        assert one_more is not None
        assert (mean.low, mean.high) == pytest.approx((expected["mean_ci_lower"], expected["mean_ci_upper"]))
        assert (one_more.low, one_more.high) == pytest.approx((expected["obs_ci_lower"], expected["obs_ci_upper"]))


def test_another_test_set_makes_the_prediction_wider_by_its_variance() -> None:
    pool = Pool(rows_of([0.70, 0.74, 0.72]))
    alone, wider = pool.prediction("0"), pool.prediction("0", 0.01**2)
    assert alone is not None
    assert wider is not None
    t = float(scipy_stats.t.ppf(0.975, 2))
    assert wider.half_width**2 - alone.half_width**2 == pytest.approx((t * 0.01) ** 2)


# --- the scale --------------------------------------------------------------------------------------------------------


def test_levenes_p_is_the_one_in_scipys_documentation() -> None:
    a = [8.88, 9.12, 9.04, 8.98, 9.00, 9.08, 9.01, 8.85, 9.06, 8.99]
    b = [8.88, 8.95, 9.29, 9.44, 9.15, 9.58, 8.36, 9.18, 8.67, 9.05]
    c = [8.95, 9.12, 8.95, 8.85, 9.03, 8.84, 9.07, 8.98, 8.86, 8.98]
    assert stats.levene([a, b, c]) == pytest.approx(0.002431505967249681)
    assert Pool(rows_of(a, b, c), are_fractions=False).scale == "apart"


@pytest.mark.parametrize("rows", [[[0.7, 0.8], [0.1, 0.3]], [[0.7, 0.8, 0.9]], [[0.5] * 3, [0.6] * 3]])
def test_levene_says_nothing_of_two_seeds_of_one_row_or_of_what_never_varies(rows: list[list[float]]) -> None:
    assert stats.levene(rows) is None


@pytest.mark.parametrize(
    ("rows", "scale"),
    [
        ([[0.80, 0.81, 0.83], [0.62, 0.60, 0.61]], "points"),
        ([[0.80, 0.81, 0.83], [0.97, 0.98, 0.975]], "logit"),
        ([[0.02, 0.03, 0.01], [0.5, 0.52, 0.55]], "logit"),
        ([[0.80, 0.81, 0.83], [0.0, 0.0, 0.001]], "apart"),
        ([[0.80, 0.81, 0.83], [0.0, 0.0, 0.0]], "points"),  # it has no spread to tell of
        ([[0.80, 0.81, 0.83], [1.0, 1.0, 0.999]], "apart"),
        ([[0.5, 0.5001, 0.4999, 0.5, 0.5001], [0.3, 0.6, 0.7, 0.45, 0.2]], "apart"),
        ([[0.99], [0.2]], "points"),  # one seed each: nothing is asked of the scale
    ],
)
def test_near_0_and_1_the_scale_is_logit_and_at_them_each_row_has_its_own_spread(
    rows: list[list[float]], scale: str
) -> None:
    assert Pool(rows_of(*rows)).scale == scale


def test_losses_are_never_on_the_logit_scale() -> None:
    assert Pool(rows_of([0.95, 0.97], [0.5, 0.52]), are_fractions=False).scale == "points"


def test_on_the_logit_scale_the_interval_stays_inside_0_and_1_and_holds_the_mean() -> None:
    pool = Pool(rows_of([0.97, 0.99], [0.96, 0.985]))
    assert pool.scale == "logit"
    for found in (pool.interval("0"), pool.prediction("0")):
        assert found is not None
        assert 0 < found.low < 0.98 < found.high < 1
    points = pool.sd_in_points("0")
    assert points is not None
    assert 0.005 < points < 0.03


def test_apart_is_welchs_test() -> None:
    a, b = [0.5, 0.5001, 0.4999, 0.5, 0.5001], [0.3, 0.6, 0.7, 0.45, 0.2]
    (found,) = Pool(rows_of(a, b)).pairs([("0", "1")])
    expected = scipy_stats.ttest_ind(a, b, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert found.by == "Welch, Holm"
    assert found.p == pytest.approx(expected.pvalue)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((interval.low, interval.high))
    assert Pool(rows_of(a, b)).against("1")[0].p == found.p


def test_a_row_that_solves_nothing_takes_no_part_in_the_spread_and_is_far_below() -> None:
    alone, pool = Pool(rows_of([0.80, 0.81, 0.83])), Pool(rows_of([0.80, 0.81, 0.83], [0.0] * 3))
    assert pool.sd("0") == alone.sd("0")
    assert (pool.sd("1"), pool.interval("1")) == (0.0, stats.Interval(0.0, 0.0))
    (found,) = pool.against("0")
    assert (found.by, found.is_real) == ("pooled t, Holm", True)
    assert pool.among_the_best() == {"0"}


# --- comparisons ------------------------------------------------------------------------------------------------------


def test_dunnetts_p_is_the_one_in_scipys_documentation() -> None:
    control, *samples = [[2.9, 3.0, 2.5, 2.6, 3.2], [3.8, 2.7, 4.0, 2.4], [2.8, 3.4, 3.7, 2.2, 2.0]]
    pool = Pool(rows_of(control, *samples), are_fractions=False)
    assert [p for p, _ in pool._dunnett(["1", "2"], BASE, "two-sided", with_intervals=False)] == pytest.approx(
        [0.58325114, 0.99819341], abs=1e-3
    )
    assert {one.by for one in pool.against(BASE)} == {"Welch, Holm"}, "Levene's test speaks against one variance there"


def test_a_row_whose_seeds_are_all_alike_is_compared_without_a_warning() -> None:
    """Warnings are errors here."""
    pool = Pool({BASE: (0.52, 0.5, 0.54), "alike": (0.6, 0.6, 0.6), "other": (0.5, 0.55, 0.51)})
    nearly = Pool({BASE: (0.52, 0.5, 0.54), "alike": (0.6, 0.6001, 0.5999), "other": (0.5, 0.55, 0.51)})
    p, as_good = (
        [p for p, _ in one._dunnett(["alike", "other"], BASE, "two-sided", with_intervals=True)]
        for one in (pool, nearly)
    )
    assert p == pytest.approx(as_good, abs=1e-3)
    assert 0 < p[0] < 0.05


def test_dunnetts_interval_is_the_one_of_his_tables() -> None:
    """The strengths of a fabric (Dunnett 1955): differences 11, 2, −5, s² = 19; 2.88 of his tables of 1964 at 8 df."""
    fabric = rows_of([55, 47, 48], [55, 64, 64], [55, 49, 52], [50, 44, 41])
    found = Pool(fabric, are_fractions=False).against(BASE)
    assert [one.mean for one in found] == pytest.approx([11, 2, -5])
    assert {one.by for one in found} == {"Dunnett"}
    for one in found:
        assert one.interval is not None
        assert one.interval.half_width == pytest.approx(2.88 * math.sqrt(19 * 2 / 3), rel=2e-3)


def test_the_same_numbers_give_the_same_p_to_the_last_digit() -> None:
    rng = np.random.default_rng(1)
    pool = drawn(rng, 5, 3)
    assert Pool(pool.rows).against(BASE) == Pool(pool.rows).against(BASE)


def test_planned_pairs_are_statsmodels_pairwise_t_with_holm() -> None:
    rows = rows_of([0.70, 0.74, 0.72], [0.80, 0.79, 0.77], [0.69, 0.72, 0.75])
    table = pd.DataFrame([(name, value) for name, values in rows.items() for value in values], columns=["row", "y"])
    expected = formulas.ols("y ~ C(row)", table).fit().t_test_pairwise("C(row)", method="holm").result_frame
    found = Pool(rows).pairs([("1", "0"), ("2", "0"), ("2", "1")])
    assert [one.p for one in found] == pytest.approx(list(expected["pvalue-holm"]))
    assert [one.mean for one in found] == pytest.approx(list(expected["coef"]))
    assert {one.by for one in found} == {"pooled t, Holm"}


def test_a_pair_with_a_row_of_one_seed_is_left_out_where_each_row_has_its_own_spread() -> None:
    pool = Pool(rows_of([0.0, 0.0, 0.001], [0.5, 0.6], [0.9]))
    assert pool.scale == "apart"
    assert [(one.row, one.other) for one in pool.pairs([("1", "0"), ("2", "0")])] == [("1", "0")]


def test_a_row_far_below_is_not_among_the_best_and_one_just_below_is() -> None:
    pool = Pool(rows_of([0.80, 0.82, 0.81], [0.805, 0.815, 0.80], [0.60, 0.61, 0.62]))
    assert pool.among_the_best() == {"0", "1"}
    assert Pool({"only": (0.8, 0.82)}).among_the_best() == {"only"}


# --- two seeds --------------------------------------------------------------------------------------------------------


def test_what_each_of_the_two_seeds_does_is_told_apart() -> None:
    """By hand: within the draws (1, 3) and (5, 7) the mean square is 2, between them 16, two runs each."""
    row = {(0, 0): 1.0, (0, 1): 3.0, (1, 0): 5.0, (1, 1): 7.0}
    found = stats.spread_apart([row])
    assert found.train == pytest.approx(math.sqrt(2))
    assert found.data == pytest.approx(math.sqrt((16 - 2) / 2))
    assert stats.units(row) == (2.0, 6.0)


def test_one_seed_drawn_alone_says_nothing_of_the_other() -> None:
    assert stats.spread_apart([{(0, 0): 0.1, (0, 1): 0.3}]).data is None
    assert stats.spread_apart([{(0, 0): 0.1, (1, 0): 0.3}]).train is None
    assert stats.spread_apart([{(0, 0): 0.1}, {}]) == stats.Apart(None, None)
    assert stats.units({(0, 1): 0.3, (0, 0): 0.1}) == (0.1, 0.3)


# --- the test set -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("solved", "puzzles"), [(0, 10), (10, 10), (7, 10), (437, 500), (369_000, 422_786)])
def test_the_interval_of_the_test_set_is_scipys_wilson_interval(solved: int, puzzles: int) -> None:
    interval = stats.test_set_interval(solved / puzzles, puzzles)
    expected = scipy_stats.binomtest(solved, puzzles).proportion_ci(0.95, method="wilson")
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_mean_does_not_depend_on_the_order_of_the_seeds() -> None:
    values = [0.1, 0.7, 0.2, 0.3, 1 / 3]
    assert stats.mean(values) == stats.mean(values[::-1]) == stats.mean(sorted(values))


# --- by simulation: what is the same is called different in 4 to 6 of 100 tables --------------------------------------


def rate(times: int, happens: Callable[[np.random.Generator], bool]) -> float:
    """How often, of so many tables drawn with one seed."""
    rng = np.random.default_rng(20251126)
    return sum(happens(rng) for _ in range(times)) / times


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_paper_lies_outside_the_prediction_of_its_own_recipe_in_5_of_100_cells(seeds: int) -> None:
    def outside(rng: np.random.Generator) -> bool:
        found = drawn(rng, 4, seeds).prediction(BASE)
        assert found is not None
        return not found.holds(float(rng.normal(0.8, SPREAD)))

    assert 0.04 < rate(4000, outside) < 0.06


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("n_rows", "seeds"), [(2, 3), (4, 2)])
def test_a_table_of_equal_rows_has_a_difference_to_the_baseline_in_5_of_100(n_rows: int, seeds: int) -> None:
    assert 0.04 < rate(2500, lambda rng: _any(drawn(rng, n_rows, seeds).against(BASE, with_intervals=False))) < 0.06


@pytest.fixture
def little_to_collect() -> Iterator[None]:
    """statsmodels collects garbage in every correction, which in a process of many modules takes most of the time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("little_to_collect")
def test_a_planned_pair_of_equal_rows_differs_in_5_of_100_tables_and_any_of_four_in_no_more() -> None:
    assert 0.04 < rate(4000, lambda rng: _any(drawn(rng, 6, 3).pairs([("1", "0")]))) < 0.06
    four = [(str(at + 4), str(at)) for at in range(4)]
    assert rate(4000, lambda rng: _any(drawn(rng, 8, 3).pairs(four))) < 0.06


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.timeout(900)
def test_a_row_as_good_as_all_others_is_not_among_the_best_in_5_of_100_tables() -> None:
    assert 0.04 < rate(2500, lambda rng: BASE not in drawn(rng, 4, 3).among_the_best()) < 0.06


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.timeout(900)
def test_near_100_percent_the_rate_holds_on_the_logit_scale() -> None:
    def differs(rng: np.random.Generator) -> bool:
        values = 1 / (1 + np.exp(-rng.normal(3.5, 0.3, (3, 3))))  # means about 97 %
        return _any(Pool(rows_of(*values.tolist())).against(BASE))

    assert 0.03 < rate(2500, differs) < 0.06


def _any(differences: Sequence[stats.Difference]) -> bool:
    return any(one.is_real for one in differences)
