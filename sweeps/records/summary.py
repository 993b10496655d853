"""What the runs of a row say together: mean, spread, n and interval of every final metric. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Spread:
    """Several runs' values of one metric: mean, standard deviation, and the 95 % interval of the mean (Student t)."""

    n: int
    mean: float
    sd: float | None = None  # None for one run, which says nothing of a spread
    low: float | None = None
    high: float | None = None


def spread(values: Sequence[float]) -> Spread:
    """Of one value or more. Sums are exact, so that the order of the runs cannot move the last digit."""
    n, mean = len(values), math.fsum(values) / len(values)
    if n < 2:
        return Spread(n, mean)
    from scipy import stats

    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, df=n - 1)) * math.sqrt(variance / n)
    return Spread(n, mean, math.sqrt(variance), mean - half, mean + half)


def summarised(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The final metrics of a row's runs, as metrics of the row: under each name its mean, and .sd .n .low .high."""
    found: dict[str, float] = {}
    for name in sorted({name for run in runs for name in run}):
        values = [run[name] for run in runs if name in run and math.isfinite(run[name])]
        if not values:
            continue
        one = spread(values)
        found |= {name: one.mean, f"{name}.n": float(one.n)}
        if one.sd is not None and one.low is not None and one.high is not None:
            found |= {f"{name}.sd": one.sd, f"{name}.low": one.low, f"{name}.high": one.high}
    return found


def cell_name(row: str, rows: Sequence[str]) -> str:
    """A row's name as a metric of its campaign, in the letters that MLflow takes; unique among the rows."""
    words = {name: " ".join(re.sub(r"[^\w\-. :/]+", " ", name, flags=re.ASCII).split()) or "row" for name in rows}
    same = [name for name in rows if words[name] == words[row]]
    return words[row] if len(same) == 1 else f"{words[row]} {same.index(row) + 1}"
