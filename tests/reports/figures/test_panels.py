"""Limits that fit the data, names that do not overlap."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from reports.figures.panels import (
    amount,
    doubling_axis,
    fitted,
    in_per_cent,
    logarithmic_ticks,
    name_ends,
    panels,
    price_axis,
    spread_apart,
)


def test_names_are_spread_apart_about_where_they_want_to_be() -> None:
    assert spread_apart([5.0, 5.0, 5.0], 2.0) == pytest.approx([3.0, 5.0, 7.0])
    assert spread_apart([10.0, 0.0], 2.0) == [10.0, 0.0], "what is far apart stays"
    placed = np.sort(spread_apart([0.0, 0.5, 0.6, 9.0, 9.1], 1.0))
    assert np.diff(placed).min() >= 1.0 - 1e-9


def test_names_stay_inside_their_panel_where_there_is_room() -> None:
    assert spread_apart([9.0, 9.5, 10.0], 2.0, 0.0, 10.0) == pytest.approx([6.0, 8.0, 10.0])
    assert spread_apart([0.0, 0.5], 2.0, 0.0, 10.0) == pytest.approx([0.0, 2.0])
    assert spread_apart([5.0, 5.0, 5.0], 6.0, 0.0, 10.0) == pytest.approx([-2.0, 4.0, 10.0]), "no room: below"


@pytest.mark.parametrize("dpi", [72, 200])
def test_each_leader_goes_from_its_lines_end_to_its_name_at_any_resolution(dpi: int) -> None:
    figure, ((panel,),) = panels(1, 1, width=2, height=1.5, room=1)
    panel.set_xlim(0, 10)
    panel.set_ylim(0, 1)
    ends = [("one", 10.0, 0.5), ("other", 8.0, 0.5)]
    name_ends(panel, ends, ["#000000", "#111111"])
    figure.set_dpi(dpi)
    figure.canvas.draw()
    (leaders,) = panel.collections
    for text, leader, (name, x, y) in zip(panel.texts, leaders.get_paths(), ends, strict=True):
        assert text.get_text() == name
        start, end = leaders.get_transform().transform(leader.vertices)
        assert start == pytest.approx(panel.transData.transform((x, y)))
        box = text.get_window_extent()
        assert 2 < (box.x0 - end[0]) / dpi * 72 < 6, "points between a leader and its name"
        assert box.y0 < end[1] < box.y1


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([0.01, 0.05], 0.0, 0.05),  # ARC-2: not a flat line at the foot of an axis to 100 %
        ([0.8, 0.9], 0.8, 0.9),  # no room wasted below
        ([0.4, 0.9], 0.0, 0.9),
        ([0.5, 0.5], 0.49, 0.51),  # noise is not drawn as a difference
        ([1.0, 1.0], 0.98, 1.0),
        ([0.001], 0.0, 0.02),
        ([-0.2, 1.3], 0.0, 1.0),  # an interval in points is not cut, what can be is
    ],
)
def test_an_axis_of_fractions_fits_what_is_drawn(values: list[float], low: float, high: float) -> None:
    found = fitted(values)
    margin = 0.051 * (high - low)
    assert found == pytest.approx((low, high), abs=margin)
    assert found[0] < low
    assert found[1] > high


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [float("nan")]])
def test_an_axis_of_nothing_or_of_zeros_still_has_a_length(values: list[float]) -> None:
    low, high = fitted(values)
    assert low < 0 < high


def test_per_cent_has_no_needless_decimals() -> None:
    panel = Figure().add_subplot()
    panel.set_ylim(0, 0.3)
    in_per_cent(panel.yaxis)
    assert [panel.yaxis.get_major_formatter()(value, 0) for value in (0.07, 0.125, -0.5)] == ["7 %", "12.5 %", "−50 %"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((0, "0"), (0.0031, "0.0031"), (0.02, "0.02"), (8.5, "8.5"), (37.2, "37"), (1200, "1,200")),
        *((3.4e15, "3.4·10¹⁵"), (1e19, "10¹⁹"), (2.0e-7, "2·10⁻⁷")),
    ],
)
def test_an_amount_reads_as_a_person_writes_it(value: float, text: str) -> None:
    assert amount(value) == text


def test_prices_near_each_other_stand_on_an_axis_from_zero_and_others_on_a_logarithmic_one() -> None:
    near, far = Figure().subplots(1, 2)
    price_axis(near, [2.0, 4.0])
    price_axis(far, [2.0, 400.0])
    assert (near.get_xscale(), near.get_xlim()[0]) == ("linear", 0)
    assert far.get_xscale() == "log"
    assert far.get_xlim()[0] < 2 < 400 < far.get_xlim()[1]


def test_an_axis_of_doubled_steps_has_a_tick_at_each_power_of_two() -> None:
    panel = Figure().add_subplot()
    doubling_axis(panel, [1, 16, 128])
    assert panel.get_xticks().tolist() == [1, 2, 4, 8, 16, 32, 64, 128]


def test_a_short_logarithmic_axis_has_ticks_that_differ() -> None:
    panel = Figure().add_subplot()
    panel.set_yscale("log")
    panel.set_ylim(0.84, 0.89)
    logarithmic_ticks(panel.yaxis, 0.89 / 0.84)
    texts = [panel.yaxis.get_major_formatter()(value, 0) for value in panel.get_yticks()]
    assert len(texts) > 2
    assert len(set(texts)) == len(texts)
