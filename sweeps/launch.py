"""The only door to Ray Tune: runs a campaign's jobs as trials, one after the other as there is room.

Tune asks for the next run (`_Queue`), which is claimed in MLflow before it starts; so several launches share the work,
and what is left when a budget ends is simply not begun. Tune schedules and retries; what a run is, and whether it is
done, MLflow and the run's folder know, never Tune's own files.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from sweeps import causes, ray_internals
from sweeps import machines as machines_of  # before Ray is imported: it sets what Ray reads then
from sweeps.campaign import Job
from sweeps.failures import Failure, Interrupted, Tries, contained, many_preemptions
from sweeps.folder import Task, last_checkpoint, note_failure, noted_failure
from sweeps.guard import asked_to_end, process_lives
from sweeps.head import GONE_S, OWN_GONE_S, Head, places
from sweeps.journal import read_journal
from sweeps.machines import A_LOCAL_RAY, ALL_THERE_IS, Machines, Wanted, cluster
from sweeps.packing import Arrangement, LauncherName, arrange, room
from sweeps.preflight import Company
from sweeps.progress import Progress
from sweeps.puzzles import BuiltSet
from sweeps.records.address import TrackingUnavailable
from sweeps.records.models import trained
from sweeps.records.types import PRUNED, Measurement, Owner, Status
from sweeps.records.write import Tracker
from trm_core import outcomes
from trm_core.command_line import USER_ERROR, refuse
from trm_core.solving import thought_file

GIVE_BACK_EVERY_S = 1.0
ASK_AGAIN_S = 2.0  # for a run that another launch makes, or while MLflow does not answer
AGAIN_AT_ONCE = 4  # so many of those
AGAIN = "give the same command again, it goes on from the last checkpoints"
LAST_WORDS_S = 20.0  # for MLflow, once Ray is gone: Ray ends this process a minute after
MORE_THAN_ENOUGH = 10**9  # trials: the queue says when it is empty


class RayGone(ValueError):
    """Ray has died under the runs."""


class ProcessDied(RuntimeError):
    """A run's process died as often as was allowed: killed, out of memory, its machine gone."""


@dataclass(frozen=True)
class Outcome:
    """How a launch ended, by key."""

    finished: tuple[str, ...] = ()  # here, or by another launch meanwhile
    failed: Mapping[str, str] = field(default_factory=dict)  # key → reason, one line
    interrupted: bool = False
    preemptions: int = 0  # that runs went on from
    full_disk: tuple[str, ...] = ()  # of the failed: those that only lacked room
    not_begun: tuple[str, ...] = ()  # there was no budget for them


class Source(Protocol):
    """Where runs come from that are not known when a launch begins, and who hears how every run has ended."""

    def more(self) -> Sequence[Job] | None:
        """Jobs to be made now; none where one has to wait for others to end first; None where there are no more."""

    def ended(self, job: Job, failure: Failure | None) -> None:
        """A run has ended, here or elsewhere, or was given up."""

    def gives_up(self, job: Job, rows: Sequence[Measurement]) -> bool:
        """Whether a run that has just reported these rows is to end now."""


def launch(
    jobs: Sequence[Job],
    *,
    sets: Mapping[str, BuiltSet],
    out: Path,
    trackers: Mapping[str, Tracker],
    progress: Progress,
    tags: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    launcher: LauncherName | None = None,
    workers: int = 1,
    share: float = 1.0,
    may_begin: Callable[[Job], bool] = lambda _: True,
    source: Source | None = None,
    expected: int = 0,
    wanted: Wanted = ALL_THERE_IS,
    on_end: Callable[[Job], None] = lambda _: None,
) -> Outcome:
    """Train every job, in this order, tell trackers and progress of it, and say how it ended.

    Each job's files: <out>/runs/<key>/. sets, trackers, tags: each job's puzzles, its campaign's tracker, and where it
    has some, tags of its own for MLflow, by its key.
    may_begin: asked when there is room for a run; a job it says no to is asked for again when there is room once more,
    and is not begun if it stays so. source: further jobs, so many `expected`, with which sets, trackers and tags may
    grow. wanted: of the machines, each of which is looked at first where there are several (preflight.py); runs follow
    as they come and go. on_end: hears of every run that has ended.
    A failed run stops no other; one that another launch makes is waited for. Ctrl-C and SIGTERM end within seconds,
    with what is unfinished KILLED; a second one ends at once. Raises NoCluster, NoGoodNode, NotEnoughMachines.
    """
    if not jobs and source is None:
        return Outcome()
    watch = _Watch({job.key: job for job in jobs}, sets, out / "runs", trackers, progress, source, tags, on_end)
    queue = _Queue(watch, jobs, may_begin)
    with asked_to_end(watch.interrupt):
        try:
            progress.say("starting Ray")
            with contextlib.ExitStack() as stack:
                where = stack.enter_context(cluster(ship_code=wanted.ship_code)).where
                folders = sorted({of.folder.resolve().parent for of in sets.values()})
                watched = Head(places(), watch.ray_is_gone, within_s=OWN_GONE_S if where == A_LOCAL_RAY else GONE_S)
                stack.enter_context(watched)
                company = stack.enter_context(Company(out, folders, progress.say, where, wanted))
                machines = company.wait(watch.check)
                arrangement = arrange(machines, max(expected, len(jobs)), launcher, workers, share)
                progress.say(_in_words(arrangement, machines))
                watch.room = lambda: room(arrangement, company.machines())
                _fit(queue, arrangement, machines.device, out, watch)
        except Exception:  # Interrupted, in whatever Tune has wrapped it
            if not watch.interrupted and watch.broken is None:
                raise
            watch.kill_running()
            if watch.broken is not None:
                raise watch.broken from None
    preemptions = sum(tries.preemptions for tries in watch.tries.values())
    if preemptions:
        progress.say(f"{many_preemptions(preemptions)}: no failures, each run went on from its last checkpoint")
    return Outcome(
        tuple(watch.finished),
        watch.failed,
        watch.interrupted,
        preemptions=preemptions,
        full_disk=tuple(watch.full_disk),
        not_begun=tuple(queue.not_begun),
    )


def _fit(queue: _Queue, arrangement: Arrangement, device: str, out: Path, watch: _Watch) -> None:
    """One Tune trial per job that this launch makes."""
    with _storage(out) as storage:
        trial: Callable[[dict[str, Any]], None]
        if arrangement.launcher == "inline":

            def trial(config: dict[str, Any]) -> None:
                from sweeps.worker import train_inline  # torch: the driver does without

                train_inline(config["task"])

            needs = {"CPU": 1.0, "GPU": arrangement.share} if arrangement.use_gpu else {"CPU": 1.0}
        else:

            def trial(config: dict[str, Any]) -> None:
                from sweeps.worker import train_with_workers

                train_with_workers(
                    config["task"],
                    workers=arrangement.workers,
                    gpus=arrangement.share if arrangement.use_gpu else 0.0,
                    storage=storage,
                )

            needs = {"CPU": 0.0, **ray_internals.HEAD}  # it only waits: a CPU of its own could deadlock
        watch.device, watch.workers, watch.share = device, arrangement.workers, arrangement.share
        watch.check()
        tune.Tuner(
            tune.with_resources(trial, needs),
            tune_config=tune.TuneConfig(
                search_alg=queue,
                scheduler=_Order(watch),
                num_samples=MORE_THAN_ENOUGH,
                reuse_actors=arrangement.launcher == "inline",
                trial_name_creator=lambda trial: str(trial.config["key"]),
                trial_dirname_creator=lambda trial: str(trial.config["key"]),
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=str(storage),
                failure_config=tune.FailureConfig(max_failures=-1),  # the watch decides
                callbacks=[watch],
                stop=lambda _, result: watch.stops(result),
                verbose=0,
                log_to_file=False,
            ),
        ).fit()


class _Queue(Searcher):  # type: ignore[misc]  # Ray is not typed
    """Tune asks here for the next trial: the first job that may begin and that no other launch makes."""

    def __init__(self, watch: _Watch, jobs: Sequence[Job], may_begin: Callable[[Job], bool]) -> None:
        super().__init__()
        self.watch, self.waiting, self.may_begin = watch, list(jobs), may_begin
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
        if self.watch.interrupted:
            return Searcher.FINISHED
        self.waiting += self.watch.take_back()
        if self._under_way and len(self._under_way) >= self.watch.room():
            return None
        if self.watch.take_news() or time.monotonic() >= self._ask_at:
            if (job := self._next()) is not None or (self._take_more() and (job := self._next()) is not None):
                self._under_way.add(trial_id)
                return {"key": job.key, "task": self.watch.task(job)}
            self._ask_at = time.monotonic() + random.uniform(0.5, 1.5) * self.ask_again_s
        if self.elsewhere or (self.waiting and self.watch.running and any(map(self.may_begin, self.waiting))):
            return None
        if self._more_to_come or (self.watch.silent and self.waiting):
            return None
        return Searcher.FINISHED

    def _take_more(self) -> bool:
        """Whether there are further jobs now; none are begun for which there is no budget."""
        if self.waiting and not any(job.key in self.elsewhere for job in self.waiting):
            self._more_to_come = False  # what waits may not begin: nor may what comes after it
            return False
        more = self.watch.more()
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
                begun = self.watch.begin(job)
            except TrackingUnavailable:
                self.watch.silent = True  # the tracker says so itself
                return None
            self.watch.silent = False
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
        owner = self.watch.owner(job)
        self.elsewhere[job.key] = owner
        if job.key not in self._said:
            self._said.add(job.key)
            who = f"process {owner.pid} on {owner.host}" if owner else "another command"
            self.watch.progress.say(f"{job.name}: {who} makes it; waiting for that")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """There is room for another; how it ended, the watch is told."""
        self._under_way.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Tune's own state is never restored."""

    def restore(self, checkpoint_path: str) -> None:
        """Never."""


class _Order(FIFOScheduler):  # type: ignore[misc]  # Ray is not typed
    """Tune asks here which trial is the next; one that has failed for good is not begun again."""

    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first that waits."""
        for trial in tuple(tune_controller.get_live_trials()):
            if trial.status == trial.PENDING and trial.config["key"] in self._watch.stopped:
                tune_controller.stop_trial(trial)
        return super().choose_trial_to_run(tune_controller)


class _Watch(tune.Callback):  # type: ignore[misc]  # Ray is not typed
    """Hears from Tune, in the driver, and tells tracker and progress."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        sets: Mapping[str, BuiltSet],
        runs: Path,
        trackers: Mapping[str, Tracker],
        progress: Progress,
        source: Source | None = None,
        tags: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        on_end: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self.tags, self.on_end = tags, on_end
        self.jobs, self.sets, self.runs, self.trackers, self.progress = dict(jobs), sets, runs, trackers, progress
        self.source = source
        self.device, self.workers, self.share = "cpu", 1, 1.0
        self.room: Callable[[], int] = lambda: MORE_THAN_ENOUGH  # for so many runs at once, by now
        self.finished: list[str] = []
        self.failed: dict[str, str] = {}
        self.full_disk: list[str] = []
        self.running: set[str] = set()
        self.lost: set[str] = set()  # taken over by another launch
        self.given_up: set[str] = set()  # by the source
        self.stopped: set[str] = set()  # failed here, in the driver: each ends at its next report and is heard no more
        self.interrupted = False
        self.broken: Exception | None = None  # what all runs need went wrong
        self.silent = False  # MLflow did not answer when a run was to begin
        self._news = False
        self._owners: dict[str, Owner | None] = {}
        self._taken_back: list[Job] = []
        self._failures: dict[str, Failure] = {}  # reported by the run itself
        self._told: dict[str, int] = {}  # the last step that came through Tune
        self._gave_back_at = 0.0
        self.tries: dict[str, Tries] = {}
        self._nodes: dict[str, str] = {}  # Ray's names of the machines that runs are on
        self._ending = threading.Lock()

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Tune writes its callbacks to disk, to restore them one day: ours stays here, an empty one goes there."""
        return tune.Callback, ()

    def interrupt(self) -> None:
        """End at the next step of Tune's loop."""
        self.interrupted = True

    def check(self) -> None:
        """Raise Interrupted if somebody asked for it."""
        if self.interrupted:
            raise Interrupted

    def trouble(self, key: str, error: Exception) -> None:
        """What had to be done here for this run went wrong, and its process may go on: it has failed, and no other."""
        if key in self.failed or key in self.finished:
            return
        if key not in self.running:
            self._start(self.jobs[key])
        note_failure(self.runs / key, self.trackers[key].me.launch, error)
        self._failures.pop(key, None)
        self.stopped.add(key)
        self._end_failed(key, Failure.of(error))

    def end_for(self, error: Exception) -> None:
        """What all runs need went wrong: the launch is over, and says so with this error."""
        self.broken = self.broken or error

    def ray_is_gone(self, what: str, why: str = "") -> None:
        """Close all runs and end this process, from any thread: with Ray gone the main one may block for ever."""
        if not self._ending.acquire(blocking=False):  # another thread is at it
            threading.Event().wait()
        self.end_for(RayGone(f"Ray's {what} does not answer any more; {AGAIN}{why and f' ({why})'}"))
        try:
            with contextlib.suppress(Exception):  # whoever still trains holds the folders that the next command wants
                ray_internals.end_own_processes()
            self.kill_running()
            for tracker in set(self.trackers.values()):
                for problem in tracker.close("KILLED", patience_s=LAST_WORDS_S):
                    print(problem, file=sys.stderr)
            self.progress.__exit__(None, None, None)
            refuse(str(self.broken))
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(USER_ERROR)

    def kill_running(self) -> None:
        """What is under way counts as killed."""
        for key in sorted(self.running):
            self.trackers[key].finish(key, "KILLED")
        self.running.clear()

    # --- what the queue asks -----------------------------------------------------------------------------------------

    def more(self) -> Sequence[Job] | None:
        """Further jobs; none where one has to wait for them, None where there are no more."""
        try:
            found = self.source.more() if self.source else None
        except TrackingUnavailable:
            self.silent = True
            return ()
        self.jobs |= {job.key: job for job in found or ()}
        return found

    def take_news(self) -> bool:
        """Whether any run has ended since the last time."""
        news, self._news = self._news, False
        return news

    def _ended(self, key: str, failure: Failure | None = None) -> None:
        self._news = True
        if self.source:
            try:
                self.source.ended(self.jobs[key], failure)
            except Exception as error:
                self.end_for(error)
                raise Interrupted from error
        self.on_end(self.jobs[key])

    def begin(self, job: Job) -> str:
        """Claim a run: "ours"; "elsewhere", to be asked again; or "over", finished or failed by another launch."""
        of = self.sets[job.key]
        shared = {"gpus_per_run": f"{self.share:g}"} if self.share < 1 else {}
        tags = {**of.tags, "workers": str(self.workers), **shared, **self.tags.get(job.key, {})}
        begun = self.trackers[job.key].begin(job, of.content_hash, tags=tags)
        if begun.what == "elsewhere":
            self._owners[job.key] = begun.owner
            return "elsewhere"
        if begun.what == "ours":
            self.lost.discard(job.key)
            return "ours"
        reason = begun.record.tags.get("failure", "no reason recorded") if begun.record else ""
        if begun.what == "failed":
            self.failed[job.key] = reason
        else:
            self.finished.append(job.key)
        self.progress.elsewhere(job.name, job.run.train_work(), failure=reason if begun.what == "failed" else "")
        self._ended(job.key, Failure("failed", reason) if begun.what == "failed" else None)
        return "over"

    def owner(self, job: Job) -> Owner | None:
        """Who makes a run that is made elsewhere; None where it did not say."""
        return self._owners.get(job.key)

    def task(self, job: Job) -> Task:
        """What the run's worker needs to know."""
        folder, launch = self.runs.resolve() / job.key, self.trackers[job.key].me.launch
        return Task(job.key, job.run, self.sets[job.key].folder.resolve(), folder, 1, launch, self.device)

    def take_back(self) -> list[Job]:
        """Runs that were ours until another launch took them over: to be waited for."""
        jobs, self._taken_back = self._taken_back, []
        return jobs

    def stops(self, result: Mapping[str, Any]) -> bool:
        """Whether a run ends here with what it has just reported. Tune asks before it calls on_trial_result."""
        key = result["config"]["key"]
        rows = [Measurement(*row) for row in result.get("rows", ())]
        try:
            if rows and self.source and key not in self.lost and self.source.gives_up(self.jobs[key], rows):
                self.given_up.add(key)
        except Exception as error:
            self.end_for(error)
            raise Interrupted from error
        return key in self.lost | self.given_up | self.stopped

    # --- what Tune tells ---------------------------------------------------------------------------------------------

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Tune's loop has turned."""
        if self.interrupted:
            for trial in trials:
                if (actor := ray_internals.actor_of(trial)) is not None:
                    ray.kill(actor)
        self.check()
        self.lost |= {key for key in self.running if key in self.trackers[key].lost()}
        if time.monotonic() - self._gave_back_at > GIVE_BACK_EVERY_S:
            try:
                machines_of.give_back_what_the_dead_hold()
            except Exception as error:  # Ray's own, of many kinds: its head is gone
                self.ray_is_gone("head", Failure.of(error).reason)
            self._gave_back_at = time.monotonic()

    @contained
    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A run begins, or begins again."""
        self._start(self.jobs[trial.config["key"]])

    def _start(self, job: Job) -> None:
        if job.key in self.running:
            self.trackers[job.key].again(job.key)
        self.running.add(job.key)
        self.tries.setdefault(job.key, Tries(last_checkpoint(self.runs / job.key)))
        self.progress.begin(job.key, job.name, job.run.train.steps, job.run.train_work())

    @contained
    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Rows, the device, a torn checkpoint, another try, or the reason why a run failed."""
        key = trial.config["key"]
        if key in self.stopped:
            return
        self._log(key, [Measurement(*row) for row in result.get("rows", ())])
        if "device" in result:
            self._nodes[key] = result.get("node", "")
            where = {f"worker.{name}": text for name, text in result.get("worker", {}).items()}
            self.trackers[key].tag(key, {"device": result["device"], **where})
        for torn in result.get("torn", ()):
            self._say_and_tag(key, "torn_checkpoint", torn)
        if "preempted" in result:
            self._preempted(key, result["preempted"])
        if "retry" in result:
            self._say_and_tag(key, "retry", result["retry"])
        if "settled" in result:
            self._say_and_tag(key, "settled", result["settled"])
        if "settings" in result:
            self.trackers[key].correct(key, result["settings"])
        if "failure" in result:
            self._failures[key] = Failure(result["kind"], result["failure"])

    def _say_and_tag(self, key: str, name: str, text: str) -> None:
        self.progress.say(f"{self.jobs[key].name}: {text}")
        self.trackers[key].tag(key, {name: text})

    def _log(self, key: str, rows: Sequence[Measurement]) -> None:
        if rows:
            self.trackers[key].log(key, rows)
            self._told[key] = rows[-1].step
        for row in rows:
            self.progress.update(key, row.step, row.metrics)
        if rows:
            self.trackers[key].expect(key, self.progress.left_s(key))

    def _catch_up(self, key: str) -> None:
        """The journal's rows that never came through Tune.

        Train's poll looks for a report first and whether the worker has ended second: one between the two is lost.
        """
        told = self._told.get(key, -1)
        self._log(key, [row for row in read_journal(self.runs / key / "metrics.jsonl") if row.step > told])

    @contained
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A run has come to its end, has said why it could not, or was taken over."""
        key = trial.config["key"]
        if self.interrupted or self._gone(key):
            return
        if key in self._failures:
            self._fail(key, self._failures.pop(key))
            return
        self._catch_up(key)
        self.running.discard(key)
        if key in self.given_up:  # not FINISHED: a study that shares the run trains it to its end
            self.given_up.discard(key)
            self.trackers[key].finish(key, "KILLED", state=PRUNED, artefacts=self._artefacts(key))
            self.progress.end(key, pruned=True)
            self._ended(key)
            return
        self.finished.append(key)
        model = trained(self.runs / key, self.sets[key].folder)
        self.trackers[key].finish(key, "FINISHED", artefacts=self._artefacts(key), model=model)
        self.progress.end(key)
        self._ended(key)

    @contained
    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A run's process has ended, and Tune would begin it again."""
        key = trial.config["key"]
        if self.interrupted or key in self.lost | self.stopped:
            return
        why = causes.preempted(trial, self._nodes.pop(key, ""))
        tries = self.tries[key]
        again = tries.another(preempted=bool(why), checkpoint=last_checkpoint(self.runs / key))
        if why:
            self._preempted(key, why, counted=True)
        if not again:
            self._has_died(key, trial)
            self.stopped.add(key)

    def _preempted(self, key: str, why: str, *, counted: bool = False) -> None:
        """counted: among the tries already; Train's controller counts for itself, and tells us."""
        self.tries[key].preemptions += not counted
        self._say_and_tag(key, "preempted", why)
        self.trackers[key].tag(key, {"preemptions": str(self.tries[key].preemptions)})

    @contained
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A run's process could not be started at all."""
        key = trial.config["key"]
        if self.interrupted or self._gone(key):
            return
        self._has_died(key, trial)

    def _has_died(self, key: str, trial: Any) -> None:
        """A run's process died once too often."""
        if key not in self.running:
            self._start(self.jobs[key])
        folder, launch = self.runs / key, self.trackers[key].me.launch
        noted = noted_failure(folder, launch)
        if noted is None:
            said = causes.of_trial(trial)
            why = f"the last time {said}" if said else "nobody said why: killed, or out of memory (see dmesg)"
            died = ProcessDied(f"{self.tries[key].in_words}; {why}")
            note_failure(folder, launch, died)
            noted = Failure.of(died)
        self._fail(key, noted)

    def _gone(self, key: str) -> bool:
        """Whether a run that has ended here is another launch's by now, or was stopped here."""
        if key not in self.lost:
            return key in self.stopped
        self.running.discard(key)
        self._taken_back.append(self.jobs[key])
        self.progress.gone(key)
        return True

    def _fail(self, key: str, failure: Failure) -> None:
        """What is left of its journal, and that it has failed."""
        with contextlib.suppress(OSError):  # why it failed matters more
            self._catch_up(key)
        self._end_failed(key, failure)

    def _end_failed(self, key: str, failure: Failure) -> None:
        """A full disk is a person's to mend: the run goes on with the next command. Everything else has failed."""
        self.running.discard(key)
        self.failed[key] = failure.reason
        if failure.kind == "disk full":
            self.full_disk.append(key)
        status: Status = "KILLED" if failure.kind == "disk full" else "FAILED"
        state = "" if failure.kind == "failed" else failure.kind
        self.trackers[key].finish(key, status, reason=failure.reason, state=state, artefacts=self._artefacts(key))
        self.progress.end(key, failure=failure.reason)
        self._ended(key, failure)

    def _artefacts(self, key: str) -> tuple[Path, ...]:
        """What is kept with the run in MLflow, where it is there."""
        folder = self.runs / key
        kept = (
            "config.json",
            "metrics.jsonl",
            "failure.txt",
            "predictions/votes.csv",
            outcomes.NAME,
            thought_file.NAME,
        )
        return tuple(folder / name for name in kept)


def _in_words(arrangement: Arrangement, machines: Machines) -> str:
    each = "in one process" if arrangement.launcher == "inline" else f"on {arrangement.workers} Ray Train worker(s)"
    device = "GPU" if arrangement.use_gpu else "CPU"
    if arrangement.share < 1:
        device = f"{arrangement.share:g} of a GPU"
    return (
        f"On {machines.where} ({machines.cpus} CPUs, {machines.gpus} GPUs): {arrangement.at_once} run(s) at once,"
        f" each {each}, {device}"
    )


@contextlib.contextmanager
def _storage(out: Path) -> Iterator[Path]:
    """Where Tune and Train keep their own files while they run; also what commands that died left there is removed."""
    parent = out.resolve() / "ray"
    here = f"{socket.gethostname()}-"
    for old in parent.glob(f"{here}*"):
        pid = old.name.removeprefix(here)
        if pid.isdigit() and not process_lives(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    mine = parent / f"{here}{os.getpid()}"
    mine.mkdir(parents=True, exist_ok=True)
    try:
        yield mine
    finally:
        shutil.rmtree(mine, ignore_errors=True)
        with contextlib.suppress(OSError):  # another command's files lie there too
            parent.rmdir()
