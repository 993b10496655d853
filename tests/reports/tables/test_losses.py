"""The tutorial's table of training losses."""

from __future__ import annotations

from reports.tables import losses as losses_module
from tests.reports.tables.papers import papers_cells


def test_the_tutorials_table_has_its_settings_and_prints_its_numbers_as_they_stand_there() -> None:
    header, *lines = papers_cells("tutorial")
    assert header == ["Configuration", "layers", "T", "n", "EMA", "depth", *losses_module.LOSSES]
    assert lines[1] == ["No EMA", "2", "3", "6", "no", "42", "1.789", "1.042", "1.041", "41.7"]
    assert lines[3] == ["Bigger brain", "4", "3", "3", "yes", "48", "1.789", "1.007", "1.007", "43.7"]
