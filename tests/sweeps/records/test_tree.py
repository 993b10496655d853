"""A campaign in MLflow: its run, its rows' runs and its document; and what strangers leave beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sweeps.campaign import BadCampaign
from sweeps.records import read
from sweeps.records.claims import OWNER, TAKEN
from sweeps.records.read import read_curve, read_runs
from sweeps.records.write import Tracker
from tests.conftest import a_study, campaign
from tests.sweeps.records.stores import (
    OURS,
    another_process,
    ended,
    final,
    finish,
    only,
    query,
    roles,
    rows,
    send_all,
    tags,
    together,
)


def metrics_of(store: Path, run_id: str) -> dict[str, float]:
    """The last value of each metric."""
    return dict(query(store, f"SELECT key, value FROM latest_metrics WHERE run_uuid = '{run_id}'"))


def document_file(store: Path) -> Path:
    (file,) = (store.parent / "mlruns").rglob("campaign.json")
    return file


# --- campaigns -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "second", [a_study(name="another_study"), a_study("TRM k=1, T=1", "TRM")], ids=["of another study", "of the same"]
)
def test_a_run_that_two_campaigns_need_is_trained_once_and_stands_in_the_second_with_its_origins_name(
    mlflow_here: Path, second: Any
) -> None:
    one, other = campaign(), campaign(second)
    job = other.jobs()[0]
    assert job.key == only(one).key
    with Tracker.open(one) as a, Tracker.open(other) as b:
        finish(a, only(one), 0.91)
        send_all(a)
        assert b.begin(job, "hash", tags={"leaks": "0934a4d8"}).what == "finished"
        assert b.begin(job, "hash").what == "finished"
    origin = next(run for run in read_runs("a_study", "mini") if not run.is_reused)
    (reused,) = read.runs_of(other)[0].runs
    assert (reused.status, reused.campaign, reused.tags["reused_from"]) == ("FINISHED", other.id, origin.run_id)
    assert (reused.tags["leaks"], reused.tags["reused_from_study"]) == ("0934a4d8", "a_study")
    assert reused.metrics == origin.metrics
    assert read_curve(reused.run_id, "train/loss") == [(2, 0.5), (4, 0.25)]
    assert len(query(mlflow_here, OURS)) == 1


def test_a_run_begun_in_one_campaign_and_finished_by_the_launch_of_another_stands_in_both(mlflow_here: Path) -> None:
    one, other = campaign(), campaign(a_study(name="another_study"))
    with Tracker.open(one) as a:
        a.begin(only(one), "hash")
        a.log(only(one).key, rows(2))
        a.close("KILLED")
    with Tracker.open(other) as b:
        finish(b, only(other), 0.91)
        b.close("FINISHED")
    (origin,) = read_runs("a_study", "mini")
    (reused,) = read_runs("another_study", "mini")
    assert (origin.status, origin.is_reused, origin.campaign) == ("FINISHED", False, one.id)
    assert (reused.status, reused.tags["reused_from"]) == ("FINISHED", origin.run_id)
    assert reused.metrics["test/exact_accuracy"] == 0.91


def test_a_rows_run_carries_mean_spread_n_and_interval_and_the_campaigns_run_a_metric_per_row(
    mlflow_here: Path,
) -> None:
    of = campaign(a_study("TRM (T=3)", "TRM (T=2)"), seeds=(0, 1))
    with Tracker.open(of) as tracker:
        for job, accuracy in zip(of.jobs(), (0.8, 0.5, 0.9, 0.7), strict=True):
            finish(tracker, job, accuracy)
        tracker.close("FINISHED")
    assert metrics_of(mlflow_here, tracker.tree.parent_id) == pytest.approx({"TRM T 3": 0.85, "TRM T 2": 0.6})
    row = metrics_of(mlflow_here, tracker.tree._rows["TRM (T=3)"])
    assert row["test/exact_accuracy"] == pytest.approx(0.85)
    assert row["test/exact_accuracy.n"] == 2
    assert row["test/exact_accuracy.sd"] == pytest.approx(0.005**0.5)
    assert row["test/exact_accuracy.low"] < 0.85 < row["test/exact_accuracy.high"]
    child = next(run for run in read_runs("a_study", "mini") if run.row == "TRM (T=3)")
    assert child.tags["mlflow.parentRunId"] == tracker.tree._rows["TRM (T=3)"]
    assert tags(mlflow_here, tracker.tree._rows["TRM (T=3)"])["mlflow.parentRunId"] == tracker.tree.parent_id


def test_runs_on_other_puzzles_never_meet_in_a_rows_mean(mlflow_here: Path) -> None:
    first, then = campaign(data="some"), campaign(data="other")
    assert first.id == then.id
    for of, accuracy in ((first, 0.2), (then, 0.9)):
        with Tracker.open(of) as tracker:
            tracker.begin(only(of), of.runs[0].data)
            tracker.log(only(of).key, final(4, accuracy))
            tracker.finish(only(of).key, "FINISHED")
            tracker.close("FINISHED")
    assert metrics_of(mlflow_here, tracker.tree._rows["TRM k=1, T=1"])["test/exact_accuracy"] == 0.9


def test_seeds_that_are_added_later_extend_the_same_campaign(mlflow_here: Path) -> None:
    for seeds, command in (((0,), "first"), ((1, 2), "second")):
        of = campaign(seeds=seeds, command=command)
        with Tracker.open(of) as tracker:
            for job in of.jobs():
                finish(tracker, job)
            tracker.close("FINISHED")
    (found,) = read.campaigns("a_study", "mini")
    document = read.document(found)
    assert (document.seeds, document.command, len(document.runs)) == ((0, 1, 2), "second", 3)
    assert [role for role, _ in roles(mlflow_here)] == ["campaign", "row", "run", "run", "run"]
    assert metrics_of(mlflow_here, tracker.tree._rows["TRM k=1, T=1"])["test/exact_accuracy.n"] == 3
    assert tags(mlflow_here, tracker.tree.parent_id)["seeds"] == "0,1,2"


def test_two_launches_that_add_seeds_at_once_are_both_in_the_document(mlflow_here: Path) -> None:
    program = (
        "import sys; from sweeps.records.write import Tracker; from tests.conftest import campaign\n"
        "print('ready', flush=True); input()\n"
        "with Tracker.open(campaign(seeds=(int(sys.argv[1]),), command=sys.argv[1])): print('open', flush=True)\n"
    )
    launches = [another_process(program, seed) for seed in "01"]
    assert together(launches) == ["open", "open"]
    for launch in launches:
        ended(launch)
    (found,) = read.campaigns()
    assert read.document(found).seeds == (0, 1)


def test_a_torn_document_is_written_anew(mlflow_here: Path) -> None:
    with Tracker.open(campaign()) as tracker:
        pass
    document_file(mlflow_here).write_text('{"version": 1, "id": ')
    with pytest.raises(BadCampaign, match="torn"):
        read.document(read.campaigns()[0])
    with Tracker.open(campaign(seeds=(1,))) as tracker:
        assert tracker.campaign.seeds == (1,)
    assert read.document(read.campaigns()[0]).seeds == (1,)


def test_a_document_that_a_newer_program_wrote_is_left_as_it_is(mlflow_here: Path) -> None:
    with Tracker.open(campaign()):
        pass
    file = document_file(mlflow_here)
    file.write_text(newer := json.dumps(json.loads(file.read_text()) | {"version": 99}))
    with pytest.raises(BadCampaign, match="version 99"):
        Tracker.open(campaign())
    assert file.read_text() == newer


# --- strangers -------------------------------------------------------------------------------------------------------

ODD = ("²", "-1", "", "nan", "9" * 400, "0 OR 1=1", "1\n2")


@pytest.fixture
def strangers(mlflow_here: Path, tmp_path: Path) -> Path:
    """Runs that others have left in the study's experiment. A file of the user's is named in all of them."""
    with Tracker.open(campaign()) as tracker:
        client, experiment = tracker._client, tracker.tree.experiment_id
    mine = tmp_path / "thesis.tex"
    mine.write_text("precious")
    key, launch = only(campaign()).key, "a" * 32
    named = ["launch", "lock", "owner", OWNER + launch, TAKEN + launch, OWNER, "reused_from", "row", "data", "device"]
    named += ["mlflow.parentRunId", "mlflow.source.name", "mlflow.log-model.history", "host", "commit", "failure"]
    everywhere = dict.fromkeys(named, str(mine))
    claim = {OWNER + launch: json.dumps(dict.fromkeys(("host", "machine", "pid", "user", "beat_ms"), str(mine)))}
    for extra in (
        everywhere,
        everywhere | {"key": str(mine)},
        everywhere | {"key": key, "seed": "²", "profile": "mini", "campaign": campaign().id},
        claim | {"key": key, "seed": "²", "lock": str(mine)},
        claim | {"key": "' OR '1'='1", "seed": "0"},
        {"role": "campaign", "campaign": str(mine), "updated_ms": str(mine), "profile": "mini\x1b[2J"},
        {"role": "row", "campaign": campaign().id, "row": str(mine)},
        *({"key": key, "profile": "mini", "seed": odd, "data_seed": odd, "row": "a\x1b[2J\nb"} for odd in ODD),
        {"key": "0" * 16, "profile": "mini", "seed": "7", "row": "a\x1b[2J\nb\u202e", "failure": "x\ry"},
    ):
        run = client.create_run(experiment, tags=extra)
        for value in (float("nan"), float("inf"), -float("inf")):
            client.log_metric(run.info.run_id, "test/exact_accuracy", value)
        client.log_param(run.info.run_id, "lock", str(mine))
    return mine


def test_a_launch_beside_strangers_runs_makes_its_own_and_opens_and_deletes_no_file_that_they_name(
    strangers: Path, mlflow_here: Path
) -> None:
    before = query(mlflow_here, "SELECT run_uuid, key, value FROM tags ORDER BY 1, 2")
    of, said = campaign(seeds=(0, 1)), list[str]()
    with Tracker.open(of, say=said.append) as tracker:
        for job, accuracy in zip(of.jobs(), (0.9, 0.7), strict=True):
            finish(tracker, job, accuracy)
        assert tracker.close("FINISHED") == []
    assert strangers.read_text() == "precious"
    assert said == []
    ours = [run for run in read.runs_of(of)[0].runs if run.status == "FINISHED"]
    assert sorted(run.metrics["test/exact_accuracy"] for run in ours) == [0.7, 0.9]
    assert metrics_of(mlflow_here, tracker.tree._rows["TRM k=1, T=1"])["test/exact_accuracy"] == pytest.approx(0.8)
    after = set(query(mlflow_here, "SELECT run_uuid, key, value FROM tags"))
    ours_too = {tracker.tree.parent_id, *tracker.tree._rows.values(), *(run.run_id for run in ours)}
    assert {row for row in before if row[0] not in ours_too} <= after
    theirs = query(mlflow_here, "SELECT status FROM runs WHERE run_uuid NOT IN ('" + "','".join(ours_too) + "')")
    assert {status for (status,) in theirs} == {"RUNNING"}  # as they were


def test_what_strangers_wrote_is_read_without_what_is_none_and_named(strangers: Path) -> None:
    of = campaign()
    ours, others = read.runs_of(of)
    assert all("\x1b" not in text and "\n" not in text for run in others.runs for text in run.tags.values())
    assert all(run.metrics == {} for run in others.runs)
    assert len(ours.unreadable) >= len(ODD)
    assert all(line.isprintable() for line in ours.unreadable)
    assert read.finished([only(of).key]) == {}
    assert all(one.profile.isprintable() for one in read.campaigns())


def test_a_strangers_failed_run_makes_no_row_of_a_finished_run_a_failed_one(mlflow_here: Path) -> None:
    of = campaign()
    with Tracker.open(of) as tracker:
        finish(tracker, only(of))
        send_all(tracker)
        row = tracker.tree._rows["TRM k=1, T=1"]
        tags = tracker.tree.tags(only(of), "hash", {})
        for extra in ({}, {"key": "1" * 16}, {"seed": "x"}, {"launch": "b" * 32, "seed": "9", "key": "2" * 16}):
            stranger = tracker._client.create_run(tracker.tree.experiment_id, tags=tags | extra)
            tracker._client.set_terminated(stranger.info.run_id, "FAILED")
        assert tracker.close("FINISHED") == []
    assert query(mlflow_here, f"SELECT status FROM runs WHERE run_uuid = '{row}'") == [("FINISHED",)]
