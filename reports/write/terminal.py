"""A study's table as plain text for a terminal."""

from __future__ import annotations

from reports import words
from reports.layout import GAP, Line, lay_out, prose
from reports.plain import plain
from reports.table import Cell, Sheet
from reports.tables import rows
from reports.tables.laid_out import sheet
from reports.tables.quoted import quotes
from reports.types import Table
from sweeps import screen

MANY = 8  # columns, beyond which a table that is too wide is made narrower


def terminal(table: Table, width: int | None = None) -> str:
    """The paper's layout, the claims and what is to be said, at most `width` columns wide; None: the terminal's."""
    width = screen.width() if width is None else width
    parts = [words.heading(table), *map(words.sentence, table.warnings)]
    shown = [terminal_sheet(sheet(table), width)]
    if (apart := quotes(table)) is not None:
        shown.append(terminal_sheet(apart, width))
    if table.claims:
        shown.append(terminal_sheet(rows.claims(table), width))
    under = [words.about(table)]
    if any(row.is_best for row in table.rows) and table.study.layout != "losses":
        under.append("Here a star stands for bold.")
    if table.has_shortest_paths and table.study.layout != "losses":
        found = (
            f"{row.name} {words.percent(row.shortest_path)}" for row in table.rows if row.shortest_path is not None
        )
        under.append(f"{rows.A_SHORTEST_PATH}, in % of the mazes: {'; '.join(found)}.")
    if declined := [one.row for one in table.selected if one.declined]:
        under.append(f"Late decline: {'; '.join(declined)}.")
    under += words.footnotes(table)
    above = "\n".join(prose(part, width) for part in parts)
    return plain("\n\n".join([above, *shown, "\n".join(prose(part, width) for part in under)]) + "\n")


def terminal_sheet(of: Sheet, width: int) -> str:
    """A table; where it is wider, what stands behind ± goes on a line of its own."""
    marked = [of.has_marks(column) for column in range(len(of.columns))]
    whole = [[_text(cell, has_marks) for cell, has_marks in zip(line, marked, strict=True)] for line in of.lines]
    columns = zip(of.columns, *whole, strict=True)
    too_wide = 1 + sum(max(map(len, column)) + len(GAP) for column in columns) - len(GAP) > width
    lines: list[Line] = []
    for part in of.parts:
        if lines:
            lines.append(None)
        if part.title:
            lines.append(f"{part.title}:")
        for line in part.lines:
            texts = [_text(cell, has_marks) for cell, has_marks in zip(line, marked, strict=True)]
            lines.append(list(map(_stacked, texts, marked)) if too_wide and len(of.columns) > MANY else texts)
    return lay_out(
        of.columns,
        lines,
        width=width,
        labels=len(of.labels),
        text_columns=of.text_columns,
        groups=[(name, len(whats)) for name, whats in of.groups],
    )


def _text(cell: Cell, has_marks: bool) -> str:
    """A cell, with room for a mark where others of its column have one: numbers stand below each other."""
    room = "  " if has_marks and not cell.mark and cell.text[:1].isdigit() else ""
    return cell.in_plain_text + room


def _stacked(text: str, has_marks: bool) -> str:
    return text.replace(" ± ", "  \n± " if has_marks else "\n± ")
