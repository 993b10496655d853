from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeps.campaign import BadCampaign
from sweeps.records import read
from sweeps.records.write import Tracker
from tests.conftest import a_study, campaign
from tests.sweeps.records.stores import final


@pytest.fixture
def document_file(mlflow_here: Path) -> Path:
    """Where the document of a campaign that was opened lies."""
    with Tracker.open(campaign()):
        pass
    (file,) = (mlflow_here.parent / "mlruns").rglob("campaign.json")
    return file


def test_a_campaigns_document_comes_back_as_it_was_written(mlflow_here: Path) -> None:
    of = campaign(a_study('λ ², w/ "ACT"', "B"), seeds=(0, 4), data_seeds=(0, 1), command="python sweeps/run.py …")
    with Tracker.open(of):
        pass
    (found,) = read.campaigns("a_study")
    assert (found.id, found.label, found.profile, found.status) == (of.id, of.label, "mini", "KILLED")
    assert read.document(found) == of


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "torn"),
        ('{"version": 1, "id"', "torn"),
        ("[1]", "no version"),
        ("[" * 100_000, "torn"),
        ('{"version": true}', "no version"),
        ('{"version": 2}', "version 2, this program reads 1; use the newer program"),
        ('{"version": 1}', "campaign.json"),
        ("\x00", "torn"),
    ],
)
def test_a_document_that_is_none_is_said_in_one_line_with_the_run_it_lies_with(
    document_file: Path, text: str, says: str
) -> None:
    document_file.write_text(text)
    (found,) = read.campaigns()
    with pytest.raises(BadCampaign, match=says) as error:
        read.document(found)
    assert found.run_id in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("change", [{"id": "0" * 16}, {"study": a_study(name="another").model_dump(mode="json")}])
def test_a_document_of_another_campaign_is_refused(document_file: Path, change: dict[str, Any]) -> None:
    document_file.write_text(json.dumps(json.loads(document_file.read_text()) | change))
    with pytest.raises(BadCampaign, match="expected"):
        read.document(read.campaigns()[0])


def test_a_document_that_is_gone_is_said_with_what_to_do(document_file: Path) -> None:
    document_file.unlink()
    with pytest.raises(BadCampaign, match="give the study's command again"):
        read.document(read.campaigns()[0])


def test_campaigns_come_newest_first_and_one_that_stands_there_twice_once(mlflow_here: Path) -> None:
    for study in (a_study(), a_study("A", "B"), a_study(name="another_study")):
        with Tracker.open(campaign(study)) as tracker:
            tracker._client.create_run(  # by a launch that was killed before it looked who else was there
                tracker.tree.experiment_id,
                tags={"role": "campaign", "campaign": tracker.campaign.id, "profile": "mini"},
            )
    assert [one.id for one in read.campaigns("a_study")] == [campaign(a_study("A", "B")).id, campaign().id]
    assert [one.study for one in read.campaigns()] == ["another_study", "a_study", "a_study"]
    assert read.campaigns(profile="paper") == read.campaigns("no_study") == []


def test_of_several_records_of_a_key_the_finished_one_counts(mlflow_here: Path) -> None:
    of = campaign()
    (job,) = of.jobs()
    with Tracker.open(of) as tracker:
        tracker.begin(job, "hash")
        tracker.log(job.key, final(4, 0.9))
        tracker.finish(job.key, "FINISHED")
        tracker.close("FINISHED")
        later = tracker.tree.tags(job, "hash", {})
        tracker._client.create_run(tracker.tree.experiment_id, tags=later)
    (record,) = read.runs_of(of)[0].runs
    assert record.metrics == {"test/exact_accuracy": 0.9}
    assert read.finished([job.key, "0" * 16]) == {job.key: record}


def test_a_run_belongs_to_every_campaign_that_has_its_settings_whatever_its_seed(mlflow_here: Path) -> None:
    (job,) = campaign(seeds=(7,)).jobs()
    with Tracker.open(campaign(seeds=(7,))) as tracker:
        tracker.begin(job, "hash")
    ours, others = read.runs_of(campaign())
    assert [run.seed for run in ours.runs] == [7]
    assert others.runs == ()
    ours, others = read.runs_of(campaign(changes=["model.D=48"]))
    assert ours.runs == ()
    assert [run.seed for run in others.runs] == [7]
