"""What is quoted from others."""

from __future__ import annotations

from reports.tables.laid_out import sheet
from reports.tables.quoted import fit, quotes
from reports.types import Table
from sweeps.study import Quoted, Study
from tests.reports.records import table_of


def test_what_the_paper_quotes_keeps_its_columns_under_its_title(two_puzzles: Table) -> None:
    assert [len(line) for line in sheet(two_puzzles).lines] == [6] * 5


def test_what_does_not_fit_the_papers_columns_is_a_table_of_its_own(
    two_puzzles: Table, table: Table, puzzles_study: Study
) -> None:
    assert (fit(two_puzzles), quotes(two_puzzles), quotes(table)) == (True, None, None)
    quoted = (Quoted(name="o3", parameters="", cells={"Sudoku-Extreme": 0.1, "elsewhere": 2.0}),)
    other = table_of(puzzles_study.model_copy(update={"quoted": quoted}), "official")
    assert not fit(other)
    found = quotes(other)
    assert found is not None
    assert found.columns[1:] == ("# Params", "Sudoku-Extreme", "elsewhere")
    assert [[cell.text for cell in line] for line in found.lines] == [["o3", "–", "0.1", "2.0"]]
