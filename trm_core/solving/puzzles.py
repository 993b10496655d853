"""PUZZLE | FILE | SET:17, as a person gives it → what the model is asked, and the right answer where there is one.

53..7….79              a Sudoku, row by row: 1 to 9 (A to C), `.` or `0` for a blank; lines and rules between the
                       boxes do no harm. A maze: `#`, space, S, G, row by row, or a line for each row
FILE                   such puzzles, one a line, or one alone over several lines; or source,question,answer,rating
FILE.csv:17            row 17 of the latter, counted from 0
SET:17   SET:3,5-8     puzzles of a puzzle set, of ARC all test inputs of a task, counted from 0
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep import maze, sudoku
from data_prep.maze_kernels import GOAL, OPEN, START
from data_prep.puzzle_set import PuzzleSet
from trm_core.checkpoint import Checkpoint
from trm_core.config import RunConfig
from trm_core.model import Model
from trm_core.opening import check_puzzles, check_tasks, open_puzzles
from trm_core.solving.thought import Asked, printable

MOST = 64  # puzzles at once
LARGEST_FILE = 1 << 20  # bytes of a file that is no table
HEADER = b"source,question,answer,rating"
BLANKS, DIGITS = ".0_", "123456789ABC"
RULES = "|+-─│┼━┃╋ \t\r\n"  # what people put between the cells of a Sudoku


class BadPuzzle(ValueError):
    """A puzzle that is not there, cannot be read, or is none."""


def read_puzzles(
    given: str, saved: Checkpoint, run: RunConfig, model: Model, *, split: str = "test", allow_leak: bool = False
) -> list[Asked]:
    """The puzzles that a text stands for. Raises BadPuzzle, and what opening files and sets raises."""
    place, numbers = _numbered(given)
    if numbers is None and _is(place, "folder"):
        raise BadPuzzle(f"{given}: a folder; say which of its puzzles, {given}:17 (or :3,5-8)")
    if numbers is not None and _is(place, "folder"):
        return _of_set(Path(place), numbers, saved, run, model, split, allow_leak)
    if run.data.puzzle == "arc":
        raise BadPuzzle(
            f"{_short(given)}: a model of ARC knows a task by the identifier it has in its set; give the set and which"
            " of its tasks, SET:17"
        )
    if _is(place, "file"):
        return _of_file(Path(place), numbers, run)
    if numbers is not None:
        raise BadPuzzle(f"{place}: no puzzle set and no file there; expected one before the colon")
    return [_completed(_parsed(given, run, f"{_short(given)}: no such file, and as a puzzle"), run)]


def _numbered(given: str) -> tuple[str, tuple[int, ...] | None]:
    """ "SET:3,5-8" → (SET, (3, 5, 6, 7, 8)); None where there are no numbers."""
    place, colon, text = given.rpartition(":")
    if not (colon and place and re.fullmatch(r"\d{1,9}(-\d{1,9})?(,\d{1,9}(-\d{1,9})?)*", text, flags=re.ASCII)):
        return given, None
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if int(last or first) - int(first) >= MOST:
            raise BadPuzzle(f"{given}: {part} are more than {MOST} puzzles; name fewer")
        numbers += range(int(first), int(last or first) + 1)
    if not 0 < len(numbers) <= MOST:
        raise BadPuzzle(f"{given}: {len(numbers)} puzzles, expected 1 to {MOST}; name fewer")
    return place, tuple(numbers)


def _is(place: str, what: str) -> bool:
    try:
        path = Path(place)
        return path.is_dir() if what == "folder" else path.is_file()
    except (OSError, ValueError):  # a puzzle is no file name: too long, or with a null byte
        return False


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


def _of_set(
    folder: Path,
    numbers: Sequence[int],
    saved: Checkpoint,
    run: RunConfig,
    model: Model,
    split: str,
    allow_leak: bool,
) -> list[Asked]:
    with open_puzzles(folder, None) as data:
        return _chosen(data, folder, numbers, saved, run, model, split, allow_leak)


def _chosen(
    data: PuzzleSet,
    folder: Path,
    numbers: Sequence[int],
    saved: Checkpoint,
    run: RunConfig,
    model: Model,
    split: str,
    allow_leak: bool,
) -> list[Asked]:
    check_puzzles(run, model, data, split, blank_identifiers=False)
    check_tasks(saved, run, data, split, blank_identifiers=False, allow_leak=allow_leak)
    rows = data.splits[split]
    tasks = np.unique(rows.puzzle_ids) if data.groups is not None else None
    _check(
        numbers,
        len(rows) if tasks is None else len(tasks),
        f"{folder}, split {split}",
        "tasks" if tasks is not None else "puzzles",
    )
    found = []
    for number in numbers:
        if tasks is None or data.groups is None:
            found.append((f"{split} {number}", number))
            continue
        examples = np.flatnonzero(rows.puzzle_ids == tasks[number])
        name = printable(data.groups.names[data.groups.of(tasks[number : number + 1])[0]].decode(errors="replace"))
        found += [(f"task {name}, input {i}", int(example)) for i, example in enumerate(examples, 1)]
    return [
        Asked(name, np.array(rows.inputs[i]), np.array(rows.labels[i]), int(rows.puzzle_ids[i])) for name, i in found
    ]


def _of_file(path: Path, numbers: Sequence[int] | None, run: RunConfig) -> list[Asked]:
    with path.open("rb") as file:
        beginning = file.read(LARGEST_FILE + 1)
    if beginning.startswith(HEADER):
        return _of_table(path, numbers, run)
    if numbers is not None:
        raise BadPuzzle(f"{path}: no table ({HEADER.decode()}), its puzzles have no numbers; give the file alone")
    if len(beginning) > LARGEST_FILE:
        raise BadPuzzle(f"{path}: more than {LARGEST_FILE >> 20} MB, expected a few puzzles, one a line")
    try:
        text = beginning.decode()
    except UnicodeDecodeError:
        raise BadPuzzle(f"{path}: not text; expected puzzles, one a line, or {HEADER.decode()}") from None
    lines = [line for line in text.splitlines() if line.strip()]
    whole = _cleaned(text, run)
    if len(whole) == run.data.cells or len(lines) < 2:
        parsed = [_parsed(text, run, str(path))]
    else:
        parsed = [_parsed(line, run, f"{path}, line {i}") for i, line in enumerate(lines, 1)]
    if len(parsed) > MOST:
        raise BadPuzzle(f"{path}: {len(parsed)} puzzles, expected at most {MOST}; give fewer")
    names = [path.name] if len(parsed) == 1 else [f"{path.name}, line {i}" for i in range(1, len(parsed) + 1)]
    return [replace(_completed(one, run), name=printable(name)) for one, name in zip(parsed, names, strict=True)]


def _of_table(path: Path, numbers: Sequence[int] | None, run: RunConfig) -> list[Asked]:
    data = run.data
    rows: sudoku.Rows | maze.Rows
    if data.puzzle == "sudoku":
        rows = sudoku.read_csv(path, box=(data.box_rows, data.box_cols))
    else:
        rows = maze.read_csv(path, side=data.side)
    if numbers is None:
        if len(rows) > MOST:
            raise BadPuzzle(f"{path}: {len(rows):,} puzzles, expected at most {MOST}; name some, {path}:17")
        numbers = range(len(rows))
    _check(numbers, len(rows), str(path), "puzzles")
    return [Asked(printable(f"{path.name} {i}"), rows.inputs[i], rows.labels[i]) for i in numbers]


def _check(numbers: Iterable[int], n: int, where: str, what: str) -> None:
    for number in numbers:
        if number >= n:
            raise BadPuzzle(f"{where}: number {number}, but it has {n:,} {what}, counted from 0")


def _cleaned(text: str, run: RunConfig) -> str:
    """A puzzle's cells alone, row by row."""
    if run.data.puzzle == "sudoku":
        return "".join(character for character in text.upper() if character not in RULES)
    lines = [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]
    if len(lines) == run.data.side:  # an editor may have cut the spaces at the end of a row
        return "".join(line.ljust(run.data.side) for line in lines)
    return "".join(lines)


def _parsed(text: str, run: RunConfig, where: str) -> Asked:
    """One puzzle's tokens. Raises BadPuzzle."""
    data, cells = run.data, _cleaned(text, run)
    side = math.isqrt(data.cells)
    if data.puzzle == "sudoku":
        digits = DIGITS[:side]
        tokens = {**dict.fromkeys(BLANKS, 1), **{digit: token for token, digit in enumerate(digits, 2)}}
        expected = f"1 to {digits[-1]}, `.` for a blank"
    else:
        tokens = {character: token for token, character in enumerate(maze.CHARACTERS) if character in "# SG"}
        expected = "`#`, space, S, G"
    if len(cells) != data.cells:
        raise BadPuzzle(
            f"{where}: {len(cells)} cells, expected the {data.cells} of a {side}x{side} {data.puzzle} ({expected})"
        )
    for i, character in enumerate(cells):
        if character not in tokens:
            raise BadPuzzle(
                f"{where}: {character!r} in row {i // side + 1}, column {i % side + 1}, expected {expected}"
            )
    return Asked("the puzzle given", np.array([tokens[character] for character in cells], dtype=np.uint8), None)


def _completed(asked: Asked, run: RunConfig) -> Asked:
    """With its answer, where that is alone. Raises BadPuzzle where there is none."""
    data, question = run.data, asked.question[None]
    if data.puzzle == "sudoku":
        solved = sudoku.solve(question, box_rows=data.box_rows, box_cols=data.box_cols)
        if solved.n_solutions[0] == 0:
            raise BadPuzzle(
                f"{asked.name}: a Sudoku without an answer; look for a digit that stands twice, or is misread"
            )
        return replace(asked, answer=solved.labels[0] if solved.n_solutions[0] == 1 else None)
    for token, letter in ((START, "S"), (GOAL, "G")):
        n = int((question == token).sum())
        if n != 1:
            raise BadPuzzle(f"{asked.name}: a maze with {n} {letter}, expected one")
    labels, lengths = maze.solve(question)
    if lengths[0] == 0:
        raise BadPuzzle(f"{asked.name}: a maze without a way from S to G; open one ({maze.CHARACTERS[OPEN]!r})")
    return replace(asked, answer=labels[0])
