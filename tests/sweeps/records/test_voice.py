"""What a launch says of a store that refuses or is away, and what it sends once that is back."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import time
from pathlib import Path

import pytest

from sweeps.records import write
from sweeps.records.read import read_runs
from sweeps.records.write import Tracker
from tests.conftest import campaign
from tests.sweeps.records.stores import Server, final, only, points, rows, send_all


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
        problems = tracker.close("FINISHED", patience_s=math.inf)  # what is refused nobody waits for
    assert sorted(text.partition(":")[0] for text in said) == [
        f"MLflow refuses {deleted.name} ({deleted.key})",
        "MLflow refuses the campaign's run",
    ]
    assert deleted.key in problems[0]
    assert "refuses to end the campaign's run" in problems[1]
    assert [(run.seed, run.status) for run in read_runs("a_study", "mini")] == [(1, "FINISHED")]


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
