"""What seeds say of a row: the interval of its mean, the verdict, the baseline, the best. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reports import paper, stats
from reports.facts import tested_on
from reports.stats import Pool
from reports.types import STATUSES, SeedRun, TableRow
from reports.verdicts import Verdict, judge
from sweeps.study import Study

DID_NOT_RUN = "did not run"


def pools_of(rows: Sequence[TableRow]) -> tuple[Pool, ...]:
    """The numbers of the rows that share a test set, for each such set."""
    sets: dict[object, dict[str, tuple[float, ...]]] = {}
    for row in rows:
        if row.values:
            sets.setdefault(tested_on(row), {})[row.name] = stats.units(by_seeds(row))
    return tuple(Pool(of) for of in sets.values())


def by_seeds(row: TableRow) -> dict[tuple[int, int], float]:
    """(data seed, train seed) → accuracy [0..1] of a row's finished runs."""
    return {(run.data_seed, run.seed): run.accuracy for run in row.runs if run.accuracy is not None}


def judged(study: Study, rows: Sequence[TableRow], pools: Sequence[Pool], *, comparable: bool) -> tuple[TableRow, ...]:
    """The rows with what their seeds say: the interval of each mean, the verdict, the baseline and the best."""
    found = {row.name: replace(row, verdict=_no_number(row)) for row in rows}
    for pool in pools:
        baseline = next((name for name in study.baseline if name in pool.rows), None)
        against = {one.row: one for one in (() if baseline is None else pool.against(baseline))}
        best = pool.among_the_best() if len(pool.rows) > 1 else frozenset()
        for name in pool.rows:
            found[name] = replace(
                found[name],
                seed_interval=pool.interval(name),
                verdict=_verdict(found[name], pool, comparable=comparable and study.layout != "losses"),
                against=against.get(name),
                is_best=name in best,
            )
    return tuple(found[row.name] for row in rows)


def _no_number(row: TableRow) -> Verdict:
    if not row.runs:
        return Verdict("not run", "" if row.status == DID_NOT_RUN else row.status)
    first = speaks_for(row.runs)
    return Verdict("not comparable" if first.status == "finished" else first.status, first.reason)


def _verdict(row: TableRow, pool: Pool, *, comparable: bool) -> Verdict:
    if not comparable:
        return Verdict("not comparable")
    if not isinstance(row.paper, float):
        why = "the paper prints no number" if row.paper is None else f"{row.paper} in the paper"
        return Verdict("not comparable", why)
    published = None if row.settings is None else paper.published_test(row.settings.data)
    mean = stats.mean(pool.rows[row.name])
    ours = mean * (1 - mean) / row.puzzles if row.puzzles is not None and row.puzzles != published else 0.0
    found = judge(pool, row.name, row.paper / 100, test_variance=ours)
    lost = [run.status for run in row.runs if run.accuracy is None and run.status != "running"]
    if not lost:
        return found
    of = f"of {len(row.runs)} runs {len(lost)} without a number ({', '.join(dict.fromkeys(lost))})"
    return replace(found, why="; ".join(part for part in (found.why, of) if part))


def speaks_for(runs: Sequence[SeedRun]) -> SeedRun:
    """The run that speaks for a row without a number; "finished" here: finished with no number."""
    return min(runs, key=lambda run: STATUSES.index(run.status))
