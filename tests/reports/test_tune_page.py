"""The page of a tuned study."""

from __future__ import annotations

import re
from pathlib import Path

from reports.tune_report import write_tune_report
from tests.sweeps.test_tune import record, tuned_row

A, B = tuned_row("A", (0.5, 0.5), (0.5, 0.5)), tuned_row("B", (0.4, 0.4), (0.6, 0.6))
BARE = tuned_row("C", (0.1, 0.2), ())


def test_the_page_shows_the_gains_and_each_rows_trials_and_fetches_nothing(tmp_path: Path) -> None:
    write_tune_report(record(A, B, BARE), tmp_path)
    text = (tmp_path / "page.html").read_text()
    assert text.count("<svg") == 4
    assert not re.search(r"https?://|<script|url\((?!#)", text)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "figures do not take each other's marks"
