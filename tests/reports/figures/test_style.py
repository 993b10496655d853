"""What tells two rows apart."""

from __future__ import annotations

import colorsys
import itertools

import pytest

from reports.figures import style
from reports.figures.style import Look, looks, looks_by_name


def test_every_base_has_a_ramp_of_its_own() -> None:
    assert len(style.RAMPS) == len(style.DARK_RAMPS) == len(style.BASE_ORDER)
    colours = [colour for ramp in style.RAMPS for colour in ramp]
    assert len(set(colours)) == len(colours), "what a colour becomes on a dark page is told by the colour"


def lightness(look: Look) -> float:
    red, green, blue = (int(look.colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return colorsys.rgb_to_hls(red, green, blue)[1]


def test_a_ladder_of_depths_gets_darker_with_depth_in_its_models_colour() -> None:
    found = looks([("trm", 6), ("hrm", 8), ("trm", 42), ("trm", 20)])
    assert all(look.colour in style.RAMPS[0] for look in (found[0], found[2], found[3]))
    assert found[1].colour in style.RAMPS[1]
    assert lightness(found[0]) > lightness(found[3]) > lightness(found[2])


@pytest.mark.parametrize("rows", [3, 9, 16, 40])
def test_rows_of_one_depth_differ_by_more_than_a_shade_of_one_hue(rows: int) -> None:
    found = looks([("trm", 42)] * rows)
    assert len(set(found)) == rows
    assert len({look.colour for look in found}) == min(rows, len(style.APART))
    for one, other in itertools.combinations(found, 2):  # a copy in grey has markers and dashes
        assert (one.dash, one.marker) != (other.dash, other.marker) or abs(lightness(one) - lightness(other)) > 0.03


def test_a_name_that_comes_again_on_another_test_set_keeps_its_look() -> None:
    found = looks_by_name([("TRM", "trm", 6), ("HRM", "hrm", 8), ("TRM", "trm", 6)])
    assert list(found) == ["TRM", "HRM"]
