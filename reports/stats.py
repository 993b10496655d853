"""What seeds and a test set leave open: intervals, differences and their tests. Pure, and knows no study.

Two kinds of doubt, never mixed: how far another seed would move a mean (Student t; here), and how far another draw of
test puzzles would move one run (Wilson here, from the puzzles' outcomes in reports.stats_outcomes). Three seeds tell
little of a row's own spread, so the variance is pooled over the rows of a table that share a test set.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
from scipy import special, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from sweeps.records.summary import CONFIDENCE

LEVEL = 1 - CONFIDENCE  # chance of a false difference among all that are tested together
NEAR = 0.1  # a mean accuracy this near 0 or 1 has a smaller spread than one in the middle

Scale = Literal["points", "logit", "apart"]
SCALES: Mapping[Scale, str] = {
    "points": "pooled over the rows",
    "logit": "pooled over the rows on the logit scale",
    "apart": "each row's own (Welch)",
}


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, both ends as fractions."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of its length: what stands behind ±."""
        return (self.high - self.low) / 2

    def holds(self, value: float, tolerance: float = 0.0) -> bool:
        """Whether the value lies in it, or no further outside than the tolerance."""
        return self.low - tolerance <= value <= self.high + tolerance


@dataclass(frozen=True)
class Difference:
    """One row's mean less another's, tested. Accuracies as fractions."""

    row: str
    other: str
    mean: float
    p: float  # two sides, adjusted for all that were tested together
    by: str  # the test: "Dunnett"
    interval: Interval | None = None  # simultaneous 95 %; None on the logit scale, whose differences are no points

    @property
    def is_real(self) -> bool:
        """Whether chance alone is an unlikely reason."""
        return self.p < LEVEL


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean, summed exactly, so that the order of the seeds cannot move the last digit."""
    return math.fsum(values) / len(values)


def variance(values: Sequence[float]) -> float:
    """The sample variance, of two values or more."""
    centre = mean(values)
    return math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1)


def test_set_interval(accuracy: float, puzzles: int) -> Interval:
    """Wilson 95 % interval of an accuracy [0..1] measured on so many puzzles, each solved or not.

    For a row of several seeds: at their mean accuracy, for one run. The seeds share their test puzzles, so counting
    each puzzle once per seed would claim more puzzles than there are.
    """
    low, high = proportion_confint(accuracy * puzzles, puzzles, alpha=LEVEL, method="wilson")
    return Interval(max(0.0, float(low)), min(1.0, float(high)))


# --- seeds -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pool:
    """The seeds of all rows that share a test set, and on what scale their variance is one.

    rows: name → a value per seed, all finite, at least one each. are_fractions: accuracies [0..1]; else nats.
    """

    rows: Mapping[str, tuple[float, ...]]
    are_fractions: bool = True

    @cached_property
    def scale(self) -> Scale:
        """Points, unless rows near 0 or 1, or Levene's test, speak against one variance; then logit; else apart."""
        if self.df == 0:
            return "points"
        rows = [self.rows[name] for name in self._spread]
        near = self.are_fractions and any(not NEAR <= mean(values) <= 1 - NEAR for values in rows)
        if not near and not _unequal(rows):
            return "points"
        inside = all(0 < value < 1 for values in self.rows.values() for value in values)
        if self.are_fractions and inside and not _unequal(_logits(values) for values in rows):
            return "logit"
        return "apart"

    @property
    def df(self) -> int:
        """Degrees of freedom of the pooled variance: 0 where no row has a second seed."""
        return sum(len(self.rows[name]) - 1 for name in self._spread)

    @cached_property
    def _spread(self) -> tuple[str, ...]:
        """Rows that have a spread to tell of: not those that solve nothing, or everything, with every seed."""
        floor, ceiling = (0.0, 1.0) if self.are_fractions else (-math.inf, math.inf)
        return tuple(name for name, values in self.rows.items() if set(values) not in ({floor}, {ceiling}))

    @cached_property
    def homogeneity(self) -> float | None:
        """Levene's p on the scale in use, for the null that all rows have one variance; None where it says nothing."""
        return levene([self._scaled(name) for name in self._spread])

    def sd(self, name: str) -> float | None:
        """A row's standard deviation over seeds on the scale in use, and pooled unless that is "apart"."""
        values = self._scaled(name)
        if self.scale == "apart" or name not in self._spread:
            return math.sqrt(variance(values)) if len(values) > 1 else None
        if self.df == 0:
            return None
        squares = [(len(v) - 1) * variance(v) for v in map(self._scaled, self._spread) if len(v) > 1]
        return math.sqrt(math.fsum(squares) / self.df)

    def sd_in_points(self, name: str) -> float | None:
        """The same as a fraction of the test set, at the row's mean."""
        sd = self.sd(name)
        if sd is None or self.scale != "logit":
            return sd
        accuracy = mean(self.rows[name])
        return sd * accuracy * (1 - accuracy)  # the logit's slope is 1 / (p (1 - p))

    def interval(self, name: str) -> Interval | None:
        """95 % interval of a row's mean over seeds: t·s/√n. None where no spread is known.

        On the scale of points it is not cut at 0 and 1: hiding that it passes them would make it look sharper.
        """
        return self._around(name, 1 / len(self.rows[name]))

    def prediction(self, name: str, test_variance: float = 0.0) -> Interval | None:
        """Where one more run of this row lies with 95 %: t·s·√(1 + 1/n). None where no spread is known.

        test_variance: of the accuracy (a fraction squared), where that run has other test puzzles.
        """
        return self._around(name, 1 + 1 / len(self.rows[name]), test_variance)

    def _around(self, name: str, runs: float, test_variance: float = 0.0) -> Interval | None:
        sd, centre = self.sd(name), mean(self.rows[name])
        if sd is None:
            return None
        df = len(self.rows[name]) - 1 if self.scale == "apart" else max(1, self.df)
        t = float(stats.t.ppf((1 + CONFIDENCE) / 2, df))
        if self.scale == "logit":
            slope = 1 / (centre * (1 - centre))
            half = t * math.sqrt(sd**2 * runs + test_variance * slope**2)
            middle = float(special.logit(centre))
            return Interval(float(special.expit(middle - half)), float(special.expit(middle + half)))
        half = t * math.sqrt(sd**2 * runs + test_variance)
        return Interval(centre - half, centre + half)

    def against(self, baseline: str, *, with_intervals: bool = True) -> tuple[Difference, ...]:
        """Every other row less the baseline: Dunnett's test; t with Holm's correction where not all share a variance.

        Empty where no spread is known, or no row to compare. Dunnett's intervals take longer than his test.
        """
        others = [name for name in self.rows if name != baseline]
        if not others or self.df == 0:
            return ()
        if not self._is_dunnetts:
            return self.pairs([(name, baseline) for name in others])
        found = self._dunnett(others, baseline, "two-sided", with_intervals=with_intervals)
        return tuple(
            Difference(name, baseline, self._gap(name, baseline), p, "Dunnett", interval)
            for name, (p, interval) in zip(others, found, strict=True)
        )

    def pairs(self, planned: Sequence[tuple[str, str]]) -> tuple[Difference, ...]:
        """Planned pairs of this pool, (row, other), as planned_pairs."""
        return planned_pairs([(self, row, other) for row, other in planned])

    def among_the_best(self) -> frozenset[str]:
        """Rows that are not significantly below the best one. Empty where no spread is known.

        Multiple comparisons with the best (Hsu 1984): Dunnett's one-sided test, the row of the best mean as control.
        """
        if self.df == 0:
            return frozenset()
        best = max(self.rows, key=lambda name: mean(self.rows[name]))
        others = [name for name in self.rows if name != best]
        if not others:
            return frozenset(self.rows)
        if not self._is_dunnetts:
            below = {one.row for one in self.pairs([(name, best) for name in others]) if one.p / 2 < LEVEL}
        else:
            found = self._dunnett(others, best, "less", with_intervals=False)
            below = {name for name, (p, _) in zip(others, found, strict=True) if p < LEVEL}
        return frozenset(self.rows) - below

    @property
    def _is_dunnetts(self) -> bool:
        """Whether all rows share one variance, as Dunnett's test has it."""
        return self.scale != "apart" and len(self._spread) == len(self.rows)

    def _scaled(self, name: str) -> tuple[float, ...]:
        values = self.rows[name]
        return _logits(values) if self.scale == "logit" else values

    def _gap(self, row: str, other: str) -> float:
        return mean(self.rows[row]) - mean(self.rows[other])

    def _dunnett(
        self, others: Sequence[str], control: str, alternative: Literal["two-sided", "less"], *, with_intervals: bool
    ) -> list[tuple[float, Interval | None]]:
        """p and the simultaneous interval of each. The same numbers give the same p: its generator has a seed."""
        if self.sd(control) == 0:  # no seed moved anything: what differs, differs
            gaps = [self._gap(name, control) for name in others]
            return [(float(gap == 0 or (alternative == "less" and gap > 0)), Interval(gap, gap)) for gap in gaps]
        samples = [np.array(self._scaled(name)) for name in others]
        with warnings.catch_warnings():
            # a row whose seeds are all alike has a variance of exactly 0, and its part in the pooled one is that
            warnings.filterwarnings("ignore", "Precision loss occurred", RuntimeWarning)
            found = stats.dunnett(
                *samples, control=np.array(self._scaled(control)), alternative=alternative, rng=np.random.default_rng(0)
            )
        p = [float(value) for value in np.atleast_1d(found.pvalue)]
        if not with_intervals or self.scale == "logit":
            return [(value, None) for value in p]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                ends = found.confidence_interval(CONFIDENCE)
            except UserWarning:  # scipy's search for the critical value did not get there
                return [(value, None) for value in p]
        return [(value, Interval(float(a), float(b))) for value, a, b in zip(p, ends.low, ends.high, strict=True)]

    def _t(self, row: str, other: str) -> _T | None:
        """Of one pair: p of two sides, standard error and degrees of freedom."""
        a, b = self._scaled(row), self._scaled(other)
        first, second = self.sd(row), self.sd(other)
        if first is None or second is None:
            return None
        parts = first**2 / len(a), second**2 / len(b)
        error, gap = math.sqrt(sum(parts)), mean(a) - mean(b)
        if error == 0:
            return _T(float(gap == 0), 0.0, 1)
        df: float = self.df
        if self.scale == "apart":  # Welch and Satterthwaite
            df = error**4 / (parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
        return _T(2 * float(stats.t.sf(abs(gap) / error, df)), error, df)


class _T(NamedTuple):
    p: float
    error: float
    df: float


def planned_pairs(planned: Sequence[tuple[Pool, str, str]]) -> tuple[Difference, ...]:
    """Planned pairs, (pool, row, other): t with the pooled variance, or Welch's, with Holm's correction over all pairs.

    A pair of which no spread is known is left out. Intervals are Bonferroni's.
    """
    told = [(*pair, found) for pair in planned if (found := pair[0]._t(*pair[1:])) is not None]
    if not told:
        return ()
    differences = []
    adjusted = multipletests([found.p for *_, found in told], method="holm")[1]
    for (pool, row, other, found), p in zip(told, adjusted, strict=True):
        gap = pool._gap(row, other)
        half = float(stats.t.isf(LEVEL / len(told) / 2, found.df)) * found.error
        interval = None if pool.scale == "logit" else Interval(gap - half, gap + half)
        by = "Welch, Holm" if pool.scale == "apart" else "pooled t, Holm"
        differences.append(Difference(row, other, gap, float(p), by, interval))
    return tuple(differences)


def levene(rows: Sequence[Sequence[float]]) -> float | None:
    """Levene's p for one variance in all rows (about the median: Brown and Forsythe).

    None where it says nothing: fewer than two rows of three seeds or more, or nothing varies in any.
    """
    repeated = [values for values in rows if len(values) > 2]
    if len(repeated) < 2 or all(len(set(values)) == 1 for values in repeated):
        return None
    return float(stats.levene(*repeated, center="median").pvalue)


def _unequal(rows: Iterable[Sequence[float]]) -> bool:
    p = levene(list(rows))
    return p is not None and p < LEVEL


def _logits(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in special.logit(np.array(values)))


# --- two seeds -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Apart:
    """The spread over train.seed on the same puzzles, and over data.seed, each as a standard deviation."""

    train: float | None  # None: no draw of puzzles has a second run
    data: float | None  # None: no row has a second draw of puzzles


def spread_apart(rows: Sequence[Mapping[tuple[int, int], float]]) -> Apart:
    """What each of the two seeds does to a run: variance components, pooled over the rows.

    rows: (data seed, train seed) → value. One-way analysis of variance by draw of the puzzles (method of moments).
    """
    within, between, sizes = 0.0, 0.0, 0.0
    within_df = between_df = 0
    for row in rows:
        draws: dict[int, list[float]] = {}
        for (draw, _), value in row.items():
            draws.setdefault(draw, []).append(value)
        if not row:
            continue
        centre, count = mean(list(row.values())), len(row)
        within += math.fsum((len(d) - 1) * variance(d) for d in draws.values() if len(d) > 1)
        within_df += count - len(draws)
        between += math.fsum(len(d) * (mean(d) - centre) ** 2 for d in draws.values())
        between_df += len(draws) - 1
        sizes += count - sum(len(d) ** 2 for d in draws.values()) / count
    train = within / within_df if within_df else None
    if between_df == 0:
        return Apart(None if train is None else math.sqrt(train), None)
    noise = train or 0.0  # one run a draw: what training adds cannot be told from it, and stays in
    data = max(0.0, (between / between_df - noise) / (sizes / between_df))
    return Apart(None if train is None else math.sqrt(train), math.sqrt(data))


def units(row: Mapping[tuple[int, int], float]) -> tuple[float, ...]:
    """A row's independent values: its runs; where several draws of puzzles were made, each draw's mean.

    row: (data seed, train seed) → value. Runs on the same puzzles share what those puzzles do.
    """
    draws: dict[int, list[float]] = {}
    for (data, _), value in sorted(row.items()):
        draws.setdefault(data, []).append(value)
    return (
        tuple(row[key] for key in sorted(row)) if len(draws) < 2 else tuple(mean(values) for values in draws.values())
    )
