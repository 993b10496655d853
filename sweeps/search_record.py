"""What a search has found, as data: its trials, which are best, and what fresh seeds said of them. No library, no I/O.

Selection never sees the test set: trials carry no test value, and that of a confirmed one decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Literal

from sweeps.pruning import Curve, Direction, Value
from sweeps.records.summary import Spread, spread

State = Literal["COMPLETE", "PRUNED", "FAIL", "RUNNING"]  # Optuna's words
STATES: tuple[State, ...] = ("COMPLETE", "PRUNED", "FAIL", "RUNNING")


@dataclass(frozen=True)
class Objective:
    """What a search optimises."""

    metric: str  # "validation/exact_accuracy"
    direction: Direction

    @property
    def sign(self) -> int:
        """What makes the less the better."""
        return 1 if self.direction == "minimize" else -1


@dataclass(frozen=True)
class Axis:
    """What a setting may be: a range, ends included, or one of some choices."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: int = 0  # of whole numbers; 0: every number
    choices: tuple[Value, ...] = ()  # instead of the range
    setting: str = ""  # what it sets, where its name is another


@dataclass(frozen=True)
class Trial:
    """One proposal and what became of it."""

    number: int
    state: State
    params: Mapping[str, Value]  # where the space has conditions, not all of its names
    values: tuple[float, ...] = ()  # of each objective, where it is COMPLETE; the mean over its seeds
    curve: Curve = field(default_factory=dict)  # of what pruning looks at
    keys: tuple[str, ...] = ()  # its runs
    started: datetime | None = None
    ended: datetime | None = None
    reason: str = ""  # why it failed

    @property
    def reached(self) -> int | None:
        """The last step that it has measured."""
        return max(self.curve, default=None)


@dataclass(frozen=True)
class Confirmed:
    """One of the best trials again, with seeds that the search has not seen. Values by seed, first objective."""

    trial: int
    seeds: tuple[int, ...]
    validation: tuple[float, ...]
    test: tuple[float, ...] = ()  # looked at once, when the search had ended


@dataclass(frozen=True)
class SearchRecord:
    """A search as it stands."""

    name: str
    profile: str
    objectives: tuple[Objective, ...]
    space: tuple[Axis, ...]
    trials: tuple[Trial, ...]  # by number, without gaps
    confirmed: tuple[Confirmed, ...] = ()
    test_metric: str = ""  # of Confirmed.test
    curve_metric: str = ""  # of Trial.curve
    title: str = ""
    facts: tuple[tuple[str, str], ...] = ()  # ("Base row", "TRM k=3, T=3"), for the page
    notes: tuple[str, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The settings that were searched, in the space's order."""
        return tuple(dict.fromkeys([*(one.name for one in self.space), *(n for t in self.trials for n in t.params)]))

    @cached_property
    def complete(self) -> tuple[Trial, ...]:
        """The trials that have their values."""
        return tuple(trial for trial in self.trials if trial.state == "COMPLETE" and len(trial.values) > 0)

    @cached_property
    def labels(self) -> dict[str, str]:
        """Each setting's name as a column has it: its last part, "lr", where no other ends like it."""
        return _short(self.names, ".")

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Each objective's name as a column has it: "exact_accuracy"."""
        return tuple(_short([one.metric for one in self.objectives], "/").values())

    def setting(self, name: str) -> str:
        """What the dimension of this name sets."""
        return next((axis.setting for axis in self.space if axis.name == name), "") or name

    def count(self, state: State) -> int:
        """Trials of a state."""
        return sum(trial.state == state for trial in self.trials)

    def trial(self, number: int) -> Trial | None:
        """The trial of this number."""
        return next((trial for trial in self.trials if trial.number == number), None)

    def losses(self, trial: Trial) -> tuple[float, ...]:
        """Its values with the signs that make the less the better."""
        return tuple(one.sign * value for one, value in zip(self.objectives, trial.values, strict=True))

    @cached_property
    def front(self) -> tuple[Trial, ...]:
        """The best: of one objective the trials of the best value, of several those that no other one dominates."""
        return tuple(
            trial
            for trial in sorted(self.complete, key=self.losses)
            if not any(_dominates(self.losses(other), self.losses(trial)) for other in self.complete)
        )

    @cached_property
    def ranked(self) -> tuple[Trial, ...]:
        """All trials: the front, the others by the first objective, the pruned ones by how far they came, the rest."""
        front = {trial.number for trial in self.front}

        def place(trial: Trial) -> tuple[int, bool, tuple[float, ...], int]:
            values = self.losses(trial) if trial.state == "COMPLETE" else (-(trial.reached or 0),)
            return STATES.index(trial.state), trial.number not in front, values, trial.number

        return tuple(sorted(self.trials, key=place))

    @cached_property
    def chosen(self) -> Trial | None:
        """The best with fresh seeds on validation; before any is confirmed, the first of the best as searched.

        None where several objectives leave a front, or nothing is complete. The test set chooses nothing.
        """
        if len(self.objectives) != 1:
            return None
        (objective,) = self.objectives
        ranks = {trial.number: rank for rank, trial in enumerate(self.ranked)}
        fresh = {
            one.trial: objective.sign * spread(one.validation).mean
            for one in self.confirmed
            if one.validation and one.trial in ranks
        }
        if fresh:
            return self.trial(min(fresh, key=lambda number: (fresh[number], ranks[number])))
        return self.front[0] if self.front else None

    def over_promise(self, one: Confirmed) -> Spread | None:
        """By how much the search promised more than fresh seeds hold: above 0 is too much, in the metric's own unit.

        The promise is a number that was printed; the interval is that of the fresh seeds' mean. None without either.
        """
        trial = self.trial(one.trial)
        if trial is None or not trial.values or not one.validation:
            return None
        sign = -self.objectives[0].sign
        return spread([sign * (trial.values[0] - value) for value in one.validation])


def _short(names: Sequence[str], separator: str) -> dict[str, str]:
    """Each name's last part where no other ends like it, else the whole name."""
    lasts = [name.rpartition(separator)[2] for name in names]
    return {name: last if lasts.count(last) == 1 else name for name, last in zip(names, lasts, strict=True)}


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the first is nowhere worse and somewhere better; of values that are not finite none is better."""
    if not all(map(math.isfinite, one)):
        return False
    return all(a <= b for a, b in zip(one, other, strict=True)) and any(a < b for a, b in zip(one, other, strict=True))
