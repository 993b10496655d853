"""A table to be printed, in text: every form in reports.write takes any, and shows the same cells. Knows no study."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NOTHING = "–"
OURS, PAPER = "ours", "paper"  # columns, or groups of them, that are set apart by colour


@dataclass(frozen=True)
class Cell:
    """What stands in a place: "87.1 ± 0.9", its mark "≈" behind it, and whether it is among the best (bold)."""

    text: str
    mark: str = ""
    is_best: bool = False
    row: str = ""  # whose runs are behind it; empty where it is not of ours

    @property
    def marked(self) -> str:
        """The text with its mark."""
        return f"{self.text} {self.mark}" if self.mark else self.text

    @property
    def in_plain_text(self) -> str:
        """The same where there is no bold: a star in its place."""
        return f"*{self.marked}" if self.is_best else self.marked


@dataclass(frozen=True)
class Part:
    """Lines of a table between two rules, under a title of their own where there is one."""

    lines: tuple[tuple[Cell, ...], ...]
    title: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table: columns of labels, then groups of columns, each group under its name; its lines in parts."""

    labels: tuple[str, ...]
    groups: tuple[tuple[str, tuple[str, ...]], ...]  # ("HRM", ("depth", "paper", "ours")); ("", ("NFP",))
    parts: tuple[Part, ...]
    text_columns: int = 1  # how many columns, from the left, hold words
    last_is_text: bool = False  # whether the last does as well

    @property
    def header(self) -> tuple[str, ...]:
        """All columns' names, each with its group's."""
        return self.labels + tuple(f"{name} {what}".strip() for name, whats in self.groups for what in whats)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns' names, without their groups'."""
        return self.labels + tuple(what for _, whats in self.groups for what in whats)

    @property
    def lines(self) -> tuple[tuple[Cell, ...], ...]:
        """All lines."""
        return tuple(line for part in self.parts for line in part.lines)

    def is_text(self, column: int) -> bool:
        """Whether this column holds words."""
        return column < self.text_columns or (self.last_is_text and column == len(self.columns) - 1)

    def whose(self, column: int) -> str:
        """ "ours" or "paper" where the column, or its group, is one's or the other's; else empty."""
        of = [(name.lower(), what.lower()) for name, whats in self.groups for what in whats]
        names = of[column - len(self.labels)] if column >= len(self.labels) else ()
        return OURS if OURS in names else PAPER if {PAPER, "source"} & set(names) else ""

    def has_marks(self, column: int) -> bool:
        """Whether anything in this column has a mark behind it."""
        return any(line[column].mark for line in self.lines)

    def starts_group(self, column: int) -> bool:
        """Whether a group of columns starts here."""
        first = len(self.labels)
        for _, whats in self.groups:
            if column == first:
                return True
            first += len(whats)
        return False


def cells(texts: Iterable[str], row: str = "") -> tuple[Cell, ...]:
    """Cells without marks. row: whose runs are behind them."""
    return tuple(Cell(text, row=row) for text in texts)


def plain_sheet(
    header: Sequence[str],
    lines: Iterable[Sequence[Cell | str]],
    *,
    text_columns: int = 1,
    last_is_text: bool = False,
) -> Sheet:
    """A table without groups, one label first."""
    laid_out = tuple(tuple(c if isinstance(c, Cell) else Cell(c) for c in line) for line in lines)
    groups = tuple(("", (name,)) for name in header[1:])
    return Sheet(tuple(header[:1]), groups, (Part(laid_out),), text_columns, last_is_text)
