"""The plan before the runs: what it is estimated from, and when that is worth measuring."""

from dataclasses import replace
from pathlib import Path

import pytest

from sweeps import means
from sweeps.budget import Budget
from sweeps.campaign import declare
from sweeps.machines import Found
from sweeps.means import Means, plan_of
from sweeps.plan import Plan, Rate
from sweeps.study import find_study
from trm_core.config import RunConfig

HERE = Means(
    out=Path("results"),
    data={},
    launcher=None,
    workers=1,
    yes=False,
    retry_failed=False,
    on=None,
    price=None,
    budget=None,
    found=Found((), None),
    command="",
)
SLOW, FAST = Rate(1e8, "small matrix products"), Rate(1e12, "small matrix products")
MEASURED = Rate(2e10, "a measurement")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The runs that were measured, as if they were."""
    runs: list[RunConfig] = []

    def measure(asked: list[RunConfig], at_once: int) -> dict[RunConfig, Rate]:
        runs.extend(asked)
        return dict.fromkeys(asked, MEASURED)

    monkeypatch.setattr(means, "measure_cpu", measure)
    return runs


def plan(asked: Means, monkeypatch: pytest.MonkeyPatch, products: Rate) -> Plan:
    """Of Table 3 in mini, where small matrix products run at this rate."""
    monkeypatch.setattr(means, "matrix_rate", lambda why: products)
    study = find_study("recursion_depth")
    jobs = declare(study, "mini").asked(study.rows_of("mini"), (0,), (0,), lambda _: "h").jobs()
    return plan_of(asked, list(jobs), [], [], lambda data: data.test)


def test_runs_of_minutes_begin_without_a_measurement(
    measured: list[RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plan(HERE, monkeypatch, FAST).sources == (FAST.source,)
    assert not measured


def test_longer_ones_are_measured_first(measured: list[RunConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan(HERE, monkeypatch, SLOW).sources == (MEASURED.source,)
    assert len(measured) == 6


@pytest.mark.parametrize(
    "asked",
    [replace(HERE, only_plan=True), replace(HERE, budget=Budget("2h", 7200))],
    ids=["--plan", "--budget"],
)
def test_where_the_estimate_is_the_answer_it_is_always_measured(
    measured: list[RunConfig], monkeypatch: pytest.MonkeyPatch, asked: Means
) -> None:
    assert plan(asked, monkeypatch, FAST).sources == (MEASURED.source,)
    assert len(measured) == 6
