"""What runs inside an actor: one run, trained in its folder; and the only door to Ray Train.

Whoever trains in a run's folder (folder.py) holds its lock. Once the journal is at its end, of the checkpoints the
weights that were evaluated stay.

What a trial reports to the driver, each report one of these:
    {"device"}              "cpu", or the GPU's name; once per process
    {"rows", "torn"}        rows of the journal; what was said of torn checkpoints and of a damaged journal
    {"retry", "settings"}   why the run raised, and from where it goes on, in one line; settings that are others from
                            here on, by name, as text
    {"settled", "settings"} what was left to "auto" and is decided as none expects, why, in one line; and as above
    {"preempted"}           why its process had to end, in one line: of a run that begins again by itself
    {"failure", "kind"}     why it failed, in one line, and of which kind (failures.Kind); the last
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
import torch.distributed as dist

from data_prep.files import check_regular
from data_prep.puzzle_set import PuzzleSet
from sweeps import apart as evaluations
from sweeps import journal as journals
from sweeps.apart import Apart
from sweeps.failures import RETRIES, Failure, Preempted, Tries, Verdict, verdict_on_failure
from sweeps.folder import LACK, Place, Task, last_checkpoint, note_failure, note_lack, noted_failure, noted_lack
from sweeps.journal import Journal, read_journal, write_whole
from sweeps.locks import FolderHeld, Lease, hold_folder
from sweeps.notice import Due, Notice
from sweeps.probe import source_hash
from sweeps.ray_internals import is_told_to_end
from sweeps.records.types import Measurement
from trm_core import checkpoint
from trm_core.config import RunConfig
from trm_core.distributed import same_for_all, wait_for_all
from trm_core.trainer import train

PASS_ON_EVERY_S = 2.0
RECOMPUTE = "train.activation_checkpointing"
LOGS = (checkpoint.log, journals.log, evaluations.log)


def train_run(
    task: Task,
    pass_on: Callable[[list[Measurement], list[str]], None],
    *,
    rank: int = 0,
    workers: int = 1,
    agreed: Callable[[int], int] = lambda asked: asked,
    begun: Callable[[RunConfig, str], None] = lambda run, why: None,
    noticed: Callable[[], str] = lambda: "",
) -> None:
    """Train one run in its folder, from its last checkpoint, and pass its rows on, every 2 s and at evaluations.

    A run that had ended there is not trained again: all its rows are passed on. Either way the weights that were
    evaluated are what stays of its checkpoints.
    Rank 0 keeps the journal and the lock; the others only compute. agreed: makes a number the largest of all workers'.
    pass_on: rows, and what was said about torn files. begun: as train() calls it. noticed: why the run is to end after
    this step, "" while it is not. Raises Preempted then, FolderHeld, and what train() raises.
    """
    torch.set_num_threads(task.threads)
    first_worker = rank == 0
    data = PuzzleSet.open(task.data, verify=False)
    task.folder.mkdir(parents=True, exist_ok=True)
    place = Place(task.folder)
    with (
        place.named_if_gone(),
        hold_folder(task.folder) if first_worker else contextlib.nullcontext() as lease,
        _Torn() as torn,
    ):
        wait_for_all()  # until the lock is held, another process may still write checkpoints here
        journal = Journal(task.folder / "metrics.jsonl") if first_worker else None
        ended = same_for_all("ended" if journal is not None and has_ended(task, journal.rows, data) else "") != ""
        if first_worker:
            (task.folder / "failure.txt").unlink(missing_ok=True)
        if ended:
            pass_on([] if journal is None else journal.rows, torn.take())
        elif first_worker:
            facts = {"key": task.key, "data": data.content_hash, "settings": task.run.model_dump(mode="json")}
            write_whole(task.folder / "config.json", json.dumps(facts, indent=2) + "\n")
        waiting: list[Measurement] = []
        passed_on_at = time.monotonic()
        apart = Apart(task, data)

        def note_late(rows: list[Measurement]) -> None:
            """Scores of earlier steps, made elsewhere."""
            nonlocal waiting
            if journal is not None and rows:
                for row in rows:
                    journal.amend(row)
                waiting += rows
                journal.to_disk()
                apart.forget(rows)

        def report(step: int, metrics: Mapping[str, float], _: Path | None) -> None:
            nonlocal waiting, passed_on_at
            if journal is not None:
                place.refuse_if_gone()
                note_late(apart.finish() if step == task.run.train.steps else apart.ended())
                row = Measurement(
                    step, int(time.time() * 1000), {name: float(value) for name, value in metrics.items()}
                )
                waiting += journal.add(row)
            evaluated = any(name.startswith(("validation/", "test/")) for name in metrics)  # the same on all workers
            if agreed(int(evaluated or time.monotonic() - passed_on_at > PASS_ON_EVERY_S)):
                rows, waiting, passed_on_at = waiting, [], time.monotonic()
                pass_on(rows, torn.take())

        by_clock = Due(noticed, agreed=agreed, every=1 if workers == 1 else task.run.train.log_every)

        def due(step: int) -> bool:
            _refuse_if_lost(lease, task.folder)
            place.refuse_if_gone()  # or a checkpoint would make another folder in its place
            return by_clock.due(step)

        try:
            if not ended:
                if journal is not None:
                    note_late(apart.take_up(journal.rows))
                train(
                    task.run,
                    data,
                    report,
                    checkpoints=task.folder / "checkpoints",
                    predictions=task.folder / "predictions",
                    outcomes=task.folder,
                    device=task.device,
                    begun=begun,
                    due=due,
                    saved=by_clock.saved,
                    apart=lambda step, model: same_for_all("apart" * (first_worker and apart(step, model))) != "",
                )
        finally:
            apart.let_go()
            if waiting and workers == 1:  # it raised; with several workers only all together can pass on
                pass_on(waiting, torn.take())
        if journal is not None:
            journal.to_disk()  # before anything is dropped that it could be made from again
            checkpoint.keep_weights(_last_checkpoint(task))
            apart.forget_all()


def _refuse_if_lost(lease: Lease | None, folder: Path) -> None:
    if lease is not None and lease.lost:
        raise FolderHeld(f"{folder}: taken over by another process while this one did not answer; it goes on there")


def has_ended(task: Task, rows: Sequence[Measurement], data: PuzzleSet) -> bool:
    """Whether nothing is left to do in a run's folder: journal at its end, and the weights that were evaluated."""
    if not rows or rows[-1].step != task.run.train.steps:
        return False
    split = "test" if task.run.looks_at_test else "validation"
    if len(data.splits[split]) and not any(name.startswith(f"{split}/") for name in rows[-1].metrics):
        return False
    try:
        facts = json.loads(check_regular(task.folder / "config.json").read_bytes())
        checkpoint.load(_last_checkpoint(task))
    except (OSError, ValueError):  # BadCheckpoint too: train() goes on from the one before it, or says why it cannot
        return False
    return isinstance(facts, dict) and facts.get("key") == task.key


def _last_checkpoint(task: Task) -> Path:
    return checkpoint.at_step(task.folder / "checkpoints", task.run.train.steps)


class _Torn(logging.Handler):
    """What is said of torn checkpoints, damaged journals and lost evaluations, kept: Ray shows no worker's log."""

    def __init__(self) -> None:
        super().__init__()
        self._said: list[str] = []

    def __enter__(self) -> Self:
        for log in LOGS:
            log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        for log in LOGS:
            log.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self._said.append(record.getMessage())

    def take(self) -> list[str]:
        """What was said since the last time."""
        said, self._said = self._said, []
        return said


def worth_another_try(error: Exception, workers: int) -> bool:
    """Whether Ray Train is to begin a run again that raised. A process that died never gets here, and always may.

    Alone, a run was begun again in its own process where that could help (train_alone). Beside others, a worker raises
    whatever its peer's death looks like from its end; only a ValueError, our own named complaint, is surely meant.
    """
    return workers > 1 and not isinstance(error, ValueError)


def device_name(device: str) -> str:
    """ "cpu", or the GPU's name where there is one to be used."""
    return torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else "cpu"


def whereabouts(device: str) -> dict[str, Any]:
    """What a trial says first: on what it computes, where, and by which code."""
    return {"device": device_name(device), "worker": {"host": socket.gethostname(), "code": source_hash()}}


def _node() -> dict[str, str]:
    """Ray's name for this machine."""
    import ray

    return {"node": ray.get_runtime_context().get_node_id()}


class _Begun:
    """Hears, when a run begins, whether it recomputes, and reports it where that was decided for it."""

    def __init__(self, task: Task, report: Callable[[dict[str, Any]], None]) -> None:
        self._report = report
        # what was left open and never came to be decided would not have fitted either way
        self.recomputes = task.run.train.activation_checkpointing != "false"

    def __call__(self, run: RunConfig, why: str) -> None:
        self.recomputes = run.train.recomputes
        if why:
            self._report({"settled": why, "settings": {RECOMPUTE: run.train.activation_checkpointing}})


# --- inside a Tune trial ---------------------------------------------------------------------------------------------


def train_alone(task: Task, report: Callable[[dict[str, Any]], None], noticed: Callable[[], str] = lambda: "") -> None:
    """Train a run in this very process, begin it again where that may help, and report what comes of it.

    Out of memory, it goes on with activation checkpointing, which is no part of its key and moves none of its numbers.
    A failed run is a result: reported, and the others go on. noticed: as train_run asks. Raises Preempted.
    """
    reached = [_last_step(task.folder / "metrics.jsonl")]
    step, begun = reached[0], _Begun(task, report)

    def pass_on(rows: list[Measurement], torn: list[str]) -> None:
        nonlocal step
        step = max([step, *(row.step for row in rows)])  # scores of an earlier step may be the last of them
        report({"rows": rows, "torn": torn})

    while True:
        try:
            train_run(task, pass_on, begun=begun, noticed=noticed)
            return
        except Preempted:
            raise  # the run goes on in another process
        except Exception as error:
            failure = Failure.of(error)
            reached.append(step)
            verdict = verdict_on_failure(failure.kind, reached, recomputes=begun.recomputes)
            if verdict is Verdict.GIVE_UP:
                note_failure(task.folder, task.launch, error)
                report(failure.told())
                return
        # The error is gone by now, and with it what the failed try held in memory.
        gc.collect()
        torch.cuda.empty_cache()  # what torch keeps for itself would not count as free
        if verdict is Verdict.RECOMPUTE:
            task = _recomputing(task)
            report(_recomputed(task, failure.reason))
        else:
            report(_retried(task, failure.reason, f"(try {len(reached)} of {RETRIES + 1})"))


def _recomputing(task: Task) -> Task:
    return replace(task, run=task.run.change({"train": {"activation_checkpointing": "true"}}))


def _recomputed(task: Task, reason: str) -> dict[str, Any]:
    return _retried(task, reason, f"with {RECOMPUTE}=true") | {"settings": {RECOMPUTE: "true"}}


def _retried(task: Task, reason: str, how: str) -> dict[str, Any]:
    """What is reported of a run that raised and goes on."""
    saved = last_checkpoint(task.folder)
    goes_on = "begins anew" if saved is None else f"goes on from step {saved}"
    return {"retry": f"{reason}; {goes_on} {how}"}


def _last_step(journal: Path) -> int:
    with contextlib.suppress(OSError):  # train_run meets it again, and there it is a failure
        return max((row.step for row in read_journal(journal)), default=0)
    return 0


def train_inline(task: Task) -> None:
    """The inline launcher's trial: train in this very process."""
    from ray import tune

    tune.report(whereabouts(task.device) | _node())
    with Notice(task.launch) as notice:
        train_alone(task, tune.report, notice.why)
    gc.collect()
    torch.cuda.empty_cache()  # the process may stay, without a run: what torch keeps for itself is not free for others


def train_with_workers(task: Task, *, workers: int, gpus: float, storage: Path) -> None:
    """The train launcher's trial: start Ray Train workers, wait for them, and begin again where one of them dies.

    gpus: of each worker, a share of one or 0.

    Their reports come through a queue of our own, of any length. Ray's TuneReportCallback has one of length 1 that it
    reads only between two results: with a driver that is slow to take them (MLflow far away), the last report meets
    the trial's end, and then is lost or blocks the trial for ever (seen with Ray 2.60). Like this trial and Train's
    controller the queue is on the head: no worker's machine takes it along.

    Whether a try that ended is followed by another is decided here (failures.Tries): Ray's own max_failures and
    max_preemption_failures count tries that made progress too.
    """
    os.environ.setdefault(
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1"
    )  # a report waits for the next poll: 2 s by default
    from ray import tune
    from ray.train import (
        ControllerError,
        FailureConfig,
        RunConfig,
        ScalingConfig,
        TrainingFailedError,
        UserCallback,
    )
    from ray.train.torch import TorchConfig, TorchTrainer

    from sweeps.causes import preemption

    reports = queue_here()

    class PassOn(UserCallback):  # type: ignore[misc]  # Ray is not typed
        """In Train's controller: what the first worker reported."""

        def after_report(self, run_context: object, metrics: list[dict[str, Any]], checkpoint: object) -> None:
            reports.put((metrics[0], [each["node"] for each in metrics if "node" in each]))

    nodes: list[str] = []  # that the workers are on, as far as they have said

    def pass_on() -> None:
        while (said := reports.get()) is not None:
            metrics, on = said
            nodes[:] = on or nodes
            tune.report(metrics)

    def fit() -> None:
        TorchTrainer(
            train_worker,
            train_loop_config={"task": task},
            torch_config=TorchConfig(backend="nccl" if task.device == "cuda" else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=workers, use_gpu=gpus > 0, resources_per_worker={"GPU": gpus} if gpus else None
            ),
            run_config=RunConfig(
                name=task.key,  # a stable name: a new controller takes over from a dead one
                storage_path=str(storage),
                callbacks=[PassOn()],
                failure_config=FailureConfig(max_failures=0, max_preemption_failures=0),
            ),
        ).fit()

    passing_on = threading.Thread(target=pass_on, daemon=True)
    passing_on.start()
    tries, failure, ended = Tries(last_checkpoint(task.folder)), None, False
    try:
        while not ended and failure is None:
            try:
                fit()
                ended = True
            except ControllerError:
                raise  # not the run's doing: Tune tries again
            except TrainingFailedError as error:
                failure = noted_failure(task.folder, task.launch)
                why = preemption(error, nodes)
                if failure is not None:
                    pass  # a worker has said that it has failed for good
                elif why and is_told_to_end(task.launch):
                    raise Preempted(why) from None  # with the command, not to be begun again by it
                elif not tries.another(preempted=bool(why), checkpoint=last_checkpoint(task.folder)):
                    note_failure(task.folder, task.launch, error)
                    failure = Failure.of(error)
                elif why:
                    reports.put(({"preempted": why}, []))
    finally:
        reports.put(None)
        passing_on.join()
    if failure is not None:
        tune.report(failure.told())


def queue_here() -> Any:
    """A queue whose actor is on this process's machine. By itself Ray puts an actor without needs on any of them."""
    import ray
    from ray.util.queue import Queue
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return Queue(actor_options={"num_cpus": 0, "scheduling_strategy": here})


def train_worker(config: dict[str, Any]) -> None:
    """What each Ray Train worker does. The first keeps the journal; all report together, as Train requires."""
    import ray.train
    import ray.train.torch

    task: Task = config["task"]
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()

    def agreed(asked: int) -> int:
        if workers == 1:
            return asked
        answer = torch.tensor([asked], dtype=torch.int32, device=device if dist.get_backend() == "nccl" else "cpu")
        dist.all_reduce(answer, dist.ReduceOp.MAX)
        return int(answer.item())

    def report(facts: dict[str, Any]) -> None:
        ray.train.report(facts | _node() if "device" in facts else facts)

    if workers == 1:
        if (failure := noted_failure(task.folder, task.launch)) is not None:  # a retry of a failure that is meant
            report(failure.told())
            return
        report(whereabouts(task.device))
        with Notice(task.launch) as notice:
            train_alone(task, report, notice.why)
    else:
        with Notice(task.launch) as notice:
            train_beside_others(task, report, rank=rank, workers=workers, agreed=agreed, noticed=notice.why)


def train_beside_others(
    task: Task,
    report: Callable[[dict[str, Any]], None],
    *,
    rank: int,
    workers: int,
    agreed: Callable[[int], int],
    noticed: Callable[[], str] = lambda: "",
) -> None:
    """One try of a worker among several; when any of them raises, Train ends them all and begins them again.

    What a try leaves for the next one lies in the run's folder: that the run has failed for good, or that it was out of
    memory and goes on with activation checkpointing. All workers read the same there, so all report as often.
    """
    failure = noted_failure(task.folder, task.launch)
    if failure is not None:  # a retry that Train makes of a failure that is meant
        report(failure.told())
        return
    report(whereabouts(task.device))
    if (reason := noted_lack(task)) is not None:
        task = _recomputing(task)
        report(_recomputed(task, reason))
    begun = _Begun(task, report)
    try:
        train_run(
            task,
            lambda rows, torn: report({"rows": rows, "torn": torn}),
            rank=rank,
            workers=workers,
            agreed=agreed,
            begun=begun,
            noticed=noticed,
        )
    except Preempted:
        raise
    except Exception as error:
        lacks = Failure.of(error).kind == "out of memory"
        if lacks and not begun.recomputes:
            note_lack(task, error)
        elif lacks or not worth_another_try(error, workers):
            note_failure(task.folder, task.launch, error)
        raise  # the others wait for this worker in a collective: only Train can end them
    if rank == 0:
        (task.folder / LACK).unlink(missing_ok=True)
