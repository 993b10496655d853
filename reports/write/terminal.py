"""A study's table as plain text for a terminal."""

from __future__ import annotations

from reports import words
from reports.collect import Table
from reports.layout import Line, lay_out, prose
from reports.plain import plain
from reports.table import Sheet
from reports.tables import rows
from reports.tables.laid_out import sheet
from reports.tables.quoted import quotes
from sweeps import screen


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
    """A table; what stands behind ± goes on a line of its own where there are many columns."""
    stacked = len(of.columns) > 8
    lines: list[Line] = []
    for part in of.parts:
        if lines:
            lines.append(None)
        if part.title:
            lines.append(f"{part.title}:")
        for line in part.lines:
            texts = [cell.in_plain_text for cell in line]
            lines.append([text.replace(" ± ", "\n± ") for text in texts] if stacked else texts)
    return lay_out(
        of.columns,
        lines,
        width=width,
        labels=len(of.labels),
        text_columns=of.text_columns,
        groups=[(name, len(whats)) for name, whats in of.groups],
    )
