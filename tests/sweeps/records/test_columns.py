"""MLflow's tables read as columns. Where these fail, MLflow has another schema: columns.py is to be mended; until then
its own ways are taken, and reading is slow."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from mlflow import MlflowClient

from sweeps.records import columns, read
from sweeps.records.address import address, connect
from sweeps.records.door import run_record
from sweeps.records.read import of_study
from sweeps.records.types import KEY
from sweeps.records.write import Tracker
from tests.conftest import campaign
from tests.sweeps.records.stores import final, rows

STUDY = "a_study"


@pytest.fixture
def client(mlflow_here: Path) -> MlflowClient:
    """A store with two finished runs, one killed, one deleted, one of another profile and one that is none of ours."""
    with Tracker.open(campaign(seeds=(0, 1, 2, 3))) as tracker:
        for at, job in enumerate(tracker.campaign.jobs()):
            tracker.begin(job, "hash", tags={"note": "ü\n"})
            tracker.log(job.key, [*rows(2, 4), *final(4, 0.5 + at / 10)])
            if at < 2:
                tracker.finish(job.key, "FINISHED")
    client = connect(address())
    experiment = client.get_experiment_by_name(STUDY)
    assert experiment is not None
    of = {run.seed: run.run_id for run in of_study(STUDY, "mini").runs}
    client.log_metric(of[2], "odd", math.nan)
    client.delete_run(of[3])
    stranger = client.create_run(experiment.experiment_id, tags={KEY: "a", "profile": "paper"})
    client.create_run(experiment.experiment_id, tags={"profile": "mini"})
    client.log_param(stranger.info.run_id, "a", "b")
    return client


def test_runs_read_as_columns_are_those_that_mlflow_finds_in_its_order(client: MlflowClient) -> None:
    experiment = client.get_experiment_by_name(STUDY)
    assert experiment is not None
    found = columns.runs(client, experiment.experiment_id, "mini", KEY)
    wanted = f"tags.profile = 'mini' AND tags.{KEY} LIKE '%'"
    asked = list(read.search(client, [experiment.experiment_id], wanted))
    assert len(found) == 3
    assert [run_record(one, STUDY) for one in found] == [run_record(one, STUDY) for one in asked]
    for one, other in zip(found, asked, strict=True):
        assert repr(sorted(one.data.metrics.items())) == repr(sorted(other.data.metrics.items())), "NaN among them"


def test_points_read_as_columns_are_those_that_mlflow_hands_out(client: MlflowClient) -> None:
    (run, *_) = of_study(STUDY, "mini").runs
    found = columns.points(client, [run.run_id], ["train/loss"])
    points = client.get_metric_history(run.run_id, "train/loss")
    assert points
    assert found == {(run.run_id, "train/loss"): {one.step: one.value for one in points}}


def test_a_store_of_other_tables_is_asked_mlflows_way(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    there = of_study(STUDY, "mini")

    def none(*_: object) -> list[object]:
        raise columns.NoColumns

    monkeypatch.setattr(columns, "runs", none)
    assert of_study(STUDY, "mini") == there
