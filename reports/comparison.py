"""Campaigns of one study side by side: row × setting, each row's best on validation chosen, and its test score.

The test set never selects: of a setting that was not chosen, no test score is here in any form.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reports.runs import choosing_metric
from reports.types import Table, TableRow
from sweeps.campaign import Campaign
from sweeps.changes import Assignment, normal, read_assignment, short_name
from sweeps.records.summary import Spread, spread
from sweeps.study import Study
from trm_core.settings_as_text import find_setting, setting_text

STANDING = "as it is"  # a setting that a campaign does not change, and that its rows do not agree on
NO_PUZZLES = "no validation puzzles"


class NothingToCompare(ValueError):
    """Fewer than two campaigns, or campaigns of several studies or profiles."""


@dataclass(frozen=True)
class Setting:
    """One column: a campaign by what tells it from the others."""

    campaign: Campaign
    values: tuple[str, ...]  # of each name

    @property
    def place(self) -> tuple[tuple[int, float, str], ...]:
        """Where it stands among the others: by its values, numbers by size."""
        return tuple(_order(value) for value in self.values)


@dataclass(frozen=True)
class Cell:
    """A row under a setting. Scores are fractions, or nats."""

    score: Spread | None  # of the finished runs, by what chooses; never a test score
    asked: int  # runs that were asked for, or made
    word: str  # why there is no score; empty where there is one
    chosen: bool = False
    test: Spread | None = None  # of the chosen one alone


@dataclass(frozen=True)
class Line:
    """A row under every setting."""

    row: str
    cells: tuple[Cell, ...]

    @property
    def chosen(self) -> int | None:
        """Which setting is the row's best; None where none has a score."""
        return next((at for at, cell in enumerate(self.cells) if cell.chosen), None)

    @property
    def tied(self) -> tuple[bool, ...]:
        """Which settings are as good as the chosen one, itself with them; none where it is alone."""
        best = None if self.chosen is None else self.cells[self.chosen].score
        same = tuple(best is not None and one.score is not None and one.score.mean == best.mean for one in self.cells)
        return same if sum(same) > 1 else (False,) * len(same)


@dataclass(frozen=True)
class Comparison:
    """Settings side by side, ready to be rendered."""

    study: Study
    profile: str
    names: tuple[str, ...]  # what differs: ("lr", "weight_decay")
    shared: tuple[str, ...]  # changes that all of them have
    settings: tuple[Setting, ...]  # by their values
    lines: tuple[Line, ...]
    leaks: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def has_test(self) -> bool:
        """Whether something apart from the test set chooses; a training loss has no test."""
        return has_test(self.study)

    @property
    def name(self) -> str:
        """Of its folder: what differs, and six digits of which campaigns these are."""
        ids = hashlib.sha256(" ".join(sorted(one.campaign.id for one in self.settings)).encode()).hexdigest()[:6]
        names = re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(self.names))[:60]
        return "-".join(part for part in ("grid", names, ids) if part)

    def label(self, setting: Setting, between: str = ", ") -> str:
        """What tells it from the others: "lr=0.001, weight_decay=0.1"."""
        words = (
            f"{name} {value}" if value == STANDING else f"{name}={value}"
            for name, value in zip(self.names, setting.values, strict=True)
        )
        return between.join(words) or setting.campaign.id[:8]


def compare(tables: Sequence[Table]) -> Comparison:
    """Each row's settings by their mean on validation over the finished runs; the best chosen, of equal ones the first.

    Of a study whose metric is a training loss, that loss itself chooses. Raises NothingToCompare.
    """
    campaigns = [table.campaign for table in tables]
    if len({one.id for one in campaigns}) < 2:
        raise NothingToCompare(f"{len(tables)} campaign to compare; expected two or more, or all, after --compare")
    if len({(one.study.name, one.profile) for one in campaigns}) > 1:
        raise NothingToCompare(f"{' and '.join(one.name for one in campaigns)}: expected one study in one profile")
    places, values = _differing(campaigns)
    columns = sorted(
        zip((Setting(one, of) for one, of in zip(campaigns, values, strict=True)), tables, strict=True),
        key=lambda column: (column[0].place, column[0].campaign.id),
    )
    study = campaigns[0].study
    rows = dict.fromkeys(row.name for table in tables for row in table.rows)
    every = [_line(study, name, [table for _, table in columns]) for name in rows]
    lines = tuple(line for line in every if any(cell.asked or cell.score for cell in line.cells))
    left_out = [line.row for line in every if line not in lines]
    settings = tuple(setting for setting, _ in columns)
    everywhere = [change for change in campaigns[0].changes if all(change in one.changes for one in campaigns)]
    return Comparison(
        study=study,
        profile=campaigns[0].profile,
        names=tuple(map(_in_words, places)),
        shared=tuple(everywhere),
        settings=settings,
        lines=lines,
        leaks=tuple(dict.fromkeys(table.leak for _, table in columns if table.leak)),
        notes=_notes(study, lines, places, left_out),
    )


def _line(study: Study, name: str, tables: Sequence[Table]) -> Line:
    found = [next((row for row in table.rows if row.name == name), None) for table in tables]
    asked = [sum(run.row == name for run in table.campaign.runs) for table in tables]
    cells = [_cell(row, runs) for row, runs in zip(found, asked, strict=True)]
    scores = {at: cell.score.mean for at, cell in enumerate(cells) if cell.score is not None}
    if scores:
        sign = 1 if has_test(study) else -1  # of losses the least
        best = max(scores, key=lambda at: (sign * scores[at], -at))
        row = found[best]
        test = [run.accuracy for run in row.runs if run.accuracy is not None] if row is not None else []
        cells[best] = replace(cells[best], chosen=True, test=spread(test) if test and has_test(study) else None)
    return Line(name, tuple(cells))


def _cell(row: TableRow | None, asked: int) -> Cell:
    if row is None:
        return Cell(None, asked, "not in this study")
    asked = max(asked, len(row.runs))
    scores = [run.chosen_by for run in row.runs if run.chosen_by is not None]
    if scores:
        return Cell(spread(scores), asked, "")
    if not any(run.status == "finished" for run in row.runs):
        return Cell(None, asked, row.status)
    return Cell(None, asked, "no score" if row.settings is None or row.settings.data.validation else NO_PUZZLES)


def has_test(study: Study) -> bool:
    """Whether a score on validation chooses, not a training loss."""
    return choosing_metric(study).startswith("validation/")


def _notes(
    study: Study, lines: Sequence[Line], places: Sequence[Assignment], left_out: Sequence[str]
) -> tuple[str, ...]:
    notes = []
    blind = [line.row for line in lines if any(cell.word == NO_PUZZLES for cell in line.cells)]
    if blind and has_test(study):
        notes.append(
            f"{'; '.join(blind)}: no validation puzzles are held out, and the test set selects nothing;"
            " --set data.validation=N holds N out of the training puzzles."
        )
    open_cells = [cell for line in lines for cell in line.cells if cell.score is None and cell.word != NO_PUZZLES]
    if open_cells:
        count = "1 cell has" if len(open_cells) == 1 else f"{len(open_cells)} cells have"
        notes.append(f"{count} no number; what is marked is the best of those that have one.")
    if tied := tied_rows(lines):
        notes.append(f"Where several settings are equally good, the first of them is marked (rows: {tied}).")
    if any(cell.score is not None and cell.score.n < cell.asked for line in lines for cell in line.cells):
        notes.append(
            "(2 of 3): so many of the runs that were asked for are in that mean. Where the others failed or diverged,"
            " the setting looks better than it is."
        )
    if any(place.name.startswith("data.") for place in places):
        notes.append("Settings that change the puzzles are each measured on their own.")
    if left_out:
        notes.append(f"Rows that none of these campaigns runs are left out: {'; '.join(left_out)}.")
    return tuple(notes)


def tied_rows(lines: Sequence[Line]) -> str:
    """The rows of which several settings are equally good."""
    return "; ".join(line.row for line in lines if any(line.tied))


# --- what differs ----------------------------------------------------------------------------------------------------


def _differing(campaigns: Sequence[Campaign]) -> tuple[list[Assignment], list[tuple[str, ...]]]:
    """The settings that are not the same everywhere, with the rows they are for; and each campaign's values of them."""
    changed = [{_place(one): one.text for one in map(read_assignment, normal(each.changes))} for each in campaigns]
    places = list(dict.fromkeys(place for of in changed for place in of))

    def value(campaign: Campaign, place: Assignment, of: Mapping[Assignment, str]) -> str:
        texts = {of[place]} if place in of else _standing(campaign, place)
        text = texts.pop() if len(texts) == 1 else STANDING
        return text.removesuffix(".0") if find_setting(place.name).kind is float else text

    values = {place: [value(one, place, of) for one, of in zip(campaigns, changed, strict=True)] for place in places}
    differing = [place for place in places if len(set(values[place])) > 1]
    return differing, [tuple(values[place][at] for place in differing) for at in range(len(campaigns))]


def _place(change: Assignment) -> Assignment:
    """A change without its value: which setting, of which rows."""
    return change._replace(text="")


def _standing(campaign: Campaign, place: Assignment) -> set[str]:
    """The values that the rows it is for have of a setting."""
    rows = [row.name for row in campaign.study.rows if place.is_for(campaign.study, row)]
    settings = [found for row in rows if (found := campaign.settings(row)) is not None]
    return {setting_text(one.flat()[place.name]) for one in settings}


def _in_words(place: Assignment) -> str:
    """ "lr", "maze:lr"."""
    return "".join(f"{scope}:" for scope in (place.puzzle, place.base) if scope) + short_name(place.name)


def _order(value: str) -> tuple[int, float, str]:
    try:
        return 1, float(value), ""
    except ValueError:
        return (0 if value == STANDING else 2), 0.0, value
