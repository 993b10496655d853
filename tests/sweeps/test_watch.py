from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeps.campaign import Job
from sweeps.failures import Failure, Interrupted
from sweeps.folder import Place
from sweeps.journal import Journal
from sweeps.progress import Progress
from sweeps.puzzles import BuiltSet
from sweeps.records.address import StoreGone
from sweeps.records.read import read_curve
from sweeps.records.types import Measurement
from sweeps.records.write import Tracker
from sweeps.search_storage import StorageUnavailable
from sweeps.under_way import UnderWay
from sweeps.watch import Watch
from tests.conftest import a_study, campaign
from tests.sweeps.launching import Here
from trm_core.config import RunConfig


def test_what_ray_lost_of_a_runs_rows_is_taken_from_its_journal_when_it_ends(
    puzzles: Path, mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    here = Here(puzzles, tmp_path)
    only = here.job(tiny_run)
    folder = tmp_path / "runs" / only.key
    folder.mkdir(parents=True)
    rows = [Measurement(step, 1000 * step, {"train/loss": 1 / step}) for step in (2, 4, 6)]
    journal = Journal(folder / "metrics.jsonl")
    for row in rows:
        journal.add(row)
    trial = SimpleNamespace(config={"key": only.key})
    with (
        Progress(runs=1, done=0, work=1.0, stream=here.shown) as progress,
        Tracker.open(campaign(a_study("row 0", "row 1", "row 2")), say=progress.say) as tracker,
    ):
        sets = {only.key: BuiltSet(puzzles, here.data.content_hash, len(here.data.test))}
        watch = Watch(UnderWay({only.key: only}, sets, Place(tmp_path), {only.key: tracker}, progress))
        assert watch.runs.begin(only) == "ours"
        watch.on_trial_start(0, [], trial)
        watch.on_trial_result(0, [], trial, {"rows": [tuple(rows[0])]})
        watch.on_trial_complete(0, [], trial)
        assert tracker.close("FINISHED") == []
    (run,) = here.in_mlflow().values()
    assert (run.status, run.metrics) == ("FINISHED", {"train/loss": 1 / 6})
    assert [step for step, _ in read_curve(run.run_id, "train/loss")] == [2, 4, 6]


def test_a_run_that_was_decided_to_recompute_says_so_on_the_screen_and_in_its_settings(
    puzzles: Path, mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    here = Here(puzzles, tmp_path)
    recomputes, does_not = here.job(tiny_run), here.job(tiny_run, 1)
    name, why = "train.activation_checkpointing", "train.activation_checkpointing=true, for a step needs more"
    with here.watching(recomputes, does_not) as (watch, tracker):
        for job in (recomputes, does_not):
            trial = SimpleNamespace(config={"key": job.key})
            assert watch.runs.begin(job) == "ours"
            watch.on_trial_start(0, [], trial)
            if job is recomputes:
                watch.on_trial_result(0, [], trial, {"settled": why, "settings": {name: "true"}})
            watch.on_trial_complete(0, [], trial)
        assert tracker.close("FINISHED") == []
    runs = here.in_mlflow()
    assert [runs[job.key].params[name] for job in (recomputes, does_not)] == ["true", "false"]
    assert runs[recomputes.key].tags["settled"] == why
    assert f"row 0 seed 0: {why}" in " ".join(here.shown.getvalue().split())


def test_a_run_whose_journal_cannot_be_read_at_its_end_has_failed_alone(
    puzzles: Path, mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    here = Here(puzzles, tmp_path)
    bad, good = here.job(tiny_run), here.job(tiny_run, 1)
    (tmp_path / "runs" / bad.key / "metrics.jsonl").mkdir(parents=True)
    with here.watching(bad, good) as (watch, tracker):
        for job in (bad, good):
            trial = SimpleNamespace(config={"key": job.key})
            assert watch.runs.begin(job) == "ours"
            watch.on_trial_start(0, [], trial)
            watch.on_trial_result(0, [], trial, {"rows": [(2, 2000, {"train/loss": 0.5})]})
        assert not watch.stops({"config": {"key": bad.key}})
        for job in (bad, good):
            watch.on_trial_complete(0, [], SimpleNamespace(config={"key": job.key}))
        assert watch.stops({"config": {"key": bad.key}})
        assert tracker.close("FINISHED") == []
    assert watch.runs.finished == [good.key]
    assert list(watch.runs.failed) == [bad.key]
    assert "no file, expected a run's journal" in watch.runs.failed[bad.key]
    assert {run.row: run.status for run in here.in_mlflow().values()} == {"row 0": "FAILED", "row 1": "FINISHED"}
    assert "BadJournal" in (tmp_path / "runs" / bad.key / "failure.txt").read_text()


def test_a_run_whose_process_was_gone_before_it_began_is_begun_again(
    puzzles: Path, mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    here = Here(puzzles, tmp_path)
    only = here.job(tiny_run)
    trial = SimpleNamespace(config={"key": only.key})
    with here.watching(only) as (watch, tracker):
        assert watch.runs.begin(only) == "ours"
        watch.on_trial_recover(0, [], trial)  # Ray: "The actor never ran"
        assert (watch.runs.failed, watch.runs.stopped) == ({}, set())
        watch.on_trial_start(0, [], trial)
        watch.on_trial_complete(0, [], trial)
        assert tracker.close("FINISHED") == []
    assert {run.status for run in here.in_mlflow().values()} == {"FINISHED"}


class Silent:
    """A source of runs whose storage has gone."""

    def more(self) -> None:
        return None

    def ended(self, job: Job, failure: Failure | None) -> None:
        raise StorageUnavailable("gone")

    def tell(self) -> None:
        raise StorageUnavailable("gone")

    def gives_up(self, job: Job, rows: Sequence[Measurement]) -> bool:
        raise StorageUnavailable("gone")


def test_scores_of_earlier_steps_that_came_with_a_report_that_train_lost_reach_mlflow(
    puzzles: Path, mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    here = Here(puzzles, tmp_path)
    only = here.job(tiny_run.set(["train.evaluate_apart=true"]))
    (tmp_path / "runs" / only.key).mkdir(parents=True)
    journal = Journal(tmp_path / "runs" / only.key / "metrics.jsonl")
    trial = SimpleNamespace(config={"key": only.key})
    with here.watching(only) as (watch, tracker):
        assert watch.runs.begin(only) == "ours"
        watch.on_trial_start(0, [], trial)
        for step in (2, 6, 8):
            row = Measurement(step, step, {"train/loss": 1.0})
            journal.add(row)
            watch.on_trial_result(0, [], trial, {"rows": [tuple(row)]})
        journal.amend(Measurement(6, 9, {"validation/exact_accuracy": 0.25}))
        journal.add(Measurement(12, 9, {"train/loss": 1.0, "validation/exact_accuracy": 0.5}))
        watch.on_trial_complete(0, [], trial)
        assert tracker.close("FINISHED") == []
    (run,) = here.in_mlflow().values()
    assert read_curve(run.run_id, "validation/exact_accuracy") == [(6, 0.25), (12, 0.5)]


@pytest.mark.parametrize("when", ["a report", "its end", "after that"])
def test_what_all_runs_need_ends_the_launch_with_its_own_error(
    when: str, puzzles: Path, mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    here = Here(puzzles, tmp_path)
    only = here.job(tiny_run)
    trial = SimpleNamespace(config={"key": only.key})
    with (
        Progress(runs=1, done=0, work=1.0, stream=here.shown) as progress,
        Tracker.open(campaign(a_study("row 0", "row 1", "row 2")), say=progress.say) as tracker,
    ):
        sets = {only.key: BuiltSet(puzzles, here.data.content_hash, len(here.data.test))}
        watch = Watch(UnderWay({only.key: only}, sets, Place(tmp_path), {only.key: tracker}, progress, Silent()))
        assert watch.runs.begin(only) == "ours"
        watch.on_trial_start(0, [], trial)
        heard: dict[str, Callable[[], object]] = {
            "a report": lambda: watch.stops({"config": {"key": only.key}, "rows": [(2, 2000, {"train/loss": 0.5})]}),
            "its end": lambda: watch.on_trial_complete(0, [], trial),
            "after that": watch.runs.tell_the_source,
        }
        with pytest.raises(Interrupted):
            heard[when]()
    assert isinstance(watch.runs.broken, StorageUnavailable)
    assert watch.runs.failed == {}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Launches whose runs were told to save and end, with no Ray to tell them."""
    found: list[str] = []
    monkeypatch.setattr("sweeps.ray_internals.tell_to_end", found.append)
    monkeypatch.setattr("sweeps.machines.give_back_what_the_dead_hold", lambda: None)
    return found


def test_a_launch_that_is_told_to_end_goes_on_until_its_runs_have_saved(
    told: list[str], puzzles: Path, mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    here = Here(puzzles, tmp_path)
    jobs = [here.job(tiny_run, seed) for seed in range(3)]
    saves, ends, _ = trials = [SimpleNamespace(config={"key": job.key}) for job in jobs]
    with here.watching(*jobs) as (watch, tracker):
        for job, trial in zip(jobs[:2], trials, strict=False):
            assert watch.runs.begin(job) == "ours"
            watch.on_trial_start(0, [], trial)
        watch.runs.interrupt(signal.SIGTERM)
        watch.on_step_end(0, [])
        watch.on_trial_recover(0, [], saves)  # its process has ended; why, does not matter any more
        watch.on_step_end(0, [])
        watch.on_trial_complete(0, [], ends)  # it was at its end anyway
        with pytest.raises(Interrupted):
            watch.on_step_end(0, [])
        assert told == [tracker.me.launch]
        assert (watch.runs.finished, watch.runs.running) == ([jobs[1].key], {jobs[0].key})
        watch.runs.kill_running()
        assert tracker.close("KILLED") == []
    assert {run.row: run.status for run in here.in_mlflow().values()} == {"row 0": "KILLED", "row 1": "FINISHED"}


@pytest.mark.parametrize("why", ["Ctrl-C", "no run", "no time", "no Ray"])
def test_a_launch_waits_for_no_checkpoint_that_nobody_would_write(
    why: str,
    told: list[str],
    puzzles: Path,
    mlflow_here: Path,
    tmp_path: Path,
    tiny_run: RunConfig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def gone(_: str) -> None:
        raise ConnectionError("the head is gone")

    here = Here(puzzles, tmp_path)
    only = here.job(tiny_run)
    with here.watching(only) as (watch, _):
        if why != "no run":
            assert watch.runs.begin(only) == "ours"
            watch.on_trial_start(0, [], SimpleNamespace(config={"key": only.key}))
        if why == "no time":
            monkeypatch.setattr("sweeps.watch.SAVES_WITHIN_S", 0.0)
        if why == "no Ray":
            monkeypatch.setattr("sweeps.ray_internals.tell_to_end", gone)
        watch.runs.interrupt(signal.SIGINT if why == "Ctrl-C" else signal.SIGTERM)
        with pytest.raises(Interrupted):
            watch.on_step_end(0, [])
        assert len(told) == (why == "no time")


def test_a_store_that_was_deleted_under_the_runs_ends_the_launch_and_none_is_made_in_its_place(
    told: list[str], puzzles: Path, mlflow_here: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    here = Here(puzzles, tmp_path)
    only = here.job(tiny_run)
    with here.watching(only) as (watch, tracker):
        assert watch.runs.begin(only) == "ours"
        watch.on_trial_start(0, [], SimpleNamespace(config={"key": only.key}))
        assert tracker.settle(20)
        mlflow_here.rename(tmp_path / "elsewhere.db")
        with pytest.raises(Interrupted):
            watch.on_step_end(0, [])
        watch.runs.kill_running()
        (problem,) = tracker.close("KILLED")
    assert isinstance(watch.runs.broken, StoreGone)
    assert problem == str(watch.runs.broken)
    assert "was deleted or replaced while runs were recorded in it; put it back, or give the same command" in problem
    assert not mlflow_here.exists() or mlflow_here.stat().st_size == 0  # SQLite itself may have opened one
