"""What outcomes per puzzle add to a table: where the doubt about a difference comes from, and what halting is worth."""

from __future__ import annotations

import re

from reports import stats
from reports.plain import one_line
from reports.table import NOTHING, Cell, Sheet, cells, plain_sheet
from reports.types import Paired, Table, TableRow
from reports.words import bracket, percent, signed

PAIRED_TITLE = "Where the doubt comes from"
PAIRED_CAPTION = (
    "Each row less its baseline on the test puzzles that both were asked, in points, and the standard error that each"
    " source leaves: other seeds of these recipes, and other test puzzles for these very runs, paired puzzle by puzzle."
    " Bootstrap: 95 %, seeds and puzzles drawn again; with few seeds it is too short, so it is a check and decides"
    " nothing."
)
HALTING_TITLE = "What the halting head is worth"
HALTING_CAPTION = (
    "Mean over seeds, on test. Right: how often p ≥ 1/2 after the last step says rightly whether the whole answer is"
    " right, in %. Calibration error: of p, ten bins, in points. When halting: exact accuracy in %, and supervision"
    " steps, where each puzzle stops at the first step at which the head asks to halt."
)
DEPTHS_TITLE = "Accuracy by supervision steps at test"
HALTING = {
    "Right": "test/q_halt_accuracy",
    "Calibration error": "test/q_halt_calibration_error",
    "Accuracy when halting": "test/exact_accuracy_when_halting",
    "Steps when halting": "test/steps_when_halting",
}
AT_STEP = re.compile(r"test/exact_accuracy/step_(\d{2,6})")
AT_DEPTH = "test/puzzles_at_depth"


def paired(table: Table) -> Sheet:
    """Every row that shares test puzzles with its baseline."""
    lines: list[tuple[Cell | str, ...]] = [
        (
            one_line(one.row),
            *cells(
                [
                    _both(one.runs),
                    f"{one.puzzles:,}",
                    signed(100 * one.parts.difference),
                    NOTHING if one.parts.seeds is None else percent(one.parts.seeds),
                    percent(one.parts.puzzles),
                    bracket(one.bootstrap),
                ],
                one.row,
            ),
        )
        for one in table.paired
    ]
    baselines = " or ".join(dict.fromkeys(one_line(one.other) for one in table.paired))
    header = (f"Less {baselines}", "Runs", "Puzzles", "Difference", "By seeds", "By puzzles", "Bootstrap")
    return plain_sheet(header, lines)


def _both(runs: tuple[int, int]) -> str:
    return str(runs[0]) if runs[0] == runs[1] else f"{runs[0]} and {runs[1]}"


def disagreements(table: Table) -> tuple[str, ...]:
    """Where the check and the test do not say the same, as a note."""
    against = {row.name: row.against for row in table.rows if row.against is not None}
    odd = [one.row for one in table.paired if one.row in against and _differ(one, against[one.row].is_real)]
    if not odd:
        return ()
    return (
        f"The bootstrap over seeds and puzzles disagrees with the test of {'; '.join(odd)}: few seeds, or a difference"
        " near the limit; more seeds decide.",
    )


def _differ(one: Paired, is_real: bool) -> bool:
    return one.bootstrap is not None and one.bootstrap.holds(0.0) == is_real


def has_halting(table: Table) -> bool:
    """Whether any run tells what its halting head is worth."""
    return any(name in run.final for row in table.rows for run in row.runs for name in HALTING.values())


def halting(table: Table) -> Sheet:
    """The rows whose runs tell."""
    lines: list[tuple[Cell | str, ...]] = []
    for row in table.rows:
        found = {word: mean_of(row, metric) for word, metric in HALTING.items()}
        if any(value is not None for value in found.values()):
            shown = [
                NOTHING if value is None else f"{value:.1f}" if word == "Steps when halting" else percent(value)
                for word, value in found.items()
            ]
            lines.append((one_line(row.name), *cells(shown, row.name)))
    return plain_sheet(("Row", *HALTING), lines)


def mean_of(row: TableRow, metric: str) -> float | None:
    """Over the finished runs; None unless all of them tell."""
    runs = [run for run in row.runs if run.accuracy is not None]
    known = [run.final[metric] for run in runs if metric in run.final]
    return stats.mean(known) if known and len(known) == len(runs) else None


def step_metric(step: int) -> str:
    """The metric of accuracy after so many supervision steps."""
    return f"test/exact_accuracy/step_{step:02d}"


def steps(table: Table) -> tuple[int, ...]:
    """The supervision steps after which any run was asked at test."""
    names = {name for row in table.rows for run in row.runs for name in run.final}
    return tuple(sorted({int(found[1]) for name in names if (found := AT_STEP.fullmatch(name))}))


def depths(table: Table) -> Sheet:
    """Exact accuracy after 1, 2, 4, … supervision steps, a line per row."""
    at = steps(table)
    lines: list[tuple[Cell | str, ...]] = []
    for row in table.rows:
        values = [mean_of(row, step_metric(step)) for step in at]
        if any(value is not None for value in values):
            shown = (NOTHING if value is None else percent(value) for value in values)
            lines.append((one_line(row.name), *cells(shown, row.name)))
    return plain_sheet(("Row", *(f"{step:,}" for step in at)), lines)


def depths_caption(table: Table) -> str:
    """What is measured, on how many puzzles, and what so many can say."""
    what = "Exact accuracy in % after so many supervision steps, mean over seeds"
    counts = sorted(
        {round(run.final[AT_DEPTH]) for row in table.rows for run in row.runs if run.final.get(AT_DEPTH, 0) >= 1}
    )
    if not counts:
        return f"{what}."
    few = counts[0]
    known = stats.test_set_interval(0.5, few)
    return (
        f"{what}, of the same {' or '.join(f'{count:,}' for count in counts)} test puzzles. Of {few:,} an accuracy of"
        f" 50 % is known to ± {percent((known.high - known.low) / 2)} points in one run; the table itself is of all."
    )
