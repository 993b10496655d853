"""A search's figures fit their paper."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.search_figures import pictures
from reports.search_report import write_search_report
from sweeps.search_record import Objective
from tests.sweeps.searches import EXACT, FLOPS, LOSS, search, small, trial


@pytest.mark.parametrize("objectives", [(EXACT,), (EXACT, FLOPS), (EXACT, FLOPS, LOSS)])
def test_nothing_in_a_figure_is_cut_at_its_edge(objectives: tuple[Objective, ...]) -> None:
    for name, _, figure in pictures(search(objectives=objectives)).drawn:
        held = figure.get_tightbbox()
        assert held is not None
        assert held.x0 > -0.02, name
        assert held.y0 > -0.02, name
        assert held.x1 < figure.get_figwidth() + 0.02, name
        assert held.y1 < figure.get_figheight() + 0.02, name


def test_one_setting_has_its_slice_drawn_too(tmp_path: Path) -> None:
    only = small(*(trial(number, 0.0, lr=0.001 * (number + 1)) for number in range(4)))
    assert "figures/slices.png" in write_search_report(only, tmp_path).files
