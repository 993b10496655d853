"""A launch of a study with a real MLflow and, for most of it, a real Ray: what tests of it have in common."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.puzzle_set import PuzzleSet
from sweeps.campaign import Job
from sweeps.folder import Place
from sweeps.launch import Outcome
from sweeps.launch import launch as launch_study
from sweeps.progress import Progress
from sweeps.puzzles import BuiltSet
from sweeps.records.read import read_runs
from sweeps.records.types import RunRecord
from sweeps.records.write import Tracker
from sweeps.under_way import UnderWay
from sweeps.watch import Watch
from tests.conftest import a_study, campaign, job
from trm_core.config import RunConfig
from trm_core.trainer import train


class Here:
    """A study's surroundings: its puzzles, its results folder, and how to launch it."""

    def __init__(self, puzzles: Path, out: Path) -> None:
        self.puzzles, self.out = puzzles, out
        self.data = PuzzleSet.open(puzzles)
        self.shown = io.StringIO()

    def job(self, run: RunConfig, seed: int = 0) -> Job:
        return job(run, seed, row=f"row {seed}", data=self.data.content_hash)

    @contextmanager
    def watching(self, *jobs: Job) -> Iterator[tuple[Watch, Tracker]]:
        """What a launch of these jobs watches its trials with, and where it records them."""
        with (
            Progress(runs=len(jobs), done=0, work=1.0, stream=self.shown) as progress,
            Tracker.open(campaign(a_study("row 0", "row 1", "row 2")), say=progress.say) as tracker,
        ):
            self.out.mkdir(exist_ok=True)
            by_key = {job.key: job for job in jobs}
            sets = dict.fromkeys(by_key, BuiltSet(self.puzzles, self.data.content_hash, len(self.data.test)))
            runs = UnderWay(by_key, sets, Place(self.out), dict.fromkeys(by_key, tracker), progress)
            yield Watch(runs), tracker

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
    hear = Watch.on_trial_result
    killed: list[int] = []

    def kill(watch: Watch, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any]) -> None:
        hear(watch, iteration, trials, trial, result)
        if not killed and any(row.step > after_step for row in result.get("rows", ())):
            killed.append(result["pid"])
            os.kill(result["pid"], signal.SIGKILL)

    patch.setattr(Watch, "on_trial_result", kill)
    return killed


def timeless(metrics: dict[str, float]) -> dict[str, float]:
    """Without what depends on how fast the machine was."""
    return {name: value for name, value in metrics.items() if not name.startswith("time/")}
