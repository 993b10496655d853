"""What the paper quotes from others, as it prints it: numbers that were never run here."""

from __future__ import annotations

from reports.plain import one_line
from reports.table import NOTHING, Sheet, plain_sheet
from reports.types import Table
from reports.words import QUOTED
from sweeps.study import Quoted


def fit(table: Table) -> bool:
    """Whether what is quoted has its columns in the paper's layout, so that it stands there."""
    grid = table.grid
    has_paper = table.study.has_paper_numbers
    return (
        grid is not None
        and grid.by_puzzle
        and has_paper
        and all(set(one.cells) <= set(grid.columns) for one in table.quoted)
    )


def quotes(table: Table) -> Sheet | None:
    """A table of its own where it does not fit; None where it does, or nothing is quoted."""
    if not table.quoted or fit(table):
        return None
    columns = tuple(dict.fromkeys(column for one in table.quoted for column in one.cells))
    return plain_sheet(
        (QUOTED, "# Params", *map(one_line, columns)),
        [
            (one_line(one.name), one_line(one.parameters) or NOTHING, *(printed(one, column) for column in columns))
            for one in table.quoted
        ],
    )


def printed(one: Quoted, column: str) -> str:
    """Its cell."""
    return f"{one.cells[column]:.1f}" if column in one.cells else NOTHING
