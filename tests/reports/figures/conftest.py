"""Tables that figures are drawn of."""

from __future__ import annotations

import pytest

from reports.types import Table
from sweeps.study import Row, Study
from tests.reports.records import record, table_of


@pytest.fixture
def table(study: Study) -> Table:
    return table_of(study, "mini", [record(study, "TRM k=1", 0.9, seed=0), record(study, "TRM k=1", 0.8, seed=1)])


@pytest.fixture
def plain_study() -> Study:
    """Like Table 1: no places, two bases."""
    return Study(
        name="plain",
        title="Plain",
        puzzle="sudoku",
        source="Table 0",
        rows=(
            Row(name="TRM", base="trm", paper=87.4),
            Row(name="w/ ACT", base="trm", change={"model": {"halting": "q_learning"}}, paper="OOM"),
            Row(name="HRM", base="hrm", paper=55.0),
        ),
    )
