"""The only door to Ray Train: a Tune trial that starts a run's workers, and what each of them does."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from sweeps.failures import Failure, Preempted, Tries
from sweeps.folder import Task, last_checkpoint, note_failure, noted_failure
from sweeps.notice import Notice
from sweeps.ray_internals import is_told_to_end
from sweeps.worker import node, train_alone, train_beside_others, whereabouts


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
        ray.train.report(facts | node() if "device" in facts else facts)

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
