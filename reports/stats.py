"""Mean and intervals. Two kinds, never mixed: over seeds (Student t), and of the test set (Wilson, binomial).

The first says how far another seed would move the mean; the second how far another draw of test puzzles would move
one run. Neither holds the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from sweeps.records.summary import CONFIDENCE, spread


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, both ends as fractions."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of its length: what stands behind ±."""
        return (self.high - self.low) / 2


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean, summed exactly, so that the order of the seeds cannot move the last digit."""
    return math.fsum(values) / len(values)


def seed_interval(values: Sequence[float]) -> Interval | None:
    """Student t 95 % interval of the mean over seeds; None for fewer than two seeds, which say nothing of a spread.

    Not cut at 0 and 1: with few seeds it may pass them, and hiding that would make the interval look sharper.
    """
    found = spread(values) if values else None
    return None if found is None or found.low is None or found.high is None else Interval(found.low, found.high)


def test_set_interval(accuracy: float, puzzles: int) -> Interval:
    """Wilson 95 % interval of an accuracy [0..1] measured on so many puzzles, each solved or not.

    For a row of several seeds: at their mean accuracy, for one run. The seeds share their test puzzles, so counting
    each puzzle once per seed would claim more puzzles than there are.
    """
    z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
    shrink = 1 + z * z / puzzles
    centre = (accuracy + z * z / (2 * puzzles)) / shrink
    half = z / shrink * math.sqrt(accuracy * (1 - accuracy) / puzzles + z * z / (4 * puzzles * puzzles))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))
