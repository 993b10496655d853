"""A study's report as GitHub Markdown."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from reports import words
from reports.plain import one_line, plain
from reports.table import Cell, Sheet
from reports.tables import rows
from reports.tables.below import below
from reports.tables.laid_out import sheet
from reports.tables.quoted import quotes
from reports.types import Table


def markdown(table: Table) -> str:
    """Warnings, the paper's layout, notes, claims, every row, what is below them, what was run."""
    parts = [
        f"# {markdown_text(table.study.title)}",
        f"{markdown_text(table.study.source)}. Profile `{table.profile}`.",
    ]
    parts += [f"> **{markdown_text(words.sentence(warning))}**" for warning in table.warnings]
    parts += [markdown_text(words.about(table)), markdown_sheet(sheet(table))]
    if (apart := quotes(table)) is not None:
        parts.append(markdown_sheet(apart))
    notes = words.footnotes(table)
    if notes:
        parts.append("\n".join(f"- {markdown_text(note)}" for note in notes))
    if table.claims:
        parts += [f"## {words.CLAIMS_TITLE}", markdown_text(words.claims_caption(table))]
        parts.append(markdown_sheet(rows.claims(table)))
    parts.append("## Every row")
    parts += [markdown_text(words.caption(table))] if table.study.layout == "losses" else []
    parts.append(markdown_sheet(rows.every_row(table)))
    for one in below(table):
        parts += [f"## {one.title}", markdown_text(one.caption), markdown_sheet(one.sheet)]
    if table.not_drawn:
        parts += [f"## {words.NOT_DRAWN_TITLE}", "\n".join(f"- {markdown_text(why)}" for why in table.not_drawn)]
    parts.append("## What was run")
    parts.append("\n".join(f"- {name}: {markdown_text(text)}" for name, text in table.facts))
    return plain("\n\n".join(parts) + "\n")


def markdown_sheet(of: Sheet) -> str:
    """A table as a pipe table; a part's title is a line of it."""
    lines = []
    for part in of.parts:
        if part.title:
            lines.append([f"*{markdown_text(part.title)}*", *[""] * (len(of.header) - 1)])
        lines += [[_cell(cell) for cell in line] for line in part.lines]
    return markdown_table(
        [markdown_text(name) for name in of.header],
        lines,
        text_columns=[column for column in range(len(of.header)) if of.is_text(column)],
        is_markdown=True,
    )


def _cell(cell: Cell) -> str:
    text = markdown_text(cell.text)
    return f"**{text}** {cell.mark}".rstrip() if cell.is_best else f"{text} {cell.mark}".rstrip()


def markdown_table(
    header: Sequence[str],
    lines: Iterable[Sequence[str]],
    *,
    text_columns: int | Collection[int],
    is_markdown: bool = False,
) -> str:
    """A pipe table, padded so that it also reads as plain text; numbers to the right.

    text_columns: which hold words, or how many from the left.
    is_markdown: whether the cells are Markdown already, else they are text.
    """
    of_words = range(text_columns) if isinstance(text_columns, int) else text_columns
    cells = [[cell if is_markdown else markdown_text(cell) for cell in line] for line in (header, *lines)]
    widths = [max(3, *(len(line[column]) for line in cells)) for column in range(len(header))]

    def line_of(line: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if column in of_words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (width + 2) if c in of_words else "-" * (width + 1) + ":" for c, width in enumerate(widths))
    return "\n".join([line_of(cells[0]), f"|{rule}|", *(line_of(line) for line in cells[1:])])


def markdown_code(text: str) -> str:
    """Text as Markdown's code in a line, whatever backticks are in it."""
    text = one_line(text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    return f"`{text}`" if not longest else f"{'`' * (longest + 1)} {text} {'`' * (longest + 1)}"


def markdown_text(text: str) -> str:
    """Text that Markdown prints as it stands; an underscore inside a word needs no escape."""
    text = re.sub(r"([\\`*\[\]|<])", r"\\\1", " ".join(text.split()))
    text = re.sub(r"\\\[([−+\d., ]+)\\\]", r"[\1]", text)  # an interval is no link
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)
