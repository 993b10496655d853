from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeps.campaign import BadCampaign, Campaign, Job
from sweeps.plan import recorded_settings
from sweeps.records import claims, read, write
from sweeps.records.claims import OWNER, TAKEN
from sweeps.records.read import read_curve, read_runs
from sweeps.records.types import Measurement, Status
from sweeps.records.write import Begun, Tracker
from tests.conftest import a_study, campaign
from tests.sweeps.records.stores import (
    OURS,
    Server,
    another_process,
    ended,
    final,
    hear,
    points,
    query,
    roles,
    rows,
    send_all,
    tags,
    together,
)


def only(of: Campaign) -> Job:
    (job,) = of.jobs()
    return job


def finish(tracker: Tracker, job: Job, accuracy: float = 0.9) -> None:
    """Train a run, as far as the records are concerned."""
    assert tracker.begin(job, "hash").what == "ours"
    tracker.log(job.key, [*rows(2, 4), *final(4, accuracy)])
    tracker.finish(job.key, "FINISHED")


@pytest.fixture
def elsewhere(mlflow_here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tracker]:
    """A launch of the same campaign on another machine, with one run under way. Its sender sleeps."""
    monkeypatch.setattr(Tracker, "_send_forever", lambda self: None)
    tracker = Tracker.open(campaign())
    tracker.me = replace(tracker.me, machine="another machine", host="far")
    tracker.begin(only(campaign()), "hash")
    send_all(tracker)
    monkeypatch.undo()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlflow_here}")
    yield tracker
    tracker.close("KILLED")


# --- one child per key -----------------------------------------------------------------------------------------------


def test_every_setting_comes_back_from_mlflow_as_it_went_there(mlflow_here: Path) -> None:
    """Words that look like nothing or like numbers, nothing itself, small numbers, both truths."""
    of = campaign()
    odd = ["model.halting=none", "optim.ema=none", "data.subsets=none", "data.test_subset=1", "optim.lr=1e-07"]
    odd += ["train.activation_checkpointing=true", "data.allow_leak=false", "optim.final_lr=1", "model.expansion=4"]
    run = only(of).run.set(odd)
    assert (run.model.halting, run.optim.ema, run.data.subsets, run.data.test_subset) == ("none", None, "none", "1")
    with Tracker.open(of) as tracker:
        tracker.begin(replace(only(of), run=run), "hash")
        tracker.finish(only(of).key, "FINISHED")
        tracker.close("FINISHED")
    (record,) = read_runs("a_study", "mini")
    assert recorded_settings(record.params) == run


@pytest.mark.parametrize(
    ("status", "retried", "said"),
    [("FINISHED", True, "true"), ("FINISHED", False, "false"), ("FAILED", True, "true"), ("KILLED", False, None)],
)
def test_a_run_that_went_on_with_activation_checkpointing_says_so_in_its_settings(
    mlflow_here: Path, status: Status, retried: bool, said: str | None
) -> None:
    """MLflow changes no parameter that it has: what may turn out otherwise is written down at the end."""
    of = campaign()
    key, name = only(of).key, "train.activation_checkpointing"
    with Tracker.open(of) as tracker:
        tracker.begin(only(of), "hash")
        assert tracker.settle(20)
        (begun,) = read_runs("a_study", "mini")
        assert name not in begun.params
        assert begun.params["train.steps"] == "12"
        if retried:
            tracker.correct(key, {name: "true"})
        tracker.finish(key, status)
        assert tracker.close(status) == []
    (record,) = read_runs("a_study", "mini")
    assert record.params.get(name) == said
    with Tracker.open(of) as tracker:  # another command, which finds it as it is, or makes it again
        if tracker.begin(only(of), "hash").what == "ours":
            tracker.correct(key, {name: "true"})
            tracker.finish(key, "FINISHED")
        assert tracker.close("FINISHED") == []
    (record,) = read_runs("a_study", "mini")
    assert record.params[name] == (said or "true")


def test_a_finished_run_is_read_as_it_was_written(mlflow_here: Path) -> None:
    of = campaign(seeds=(3,))
    done = only(of)
    with Tracker.open(of) as tracker:
        assert tracker.begin(done, "hash") == Begun("ours")
        tracker.tag(done.key, {"device": "cpu"})
        tracker.log(done.key, rows(2, 4))
        tracker.log(done.key, final(4, 0.5))
        tracker.finish(done.key, "FINISHED")
        assert tracker.close("FINISHED") == []
    (record,) = read_runs("a_study", "mini")
    assert (record.key, record.row, record.base, record.seed) == (done.key, "TRM k=1, T=1", "trm", 3)
    assert (record.status, record.campaign, record.data, record.owners) == ("FINISHED", of.id, "hash", ())
    assert record.ended is not None
    assert record.metrics == {"train/loss": 0.25, "test/exact_accuracy": 0.5}
    assert record.params["model.D"] == "16"
    assert record.params["depth"] == str(done.run.model.depth)
    assert {"commit", "dirty", "data", "device", "version.torch", "version.ray", "version.python"} <= record.tags.keys()
    assert read_curve(record.run_id, "train/loss") == [(2, 0.5), (4, 0.25)]
    assert read_runs("a_study", "paper") == []


def test_more_runs_than_fit_on_a_page_are_all_read(mlflow_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "PAGE", 2)
    of = campaign(seeds=range(5))
    with Tracker.open(of) as tracker:
        for job in of.jobs():
            tracker.begin(job, "hash")
    assert sorted(run.seed for run in read_runs("a_study", "mini")) == [0, 1, 2, 3, 4]


def test_a_loss_that_is_no_number_is_tagged_and_said_once_and_the_rest_is_kept(mlflow_here: Path) -> None:
    said: list[str] = []
    odd = only(campaign())
    with Tracker.open(campaign(), say=said.append) as tracker:
        tracker.begin(odd, "hash")
        for _ in range(2):
            tracker.log(odd.key, [Measurement(2, 0, {"train/loss": float("nan"), "train/lr": 0.1})])
        tracker.finish(odd.key, "FAILED", reason="Diverged: the loss is nan", state="diverged")
    (record,) = read_runs("a_study", "mini")
    assert record.tags["non_finite"] == "train/loss at step 2"
    assert record.metrics == {"train/lr": 0.1}
    assert (record.status, record.state) == ("FAILED", "diverged")
    assert len(said) == 1
    assert "nan at step 2" in said[0]


def test_whatever_ends_the_command_no_run_is_left_running(mlflow_here: Path) -> None:
    def command() -> None:
        with Tracker.open(campaign()) as tracker:
            tracker.begin(only(campaign()), "hash")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()
    assert roles(mlflow_here) == [("campaign", "FAILED"), ("row", "KILLED"), ("run", "KILLED")]
    assert query(mlflow_here, f"SELECT * FROM tags WHERE key LIKE '{OWNER}%'") == []


# --- two launches ----------------------------------------------------------------------------------------------------

SHARES = """
import json, sys, time
from sweeps.records.write import Tracker
from tests.conftest import a_study, campaign
from tests.sweeps.records.stores import rows
for turn, other in enumerate(("B", sys.argv[1])):
    of = campaign(a_study("A", other), seeds=range(8 * turn, 8 * turn + 8))
    print("ready", flush=True); input()
    with Tracker.open(of) as tracker:
        waiting, ours = [job for job in of.jobs() if job.row == "A"], []
        while waiting:
            for job in tuple(waiting):
                what = tracker.begin(job, "hash").what
                if what == "ours":
                    ours.append(job.key)
                    tracker.log(job.key, rows(2, 4))
                    tracker.finish(job.key, "FINISHED")
                if what != "elsewhere":
                    waiting.remove(job)
            time.sleep(0.05)
        problems = tracker.close("FINISHED")
    print(json.dumps([ours, problems]), flush=True)
"""


@pytest.mark.kills
def test_two_launches_at_once_share_the_runs_of_one_campaign_or_of_two_and_each_is_trained_once(
    mlflow_here: Path,
) -> None:
    launches = [another_process(SHARES, row) for row in "BC"]
    for campaigns, total in ((1, 8), (2, 16)):  # first both give the same one, then each another
        (first, said), (second, also_said) = map(json.loads, together(launches))
        assert not set(first) & set(second)
        assert len(first) + len(second) == 8
        assert said == also_said == []
        children = query(mlflow_here, OURS)
        assert len(children) == len({key for key, _, _ in children}) == total
        assert {status for _, _, status in children} == {"FINISHED"}
        assert [role for role, _ in roles(mlflow_here)].count("campaign") == campaigns
    for launch in launches:
        ended(launch)


def test_who_closes_ends_nothing_that_another_launch_has_finished_or_makes(mlflow_here: Path) -> None:
    of = campaign(seeds=(0, 1))
    done, running = of.jobs()
    with Tracker.open(of) as a, Tracker.open(of) as b:
        finish(a, done, 0.91)
        assert a.begin(running, "hash").what == "ours"
        send_all(a)
        begun = b.begin(done, "hash")
        assert begun.what == "finished"
        assert begun.record is not None
        assert begun.record.metrics["test/exact_accuracy"] == 0.91
        begun = b.begin(running, "hash")
        assert begun.what == "elsewhere"
        assert begun.owner is not None
        assert (begun.owner.launch, begun.owner.pid) == (a.me.launch, os.getpid())
        b.close("KILLED")  # Ctrl-C
        assert [run.status for run in sorted(read_runs("a_study", "mini"), key=lambda run: run.seed)] == [
            "FINISHED",
            "RUNNING",
        ]
        assert roles(mlflow_here)[0] == ("campaign", "RUNNING")
        a.finish(running.key, "FINISHED")
        a.close("FINISHED")
    assert {status for _, status in roles(mlflow_here)} == {"FINISHED"}


def test_a_run_that_failed_while_this_launch_waited_is_not_trained_again(mlflow_here: Path) -> None:
    of = campaign()
    with Tracker.open(of) as a, Tracker.open(of) as b:
        a.begin(only(of), "hash")
        assert b.begin(only(of), "hash").what == "elsewhere"
        a.finish(only(of).key, "FAILED", reason="IndexError: no such cell")
        send_all(a)
        begun = b.begin(only(of), "hash")
        assert begun.what == "failed"
        assert begun.record is not None
        assert begun.record.tags["failure"] == "IndexError: no such cell"
    with Tracker.open(of) as later:
        assert later.begin(only(of), "hash").what == "ours"


def test_a_launch_that_was_killed_leaves_a_run_that_the_next_picks_up_at_once_and_does_not_double(
    mlflow_here: Path,
) -> None:
    program = (
        "from sweeps.records.write import Tracker\n"
        "from tests.conftest import campaign; from tests.sweeps.records.stores import rows, send_all\n"
        "of = campaign(seeds=(0, 1)); tracker = Tracker.open(of)\n"
        "for job in of.jobs(): tracker.begin(job, 'hash'); tracker.log(job.key, rows(2, 4, 6))\n"
        "send_all(tracker); print('ready', flush=True); input()\n"
    )
    killed = another_process(program)
    assert hear(killed) == "ready"
    of = campaign(seeds=(0, 1))
    with Tracker.open(of) as living:
        assert [living.begin(job, "hash").what for job in of.jobs()] == ["elsewhere", "elsewhere"]
        killed.kill()
        killed.communicate()
        assert killed.returncode == -signal.SIGKILL
        assert [run.status for run in read_runs("a_study", "mini")] == ["RUNNING", "RUNNING"]
        first = of.jobs()[0]
        with Tracker.open(of) as next_one:
            assert [run.status for run in read_runs("a_study", "mini")] == ["KILLED", "KILLED"]
            assert next_one.begin(first, "hash").what == "ours"
            next_one.log(first.key, rows(2, 4, 6, 8, loss=2.0))  # the first three are there already
            next_one.finish(first.key, "FINISHED")
            assert next_one.close("FINISHED") == []
    runs = {run.seed: run for run in read_runs("a_study", "mini")}
    assert {seed: run.status for seed, run in runs.items()} == {0: "FINISHED", 1: "KILLED"}
    assert points(mlflow_here, runs[0].run_id) == [(2, 0.5), (4, 0.25), (6, 1 / 6), (8, 0.25)]
    assert [role for role, _ in roles(mlflow_here)] == ["campaign", "row", "run", "run"]


def test_a_launch_elsewhere_is_waited_for_until_its_heartbeat_has_stood_still_and_then_taken_over(
    elsewhere: Tracker,
) -> None:
    of, clock = campaign(), [0.0]
    with Tracker.open(of) as b:
        b.tree.heard = claims.Heard(lambda: clock[0])
        for _ in range(29):
            begun = b.begin(only(of), "hash")
            assert begun.what == "elsewhere"
            assert begun.owner is not None
            assert begun.owner.host == "far"
            clock[0] += 2.0
        clock[0] += 4.0
        assert b.begin(only(of), "hash").what == "ours"
        b.finish(only(of).key, "FINISHED")
        b.close("FINISHED")


def test_a_launch_that_slept_while_its_run_was_taken_over_writes_nothing_more_and_says_so(
    elsewhere: Tracker, mlflow_here: Path
) -> None:
    of, said = campaign(), list[str]()
    key = only(of).key
    elsewhere._voice.say = said.append
    elsewhere.log(key, rows(2))
    send_all(elsewhere)
    with Tracker.open(of) as b:
        b.tree.heard = claims.Heard(now_ms=lambda: claims._now_ms() + 10**9)  # it slept for days
        assert b.begin(only(of), "hash").what == "ours"
        b.log(key, [*rows(2, 4, loss=7.0), *final(4, 0.91)])
        b.finish(key, "FINISHED")
        b.close("FINISHED")
    (done,) = read_runs("a_study", "mini")
    before = tags(mlflow_here, done.run_id)
    for child in elsewhere._children.values():
        child.beat_at = time.time() - 3600  # it wakes
    elsewhere.log(key, [*rows(4, 6, loss=1.0), *final(6, 0.1)])
    elsewhere.tag(key, {"device": "another"})
    send_all(elsewhere)
    assert elsewhere.lost() == (key,)
    elsewhere.finish(key, "KILLED")
    assert elsewhere.close("KILLED") == []
    assert len(said) == 1
    assert "another launch has taken it over" in said[0]
    (record,) = read_runs("a_study", "mini")
    assert (record.status, record.metrics["test/exact_accuracy"]) == ("FINISHED", 0.91)
    assert points(mlflow_here, record.run_id) == [(2, 0.5), (4, 1.75)]
    assert tags(mlflow_here, record.run_id) == before


def test_the_last_word_on_a_run_is_its_owners_even_a_moment_after_it_was_taken_over(
    elsewhere: Tracker, mlflow_here: Path
) -> None:
    of = campaign()
    with Tracker.open(of) as b:
        b.tree.heard = claims.Heard(now_ms=lambda: claims._now_ms() + 10**9)
        finish(b, only(of), 0.91)
        b.close("FINISHED")
    elsewhere.finish(only(of).key, "KILLED")  # its next heartbeat is not due yet
    assert elsewhere.close("KILLED") == []
    (record,) = read_runs("a_study", "mini")
    assert (record.status, record.metrics["test/exact_accuracy"]) == ("FINISHED", 0.91)


def test_a_run_that_was_taken_over_and_given_up_can_be_had_back(elsewhere: Tracker) -> None:
    of, key = campaign(), only(campaign()).key
    with Tracker.open(of) as b:
        b.tree.heard = claims.Heard(now_ms=lambda: claims._now_ms() + 10**9)
        assert b.begin(only(of), "hash").what == "ours"
        b.close("KILLED")
    elsewhere._children[key].beat_at = 0.0
    send_all(elsewhere)
    assert elsewhere.lost() == (key,)
    assert elsewhere.begin(only(of), "hash").what == "ours"
    assert elsewhere.lost() == ()
    with Tracker.open(of) as c:
        assert c.begin(only(of), "hash").what == "elsewhere"
    elsewhere.finish(key, "FINISHED")
    elsewhere.close("FINISHED")
    assert [run.status for run in read_runs("a_study", "mini")] == ["FINISHED"]


def test_two_that_were_left_by_launches_killed_in_mid_creation_are_never_trained_by_two(mlflow_here: Path) -> None:
    of = campaign()
    with Tracker.open(of) as a, Tracker.open(of) as b:
        assert a.begin(only(of), "hash").what == "ours"
        orphan = a.tree.create("an older one", a.tree.tags(only(of), "hash", {}))
        query_and_commit(mlflow_here, f"UPDATE runs SET start_time = 1 WHERE run_uuid = '{orphan.info.run_id}'")
        assert b.begin(only(of), "hash").what == "elsewhere"


def test_a_stranger_who_writes_later_does_not_say_how_a_run_of_ours_and_its_row_have_ended(mlflow_here: Path) -> None:
    of = campaign()
    with Tracker.open(of) as a:
        assert a.begin(only(of), "hash").what == "ours"
        stranger = a.tree.create("a stranger's", a.tree.tags(only(of), "hash", {"failure": "made up"})).info.run_id
        a._client.set_terminated(stranger, "FAILED")
        later = "SELECT max(start_time) + 1 FROM runs"
        query_and_commit(mlflow_here, f"UPDATE runs SET start_time = ({later}) WHERE run_uuid = '{stranger}'")
        a.close("KILLED")
    statuses = {"campaign": "KILLED", "row": "KILLED"}
    assert dict(role for role in roles(mlflow_here) if role[0] in statuses) == statuses
    (record,) = read_runs("a_study", "mini")
    assert (record.status, record.tags.get("failure")) == ("KILLED", None)


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


# --- artefacts -------------------------------------------------------------------------------------------------------


def test_the_report_lies_with_the_campaign(mlflow_here: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.mkdir()
    (report / "table.md").write_text("| a |")
    with Tracker.open(campaign()) as tracker:
        assert tracker.close("FINISHED", report) == []
    assert [path.read_text() for path in (tmp_path / "mlruns").rglob("table.md")] == ["| a |"]


def test_files_of_a_run_lie_with_it_where_they_are_there(mlflow_here: Path, tmp_path: Path) -> None:
    (tmp_path / "failure.txt").write_text("Traceback")
    with Tracker.open(campaign()) as tracker:
        tracker.begin(only(campaign()), "hash")
        there, not_there = tmp_path / "failure.txt", tmp_path / "votes.csv"
        tracker.finish(only(campaign()).key, "FAILED", reason="a bug", artefacts=[there, not_there])
        assert tracker.close("FAILED") == []
    (kept,) = (tmp_path / "mlruns").rglob("failure.txt")
    assert read_runs("a_study", "mini")[0].run_id in kept.parts


def test_a_report_that_cannot_be_stored_is_said_and_the_launch_ends_all_the_same(
    mlflow_here: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    report.mkdir()
    (report / "table.md").write_text("| a |")
    with Tracker.open(campaign()) as tracker:
        (tmp_path / "mlruns").rename(tmp_path / "was")
        (tmp_path / "mlruns").write_text("a file where the artefacts' folder should be")
        (problem,) = tracker.close("FINISHED", report)
    assert f"{report} was not stored" in problem
    assert "\n" not in problem
    assert roles(mlflow_here) == [("campaign", "FINISHED")]


# --- what MLflow refuses, and an outage ------------------------------------------------------------------------------


def test_what_mlflow_refuses_is_said_once_and_stops_nothing_else(mlflow_here: Path) -> None:
    of, said = campaign(seeds=(0, 1)), list[str]()
    deleted, other = of.jobs()
    with Tracker.open(of, say=said.append) as tracker:
        for job in of.jobs():
            tracker.begin(job, "hash")
        send_all(tracker)
        for run_id in (tracker._children[deleted.key].run_id, tracker.tree.parent_id):  # somebody, in MLflow's pages
            tracker._client.delete_run(run_id)
        tracker._parent_beat_at = 0.0
        for job in of.jobs():
            tracker.log(job.key, rows(2))
        for _ in range(3):
            tracker._send()
        tracker.finish(other.key, "FINISHED")
        problems = tracker.close("FINISHED")
    assert sorted(text.partition(":")[0] for text in said) == [
        f"MLflow refuses {deleted.name} ({deleted.key})",
        "MLflow refuses the campaign's run",
    ]
    assert deleted.key in problems[0]
    assert [(run.seed, run.status) for run in read_runs("a_study", "mini")] == [(1, "FINISHED")]


@pytest.fixture
def server(mlflow_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(mlflow_here, tmp_path).up(monkeypatch) as server:
        yield server


@pytest.mark.kills
@pytest.mark.slow
def test_a_server_that_dies_in_mid_study_and_comes_back_has_every_point_once_and_one_that_stays_away_is_said(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "RETRY_AFTER_S", 0.2)
    said: list[str] = []
    of = campaign(seeds=(0, 1))
    first, second = of.jobs()
    with Tracker.open(of, say=said.append) as tracker:
        for job in (first, second):
            tracker.begin(job, "hash")
            tracker.log(job.key, rows(2, 4))
        send_all(tracker)
        server.stop()  # it takes questions and answers none: whoever waits for one never comes to the next line but two
        tracker.log(first.key, rows(6, 8))
        tracker.finish(first.key, "FINISHED")
        tracker.log(second.key, rows(6))
        server.kill()
        while not said:
            time.sleep(0.05)
        server.start()
        tracker.log(second.key, rows(8))
        tracker.finish(second.key, "FINISHED")
        send_all(tracker)
        runs = {run.seed: run for run in read_runs("a_study", "mini")}
        assert {run.status for run in runs.values()} == {"FINISHED"}
        for run in runs.values():
            assert points(server.store, run.run_id) == [(2, 0.5), (4, 0.25), (6, 1 / 6), (8, 0.125)]
        assert ["does not answer" in text for text in said] == [True, False]
        server.kill()
        tracker.log(second.key, rows(10))
        problems = tracker.close("FINISHED", patience_s=0.5)
    assert second.key in problems[0]
    assert "1 rows" in problems[0]
    assert "metrics.jsonl" in problems[0]
    server.start()
    assert {run.status for run in read_runs("a_study", "mini")} == {"FINISHED"}


@pytest.mark.kills
def test_a_file_that_another_process_locks_in_mid_study_has_every_point_once_when_it_is_let_go_of(
    mlflow_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "RETRY_AFTER_S", 0.2)
    said: list[str] = []
    job = only(campaign())
    with Tracker.open(campaign(), say=said.append) as tracker:
        tracker.begin(job, "hash")
        tracker.log(job.key, rows(2, 4))
        send_all(tracker)
        with contextlib.closing(sqlite3.connect(mlflow_here, timeout=60)) as other:
            other.execute("BEGIN EXCLUSIVE")
            tracker.log(job.key, [*rows(6, 8), *final(8, 0.5)])
            while not said:
                time.sleep(0.05)
        tracker.finish(job.key, "FINISHED")
        assert tracker.close("FINISHED", patience_s=300) == []
    assert ["does not answer" in text for text in said] == [True, False]
    (run,) = read_runs("a_study", "mini")
    assert run.status == "FINISHED"
    assert points(mlflow_here, run.run_id) == [(2, 0.5), (4, 0.25), (6, 1 / 6), (8, 0.125)]


@pytest.mark.kills
@pytest.mark.slow
def test_a_server_that_is_away_at_the_very_end_is_waited_for(server: Server) -> None:
    of = campaign()
    with Tracker.open(of) as tracker:
        finish(tracker, only(of))
        server.kill()
        back = threading.Timer(1, server.start)
        back.start()
        problems = tracker.close("FINISHED", patience_s=300)
        back.join()
    assert problems == []
    assert roles(server.store) == [("campaign", "FINISHED"), ("row", "FINISHED"), ("run", "FINISHED")]


# --- the store itself ------------------------------------------------------------------------------------------------


def metrics_of(store: Path, run_id: str) -> dict[str, float]:
    """The last value of each metric."""
    return dict(query(store, f"SELECT key, value FROM latest_metrics WHERE run_uuid = '{run_id}'"))


def document_file(store: Path) -> Path:
    (file,) = (store.parent / "mlruns").rglob("campaign.json")
    return file


def query_and_commit(store: Path, text: str) -> None:
    import sqlite3

    database = sqlite3.connect(store)
    database.execute(text)
    database.commit()
    database.close()
