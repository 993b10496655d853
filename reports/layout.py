"""Plain text for a terminal: prose and tables within its width, no word broken. Pure, and knows no study."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import TypeGuard

GAP = "   "  # between columns
GLUE = "\0"  # a space that ends no line

Line = Sequence[str] | str | None  # cells; a text across all columns; a rule


def prose(text: str, width: int, indent: str = "") -> str:
    """The text in lines of at most `width`, broken between words; a word that is longer is cut.

    "± 5" and "95 %" are a word each.
    """
    room = max(1, width - len(indent))
    together = re.sub(r"(?<=±) (?=[0-9])|(?<=[0-9]) (?=%)", GLUE, " ".join(text.replace(GLUE, " ").split()))
    words = (word if len(word) <= room else f"{word[: room - 1]}…" for word in together.split(" "))
    return textwrap.fill(
        " ".join(words), max(2, width), break_long_words=False, break_on_hyphens=False, subsequent_indent=indent
    ).replace(GLUE, " ")


def lay_out(
    header: Sequence[str],
    lines: Sequence[Line],
    *,
    width: int,
    labels: int = 1,
    text_columns: int | None = None,
    groups: Sequence[tuple[str, int]] = (),
) -> str:
    """A table of at most `width` columns. Where it is wider, words wrap; where that will not do, it goes on below.

    labels: columns, from the left, that every part of it repeats. text_columns: so many, from the left, hold words.
    groups: (name, number of columns) of those after the labels: they stay together, under their name.
    """
    groups = groups or [("", 1)] * (len(header) - labels)
    assert labels + sum(count for _, count in groups) == len(header), (labels, groups, header)
    text_columns = labels if text_columns is None else text_columns
    cells = [[_cut(cell, width // 2) for cell in line] for line in (header, *lines) if _is_cells(line)]
    least = [max(_least(line[column]) for line in cells) for column in range(len(header))]
    ranges, first = [], labels
    for name, count in groups:
        ranges.append((name, range(first, first + count)))
        first += count
    parts: list[list[tuple[str, range]]] = [[]]
    for group in ranges:
        columns = [*range(labels), *(column for _, of in (*parts[-1], group) for column in of)]
        if parts[-1] and 1 + sum(least[column] for column in columns) + len(GAP) * (len(columns) - 1) > width:
            parts.append([])
        parts[-1].append(group)
    shown = [_part(header, lines, part, width=width, labels=labels, text_columns=text_columns) for part in parts]
    return "\n\n".join(shown)


def _part(
    header: Sequence[str],
    lines: Sequence[Line],
    groups: Sequence[tuple[str, range]],
    *,
    width: int,
    labels: int,
    text_columns: int,
) -> str:
    """The labels and these groups of columns, one below the other."""
    columns = [*range(labels), *(column for _, of in groups for column in of)]
    rows: list[Line] = [[_cut(line[c], width // 2) for c in columns] if _is_cells(line) else line for line in lines]
    names = [_cut(header[c], width // 2) for c in columns]
    widths = _widths([names, *(row for row in rows if _is_cells(row))], width - 1 - len(GAP) * (len(columns) - 1))
    left = [c < text_columns for c in columns]
    over, at = [" ".rjust(sum(widths[:labels]) + len(GAP) * (labels - 1))] if labels else [], labels
    for name, of in groups:
        spanned = sum(widths[at : at + len(of)]) + len(GAP) * (len(of) - 1)
        widths[at + len(of) - 1] += max(0, len(name) - spanned)
        over.append(name.center(max(spanned, len(name))))
        at += len(of)
    rule = " " + "─" * (sum(widths) + len(GAP) * (len(columns) - 1))
    found = [" " + GAP.join(over)] if any(name for name, _ in groups) else []
    found += [*_lines(names, widths, left, bottom=True), rule]
    for row in rows:
        if row is None:
            found.append(rule)
        elif isinstance(row, str):
            found += [f" {line}" for line in prose(row, width - 1).splitlines()]
        else:
            found += _lines(row, widths, left)
    return "\n".join(line.rstrip() for line in found)


def _lines(cells: Sequence[str], widths: Sequence[int], left: Sequence[bool], *, bottom: bool = False) -> list[str]:
    """One row of cells, each wrapped in its column; bottom: what is shorter stands below."""
    wrapped = [_wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
    height = max(len(cell) for cell in wrapped)
    padded = [[""] * (height - len(cell)) + cell if bottom else cell + [""] * (height - len(cell)) for cell in wrapped]
    return [
        " "
        + GAP.join(
            text.ljust(width) if is_left else text.rjust(width)
            for text, width, is_left in zip(line, widths, left, strict=True)
        )
        for line in zip(*padded, strict=True)
    ]


def _widths(rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Each column as wide as its longest cell; where that is too much the widest give way, down to their words."""
    columns = list(zip(*rows, strict=True))
    widths = [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
    least = [max(map(_least, column)) for column in columns]
    while sum(widths) > room:
        able = [at for at in range(len(widths)) if widths[at] > least[at]]
        if not able:
            break
        widths[max(able, key=lambda at: widths[at])] -= 1
    return widths


def _wrapped(cell: str, width: int) -> list[str]:
    parts = []
    for line in cell.split("\n"):
        whole = len(line) <= width or not _is_words(line)
        parts += [line] if whole else textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
    return parts or [""]


def _least(cell: str) -> int:
    """The narrowest column for a cell: its longest word, or the whole line where that is a number, "91.0 ± 1.2"."""
    lines = cell.split("\n")
    return max(max(map(len, line.split()), default=0) if _is_words(line) else len(line) for line in lines)


def _is_words(line: str) -> bool:
    return any(character.isalpha() for character in line)


def _is_cells(line: Line) -> TypeGuard[Sequence[str]]:
    return line is not None and not isinstance(line, str)


def _cut(cell: str, most: int) -> str:
    """The cell, with an ellipsis in each word that no column would hold."""
    return "\n".join(
        " ".join(word if len(word) <= most else f"{word[: most - 1]}…" for word in line.split(" "))
        for line in cell.split("\n")
    )
