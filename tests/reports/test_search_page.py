"""The page of a search: safe, whole, offline."""

from __future__ import annotations

import re
from dataclasses import replace

from reports.search_page import page
from tests.reports.test_page import EVIL, Balance
from tests.sweeps.searches import search


def test_no_name_becomes_markup_and_the_page_asks_nothing_of_anyone() -> None:
    record = replace(search(), title=EVIL, name=EVIL, notes=(EVIL,), facts=((EVIL, EVIL),))
    trials = tuple(replace(one, reason=EVIL, params={EVIL: EVIL}) for one in record.trials)
    text = page(replace(record, trials=trials, space=()), [(EVIL, "<svg><text>drawn</text></svg>")])
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert "script" not in parser.seen
    assert "<svg><text>drawn</text></svg>" in text
    assert not re.search(r"https?:|//\w|@import|\bsrc=|<link|url\((?!#)", text)
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text
