"""PUZZLE | FILE | SET:17."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data_prep.maze import CHARACTERS
from data_prep.puzzle_set import PuzzleSet
from trm_core.checkpoint import open_at
from trm_core.opening import OtherPuzzles, open_model
from trm_core.solving.puzzles import BadPuzzle, read_puzzles
from trm_core.solving.thought import Asked


def read(model: Path, given: str, split: str = "test") -> list[Asked]:
    saved = open_at(model)
    return read_puzzles(given, saved, *open_model(saved), split=split)


def digits(tokens: np.ndarray) -> str:
    return "".join("?.1234"[token] for token in tokens)


def letters(tokens: np.ndarray) -> str:
    return "".join(CHARACTERS[token] for token in tokens)


def test_a_sudoku_is_read_however_it_is_laid_out_and_solved(sudoku_model: Path, puzzles: PuzzleSet) -> None:
    text = digits(puzzles.test.inputs[2])
    rows = [text[i : i + 4] for i in range(0, 16, 4)]
    drawn = "\n".join(f"{row[:2]} | {row[2:]}" for row in rows[:2]) + "\n---+---\n"
    drawn += "\n".join(f"{row[:2]} │ {row[2:]}" for row in rows[2:])
    for given in (text, text.replace(".", "0"), text.replace(".", "_"), drawn):
        (asked,) = read(sudoku_model, given)
        assert asked.question.tolist() == puzzles.test.inputs[2].tolist()
        assert asked.answer is not None
        assert asked.answer.tolist() == puzzles.test.labels[2].tolist()


def test_a_sudoku_with_several_answers_is_asked_and_not_judged(sudoku_model: Path) -> None:
    assert read(sudoku_model, "." * 16)[0].answer is None


def test_a_maze_is_read_row_by_row_or_as_lines_that_lost_their_last_spaces(maze_model: Path, mazes: PuzzleSet) -> None:
    text = letters(mazes.test.inputs[1])
    lines = "\n".join(text[i : i + 5].rstrip() for i in range(0, 25, 5)) + "\n"
    for given in (text, lines):
        (asked,) = read(maze_model, given)
        assert asked.question.tolist() == mazes.test.inputs[1].tolist()
        assert asked.answer is not None
        assert asked.answer.tolist() == mazes.test.labels[1].tolist()


def test_a_file_has_a_puzzle_a_line_or_one_or_is_a_table(
    sudoku_model: Path, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    rows = [digits(row) for row in puzzles.test.inputs[:3]]
    one = tmp_path / "one.txt"
    one.write_text("\n".join(rows[0][i : i + 4] for i in range(0, 16, 4)))
    assert [asked.name for asked in read(sudoku_model, str(one))] == ["one.txt"]
    several = tmp_path / "several.txt"
    several.write_text("\n".join(rows) + "\n")
    assert [asked.name for asked in read(sudoku_model, str(several))] == [f"several.txt, line {i}" for i in (1, 2, 3)]
    table = tmp_path / "table.csv"
    answers = [digits(row) for row in puzzles.test.labels[:3]]
    lines = [f"us,{question},{answer},0" for question, answer in zip(rows, answers, strict=True)]
    table.write_text("\n".join(["source,question,answer,rating", *lines, ""]))
    assert [digits(asked.question) for asked in read(sudoku_model, str(table))] == rows
    assert [asked.name for asked in read(sudoku_model, f"{table}:2,0-1")] == [f"table.csv {i}" for i in (2, 0, 1)]


def test_a_set_is_asked_by_number_in_any_split(sudoku_model: Path, puzzle_folder: Path, puzzles: PuzzleSet) -> None:
    found = read(sudoku_model, f"{puzzle_folder}:3,5-6", "validation")
    assert [asked.name for asked in found] == ["validation 3", "validation 5", "validation 6"]
    assert [asked.question.tolist() for asked in found] == puzzles.validation.inputs[[3, 5, 6]].tolist()


def test_of_arc_all_test_inputs_of_a_task_are_asked_under_its_identifier(
    arc_model: Path, arc_folder: Path, arc: PuzzleSet
) -> None:
    assert arc.groups is not None
    tasks = np.unique(arc.test.puzzle_ids)
    found = [asked for number in range(len(tasks)) for asked in read(arc_model, f"{arc_folder}:{number}")]
    assert len(found) == len(arc.test)
    assert sorted(asked.puzzle_id for asked in found) == sorted(arc.test.puzzle_ids.tolist())
    assert any(asked.name.endswith("input 2") for asked in found)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            "12",
            "'12': no such file, and as a puzzle: 2 cells, expected the 16 of a 4x4 sudoku (1 to 4, `.` for a blank)",
        ),
        ("12345...........", "'5' in row 2, column 1, expected 1 to 4"),
        ("11..............", "without an answer"),
        ("nowhere:17", "nowhere: no puzzle set and no file there"),
        ("nowhere/puzzles.txt", "no such file, and as a puzzle"),
        ("{set}", "a folder; say which of its puzzles, "),
        ("{set}:24", "split test: number 24, but it has 24 puzzles, counted from 0"),
        ("{set}:0-99", "0-99 are more than 64 puzzles"),
        ("{set}:5-3", "0 puzzles, expected 1 to 64"),
        ("x" * 5000, "5000 cells, expected the 16"),
        ("\0", "expected the 16"),
        ("{file}", "not text"),
        ("{file}:3", "its puzzles have no numbers"),
    ],
)
def test_what_is_no_puzzle_is_told_in_one_line(
    sudoku_model: Path, puzzle_folder: Path, tmp_path: Path, given: str, told: str
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    given = given.replace("{set}", str(puzzle_folder)).replace("{file}", str(tmp_path / "bytes"))
    with pytest.raises(BadPuzzle) as refused:
        read(sudoku_model, given)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("maze", "told"),
    [
        ("S####" + "#####" * 3 + "####G", "without a way from S to G"),
        (" " * 25, "a maze with 0 S, expected one"),
        ("S" + " " * 23 + "o", "'o' in row 5, column 5, expected `#`, space, S, G"),
    ],
)
def test_what_is_no_maze_is_told_in_one_line(maze_model: Path, maze: str, told: str) -> None:
    with pytest.raises(BadPuzzle) as refused:
        read(maze_model, maze)
    assert told in str(refused.value)


def test_a_task_of_arc_outside_its_set_and_a_set_of_other_puzzles_are_refused(
    arc_model: Path, sudoku_model: Path, arc_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "task.json").write_text("{}")
    with pytest.raises(BadPuzzle, match="give the set and which of its tasks, SET:17"):
        read(arc_model, str(tmp_path / "task.json"))
    with pytest.raises(OtherPuzzles, match="puzzles of 36 cells"):
        read(sudoku_model, f"{arc_folder}:0")
