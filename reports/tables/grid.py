"""Table 3: labels k and T, and for each model depth, the paper's accuracy and ours."""

from __future__ import annotations

from reports.plain import one_line
from reports.table import NOTHING, OURS, PAPER, Cell, Part, Sheet, cells
from reports.types import Grid, Table
from reports.words import common_seeds, depth, ours, papers


def grid(table: Table, of: Grid) -> Sheet:
    """A line per place, the models side by side."""
    has_paper = table.study.has_paper_numbers
    whats = ("Depth", *([PAPER] if has_paper else []), OURS)
    seeds = common_seeds(table)
    lines = []
    for labels, rows in of.lines:
        line = list(cells(map(one_line, labels)))
        for row in rows:
            if row is None:
                line += cells([NOTHING] * len(whats))
            else:
                line += [Cell(depth(row)), *([Cell(papers(row))] if has_paper else []), ours(row, seeds)]
        lines.append(tuple(line))
    labels = tuple(label if len(label) == 1 else label.capitalize() for label in of.labels)
    return Sheet(
        labels=labels,
        groups=tuple((one_line(column), whats) for column in of.columns),
        parts=(Part(tuple(lines)),),
        text_columns=len(labels) if any(len(label) > 1 for label in labels) else 0,
    )
