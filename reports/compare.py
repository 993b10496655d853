"""Campaigns of one study side by side: row × setting, each row's best on validation marked, and its test score.

The test set never selects: of a setting that was not chosen, no test score is here in any form.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports.facts import kind
from reports.figures.files import png, svg
from reports.figures.style import FAINT, INK, PAPER, RAMPS, STYLE
from reports.layout import lay_out, prose
from reports.plain import csv_text, one_line, plain
from reports.report import read_table, write_files
from reports.runs import EXACT, accuracy_metric, choosing_metric, passes
from reports.table import NOTHING
from reports.types import Table, TableRow
from reports.words import short
from reports.write.markdown import markdown_table, markdown_text
from sweeps import screen
from sweeps.campaign import Campaign
from sweeps.changes import Assignment, normal, read_assignment, short_name
from sweeps.records.summary import Spread, spread
from sweeps.study import Study
from trm_core.config import find_setting, setting_text

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
        return _has_test(self.study)

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
        sign = 1 if _has_test(study) else -1  # of losses the least
        best = max(scores, key=lambda at: (sign * scores[at], -at))
        row = found[best]
        test = [run.accuracy for run in row.runs if run.accuracy is not None] if row is not None else []
        cells[best] = replace(cells[best], chosen=True, test=spread(test) if test and _has_test(study) else None)
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


def _has_test(study: Study) -> bool:
    return choosing_metric(study).startswith("validation/")


def _notes(
    study: Study, lines: Sequence[Line], places: Sequence[Assignment], left_out: Sequence[str]
) -> tuple[str, ...]:
    notes = []
    blind = [line.row for line in lines if any(cell.word == NO_PUZZLES for cell in line.cells)]
    if blind and _has_test(study):
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


# --- words -----------------------------------------------------------------------------------------------------------


def number(study: Study, found: Spread | None) -> str:
    """ "87.4 ± 1.2", in per cent; a loss in nats."""
    if found is None:
        return NOTHING
    times, digits = (100, 1) if _has_test(study) else (1, 3)
    half = "" if found.low is None or found.high is None else f" ± {times * (found.high - found.low) / 2:.{digits}f}"
    return f"{times * found.mean:.{digits}f}{half}"


def text_of(study: Study, cell: Cell) -> str:
    """A cell without its mark: the score, with how many runs are behind it where some are not; or why there is none."""
    if cell.score is None:
        return short(cell.word.partition(":")[0], 28)
    of = f" ({cell.score.n} of {cell.asked})" if cell.score.n < cell.asked else ""
    return number(study, cell.score) + of


def metric_in_words(comparison: Comparison) -> str:
    """What chooses, and what it is measured on."""
    study, rows = comparison.study, comparison.study.rows
    metric = choosing_metric(study)
    if metric == EXACT.replace("test/", "validation/"):
        return f"Exact accuracy on the validation {kind(study.puzzle_of(row) for row in rows)}"
    return metric


def caption(comparison: Comparison, mark: str) -> str:
    """What the numbers are, what the mark says, and what the last column is."""
    study = comparison.study
    cells = [cell for line in comparison.lines for cell in line.cells]
    spreads = any(cell.score is not None and cell.score.low is not None for cell in cells)
    ends = " ± is the 95 % interval of the mean (Student t)." if spreads else ""
    shared = f" All with {', '.join(comparison.shared)}." if comparison.shared else ""
    if not comparison.has_test:
        return (
            f"{metric_in_words(comparison)} in nats, the last of each run, mean over its finished runs; {mark}: each"
            " row's least. The training loss itself chooses here, not a validation score, so a setting may be marked"
            f" that has learnt by heart.{ends}{shared}"
        )
    test = f"pass@{k}" if (k := passes(study.metric)) else "accuracy"
    return (
        f"{metric_in_words(comparison)} in % at the end, mean over the finished runs; {mark}: each row's best. The last"
        f" column is its {test} on the test set, shown for it alone: the test set never selects.{ends}{shared}"
    )


def heading(comparison: Comparison) -> str:
    """One line: title, what is compared, profile."""
    what = " × ".join(comparison.names) or "campaigns"
    return f"{comparison.study.title}: {what} compared, profile {comparison.profile}"


def _last(comparison: Comparison, line: Line) -> list[str]:
    """The test of the chosen setting."""
    if not comparison.has_test:
        return []
    return [number(comparison.study, None if line.chosen is None else line.cells[line.chosen].test)]


# --- forms -----------------------------------------------------------------------------------------------------------


def markdown(comparison: Comparison) -> str:
    """The comparison as GitHub Markdown."""
    header = ["Row", *map(comparison.label, comparison.settings), *(["Test"] if comparison.has_test else [])]
    lines = []
    for line in comparison.lines:
        cells = [markdown_text(text_of(comparison.study, cell)) for cell in line.cells]
        shown = [f"**{text}**" if cell.chosen else text for text, cell in zip(cells, line.cells, strict=True)]
        lines.append([markdown_text(line.row), *shown, *_last(comparison, line)])
    parts = [
        f"# {markdown_text(heading(comparison))}",
        *(f"> **{markdown_text(leak)}**" for leak in comparison.leaks),
        markdown_text(caption(comparison, "bold")),
        markdown_table([*map(markdown_text, header)], lines, text_columns=1, is_markdown=True),
        "\n".join(f"- {markdown_text(note)}" for note in comparison.notes),
        "## Campaigns",
        "\n".join(
            f"- {markdown_text(comparison.label(one))}: `{one.campaign.id}`"
            f" ({markdown_text(' '.join(one.campaign.changes)) or 'without changes'})"
            for one in comparison.settings
        ),
    ]
    return plain("\n\n".join(part for part in parts if part) + "\n")


def rows_csv(comparison: Comparison) -> str:
    """A line per row and setting, in full precision; the test columns are filled for the chosen setting alone."""
    header = ["study", "profile", "row", "campaign", "changes", *comparison.names, "metric", "mean", "t95_low"]
    header += [
        "t95_high",
        "runs_finished",
        "runs_asked",
        "chosen",
        "as_good_as_chosen",
        "test_metric",
        "test_mean",
        "test_t95_low",
    ]
    header += ["test_t95_high", "test_runs", "status"]
    study = comparison.study
    lines: list[Sequence[object]] = []
    for line in comparison.lines:
        for setting, cell, tied in zip(comparison.settings, line.cells, line.tied, strict=True):
            of = [study.name, comparison.profile, line.row, setting.campaign.id, " ".join(setting.campaign.changes)]
            found = [choosing_metric(study), *_ends(cell.score), cell.score.n if cell.score else 0, cell.asked]
            test = [accuracy_metric(study), *_ends(cell.test), cell.test.n] if cell.test else [""] * 5
            marks = ["yes" if mark else "no" for mark in (cell.chosen, cell.chosen or tied)]
            lines.append([*of, *setting.values, *found, *marks, *test, cell.word or "finished"])
    return csv_text(header, lines)


def _ends(found: Spread | None) -> list[float | None]:
    return [None] * 3 if found is None else [found.mean, found.low, found.high]


def terminal(comparison: Comparison, width: int | None = None) -> str:
    """The comparison as plain text of at most `width` columns; None: the terminal's."""
    width = screen.width() if width is None else width
    header = ["\n".join(comparison.names), *("\n".join(one.values) for one in comparison.settings)]
    if not comparison.names:
        header = ["Row", *map(comparison.label, comparison.settings)]
    header += ["test\nof *"] if comparison.has_test else []
    lines = []
    for line in comparison.lines:
        cells = [text_of(comparison.study, cell) + ("*" if cell.chosen else " ") for cell in line.cells]
        lines.append([one_line(line.row), *cells, *_last(comparison, line)])
    above = [prose(part, width) for part in (heading(comparison), *comparison.leaks)]
    under = [prose(part, width) for part in (caption(comparison, "*"), *comparison.notes)]
    return plain("\n\n".join(["\n".join(above), lay_out(header, lines, width=width), "\n".join(under)]) + "\n")


def draw(comparison: Comparison) -> Figure | None:
    """Row × setting, the darker the better, the chosen one framed; the test of that one at the right."""
    scores = [cell.score.mean for line in comparison.lines for cell in line.cells if cell.score is not None]
    if not scores:
        return None
    what = "Exact accuracy on validation, %" if comparison.has_test else f"{choosing_metric(comparison.study)}, nats"
    title = f"{what}: profile {comparison.profile}"
    count, lines = len(comparison.settings), comparison.lines
    values = [[short(setting.values[at], 16) for setting in comparison.settings] for at in range(len(comparison.names))]
    longest = max((len(value) for of in values for value in of), default=0)
    wide = min(max(0.62, 0.1 + CHARACTER * longest), 1.0) if count <= 8 else 0.62 if count <= 16 else 0.5
    lengths = [CHARACTER * max(map(len, of)) for of in values]  # inches
    steps = [0.19 if length <= wide - 0.08 else length + 0.1 for length in lengths]  # upright, or on their side
    left = 0.3 + 0.076 * max(len(text) for text in [*(line.row for line in lines), *comparison.names])
    right = 1.4 if comparison.has_test else 0.25
    ties = tied_rows(lines)
    top, bottom = 0.45 + sum(steps), 0.4 if ties else 0.15
    size = (max(left + count * wide + right, 0.3 + 0.08 * len(title)), top + TALL * len(lines) + bottom)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, dpi=100, facecolor=PAPER)
        FigureCanvasAgg(figure)
        place = (left / size[0], bottom / size[1], count * wide / size[0], TALL * len(lines) / size[1])
        axes = figure.add_axes(place)
        axes.set_xlim(0, count)
        axes.set_ylim(len(lines), 0)
        axes.set_axis_off()
        for y, line in enumerate(lines):
            axes.text(-0.12 / wide, y + 0.5, line.row, ha="right", va="center")
            for x, cell in enumerate(line.cells):
                _draw_cell(axes, x, y, cell, comparison, (min(scores), max(scores)))
            if comparison.has_test:
                axes.text(count + 0.15 / wide, y + 0.5, "".join(_last(comparison, line)), ha="left", va="center")
        height = 0.07  # inches above the cells
        for name, of, step in reversed(list(zip(comparison.names, values, steps, strict=True))):
            axes.text(-0.12 / wide, -height / TALL, name, ha="right", va="bottom", weight="bold")
            for x, value in enumerate(of):
                side = 0 if step == 0.19 else 90
                axes.text(x + 0.5, -height / TALL, value, ha="center", va="bottom", rotation=side, fontsize=8)
            height += step
        if comparison.has_test:
            axes.text(count + 0.15 / wide, -0.07 / TALL, "test of the best", ha="left", va="bottom", weight="bold")
        figure.text(0.12 / size[0], 1 - 0.12 / size[1], title, va="top", fontsize=9.5)
        if ties:
            said = short(f"Equally good, the first framed: {ties}", int((size[0] - 0.24) / CHARACTER))
            figure.text(0.12 / size[0], 0.12 / size[1], said, va="bottom", fontsize=8)
    return figure


TALL, CHARACTER = 0.32, 0.068  # inches: a row, a character of the values
SHADES = LinearSegmentedColormap.from_list("scores", [PAPER, RAMPS[0][0], RAMPS[0][4]])


def _draw_cell(axes: Axes, x: int, y: int, cell: Cell, comparison: Comparison, ends: tuple[float, float]) -> None:
    """A square in the shade of its score, between the least and the greatest of all; or the word for why none."""
    if cell.score is None:
        words = short(cell.word.partition(":")[0], 24).replace(" ", "\n", 1)
        axes.add_patch(Rectangle((x + 0.02, y + 0.03), 0.96, 0.94, facecolor="none", edgecolor=FAINT, linewidth=0.3))
        axes.text(x + 0.5, y + 0.5, words, ha="center", va="center", fontsize=5.5, color=FAINT)
        return
    low, high = ends
    share = 0.5 if high == low else (cell.score.mean - low) / (high - low)
    share = 0.08 + 0.92 * (share if comparison.has_test else 1 - share)  # of losses the least is darkest
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=SHADES(share), edgecolor=PAPER, linewidth=0.8))
    if cell.chosen:
        frame = Rectangle((x, y), 1, 1, facecolor="none", edgecolor=INK, linewidth=1.6, zorder=4)
        axes.add_patch(frame)
        frame.set_clip_on(False)
    text = number(comparison.study, replace(cell.score, low=None, high=None))
    colour, weight = PAPER if share > 0.5 else INK, "bold" if cell.chosen else "normal"
    axes.text(x + 0.5, y + 0.5, text, ha="center", va="center", fontsize=8, color=colour, weight=weight)


# --- written ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """A comparison that was written."""

    folder: Path
    files: tuple[str, ...]  # names below the folder
    text: str  # for the terminal
    comparison: Comparison


def write_comparison(campaigns: Sequence[Campaign], out: Path) -> Compared:
    """The comparison of these campaigns, in a folder of its own beside their reports. The same runs, the same bytes.

    Raises NothingToCompare, and TrackingUnavailable where MLflow does not answer.
    """
    comparison = compare([read_table(campaign) for campaign in campaigns])
    folder = out / comparison.profile / comparison.study.name / comparison.name
    figure = draw(comparison)
    contents = {"comparison.md": markdown(comparison).encode(), "comparison.csv": rows_csv(comparison).encode()}
    if figure is not None:
        contents |= {"comparison.png": png(figure), "comparison.svg": svg(figure).encode()}
    write_files(folder, contents)
    for name in ("comparison.png", "comparison.svg"):
        if name not in contents:
            (folder / name).unlink(missing_ok=True)
    return Compared(folder, tuple(contents), terminal(comparison), comparison)
