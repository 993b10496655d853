"""What runs inside an actor: one run, trained in its folder; and the only door to Ray Train.

A run's folder holds config.json, metrics.jsonl (the journal, the source of truth for its curves), checkpoints/, with
ARC predictions/, and failure.txt if it failed. Whoever trains there holds the folder's lock.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
import torch.distributed as dist

from data_prep.puzzle_set import PuzzleSet
from sweeps.guard import hold_folder
from sweeps.records.types import Measurement
from trm_core import checkpoint
from trm_core.config import RunConfig
from trm_core.distributed import wait_for_all
from trm_core.trainer import train

PASS_ON_EVERY_S = 2.0
REASON_LENGTH = 400  # characters of a failure on the screen and in MLflow
MAX_FAILURES = 2  # processes that may die under a run before it counts as failed


@dataclass(frozen=True)
class Task:
    """What a worker needs to know of a run."""

    key: str
    run: RunConfig
    data: Path  # a PuzzleSet's folder, verified by the driver
    folder: Path
    threads: int  # that torch may use; the same number gives the same bits
    launch: str  # names this launch in failure.txt
    device: str  # "cuda" or "cpu": what the launcher has set aside for it


class Journal:
    """metrics.jsonl: a line per step, ascending, also after any number of deaths and resumptions."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = read_journal(path)
        self._continued = False

    def add(self, row: Measurement) -> list[Measurement]:
        """Append a row. The first after a resumption cuts what lies behind it, and brings the kept rows along.

        Training resumed at step s reports its next row as it did before: rows behind that one belong to steps not
        taken yet, rows before it are s or older. A row for a step that is there already (the last, when all that was
        left was to evaluate again) adds to it.
        """
        if self._continued:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(row))
            return [row]
        kept = [old for old in self._rows if old.step <= row.step]
        if kept and kept[-1].step == row.step:
            row = Measurement(row.step, row.time_ms, {**kept.pop().metrics, **row.metrics})
        _write_whole(self.path, "".join(map(_line, [*kept, row])))
        self._continued = True
        return [*kept, row]


def read_journal(path: Path) -> list[Measurement]:
    """The rows of a metrics.jsonl, none if it is not there; the line that a killed process left torn is left out."""
    rows = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                rows.append(Measurement(**json.loads(line)))
    return rows


def train_run(
    task: Task,
    pass_on: Callable[[list[Measurement], list[str]], None],
    *,
    rank: int = 0,
    workers: int = 1,
    agreed: Callable[[bool], bool] = lambda due: due,
) -> None:
    """Train one run in its folder, from its last checkpoint, and pass its rows on, every 2 s and at evaluations.

    Rank 0 keeps the journal and the lock; the others only compute. agreed: makes `due` the same on all workers.
    pass_on: rows, and what was said about torn checkpoints.
    """
    torch.set_num_threads(task.threads)
    first_worker = rank == 0
    data = PuzzleSet.open(task.data, verify=False)
    task.folder.mkdir(parents=True, exist_ok=True)
    with hold_folder(task.folder) if first_worker else contextlib.nullcontext(), _Torn() as torn:
        wait_for_all()  # until the lock is held, another process may still write checkpoints here
        journal = Journal(task.folder / "metrics.jsonl") if first_worker else None
        if first_worker:
            (task.folder / "failure.txt").unlink(missing_ok=True)
            facts = {"key": task.key, "data": data.content_hash, "settings": task.run.model_dump(mode="json")}
            _write_whole(task.folder / "config.json", json.dumps(facts, indent=2) + "\n")
        waiting: list[Measurement] = []
        passed_on_at = time.monotonic()

        def report(step: int, metrics: Mapping[str, float], _: Path | None) -> None:
            nonlocal waiting, passed_on_at
            if journal is not None:
                row = Measurement(
                    step, int(time.time() * 1000), {name: float(value) for name, value in metrics.items()}
                )
                waiting += journal.add(row)
            evaluated = any(name.startswith("test/") for name in metrics)  # the same on all workers
            if evaluated or agreed(time.monotonic() - passed_on_at > PASS_ON_EVERY_S):
                rows, waiting, passed_on_at = waiting, [], time.monotonic()
                pass_on(rows, torn.take())

        try:
            train(
                task.run,
                data,
                report,
                checkpoints=task.folder / "checkpoints",
                predictions=task.folder / "predictions",
                device=task.device,
            )
        finally:
            if waiting and workers == 1:  # it raised; with several workers only all together can pass on
                pass_on(waiting, torn.take())


class _Torn(logging.Handler):
    """What trm_core.checkpoint says of torn checkpoints, kept: Ray shows no worker's log."""

    def __init__(self) -> None:
        super().__init__()
        self._said: list[str] = []

    def __enter__(self) -> Self:
        checkpoint.log.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        checkpoint.log.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self._said.append(record.getMessage())

    def take(self) -> list[str]:
        """What was said since the last time."""
        said, self._said = self._said, []
        return said


def worth_another_try(error: Exception, workers: int) -> bool:
    """Whether a run that raised may succeed if begun again. A process that died never gets here, and always may.

    Alone, a run raises what it would raise again. Beside others, a worker raises whatever its peer's death looks like
    from its end; only a ValueError, our own named complaint, is surely meant.
    """
    return workers > 1 and not isinstance(error, ValueError)


def note_failure(folder: Path, launch: str, error: Exception) -> str:
    """Write failure.txt, the whole of it, where the disk takes it, and return the reason in one line."""
    reason = f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"
    reason = reason if len(reason) <= REASON_LENGTH else f"{reason[:REASON_LENGTH]} …"
    text = f"{reason}\nlaunch {launch}\n\n{''.join(traceback.format_exception(error))}"
    with contextlib.suppress(OSError):  # a full disk may be the very reason
        folder.mkdir(parents=True, exist_ok=True)
        _write_whole(folder / "failure.txt", text)
    return reason


def earlier_failure(folder: Path, launch: str) -> str | None:
    """Why this run failed in this launch already, if it did."""
    with contextlib.suppress(FileNotFoundError):
        reason, noted, *_ = (folder / "failure.txt").read_text(encoding="utf-8").split("\n", 2)
        if noted == f"launch {launch}":
            return reason
    return None


def device_name(device: str) -> str:
    """ "cpu", or the GPU's name where there is one to be used."""
    return torch.cuda.get_device_name() if device == "cuda" and torch.cuda.is_available() else "cpu"


# --- inside a Tune trial ---------------------------------------------------------------------------------------------


def train_inline(task: Task) -> None:
    """The inline launcher's trial: train in this very process."""
    from ray import tune

    tune.report({"device": device_name(task.device)})
    try:
        train_run(task, lambda rows, torn: tune.report({"rows": rows, "torn": torn}))
    except Exception as error:  # a failed run is a result: reported, and the others go on
        tune.report({"failure": note_failure(task.folder, task.launch, error)})


def train_with_workers(task: Task, *, workers: int, use_gpu: bool, storage: Path) -> None:
    """The train launcher's trial: start Ray Train workers, wait for them, and retry where one of them dies.

    Their reports come through a queue of our own, of any length. Ray's TuneReportCallback has one of length 1 that it
    reads only between two results: with a driver that is slow to take them (MLflow far away), the last report meets
    the trial's end, and then is lost or blocks the trial for ever (seen with Ray 2.60).
    """
    os.environ.setdefault(
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1"
    )  # a report waits for the next poll: 2 s by default
    from ray import tune
    from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError
    from ray.util.queue import Queue

    reports = Queue(actor_options={"num_cpus": 0})

    class PassOn(UserCallback):  # type: ignore[misc]  # Ray is not typed
        """In Train's controller: what the first worker reported."""

        def after_report(self, run_context: object, metrics: list[dict[str, Any]], checkpoint: object) -> None:
            reports.put(metrics[0])

    def pass_on() -> None:
        while (metrics := reports.get()) is not None:
            tune.report(metrics)

    trainer = TorchTrainer(
        train_worker,
        train_loop_config={"task": task},
        scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
        run_config=RunConfig(
            name=task.key,  # a stable name: a new controller takes over from a dead one
            storage_path=str(storage),
            callbacks=[PassOn()],
            failure_config=FailureConfig(max_failures=MAX_FAILURES),
        ),
    )
    passing_on = threading.Thread(target=pass_on, daemon=True)
    passing_on.start()
    failure = None
    try:
        trainer.fit()
    except ControllerError:
        raise  # not the run's doing: Tune tries again
    except TrainingFailedError as error:
        failure = earlier_failure(task.folder, task.launch) or note_failure(task.folder, task.launch, error)
    finally:
        reports.put(None)
        passing_on.join()
    if failure is not None:
        tune.report({"failure": failure})


def train_worker(config: dict[str, Any]) -> None:
    """What each Ray Train worker does. The first keeps the journal; all report together, as Train requires."""
    import ray.train
    import ray.train.torch

    task: Task = config["task"]
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()

    def agreed(due: bool) -> bool:
        if workers == 1:
            return due
        answer = torch.tensor([due], dtype=torch.int32, device=device if dist.get_backend() == "nccl" else "cpu")
        dist.broadcast(answer, src=0)
        return bool(answer.item())

    if (
        reason := earlier_failure(task.folder, task.launch)
    ) is not None:  # a retry that Train makes of a failure that is meant
        ray.train.report({"failure": reason})
        return
    ray.train.report({"device": device_name(task.device)})
    try:
        train_run(
            task,
            lambda rows, torn: ray.train.report({"rows": rows, "torn": torn}),
            rank=rank,
            workers=workers,
            agreed=agreed,
        )
    except Exception as error:
        if worth_another_try(error, workers):
            raise
        reason = note_failure(task.folder, task.launch, error)
        if workers > 1:
            raise  # the others wait for this worker in a collective: only Train can end them
        ray.train.report({"failure": reason})


def _line(row: Measurement) -> str:
    return json.dumps({"step": row.step, "time_ms": row.time_ms, "metrics": dict(row.metrics)}) + "\n"


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
