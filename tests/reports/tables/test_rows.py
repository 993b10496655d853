"""The long table: a column only where it can say something."""

from __future__ import annotations

from reports.tables.rows import COLUMNS, VERDICTS, every_row, row_header
from reports.types import Table
from sweeps.study import Study
from tests.reports.records import record, table_of


def test_a_column_stands_there_only_where_it_can_say_something(
    table: Table, study: Study, two_puzzles: Table, losses: Table
) -> None:
    shown = set(row_header(table))
    assert set(COLUMNS) - shown == {"A shortest path", "Difference", "To baseline", *VERDICTS}
    assert row_header(losses)[-1] == "Verdict on the loss", "beside accuracies"
    official = table_of(study, "official", [record(study, "TRM k=1", 0.63, profile="official")])
    assert {"Difference", "Verdict"} <= set(row_header(official))
    assert "A shortest path" in row_header(two_puzzles)


def test_every_row_has_a_cell_for_each_column_in_their_order(two_puzzles: Table) -> None:
    found = every_row(two_puzzles)
    assert found.columns == row_header(two_puzzles)
    assert [line[0].text for line in found.lines] == [row.name for row in two_puzzles.rows]
    assert {len(line) for line in found.lines} == {len(found.columns)}


def test_without_reasons_a_verdict_is_a_word_and_no_runs_own_words(study: Study) -> None:
    failed = record(study, "TRM k=1", None, profile="official", status="FAILED", tags={"failure": "a stranger's words"})
    table = table_of(study, "official", [failed])
    with_reasons, without = (every_row(table, reasons=reasons).lines[0][-1].text for reasons in (True, False))
    assert "a stranger's words" in with_reasons
    assert without == "failed"
