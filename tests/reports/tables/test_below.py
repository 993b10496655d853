"""The tables below the paper's: which there are, and that each has its place and its files' name."""

from __future__ import annotations

from dataclasses import replace

from reports.tables.below import NAMES, below
from reports.types import Selected, Table


def test_a_table_of_which_nothing_more_is_known_has_none_below(table: Table) -> None:
    assert below(table) == ()


def test_they_stand_in_the_order_of_their_names_each_with_a_title_and_lines(arc: Table, table: Table) -> None:
    assert [one.name for one in below(arc)] == ["votes"]
    both = replace(arc, selected=(Selected("TRM", 2, 0.5, None, 0.6, False),))
    found = below(both)
    assert [one.name for one in found] == ["checkpoints", "votes"]
    assert [NAMES.index(one.name) for one in found] == sorted(NAMES.index(one.name) for one in found)
    assert all(one.title and one.caption and one.sheet.lines for one in found)
