"""Which study is laid out as which of the paper's tables."""

from __future__ import annotations

import pytest

from reports.tables.laid_out import sheet
from sweeps.study import find_study
from tests.reports.records import table_of


@pytest.mark.parametrize(
    ("study", "labels", "text_columns"),
    [
        ("components", ("Method",), 1),
        ("latent_features", ("Method", "# of features"), 1),
        ("recursion_depth", ("k", "T"), 0),
        ("puzzles", ("Method", "# Params"), 1),
        ("arc_agi", ("Method", "# Params"), 1),
        ("tutorial", ("Configuration",), 1),
        ("speed", ("Recipe",), 1),
    ],
)
def test_each_study_has_the_layout_of_its_table(study: str, labels: tuple[str, ...], text_columns: int) -> None:
    found = sheet(table_of(find_study(study), "official"))
    assert (found.labels, found.text_columns) == (labels, text_columns)
    assert all(len(line) == len(found.columns) for line in found.lines)
