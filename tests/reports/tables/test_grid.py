"""Table 3: two models side by side."""

from __future__ import annotations

from tests.reports.tables.papers import papers_cells


def test_table_3_has_hrm_beside_trm() -> None:
    header, first, *_, last = papers_cells("recursion_depth")
    assert header == ["k", "T", "Depth", "paper", "Depth", "paper"]
    assert first == ["1", "1", "8†", "46.4", "6†", "63.2"]
    assert last == ["6", "6", "168", "57.5", "156", "OOM"]
