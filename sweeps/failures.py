"""Why a run failed, whose trouble it is, and whether it is worth another try: functions of the error and of how far the
run came."""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, Protocol, Self

from data_prep.redaction import redacted

Kind = Literal["failed", "diverged", "disk full", "out of memory"]
RETRIES = 2  # times that a run that raised may be begun again
REASON_LENGTH = 400  # characters of a failure on the screen and in MLflow

# By name, for torch's and Ray's errors are not imported here.
KINDS: dict[str, Kind] = {
    "Diverged": "diverged",
    "NotEnoughMemory": "out of memory",
    "OutOfMemoryError": "out of memory",  # torch's, and Ray's where it ends a process
    "MemoryError": "out of memory",
}
# What is left of an error that came as text out of another process, and what torch has no error of its own for.
SIGNS: dict[str, Kind] = {
    **{f"[Errno {number}]": "disk full" for number in (errno.ENOSPC, errno.EDQUOT)},
    "No space left on device": "disk full",
    "Disk quota exceeded": "disk full",
    "CUDA out of memory": "out of memory",
    "DefaultCPUAllocator: can't allocate memory": "out of memory",
}


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
        kind = kind_of(error)
        said = redacted(" ".join(str(error).split())) or "no message"
        reason = said if kind == "diverged" else f"{type(error).__name__}: {said}"
        return cls(kind, reason if len(reason) <= REASON_LENGTH else f"{reason[:REASON_LENGTH]} …")

    def told(self) -> dict[str, Any]:
        """As a trial reports it to the driver."""
        return {"failure": self.reason, "kind": self.kind}


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
    What diverged would diverge again, and a full disk is a person's to mend.
    """
    if kind == "out of memory":
        return Verdict.GIVE_UP if recomputes else Verdict.RECOMPUTE
    *_, before, now = reached
    failures = len(reached) - 1
    if kind in ("diverged", "disk full") or failures > RETRIES or now <= before:
        return Verdict.GIVE_UP
    return Verdict.AGAIN
