"""Why a run failed, whose trouble it is, and whether it is worth another try: functions of the error and of how far the
run came."""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol, Self

from data_prep.redaction import redacted

Kind = Literal["failed", "diverged", "disk full", "disk gone", "out of memory"]
MENDABLE: tuple[Kind, ...] = ("disk full", "disk gone")  # by a person; then the run goes on where it stood
RETRIES = 2  # times that a run that raised may be begun again
MAX_FAILURES = 2  # processes in a row that may die under a run, on machines that live, without a new checkpoint
MAX_PREEMPTIONS = 20  # machines in a row that may go under a run without a new checkpoint
REASON_LENGTH = 400  # characters of a failure on the screen and in MLflow

# By name, for torch's and Ray's errors are not imported here.
KINDS: dict[str, Kind] = {
    "Diverged": "diverged",
    "FolderGone": "disk gone",
    "NotEnoughMemory": "out of memory",
    "OutOfMemoryError": "out of memory",  # torch's, and Ray's where it ends a process
    "MemoryError": "out of memory",
}
# What is left of an error that came as text out of another process, and what torch has no error of its own for.
SIGNS: dict[str, Kind] = {
    **{f"[Errno {number}]": "disk full" for number in (errno.ENOSPC, errno.EDQUOT)},
    "No space left on device": "disk full",
    "Disk quota exceeded": "disk full",
    "Transport endpoint is not connected": "disk gone",  # that of a file system in a process that has ended
    "Read-only file system": "disk gone",  # as kernels leave a disk with errors
    "CUDA out of memory": "out of memory",
    "DefaultCPUAllocator: can't allocate memory": "out of memory",
}


class FolderGone(ValueError):
    """A run's folder is not there any more, or another is in its place: a disk that was unmounted, as a rule."""


class Preempted(Exception):
    """The run's process or machine is about to be taken away. Its checkpoint is written, and it goes on elsewhere."""


class Verdict(Enum):
    """What is done about a run that raised."""

    AGAIN = "begun again from its last checkpoint"
    RECOMPUTE = "begun again from its last checkpoint, with activation checkpointing"
    GIVE_UP = "failed"


@dataclass(frozen=True)
class Failure:
    """Why a run failed: of which kind, and in one line."""

    kind: Kind
    reason: str

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """An error, or what it was raised from, classified."""
        error = behind(error)
        kind = kind_of(error)
        said = redacted(" ".join(str(error).split())) or "no message"
        reason = said if kind == "diverged" else f"{type(error).__name__}: {said}"
        return cls(kind, reason if len(reason) <= REASON_LENGTH else f"{reason[:REASON_LENGTH]} …")

    def told(self) -> dict[str, Any]:
        """As a trial reports it to the driver."""
        return {"failure": self.reason, "kind": self.kind}


def behind(error: BaseException) -> BaseException:
    """The error that Ray's wrappers were made of: Train's of its workers or its controller, a task's of its function.

    Of several workers one whose failure is of a known kind, else the first: the others say what its end looked like to
    them.
    """
    for _ in range(10):
        inner = _inner(error)
        if inner is None:
            break
        error = inner
    return error


def _inner(error: BaseException) -> BaseException | None:
    workers = getattr(error, "worker_failures", None)
    if isinstance(workers, Mapping) and workers:
        failures: list[BaseException] = [workers[rank] for rank in sorted(workers)]
        return next((one for one in failures if kind_of(behind(one)) != "failed"), failures[0])
    for name in ("controller_failure", "cause"):
        if isinstance(found := getattr(error, name, None), BaseException):
            return found
    return None


def kind_of(error: BaseException) -> Kind:
    """The first known kind among an error and the causes it was raised from, by class, then by what it says."""
    for each in _and_causes(error):
        for cls in type(each).__mro__:
            if cls.__name__ in KINDS:
                return KINDS[cls.__name__]
        for sign, kind in SIGNS.items():
            if sign in str(each):
                return kind
    return "failed"


def _and_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


# --- a process that ended under a run --------------------------------------------------------------------------------

NODE_DIED = "its node has died"  # Ray's words, of an actor


def preemption_in(error: BaseException | None) -> str:
    """Why the end of a run's process was none of its own doing: its machine went, or was about to; "" else.

    Of several workers one is enough: the others raise whatever its end looked like to them.
    """
    for each in _all_in(error):
        if type(each).__name__ == "Preempted":
            return str(each)
        if type(each).__name__ == "PreemptionError" or getattr(each, "preempted", False) is True:
            return "its machine was taken away"
        if type(each).__name__ == "NodeDiedError" or NODE_DIED in str(each):
            return "its machine has died"
    return ""


def is_of_a_lost_process(error: BaseException | None) -> bool:
    """Whether Ray says of a process that it has ended, or cannot be reached, and not why: its machine may know."""
    return any(cls.__name__ == "RayActorError" for each in _all_in(error) for cls in type(each).__mro__)


def _all_in(error: BaseException | None, depth: int = 0) -> Iterator[BaseException]:
    """An error, and all that Ray's wrappers were made of."""
    if error is None or depth > 10:
        return
    yield error
    workers = getattr(error, "worker_failures", None)
    inner = [workers[rank] for rank in sorted(workers)] if isinstance(workers, Mapping) else []
    inner += [
        getattr(error, name, None) for name in ("controller_failure", "health_check_failure", "cause", "__cause__")
    ]
    for each in inner:
        if isinstance(each, BaseException):
            yield from _all_in(each, depth + 1)


@dataclass
class Tries:
    """The tries of a run in one launch, each of which may end with its process. A new checkpoint forgives the past."""

    checkpoint: int | None  # the last step that was saved when the last of them began
    preemptions: int = 0
    in_vain: int = 0  # that died in a row without a new checkpoint
    preempted_in_vain: int = 0

    def another(self, *, preempted: bool, checkpoint: int | None) -> bool:
        """Take in that a try has ended, with this last checkpoint. Whether there is to be another."""
        if checkpoint is not None and (self.checkpoint is None or checkpoint > self.checkpoint):
            self.checkpoint, self.in_vain, self.preempted_in_vain = checkpoint, 0, 0
            self.preemptions += preempted
            return True
        self.preemptions += preempted
        self.preempted_in_vain += preempted
        self.in_vain += not preempted
        return self.in_vain <= MAX_FAILURES and self.preempted_in_vain <= MAX_PREEMPTIONS

    @property
    def in_words(self) -> str:
        """Why there was no other, but for what the last said."""
        if self.preempted_in_vain > MAX_PREEMPTIONS:
            return f"it was preempted {self.preempted_in_vain} times without a new checkpoint in between"
        if not self.in_vain:
            return "its process could not be started"
        beside = f" ({many_preemptions(self.preemptions)} not counted)" if self.preemptions else ""
        return f"its process ended {self.in_vain} times without a new checkpoint in between{beside}"


def many_preemptions(n: int) -> str:
    """ "1 preemption", "2 preemptions"."""
    return f"{n} preemption{'s' * (n != 1)}"


# --- trouble in the driver -------------------------------------------------------------------------------------------


class Interrupted(Exception):
    """A launch is to end now. An Exception, so that Tune gives back what its trials hold."""


class Watches(Protocol):
    """Whoever hears from Tune of runs, each under way with its own files and records."""

    def trouble(self, key: str, error: Exception) -> None:
        """What the driver had to do for this run went wrong: it has failed, and no other."""

    def end_for(self, error: Exception) -> None:
        """What all runs need went wrong: the launch is over."""


def contained(callback: Callable[..., None]) -> Callable[..., None]:
    """A Tune callback about a trial that lets nothing out but Interrupted: what leaves a callback ends all of Tune.

    The trouble of one run stops that run alone; where even that cannot be told, the launch is over.
    """

    @functools.wraps(callback)
    def heard(watch: Watches, iteration: int, trials: list[Any], trial: Any, *more: Any, **named: Any) -> None:
        try:
            callback(watch, iteration, trials, trial, *more, **named)
        except Interrupted:
            raise
        except Exception as error:
            try:
                watch.trouble(trial.config["key"], error)
            except Interrupted:
                raise
            except Exception as worse:
                watch.end_for(worse)
                raise Interrupted from worse

    return heard


# --- another try -----------------------------------------------------------------------------------------------------


def verdict_on_failure(kind: Kind, reached: Sequence[int], *, recomputes: bool) -> Verdict:
    """Whether a run that raised is begun again: at most twice, and only if it came further than the time before.

    reached: the last step of its journal when this launch began it, then at each of its failures, this one last.
    recomputes: whether it trained with activation checkpointing, which moves no number. Out of memory without it, a run
    is begun again with it, however far it came; with it there is nothing left to save.
    What diverged would diverge again, and a disk that is full or gone is a person's to mend.
    """
    if kind == "out of memory":
        return Verdict.GIVE_UP if recomputes else Verdict.RECOMPUTE
    *_, before, now = reached
    failures = len(reached) - 1
    if kind == "diverged" or kind in MENDABLE or failures > RETRIES or now <= before:
        return Verdict.GIVE_UP
    return Verdict.AGAIN
