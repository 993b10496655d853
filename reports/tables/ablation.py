"""Tables 1 and 2: a line per row with accuracy first, then depth, NFP and parameters; before it a row's place."""

from __future__ import annotations

from reports.plain import one_line
from reports.table import OURS, PAPER, Cell, Part, Sheet
from reports.types import Table, TableRow
from reports.words import common_seeds, depth, number, ours, papers, size


def ablation(table: Table) -> Sheet:
    """Table 1: Method, Acc (%), Depth, NFP, # Params. Table 2, whose rows have places: Method, # of features, Acc."""
    places = tuple(dict.fromkeys(name for row in table.rows for name in row.place if name != "method"))
    has_paper = table.study.has_paper_numbers
    seeds = common_seeds(table)
    accuracy = ("Acc (%)", (PAPER, OURS) if has_paper else (OURS,))

    def line(row: TableRow) -> tuple[Cell, ...]:
        labels = [one_line(row.place.get("method", row.name)), *(one_line(row.place.get(name, "")) for name in places)]
        shown = [*([Cell(papers(row))] if has_paper else []), ours(row, seeds)]
        more = [] if places else [depth(row), number(row.nfp), size(row.parameters)]
        return (*map(Cell, labels), *shown, *map(Cell, more))

    return Sheet(
        labels=("Method", *(one_line(name) for name in places)),
        groups=(accuracy, *(() if places else (("", ("Depth", "NFP", "# Params")),))),
        parts=(Part(tuple(map(line, table.rows))),),
        text_columns=1,
    )
