"""A tuned study's report: both tables side by side, what was chosen, and whether the order changed."""

from __future__ import annotations

from pathlib import Path

from reports.tune_report import write_tune_report
from tests.sweeps.test_tune import record, tuned_row

A, B = tuned_row("A", (0.5, 0.5), (0.5, 0.5)), tuned_row("B", (0.4, 0.4), (0.6, 0.6))
BARE = tuned_row("C", (0.1, 0.2), ())


def test_a_report_of_fewer_rows_leaves_no_figure_of_the_others(tmp_path: Path) -> None:
    write_tune_report(record(A, B), tmp_path)
    report = write_tune_report(record(A), tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} == set(report.files)
    assert len([name for name in report.files if name.endswith(".svg")]) == 2
