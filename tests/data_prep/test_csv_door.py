"""What people's programs make of a puzzle file, and that the same puzzles come out of it."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_prep.__main__ import main
from data_prep.csv_door import first_board
from data_prep.maze import read_csv as read_mazes
from data_prep.puzzle_set import PuzzleSet
from data_prep.sudoku import BadPuzzleFile, from_csv, read_csv
from data_prep.sudoku_csv import from_plain_csv

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SUDOKU, MAZE = FIXTURES / "sudoku-extreme", FIXTURES / "maze-30x30-hard-gen"
HEADER = ["source", "question", "answer", "rating"]
Rows = list[list[str]]


def rows_of(path: Path) -> Rows:
    return [line.split(",") for line in path.read_text().splitlines()]


def written(rows: Rows, *, delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL, end: str = "\n") -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)  # type: ignore[arg-type]
    return file.getvalue().encode()


def reordered(rows: Rows) -> Rows:
    return [[row[3], row[2], row[0], row[1]] for row in rows]


# What a program does to the published rows, and what is to be said of it.
SAME_PUZZLES: dict[str, tuple[Callable[[Rows], bytes], str]] = {
    "a spreadsheet's byte-order mark and line ends": (lambda rows: b"\xef\xbb\xbf" + written(rows, end="\r\n"), ""),
    "every field in quotes": (lambda rows: written(rows, quoting=csv.QUOTE_ALL), ""),
    "quotes where a source has a comma": (
        lambda rows: written([rows[0], *(["list, part 2", *row[1:]] for row in rows[1:])]),
        "",
    ),
    "semicolons, as a spreadsheet in Europe writes": (
        lambda rows: written(rows, delimiter=";"),
        "train.csv: fields parted by semicolons",
    ),
    "an empty last line": (lambda rows: written(rows) + b"\n", "train.csv: 1 empty line passed over"),
    "a spreadsheet's empty rows": (lambda rows: written(rows) + b",,,\n,,,\n", "train.csv: 2 empty lines passed over"),
    "columns in another order": (lambda rows: written(reordered(rows)), ""),
    "names in capitals": (lambda rows: written([[name.title() for name in rows[0]], *rows[1:]]), ""),
    "an index in front": (
        lambda rows: written([["", *rows[0]], *([str(i), *row] for i, row in enumerate(rows[1:]))]),
        "train.csv: passed over: a column without a name",
    ),
    "ratings with a fraction": (
        lambda rows: written([rows[0], *([*row[:3], f"{row[3]}.0"] for row in rows[1:])]),
        "",
    ),
}


@pytest.mark.parametrize("what", SAME_PUZZLES)
@pytest.mark.parametrize("reads", [from_csv, from_plain_csv])
def test_a_sudoku_file_that_another_program_wrote_gives_the_published_puzzles(
    what: str, reads: Callable[..., PuzzleSet], tmp_path: Path
) -> None:
    write, said = SAME_PUZZLES[what]
    rows = rows_of(SUDOKU / "train.csv")[:60]
    (tmp_path / "train.csv").write_bytes(write(rows))
    (tmp_path / "test.csv").write_bytes((SUDOKU / "test.csv").read_bytes())
    asked = {"train": 20, "validation": 5, "test": 20, "seed": 1}
    puzzles = reads(tmp_path, **asked)
    (tmp_path / "train.csv").write_bytes(written(rows))
    assert puzzles.content_hash == reads(tmp_path, **asked).content_hash
    assert [note for note in puzzles.manifest.notes if "csv:" in note] == ([said] if said else [])


@pytest.mark.parametrize("what", SAME_PUZZLES)
def test_a_maze_file_that_another_program_wrote_gives_the_published_mazes(what: str, tmp_path: Path) -> None:
    write, _ = SAME_PUZZLES[what]
    (tmp_path / "train.csv").write_bytes(write(rows_of(MAZE / "train.csv")))
    mazes, published = read_mazes(tmp_path / "train.csv"), read_mazes(MAZE / "train.csv")
    assert np.array_equal(mazes.inputs, published.inputs)
    assert np.array_equal(mazes.labels, published.labels)
    assert np.array_equal(mazes.ratings, published.ratings)
    assert first_board(tmp_path / "train.csv") == 900


@pytest.mark.parametrize("names", [("quizzes", "solutions"), ("puzzle", "solution")])
def test_other_publishers_headers_are_known_and_what_was_understood_is_printed(
    names: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train.csv", "test.csv"):
        rows = [[row[1].replace(".", "0"), row[2], "7"] for row in rows_of(SUDOKU / name)[1:61]]
        (tmp_path / name).write_bytes(written([[*names, "clues"], *rows]))
    command = ["sudoku", "--source", str(tmp_path), "--train", "20", "--validation", "5", "--out"]
    assert main([*command, str(tmp_path / "set")]) == 0
    said = capsys.readouterr().out
    assert f"train.csv: {names[0]} taken for the questions, {names[1]} for the answers" in said
    assert "train.csv: passed over: clues" in said
    assert "test.csv: no rating" in said
    assert not PuzzleSet.open(tmp_path / "set").train.ratings.any()
    puzzles = read_csv(tmp_path / "train.csv")
    assert np.array_equal(puzzles.inputs, read_csv(SUDOKU / "train.csv").inputs[:60])


def test_a_maze_without_a_rating_gets_that_of_its_path_and_a_wrong_one_is_still_wrong(tmp_path: Path) -> None:
    rows = rows_of(MAZE / "train.csv")
    (tmp_path / "train.csv").write_bytes(written([HEADER, *([*row[:3], ""] for row in rows[1:])]))
    assert np.array_equal(read_mazes(tmp_path / "train.csv").ratings, read_mazes(MAZE / "train.csv").ratings)
    (tmp_path / "train.csv").write_bytes(written([HEADER, *([*row[:3], f"{int(row[3]) + 1}.0"] for row in rows[1:])]))
    with pytest.raises(BadPuzzleFile, match=r"line 2: rating '\d+', expected \d+"):
        read_mazes(tmp_path / "train.csv")


def test_a_sudoku_without_some_ratings_says_how_many(tmp_path: Path) -> None:
    rows = rows_of(SUDOKU / "train.csv")[:31]
    rows[3][3] = ""
    (tmp_path / "train.csv").write_bytes(written(rows))
    found = read_csv(tmp_path / "train.csv")
    assert found.file.notes == ("train.csv: no rating in 1 of 30 lines",)
    assert found.ratings.tolist() == [int(row[3] or 0) for row in rows[1:]]


@pytest.mark.parametrize(
    ("spoilt", "told"),
    [
        (lambda rows: written(rows[1:]), r"line 1: a puzzle \('.*, expected the names of the columns; put 'source,que"),
        (
            lambda rows: written([["a", "b", "c", "d"], *rows[1:]]),
            r"line 1: columns 'a,b,c,d', expected question and",
        ),
        (lambda rows: written([["question", "answer", "question", "rating"], *rows[1:]]), r"2 columns 'question'"),
        (lambda rows: "\ufeff".encode("utf-16-le") + written(rows).decode().encode("utf-16-le"), "UTF-16 text"),
        (lambda rows: written([*rows[:5], ["x", *rows[5]]], quoting=csv.QUOTE_ALL), "line 6: 5 fields, expected 4"),
        (lambda rows: b"\n" + written(rows), r"line 1: columns '', expected question and answer"),
        (lambda rows: written(rows[:3]) + b'"' + b"x" * 200_000, r"line 4: no CSV \(field larger than"),
        (lambda rows: written(rows[:3]) + b's,"1,2",' + b"3" * 81 + b",0\n", "line 4: .*3 characters"),
        (lambda rows: written([*rows[:3], [*rows[3][:3], "9" * 5000]]), r"line 4: .*rating"),
    ],
)
@pytest.mark.parametrize("reads", [from_csv, from_plain_csv])
def test_what_cannot_be_understood_is_told_in_one_line_with_its_place_in_the_file(
    spoilt: Callable[[Rows], bytes], told: str, reads: Callable[..., PuzzleSet], tmp_path: Path
) -> None:
    rows = rows_of(SUDOKU / "train.csv")[:40]
    (tmp_path / "train.csv").write_bytes(spoilt(rows))
    (tmp_path / "test.csv").write_bytes(written(rows))
    told = told.replace("3 characters", "81 characters") if reads is from_plain_csv else told
    with pytest.raises(BadPuzzleFile, match=told) as caught:
        reads(tmp_path, train=5, validation=1, test=1, seed=0)
    assert "\n" not in str(caught.value)


def test_an_offence_behind_an_empty_line_is_named_by_its_line_in_the_file(tmp_path: Path) -> None:
    rows = rows_of(SUDOKU / "train.csv")[:10]
    lines = written(rows).split(b"\n")
    lines[7] = lines[7].replace(b".", b"x", 1)
    (tmp_path / "train.csv").write_bytes(b"\n".join([*lines[:4], b"", *lines[4:]]))
    with pytest.raises(BadPuzzleFile, match=r"line 9: question has 'x'"):
        read_csv(tmp_path / "train.csv")


def test_mazes_too_large_for_the_solver_are_told_the_limit_and_where_it_comes_from(tmp_path: Path) -> None:
    board = "S" + " " * 1598 + "G"
    (tmp_path / "train.csv").write_bytes(written([HEADER, ["", board, board, "79"]]))
    with pytest.raises(BadPuzzleFile, match=r"line 2: .*40x40, expected at most 32x32 \(a row of the board is 32 bits"):
        read_mazes(tmp_path / "train.csv")


def test_a_pipe_is_no_file_and_nobody_waits_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(tmp_path / "train.csv")
    assert main(["sudoku", "--source", str(tmp_path), "--out", str(tmp_path / "set")]) == 2
    assert "train.csv: cannot be read (a pipe, not a file)" in capsys.readouterr().err
    assert first_board(tmp_path / "train.csv") is None
