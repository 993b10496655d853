"""What became of each test puzzle, for a table: read from the runs' files, and each row beside its baseline.

A run's outcomes.npz is looked for in its folder, then in MLflow. It is input: one that is torn, of other puzzles, or
that does not come to the accuracy that the run recorded, is named in a note and left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reports import stats_outcomes
from reports.runs import EXACT, accuracy_metric, passes
from reports.types import Paired, SeedRun, Table, TableRow
from sweeps.records.read import artefact_file
from trm_core.outcomes import NAME, BadOutcomes, Outcomes, read_outcomes

KEPT = "test/exact_accuracy/step_01"  # a run that ended with this has kept its outcomes
AS_RECORDED = 1e-6  # an accuracy of float32 beside one that is counted


def read_all(table: Table, out: Path) -> tuple[dict[str, Outcomes], tuple[str, ...]]:
    """By run id, of the finished runs that kept theirs; and what is said of those that cannot be read.

    out: below it lie the runs' folders. Raises TrackingUnavailable.
    """
    found, problems = {}, []
    for row in table.rows:
        for run in row.runs:
            if run.accuracy is None or KEPT not in run.final:
                continue
            try:
                found[run.run_id] = _bound(_read(run, out), run)
            except BadOutcomes as error:
                problems.append(f"{row.name}, {run.seeds}: {error}")
    if not problems:
        return found, ()
    count = "1 run" if len(problems) == 1 else f"{len(problems):,} runs, the first"
    return found, (f"Outcomes per puzzle are not known of {count}: {problems[0]}.",)


def _read(run: SeedRun, out: Path) -> Outcomes:
    """From the run's folder or, where that has none that can be read, MLflow. Raises BadOutcomes."""
    at_hand = out / "runs" / run.key / NAME
    problem = None
    if at_hand.is_file():
        try:
            return read_outcomes(at_hand)
        except BadOutcomes as error:
            problem = BadOutcomes(str(error).replace(str(at_hand), f"{NAME} in the run's folder"))
    with tempfile.TemporaryDirectory() as folder:
        kept = artefact_file(run.run_id, NAME, Path(folder))
        if kept is not None:
            try:
                return read_outcomes(kept)
            except BadOutcomes as error:  # named as the user finds it
                raise BadOutcomes(str(error).replace(str(kept), f"{NAME} of MLflow's run {run.run_id}")) from None
    raise problem or BadOutcomes(f"{NAME} is neither in the run's folder nor in MLflow; evaluate its checkpoint again")


def _bound(found: Outcomes, run: SeedRun) -> Outcomes:
    """The same, if they are of this run's puzzles and come to its exact accuracy. Raises BadOutcomes."""
    data = run.tags.get("data", "")
    if data and found.data_hash != data:
        raise BadOutcomes(f"{NAME} is of the puzzles {found.data_hash[:12]}, the run of {data[:12]}; it is foreign")
    recorded, counted = run.final.get(EXACT), float(found.solved.mean()) if len(found) else None
    if recorded is not None and (counted is None or abs(counted - recorded) > AS_RECORDED):
        said = "no puzzle" if counted is None else f"{100 * counted:.2f} %"
        raise BadOutcomes(f"{NAME} comes to {said}, the run recorded {100 * recorded:.2f} %; it is foreign")
    return found


def solved(found: Outcomes, metric: str) -> NDArray[np.float64] | None:
    """[puzzles]: 1 solved, 0 not, as the study's metric counts; of ARC's pass@k [tasks], the share of test inputs.

    None where the file does not tell.
    """
    if metric == EXACT and len(found):
        return found.solved.astype(np.float64)
    k = passes(metric)
    if k is None or not found.places:
        return None
    right = [float(0 < place.place <= k) for place in found.places]
    of_tasks = stats_outcomes.by_task([right], [place.task for place in found.places])
    return np.asarray(of_tasks[0], dtype=np.float64)


def with_outcomes(table: Table, found: Mapping[str, Outcomes]) -> Table:
    """The table with every row beside its baseline, on the puzzles that both were asked."""
    rows = {row.name: row for row in table.rows}
    paired = []
    for pool in table.pools:
        other = next((name for name in table.study.baseline if name in pool.rows), None)
        for name in pool.rows:
            if other is not None and name != other:
                pair = _pair(rows[name], rows[other], found, accuracy_metric(table.study))
                paired += [] if pair is None else [pair]
    return replace(table, paired=tuple(paired))


def _pair(row: TableRow, other: TableRow, found: Mapping[str, Outcomes], metric: str) -> Paired | None:
    """Two rows on the test set that most of their runs share; None where they share none."""
    by_set = [_by_test_set(one, found, metric) for one in (row, other)]
    shared = by_set[0].keys() & by_set[1].keys()
    if not shared:
        return None
    best = max(sorted(shared), key=lambda test_set: min(len(of[test_set]) for of in by_set))
    first, second = (np.array(of[best]) for of in by_set)
    if first.shape[1] < 2:
        return None
    bootstrap = None
    if len(first) > 1 and len(second) > 1:
        bootstrap, _ = stats_outcomes.two_way_bootstrap(first, second, np.random.default_rng(0))
    parts = stats_outcomes.parts(first, second)
    return Paired(row.name, other.name, (len(first), len(second)), first.shape[1], parts, bootstrap)


def _by_test_set(
    row: TableRow, found: Mapping[str, Outcomes], metric: str
) -> dict[tuple[str, int], list[NDArray[np.float64]]]:
    sets: dict[tuple[str, int], list[NDArray[np.float64]]] = {}
    for outcomes in _of(row.runs, found):
        if (scores := solved(outcomes, metric)) is not None:
            sets.setdefault((outcomes.test_set, len(scores)), []).append(scores)
    return sets


def _of(runs: Sequence[SeedRun], found: Mapping[str, Outcomes]) -> Iterator[Outcomes]:
    return (found[run.run_id] for run in runs if run.run_id in found)
