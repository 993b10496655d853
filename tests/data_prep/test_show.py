from typing import Any

import numpy as np
import pytest

from data_prep.puzzle_set import PuzzleSet, Split
from data_prep.show import CannotShow, show


def a_set(puzzle: str, board: list[int], answer: list[int], box: int | None, vocab: int) -> PuzzleSet:
    """A set of one test puzzle."""
    cells = len(board)

    def split(n: int) -> Split:
        inputs, labels = (np.array([row] * n, dtype=np.uint8).reshape(n, cells) for row in (board, answer))
        return Split(inputs, labels, np.zeros(n, dtype=np.int32), np.full(n, 5, dtype=np.int32))

    facts: dict[str, Any] = {
        "puzzle": puzzle,
        "source": "by hand",
        "protocol": "none",
        "licence": "none",
        "source_sha256": {},
    }
    return PuzzleSet.build(
        {"train": split(0), "validation": split(0), "test": split(1)},
        **facts,
        box_rows=box,
        box_cols=box,
        cells=cells,
        vocab=vocab,
        n_puzzle_ids=1,
        seed=0,
        settings={},
    )


@pytest.fixture
def maze() -> PuzzleSet:
    return a_set("maze", [3, 2, 2, 2, 1, 2, 2, 2, 4], [3, 2, 2, 5, 1, 2, 5, 5, 4], None, 6)


def test_a_sudoku_is_drawn_with_its_boxes_question_and_answer_side_by_side() -> None:
    answer = [2, 3, 4, 5, 4, 5, 2, 3, 3, 2, 5, 4, 5, 4, 3, 2]
    sudoku = a_set("sudoku", [2, 1, 1, 1, *answer[4:]], answer, 2, 6)
    assert show(sudoku, 0).split("\n") == [
        "test 0, variant 0, rating 5",
        "",
        "1 . | . .   1 2 | 3 4",
        "3 4 | 1 2   3 4 | 1 2",
        "----+----   ----+----",
        "2 1 | 4 3   2 1 | 4 3",
        "4 3 | 2 1   4 3 | 2 1",
    ]
    with pytest.raises(CannotShow, match="mazes alone have a choice; leave --augment out"):
        show(sudoku, 0, augmentation="released")


def test_a_maze_is_drawn_wide_narrow_or_one_below_the_other_as_the_columns_allow(maze: PuzzleSet) -> None:
    wide, narrow, stacked = (show(maze, 0, columns=columns).split("\n")[3:] for columns in (19, 18, 12))
    assert wide == [
        "┌──────┐   ┌──────┐",
        "│S     │   │S     │",
        "│  ██  │   │o ██  │",
        "│    G │   │o o G │",
        "└──────┘   └──────┘",
    ]
    assert narrow == ["┌───┐   ┌───┐", "│S  │   │S  │", "│ █ │   │o█ │", "│  G│   │ooG│", "└───┘   └───┘"]
    assert [line.split("   ") for line in narrow[:1]] == [[stacked[0], stacked[6]]]
    assert stacked[5] == ""


def test_a_maze_says_which_path_its_answer_is(maze: PuzzleSet) -> None:
    assert "the answer is the path of the tie-break" in show(maze, 0)
    told = {show(maze, 0, variant=variant, augmentation="released").split("\n")[1] for variant in range(8)}
    assert told == {
        "the answer is the path of the tie-break",
        "the answer is a shortest path, but not that of the tie-break",
    }
    wrong = a_set("maze", [3, 2, 2, 2, 1, 2, 2, 2, 4], [3, 2, 2, 5, 1, 2, 2, 5, 4], None, 6)
    assert "the answer is no shortest path" in show(wrong, 0)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"number": 1}, "puzzle 1: the test split has 1 puzzles, expected 0 to 0"),
        ({"number": 0, "split": "train"}, "the train split has 0 puzzles, expected another split, it is empty"),
        ({"number": 0, "split": "tests"}, "split 'tests': expected one of train, validation, test"),
        ({"number": 0, "variant": -1}, "variant -1: expected 0"),
    ],
)
def test_what_is_not_there_is_named(maze: PuzzleSet, asked: dict[str, int], message: str) -> None:
    with pytest.raises(CannotShow, match=message):
        show(maze, **asked)  # type: ignore[arg-type]


def test_a_set_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(CannotShow, match="a set of 'arc': expected sudoku or maze"):
        show(a_set("arc", [2, 2, 2, 2], [2, 2, 2, 2], None, 12), 0)
