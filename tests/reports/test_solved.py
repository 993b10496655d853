"""The strip of a study's page: whose, from where, and what of a strangers' file gets into it."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from reports import solved as module
from reports.solved import solved
from reports.types import Table
from sweeps.study import Study
from tests.reports.records import record, table_of
from trm_core.solving.thought import Thought
from trm_core.solving.thought_file import NAME, write_thought


def thought(*, right: bool, name: str = "test 7", side: int = 4) -> Thought:
    """Two steps on a small Sudoku; the second is right, or wrong in a cell."""
    answer = np.tile(np.arange(2, 2 + side, dtype=np.uint8), side)
    boards = np.stack([np.roll(answer, 1), answer])[:, None]
    boards[1, 0, 0] = answer[0] if right else answer[1]
    return Thought(
        name=name, puzzle="sudoku", model="TRM", box=(1, side), question=np.ones_like(answer), answer=answer,
        boards=boards, halting=np.array([0.1, 0.9], np.float32), halted_at=2,
        moved=np.zeros((2, 2, side * side), np.float32), renewed=("z", "y"),
    )  # fmt: skip


@pytest.fixture
def table(study: Study, monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setattr(module, "artefact_file", lambda *_: None)  # MLflow: test_report has a real one
    runs = [record(study, "HRM k=1", 0.5), record(study, "TRM k=1", 0.7), record(study, "TRM k=1", 0.8, seed=1)]
    return table_of(study, "mini", runs)


def leave(out: Path, table: Table, found: dict[tuple[str, int], Thought | bytes]) -> None:
    """In the folders of these runs."""
    for row in table.rows:
        for run in row.runs:
            if (one := found.get((row.name, run.seed))) is not None:
                path = out / "runs" / run.key / NAME
                path.parent.mkdir(parents=True)
                path.write_bytes(one) if isinstance(one, bytes) else write_thought(one, path)


def test_it_is_of_the_best_run_that_solved_its_puzzle(table: Table, tmp_path: Path) -> None:
    leave(tmp_path, table, {("TRM k=1", 1): thought(right=False), ("TRM k=1", 0): thought(right=True),
                            ("HRM k=1", 0): thought(right=True)})  # fmt: skip
    found = solved(table, tmp_path)
    assert found is not None
    assert found.is_solved
    assert found.caption.startswith("TRM k=1, seed 0: TRM · test 7: solved; settled at step 2 of 2")
    assert base64.b64decode(found.image.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    again = solved(table, tmp_path)
    assert again == found


def test_where_none_solved_its_puzzle_the_best_run_that_left_one_is_shown(table: Table, tmp_path: Path) -> None:
    leave(tmp_path, table, {("TRM k=1", 1): b"torn", ("TRM k=1", 0): thought(right=False)})
    found = solved(table, tmp_path)
    assert found is not None
    assert not found.is_solved
    assert "TRM k=1, seed 0" in found.caption


def test_no_text_of_the_file_is_drawn_or_steers_the_page(table: Table, tmp_path: Path) -> None:
    evil = thought(right=True, name="$\\frac$ <script>\x1b[31m\u202e")
    leave(tmp_path, table, {("TRM k=1", 1): evil})
    found = solved(table, tmp_path)
    assert found is not None
    assert found.caption.isprintable()
    assert "\\frac" in found.caption, "it is text of the caption, and the page escapes it"


@pytest.mark.parametrize("bad", [b"", b"torn", thought(right=True, side=9), None])
def test_what_cannot_be_read_or_is_too_large_is_passed_over(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: bytes | Thought | None
) -> None:
    monkeypatch.setattr(module, "LARGEST_BOARD", 16)
    leave(tmp_path, table, {} if bad is None else {("TRM k=1", 1): bad})
    assert solved(table, tmp_path) is None
