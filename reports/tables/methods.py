"""Tables 4 and 5: a line per method with its parameters, a column per test set; what the paper quotes stands first."""

from __future__ import annotations

from reports.plain import one_line
from reports.table import NOTHING, OURS, PAPER, Cell, Part, Sheet, cells
from reports.tables.quoted import fit, printed
from reports.types import Grid, Table, TableRow
from reports.words import QUOTED, common_seeds, ours, papers, size


def methods(table: Table, of: Grid) -> Sheet:
    """Method, # Params, and for each test set the paper's accuracy and ours."""
    has_paper = table.study.has_paper_numbers
    whats = (PAPER, OURS) if has_paper else (OURS,)
    seeds = common_seeds(table)
    lines = []
    for labels, rows in of.lines:
        line = list(cells([*map(one_line, labels), _sizes(rows)]))
        for row in rows:
            if row is None:
                line += cells([NOTHING] * len(whats))
            else:
                line += [*([Cell(papers(row))] if has_paper else []), ours(row, seeds)]
        lines.append(tuple(line))
    labels = (*(label.capitalize() for label in of.labels), "# Params")
    return Sheet(
        labels=labels,
        groups=tuple((one_line(column), whats) for column in of.columns),
        parts=(*_quoted(table, of, len(whats)), Part(tuple(lines))),
        text_columns=len(of.labels),
    )


def _sizes(rows: tuple[TableRow | None, ...]) -> str:
    """ "7M"; "5M/19M" where a test set's size makes it another."""
    return "/".join(dict.fromkeys(size(row.parameters) for row in rows if row is not None)) or NOTHING


def _quoted(table: Table, of: Grid, width: int) -> tuple[Part, ...]:
    if not fit(table):
        return ()
    lines = []
    for one in table.quoted:
        labels = [one_line(one.name), *[""] * (len(of.labels) - 1), one_line(one.parameters) or NOTHING]
        shown = [text for column in of.columns for text in (printed(one, column), *[""] * (width - 1))]
        lines.append(cells([*labels, *shown]))
    return (Part(tuple(lines), QUOTED),)
