from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from scipy import stats

from sweeps.records.summary import cell_name, spread, summarised


def test_mean_spread_and_interval_are_scipys() -> None:
    values = [0.91, 0.874, 0.89, 0.93]
    found = spread(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    expected = [4, np.mean(values), np.std(values, ddof=1), low, high]
    assert [found.n, found.mean, found.sd, found.low, found.high] == pytest.approx(expected)


def test_one_run_says_nothing_of_a_spread() -> None:
    assert summarised([{"test/exact_accuracy": 0.9}]) == {"test/exact_accuracy": 0.9, "test/exact_accuracy.n": 1.0}


def test_the_order_of_the_runs_moves_not_even_the_last_digit() -> None:
    runs = [{"loss": value} for value in (0.1, 0.2, 0.3, 1e-9, 7e7)]
    assert len({tuple(summarised(order).items()) for order in itertools.permutations(runs)}) == 1


def test_a_metric_that_some_runs_lack_or_that_is_no_number_counts_those_that_have_it() -> None:
    found = summarised([{"a": 1.0, "b": float("nan")}, {"a": 3.0}, {"c": float("inf")}])
    assert (found["a"], found["a.n"]) == (2.0, 2.0)
    assert {name.partition(".")[0] for name in found} == {"a"}


def test_a_rows_name_becomes_one_that_mlflow_takes_and_no_two_rows_share_it() -> None:
    rows = ["TRM (T=3, n=6)", "TRM (T=3; n=6)", "w/ ACT", "λ'\"`", "μ"]
    names = [cell_name(row, rows) for row in rows]
    assert len(set(names)) == len(rows)
    assert all(re.fullmatch(r"[A-Za-z0-9_\-. :/]+", name) for name in names)
