"""A search as it stands, handed to the process that writes its report."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sweeps.search_record import SearchRecord
from sweeps.snapshot import NAME, BadSnapshot, Snapshot, take
from sweeps.tune_record import TuningRecord
from tests.sweeps.searches import search, small, trial
from tests.sweeps.test_tune import record, tuned_row

NOW = datetime(2026, 11, 26, 19, 30, tzinfo=UTC)


def of(what: SearchRecord | TuningRecord) -> Snapshot:
    return Snapshot(record=what, headline="1 of 3 trials have ended", written_ms=1, anew="python sweeps/run.py")


@pytest.mark.parametrize(
    "what",
    [search(), small(trial(0, math.inf), trial(1, 0.5)), small(), record(tuned_row("A", (0.5, 0.5), (0.6, 0.6)))],
    ids=["search", "infinite", "empty", "tuned"],
)
def test_what_is_left_is_taken_up_unchanged_and_once(what: SearchRecord | TuningRecord, tmp_path: Path) -> None:
    left = of(what)
    command = left.leave(tmp_path / "new")
    assert command == [sys.executable, "-m", "reports.unfinished", str(tmp_path / "new" / NAME)]
    found = take(Path(command[-1]))
    assert found.record == what
    if isinstance(found.record, SearchRecord) and isinstance(what, SearchRecord):
        kinds = [[repr(one.params) for one in of_what.trials] for of_what in (found.record, what)]
        assert kinds[0] == kinds[1], "a whole number has no decimals, and is no truth value"
    assert (found.headline, found.written_ms, found.anew) == (left.headline, left.written_ms, left.anew)
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("text", ["", "{}", '{"record": 1', "[]"])
def test_a_file_that_is_no_snapshot_is_named_in_a_line(text: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(BadSnapshot, match="expected a search's snapshot") as error:
        take(tmp_path / NAME)
    assert "\n" not in str(error.value)
