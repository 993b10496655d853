"""Figures as bytes: the same twice, in the page's colours."""

from __future__ import annotations

import re

import pytest

from reports.figures.depth import accuracy_against_depth, draw_accuracy_against_depth
from reports.figures.files import inline, png, svg
from reports.types import Table


@pytest.mark.parametrize("comparable", [True, False])
def test_a_figure_drawn_twice_is_the_same_bytes_with_no_date(table: Table, comparable: bool) -> None:
    def draw() -> tuple[bytes, str]:
        figure = draw_accuracy_against_depth(accuracy_against_depth(table), comparable=comparable, profile="mini")
        assert figure is not None
        return png(figure), svg(figure)

    first, again = draw(), draw()
    assert first == again
    image = first[1]
    assert "<dc:date>" not in image
    assert ("not comparable" in image) == (not comparable)


def test_an_inlined_figure_takes_its_colours_from_the_page_and_keeps_its_ids_to_itself(table: Table) -> None:
    figure = draw_accuracy_against_depth(accuracy_against_depth(table), comparable=False, profile="mini")
    assert figure is not None
    image = inline(svg(figure), "a title", "one")
    assert image.startswith('<svg role="img" aria-label="a title" style="max-width: min(50rem, ')
    assert set(re.findall(r"#[0-9a-f]{6}\b", image)) <= {"#000000"}, "a colour that the dark page cannot change"
    ids = set(re.findall(r'\bid="([^"]*)"', image))
    assert all(name.startswith("one-") for name in ids)
    assert set(re.findall(r'(?:url\(#|href="#)([^")]*)', image)) <= ids, "a reference to nothing"
    assert "http" not in image
