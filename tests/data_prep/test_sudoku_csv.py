from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_prep.sudoku import from_csv
from data_prep.sudoku_csv import NOTE, BadPuzzleFile, from_plain_csv

PUBLISHED = Path(__file__).resolve().parents[1] / "fixtures" / "sudoku-extreme"


def test_without_a_solver_the_set_is_the_one_that_the_solver_would_have_built() -> None:
    plain = from_plain_csv(PUBLISHED, train=100, validation=30, test=50, seed=3)
    whole = from_csv(PUBLISHED, train=100, validation=30, test=50, seed=3)
    assert plain.manifest.model_copy(update={"notes": ()}) == whole.manifest.model_copy(update={"notes": ()})
    for name, split in whole.splits.items():
        assert all(np.array_equal(array, plain.splits[name].arrays()[key]) for key, array in split.arrays().items())
    assert plain.manifest.notes == (NOTE,)


def test_a_training_puzzle_that_is_also_a_test_puzzle_is_left_out(tmp_path: Path) -> None:
    lines = (PUBLISHED / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join(lines[:21]) + "\n")
    (tmp_path / "test.csv").write_text("\n".join([lines[0], *lines[6:11]]) + "\n")
    puzzles = from_plain_csv(tmp_path, train=10, validation=5, test=None, seed=0)
    assert puzzles.manifest.dropped_from_train == 5
    tests = {board.tobytes() for board in puzzles.test.inputs}
    assert not tests & {board.tobytes() for name in ("train", "validation") for board in puzzles.splits[name].inputs}
    with pytest.raises(BadPuzzleFile, match="15 puzzles that no other split holds, expected 11 for train and 5"):
        from_plain_csv(tmp_path, train=11, validation=5, test=None, seed=0)


def _first_digit(line: str, *, of_answer: bool) -> str:
    """The line with one more in the question's first given, or in the answer's first cell."""
    fields = line.split(",")
    board = fields[2 if of_answer else 1]
    at = next(i for i, character in enumerate(board) if character != ".")
    fields[2 if of_answer else 1] = board[:at] + str(int(board[at]) % 9 + 1) + board[at + 1 :]
    return ",".join(fields)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda line: line[:-1] + "x", "line 4: expected .* a whole number as rating"),
        (lambda line: line + "0" * 10, "line 4: expected .* a whole number as rating"),
        (lambda line: line.replace(".", "", 1), "line 4: expected .* 81 characters"),
        (lambda line: line.replace(".", "/", 1), "line 4: expected digits or '.'"),
        (lambda line: _first_digit(line, of_answer=False), "line 4: .* keeps the question's digits"),
        (lambda line: _first_digit(line, of_answer=True), "line 4: .* each digit once"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, change: object, told: str) -> None:
    assert callable(change)
    lines = (PUBLISHED / "train.csv").read_text().splitlines()[:5]
    lines[3] = change(lines[3])
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(BadPuzzleFile, match=told):
        from_plain_csv(tmp_path, train=1, validation=1, test=1, seed=0)


def test_a_missing_file_and_a_wrong_header_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadPuzzleFile, match=r"no such folder"):
        from_plain_csv(tmp_path / "nowhere", train=1, validation=1, test=1, seed=0)
    with pytest.raises(BadPuzzleFile, match=r"train.csv: missing"):
        from_plain_csv(tmp_path, train=1, validation=1, test=1, seed=0)
    (tmp_path / "train.csv").write_text("question,way\n")
    with pytest.raises(BadPuzzleFile, match=r"line 1: columns 'question,way'"):
        from_plain_csv(tmp_path, train=1, validation=1, test=1, seed=0)
