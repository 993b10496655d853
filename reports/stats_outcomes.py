"""What the test set leaves open, from each puzzle's outcome: two rows are compared on the puzzles that they share.

An outcome array is [runs, puzzles]: 1 solved, 0 not. For ARC a puzzle is a task (by_task), solved to a share [0..1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of

from reports.stats import Interval
from sweeps.records.summary import CONFIDENCE

Outcomes = NDArray[np.float64]
MOST_PATTERNS = 4096  # of outcomes over the runs; more than that are of many more puzzles still
FEW = 25  # discordant puzzles below which McNemar's test is the exact one


class NotPaired(ValueError):
    """Outcomes of two rows that are not of the same puzzles, or of none."""


@dataclass(frozen=True)
class Parts:
    """One row's accuracy less another's, and its standard error from each source. Fractions."""

    difference: float
    seeds: float | None  # of other seeds on these puzzles; None unless both rows have two runs or more
    puzzles: float  # of other puzzles for these runs, paired


@dataclass(frozen=True)
class McNemar:
    """Two checkpoints on the same puzzles; it says nothing of the recipes that they were trained by."""

    only_first: int  # puzzles that the first alone solves
    only_second: int
    p: float


def parts(first: ArrayLike, second: ArrayLike) -> Parts:
    """Where the doubt about a difference comes from. Raises NotPaired.

    Seeds and puzzles are crossed: of the puzzles' variance what is noise of single runs is taken off, since the seeds'
    variance holds it already.
    """
    a, b = _paired(first, second)
    n_puzzles = a.shape[1]
    by_puzzle = a.mean(axis=0) - b.mean(axis=0)
    puzzles = float(by_puzzle.var(ddof=1)) / n_puzzles
    seeds: float | None = None
    if len(a) > 1 and len(b) > 1:
        seeds = sum(float(one.mean(axis=1).var(ddof=1)) / len(one) for one in (a, b))
        puzzles -= sum(_noise(one) / (len(one) * n_puzzles) for one in (a, b))
    return Parts(float(by_puzzle.mean()), None if seeds is None else math.sqrt(seeds), math.sqrt(max(0.0, puzzles)))


def _noise(one: Outcomes) -> float:
    """The variance of what is neither a run's nor a puzzle's own: the mean square of the interaction."""
    left = one - one.mean(axis=0) - one.mean(axis=1, keepdims=True) + one.mean()
    df: int = (one.shape[0] - 1) * (one.shape[1] - 1)
    return float((left**2).sum()) / df


def paired_interval(first: ArrayLike, second: ArrayLike) -> Interval:
    """95 % interval that the test set alone leaves to the difference of these very runs. Raises NotPaired."""
    a, b = _paired(first, second)
    by_puzzle = a.mean(axis=0) - b.mean(axis=0)
    error = float(by_puzzle.std(ddof=1)) / math.sqrt(len(by_puzzle))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(by_puzzle) - 1)) * error
    centre = float(by_puzzle.mean())
    return Interval(centre - half, centre + half)


def two_way_bootstrap(
    first: ArrayLike, second: ArrayLike, rng: np.random.Generator, times: int = 10_000
) -> tuple[Interval, float]:
    """A check on the tests: seeds of each row and puzzles of both drawn again, (percentile 95 % interval, its sd).

    With few seeds the interval is too short (3 seeds: a true null is rejected about one time in five), so it never
    decides. Puzzles with one pattern of outcomes are drawn together, so its time does not grow with the test set's
    size; where the patterns are too many for that, the mean over so many puzzles is drawn as the normal that it is.
    Raises NotPaired.
    """
    a, b = _paired(first, second)
    outcomes = np.concatenate([a, b])
    n_puzzles = outcomes.shape[1]
    patterns, counts = np.unique(outcomes, axis=1, return_counts=True)
    if len(counts) <= MOST_PATTERNS:
        drawn = rng.multinomial(n_puzzles, counts / n_puzzles, size=times) / n_puzzles  # [times, patterns]
        of_run = drawn @ patterns.T  # [times, runs]: each run's accuracy on the puzzles drawn
    else:
        of_run = rng.multivariate_normal(outcomes.mean(axis=1), np.cov(outcomes, ddof=0) / n_puzzles, size=times)
    sides = []
    for runs in (of_run[:, : len(a)], of_run[:, len(a) :]):
        again = rng.integers(runs.shape[1], size=runs.shape)
        sides.append(np.take_along_axis(runs, again, axis=1).mean(axis=1))
    differences = sides[0] - sides[1]
    low, high = np.quantile(differences, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high)), float(differences.std(ddof=1))


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Whether of two named checkpoints one solves more, [puzzles] each, 0 or 1. Raises NotPaired.

    For checkpoints alone: between recipes it takes one seed's luck for the recipe's (a true null is rejected 96 times
    in 100 where seeds differ by 1.3 points).
    """
    a, b = _paired([np.asarray(first)], [np.asarray(second)])
    if not np.isin(np.concatenate([a, b]), (0, 1)).all():
        raise NotPaired("McNemar's test takes outcomes of 0 and 1; ARC's tasks may be solved by half")
    x, y = a[0].astype(bool), b[0].astype(bool)
    table = [[int((x & y).sum()), only_x := int((x & ~y).sum())], [only_y := int((~x & y).sum()), int((~x & ~y).sum())]]
    if only_x + only_y == 0:
        return McNemar(0, 0, 1.0)
    found = mcnemar_of(table, exact=only_x + only_y < FEW, correction=True)
    return McNemar(only_x, only_y, float(found.pvalue))


def by_task(outcomes: ArrayLike, tasks: Sequence[str]) -> Outcomes:
    """ARC: the share of each task's test inputs that is solved. [runs, inputs] → [runs, tasks], tasks sorted."""
    solved = np.asarray(outcomes, dtype=np.float64)
    names, which = np.unique(np.array(tasks), return_inverse=True)
    if solved.ndim != 2 or solved.shape[1] != len(tasks):
        raise NotPaired(f"outcomes of shape {solved.shape}, expected [runs, {len(tasks)}]: a column per test input")
    sums = [np.bincount(which, weights=run, minlength=len(names)) for run in solved]
    return np.array(sums) / np.bincount(which)


def _paired(first: ArrayLike, second: ArrayLike) -> tuple[Outcomes, Outcomes]:
    a, b = (np.asarray(one, dtype=np.float64) for one in (first, second))
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise NotPaired(f"outcomes of shapes {a.shape} and {b.shape}, expected [runs, puzzles] of the same puzzles")
    if a.shape[0] < 1 or b.shape[0] < 1 or a.shape[1] < 2:
        raise NotPaired(f"outcomes of shapes {a.shape} and {b.shape}, expected a run or more and two puzzles or more")
    for one in (a, b):
        if not (np.isfinite(one).all() and one.min() >= 0 and one.max() <= 1):
            raise NotPaired("an outcome is no number in 0..1: the file is not one of outcomes")
    return a, b
