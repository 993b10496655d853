"""page.html of a finished study: the numbers are there, and nothing goes wrong, on a desk and on a phone."""

from __future__ import annotations

import re

import pytest

from tests.browser.chromium import Chromium
from tests.browser.conftest import Made

pytestmark = [pytest.mark.browser, pytest.mark.ray]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_shows_every_row_and_its_number_without_a_complaint(
    chromium: Chromium, made: Made, width: int
) -> None:
    rows = [row.name for row in made.campaign.rows]
    seen = chromium.look((made.folder / "page.html").as_uri(), until=rows, width=width)
    assert seen.complaints == ()
    ours = re.findall(r"\d+\.\d ± \d+\.\d", (made.folder / "table.md").read_text())
    assert len(ours) >= len(rows)
    text = "".join(seen.text.split())  # however its lines are broken
    for words in (*rows, *ours, "Small recursions"):
        assert "".join(words.split()) in text
    assert seen.width <= width, "nobody has to scroll sideways"
