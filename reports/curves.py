"""What curves and files beside a run add to a table: checkpoints, losses, votes. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from reports import stats, verdicts
from reports.runs import EXACT, VALIDATION, is_fraction, loss_metric, mean_of_all
from reports.stats import Pool
from reports.types import SeedRun, Selected, Table, TableRow, VoteCurve
from reports.verdicts import Verdict, declines, judge
from sweeps.study import Losses

LAST_DIGIT = 0.0005  # nats: half of the last digit that a source of losses prints
NO_VOTES = "no votes.csv that can be read is with the run"


def with_selection(table: Table, curves: Mapping[tuple[str, str], Sequence[tuple[int, float]]]) -> Table:
    """The table with the last checkpoint beside the best on validation and the best on test.

    curves: (run id, metric) → (step, value), steps ascending; of exact accuracy, on test and on validation.
    """
    if table.study.layout == "losses":
        return table
    rows = (
        (row.name, [found for run in row.runs if (found := _checkpoints(run, curves)) is not None])
        for row in table.rows
    )
    return replace(table, selected=tuple(_selected(name, runs) for name, runs in rows if runs))


def _checkpoints(
    run: SeedRun, curves: Mapping[tuple[str, str], Sequence[tuple[int, float]]]
) -> tuple[float, float | None, float] | None:
    """Of a finished run that was tested more than once: last, at its best on validation, best on test."""
    test = {step: value for step, value in curves.get((run.run_id, EXACT), ()) if is_fraction(value)}
    if run.accuracy is None or len(test) < 2:
        return None
    validation = {
        step: value for step, value in curves.get((run.run_id, VALIDATION), ()) if math.isfinite(value) and step in test
    }
    picked = test[max(validation, key=lambda step: (validation[step], -step))] if validation else None
    return test[max(test)], picked, max(test.values())


def _selected(name: str, runs: Sequence[tuple[float, float | None, float]]) -> Selected:
    last, by_test = stats.mean([one[0] for one in runs]), stats.mean([one[2] for one in runs])
    by_validation = mean_of_all([one[1] for one in runs])
    return Selected(name, len(runs), last, by_validation, by_test, declines(last, by_validation, by_test))


def with_losses(table: Table, curves: Mapping[tuple[str, str], Sequence[tuple[int, float]]]) -> Table:
    """The table with the first, last and least training loss of each finished seed that has a curve.

    curves: (run id, metric) → (step, value), steps ascending. What is not finite is no loss.
    """

    def of(run: SeedRun) -> Losses | None:
        values = [value for _, value in curves.get((run.run_id, loss_metric(table.study)), ()) if math.isfinite(value)]
        if run.status != "finished" or not values:
            return None
        return Losses(initial=values[0], final=values[-1], minimum=min(values))

    rows = [
        replace(row, losses=tuple(found for run in row.runs if (found := of(run)) is not None)) for row in table.rows
    ]
    pool = Pool({row.name: tuple(one.final for one in row.losses) for row in rows if row.losses}, are_fractions=False)
    return replace(table, rows=tuple(_judged_by_loss(row, pool, comparable=table.comparable) for row in rows))


def _judged_by_loss(row: TableRow, pool: Pool, *, comparable: bool) -> TableRow:
    """The verdict on a row's final loss."""
    if row.name not in pool.rows:
        return row
    if row.paper_losses is None or not comparable:
        why = "the source prints no number" if comparable else ""
        return replace(row, verdict=Verdict("not comparable", why))
    within = verdicts.WITHIN * row.paper_losses.final
    return replace(row, verdict=judge(pool, row.name, row.paper_losses.final, within=within, printed=LAST_DIGIT))


def with_votes(table: Table, found: Mapping[str, Sequence[Sequence[float]]]) -> Table:
    """The table with ARC's accuracy against the number of votes, and a note on the runs of which none is known.

    found: run id → (variants that vote, pass@1, pass@2), ascending.
    """
    curves, lacking, asked = [], [], 0
    for row in table.rows:
        runs = [run for run in row.runs if run.accuracy is not None and row.puzzle == "arc"]
        asked += len(runs)
        lacking += [f"{row.name}, {run.seeds}" for run in runs if run.run_id not in found]
        by_seed = [{int(votes): scores for votes, *scores in found[run.run_id]} for run in runs if run.run_id in found]
        if by_seed and (common := sorted(set.intersection(*(set(seed) for seed in by_seed)))):
            pass_at = {
                k: tuple(stats.mean([seed[votes][at] for seed in by_seed]) for votes in common)
                for at, k in enumerate((1, 2))
            }
            curves.append(VoteCurve(row.name, len(by_seed), tuple(common), pass_at))
    notes: tuple[str, ...] = ()
    if lacking:
        of = "any run" if asked == len(lacking) > 1 else "; ".join(lacking)
        notes = (f"Accuracy against the number of votes is not known of {of}: {NO_VOTES}.",)
    return replace(table, vote_curves=tuple(curves), notes=table.notes + notes)
