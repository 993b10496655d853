"""What the paper's own columns of a table say."""

from __future__ import annotations

from reports.tables.laid_out import sheet
from sweeps.study import find_study
from tests.reports.records import table_of


def papers_cells(study: str) -> list[list[str]]:
    """A study's table in official, without any run and without our columns."""
    found = sheet(table_of(find_study(study), "official"))
    kept = [at for at, name in enumerate(found.columns) if found.whose(at) != "ours"]
    return [[found.columns[at] for at in kept], *([line[at].text for at in kept] for line in found.lines)]
