"""A thought in a terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trm_core.solving.conftest import by_hand
from trm_core.solving.ask import solve
from trm_core.solving.text import can_say, in_characters


def test_a_sudoku_is_drawn_with_what_changed_and_what_is_wrong_marked() -> None:
    assert in_characters([by_hand()], columns=50).plain.splitlines() == [
        "TRM, by hand",
        "+ changed in this step   x wrong   * changed, and",
        "wrong",
        "",
        "by hand: solved; settled at step 3 of 3; asks to",
        "halt at step 3",
        "",
        "question          step 1, 1 wrong",
        "                  halts p=0.10",
        ". 2 | 3 4         1+2 | 3 4",
        "3 . | 1 2         3 1*| 1 2",
        "----+-----        ----+-----",
        "2 1 | . 3         2 1 | 4+3",
        "4 3 | 2 1         4 3 | 2 1",
        "",
        "step 2, 2 wrong   step 3, 0 wrong",
        "halts p=0.20      halts p=0.90",
        "1 2 | 3 4         1 2 | 3 4",
        "3 1x| 1 2         3 4+| 1 2",
        "----+-----        ----+-----",
        "2 1 | 2*3         2 1 | 4+3",
        "4 3 | 2 1         4 3 | 2 1",
    ]


@pytest.mark.parametrize("columns", [80, 40, 30])
def test_boards_stand_beside_each_other_as_far_as_the_terminal_is_wide(maze_model: Path, columns: int) -> None:
    maze = "S    " + "     " * 3 + "    G"
    drawn = in_characters(solve(maze_model, maze, steps=9), columns=columns).plain.splitlines()
    assert max(map(len, drawn)) <= columns
    width = len("step 1, 12 wrong")
    assert max(line.count("halts p=") for line in drawn) == (columns + 3) // (width + 3)


def test_without_letters_a_maze_is_drawn_in_ascii(maze_model: Path) -> None:
    maze = "S#   " + " #   " * 3 + "    G"
    thoughts = solve(maze_model, maze)
    assert in_characters(thoughts, letters=False).plain.isascii()
    assert "█" in in_characters(thoughts, letters=True).plain


def test_colours_change_no_letter(sudoku_model: Path, puzzle_folder: Path) -> None:
    thoughts = [by_hand(), *solve(sudoku_model, f"{puzzle_folder}:0")]
    plain, coloured = (in_characters(thoughts, coloured=coloured) for coloured in (False, True))
    assert plain.plain == coloured.plain


def test_arc_is_drawn_as_digits_within_its_grid(arc_model: Path, arc_folder: Path) -> None:
    thoughts = solve(arc_model, f"{arc_folder}:0,1")
    drawn = in_characters(thoughts).plain
    assert drawn.isascii()
    assert drawn.count("question") == len(thoughts)
    assert drawn.count("answer\n") + drawn.count("answer ") >= sum(not thought.solved for thought in thoughts)


def test_which_letters_an_encoding_has() -> None:
    assert can_say("█", "utf-8")
    assert can_say("█", "cp437")
    assert not can_say("█", "ascii")
    assert not can_say("█", "latin-1")
    assert not can_say("█", None)
    assert not can_say("█", "no such thing")
