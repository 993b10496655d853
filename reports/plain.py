"""Strangers' text made safe for files, pages and terminals: a campaign's document and a record may be anybody's."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from sweeps.words import clean

FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # what a spreadsheet takes a text for that starts so


def plain(text: str) -> str:
    """A whole text with its lines; every control character, and every one that turns the direction, is a space."""
    return "\n".join(line if line.isprintable() else clean(line) for line in text.split("\n"))


def one_line(text: str) -> str:
    """The same in a single line, words one space apart."""
    return " ".join(clean(text).split())


def csv_text(header: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A CSV file that a spreadsheet may open: no cell of text is a formula, numbers stay numbers."""
    out, texts = io.StringIO(), Texts()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([texts[name] for name in header])
    columns = [
        [texts[cell] if isinstance(cell, str) else cell for cell in column] if any(map(_is_text, column)) else column
        for column in zip(*lines, strict=True)
    ]
    writer.writerows(zip(*columns, strict=True))
    return out.getvalue()


class Texts(dict[str, str]):
    """Of each text what a spreadsheet may be given: one that would be a formula is marked as text.

    A table of many lines has few different texts, and each is looked through once.
    """

    def __missing__(self, cell: str) -> str:
        text = clean(cell).strip()
        found = self[cell] = f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text
        return found


def _is_text(cell: object) -> bool:
    return isinstance(cell, str)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
