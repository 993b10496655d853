from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from sweeps.campaign import BadCampaign, Campaign
from sweeps.records import read
from sweeps.records.address import TrackingUnavailable
from sweeps.records.read import read_runs
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
        ('{"version": 99}', "version 99, this program reads [0-9]+; use the newer program"),
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


def test_more_runs_than_fit_on_a_page_are_all_read(mlflow_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "PAGE", 2)
    of = campaign(seeds=range(5))
    with Tracker.open(of) as tracker:
        for job in of.jobs():
            tracker.begin(job, "hash")
    assert sorted(run.seed for run in read_runs("a_study", "mini")) == [0, 1, 2, 3, 4]


# --- what others have done to the store ------------------------------------------------------------------------------


@pytest.fixture
def finished_here(mlflow_here: Path) -> Campaign:
    """A campaign whose one run is finished."""
    of = campaign()
    (job,) = of.jobs()
    with Tracker.open(of) as tracker:
        tracker.begin(job, "hash")
        tracker.log(job.key, final(4, 0.9))
        tracker.finish(job.key, "FINISHED")
        assert tracker.close("FINISHED") == []
    return of


def experiment_of(client: MlflowClient, name: str = "a_study") -> str:
    found = client.get_experiment_by_name(name)
    assert found is not None
    return str(found.experiment_id)


def test_an_experiment_that_lies_deleted_is_named_with_the_way_back(finished_here: Campaign) -> None:
    client = MlflowClient()
    client.delete_experiment(where := experiment_of(client))
    back = f"experiment a_study is deleted; bring it back with `mlflow experiments restore --experiment-id {where}`"
    for look in (
        lambda: read.read_runs("a_study", "mini"),
        lambda: read.campaigns("a_study"),
        lambda: Tracker.open(finished_here),
    ):
        with pytest.raises(TrackingUnavailable, match=back):
            look()
    assert [back in line for line in read.lost(["a_study", "b"])] == [True]
    assert read.lost(["b"]) == []
    assert read.campaigns() == []


def test_an_experiment_that_was_renamed_is_named_with_the_way_back_and_its_runs_count(finished_here: Campaign) -> None:
    client = MlflowClient()
    client.rename_experiment(where := experiment_of(client), "old")
    (line,) = read.lost(["a_study"])
    back = f"`mlflow experiments rename --experiment-id {where} --new-name a_study`"
    assert back in line
    assert "'old'" in line
    with pytest.raises(BadCampaign, match="was renamed"):
        read.document(read.campaigns()[0])
    said: list[str] = []
    with Tracker.open(finished_here, say=said.append) as tracker:
        assert tracker.begin(finished_here.jobs()[0], "hash").what == "finished"
        tracker.close("FINISHED")
    assert said == [line]
    assert read.lost(["a_study"]) == []  # there is one of that name again


def test_a_campaigns_record_that_is_none_hides_no_other_and_is_named(finished_here: Campaign) -> None:
    client = MlflowClient()
    mine, where = read.campaigns()[0], experiment_of(client)
    for odd in ({"updated_ms": "9" * 15}, {"label": "../x"}, {"campaign": "\x1b[2J"}, {"profile": "huge"}):
        tags = {"role": "campaign", "campaign": "1" * 16, "profile": "mini", "label": "", "study": "a_study"}
        client.create_run(where, tags=tags | odd)
    found, bad = read.look_for_campaigns("a_study")
    assert found == [mine]
    assert len(bad) == 4
    assert all(line.isprintable() for line in bad)


def test_a_run_that_another_has_put_before_the_campaigns_own_hides_no_document(finished_here: Campaign) -> None:
    client = MlflowClient()
    same = {"role": "campaign", "campaign": finished_here.id, "profile": "mini", "study": "a_study"}
    for text in (None, "no JSON"):
        stranger = client.create_run(experiment_of(client), start_time=1, tags=same)
        if text is not None:
            client.log_text(stranger.info.run_id, text, "campaign.json")
    (found,) = read.campaigns()
    assert found.run_id != read.runs_of(finished_here)[0].runs[0].run_id
    assert read.document(found) == finished_here


def test_a_folder_or_a_book_in_the_documents_place_is_no_document(
    finished_here: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient()
    run_id = read.campaigns()[0].run_id
    client.log_text(run_id, "x", "a folder/inside.txt")
    client.log_text(run_id, "x" * 100, "book.txt")
    monkeypatch.setattr(read, "LARGEST", 99)
    assert read.artefact(run_id, "a folder") is None
    assert read.artefact(run_id, "book.txt") is None


def test_a_curve_has_no_points_that_are_none_and_an_origin_may_be_gone(finished_here: Campaign) -> None:
    client = MlflowClient()
    (run,) = read.runs_of(finished_here)[0].runs
    for step, value in ((1, math.nan), (2, math.inf), (3, 0.5), (2**62, 0.5)):
        client.log_metric(run.run_id, "train/loss", value, timestamp=1, step=step)
    assert read.read_curve(run.run_id, "train/loss") == [(3, 0.5)]
    for origin in ("0" * 32, "../../x"):
        client.set_tag(run.run_id, "reused_from", origin)
        assert read.read_curve(run.run_id, "test/exact_accuracy") == [(4, 0.9)]
        assert read.artefact(run.run_id, "votes.csv") is None


def test_a_finished_record_that_is_written_later_moves_no_number(finished_here: Campaign) -> None:
    client = MlflowClient()
    (ours,) = read.runs_of(finished_here)[0].runs
    for value in (0.1, math.nan, 7.0):
        tags = {name: text for name, text in client.get_run(ours.run_id).data.tags.items() if "." not in name}
        copy = client.create_run(experiment_of(client), tags=tags)
        client.log_metric(copy.info.run_id, "test/exact_accuracy", value)
        client.set_terminated(copy.info.run_id, "FINISHED")
    found = read.runs_of(finished_here)[0]
    assert found.runs == (ours,)
    assert sorted(line.split(": ", 1)[1] for line in found.unreadable) == [
        "its 'test/exact_accuracy' is 7, expected a share in 0 to 1",
        "its 'test/exact_accuracy' is nan, expected a share in 0 to 1",
    ]
