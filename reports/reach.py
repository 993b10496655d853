"""What it takes to come to an accuracy: steps, operations and seconds of training until a look at validation shows it.

Pure. A run is looked at every train.eval_every steps, by train.eval_puzzles of its puzzles: it is there a little
earlier than it is said to be, and may fall below again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reports import stats
from reports.runs import VALIDATION
from reports.types import Reached, SeedRun, Table, TableRow

SPEED = "time/steps_per_second"  # of the steps since the report before; evaluations not in it
Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Effort:
    """Means over a row's runs, all of which came to the accuracy."""

    steps: float
    flops: float
    seconds: float | None


def with_reached(table: Table, curves: Mapping[tuple[str, str], Curve]) -> Table:
    """The table with where each finished run that was looked at came to the accuracy that the study asks for.

    curves: (run id, metric) → (step, value), steps ascending; of accuracy on validation and of steps per second.
    """
    threshold = table.study.reach
    assert threshold is not None

    def of(row: TableRow, run: SeedRun) -> Reached | None:
        looks = curves.get((run.run_id, VALIDATION), ())
        if run.status != "finished" or not looks:
            return None
        step = next((step for step, accuracy in looks if accuracy >= threshold), None)
        if step is None or row.settings is None:
            return Reached(run.seeds)
        seconds = _seconds(curves.get((run.run_id, SPEED), ()), step)
        return Reached(run.seeds, step, row.settings.train_work(step), seconds)

    rows = (
        replace(row, reached=tuple(found for run in row.runs if (found := of(row, run)) is not None))
        for row in table.rows
    )
    return replace(table, rows=tuple(rows))


def _seconds(speeds: Curve, until: int) -> float | None:
    """Of the steps up to there, each stretch between two reports at its own speed; None where they do not reach."""
    total, begun = 0.0, 0
    for step, speed in speeds:
        if step > until or not (math.isfinite(speed) and speed > 0):
            break
        total, begun = total + (step - begun) / speed, step
    return total if begun == until else None


def effort(row: TableRow) -> Effort | None:
    """Means over the row's runs; None where there is none, or where one of them never came so far."""
    steps = [float(one.step) for one in row.reached if one.step is not None]
    flops = [one.flops for one in row.reached if one.flops is not None]
    seconds = [one.seconds for one in row.reached if one.seconds is not None]
    if not steps or len(steps) < len(row.reached):
        return None
    return Effort(stats.mean(steps), stats.mean(flops), stats.mean(seconds) if len(seconds) == len(steps) else None)
