"""Tables 4 and 5: methods on several test sets."""

from __future__ import annotations

import pytest

from tests.reports.tables.papers import papers_cells


@pytest.mark.parametrize(
    ("study", "first", "mlp"),
    [
        ("puzzles", ["DeepSeek R1", "671B", "0.0", "0.0"], ["TRM-MLP", "5M/19M", "87.4", "0.0"]),
        ("arc_agi", ["DeepSeek R1", "671B", "15.8", "1.3"], ["TRM-MLP", "19M", "29.6", "2.4"]),
    ],
)
def test_tables_4_and_5_begin_with_the_quoted_rows_and_have_parameters(
    study: str, first: list[str], mlp: list[str]
) -> None:
    header, *lines = papers_cells(study)
    assert header == ["Method", "# Params", "paper", "paper"]
    assert [cell for cell in lines[0] if cell] == first
    assert lines[-1] == mlp
