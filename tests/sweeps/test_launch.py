from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray.tune.search import Searcher

from data_prep.arc import build_arc
from data_prep.puzzle_set import PuzzleSet
from sweeps.campaign import Job
from sweeps.failures import MAX_FAILURES, Failure, Interrupted
from sweeps.folder import Task, earlier_failure, note_failure
from sweeps.journal import Journal, read_journal
from sweeps.launch import Outcome, _Queue, _Watch
from sweeps.launch import launch as launch_study
from sweeps.locks import hold_folder
from sweeps.packing import LauncherName
from sweeps.probe import source_hash
from sweeps.progress import Progress
from sweeps.puzzles import BuiltSet
from sweeps.records.address import TrackingUnavailable
from sweeps.records.read import read_curve, read_runs
from sweeps.records.types import Measurement, Owner, RunRecord
from sweeps.records.write import Tracker
from sweeps.search import StorageUnavailable
from sweeps.worker import train_run, worth_another_try
from tests.conftest import a_study, campaign, job
from trm_core.config import BadSetting, RunConfig
from trm_core.trainer import train

# --- deciding ------------------------------------------------------------------------------------------------------


def test_alone_a_run_would_raise_again_what_it_raised_beside_others_it_may_be_the_death_of_a_peer() -> None:
    assert not worth_another_try(RuntimeError("connection closed by peer"), workers=1)
    assert worth_another_try(RuntimeError("connection closed by peer"), workers=2)
    assert not worth_another_try(ValueError("training loss is nan"), workers=2)


class Shelf:
    """In the watch's place: says who has which run, by key, and keeps what the queue made of it."""

    def __init__(self, **who: str) -> None:
        self.who, self.interrupted, self.silent, self.said = who, False, False, io.StringIO()
        self.running: set[str] = set()
        self.places = 99
        self.coming: list[list[Job]] = []  # from a source, call by call; an empty one: wait
        self.progress = Progress(runs=9, done=0, work=1.0, stream=self.said)

    def begin(self, job: Job) -> str:
        if self.who.get(job.key) == "silent":
            raise TrackingUnavailable("no answer")
        what = self.who.get(job.key, "ours")
        if what == "ours":
            self.running.add(job.key)
        return what

    def room(self) -> int:
        return self.places

    def owner(self, job: Job) -> Owner:
        return Owner("0" * 32, host="another", pid=7)

    def task(self, job: Job) -> str:
        return f"task {job.key}"

    def take_back(self) -> list[Job]:
        return []

    def take_news(self) -> bool:
        return False

    def more(self) -> Sequence[Job] | None:
        if not self.coming:
            return None
        found = self.coming.pop(0)
        self.running |= {"another"} if not found else set()
        return found


def queue(shelf: Shelf, *keys: str, may_begin: Callable[[Job], bool] = lambda _: True) -> _Queue:
    jobs = [Job(key, "a_study", f"row {key}", "trm", "mini", 0, RunConfig()) for key in keys]
    found = _Queue(shelf, jobs, may_begin)  # type: ignore[arg-type]
    found.ask_again_s = 0.0
    return found


def asked(of: _Queue, times: int) -> list[str | None]:
    """What Tune gets to hear: keys, None to wait, FINISHED."""
    found = [of.suggest("trial") for _ in range(times)]
    return [one["key"] if isinstance(one, dict) else one for one in found]


def test_the_queue_gives_every_job_once_in_its_order_and_then_ends() -> None:
    assert asked(queue(Shelf(), "a", "b"), 3) == ["a", "b", Searcher.FINISHED]


def test_no_more_runs_go_on_at_once_than_there_is_room_for_and_room_may_come_and_go() -> None:
    shelf = Shelf()
    shelf.places = 1
    line = queue(shelf, "a", "b", "c", "d")
    first, second = line.suggest("1"), line.suggest("2")
    assert (first["key"], second) == ("a", None)
    shelf.places = 2  # a machine has come
    assert line.suggest("2")["key"] == "b"
    assert line.suggest("3") is None
    shelf.places = 0  # both have gone
    line.on_trial_complete("1")
    assert line.suggest("3") is None
    line.on_trial_complete("2", error=True)
    assert line.suggest("3")["key"] == "c"  # Tune has none under way now: it waits for a place itself
    line.on_trial_complete("3")
    assert line.suggest("4")["key"] == "d"
    line.on_trial_complete("4")
    assert line.suggest("5") == Searcher.FINISHED


def test_a_job_that_another_launch_makes_is_passed_over_said_once_asked_for_again_and_dropped_when_it_is_over() -> None:
    shelf = Shelf(a="elsewhere")
    line = queue(shelf, "a", "b")
    assert asked(line, 3) == ["b", None, None]
    assert shelf.said.getvalue().count("process 7 on another makes it") == 1
    shelf.who["a"] = "over"
    assert asked(line, 1) == [Searcher.FINISHED]
    assert line.not_begun == []


def test_a_job_whose_launch_died_elsewhere_becomes_ours() -> None:
    shelf = Shelf(a="elsewhere")
    line = queue(shelf, "a")
    assert asked(line, 1) == [None]
    shelf.who["a"] = "ours"
    assert asked(line, 2) == ["a", Searcher.FINISHED]


def test_what_may_not_begin_is_left_and_named_and_a_smaller_one_behind_it_is_begun() -> None:
    line = queue(Shelf(), "long", "short", may_begin=lambda job: job.key == "short")
    assert asked(line, 2) == ["short", Searcher.FINISHED]
    assert line.not_begun == ["long"]


def test_while_mlflow_is_silent_nothing_begins_and_nothing_is_given_up() -> None:
    shelf = Shelf(a="silent")
    line = queue(shelf, "a")
    assert asked(line, 2) == [None, None]
    shelf.who["a"] = "ours"
    assert asked(line, 2) == ["a", Searcher.FINISHED]


def test_jobs_that_come_later_are_waited_for_and_given_in_their_turn() -> None:
    shelf = Shelf()
    shelf.coming = [[], [Job("b", "a_study", "row b", "trm", "mini", 0, RunConfig())]]
    assert asked(queue(shelf, "a"), 4) == ["a", None, "b", Searcher.FINISHED]


def test_an_interrupted_queue_gives_nothing_more() -> None:
    shelf = Shelf()
    line = queue(shelf, "a")
    shelf.interrupted = True
    assert asked(line, 1) == [Searcher.FINISHED]


# --- a run's folder --------------------------------------------------------------------------------------------------


def test_a_failure_counts_in_the_launch_that_it_ended(tmp_path: Path) -> None:
    assert note_failure(tmp_path, "one launch", ValueError("two\nlines")) == "ValueError: two lines"
    assert earlier_failure(tmp_path, "one launch") == "ValueError: two lines"
    assert earlier_failure(tmp_path, "another launch") is None


def test_a_failure_that_cannot_be_written_down_is_told_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file where the folder should be")
    full = OSError(28, "No space left on device")
    assert note_failure(tmp_path / "folder", "one launch", full) == "OSError: [Errno 28] No space left on device"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_run_given_a_gpu_that_torch_cannot_see_is_refused(puzzles: Path, tmp_path: Path, tiny_run: RunConfig) -> None:
    task = Task("a_key", tiny_run, puzzles, tmp_path, 1, "a launch", "cuda")
    with pytest.raises(BadSetting, match="torch finds no GPU"):
        train_run(task, lambda *_: None)


def test_a_run_on_arc_keeps_its_predictions_in_its_folder(tmp_path: Path, tiny_run: RunConfig) -> None:
    counts: dict[str, Any] = {"train": 4, "validation": 1, "test": 2, "side": 10}
    build_arc(tmp_path / "arc", subsets=("training", "evaluation"), variants=2, **counts)
    arc = {"puzzle": "arc", "subsets": "training,evaluation", "augmentations": 2, "clues": None, **counts}
    run = tiny_run.change({"data": arc, "train": {"steps": 2}})
    told: list[Measurement] = []
    task = Task("a_key", run, tmp_path / "arc", tmp_path / "run", 1, "a launch", "cpu")
    train_run(task, lambda rows, _: told.extend(rows))
    assert told[-1].metrics["test/votes"] == 3
    assert 0 <= told[-1].metrics["test/pass_at_2"] <= 1
    files = {path.name for path in (tmp_path / "run" / "predictions").iterdir()}
    assert files == {"part-0-of-1.parquet", "votes.csv", "submission.json"}


@pytest.mark.slow
def test_every_worker_reads_checkpoints_only_once_the_folder_is_held(
    puzzles: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    program = (
        "import sys; from pathlib import Path; import torch.distributed as dist\n"
        "from sweeps.worker import Task, train_run; from tests.conftest import TINY\n"
        "from trm_core.config import RunConfig\n"
        "rank, puzzles, here = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])\n"
        "dist.init_process_group('gloo', init_method=f'file://{here}/meeting', rank=rank, world_size=2)\n"
        "task = Task('a_key', RunConfig.parse(TINY), puzzles, here / 'run', 1, 'a launch', 'cpu')\n"
        "print('ready', flush=True)\n"
        "train_run(task, lambda *_: None, rank=rank, workers=2, agreed=lambda due: True)\n"
    )
    folder = tmp_path / "run"
    folder.mkdir()
    data = PuzzleSet.open(puzzles)
    with hold_folder(folder):
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(rank), str(puzzles), str(tmp_path)],
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        time.sleep(1)  # long enough for a worker that does not wait to see an empty folder
        train(tiny_run, data, lambda *_: None, checkpoints=folder / "checkpoints", device="cpu")
    ends = [(worker.communicate(), worker.returncode) for worker in workers]
    assert [code for _, code in ends] == [0, 0], ends
    assert [row.step for row in read_journal(folder / "metrics.jsonl")] == [12]  # nothing left but to evaluate


# --- with a real Ray, a real MLflow and the real training ------------------------------------------------------------


class Here:
    """A study's surroundings: its puzzles, its results folder, and how to launch it."""

    def __init__(self, puzzles: Path, out: Path) -> None:
        self.puzzles, self.out = puzzles, out
        self.data = PuzzleSet.open(puzzles)
        self.shown = io.StringIO()

    def job(self, run: RunConfig, seed: int = 0) -> Job:
        return job(run, seed, row=f"row {seed}", data=self.data.content_hash)

    @contextmanager
    def watching(self, *jobs: Job) -> Iterator[tuple[_Watch, Tracker]]:
        """What a launch of these jobs watches its trials with, and where it records them."""
        with (
            Progress(runs=len(jobs), done=0, work=1.0, stream=self.shown) as progress,
            Tracker.open(campaign(a_study("row 0", "row 1", "row 2")), say=progress.say) as tracker,
        ):
            by_key = {job.key: job for job in jobs}
            sets = dict.fromkeys(by_key, BuiltSet(self.puzzles, self.data.content_hash, len(self.data.test)))
            yield _Watch(by_key, sets, self.out / "runs", dict.fromkeys(by_key, tracker), progress), tracker

    def launch(self, jobs: Sequence[Job], **options: Any) -> Outcome:
        with (
            Progress(runs=len(jobs), done=0, work=1.0, stream=self.shown) as progress,
            Tracker.open(campaign(a_study("row 0", "row 1", "row 2")), say=progress.say) as tracker,
        ):
            puzzles = BuiltSet(self.puzzles, self.data.content_hash, len(self.data.test), leaks=("a", "b"))
            sets = {job.key: puzzles for job in jobs}
            trackers = dict.fromkeys(sets, tracker)
            outcome = launch_study(jobs, sets=sets, out=self.out, trackers=trackers, progress=progress, **options)
            assert tracker.close("FINISHED") == []
        return outcome

    def expected(self, job: Job) -> dict[str, float]:
        """What an undisturbed run ends with."""
        torch.set_num_threads(1)
        return timeless(train(job.run, self.data, lambda *_: None, device="cpu"))

    def in_mlflow(self) -> dict[str, RunRecord]:
        return {run.key: run for run in read_runs("a_study", "mini")}

    def when_journal_has(self, job: Job, lines: int, act: Callable[[], None]) -> threading.Thread:
        """Do something once this many rows of a run are written."""

        def wait() -> None:
            path = self.out / "runs" / job.key / "metrics.jsonl"
            while not path.exists() or len(path.read_text().splitlines()) < lines:
                time.sleep(0.01)
            act()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread


def kill_once(patch: pytest.MonkeyPatch, *, after_step: int) -> list[int]:
    """The first trial that reports a later step dies there, since it waits until its report is taken. Who it was."""
    hear = _Watch.on_trial_result
    killed: list[int] = []

    def kill(watch: _Watch, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any]) -> None:
        hear(watch, iteration, trials, trial, result)
        if not killed and any(row.step > after_step for row in result.get("rows", ())):
            killed.append(result["pid"])
            os.kill(result["pid"], signal.SIGKILL)

    patch.setattr(_Watch, "on_trial_result", kill)
    return killed


def timeless(metrics: dict[str, float]) -> dict[str, float]:
    """Without what depends on how fast the machine was."""
    return {name: value for name, value in metrics.items() if not name.startswith("time/")}


@pytest.fixture
def here(puzzles: Path, mlflow_here: Path, tmp_path: Path, ray_here: None) -> Here:
    return Here(puzzles, tmp_path / "results")


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
        watch = _Watch({only.key: only}, sets, tmp_path / "runs", {only.key: tracker}, progress)
        assert watch.begin(only) == "ours"
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
            assert watch.begin(job) == "ours"
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
            assert watch.begin(job) == "ours"
            watch.on_trial_start(0, [], trial)
            watch.on_trial_result(0, [], trial, {"rows": [(2, 2000, {"train/loss": 0.5})]})
        assert not watch.stops({"config": {"key": bad.key}})
        for job in (bad, good):
            watch.on_trial_complete(0, [], SimpleNamespace(config={"key": job.key}))
        assert watch.stops({"config": {"key": bad.key}})
        assert tracker.close("FINISHED") == []
    assert watch.finished == [good.key]
    assert list(watch.failed) == [bad.key]
    assert "no file, expected a run's journal" in watch.failed[bad.key]
    assert {run.row: run.status for run in here.in_mlflow().values()} == {"row 0": "FAILED", "row 1": "FINISHED"}
    assert "BadJournal" in (tmp_path / "runs" / bad.key / "failure.txt").read_text()


class Silent:
    """A source of runs whose storage has gone."""

    def more(self) -> None:
        return None

    def ended(self, job: Job, failure: Failure | None) -> None:
        raise StorageUnavailable("gone")

    def gives_up(self, job: Job, rows: Sequence[Measurement]) -> bool:
        raise StorageUnavailable("gone")


@pytest.mark.parametrize("when", ["a report", "its end"])
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
        watch = _Watch({only.key: only}, sets, tmp_path / "runs", {only.key: tracker}, progress, Silent())
        assert watch.begin(only) == "ours"
        watch.on_trial_start(0, [], trial)
        heard: dict[str, Callable[[], object]] = {
            "a report": lambda: watch.stops({"config": {"key": only.key}, "rows": [(2, 2000, {"train/loss": 0.5})]}),
            "its end": lambda: watch.on_trial_complete(0, [], trial),
        }
        with pytest.raises(Interrupted):
            heard[when]()
    assert isinstance(watch.broken, StorageUnavailable)
    assert watch.failed == {}


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
    assert "its process died; it goes on from its last checkpoint" in here.shown.getvalue()
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
    assert f"{torn.name}/training.safetensors: torn" in run.tags["torn_checkpoint"]
    assert "using the one before it" in " ".join(here.shown.getvalue().split())
    assert timeless(run.metrics) == here.expected(only)


@pytest.mark.ray
def test_an_interrupted_study_ends_at_once_with_its_runs_killed_and_goes_on_when_told_again(
    here: Here, tiny_run: RunConfig
) -> None:
    endless = tiny_run.set(["train.steps=1000000", "train.eval_every=1000000"])
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
    assert "its process died; it goes on from its last checkpoint" in here.shown.getvalue()
    (run,) = here.in_mlflow().values()
    assert timeless(run.metrics) == pytest.approx(here.expected(long), rel=1e-3, abs=1e-3)
    assert [step for step, _ in read_curve(run.run_id, "train/loss")] == list(range(2, 61, 2))
