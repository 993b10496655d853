"""What it takes to come to an accuracy: a line per recipe, steps, operations, seconds, and how many times fewer."""

from __future__ import annotations

from reports.plain import one_line
from reports.reach import Effort, effort
from reports.table import NOTHING, Cell, Part, Sheet, cells
from reports.types import Table, TableRow
from reports.words import common_seeds, ours, short

NOT_REACHED = "not reached"


def speed(table: Table) -> Sheet:
    """Recipe; steps, FLOPs and seconds to the accuracy, and the first row's over this one's; accuracy at the end."""
    assert table.study.reach is not None
    against, seeds = effort(table.rows[0]), common_seeds(table)
    lines = [
        (Cell(one_line(row.name)), *cells([*_to(row), *_times(row, against)], row.name), ours(row, seeds))
        for row in table.rows
    ]
    to = f"To {100 * table.study.reach:g} %"
    groups = ((to, ("seeds", "steps", "FLOPs", "seconds")), ("Times fewer", ("FLOPs", "seconds")), ("", ("Acc (%)",)))
    return Sheet(("Recipe",), groups, (Part(tuple(lines)),))


def _to(row: TableRow) -> list[str]:
    """How many of the row's runs came there, and the means of what it took them; or why there is nothing to say."""
    if not row.reached:
        return [short(row.status.partition(":")[0] or "no curve", 28), *[NOTHING] * 3]
    found = effort(row)
    there = f"{sum(one.step is not None for one in row.reached)} of {len(row.reached)}"
    if found is None:
        return [there, NOT_REACHED, NOTHING, NOTHING]
    return [there, f"{found.steps:,.0f}", f"{found.flops:.2e}", _seconds(found.seconds)]


def _times(row: TableRow, against: Effort | None) -> list[str]:
    """The first row's FLOPs and seconds over this row's."""
    found = effort(row)
    if found is None or against is None:
        return [NOTHING] * 2
    timed = NOTHING
    if found.seconds is not None and against.seconds is not None:
        timed = f"{against.seconds / found.seconds:.2f}"
    return [f"{against.flops / found.flops:.2f}", timed]


def _seconds(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.1f}"
