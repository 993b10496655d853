"""A tuned study's figures."""

from __future__ import annotations

from reports.table import NOTHING
from reports.tune_figures import figures
from tests.sweeps.test_tune import record, tuned_row

A, B = tuned_row("A", (0.5, 0.5), (0.5, 0.5)), tuned_row("B", (0.4, 0.4), (0.6, 0.6))
BARE = tuned_row("C", (0.1, 0.2), ())


def test_the_figure_has_a_line_for_every_row_and_says_what_was_gained() -> None:
    (name, _, gains), *_ = figures(record(A, B, BARE))
    (panel,) = gains.axes
    assert name == "gains"
    assert [label.get_text() for label in panel.get_yticklabels()] == ["A", "B", "C"]
    assert {text.get_text() for text in panel.texts} == {"gain", "+0.0", "+20.0", NOTHING}


def test_rows_without_any_number_have_no_figure_of_gains() -> None:
    assert [name for name, _, _ in figures(record(tuned_row("A", (), ())))] == ["slices-1-A"]
