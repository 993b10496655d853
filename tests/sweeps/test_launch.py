from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeps.failures import MAX_FAILURES
from sweeps.folder import last_checkpoint
from sweeps.journal import read_journal
from sweeps.launch import Outcome
from sweeps.packing import LauncherName
from sweeps.probe import source_hash
from sweeps.ray_internals import is_told_to_end
from sweeps.records.read import read_curve
from sweeps.records.types import Measurement
from sweeps.records.write import Tracker
from tests.sweeps.launching import Here, kill_once, timeless
from trm_core.config import RunConfig
from trm_core.trainer import train


@pytest.fixture
def here(puzzles: Path, mlflow_here: Path, tmp_path: Path, ray_here: None) -> Here:
    return Here(puzzles, tmp_path / "results")


@pytest.mark.ray
def test_a_run_that_raises_has_failed_with_a_reason_and_the_others_finish(here: Here, tiny_run: RunConfig) -> None:
    good, bad, other = (here.job(tiny_run, seed) for seed in range(3))
    checkpoint = here.out / "runs" / bad.key / "checkpoints" / "step_00000004"
    train(other.run, here.data, lambda *_: None, checkpoints=checkpoint.parent, device="cpu")  # another run's
    outcome = here.launch([good, bad, other])
    assert set(outcome.finished) == {good.key, other.key}
    assert list(outcome.failed) == [bad.key]
    assert outcome.failed[bad.key].startswith("BadCheckpoint: ")
    assert not outcome.interrupted
    runs = here.in_mlflow()
    assert {run.row: run.status for run in runs.values()} == {
        "row 0": "FINISHED",
        "row 1": "FAILED",
        "row 2": "FINISHED",
    }
    assert runs[bad.key].tags["failure"] == outcome.failed[bad.key]
    assert "BadCheckpoint" in (here.out / "runs" / bad.key / "failure.txt").read_text()
    assert timeless(runs[good.key].metrics) == here.expected(good)
    assert {(run.tags["data"], run.tags["leaks"]) for run in runs.values()} == {(here.data.content_hash, "a,b")}
    assert read_curve(runs[good.key].run_id, "train/loss") == [
        (row.step, row.metrics["train/loss"]) for row in read_journal(here.out / "runs" / good.key / "metrics.jsonl")
    ]
    assert json.loads((here.out / "runs" / good.key / "config.json").read_text())["settings"]["model"]["D"] == 16
    assert not (here.out / "ray").exists()
    assert "row 1 seed 1: FAILED" in here.shown.getvalue()


@pytest.mark.ray
@pytest.mark.kills
def test_a_run_whose_process_dies_every_time_says_where_and_how(here: Here, tiny_run: RunConfig) -> None:
    long = here.job(tiny_run.set(["train.steps=100000", "train.eval_every=100000", "train.checkpoint_every=100000"]))
    lock, killed = here.out / "runs" / long.key / ".lock", set[int]()

    def kill_each() -> None:
        while len(killed) <= MAX_FAILURES:
            with contextlib.suppress(FileNotFoundError):
                holder = re.search(r"process (\d+) ", lock.read_text())
                if holder is not None and int(holder[1]) not in killed:
                    killed.add(int(holder[1]))
                    os.kill(int(holder[1]), signal.SIGKILL)
            time.sleep(0.05)

    killer = threading.Thread(target=kill_each, daemon=True)
    killer.start()
    outcome = here.launch([long])
    killer.join()
    reason = outcome.failed[long.key]
    assert reason.startswith(
        f"ProcessDied: its process ended {MAX_FAILURES + 1} times without a new checkpoint in between; the last time on"
    )
    assert "None" not in reason
    assert "SIGKILL" in reason or "died" in reason or "exit" in reason.lower(), reason
    assert reason in (lock.parent / "failure.txt").read_text()


@pytest.mark.ray
def test_a_killed_process_resumes_and_ends_with_the_metrics_of_an_undisturbed_run_and_no_step_twice(
    here: Here, tiny_run: RunConfig, mlflow_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.sweeps.records.stores import points

    long = here.job(tiny_run.set(["train.steps=200", "train.eval_every=100", "train.checkpoint_every=10"]))
    folder = here.out / "runs" / long.key
    killed = kill_once(monkeypatch, after_step=50)
    outcome = here.launch([long])
    assert len(killed) == 1
    assert outcome.finished == (long.key,)
    assert "its process ended; it goes on from its last checkpoint" in here.shown.getvalue()
    (run,) = here.in_mlflow().values()
    assert run.status == "FINISHED"
    assert timeless(run.metrics) == here.expected(long)
    steps = [step for step, _ in points(mlflow_here, run.run_id)]
    assert steps == list(range(2, 201, 2))
    assert [row.step for row in read_journal(folder / "metrics.jsonl")] == steps


@pytest.mark.ray
@pytest.mark.parametrize("launcher", ["inline", pytest.param("train", marks=pytest.mark.kills)])
def test_a_run_whose_process_is_told_to_end_saves_and_goes_on_elsewhere_and_that_is_no_failure(
    launcher: LauncherName, here: Here, tiny_run: RunConfig
) -> None:
    long = here.job(tiny_run.set(["train.steps=300", "train.eval_every=150", "train.checkpoint_every=1000"]))
    folder = here.out / "runs" / long.key

    def end() -> None:
        holder = re.search(r"process (\d+) ", (folder / ".lock").read_text())
        assert holder is not None
        os.kill(int(holder[1]), signal.SIGTERM)  # as a spot machine, or SLURM

    killer = here.when_journal_has(long, 5, end)
    outcome = here.launch([long], launcher=launcher)
    killer.join()
    assert outcome == Outcome(finished=(long.key,), preemptions=1)
    said = " ".join(here.shown.getvalue().split())
    assert "its process was told to end (SIGTERM); a checkpoint of step" in said
    assert "1 preemption: no failures" in said
    (run,) = here.in_mlflow().values()
    assert run.tags["preemptions"] == "1"
    assert run.tags["preempted"].startswith("its process was told to end (SIGTERM)")
    assert timeless(run.metrics) == here.expected(long)


@pytest.mark.ray
def test_a_torn_checkpoint_is_said_and_tagged_and_the_one_before_it_used(here: Here, tiny_run: RunConfig) -> None:
    only = here.job(tiny_run)
    checkpoints = here.out / "runs" / only.key / "checkpoints"
    train(only.run, here.data, lambda *_: None, checkpoints=checkpoints, device="cpu")
    torn = max(checkpoints.iterdir())
    (torn / "training.safetensors").write_bytes(b"torn")
    assert here.launch([only]).finished == (only.key,)
    (run,) = here.in_mlflow().values()
    assert f"{torn.name}/training.safetensors: torn" in run.tags["warning"]
    assert "using the one before it" in " ".join(here.shown.getvalue().split())
    assert timeless(run.metrics) == here.expected(only)


@pytest.mark.ray
def test_an_interrupted_study_ends_at_once_with_its_runs_killed_and_goes_on_when_told_again(
    here: Here, tiny_run: RunConfig
) -> None:
    endless = tiny_run.set(["train.steps=1000000", "train.eval_every=1000000", "train.compile=off"])
    jobs = [here.job(endless, seed) for seed in range(3)]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where the tests run

    here.when_journal_has(jobs[0], 15, lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    outcome = here.launch(jobs)
    assert signal.getsignal(signal.SIGINT) is before
    assert outcome.interrupted
    assert outcome.finished == ()
    assert Counter(run.status for run in here.in_mlflow().values())["RUNNING"] == 0
    interrupted = here.in_mlflow()[jobs[0].key]
    assert interrupted.status == "KILLED"

    here.when_journal_has(jobs[0], 40, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert here.launch(jobs[:1]).interrupted
    picked_up = here.in_mlflow()[jobs[0].key]
    assert picked_up.run_id == interrupted.run_id
    assert picked_up.tags["launch"] != interrupted.tags["launch"]
    assert picked_up.tags["mlflow.parentRunId"] == interrupted.tags["mlflow.parentRunId"]  # the row's run


@pytest.mark.ray
@pytest.mark.parametrize(
    ("number", "launcher"),
    [
        (signal.SIGTERM, "inline"),
        (signal.SIGINT, "inline"),
        pytest.param(signal.SIGTERM, "train", marks=pytest.mark.kills),
    ],
)
def test_a_command_that_is_told_to_end_lets_its_runs_save_and_at_ctrl_c_it_does_not_wait(
    number: signal.Signals, launcher: LauncherName, here: Here, tiny_run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.watch.SAVES_WITHIN_S", 600.0)  # however busy the machine is
    rare = tiny_run.set(["train.compile=off"])  # so many steps would else be worth it
    rare = rare.set([f"train.{name}=1000000" for name in ("steps", "eval_every", "checkpoint_every")])
    jobs = [here.job(rare, seed) for seed in range(3)]  # one more than there are places
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored where the tests run
    here.when_journal_has(jobs[0], 15, lambda: os.kill(os.getpid(), number))
    outcome = here.launch(jobs, launcher=launcher)
    assert outcome == Outcome(interrupted=True, not_begun=outcome.not_begun)
    runs = here.in_mlflow()
    assert runs[jobs[0].key].status == "KILLED"
    assert Counter(run.status for run in runs.values())["RUNNING"] == 0
    assert not [name for run in runs.values() for name in run.tags if name in ("failure", "preempted")]
    saved = last_checkpoint(here.out / "runs" / jobs[0].key)
    rows = read_journal(here.out / "runs" / jobs[0].key / "metrics.jsonl")
    waits = number == signal.SIGTERM
    assert ("told to end: what goes on saves first" in here.shown.getvalue()) == waits
    assert is_told_to_end(runs[jobs[0].key].tags["launch"]) == waits
    if waits:  # at Ctrl-C Ray may send a run's process a SIGTERM before it kills it, and then there may be a checkpoint
        assert saved is not None
        assert rows[14].step <= rows[-1].step <= saved < rows[-1].step + rare.train.log_every


@pytest.mark.kills
@pytest.mark.ray
@pytest.mark.slow
def test_two_ray_train_workers_end_where_the_inline_launcher_ends_however_slow_the_tracker_is(
    here: Here, tiny_run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Tracker.log

    def slow_log(tracker: Tracker, key: str, rows: Sequence[Measurement]) -> None:
        time.sleep(4)  # training is long over when the last rows are taken
        log(tracker, key, rows)

    monkeypatch.setattr(Tracker, "log", slow_log)
    only = here.job(tiny_run)
    outcome = here.launch([only], launcher="train", workers=2)
    assert outcome == Outcome(finished=(only.key,))
    (run,) = here.in_mlflow().values()
    assert run.status == "FINISHED"
    assert run.tags["device"] == "cpu"
    assert (run.tags["worker.host"], run.tags["worker.code"]) == (socket.gethostname(), source_hash())
    expected = here.expected(only)
    assert timeless(run.metrics) == pytest.approx(expected, rel=1e-3, abs=1e-3)  # two ranks add up in another order
    assert [step for step, _ in read_curve(run.run_id, "train/loss")] == [2, 4, 6, 8, 10, 12]


@pytest.mark.kills
@pytest.mark.ray
@pytest.mark.slow
def test_a_killed_trial_of_ray_train_gives_back_what_it_held_and_the_run_goes_on(
    here: Here, tiny_run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_once(monkeypatch, after_step=0)
    long = here.job(tiny_run.set(["train.steps=60", "train.eval_every=30"]))
    outcome = here.launch([long], launcher="train", workers=2)  # both CPUs: the next try waits for the first's
    assert outcome == Outcome(finished=(long.key,))
    assert "its process ended; it goes on from its last checkpoint" in here.shown.getvalue()
    (run,) = here.in_mlflow().values()
    assert timeless(run.metrics) == pytest.approx(here.expected(long), rel=1e-3, abs=1e-3)
    assert [step for step, _ in read_curve(run.run_id, "train/loss")] == list(range(2, 61, 2))
