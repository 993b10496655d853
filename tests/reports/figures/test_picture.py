"""A figure's numbers as a file, and what is said where it is not drawn."""

from __future__ import annotations

from reports.figures.picture import NotDrawn, Numbers, column_and_label
from reports.types import Table


def test_numbers_are_written_in_full_and_a_name_is_no_formula() -> None:
    text = Numbers(("row", "accuracy"), [("=1+1", 0.1 + 0.2), ("TRM", None)]).csv()
    assert text == "row,accuracy\n'=1+1,0.30000000000000004\nTRM,\n"


def test_a_figure_that_is_not_drawn_is_named_in_words() -> None:
    assert NotDrawn("ema_distance", "set train.x.").sentence == "Ema distance: set train.x."


def test_a_row_stands_under_its_test_set_where_the_table_has_several(two_puzzles: Table, table: Table) -> None:
    found = [column_and_label(row, two_puzzles) for row in two_puzzles.rows]
    assert ("Maze-Hard", "TRM-Att") in found
    assert column_and_label(table.rows[0], table) == ("", table.rows[0].name)
