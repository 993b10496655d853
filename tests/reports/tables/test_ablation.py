"""Tables 1 and 2, and those like them."""

from __future__ import annotations

from tests.reports.tables.papers import papers_cells


def test_table_1_has_accuracy_depth_passes_and_parameters() -> None:
    header, *lines = papers_cells("components")
    assert header == ["Method", "paper", "Depth", "NFP", "# Params"]
    assert lines[:3] == [
        ["HRM", "55.0", "24", "2", "27M"],
        ["TRM (T=3, n=6)", "87.4", "42", "1", "5M"],
        ["w/ ACT", "86.1", "42", "2", "5M"],
    ]
    assert [line[4] for line in lines[3:]] == ["10M", "5M", "10M", "7M", "5M", "5M"]


def test_table_2_has_the_number_of_features() -> None:
    assert papers_cells("latent_features") == [
        ["Method", "# of features", "paper"],
        ["TRM y, z", "2", "87.4"],
        ["TRM multi-scale z", "n+1 = 7", "77.6"],
        ["TRM single z", "1", "71.9"],
    ]
