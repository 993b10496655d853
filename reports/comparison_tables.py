"""A comparison in words and as Markdown, CSV and text for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from reports.comparison import Cell, Comparison, Line, has_test
from reports.facts import kind
from reports.layout import lay_out, prose
from reports.plain import csv_text, one_line, plain
from reports.runs import EXACT, accuracy_metric, choosing_metric, passes
from reports.table import NOTHING
from reports.words import short
from reports.write.markdown import markdown_table, markdown_text
from sweeps import screen
from sweeps.records.summary import Spread
from sweeps.study import Study


def number(study: Study, found: Spread | None) -> str:
    """ "87.4 ± 1.2", in per cent; a loss in nats."""
    if found is None:
        return NOTHING
    times, digits = (100, 1) if has_test(study) else (1, 3)
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


def last_column(comparison: Comparison, line: Line) -> list[str]:
    """The test of the chosen setting, a cell; none where there is no test."""
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
        lines.append([markdown_text(line.row), *shown, *last_column(comparison, line)])
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
        lines.append([one_line(line.row), *cells, *last_column(comparison, line)])
    above = [prose(part, width) for part in (heading(comparison), *comparison.leaks)]
    under = [prose(part, width) for part in (caption(comparison, "*"), *comparison.notes)]
    return plain("\n\n".join(["\n".join(above), lay_out(header, lines, width=width), "\n".join(under)]) + "\n")
