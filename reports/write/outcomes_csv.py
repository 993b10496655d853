"""What outcomes per puzzle add to a table, as CSV: every number in full precision, accuracies as fractions."""

from __future__ import annotations

from reports.plain import csv_text
from reports.tables.outcomes import HALTING, mean_of, step_metric, steps
from reports.types import Table


def paired_csv(table: Table) -> str:
    """Each row less its baseline on shared puzzles, the standard error of each source, and the test of the table."""
    header = [
        *("study", "profile", "row", "baseline", "runs", "baseline_runs", "test_puzzles", "difference"),
        *("standard_error_seeds", "standard_error_puzzles", "bootstrap_95_low", "bootstrap_95_high", "p", "test"),
    ]
    against = {row.name: row.against for row in table.rows}
    lines: list[list[object]] = []
    for one in table.paired:
        ends = (None, None) if one.bootstrap is None else (one.bootstrap.low, one.bootstrap.high)
        tested = against[one.row]
        test = (None, None) if tested is None else (tested.p, tested.by)
        parts = (one.parts.difference, one.parts.seeds, one.parts.puzzles)
        lines.append(
            [table.study.name, table.profile, one.row, one.other, *one.runs, one.puzzles, *parts, *ends, *test]
        )
    return csv_text(header, lines)


def halting_csv(table: Table) -> str:
    """What the halting head of each row is worth: means over the seeds, by the metrics' names."""
    names = [metric.removeprefix("test/") for metric in HALTING.values()]
    lines = [
        [table.study.name, table.profile, row.name, *(mean_of(row, metric) for metric in HALTING.values())]
        for row in table.rows
    ]
    return csv_text(["study", "profile", "row", *names], lines)


def depths_csv(table: Table) -> str:
    """Accuracy by supervision steps, a line per row and step."""
    lines = [
        [table.study.name, table.profile, row.name, step, value]
        for row in table.rows
        for step in steps(table)
        if (value := mean_of(row, step_metric(step))) is not None
    ]
    return csv_text(["study", "profile", "row", "supervision_steps", "accuracy"], lines)
