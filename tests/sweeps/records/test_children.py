"""Runs → MLflow: one child per key, found or made, by one launch at a time."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.plan import recorded_settings
from sweeps.records import claims
from sweeps.records.read import read_curve, read_runs
from sweeps.records.types import Measurement, Status
from sweeps.records.write import Begun, Tracker
from tests.conftest import campaign
from tests.sweeps.records.stores import (
    OURS,
    another_process,
    ended,
    final,
    finish,
    hear,
    only,
    points,
    query,
    roles,
    rows,
    send_all,
    tags,
    together,
)


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


def test_files_of_a_run_lie_with_it_where_they_are_there(mlflow_here: Path, tmp_path: Path) -> None:
    (tmp_path / "failure.txt").write_text("Traceback")
    with Tracker.open(campaign()) as tracker:
        tracker.begin(only(campaign()), "hash")
        there, not_there = tmp_path / "failure.txt", tmp_path / "votes.csv"
        tracker.finish(only(campaign()).key, "FAILED", reason="a bug", artefacts=[there, not_there])
        assert tracker.close("FAILED") == []
    (kept,) = (tmp_path / "mlruns").rglob("failure.txt")
    assert read_runs("a_study", "mini")[0].run_id in kept.parts


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


def test_a_run_is_made_for_as_long_as_launches_make_it_and_not_between_them(
    mlflow_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10 s and Ctrl-C, an hour without anybody, 5 s and a process that dies, retried after 3 s and done 2 s later."""
    now = [1000.0]
    monkeypatch.setattr("sweeps.records.children._now_s", lambda: now[0])
    of = campaign()
    with Tracker.open(of) as first:
        assert first.begin(only(of), "hash").what == "ours"
        now[0] += 10
    (killed,) = read_runs("a_study", "mini")
    assert (killed.status, killed.seconds) == ("KILLED", 10)
    now[0] += 3600
    with Tracker.open(of) as second:
        assert second.begin(only(of), "hash").what == "ours"
        now[0] += 5
        second.finish(only(of).key, "FAILED")
        now[0] += 3
        assert second.begin(only(of), "hash").what == "ours"
        now[0] += 2
        second.finish(only(of).key, "FINISHED")
        assert second.close("FINISHED") == []
    (done,) = read_runs("a_study", "mini")
    assert (done.status, done.seconds) == ("FINISHED", 17)


def test_a_run_whose_launch_died_was_made_until_its_last_heartbeat_whoever_closes_it(
    elsewhere: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    (child,) = elsewhere._children.values()
    monkeypatch.setattr(child, "worked_s", 40.0)
    child.beat_at = -math.inf
    send_all(elsewhere)
    monkeypatch.setattr(child, "worked_s", 3600.0)  # of which nobody heard any more
    of = campaign()
    with Tracker.open(of) as b:
        b.tree.heard = claims.Heard(now_ms=lambda: claims._now_ms() + 10**9)
        b.tree.end_what_the_dead_left()
        (closed,) = read_runs("a_study", "mini")
        assert closed.status == "KILLED"
        assert closed.seconds == pytest.approx(40, abs=20)
        assert b.begin(only(of), "hash").what == "ours"
        b.finish(only(of).key, "FINISHED")
        assert b.close("FINISHED") == []
    (done,) = read_runs("a_study", "mini")
    assert done.seconds == pytest.approx(40, abs=20)


def test_a_run_that_an_older_version_began_was_made_until_its_last_point(mlflow_here: Path) -> None:
    of = campaign()
    with Tracker.open(of) as first:
        first.begin(only(of), "hash")
        send_all(first)
        (run,) = read_runs("a_study", "mini")
        began_ms = round(1000 * run.started.timestamp())
        first.log(only(of).key, [Measurement(2, began_ms + 30_000, {"train/loss": 1.0})])
    query_and_commit(mlflow_here, "DELETE FROM tags WHERE key = 'at_work_ms'")
    with Tracker.open(of) as second:
        second.begin(only(of), "hash")
        second.finish(only(of).key, "FINISHED")
        assert second.close("FINISHED") == []
    (done,) = read_runs("a_study", "mini")
    assert done.seconds == pytest.approx(30, abs=20)


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


def query_and_commit(store: Path, text: str) -> None:
    with contextlib.closing(sqlite3.connect(store)) as database:
        database.execute(text)
        database.commit()
