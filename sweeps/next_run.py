"""Which run is the next: what Tune is told when it asks for another trial, and when it chooses one to begin.

A run is claimed in MLflow before it starts (under_way.py); so several launches share the work, and what is left when a
budget ends is simply not begun.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from sweeps.campaign import Job
from sweeps.records.address import TrackingUnavailable
from sweeps.records.types import Owner
from sweeps.under_way import UnderWay

ASK_AGAIN_S = 2.0  # for a run that another launch makes, or while MLflow does not answer
AGAIN_AT_ONCE = 4  # so many of those


class Queue(Searcher):  # type: ignore[misc]  # Ray is not typed
    """Tune asks here for the next trial: the first job that may begin and that no other launch makes."""

    def __init__(self, runs: UnderWay, jobs: Sequence[Job], may_begin: Callable[[Job], bool]) -> None:
        super().__init__()
        self.runs, self.waiting, self.may_begin = runs, list(jobs), may_begin
        self._under_way: set[str] = set()  # Tune's trials
        self.elsewhere: dict[str, Owner | None] = {}  # of those waiting
        self.ask_again_s = ASK_AGAIN_S
        self._more_to_come = True
        self._ask_at = 0.0
        self._said: set[str] = set()

    @property
    def not_begun(self) -> list[str]:
        """What is still here when all has ended."""
        return [job.key for job in self.waiting]

    def suggest(self, trial_id: str) -> Any:
        """The next job's key; None where one has to wait; FINISHED at the end."""
        if self.runs.interrupted:
            return Searcher.FINISHED
        self.waiting += self.runs.take_back()
        if self._under_way and len(self._under_way) >= self.runs.room():
            return None
        if self.runs.take_news() or time.monotonic() >= self._ask_at:
            if (job := self._next()) is not None or (self._take_more() and (job := self._next()) is not None):
                self._under_way.add(trial_id)
                return {"key": job.key, "task": self.runs.task(job)}
            self._ask_at = time.monotonic() + random.uniform(0.5, 1.5) * self.ask_again_s
        if self.elsewhere or (self.waiting and self.runs.running and any(map(self.may_begin, self.waiting))):
            return None
        if self._more_to_come or (self.runs.silent and self.waiting):
            return None
        return Searcher.FINISHED

    def _take_more(self) -> bool:
        """Whether there are further jobs now; none are begun for which there is no budget."""
        if self.waiting and not any(job.key in self.elsewhere for job in self.waiting):
            self._more_to_come = False  # what waits may not begin: nor may what comes after it
            return False
        more = self.runs.more()
        self._more_to_come = more is not None
        self.waiting += more or ()
        return bool(more)

    def _next(self) -> Job | None:
        """The first job that is ours by now. Of those that others make, a few are asked for at a time, in turn."""
        asked_again = 0
        too_long: tuple[int, int] | None = None  # the seeds of a job for which there is no budget
        for job in tuple(self.waiting):
            if too_long is not None and (job.data_seed, job.seed) != too_long:
                return None  # no second seed before every row has had its first
            if not self.may_begin(job):
                too_long = (job.data_seed, job.seed)
                continue
            if job.key in self.elsewhere and (asked_again := asked_again + 1) > AGAIN_AT_ONCE:
                return None
            try:
                begun = self.runs.begin(job)
            except TrackingUnavailable:
                self.runs.silent = True  # the tracker says so itself
                return None
            self.runs.silent = False
            if begun == "elsewhere":
                self._say_who(job)
                self.waiting.remove(job)
                self.waiting.append(job)
                continue
            self.elsewhere.pop(job.key, None)
            self.waiting.remove(job)
            if begun == "ours":
                return job
        return None

    def _say_who(self, job: Job) -> None:
        owner = self.runs.owner(job)
        self.elsewhere[job.key] = owner
        if job.key not in self._said:
            self._said.add(job.key)
            who = f"process {owner.pid} on {owner.host}" if owner else "another command"
            self.runs.progress.say(f"{job.name}: {who} makes it; waiting for that")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """There is room for another; how it ended, the watch is told."""
        self._under_way.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Tune's own state is never restored."""

    def restore(self, checkpoint_path: str) -> None:
        """Never."""


class Order(FIFOScheduler):  # type: ignore[misc]  # Ray is not typed
    """Tune asks here which trial is the next; one that has failed for good is not begun again."""

    def __init__(self, runs: UnderWay) -> None:
        super().__init__()
        self._runs = runs

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first that waits; none once the launch is to end."""
        if self._runs.interrupted:
            return None
        for trial in tuple(tune_controller.get_live_trials()):
            if trial.status == trial.PENDING and trial.config["key"] in self._runs.stopped:
                tune_controller.stop_trial(trial)
        return super().choose_trial_to_run(tune_controller)
