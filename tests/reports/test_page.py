"""The page holds all it needs, and shows every text as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from reports.collect import with_losses, with_votes
from reports.page import page
from sweeps.study import Quoted, Study
from tests.reports.records import record, table_of

EVIL = "<script>alert(1)</script> \"q\" 'r' &amp;"
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Balance(HTMLParser):
    """Every tag that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


@pytest.fixture
def text(study: Study) -> str:
    rows = (study.rows[0].model_copy(update={"name": EVIL}), *study.rows[1:])
    evil = study.model_copy(update={"rows": rows, "title": EVIL, "note": EVIL})
    records = [
        record(evil, EVIL, 0.9, seed=0, tags={"device": EVIL}),
        record(evil, "HRM k=1", None, status="FAILED", tags={"failure": EVIL}),
    ]
    return page(table_of(evil, "mini", records), [(EVIL, "<svg><text>drawn</text></svg>")])


def test_no_name_reason_or_tag_becomes_markup(text: str) -> None:
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert "script" not in parser.seen
    assert "&lt;script&gt;alert(1)" in text
    assert "<svg><text>drawn</text></svg>" in text, "the figures are ours and are markup"


def test_the_page_asks_nothing_of_anyone(text: str) -> None:
    assert not re.search(r"https?:|//\w|@import|\bsrc=|<link|url\((?!#)", text)


def test_the_page_has_a_dark_scheme_a_print_sheet_and_fits_a_phone(text: str) -> None:
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert 'name="viewport"' in text


def test_the_page_lists_the_runs_and_the_settings(text: str) -> None:
    assert re.search(r"run-[0-9a-f]{16}", text)
    assert "<td>1:12</td>" in text
    assert "<code>train.steps</code>" in text
    assert "<code>model.n</code>" in text
    assert "torch 2.13.0" in text
    assert "0123456789ab" in text


@pytest.mark.parametrize("in_columns", [True, False])
def test_neither_what_is_quoted_nor_a_leak_becomes_markup(arc_study: Study, in_columns: bool) -> None:
    quoted = Quoted(name=EVIL, cells={"ARC-AGI-1" if in_columns else EVIL: 12.3})
    evil = arc_study.model_copy(update={"quoted": (quoted,)})
    run = record(evil, "TRM-Att, ARC-AGI-1", 0.4, profile="official", tags={"leaks": EVIL})
    table = with_votes(table_of(evil, "official", [run]), {run.run_id: [(1, 0.1, 0.2)]})
    text = page(table, [])
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert "script" not in parser.seen
    assert text.count("<table") == (6 if in_columns else 7), (
        "what is quoted stands in the grid, or in a table of its own"
    )
    assert ">12.3<" in text
    assert '<p class="warning" role="note">Leak: 1 test task' in text


def test_the_page_of_losses_shows_ours_in_full_and_the_sources_softly(losses_study: Study) -> None:
    runs = [record(losses_study, "No EMA", 0.0, seed=seed, profile="official") for seed in (0, 1)]
    curves = {(run.run_id, "train/lm_loss"): [(1, 2.0), (2, 1.0 + run.seed / 2)] for run in runs}
    text = page(with_losses(table_of(losses_study, "official", runs), curves), [])
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert '<td class="ours">1.250 ± 3.177 <span class="mark">?</span></td>' in text
    assert '<td class="paper">1.042</td>' in text
    assert text.count("Improvement %") == 2
