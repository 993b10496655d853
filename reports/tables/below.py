"""The tables below the paper's layout and the long one, each with its title and caption; those with nothing are not."""

from __future__ import annotations

from dataclasses import dataclass

from reports import words
from reports.table import Sheet
from reports.tables import outcomes, rows
from reports.types import Table

NAMES = ("checkpoints", "paired", "halting", "depths", "votes")  # of their files


@dataclass(frozen=True)
class Below:
    """One of them."""

    name: str
    title: str
    caption: str
    sheet: Sheet


def below(table: Table) -> tuple[Below, ...]:
    """In the order in which every form prints them."""
    found = []
    if table.selected:
        found.append(Below("checkpoints", words.CHECKPOINTS_TITLE, words.CHECKPOINTS_CAPTION, rows.checkpoints(table)))
    if table.paired:
        caption = " ".join((outcomes.PAIRED_CAPTION, *outcomes.disagreements(table)))
        found.append(Below("paired", outcomes.PAIRED_TITLE, caption, outcomes.paired(table)))
    if outcomes.has_halting(table):
        found.append(Below("halting", outcomes.HALTING_TITLE, outcomes.HALTING_CAPTION, outcomes.halting(table)))
    if outcomes.steps(table):
        found.append(Below("depths", outcomes.DEPTHS_TITLE, outcomes.depths_caption(table), outcomes.depths(table)))
    if table.vote_curves:
        found.append(Below("votes", words.VOTES_TITLE, words.VOTES_CAPTION, rows.votes(table)))
    return tuple(found)
