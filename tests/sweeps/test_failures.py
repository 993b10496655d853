from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest
import torch
from ray.exceptions import ActorDiedError, ActorUnavailableError, NodeDiedError, RayActorError, RayTaskError
from ray.train import PreemptionError, PreemptionInfo, WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError

from sweeps.failures import (
    MAX_FAILURES,
    MAX_PREEMPTIONS,
    REASON_LENGTH,
    Failure,
    FolderGone,
    Interrupted,
    Kind,
    Preempted,
    Tries,
    Verdict,
    contained,
    is_of_a_lost_process,
    kind_of,
    preemption_in,
    verdict_on_failure,
)
from trm_core.checkpoint import BadCheckpoint, CheckpointNotWritten
from trm_core.memory import NotEnoughMemory
from trm_core.trainer import Diverged

AGAIN, RECOMPUTE, GIVE_UP = Verdict.AGAIN, Verdict.RECOMPUTE, Verdict.GIVE_UP


@pytest.mark.parametrize(
    ("reached", "verdict"),
    [
        ((0, 500), AGAIN),
        ((0, 500, 800), AGAIN),
        ((0, 500, 800, 900), GIVE_UP),  # the third
        ((0, 500, 500), GIVE_UP),  # where it failed before
        ((0, 500, 450), GIVE_UP),
        ((0, 0), GIVE_UP),  # a bad checkpoint, or settings that cannot be
        ((500, 500), GIVE_UP),  # where an earlier launch had left it
        ((500, 501), AGAIN),
    ],
)
def test_a_run_that_raised_is_begun_again_twice_and_only_if_it_came_further(
    reached: tuple[int, ...], verdict: Verdict
) -> None:
    for recomputes in (False, True):
        assert verdict_on_failure("failed", reached, recomputes=recomputes) is verdict


@pytest.mark.parametrize("reached", [(0, 0), (0, 500), (0, 500, 800, 900)])
def test_what_is_out_of_memory_is_begun_again_once_with_activation_checkpointing(reached: tuple[int, ...]) -> None:
    assert verdict_on_failure("out of memory", reached, recomputes=False) is RECOMPUTE
    assert verdict_on_failure("out of memory", reached, recomputes=True) is GIVE_UP


@pytest.mark.parametrize("kind", ["diverged", "disk full", "disk gone"])
def test_what_would_happen_again_or_is_a_persons_to_mend_is_not_tried_again(kind: Kind) -> None:
    assert verdict_on_failure(kind, (0, 500), recomputes=False) is GIVE_UP


def _from(cause: Exception) -> RuntimeError:
    error = RuntimeError("worker 1 failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Diverged(40, "the training loss is nan"), "diverged"),
        (CheckpointNotWritten("step_00000002: not written ([Errno 28] No space left on device)"), "disk full"),
        (CheckpointNotWritten("step_00000002: not written ([Errno 20] Not a directory)"), "failed"),
        (OSError(errno.ENOSPC, "No space left on device", "metrics.jsonl"), "disk full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk full"),
        (FolderGone("results/runs/0123456789abcdef is not there any more"), "disk gone"),
        (CheckpointNotWritten("step_00000002: not written (Read-only file system (os error 30))"), "disk gone"),
        (OSError(errno.ENOTCONN, "Transport endpoint is not connected"), "disk gone"),
        (NotEnoughMemory("depth 42 needs 50 GB"), "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (MemoryError(), "out of memory"),
        (_from(torch.OutOfMemoryError("…")), "out of memory"),
        (RuntimeError("Training failed: ranks: {0: OutOfMemoryError('CUDA out of memory.')}"), "out of memory"),
        (BadCheckpoint("no good checkpoint"), "failed"),
        (OSError(errno.EIO, "Input/output error"), "failed"),
        (RuntimeError("connection closed by peer"), "failed"),
    ],
    ids=str,
)
def test_a_failure_is_of_a_kind(error: Exception, kind: Kind) -> None:
    assert kind_of(error) == kind
    assert Failure.of(error).told()["kind"] == kind


def test_memory_that_the_cpu_has_not_is_known_by_what_torch_says() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58, dtype=torch.uint8)
    assert kind_of(caught.value) == "out of memory"


def test_the_reason_is_one_line_that_names_the_error_and_where_a_run_diverged() -> None:
    assert Failure.of(ValueError("two\nlines")) == Failure("failed", "ValueError: two lines")
    assert Failure.of(RuntimeError()) == Failure("failed", "RuntimeError: no message")
    assert Failure.of(Diverged(40, "the training loss is nan")).reason.startswith("diverged at step 40: the training")
    assert len(Failure.of(ValueError("x" * 1000)).reason) == REASON_LENGTH + 2


# --- trouble in the driver -------------------------------------------------------------------------------------------


class Watch:
    """A watch whose callbacks raise what they are told to."""

    def __init__(self, error: Exception | None = None, worse: Exception | None = None) -> None:
        self.error, self.worse = error, worse
        self.stopped: list[str] = []
        self.ended_for: list[Exception] = []

    @contained
    def on_trial_result(self, iteration: int, trials: list[object], trial: SimpleNamespace, **_: object) -> None:
        if self.error:
            raise self.error

    def trouble(self, key: str, error: Exception) -> None:
        if self.worse:
            raise self.worse
        self.stopped.append(key)

    def end_for(self, error: Exception) -> None:
        self.ended_for.append(error)


TRIAL = SimpleNamespace(config={"key": "a"})


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), ValueError("no row"), KeyError("step")])
def test_what_goes_wrong_about_a_run_leaves_no_callback_and_stops_that_run_alone(error: Exception) -> None:
    watch = Watch(error)
    watch.on_trial_result(iteration=1, trials=[], trial=TRIAL, result={})
    assert watch.stopped == ["a"]
    assert watch.ended_for == []


def test_where_even_that_cannot_be_told_the_launch_is_over() -> None:
    worse = ValueError("the storage does not answer")
    watch = Watch(OSError(5, "Input/output error"), worse)
    with pytest.raises(Interrupted):
        watch.on_trial_result(iteration=1, trials=[], trial=TRIAL)
    assert watch.ended_for == [worse]


def test_an_interruption_passes() -> None:
    watch = Watch(Interrupted())
    with pytest.raises(Interrupted):
        watch.on_trial_result(iteration=1, trials=[], trial=TRIAL)
    assert watch.stopped == []


# --- Ray's wrappers --------------------------------------------------------------------------------------------------


def test_of_trains_workers_the_one_that_knows_why_speaks_else_the_first() -> None:
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    peer, lacking = RuntimeError("connection closed by peer"), MemoryError("CUDA out of memory: 2 GiB")
    failure = Failure.of(WorkerGroupError("Training failed", {0: peer, 1: lacking}))
    assert failure == Failure("out of memory", "MemoryError: CUDA out of memory: 2 GiB")
    assert Failure.of(WorkerGroupError("two", {1: peer, 0: ValueError("x")})).reason == "ValueError: x"
    missing = RuntimeError("Distributed package doesn't have NCCL built in")
    assert Failure.of(ControllerError(missing)).reason == "RuntimeError: Distributed package doesn't have NCCL built in"
    assert Failure.of(WorkerGroupError("none", {})).reason.startswith("WorkerGroupError: Training failed")


def test_an_error_that_is_its_own_cause_is_looked_into_a_few_times_only() -> None:
    error = RuntimeError("round")
    error.cause = error  # type: ignore[attr-defined]
    assert Failure.of(error).reason == "RuntimeError: round"


# --- a process that ended under a run --------------------------------------------------------------------------------


def tried(*ends: tuple[bool, int | None], first: int | None = None) -> tuple[list[bool], Tries]:
    """Whether each end (preempted, last checkpoint) is followed by another try."""
    tries = Tries(first)
    return [tries.another(preempted=preempted, checkpoint=checkpoint) for preempted, checkpoint in ends], tries


def test_a_process_may_die_twice_without_a_new_checkpoint() -> None:
    again, tries = tried(*[(False, 50)] * (MAX_FAILURES + 1), first=50)
    assert again == [True] * MAX_FAILURES + [False]
    assert tries.in_words == f"its process ended {MAX_FAILURES + 1} times without a new checkpoint in between"


def test_a_run_that_comes_further_each_time_may_lose_its_process_as_often_as_it_likes() -> None:
    again, tries = tried(*[(False, step) for step in range(100)])
    assert all(again)
    assert tries.in_vain == 0


def test_a_new_checkpoint_forgives_what_came_before_and_an_older_one_does_not() -> None:
    dead = (False, 10)
    assert tried(dead, dead, dead, (False, 20), (False, 20), (False, 20), (False, 20))[0] == [True] * 6 + [False]
    assert tried((False, 4), (False, None), first=10)[1].in_vain == 2


def test_a_preemption_is_no_failure_and_is_counted_apart() -> None:
    again, tries = tried(*[(False, 5), (True, 5)] * 2, (True, 9), first=5)
    assert all(again)
    assert (tries.preemptions, tries.in_vain) == (3, 0)
    again, tries = tried((False, 5), (True, 5), (False, 5), (False, 5), first=5)
    assert again == [True, True, True, False]
    assert tries.in_words.endswith("(1 preemption not counted)")


def test_a_run_that_is_preempted_again_and_again_before_its_first_checkpoint_is_given_up_at_last() -> None:
    again, tries = tried(*[(True, None)] * (MAX_PREEMPTIONS + 1))
    assert again == [True] * MAX_PREEMPTIONS + [False]
    assert Tries(None).in_words == "its process could not be started"
    assert tries.in_words.startswith(f"it was preempted {MAX_PREEMPTIONS + 1} times")


TOLD = Preempted("told to end; a checkpoint of step 7 is written")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (TOLD, str(TOLD)),
        (RayTaskError("train", "trace", TOLD), str(TOLD)),
        (WorkerGroupError("failed", {0: RuntimeError("connection closed by peer"), 1: TOLD}), str(TOLD)),
        (PreemptionError(PreemptionInfo(None, {"a": [0]})), "its machine was taken away"),
        (RayActorError(preempted=True), "its machine was taken away"),
        (
            WorkerGroupError("failed", {1: RayActorError(preempted=True), 0: RuntimeError()}),
            "its machine was taken away",
        ),
        (RayActorError(error_msg="The actor died because its node has died. Node Id: a"), "its machine has died"),
        (NodeDiedError("gone"), "its machine has died"),
        (ActorDiedError(), ""),
        (RuntimeError("CUDA error"), ""),
        (WorkerGroupError("failed", {0: ActorDiedError()}), ""),
        (None, ""),
    ],
)
def test_a_machine_that_went_is_told_from_a_process_that_died(error: BaseException | None, why: str) -> None:
    assert preemption_in(error) == why


def test_of_a_process_that_is_gone_or_out_of_reach_the_machine_is_asked() -> None:
    assert is_of_a_lost_process(ActorUnavailableError("connection reset", None))
    assert is_of_a_lost_process(ActorDiedError())
    unreachable = WorkerHealthCheckFailedError("a worker", ActorUnavailableError("connection refused", None))
    assert is_of_a_lost_process(WorkerGroupError("failed", {0: unreachable}))  # as Train has it, of a power cut
    assert not is_of_a_lost_process(RuntimeError("its own"))
