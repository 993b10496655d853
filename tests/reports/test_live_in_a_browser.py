"""A page of runs that go on, as a person has it: what it says of its age, and that it ends asking."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from reports.index import Entry, html
from reports.live import Live
from reports.page import page
from sweeps.status import RunStatus
from sweeps.study import Study
from tests.reports.records import record, table_of
from tests.reports.test_page_in_a_browser import CHROMIUM, found_in

pytestmark = [pytest.mark.browser, pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine")]

SAYS = """
  const live = page.getElementById("live"), gone = live.querySelector("div");
  return [live.querySelector(".caption").innerText, gone.hidden ? "" : gone.innerText,
    page.querySelector("[data-past]").innerText, page.documentElement.scrollWidth <= view.innerWidth];
"""
RUN = RunStatus("TRM k=1", "seed 1", "running", 100, 50, loss=1.25)


def of_age(hours: float) -> int:
    return round(1000 * (time.time() - 3600 * hours))


def test_a_page_that_was_just_written_says_how_long_ago_and_asks_again(study: Study, tmp_path: Path) -> None:
    of = Live("1 of 2 done, 1 running", (("", RUN),), of_age(0), "python -m reports a")
    text = page(table_of(study, "mini", [record(study, "TRM k=1", 0.5)]), [], live=of)
    caption, gone, heading, fits = found_in(text, SAYS, tmp_path, width=390)
    assert caption.startswith("1 of 2 done, 1 running. Last refreshed ")
    assert caption.endswith("s ago; this page asks for itself every 30 s while runs go on.")
    assert (gone, heading, fits) == ("", "Running now", True)


def test_one_that_nobody_has_written_for_hours_says_that_and_asks_no_more(study: Study, tmp_path: Path) -> None:
    of = Live("1 of 2 done, 1 running", (("", RUN),), of_age(3.5), "python -m reports a", every_s=1)
    text = page(table_of(study, "mini", [record(study, "TRM k=1", 0.5)]), [], live=of)
    asked = f"view.mine = true; await new Promise((done) => setTimeout(done, 3000)); if (!view.mine) return []; {SAYS}"
    caption, gone, heading, fits = found_in(text, asked, tmp_path, width=390)
    assert caption == "1 of 2 done, 1 running. That was so then."
    assert gone.startswith("Last refreshed 3 h ago; the command may have ended: this page asks for itself no more.")
    assert "python -m reports a" in gone
    assert (heading, fits) == ("Was running", True)


def test_the_index_says_the_same(tmp_path: Path) -> None:
    entry = Entry("a_study", "mini", title="A study", runs=(RUN,))
    caption, gone, heading, fits = found_in(html([entry], [], of_age(50)), SAYS, tmp_path, width=390)
    assert (caption, heading, fits) == ("0 of 1 done, 1 running. That was so then.", "Was running", True)
    assert gone.startswith("Last refreshed 2 d ago; ")
    assert "python -m reports all" in gone
