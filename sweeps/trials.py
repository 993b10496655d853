"""What a search has proposed and what became of it, as data: results of runs, trials, and what a trial may know.

No Optuna here: pruning and reports read trials without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NamedTuple

from sweeps.search_spec import Params

State = Literal["running", "complete", "pruned", "failed"]


@dataclass(frozen=True)
class Result:
    """How a run has ended; or a trial: the mean of its runs."""

    state: State
    values: tuple[float, ...] = ()  # of the objectives, in their order, where it is complete
    curve: Mapping[int, float] = field(default_factory=dict)  # step → the objective, where there is one
    pruning_curve: Mapping[int, float] = field(default_factory=dict)  # step → what pruning looks at
    why: str = ""  # it failed


@dataclass(frozen=True)
class Trial:
    """A proposal as the storage has it, and what became of it."""

    number: int
    params: Params
    keys: tuple[str, ...]  # of its runs, one per seed; none where its settings contradict each other
    state: State = "running"
    values: tuple[float, ...] = ()  # of one that was pruned: its last
    curve: Mapping[int, float] = field(default_factory=dict)
    pruning_curve: Mapping[int, float] = field(default_factory=dict)
    why: str = ""  # it failed
    began: datetime | None = None
    ended: datetime | None = None


class Proposal(NamedTuple):
    """What is to be run now."""

    number: int
    params: Params
    keys: tuple[str, ...]  # of its runs, in the order of the seeds
    to_run: tuple[str, ...]  # those of them that no one has run or is running


def known_to(number: int, trials: Iterable[Trial], lag: int) -> tuple[Trial, ...]:
    """What trial `number` may know: results up to number - lag; of later ones only that they are under way."""
    return tuple(
        trial if trial.number <= number - lag else Trial(trial.number, trial.params, trial.keys)
        for trial in trials
        if trial.number < number
    )


def mean_of(results: Sequence[Result]) -> Result:
    """A trial's result from those of its runs: failed if one is, else pruned if one is, else the mean of each value.

    The curves: means at the steps that every run has come to.
    """
    states = {result.state for result in results}
    state: State = "failed" if "failed" in states else "pruned" if "pruned" in states else "complete"
    values = [result.values for result in results] if state == "complete" else []
    return Result(
        state,
        tuple(_mean(of_one) for of_one in zip(*values, strict=True)),
        _mean_curve([result.curve for result in results]),
        _mean_curve([result.pruning_curve for result in results]),
        next((result.why for result in results if result.why), ""),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_curve(curves: Sequence[Mapping[int, float]]) -> dict[int, float]:
    shared = set(curves[0]).intersection(*curves[1:])
    return {step: _mean([curve[step] for curve in curves]) for step in sorted(shared)}
