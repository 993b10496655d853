"""What seeds say of a row."""

from __future__ import annotations

import pytest
from scipy import stats as scipy_stats

from sweeps.study import Study
from tests.reports.records import record, row_of, table_of


def test_the_mean_and_both_intervals_are_those_of_the_seeds_and_of_the_test_set(study: Study) -> None:
    values = [0.6, 0.62, 0.67]
    table = table_of(study, "mini", [record(study, "TRM k=1", v, seed=s) for s, v in enumerate(values)])
    found = row_of(table, "TRM k=1")
    t = scipy_stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    wilson = scipy_stats.binomtest(315, 500).proportion_ci(0.95, method="wilson")
    assert found.values == tuple(values)
    assert [seeds.train for seeds in found.seeds] == [0, 1, 2]
    assert found.mean == pytest.approx(0.63)
    assert found.seed_interval is not None
    assert found.test_interval is not None
    assert (found.seed_interval.low, found.seed_interval.high) == pytest.approx((t.low, t.high))
    assert (found.test_interval.low, found.test_interval.high) == pytest.approx((wilson.low, wilson.high))


def test_one_seed_has_no_interval_over_seeds_but_one_of_the_test_set(study: Study) -> None:
    found = row_of(table_of(study, "mini", [record(study, "TRM k=1", 0.5)]), "TRM k=1")
    assert found.seed_interval is None
    assert found.test_interval is not None
