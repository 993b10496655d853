"""Hears from Tune, in the driver, what becomes of each trial, and makes of it what becomes of a run (under_way.py).

Tune schedules and retries; whether a run is tried again is decided here, not by Tune's own counts.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray import tune

from sweeps import causes, ray_internals
from sweeps import machines as machines_of  # before Ray is imported: it sets what Ray reads then
from sweeps.failures import Failure, Interrupted, contained
from sweeps.records.address import StoreGone
from sweeps.records.types import Measurement
from sweeps.under_way import UnderWay
from trm_core.command_line import USER_ERROR, refuse

GIVE_BACK_EVERY_S = 1.0
AGAIN = "give the same command again, it goes on from the last checkpoints"
SAVES_WITHIN_S = 20.0  # once the command is told to end: a step and a checkpoint. Kubernetes gives it 30, SLURM 120
LAST_WORDS_S = 20.0  # for MLflow, once Ray is gone: Ray ends this process a minute after


class RayGone(ValueError):
    """Ray has died under the runs."""


class Watch(tune.Callback):  # type: ignore[misc]  # Ray is not typed
    """Tune's callback."""

    def __init__(self, runs: UnderWay) -> None:
        self.runs = runs
        self._failures: dict[str, Failure] = {}  # reported by the run itself
        self._nodes: dict[str, str] = {}  # Ray's names of the machines that runs are on
        self._gave_back_at = 0.0
        self._saved: set[str] = set()  # runs whose process has ended since they were told to
        self._saves_until: float | None = None
        self._ending = threading.Lock()

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Tune writes its callbacks to disk, to restore them one day: ours stays here, an empty one goes there."""
        return tune.Callback, ()

    def trouble(self, key: str, error: Exception) -> None:
        """What had to be done here for this run went wrong: it has failed, and no other."""
        self._failures.pop(key, None)
        self.runs.trouble(key, error)

    def end_for(self, error: Exception) -> None:
        """What all runs need went wrong: the launch is over."""
        self.runs.end_for(error)

    def ray_is_gone(self, what: str, why: str = "") -> None:
        """Close all runs and end this process, from any thread: with Ray gone the main one may block for ever."""
        if not self._ending.acquire(blocking=False):  # another thread is at it
            threading.Event().wait()
        self.end_for(RayGone(f"Ray's {what} does not answer any more; {AGAIN}{why and f' ({why})'}"))
        try:
            with contextlib.suppress(Exception):  # whoever still trains holds the folders that the next command wants
                ray_internals.end_own_processes()
            self.runs.kill_running()
            for tracker in set(self.runs.trackers.values()):
                for problem in tracker.close("KILLED", patience_s=LAST_WORDS_S):
                    print(problem, file=sys.stderr)
            self.runs.progress.__exit__(None, None, None)
            refuse(str(self.runs.broken))
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(USER_ERROR)

    def stops(self, result: Mapping[str, Any]) -> bool:
        """Whether a run ends here with what it has just reported. Tune asks before it calls on_trial_result."""
        return self.runs.is_to_end(result["config"]["key"], [Measurement(*row) for row in result.get("rows", ())])

    def _saving(self) -> bool:
        """Whether the launch is to end, and runs that were told so have still time to write a checkpoint."""
        runs = self.runs
        if not (runs.interrupted and runs.saves_first):
            return False
        if self._saves_until is None:
            self._saves_until = time.monotonic() + SAVES_WITHIN_S
            if runs.running:
                runs.progress.say(f"told to end: what goes on saves first, {SAVES_WITHIN_S:.0f} s at most")
            try:
                for launch in {runs.trackers[key].me.launch for key in runs.running}:
                    ray_internals.tell_to_end(launch)
            except Exception:  # Ray's own, of many kinds: its head is gone, and nobody can be told
                self._saves_until = -math.inf
        return bool(runs.running - self._saved) and time.monotonic() < self._saves_until

    # --- what Tune tells ---------------------------------------------------------------------------------------------

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Tune's loop has turned."""
        if self.runs.interrupted and not self._saving():
            for trial in trials:
                if (actor := ray_internals.actor_of(trial)) is not None:
                    ray.kill(actor)
            self.runs.check()
        self.runs.look_for_lost()
        self.runs.tell_the_source()
        if time.monotonic() - self._gave_back_at > GIVE_BACK_EVERY_S:
            self._look_at_the_store()
            try:
                machines_of.give_back_what_the_dead_hold()
            except Exception as error:  # Ray's own, of many kinds: its head is gone
                self.ray_is_gone("head", Failure.of(error).reason)
            self._gave_back_at = time.monotonic()

    def _look_at_the_store(self) -> None:
        """End the launch where its SQLite file is gone: no waiting brings it back, and no further run could begin."""
        try:
            for tracker in set(self.runs.trackers.values()):
                tracker.refuse_if_gone()
        except StoreGone as error:
            self.end_for(error)
            raise Interrupted from error

    @contained
    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A run begins, or begins again."""
        self.runs.start(self.runs.jobs[trial.config["key"]])

    @contained
    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Rows, the device, a torn checkpoint, another try, or the reason why a run failed."""
        key, runs = trial.config["key"], self.runs
        if key in runs.stopped:
            return
        runs.log(key, [Measurement(*row) for row in result.get("rows", ())])
        if "device" in result:
            self._nodes[key] = result.get("node", "")
            where = {f"worker.{name}": text for name, text in result.get("worker", {}).items()}
            runs.trackers[key].tag(key, {"device": result["device"], **where})
        for torn in result.get("torn", ()):
            runs.say_and_tag(key, "warning", torn)
        if "preempted" in result:  # a Train trial's worker; it begins again by itself
            runs.preempted(key, result["preempted"])
        for what in ("retry", "settled"):
            if what in result:
                runs.say_and_tag(key, what, result[what])
        if "settings" in result:
            runs.trackers[key].correct(key, result["settings"])
        if "failure" in result:
            self._failures[key] = Failure(result["kind"], result["failure"])

    @contained
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A run has come to its end, has said why it could not, or was taken over."""
        key = trial.config["key"]
        if (self.runs.interrupted and not self._saving()) or self.runs.gone(key):
            return
        if key in self._failures:
            self.runs.fail(key, self._failures.pop(key))
        else:
            self.runs.finish(key)

    @contained
    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A run's process has ended, and Tune would begin it again."""
        key, runs = trial.config["key"], self.runs
        if runs.interrupted:
            self._saved.add(key)
        if runs.interrupted or key in runs.lost | runs.stopped:
            return
        why = causes.preempted(trial, self._nodes.pop(key, ""))
        again = runs.another(key, preempted=bool(why))
        if why:
            runs.preempted(key, why, counted=True)
        if not again:
            runs.has_died(key, lambda: causes.of_trial(trial))
            runs.stopped.add(key)

    @contained
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A run's process could not be started at all."""
        key = trial.config["key"]
        if not (self.runs.interrupted or self.runs.gone(key)):
            self.runs.has_died(key, lambda: causes.of_trial(trial))
