"""The report of a search while its runs go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.search_report import write_search_report
from reports.unfinished import main
from sweeps.search_record import SearchRecord
from sweeps.snapshot import NAME, Snapshot
from sweeps.tune_record import TuningRecord
from tests.sweeps.searches import small, trial
from tests.sweeps.test_tune import record, tuned_row

SEARCH = small(trial(0, 0.9), trial(1, state="RUNNING"))
TUNED = record(tuned_row("A", (0.5, 0.5), ()))


@pytest.mark.parametrize(("of", "table"), [(SEARCH, "search.md"), (TUNED, "tuned.md")], ids=["search", "tuned"])
def test_its_page_says_how_far_it_is_and_asks_for_itself_until_the_last_one(
    of: SearchRecord | TuningRecord, table: str, tmp_path: Path
) -> None:
    command = Snapshot(record=of, headline="1 of 3 trials have ended", written_ms=9, anew="python x").leave(tmp_path)
    assert main(command[3:]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "1 of 3 trials have ended. " in page
    assert 'data-written="9" data-every="30"' in page
    assert "<code>python x</code>" in page
    assert (tmp_path / table).is_file()
    assert not (tmp_path / NAME).exists()
    if isinstance(of, SearchRecord):
        write_search_report(of, tmp_path)
        assert "data-every" not in (tmp_path / "page.html").read_text()


def test_a_search_without_a_trial_and_a_torn_snapshot_are_a_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Snapshot(record=small(), headline="none", written_ms=9, anew="python x").leave(tmp_path)
    assert main(command[3:]) == 2
    (tmp_path / NAME).write_text("{")
    assert main(command[3:]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "no trial yet" in first
    assert "expected a search's snapshot" in second
