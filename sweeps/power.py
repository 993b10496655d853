"""How many seeds separate what: the power of the test that a report makes, before anything has run. Pure functions.

The test: each row's mean over its seeds against the baseline's, the seeds' variance pooled over the study's rows, two
sides, and a level of 5 % shared by the comparisons (Bonferroni; Holm's order, which the report uses, can only do
better). Whether a row's true difference is found is then a question to the noncentral t distribution.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from sweeps.records.types import RunRecord

LEVEL = 0.05  # chance of a false verdict anywhere in a table
POWER = 0.8  # chance that a difference of the size named is found
ASSUMED_SD = 1.3  # points: four seeds of another reproduction of TRM-MLP on Sudoku-Extreme (85.5 ± 1.3 %)
MOST_SEEDS = 10_000


def power(points: float, n_rows: int, seeds: int, sd: float) -> float:
    """The chance [0..1] that a row which is truly so many points from the baseline is told from it.

    n_rows: the baseline among them, 2 or more. seeds: of each row. sd: of one row over seeds, in points.
    """
    from scipy import stats

    df = n_rows * (seeds - 1)
    if df < 1:
        return 0.0  # one seed has no spread
    shift = points / (sd * math.sqrt(2 / seeds))
    least = float(stats.t.isf(LEVEL / (n_rows - 1) / 2, df))
    found = float(stats.nct.sf(least, df, shift) + stats.nct.cdf(-least, df, shift))
    return found if math.isfinite(found) else float(stats.norm.sf(least - shift))  # scipy's nct gives up at the end


def separates(n_rows: int, seeds: int, sd: float) -> float:
    """The least difference in points that so many seeds of each row find with POWER; infinite for one seed."""
    if n_rows < 2 or n_rows * (seeds - 1) < 1:
        return math.inf
    low, high = 0.0, sd
    while power(high, n_rows, seeds, sd) < POWER:
        low, high = high, 2 * high
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle, n_rows, seeds, sd) >= POWER else (middle, high)
    return high


def seeds_to_separate(points: float, n_rows: int, sd: float) -> int | None:
    """The least number of seeds of each row that find so many points with POWER; None above MOST_SEEDS."""
    low, high = 1, 2
    while power(points, n_rows, high, sd) < POWER:
        if high >= MOST_SEEDS:
            return None
        low, high = high, min(2 * high, MOST_SEEDS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(points, n_rows, middle, sd) >= POWER else (middle, high)
    return high


def seed_sd(records: Iterable[RunRecord], metric: str) -> tuple[float, str]:
    """A row's spread over seeds in points, and where it is known from.

    Pooled over the rows of which two seeds or more are finished, where there are two such rows; else ASSUMED_SD.
    records: of one campaign, one per row and seed. metric: a fraction, "test/exact_accuracy".
    """
    rows: dict[str, list[float]] = {}
    for record in records:
        if record.status == "FINISHED" and math.isfinite(value := record.metrics.get(metric, math.nan)):
            rows.setdefault(record.row, []).append(100 * value)
    repeated = [values for values in rows.values() if len(values) > 1]
    pooled = _pooled_sd(repeated) if len(repeated) > 1 else 0.0
    if pooled > 0:
        return pooled, f"pooled over the seeds of {len(repeated)} finished rows"
    return ASSUMED_SD, "four seeds of another reproduction on Sudoku-Extreme"


def _pooled_sd(rows: Sequence[Sequence[float]]) -> float:
    squares = sum((len(values) - 1) * statistics.variance(values) for values in rows)
    return math.sqrt(squares / sum(len(values) - 1 for values in rows))


def in_words(n_rows: int, seeds: int, sd: float, source: str, points: Sequence[float] = (5, 3, 1.3)) -> str:
    """What the seeds of a plan separate, and how many it would take for more; nothing where there is one row."""
    if n_rows < 2:
        return ""
    compared = f"{n_rows} rows, {n_rows - 1} compared with the baseline at 5 % in all"
    spread = f"spread over seeds {sd:.2g} points ({source})"
    smallest = separates(n_rows, seeds, sd)
    now = (
        "One seed of each row separates nothing: it has no spread."
        if seeds < 2
        else f"{seeds} seeds of each row separate {smallest:.2g} points from the baseline, four times in five."
    )
    needed = {each: seeds_to_separate(each, n_rows, sd) for each in points}
    wanted = [(f"{each:g}", str(n)) for each, n in needed.items() if n is not None and n > seeds]
    if not wanted:
        return f"{now} ({compared}; {spread})"
    differences, numbers = ([pair[part] for pair in wanted] for part in (0, 1))
    return f"{now} For {_listed(differences)} points: {_listed(numbers)} seeds. ({compared}; {spread})"


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words)
