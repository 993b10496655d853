"""The published 9x9 Sudoku files as a PuzzleSet with numpy alone: no solver, so no numba and nothing to compile.

The same rows as sudoku.from_csv, in the same order and with the same hash, but for one thing: only equal questions are
kept apart between splits; that two puzzles are the same up to a symmetry needs the solver. The set's notes say so.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.building import HEADER, PURPOSE_TEST, PURPOSE_TRAIN, BadPuzzleFile
from data_prep.counter_hash import shuffled
from data_prep.csv_door import PuzzleLines, read_puzzles
from data_prep.puzzle_set import PuzzleSet, Split
from data_prep.sources import origin_of

BUILDER = 1  # raise it when equal settings begin to give other puzzles
CELLS, SIDE, BOX = 81, 9, 3
NOTE = "puzzles that are the same up to a symmetry were not looked for, only equal ones"


def read_plain(path: Path) -> tuple[Split, PuzzleLines]:
    """All puzzles of a file, and the file. Raises BadPuzzleFile with the line of the first offence."""
    return read_puzzles(path, _read, unrated="0")


def _read(file: PuzzleLines) -> tuple[Split, PuzzleLines]:
    """The puzzles of a file in the published form."""
    path, rows = file.path, [line.split(b",") for line in file.data.tobytes().splitlines()[1:]]
    for i, row in enumerate(rows):
        if [len(field) for field in row[1:3]] != [CELLS, CELLS] or len(row) != 4 or not _is_rating(row[3]):
            raise BadPuzzleFile(
                f"{path}, line {file.line(i)}: expected {HEADER.decode()!r} with {CELLS} characters each in question"
                " and answer and a whole number as rating; correct the line or remove it"
            )
    questions, answers = (_digits(b"".join(row[column] for row in rows)) for column in (1, 2))
    wrong = (questions > SIDE).any(1) | ((questions > 0) & (questions != answers)).any(1) | ~_are_solutions(answers)
    for i in np.flatnonzero(wrong)[:1]:
        raise BadPuzzleFile(
            f"{path}, line {file.line(i)}: expected digits or '.' for a blank, and an answer that keeps the question's"
            " digits and has each digit once a row, column and box; correct the line or remove it"
        )
    ratings = np.array([int(row[3]) for row in rows], dtype=np.int32)
    return Split(questions + np.uint8(1), answers + np.uint8(1), np.zeros(len(rows), dtype=np.int32), ratings), file


def from_plain_csv(folder: Path, *, train: int, validation: int, test: int | None, seed: int) -> PuzzleSet:
    """A set from train.csv and test.csv, drawn as by sudoku.from_csv. test: None for all. Raises BadPuzzleFile."""
    if not folder.is_dir():
        raise BadPuzzleFile(f"{folder}: no such folder; give the one with train.csv and test.csv")
    (pool, pool_file), (tests, tests_file) = (read_plain(folder / name) for name in ("train.csv", "test.csv"))
    n_test = len(tests) if test is None else test
    if n_test > len(tests):
        raise BadPuzzleFile(f"{folder / 'test.csv'}: {len(tests)} puzzles, expected {n_test}; ask for fewer")
    order = shuffled(len(pool), seed, PURPOSE_TRAIN)
    candidates = order[~_occur(pool.inputs[order], tests.inputs)]
    held_out, candidates = candidates[:validation], candidates[validation:]
    candidates = candidates[~_occur(pool.inputs[candidates], pool.inputs[held_out])]
    if len(held_out) < validation or len(candidates) < train:
        raise BadPuzzleFile(
            f"{folder / 'train.csv'}: {len(held_out) + len(candidates)} puzzles that no other split holds, expected"
            f" {train} for train and {validation} for validation; ask for fewer (data.train, data.validation)"
        )
    drawn = shuffled(len(tests), seed, PURPOSE_TEST)[:n_test]
    hashes = {"train.csv": pool_file.sha256, "test.csv": tests_file.sha256}
    published, origin = origin_of(folder, hashes)
    return PuzzleSet.build(
        {
            "train": _some(pool, candidates[:train]),
            "validation": _some(pool, held_out),
            "test": _some(tests, drawn),
        },
        puzzle="sudoku",
        source="csv",
        protocol="1k" if train == 1000 else str(train),
        box_rows=BOX,
        box_cols=BOX,
        cells=CELLS,
        vocab=SIDE + 2,
        n_puzzle_ids=1,
        seed=seed,
        settings={
            "builder": BUILDER,
            "source": "csv",
            "box": f"{BOX}x{BOX}",
            "train": train,
            "validation": validation,
            "test": test,
        },
        source_sha256=hashes,
        origin=origin,
        published=published,
        dropped_from_train=len(pool) - len(held_out) - len(candidates),
        notes=(NOTE, *pool_file.notes, *tests_file.notes),
        licence="as the source files state",
    )


def _is_rating(field: bytes) -> bool:
    """Whether a field is a whole number of 32 bits."""
    return field.isdigit() and len(field) <= 10 and int(field) < 2**31


def _digits(characters: bytes) -> NDArray[np.uint8]:
    """[N, 81]: 0 for a blank, 1 to 9, and more than 9 for what is none of them."""
    boards = np.frombuffer(characters, dtype=np.uint8).reshape(-1, CELLS)
    return np.where(boards == ord("."), np.uint8(0), boards - np.uint8(ord("0")))  # below "0" wraps to above 9


def _are_solutions(answers: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each digit stands once in every row, column and box: bool [N]."""
    grids = answers.reshape(-1, SIDE, SIDE)
    boxes = grids.reshape(-1, BOX, BOX, BOX, BOX).swapaxes(2, 3).reshape(-1, SIDE, SIDE)
    units = np.sort(np.concatenate([grids, grids.swapaxes(1, 2), boxes], axis=1), axis=-1)
    return np.asarray((units == np.arange(1, SIDE + 1)).all(axis=(1, 2)))


def _occur(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each of our boards is one of theirs: bool [N]."""
    known = {board.tobytes() for board in theirs}
    return np.array([board.tobytes() in known for board in ours], dtype=np.bool_)


def _some(split: Split, rows: NDArray[np.int64]) -> Split:
    rows = np.sort(rows)
    return Split(**{name: array[rows] for name, array in split.arrays().items()})


__all__ = ["NOTE", "PURPOSE_TEST", "PURPOSE_TRAIN", "BadPuzzleFile", "from_plain_csv", "read_plain"]
