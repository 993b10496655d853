"""Sudoku of any box size up to 12x12: generate puzzles or read the published files, without leaks between splits.

Splits share no puzzle up to relabelling, band, stack, row and column order and transposition. What that means is exact:
a hash that no symmetry changes finds the suspects, the least image under all symmetries decides on them.
Every random choice is a splitmix64 hash of (seed, purpose, counter): equal inputs and seed, equal bytes, anywhere.
"""

import functools
import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep import sudoku_kernels as kernels
from data_prep.building import (
    HEADER,
    PURPOSE_TEST,
    PURPOSE_TRAIN,
    BadPuzzleFile,
    BadSettings,
    TooFewPuzzles,
    check_count,
    check_folder,
    hashes_of,
    named,
    plain,
    reuse,
    split_of,
)
from data_prep.counter_hash import UINT64, shuffled
from data_prep.csv_door import PuzzleLines, read_puzzles
from data_prep.puzzle_set import MANIFEST, SPLITS, PuzzleSet, read_manifest
from data_prep.sources import find, origin_of
from data_prep.sudoku_csv import BUILDER
from data_prep.unfinished import remove_unfinished

U8 = NDArray[np.uint8]
Range = tuple[int | None, int | None]  # from, to, both included; None: no bound
LARGEST_SIDE = 12
VERIFIED_AT_ONCE = 512
EXHAUSTED_AFTER = 10_000  # candidates in a row without a new puzzle, and the generator says that there are no more …
EXHAUSTED_AFTER_RATED = 100_000  # … where a range of ratings is asked for, of which few may be
BOXES = {4: (2, 2), 6: (2, 3), 8: (2, 4), 9: (3, 3), 10: (2, 5), 12: (3, 4)}  # the usual box of each side


@functools.lru_cache
def _geometry(box_rows: int, box_cols: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(places, units) of a board, as sudoku_kernels describes them."""
    side = box_rows * box_cols
    cells = np.arange(side * side, dtype=np.int64)
    rows, columns = cells // side, cells % side
    places = np.stack([rows, columns, rows // box_rows * box_rows + columns // box_cols], axis=1)
    units = [np.flatnonzero(places[:, kind] == unit) for kind in range(3) for unit in range(side)]
    return places, np.stack(units).astype(np.int64)


@functools.lru_cache
def _column_orders(box_rows: int, box_cols: int) -> NDArray[np.int64]:
    """Every order of the columns that keeps the stacks together: int64 [n_orders, side]."""
    stacks = [range(start, start + box_cols) for start in range(0, box_rows * box_cols, box_cols)]
    orders = [
        [column for stack in order for column in stack]
        for stack_order in itertools.permutations(stacks)
        for order in itertools.product(*(tuple(itertools.permutations(stack)) for stack in stack_order))
    ]
    return np.array(orders, dtype=np.int64)


def check_box(box_rows: int, box_cols: int) -> int:
    """The side of a board of such boxes; raises BadSettings for boxes that make no Sudoku up to 12x12."""
    side = box_rows * box_cols
    if box_rows < 2 or box_cols < 2 or side > LARGEST_SIDE:
        raise BadSettings(
            f"box {box_rows}x{box_cols}: expected at least 2 rows and 2 columns and at most {LARGEST_SIDE} cells, "
            f"for boards up to {LARGEST_SIDE}x{LARGEST_SIDE}; take 2x2, 2x3 or 3x3, for example "
            "(data.box_rows, data.box_cols; --box)"
        )
    return side


def is_valid_solution(inputs: U8, labels: U8, *, box_rows: int, box_cols: int) -> NDArray[np.bool_]:
    """Whether labels [B, L] are full grids, every digit once a row, column and box, that keep inputs' givens: bool [B].

    Works for answers of any origin, tokens out of range included.
    """
    side = check_box(box_rows, box_cols)
    _, units = _geometry(box_rows, box_cols)
    filled = np.sort(labels[:, units], axis=-1) == np.arange(2, side + 2, dtype=np.uint8)
    kept = (inputs < 2) | (inputs == labels)
    return np.asarray(filled.all(axis=(1, 2)) & kept.all(axis=1))


@dataclass(frozen=True)
class Solved:
    """What the solver found for B boards.

    n_solutions: int64 [B], counted up to the limit. guesses: int64 [B]. labels: uint8 [B, L].
    """

    n_solutions: NDArray[np.int64]
    guesses: NDArray[np.int64]
    labels: U8


def solve(inputs: U8, *, box_rows: int, box_cols: int, limit: int = 2) -> Solved:
    """Count the solutions of inputs [B, L] up to a limit; labels hold the first one (blank cells if there is none).

    guesses: digits tried at branchings up to the first solution, after naked and hidden singles to a fixed point; the
    branching cell is the lowest of those with fewest candidates, digits ascend.
    """
    check_box(box_rows, box_cols)
    n = len(inputs)
    solved = Solved(np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64), np.empty(inputs.shape, dtype=np.uint8))
    places, units = _geometry(box_rows, box_cols)
    kernels.solve_all(plain(inputs), places, units, limit, solved.n_solutions, solved.guesses, solved.labels)
    return solved


def canonical_forms(inputs: U8, labels: U8, *, box_rows: int, box_cols: int) -> U8:
    """The least image of each puzzle and its answer under all symmetries: uint8 [B, L], exact, no heuristic.

    Two puzzles with one solution each have equal rows if and only if a symmetry turns one into the other. Of boxes
    wider than high, the transposed puzzle's: the same classes, far fewer column orders (2x6: 1,036,800, 6x2: 46,080).
    """
    side = check_box(box_rows, box_cols)
    if box_cols > box_rows:
        box_rows, box_cols = box_cols, box_rows
        inputs, labels = (b.reshape(-1, side, side).swapaxes(1, 2).reshape(b.shape) for b in (inputs, labels))
    forms = np.empty(inputs.shape, dtype=np.uint8)
    orders = _column_orders(box_rows, box_cols)
    kernels.canonical_forms(plain(inputs), plain(labels), box_rows, box_cols, orders, forms)
    return forms


def class_hashes(inputs: U8, *, box_rows: int, box_cols: int) -> NDArray[np.uint64]:
    """A hash uint64 [B] of the givens that no symmetry changes: equivalent puzzles have equal hashes.

    Inequivalent ones nearly always differ, but need not; canonical_forms decides.
    """
    check_box(box_rows, box_cols)
    hashes = np.empty(len(inputs), dtype=np.uint64)
    kernels.class_hashes(plain(inputs), box_rows, box_cols, hashes)
    return hashes


# --- generated puzzles ---


def generate(
    box_rows: int,
    box_cols: int,
    *,
    train: int,
    validation: int,
    test: int,
    seed: int,
    clues: int | None = None,
    rating: Range = (None, None),
) -> PuzzleSet:
    """Puzzles of our own: a random full grid, clues removed in random order while the solution stays unique.

    clues: stop removing once so few givens are left (a puzzle that is minimal earlier keeps more); None: go on until
    the puzzle is minimal. No two puzzles of the set are equivalent: one equivalent to an earlier one is drawn again.
    The test split is filled first, then validation, then train, so more training puzzles leave the others alone.
    A puzzle's rating is the number of guesses that solve() needs; rating: the least and the greatest that are kept,
    None for no bound. Raises BadSettings, or TooFewPuzzles where the board has not so many.
    """
    side = check_box(box_rows, box_cols)
    for name, n in (("train", train), ("validation", validation), ("test", test)):
        check_count(name, n, 1 if name == "train" else 0)
    if clues is not None and not 0 <= clues <= side * side:
        raise BadSettings(
            f"clues: {clues}, expected 0 to {side * side} on a {side}x{side} board; "
            f"ask for a number between {named('clues')}"
        )
    _check_range(rating)
    wanted = train + validation + test
    drawn = _draw_classes(box_rows, box_cols, wanted, seed, clues, rating)
    ends = {"test": test, "validation": test + validation, "train": wanted}
    starts = {"test": 0, "validation": test, "train": test + validation}
    parts = {name: slice(starts[name], ends[name]) for name in SPLITS}
    notes = [f"{drawn.n_equivalent} of {drawn.n} candidates were equivalent to an earlier puzzle and were drawn again"]
    if rating != (None, None):
        notes.append(
            f"{drawn.n_outside} of {drawn.n} candidates were not rated {_range_text(rating)} and were drawn again"
        )
    return PuzzleSet.build(
        {name: split_of(drawn.inputs[part], drawn.labels[part], drawn.ratings[part]) for name, part in parts.items()},
        puzzle="sudoku",
        source="generated",
        protocol="generated",
        box_rows=box_rows,
        box_cols=box_cols,
        cells=side * side,
        vocab=side + 2,
        n_puzzle_ids=1,
        seed=seed,
        settings=_generate_settings(box_rows, box_cols, train, validation, test, clues, rating),
        source_sha256={},
        notes=tuple(notes),
        licence="CC0-1.0: generated, no claim made",
    )


def _check_range(rating: Range) -> None:
    least, greatest = rating
    if (least or 0) < 0 or (greatest is not None and greatest < (least or 0)):
        raise BadSettings(
            f"rating: {_range_text(rating)}, expected 0 or more guesses and the lower bound first (--rating LOW:HIGH)"
        )


def _range_text(rating: Range) -> str:
    """A range as the command line takes it: 10:50, and without a number where there is no bound."""
    return ":".join("" if bound is None else str(bound) for bound in rating)


def _generate_settings(
    box_rows: int, box_cols: int, train: int, validation: int, test: int, clues: int | None, rating: Range
) -> dict[str, int | str | None]:
    counts = {"train": train, "validation": validation, "test": test}
    rated = {} if rating == (None, None) else {"rating": _range_text(rating)}
    return {
        "builder": BUILDER,
        "source": "generate",
        "box": f"{box_rows}x{box_cols}",
        **counts,
        "clues": clues,
        **rated,
    }


@dataclass(frozen=True)
class Drawn:
    """Generated puzzles, no two of them equivalent, and how many of the n candidates drawn for them were left out."""

    inputs: U8
    labels: U8
    ratings: NDArray[np.int32]
    n: int
    n_outside: int  # rated outside the range
    n_equivalent: int  # in the range, and equivalent to an earlier puzzle


def _draw_classes(box_rows: int, box_cols: int, wanted: int, seed: int, clues: int | None, rating: Range) -> Drawn:
    """The first `wanted` candidates that are rated in the range and of which none is equivalent to an earlier one."""
    size = {"box_rows": box_rows, "box_cols": box_cols}
    places, units = _geometry(box_rows, box_cols)
    n_cells = len(places)
    inputs, labels = np.empty((wanted, n_cells), dtype=np.uint8), np.empty((wanted, n_cells), dtype=np.uint8)
    ratings = np.empty(wanted, dtype=np.int32)
    is_rated = rating != (None, None)
    patience = EXHAUSTED_AFTER_RATED if is_rated else EXHAUSTED_AFTER
    seen: set[bytes] = set()
    n_found = n_drawn = n_outside = last_new = 0
    while n_found < wanted:
        n = min(max(wanted - n_found, 16), 512)
        question, answer = np.empty((n, n_cells), dtype=np.uint8), np.empty((n, n_cells), dtype=np.uint8)
        kernels.generate(np.uint64(seed % UINT64), n_drawn, clues or 0, places, units, question, answer)
        guesses = solve(question, **size, limit=1).guesses
        fits = (guesses >= (rating[0] or 0)) & (guesses <= (np.inf if rating[1] is None else rating[1]))
        forms = iter(canonical_forms(question[fits], answer[fits], **size))
        for i in range(n):
            n_drawn += 1
            n_outside += not fits[i]
            form = next(forms).tobytes() if fits[i] else None
            if form is not None and form not in seen:
                seen.add(form)
                inputs[n_found], labels[n_found], ratings[n_found] = question[i], answer[i], guesses[i]
                n_found, last_new = n_found + 1, n_drawn
                if n_found == wanted:
                    break
        if n_drawn - last_new >= patience:
            side = box_rows * box_cols
            rated = f" rated {_range_text(rating)}" if is_rated else ""
            other = ", for a wider range (--rating)" if is_rated else ""
            raise TooFewPuzzles(
                f"generate: {n_found} different {side}x{side} puzzles{rated} found (up to symmetry), expected "
                f"{wanted}; none new in {patience} candidates; "
                f"ask for fewer puzzles {named('train', *SPLITS[1:])}, "
                f"for another number of clues {named('clues')}{other} or for a larger box"
            )
    return Drawn(inputs, labels, ratings, n_drawn, n_outside, n_drawn - wanted - n_outside)


# --- published files ---


@dataclass(frozen=True)
class Rows:
    """What a puzzle file holds: inputs, labels uint8 [N, L], ratings int32 [N]."""

    file: PuzzleLines
    box_rows: int
    box_cols: int
    inputs: U8
    labels: U8
    ratings: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.inputs)


def read_csv(path: Path, *, box: tuple[int, int] | None = None, verify: bool = False) -> Rows:
    """Read a file of `source,question,answer,rating`, row by row 1-9 (then A-C), `.` or `0` for a blank.

    csv_door says how else it may look.
    box: (rows, columns) of a box; None takes it from the length of the first board (16: 2x2, 36: 2x3, 81: 3x3 ...).
    Every row is checked: lengths, characters, answer against question, answer a Sudoku, rating an integer; with verify,
    also that there is no other answer. Raises BadPuzzleFile with the line of the first offence.
    """
    rows = read_puzzles(path, lambda file: _read(file, box), unrated="0")
    if verify:
        _check_unique(rows)
    return rows


def _read(file: PuzzleLines, box: tuple[int, int] | None) -> Rows:
    """The puzzles of a file in the published form, every row checked. Raises BadPuzzleFile."""
    path, data = file.path, file.data
    n = kernels.count_lines(data) - 1
    if n == 0:
        raise BadPuzzleFile(f"{path}: a header and no puzzles, expected one puzzle a line; take the whole file")
    start = bytes(data[:200]).index(b"\n") + 1
    box_rows, box_cols = box or _usual_box(path, file.line(0), bytes(data[start : start + 1000]))
    side = check_box(box_rows, box_cols)
    places, _ = _geometry(box_rows, box_cols)
    inputs, labels = np.empty((n, side * side), dtype=np.uint8), np.empty((n, side * side), dtype=np.uint8)
    ratings = np.empty(n, dtype=np.int32)
    offence, row, cell, found_there = kernels.scan_rows(data, start, places, side, inputs, labels, ratings)
    if offence != kernels.FINE:
        line = bytes(data).split(b"\n", row + 2)[row + 1].rstrip(b"\r") if row >= 0 else b""
        told = _describe(offence, line, cell, found_there, box_rows, box_cols)
        raise BadPuzzleFile(f"{path}, line {file.line(row)}: {told}; correct the line or remove it")
    return Rows(file, box_rows, box_cols, inputs, labels, ratings)


def _check_unique(rows: Rows) -> None:
    """Solve every puzzle, on all cores; BadPuzzleFile for the first with another solution than its answer."""

    def first_offence(start: int) -> tuple[int, int] | None:
        part = slice(start, start + VERIFIED_AT_ONCE)
        solved = solve(rows.inputs[part], box_rows=rows.box_rows, box_cols=rows.box_cols, limit=2)
        wrong = np.flatnonzero((solved.n_solutions != 1) | (solved.labels != rows.labels[part]).any(axis=1))
        return (start + int(wrong[0]), int(solved.n_solutions[wrong[0]])) if len(wrong) else None

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for offence in pool.map(first_offence, range(0, len(rows), VERIFIED_AT_ONCE)):
            if offence is not None:
                pool.shutdown(cancel_futures=True)
                row, n = offence
                found = "no solution" if n == 0 else "more than one solution"
                raise BadPuzzleFile(
                    f"{rows.file.path}, line {rows.file.line(row)}: the puzzle has {found}, expected its answer alone; "
                    "correct the line or remove it"
                )


def _usual_box(path: Path, line: int, beginning: bytes) -> tuple[int, int]:
    """The usual box for the board in the first row of a file."""
    parts = beginning.partition(b"\n")[0].split(b",")
    length = len(parts[1]) if len(parts) > 1 else 0
    side = math.isqrt(length)
    if side * side != length or side not in BOXES:
        lengths = ", ".join(str(side * side) for side in BOXES)
        raise BadPuzzleFile(
            f"{path}, line {line}: question has {length} characters, expected a board of {lengths}; correct the line, "
            "or name the box (data.box_rows, data.box_cols; --box)"
        )
    return BOXES[side]


def _describe(offence: int, line: bytes, cell: int, found: int, box_rows: int, box_cols: int) -> str:
    """What is wrong with a line, and what was expected."""
    side = box_rows * box_cols
    digits = "123456789ABC"[:side]
    where = f"row {cell // side + 1}, column {cell % side + 1}"
    character = repr(chr(found)) if found < 128 else f"byte 0x{found:02x}"
    fields = line.decode("ascii", "backslashreplace").split(",")
    if offence == kernels.FIELD_COUNT:
        return f"{found} fields, expected 4 ({HEADER.decode()})"
    if offence == kernels.QUESTION_LENGTH:
        return f"question has {found} characters, expected {side * side} for {box_rows}x{box_cols} boxes"
    if offence == kernels.ANSWER_LENGTH:
        return f"answer has {found} characters, expected {side * side} for {box_rows}x{box_cols} boxes"
    if offence == kernels.QUESTION_CHARACTER:
        return f"question has {character} at {where}, expected {digits[0]}-{digits[-1]} or '.' for a blank"
    if offence == kernels.ANSWER_CHARACTER:
        return f"answer has {character} at {where}, expected {digits[0]}-{digits[-1]}"
    if offence == kernels.ANSWER_CONTRADICTS:
        return f"answer has {character} at {where}, expected the question's {fields[1][cell]!r}"
    if offence == kernels.NO_SUDOKU:
        return f"answer repeats a digit in a row, column or {box_rows}x{box_cols} box, expected each once"
    assert offence == kernels.RATING, f"offence {offence} has no description"
    return f"rating {fields[3][:30]!r}, expected an integer of at most 10 digits within 32 bits"


def from_csv(
    folder: str | Path,
    *,
    train: int | None = 1000,
    validation: int = 1000,
    test: int | None = None,
    seed: int,
    box: tuple[int, int] | None = None,
    verify: bool = False,
    licence: str = "as the source files state",
) -> PuzzleSet:
    """A set from train.csv and test.csv in a folder.

    Puzzles of train.csv that are equivalent to one of test.csv are no candidates; validation is drawn from the rest
    (so it stays the same whatever train is), then train from those not equivalent to a validation puzzle. What was left
    out is counted in manifest.dropped_from_train and told in manifest.notes; test.csv loses nothing.
    train, test: how many, None for all. Order in a split is the file's. verify: prove every puzzle's answer to be its
    only one. Raises BadPuzzleFile with file and line.
    """
    folder = Path(folder)
    for name, n, at_least in (("train", train, 1), ("validation", validation, 0), ("test", test, 0)):
        check_count(name, n, at_least)
    check_folder(folder)
    pool = read_csv(folder / "train.csv", box=box, verify=verify)
    tests = read_csv(folder / "test.csv", box=(pool.box_rows, pool.box_cols), verify=verify)
    chosen, n_like_test, n_like_validation = _choose(pool, tests, train, validation, seed)
    n_test = len(tests) if test is None else test
    if n_test > len(tests):
        raise BadPuzzleFile(
            f"{tests.file.path}: {len(tests)} puzzles, expected {n_test}; ask for fewer test puzzles {named('test')}"
        )
    chosen["test"] = np.sort(shuffled(len(tests), seed, PURPOSE_TEST)[:n_test])
    rows = {"train": pool, "validation": pool, "test": tests}
    notes = (
        *pool.file.notes,
        *tests.file.notes,
        *(
            f"train.csv: {n} puzzles equivalent to one of the {other} split were left out of train"
            for n, other in ((n_like_test, "test"), (n_like_validation, "validation"))
            if n
        ),
    )
    hashes = {"train.csv": pool.file.sha256, "test.csv": tests.file.sha256}
    published, origin = origin_of(folder, hashes)
    return PuzzleSet.build(
        {
            name: split_of(rows[name].inputs[index], rows[name].labels[index], rows[name].ratings[index])
            for name, index in ((name, chosen[name]) for name in SPLITS)
        },
        puzzle="sudoku",
        source="csv",
        protocol="full" if train is None else "1k" if train == 1000 else str(train),
        box_rows=pool.box_rows,
        box_cols=pool.box_cols,
        cells=pool.inputs.shape[1],
        vocab=pool.box_rows * pool.box_cols + 2,
        n_puzzle_ids=1,
        seed=seed,
        settings=_csv_settings(pool.box_rows, pool.box_cols, train, validation, test),
        source_sha256=hashes,
        origin=origin,
        published=published,
        dropped_from_train=n_like_test + n_like_validation,
        notes=notes,
        licence=licence,
    )


def _csv_settings(
    box_rows: int, box_cols: int, train: int | None, validation: int, test: int | None
) -> dict[str, int | str | None]:
    counts = {"train": train, "validation": validation, "test": test}
    return {"builder": BUILDER, "source": "csv", "box": f"{box_rows}x{box_cols}", **counts}


def _choose(
    pool: Rows, tests: Rows, train: int | None, validation: int, seed: int
) -> tuple[dict[str, NDArray[np.int64]], int, int]:
    """Rows of the pool for train and validation, and how many candidates were equivalent to test and to validation."""
    hashes = class_hashes(pool.inputs, box_rows=pool.box_rows, box_cols=pool.box_cols)
    test_hashes = class_hashes(tests.inputs, box_rows=pool.box_rows, box_cols=pool.box_cols)
    order = shuffled(len(pool), seed, PURPOSE_TRAIN)
    like_test = _equivalent(pool, order, hashes, tests, np.arange(len(tests)), test_hashes)
    candidates = order[~like_test]
    held_out, candidates = candidates[:validation], candidates[validation:]
    like_validation = _equivalent(pool, candidates, hashes, pool, held_out, hashes)
    candidates = candidates[~like_validation]
    n_train = len(candidates) if train is None else train
    if len(held_out) < validation or len(candidates) < n_train or n_train == 0:
        raise BadPuzzleFile(
            f"{pool.file.path}: {len(held_out) + len(candidates)} puzzles that no other split holds, expected "
            f"{max(n_train, 1)} for train and {validation} for validation; "
            f"ask for fewer {named('train', 'validation')}"
        )
    chosen = {"train": np.sort(candidates[:n_train]), "validation": np.sort(held_out)}
    return chosen, int(like_test.sum()), int(like_validation.sum())


def _equivalent(
    ours: Rows,
    index: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    theirs: Rows,
    their_index: NDArray[np.int64],
    their_hashes: NDArray[np.uint64],
) -> NDArray[np.bool_]:
    """For each of our rows in index, whether one of theirs in their_index is the same puzzle up to symmetry: bool.

    Only rows whose class hash occurs on the other side are compared, by canonical form. That form is of the puzzle with
    its answer, so it decides where our puzzle has one solution; that is proven here, BadPuzzleFile otherwise.
    """
    box = {"box_rows": ours.box_rows, "box_cols": ours.box_cols}
    suspected = np.isin(hashes[index], their_hashes[their_index])
    suspects = index[suspected]
    solutions = solve(ours.inputs[suspects], **box).n_solutions
    for row in suspects[solutions != 1][:1]:
        raise BadPuzzleFile(
            f"{ours.file.path}, line {ours.file.line(row)}: the puzzle has more than one solution, expected one; "
            "remove the line"
        )
    others = their_index[np.isin(their_hashes[their_index], hashes[suspects])]
    known = {form.tobytes() for form in canonical_forms(theirs.inputs[others], theirs.labels[others], **box)}
    forms = canonical_forms(ours.inputs[suspects], ours.labels[suspects], **box)
    equivalent = np.zeros(len(index), dtype=np.bool_)
    equivalent[suspected] = [form.tobytes() in known for form in forms]
    return equivalent


# --- one door for the command line and the launcher ---


def build_sudoku(
    out: str | Path,
    *,
    source: str | Path = "generate",
    box: tuple[int, int] | None = None,
    train: int | None = 1000,
    validation: int = 1000,
    test: int | None = None,
    seed: int = 0,
    clues: int | None = None,
    rating: Range = (None, None),
    verify: bool = False,
) -> PuzzleSet:
    """The set in folder `out`, verified: opened if it was built with the same settings and sources, else built.

    source: "generate", "hub" (Sudoku-Extreme), or a folder with train.csv and test.csv. box: 3x3 for generate, by the
    file for CSV, if None. train, test: None for all of a file; generate takes 1,000 tests for None. clues, rating:
    generate alone. verify: files alone, read them and prove every answer to be the only one. Raises OtherContent if
    `out` holds something else, and what generate, from_csv and sources.fetch raise.
    """
    out = Path(out)
    remove_unfinished(out)
    if str(source) == "generate":
        if verify:
            raise BadSettings("verify: generated puzzles have one solution by construction; leave --verify out")
        if train is None:
            raise BadSettings(
                f"train: all puzzles asked for, but generated ones have no end; ask for a number {named('train')}"
            )
        box_rows, box_cols = box or (3, 3)
        n_test = 1000 if test is None else test
        asked = _generate_settings(box_rows, box_cols, train, validation, n_test, clues, rating)
        kept = reuse(out, asked, {}, seed)
        return kept or generate(
            box_rows, box_cols, train=train, validation=validation, test=n_test, seed=seed, clues=clues, rating=rating
        ).save(out)
    if clues is not None:
        raise BadSettings(
            f"clues: {clues} asked for, but {source} holds puzzles as they are; leave clues out {named('clues')}"
        )
    if rating != (None, None):
        raise BadSettings(
            f"rating: {_range_text(rating)} asked for, but {source} holds puzzles as they are; leave --rating out"
        )
    folder, licence = find(source, "sudoku-extreme")
    if (out / MANIFEST).is_file() and not verify:
        hashes = hashes_of(folder)
        box_rows, box_cols = box or _box_of(out)
        kept = reuse(out, _csv_settings(box_rows, box_cols, train, validation, test), hashes, seed)
        if kept is not None:
            return kept
    return from_csv(
        folder, train=train, validation=validation, test=test, seed=seed, box=box, verify=verify, licence=licence
    ).save(out)


def _box_of(out: Path) -> tuple[int, int]:
    """The box of the set in a folder."""
    manifest = read_manifest(out)
    return manifest.box_rows or 0, manifest.box_cols or 0


__all__ = [
    "BadPuzzleFile",
    "BadSettings",
    "TooFewPuzzles",
    "build_sudoku",
    "canonical_forms",
    "check_count",
    "class_hashes",
    "from_csv",
    "generate",
    "is_valid_solution",
    "named",
    "plain",
    "read_csv",
    "reuse",
    "solve",
]
