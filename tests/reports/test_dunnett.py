"""Dunnett's test by quadrature, against Student's t, scipy's Dunnett and his own tables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reports.dunnett import Dunnett, Side


@pytest.mark.parametrize("df", [1, 2, 8, 150])
@pytest.mark.parametrize("t", [-40.0, -2.5, 0.0, 0.7, 6.0])
def test_of_one_row_it_is_students(df: int, t: float) -> None:
    one = Dunnett([3], 2, df)
    assert one.p([t], "two-sided") == pytest.approx([2 * stats.t.sf(abs(t), df)], abs=1e-10)
    assert one.p([t], "less") == pytest.approx([stats.t.cdf(t, df)], abs=1e-10)
    assert one.critical(0.95) == pytest.approx(stats.t.isf(0.025, df))


@pytest.mark.parametrize("sizes", [[3] * 13, [1, 2, 3, 9], [50, 2, 2, 50]])
@pytest.mark.parametrize("side", ["two-sided", "less"])
def test_of_several_rows_it_is_scipys_to_the_digits_that_scipy_has(sizes: list[int], side: Side) -> None:
    rng = np.random.default_rng(3)
    rows, control = [rng.normal(0, 1, size) for size in sizes], rng.normal(0.9, 1, 4)
    expected = stats.dunnett(*rows, control=control, alternative=side, rng=np.random.default_rng(0))
    found = Dunnett(sizes, 4, sum(sizes) + 4 - len(sizes) - 1).p(list(expected.statistic), side)
    assert found == pytest.approx(list(expected.pvalue), abs=1e-3)


def test_the_p_is_the_one_in_scipys_documentation() -> None:
    control, *rows = [[7.40, 8.50, 7.20, 8.24, 9.84, 8.32], [9.76, 8.80, 7.68, 9.36], [12.80, 9.68, 12.16, 9.20, 10.55]]
    t = stats.dunnett(*rows, control=control, rng=np.random.default_rng(0)).statistic
    assert Dunnett([4, 5], 6, 12).p(list(t), "two-sided") == pytest.approx([0.62004941, 0.0058035], abs=1e-4)


@pytest.mark.parametrize(
    ("rows", "df", "table"), [(1, 5, 2.57), (2, 5, 3.03), (3, 8, 2.88), (9, 20, 2.95), (9, 60, 2.77)]
)
def test_the_critical_value_is_that_of_dunnetts_tables(rows: int, df: int, table: float) -> None:
    """Dunnett (1964), table II: two sides, joint confidence 95 %, groups of one size."""
    assert Dunnett([3] * rows, 3, df).critical(0.95) == pytest.approx(table, abs=0.006)
