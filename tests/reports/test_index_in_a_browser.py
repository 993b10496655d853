"""The index as a person has it: in a headless Chromium, at the width of a phone and of a screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.index import Entry, html
from sweeps.status import Became, RunStatus
from tests.reports.test_page_in_a_browser import CHROMIUM, found_in

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")]

FITS = """
  const root = page.documentElement;
  const row = page.querySelector("table.index tbody tr");
  const ends = [...row.querySelectorAll(".chips .mark")].map((mark) => {
    const words = page.createRange();
    words.selectNodeContents(mark.nextSibling);
    const [sign, said] = [mark.getBoundingClientRect(), words.getBoundingClientRect()];
    return sign.right <= said.left + 4 && Math.abs(sign.bottom - said.bottom) < 4;
  });
  const top = row.getBoundingClientRect().top;
  return [root.scrollWidth <= view.innerWidth, top < 844, row.innerText.includes("1 of 3"), ...ends];
"""


@pytest.mark.parametrize("width", [390, 1280])
def test_the_index_fits_its_width_and_its_first_study_is_on_the_first_screen_each_mark_before_its_words(
    tmp_path: Path, width: int
) -> None:
    words: tuple[Became, ...] = ("done", "failed", "waiting")
    runs = tuple(RunStatus("A row", f"seed {at}", became, 100) for at, became in enumerate(words))
    command = "python sweeps/run.py --study a_study --profile mini --only 'HRM k=1, T=1' 'TRM k=1, T=1' --seeds 3"
    entry = Entry(
        "a_study_of_a_long_name", "official", "lr=0.003", "A study", {"reproduced": 3, "lower": 1}, {"holds": 2}, runs,
        command=command, page="official/a/page.html", said=("a document of another campaign, " * 9,)
    )  # fmt: skip
    assert found_in(html([entry], [], 0), FITS, tmp_path, width=width) == [True] * (3 + 2), (
        "a mark stands before its words"
    )
