"""The only door to Ray Tune: runs a campaign's jobs as trials, one after the other as there is room.

Tune asks for the next run (next_run.py) and says what becomes of each (watch.py). It schedules and retries; what a run
is, and whether it is done, MLflow and the run's folder know (under_way.py), never Tune's own files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ray
from ray import tune

from sweeps import ray_internals
from sweeps.campaign import Job
from sweeps.failures import many_preemptions
from sweeps.folder import Place
from sweeps.guard import asked_to_end
from sweeps.head import GONE_S, OWN_GONE_S, Head, places
from sweeps.machines import A_LOCAL_RAY, ALL_THERE_IS, Machines, Wanted, cluster
from sweeps.next_run import Order, Queue
from sweeps.packing import Arrangement, LauncherName, arrange, room
from sweeps.preflight import Company
from sweeps.progress import Progress
from sweeps.puzzles import BuiltSet
from sweeps.ray_folder import ray_folder
from sweeps.records.write import Tracker
from sweeps.under_way import MORE_THAN_ENOUGH, Source, UnderWay
from sweeps.watch import Watch
from trm_core.command_line import seldom_collecting


@dataclass(frozen=True)
class Outcome:
    """How a launch ended, by key."""

    finished: tuple[str, ...] = ()  # here, or by another launch meanwhile
    failed: Mapping[str, str] = field(default_factory=dict)  # key → reason, one line
    interrupted: bool = False
    preemptions: int = 0  # that runs went on from
    bad_disk: tuple[str, ...] = ()  # of the failed: those whose disk was full or gone
    not_begun: tuple[str, ...] = ()  # there was no budget for them


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
    A failed run stops no other; one that another launch makes is waited for. Ctrl-C ends within seconds, SIGTERM and a
    closed terminal once runs have saved, in half a minute at most, with what is unfinished KILLED; a second one ends at
    once. Raises FolderGone, NoCluster, NoGoodNode, NotEnoughMachines.
    """
    if not jobs and source is None:
        return Outcome()
    out.mkdir(parents=True, exist_ok=True)
    place = Place(out)
    runs = UnderWay({job.key: job for job in jobs}, sets, place, trackers, progress, source, tags, on_end)
    watch, queue = Watch(runs), Queue(runs, jobs, may_begin)
    with asked_to_end(runs.interrupt):
        try:
            if not ray.is_initialized():
                progress.say("starting Ray")
            with contextlib.ExitStack() as stack:
                where = stack.enter_context(cluster(ship_code=wanted.ship_code, gone=watch.ray_is_gone)).where
                folders = sorted({of.folder.resolve().parent for of in sets.values()})
                watched = Head(places(), watch.ray_is_gone, within_s=OWN_GONE_S if where == A_LOCAL_RAY else GONE_S)
                stack.enter_context(watched)
                company = stack.enter_context(Company(out, folders, progress.say, where, wanted))
                machines = company.wait(runs.check)
                arrangement = arrange(machines, max(expected, len(jobs)), launcher, workers, share)
                progress.say(_in_words(arrangement, machines))
                runs.room = lambda: room(arrangement, company.machines())
                runs.device, runs.workers, runs.share = machines.device, arrangement.workers, arrangement.share
                runs.check()
                _fit(queue, arrangement, out, watch)
        except Exception:  # Interrupted, in whatever Tune has wrapped it
            if not runs.interrupted and runs.broken is None:
                place.refuse_if_gone()
                raise
            runs.kill_running()
            if runs.broken is not None:
                raise runs.broken from None
    preemptions = sum(tries.preemptions for tries in runs.tries.values())
    if preemptions:
        progress.say(f"{many_preemptions(preemptions)}: no failures, each run went on from its last checkpoint")
    return Outcome(
        tuple(runs.finished),
        runs.failed,
        runs.interrupted,
        preemptions=preemptions,
        bad_disk=tuple(runs.bad_disk),
        not_begun=tuple(queue.not_begun),
    )


def _fit(queue: Queue, arrangement: Arrangement, out: Path, watch: Watch) -> None:
    """One Tune trial per job that this launch makes."""
    with ray_folder(out) as storage:
        trial: Callable[[dict[str, Any]], None]
        if arrangement.launcher == "inline":

            def trial(config: dict[str, Any]) -> None:
                with seldom_collecting():
                    from sweeps.worker import train_inline  # torch: the driver does without

                train_inline(config["task"])

            needs = {"CPU": 1.0, "GPU": arrangement.share} if arrangement.use_gpu else {"CPU": 1.0}
        else:

            def trial(config: dict[str, Any]) -> None:
                from sweeps.ray_train import train_with_workers

                train_with_workers(
                    config["task"],
                    workers=arrangement.workers,
                    gpus=arrangement.share if arrangement.use_gpu else 0.0,
                    storage=storage,
                )

            needs = {"CPU": 0.0, **ray_internals.HEAD}  # it only waits: a CPU of its own could deadlock
        tune.Tuner(
            tune.with_resources(trial, needs),
            tune_config=tune.TuneConfig(
                search_alg=queue,
                scheduler=Order(watch.runs),
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


def _in_words(arrangement: Arrangement, machines: Machines) -> str:
    each = "in one process" if arrangement.launcher == "inline" else f"on {arrangement.workers} Ray Train worker(s)"
    device = "GPU" if arrangement.use_gpu else "CPU"
    if arrangement.share < 1:
        device = f"{arrangement.share:g} of a GPU"
    return (
        f"On {machines.where} ({machines.cpus} CPUs, {machines.gpus} GPUs): {arrangement.at_once} run(s) at once,"
        f" each {each}, {device}"
    )
