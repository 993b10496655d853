from typing import Any

import numpy as np
import pytest

from data_prep.puzzle_set import PuzzleSet, Split
from data_prep.show import COLOURS, CannotShow, Look, for_this_terminal, in_characters, look


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


def show(puzzles: PuzzleSet, number: int, *, columns: int = 80, **asked: Any) -> str:
    return in_characters(look(puzzles, number, **asked), columns=columns).plain


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
    with pytest.raises(CannotShow, match="mazes alone have a choice; say --augment without a word"):
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
        ({"number": 0, "variant": 2**63}, "variant 9223372036854775808: expected 0 .* to 9223372036854775807"),
    ],
)
def test_what_is_not_there_is_named(maze: PuzzleSet, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(CannotShow, match=message):
        show(maze, **asked)


def test_a_set_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(CannotShow, match="a set of 'chess': expected sudoku, maze or arc"):
        show(a_set("chess", [2, 2, 2, 2], [2, 2, 2, 2], None, 12), 0)


# --- ARC ---


def test_a_task_is_drawn_whole_with_its_demonstrations_beside_each_other_and_its_tests_below(tasks: PuzzleSet) -> None:
    assert show(tasks, 0).split("\n") == [
        "test 0: task flip, variant 0 of 5",
        "",
        "demonstration 1, 1x2 → 1x2   demonstration 2, 2x1 → 2x1",
        "1 2 → 2 1                    7 → 0",
        "                             0   7",
        "",
        "test 1, 1x3 → 1x3",
        "0 5 4 → 4 5 0",
    ]


def test_narrow_terminals_have_narrow_cells_then_one_grid_below_the_other(tasks: PuzzleSet) -> None:
    narrow, narrowest = (show(tasks, 0, columns=columns).split("\n") for columns in (12, 5))
    assert narrow[-1] == "054 → 450"
    assert narrow.index("demonstration 2, 2x1 → 2x1") > narrow.index("12 → 21")
    assert narrowest[-5:] == ["054", "", "→", "", "450"]


def test_what_is_learnt_from_alone_is_said_to_be(tasks: PuzzleSet) -> None:
    drawn = show(tasks, 0, split="train").split("\n")
    assert drawn[:2] == [
        "train 0: task grow, variant 0 of 5",
        "all of it is learnt from: the last examples are its tests",
    ]
    assert "example 2, 1x2 → 2x2" in "\n".join(drawn)
    assert "task flip" in show(tasks, 1, split="train")
    with pytest.raises(CannotShow, match="task 1: the test split has 1 tasks, expected 0 to 0"):
        show(tasks, 1)


def is_image(new: Look, old: Look, turns: int, mirrored: bool) -> bool:
    """Whether one move, then one map of colours that leaves 0 alone, turns every grid of a task into the other's."""
    images = {0: {0}}
    for here, there in zip(new.pairs, old.pairs, strict=True):
        for grid, original in ((here.question, there.question), (here.answer, there.answer)):
            moved = np.rot90(np.fliplr(original) if mirrored else original, turns)
            if moved.shape != grid.shape:
                return False
            for before, after in zip(moved.flat, grid.flat, strict=True):
                images.setdefault(int(before), set()).add(int(after))
    return all(len(image) == 1 for image in images.values()) and len(set.union(*images.values())) == len(images)


def test_a_variant_of_a_task_is_one_move_and_one_permutation_of_colours_for_all_its_pairs(tasks: PuzzleSet) -> None:
    original, seen = look(tasks, 0), [look(tasks, 0, variant=variant) for variant in range(6)]
    assert all(any(is_image(one, original, t, m) for t in range(4) for m in (False, True)) for one in seen)
    assert len({in_characters(one).plain.partition("\n")[2] for one in seen}) == 6
    with pytest.raises(CannotShow, match=r"variant 6: expected 0 .* to 5, as many as task flip has"):
        look(tasks, 0, variant=6)


def test_a_terminal_with_colours_shows_cells_as_blocks_of_the_ten_colours(
    tasks: PuzzleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    drawn = for_this_terminal(look(tasks, 0))
    red, green, blue = (int(COLOURS[1][i : i + 2], 16) for i in (1, 3, 5))
    assert f"\x1b[48;2;{red};{green};{blue}m  \x1b[0m" in drawn
    monkeypatch.setenv("NO_COLOR", "1")
    plain = for_this_terminal(look(tasks, 0))
    assert "1 2 → 2 1" in plain
    assert "\x1b[48" not in plain
    monkeypatch.delenv("FORCE_COLOR")
    monkeypatch.delenv("NO_COLOR")
    assert for_this_terminal(look(tasks, 0)) == show(tasks, 0)  # not a terminal


def test_a_coloured_drawing_has_the_layout_of_the_plain_one(tasks: PuzzleSet) -> None:
    plain, coloured = (in_characters(look(tasks, 0), coloured=coloured).plain.split("\n") for coloured in (False, True))
    assert len(plain) == len(coloured)
    assert [line.rstrip() for line in plain if ":" in line] == [line.rstrip() for line in coloured if ":" in line]
    assert not any(character.isdigit() for character in coloured[3])
