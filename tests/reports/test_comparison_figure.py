"""A comparison's picture: the same twice, the chosen setting framed."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from reports import comparison_tables as comparing
from reports.comparison import Comparison, compare
from reports.comparison_figure import draw
from reports.figures.files import png, svg
from reports.figures.style import INK
from sweeps.study import Study
from tests.reports.compared import tables


@pytest.mark.parametrize("settings", [2, 30])
def test_the_terminal_text_fits_and_a_figure_is_drawn_the_same_twice(study: Study, settings: int) -> None:
    made = tables(
        study,
        {
            f"optim.lr={0.01 + at / 1000:g} optim.weight_decay=0.7": {"TRM k=1": (at / 40, 0.5), "HRM k=1": (0.2, 0.1)}
            for at in range(settings)
        },
    )
    found = compare(made)
    text = comparing.terminal(found, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert all(one.values[0] in text for one in found.settings)
    drawn = [draw(found) for _ in range(2)]
    assert drawn[0] is not None
    assert drawn[1] is not None
    assert png(drawn[0]) == png(drawn[1])
    assert svg(drawn[0]) == svg(drawn[1])
    assert ">test of the best<" in svg(drawn[0])


def test_the_chosen_setting_of_each_row_is_framed_and_no_other(by_lr: Comparison) -> None:
    figure = draw(by_lr)
    assert figure is not None
    frames = [
        one for one in figure.axes[0].patches if isinstance(one, Rectangle) and one.get_edgecolor() == to_rgba(INK)
    ]
    assert sorted((round(one.get_y()), round(one.get_x())) for one in frames) == [(0, 1), (1, 0)]
