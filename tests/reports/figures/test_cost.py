"""What rows cost: hours by their records, FLOPs by formula."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from reports.figures import cost
from reports.figures.picture import Facts, NotDrawn, Picture
from reports.types import SeedRun, Table
from sweeps.study import Study
from tests.reports.records import START, record, table_of


def run_of(table: Table, tags: Mapping[str, str], hours: float = 2.0) -> SeedRun:
    return replace(table.rows[0].runs[0], tags=tags, started=START, ended=START + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("tags", "hours"),
    [
        ({}, 2.0),
        ({"workers": "4"}, 8.0),
        ({"workers": "1", "gpus_per_run": "0.25"}, 0.5),
        ({"workers": "many", "gpus_per_run": "-3"}, 2.0),  # a stranger's tags
        ({"reused_from": "another"}, None),
    ],
)
def test_device_hours_are_wall_time_times_workers_or_share(
    table: Table, tags: dict[str, str], hours: float | None
) -> None:
    assert cost.device_hours(run_of(table, tags)) == hours


def test_the_time_between_two_launches_of_a_run_costs_nothing(table: Table) -> None:
    weekend = run_of(table, {"at_work_ms": "1800000", "workers": "4"}, hours=60.0)
    assert (weekend.seconds, cost.device_hours(weekend)) == (1800.0, 2.0)


def test_a_run_that_has_not_ended_says_nothing_of_its_hours(table: Table) -> None:
    run = run_of(table, {})
    assert cost.device_hours(replace(run, status="running", ended=None)) is None
    assert cost.device_hours(replace(run, status="interrupted")) is None


def test_a_row_costs_its_training_by_formula_and_the_mean_of_its_runs_hours(table: Table) -> None:
    (row,) = cost.costs(table)
    settings = table.rows[0].settings
    assert settings is not None
    assert row.flops == settings.train_flops() * settings.train.batch_size * settings.train.steps
    assert row.hours == pytest.approx(72 / 3600), "two runs of 1:12 each"
    assert (row.runs, row.device) == (2, "cpu")
    assert row.accuracy == pytest.approx(0.85)


def test_accuracy_against_cost_draws_every_row_that_has_both_and_names_it(plain_study: Study) -> None:
    records = [record(plain_study, name, value) for name, value in (("TRM", 0.9), ("HRM", 0.5))]
    records.append(record(plain_study, "w/ ACT", None, status="FAILED"))
    facts = Facts(table_of(plain_study, "mini", records))
    for make, axis in ((cost.against_flops, "training FLOPs of a run"), (cost.against_hours, "CPU-hours of a run")):
        drawn = make(facts)
        assert isinstance(drawn, Picture)
        (panel,) = drawn.figure.axes
        assert panel.get_xlabel().startswith(axis)
        key = panel.get_legend()
        assert key is not None
        assert [text.get_text() for text in key.get_texts()] == ["TRM", "HRM"]
        points = [line for line in panel.lines if line.get_marker() not in ("_", "None")]
        assert [line.get_ydata()[0] for line in points] == [0.9, 0.5]  # type: ignore[index]
        assert [line[1] for line in drawn.numbers.lines] == ["TRM", "w/ ACT", "HRM"], "the file has all that ran"


def test_a_cost_that_is_not_known_is_said_and_has_no_bar(plain_study: Study) -> None:
    records = [record(plain_study, "TRM", 0.9), record(plain_study, "HRM", 0.5, tags={"reused_from": "x"})]
    found = cost.costs(table_of(plain_study, "mini", records))
    figure = cost.draw_cost(found, profile="mini")
    assert figure is not None
    flops, hours = figure.axes
    assert [bar.get_bbox().width > 0 for bar in flops.patches] == [True, True]  # type: ignore[attr-defined]
    assert [bar.get_bbox().width > 0 for bar in hours.patches] == [True, False]  # type: ignore[attr-defined]
    assert [text.get_text() for text in hours.texts] == ["0.02", "not known"]


def test_where_no_run_was_trained_here_the_hours_are_looked_for_elsewhere(plain_study: Study) -> None:
    table = table_of(plain_study, "mini", [record(plain_study, "TRM", 0.9, tags={"reused_from": "x"})])
    lacking = cost.against_hours(Facts(table))
    assert isinstance(lacking, NotDrawn)
    assert "reused_from" in lacking.why


def test_hours_on_several_devices_are_not_called_comparable(plain_study: Study) -> None:
    records = [
        record(plain_study, name, 0.5, tags={"device": device})
        for name, device in (("TRM", "NVIDIA L40S"), ("HRM", "NVIDIA H100"))
    ]
    drawn = cost.against_hours(Facts(table_of(plain_study, "mini", records)))
    assert isinstance(drawn, Picture)
    assert "On NVIDIA H100; NVIDIA L40S, so that rows cannot be compared by their hours." in drawn.caption
    assert drawn.figure.axes[0].get_xlabel() == "GPU-hours of a run"
