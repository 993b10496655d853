"""A run's journal: what is read of it, what a resumed run keeps of it, and what becomes of damage."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.journal import BadJournal, Journal, read_journal
from sweeps.records.types import Measurement


def row(step: int, loss: float = 1.0) -> Measurement:
    return Measurement(step, step, {"train/loss": loss})


def test_a_resumed_run_cuts_its_journal_back_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = Journal(path)
    for step in (2, 4, 6, 8):
        first.add(row(step))
    resumed = Journal(path)  # from a checkpoint at step 4
    assert resumed.add(row(6, 0.5)) == [row(2), row(4), row(6, 0.5)]
    assert resumed.add(row(8, 0.4)) == [row(8, 0.4)]
    assert read_journal(path) == [row(2), row(4), row(6, 0.5), row(8, 0.4)]


def test_what_comes_later_of_a_step_adds_to_its_row_wherever_the_journal_stands(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first = Journal(path)
    for step in (2, 4):
        first.add(row(step))
    first.amend(Measurement(2, 9, {"test/exact_accuracy": 0.5}))
    first.add(row(6))
    late = Measurement(2, 2, {"train/loss": 1.0, "test/exact_accuracy": 0.5})
    assert read_journal(path) == [late, row(4), row(6)]
    with path.open("a") as file:
        file.write('{"step": 8, "ti')  # killed
    resumed = Journal(path)  # from a checkpoint at step 4
    resumed.amend(Measurement(4, 9, {"test/exact_accuracy": 0.6}))
    assert read_journal(path)[1].metrics == {"train/loss": 1.0, "test/exact_accuracy": 0.6}
    again = resumed.add(row(6, 0.5))
    assert [one.metrics.get("test/exact_accuracy") for one in again] == [0.5, 0.6, None]
    assert read_journal(path) == again


def test_a_run_that_only_had_to_evaluate_again_keeps_its_last_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    Journal(path).add(row(2))
    Journal(path).add(Measurement(2, 9, {"test/exact_accuracy": 0.5}))
    assert read_journal(path) == [Measurement(2, 9, {"train/loss": 1.0, "test/exact_accuracy": 0.5})]


def test_a_line_torn_by_a_kill_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    Journal(path).add(row(2))
    with path.open("a") as file:
        file.write('{"step": 4, "time_')
    assert read_journal(path) == [row(2)]


# --- damage -----------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
GOOD = {"step": 4, "time_ms": 9, "metrics": {"train/loss": 1.0}}
WRONG: dict[str, st.SearchStrategy[Any]] = {
    "step": st.none() | st.booleans() | st.floats() | st.text() | st.integers(max_value=-1) | st.integers(2**63),
    "time_ms": st.none() | st.booleans() | st.floats() | st.lists(st.integers()) | st.integers(10**400, 10**400 + 9),
    "metrics": st.none()
    | st.integers()
    | st.lists(st.integers())
    | st.dictionaries(st.text(), st.none() | st.booleans() | st.text() | st.integers(10**400, 10**400 + 9), min_size=1),
}
damaged_rows = st.one_of(
    [st.builds(lambda name, value: json.dumps(GOOD | {name: value}).encode(), st.just(n), w) for n, w in WRONG.items()]
    + [st.just(json.dumps({key: GOOD[key] for key in GOOD if key != name}).encode()) for name in GOOD]
)
not_rows = st.one_of(
    damaged_rows,
    st.binary().filter(lambda line: b"{" not in line),  # else a search finds a good row in the end
    JSON.map(lambda value: json.dumps(value).encode()),
    st.integers(1, len(json.dumps(GOOD)) - 1).map(lambda cut: json.dumps(GOOD).encode()[:cut]),
    st.sampled_from([b"[" * 100_000, b'{"step": ' + b"9" * 5_000 + b"}", b"\xff\xfe{}", b'"\xc3"', b"\x00" * 512]),
)


@pytest.fixture(scope="module")
def journal_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal") / "metrics.jsonl"


@given(lines=st.lists(st.one_of(st.integers(0, 2**63 - 1), not_rows), max_size=8))
def test_of_a_damaged_journal_the_rows_are_read_by_step_and_nothing_else(
    journal_file: Path, lines: list[int | bytes]
) -> None:
    rows = [Measurement(line, 5, {"train/loss": 0.1}) for line in lines if isinstance(line, int)]
    text = {row.step: json.dumps(row._asdict()).encode() for row in rows}
    journal_file.write_bytes(b"\n".join(line if isinstance(line, bytes) else text[line] for line in lines))
    assert read_journal(journal_file) == sorted({row.step: row for row in rows}.values())


def test_a_journal_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["a folder", "a pipe"])
def test_what_is_no_file_in_a_journals_place_is_named_at_once(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    make(path)
    with pytest.raises(BadJournal, match="no file, expected a run's journal; move it away: .*metrics.jsonl"):
        read_journal(path)


def test_damaged_lines_are_named_with_file_and_line_and_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    first = Journal(path)
    for step in (2, 4, 6):
        first.add(row(step))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b"\xff\x00 damaged\n"
    path.write_bytes(b"".join(lines))
    with caplog.at_level(logging.WARNING):
        found = Journal(path)
    assert found.rows == read_journal(path) == [row(2), row(6)]
    assert caplog.messages == [f"{path}, line 2: damaged, no row of a step; set aside in metrics.damaged"]
    assert (tmp_path / "metrics.damaged").read_bytes() == lines[1]
    caplog.clear()
    Journal(path)  # once: what was set aside is not there any more
    assert caplog.messages == []


def test_of_much_damage_the_first_lines_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("no row\n" * 9)
    Journal(path)
    assert "line 1, 2, 3 and 6 more: damaged" in caplog.text


def test_a_journal_of_damage_alone_is_none_any_more_until_its_next_row(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    Journal(path).add(row(2))
    as_utf16 = path.read_text().encode("utf-16")
    path.write_bytes(as_utf16)
    journal = Journal(path)
    assert journal.rows == []
    assert not path.exists()
    assert (tmp_path / "metrics.damaged").read_bytes() in as_utf16
    journal.add(row(4))
    assert read_journal(path) == [row(4)]


def test_a_line_torn_by_a_kill_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    Journal(path).add(row(2))
    with path.open("a") as file:
        file.write('{"step": 4, "time_')
    Journal(path)
    assert caplog.messages == []
    assert not (tmp_path / "metrics.damaged").exists()
