"""A study with every row tuned alike, as data: each row as published and at its own best settings. No library, no I/O.

The settings were chosen on validation; what is compared here are test scores, which have chosen nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import NamedTuple

from sweeps.pruning import Value
from sweeps.records.summary import Spread, spread
from sweeps.search_record import Confirmed, SearchRecord, Trial


@dataclass(frozen=True)
class TunedRow:
    """One row of the study. Scores by seed, in the metric's own unit."""

    name: str
    search: SearchRecord  # its trials; confirmed: the best of them at the asked seeds
    settings: Mapping[str, Value]  # as published, of what was searched
    published: Mapping[int, float]  # test, as published
    test: Mapping[int, float]  # test, at its own best settings
    flops: float = 0.0  # of one run as published, in training; a trial's steps are as many

    @property
    def chosen(self) -> Trial | None:
        """The best trial on validation; None where none is complete."""
        return self.search.front[0] if self.search.front else None

    @property
    def fresh(self) -> Confirmed | None:
        """The chosen settings at seeds that the search has not seen; None before these are finished."""
        return next((one for one in self.search.confirmed if self.chosen and one.trial == self.chosen.number), None)

    @cached_property
    def as_published(self) -> Spread | None:
        """Over the seeds."""
        return spread(list(self.published.values())) if self.published else None

    @cached_property
    def tuned(self) -> Spread | None:
        """Over the seeds."""
        return spread(list(self.test.values())) if self.test else None

    @cached_property
    def gain(self) -> Spread | None:
        """Tuned minus published, seed by seed, over those that both have."""
        both = sorted(self.published.keys() & self.test.keys())
        return spread([self.test[seed] - self.published[seed] for seed in both]) if both else None


class Swap(NamedTuple):
    """Two rows whose order is another one when all are tuned alike."""

    above: str  # as published
    below: str
    is_clear: bool  # in both tables the intervals are apart


@dataclass(frozen=True)
class TuningRecord:
    """A tuned study as it stands."""

    study: str
    search: str
    title: str
    profile: str
    metric: str  # "test/exact_accuracy"
    objective: str  # "validation/exact_accuracy"
    trials: int  # that every row was given
    seeds: tuple[int, ...]  # at which both tables are made
    rows: tuple[TunedRow, ...]  # in the study's order
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def compared(self) -> tuple[TunedRow, ...]:
        """The rows that have both numbers."""
        return tuple(row for row in self.rows if row.as_published and row.tuned)

    def order(self, score: Callable[[TunedRow], Spread | None]) -> tuple[str, ...]:
        """The compared rows, best first; of equal ones the first in the study."""
        means = {row.name: found.mean for row in self.compared if (found := score(row)) is not None}
        return tuple(sorted(means, key=lambda name: -means[name]))

    @cached_property
    def swaps(self) -> tuple[Swap, ...]:
        """The pairs of which the one is above as published, and the other when tuned; equal means are in no order."""
        return tuple(
            Swap(one.name, other.name, _apart(one.as_published, other.as_published) and _apart(other.tuned, one.tuned))
            for one, other in permutations(self.compared, 2)
            if _is_above(one.as_published, other.as_published) and _is_above(other.tuned, one.tuned)
        )


def _is_above(one: Spread | None, other: Spread | None) -> bool:
    return one is not None and other is not None and one.mean > other.mean


def _apart(one: Spread | None, other: Spread | None) -> bool:
    """Whether the whole interval of the first is above that of the second."""
    if one is None or other is None or one.low is None or other.high is None:
        return False
    return one.low > other.high
