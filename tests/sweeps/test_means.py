"""The plan before the runs: what it is estimated from, and when that is worth measuring."""

from dataclasses import replace
from pathlib import Path

import pytest

from sweeps import means
from sweeps.budget import Budget
from sweeps.campaign import declare
from sweeps.machines import Found, Machines
from sweeps.means import Means, plan_of
from sweeps.plan import Plan, Rate
from sweeps.prices import Card, find_card
from sweeps.screen import plan_lines
from sweeps.study import ProfileName, find_study
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


def plan(
    asked: Means, monkeypatch: pytest.MonkeyPatch, products: Rate, profile: ProfileName = "mini", *changes: str
) -> Plan:
    """Of Table 3, where small matrix products run at this rate."""
    monkeypatch.setattr(means, "matrix_rate", lambda why: products)
    study = find_study("recursion_depth")
    jobs = declare(study, profile, changes).asked(study.rows_of(profile), (0,), (0,), lambda _: "h").jobs()
    return plan_of(asked, list(jobs), [], [], lambda data: data.test)


@pytest.mark.parametrize(
    ("on", "free"), [(find_card("l40s"), None), (None, 48 * 10**9)], ids=["a card of the table", "what is free here"]
)
def test_a_plan_shows_which_runs_recompute_for_lack_of_memory_and_what_they_need_so(
    on: Card | None, free: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(HERE, on=on, found=Found(("NVIDIA L40S",), None, free))
    planned = plan(asked, monkeypatch, FAST, "official", "train.compile=off")
    assert planned.memory == 48 * 10**9
    assert {run.job.row for run in planned.recomputing} == {"TRM k=6, T=6", "TRM k=4, T=4", "TRM k=6, T=3"}
    assert all(run.memory < 10e9 for run in planned.recomputing)
    assert not planned.too_large
    said = " ".join(plan_lines(planned, "", 200))
    assert "3 run(s) fit into the 48.0 GB there are by recomputing in the backward, as TRM k=6, T=6 seed 0" in said
    never = plan(asked, monkeypatch, FAST, "official", "train.compile=off", "train.activation_checkpointing=false")
    assert {run.job.row for run in never.too_large} == {run.job.row for run in planned.recomputing}
    assert "would be refused: train.activation_checkpointing=true, a smaller" in " ".join(plan_lines(never, "", 200))


def test_compiled_as_a_gpu_has_it_every_row_fits_48_gb_and_none_recomputes(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan(replace(HERE, on=find_card("l40s")), monkeypatch, FAST, "official")
    assert not planned.recomputing
    assert not planned.too_large
    assert all(run.memory < 48e9 for run in planned.runs)


def test_on_cpus_the_memory_is_the_machines_and_a_clusters_is_not_known(
    measured: list[RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(means, "free_memory", lambda: 123)
    assert plan(HERE, monkeypatch, FAST).memory == 123
    cluster = Machines(cpus=8, gpus=0, where="a cluster")
    assert plan(replace(HERE, found=Found((), cluster)), monkeypatch, FAST).memory is None


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
