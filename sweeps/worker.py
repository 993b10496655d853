"""What runs inside an actor: one run, trained in its folder. Where there are several workers, ray_train.py.

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
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch

from data_prep.files import check_regular
from data_prep.puzzle_set import PuzzleSet
from sweeps import apart as evaluations
from sweeps import journal as journals
from sweeps.apart import Apart
from sweeps.failures import RETRIES, Failure, Preempted, Verdict, verdict_on_failure
from sweeps.folder import LACK, Place, Task, last_checkpoint, note_failure, note_lack, noted_failure, noted_lack
from sweeps.journal import Journal, read_journal, write_whole
from sweeps.locks import FolderHeld, Lease, hold_folder
from sweeps.notice import Due, Notice
from sweeps.probe import source_hash
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


def node() -> dict[str, str]:
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

    tune.report(whereabouts(task.device) | node())
    with Notice(task.launch) as notice:
        train_alone(task, tune.report, notice.why)
    gc.collect()
    torch.cuda.empty_cache()  # the process may stay, without a run: what torch keeps for itself is not free for others


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
