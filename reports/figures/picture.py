"""What a figure is made from, and what becomes of it: a picture with its numbers, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from matplotlib.figure import Figure

from reports.plain import csv_text
from reports.types import Table, TableRow
from trm_core.outcomes import Outcomes

Points = Sequence[tuple[int, float]]
Curves = Mapping[tuple[str, str], Points]  # (run id, metric) → (step, value)
Line = Sequence[object]


@dataclass(frozen=True)
class Facts:
    """All that is known of a campaign's runs."""

    table: Table
    curves: Curves = field(default_factory=dict)
    outcomes: Mapping[str, Outcomes] = field(default_factory=dict)  # run id → what became of each test puzzle


@dataclass(frozen=True)
class Numbers:
    """What a figure draws, as a file of comma-separated values."""

    header: Sequence[str]
    lines: Sequence[Line]

    def csv(self) -> str:
        """In full precision, accuracies as fractions."""
        return csv_text(self.header, self.lines)


@dataclass(frozen=True)
class Picture:
    """A figure that was drawn."""

    name: str  # of its files: "learning_curves"
    caption: str
    figure: Figure
    numbers: Numbers


class NotDrawn(NamedTuple):
    """A figure that this table would have, and what it lacks."""

    name: str
    why: str  # one sentence: what is not recorded, and which setting or command records it

    @property
    def sentence(self) -> str:
        """For a reader: the figure's name in words first."""
        return f"{self.name.replace('_', ' ').capitalize()}: {self.why}"


def column_and_label(row: TableRow, table: Table) -> tuple[str, str]:
    """The test set that a row stands under, where the table has several, and its name there."""
    if table.grid is None or not table.grid.by_puzzle:
        return "", row.name
    return row.place["model"], row.place.get("method", row.name)


Found = Picture | NotDrawn | None  # None: no figure of a table such as this
