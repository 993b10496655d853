"""Mazes: generate them or read the published files, score answers to them, without leaks between splits.

A maze is a square of walls and open cells with a start S and a goal G; its answer is one shortest path out of what are
often millions, fixed by a tie-break: breadth-first from S, neighbours down, left, right, up; each cell keeps the first
parent that reached it; the path is read back from G. Exact match asks for this very path, is_shortest_path for any.
Splits share no layout of walls up to rotation and reflection. Equal inputs and seed, equal bytes, anywhere.
"""

import itertools
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from data_prep import maze_kernels as kernels
from data_prep.augment import MIRROR, dihedral_sources, move, variant_moves
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
from data_prep.puzzle_set import MANIFEST, SPLITS, PuzzleSet, Split, read_manifest
from data_prep.sources import find, origin_of
from data_prep.unfinished import remove_unfinished

U8 = NDArray[np.uint8]
I64 = NDArray[np.int64]
MazeAugmentation = Literal["none", "mirror", "released", "recomputed"]
BUILDER = 1  # raise it when equal settings begin to give other mazes
CHARACTERS = "\0# SGo"  # by token; \0 is the pad, which no file holds
VOCAB = len(CHARACTERS)
SMALLEST_SIDE, LARGEST_SIDE = 3, 32
WHY_LARGEST = "a row of the board is 32 bits in the search for shortest paths"
SIDE = 30
LEAST_PATHS = {10: 18, 30: 110}  # cells of the shortest path, S and G counted, that a generated maze has at least
LAYOUTS_AT_ONCE = 8192
EXHAUSTED_AFTER = 2_000_000  # layouts in a row without a new maze, and the generator says that there are no more

TOKENS = np.zeros(256, dtype=np.uint8)  # by byte; 0 for what is foreign
TOKENS[list(CHARACTERS[1:].encode())] = range(1, VOCAB)


def check_side(side: int) -> int:
    """The side itself; raises BadSettings for boards that are too small or too large."""
    if not SMALLEST_SIDE <= side <= LARGEST_SIDE:
        raise BadSettings(
            f"side {side}: expected {SMALLEST_SIDE} to {LARGEST_SIDE} cells ({WHY_LARGEST}); 30 is the published size "
            "(data.side; --side)"
        )
    return side


def _side_of(inputs: U8) -> int:
    return math.isqrt(inputs.shape[1])


def solve(inputs: U8) -> tuple[U8, I64]:
    """The answers by the tie-break, uint8 [B, L], and the cells on each path, S and G counted, int64 [B].

    Where no way leads from S to G the answer is the question and the path has 0 cells.
    """
    labels, n_moves = np.empty(inputs.shape, dtype=np.uint8), np.empty(len(inputs), dtype=np.int64)
    kernels.solve_all(plain(inputs), _side_of(inputs), labels, n_moves)
    return labels, n_moves + 1


# --- what an answer is worth ---


@dataclass(frozen=True)
class Judged:
    """What B answers are worth; all int64 [B], -1 where there is none.

    changed_at: the first cell that differs from the question by more than a path on an open cell. path_cells: the
    cells marked as path, S and G counted. path_moves: moves from S to G on these alone. least_moves: of any path.
    """

    changed_at: I64
    path_cells: I64
    path_moves: I64
    least_moves: I64


def judge(inputs: U8, labels: U8) -> Judged:
    """Compare answers uint8 [B, L] of any origin, tokens out of range included, with their questions."""
    found = np.empty((len(inputs), 4), dtype=np.int64)
    kernels.judge_all(plain(inputs), plain(labels), _side_of(inputs), found)
    return Judged(*np.ascontiguousarray(found.T))


def is_published_path(labels: U8, predicted: U8) -> NDArray[np.bool_]:
    """Whether each prediction uint8 [B, L] is the answer cell for cell: bool [B]. This is the paper's exact match."""
    return np.asarray((labels == predicted).all(axis=1))


def is_shortest_path(inputs: U8, predicted: U8) -> NDArray[np.bool_]:
    """Whether each prediction uint8 [B, L] marks one of the maze's shortest paths and nothing else: bool [B].

    Walls, S and G are the question's; the path cells lead from S to G through open cells; there are as many of them as
    on a shortest path, so none lies beside the way. Whichever shortest path it is counts.
    """
    judged = judge(inputs, predicted)
    whole = (judged.changed_at < 0) & (judged.path_moves == judged.path_cells - 1)
    return np.asarray(whole & (judged.path_moves == judged.least_moves))


def layout_keys(inputs: U8) -> list[bytes]:
    """A key [B] of each maze's walls: equal if and only if a rotation or reflection turns one into the other."""
    walls = inputs == kernels.WALL
    images = [np.packbits(walls[:, sources], axis=1) for sources in dihedral_sources(_side_of(inputs))]
    return [min(image.tobytes() for image in same) for same in zip(*images, strict=True)]


# --- symmetries ---


def augment_maze(
    inputs: U8,
    labels: U8,
    puzzle_index: I64,
    variant: I64,
    *,
    seed: int,
    augmentation: MazeAugmentation,
) -> tuple[U8, U8]:
    """The given variant of each maze and of its answer; variant 0 is the original.

    "none": every variant is the original. "released": question and answer are moved, one of eight ways, as in the
    released code. The moved answer is a shortest path, but that of the tie-break only now and then: of 300 published
    mazes for 279 mirrored left-right and for none under the other six. So this teaches answers that exact match calls
    wrong. "recomputed": the question is moved, its answer is found anew
    by the tie-break. "mirror": likewise, odd variants are the left-right mirror and no other move is used.
    inputs, labels: uint8 [B, L]. puzzle_index, variant: int64 [B]. Returns new arrays of the same shape. Each row
    depends on its own puzzle, index and variant and on the seed, not on the batch it stands in.
    """
    if augmentation == "none":
        return np.array(inputs), np.array(labels)
    mirrored = variant % 2 * MIRROR
    moves = mirrored if augmentation == "mirror" else variant_moves(puzzle_index, variant, seed=seed)
    moved = move(inputs, moves)
    if augmentation == "released":
        return moved, move(labels, moves)
    answers = np.array(labels)
    again = np.flatnonzero(moves)  # the original keeps its answer
    answers[again], _ = solve(moved[again])
    return moved, answers


# --- generated mazes ---


def generate(
    *, train: int, validation: int, test: int, seed: int, side: int = SIDE, least_path: int | None = None
) -> PuzzleSet:
    """Mazes of our own by the procedure of the published ones (Lehnert et al. 2024, with HRM's filter).

    Draw p uniformly from [0.2, 0.5]; a cell is a wall with probability p; draw S and G from the open cells, at most 10
    pairs for a layout; keep the first pair whose shortest path has least_path cells or more, S and G counted (None: 110
    at 30x30, 18 at 10x10). No two mazes of the set share a layout. The test split is filled first, then validation,
    then train, so more training mazes leave the others alone. Raises BadSettings, or TooFewPuzzles where there are not
    so many.
    """
    check_side(side)
    least_path = _least_path(side, least_path)
    for name, n in (("train", train), ("validation", validation), ("test", test)):
        check_count(name, n, 1 if name == "train" else 0)
    wanted = train + validation + test
    inputs, n_layouts = _draw(side, least_path, wanted, seed)
    labels, lengths = solve(inputs)
    ratings = lengths.astype(np.int32)
    ends = {"test": test, "validation": test + validation, "train": wanted}
    starts = {"test": 0, "validation": test, "train": test + validation}
    parts = {name: slice(starts[name], ends[name]) for name in SPLITS}
    return PuzzleSet.build(
        {name: split_of(inputs[part], labels[part], ratings[part]) for name, part in parts.items()},
        puzzle="maze",
        source="generated",
        protocol="generated",
        cells=side * side,
        vocab=VOCAB,
        n_puzzle_ids=1,
        seed=seed,
        settings=_generate_settings(side, least_path, train, validation, test),
        source_sha256={},
        notes=(f"{wanted} of {n_layouts} layouts have a path of {least_path} cells or more between S and G drawn",),
        licence="CC0-1.0: generated, no claim made",
    )


def _least_path(side: int, least_path: int | None) -> int:
    """The least number of cells on a path that is asked for, or the usual one of a board."""
    if least_path is None and side in LEAST_PATHS:
        return LEAST_PATHS[side]
    if least_path is None or not 2 <= least_path <= side * side:
        asked = "none" if least_path is None else str(least_path)
        usual = ", ".join(f"{cells} at {of}x{of}" for of, cells in LEAST_PATHS.items())
        raise BadSettings(
            f"least path: {asked} asked for on a {side}x{side} board, expected 2 to {side * side} cells; usual are "
            f"{usual} (data.least_path; --least-path)"
        )
    return least_path


def _generate_settings(
    side: int, least_path: int, train: int, validation: int, test: int
) -> dict[str, int | str | None]:
    counts = {"train": train, "validation": validation, "test": test}
    return {"builder": BUILDER, "source": "generate", "side": side, "least_path": least_path, **counts}


def _draw(side: int, least_path: int, wanted: int, seed: int) -> tuple[U8, int]:
    """The first `wanted` mazes of which none has the layout of an earlier one, and how many layouts that took."""
    inputs = np.empty((wanted, side * side), dtype=np.uint8)
    seen: set[bytes] = set()
    n_found = last_new = 0
    for first, kept, layouts in _candidates(side, least_path, seed):
        for maze, layout, key in zip(kept, layouts.tolist(), layout_keys(kept), strict=True):
            if key not in seen:
                seen.add(key)
                inputs[n_found] = maze
                n_found, last_new = n_found + 1, layout + 1
                if n_found == wanted:
                    return inputs, last_new
        if first + LAYOUTS_AT_ONCE - last_new >= EXHAUSTED_AFTER:
            break
    raise TooFewPuzzles(
        f"generate: {n_found} different {side}x{side} mazes with a path of {least_path} cells found (up to rotation "
        f"and reflection), expected {wanted}; none new in {EXHAUSTED_AFTER:,} layouts; ask for fewer mazes "
        f"{named(*SPLITS)} or for a shorter path (--least-path)"
    )


def _candidates(side: int, least_path: int, seed: int) -> Iterator[tuple[int, U8, I64]]:
    """(first layout of a chunk, the mazes kept of it, their layouts' numbers), chunk by chunk, on all cores.

    Which core drew what has no say: a layout depends on the seed and its own number alone.
    """

    def chunk(first: int) -> tuple[int, U8, I64]:
        inputs = np.empty((LAYOUTS_AT_ONCE, side * side), dtype=np.uint8)
        layouts = np.empty(LAYOUTS_AT_ONCE, dtype=np.int64)
        n = kernels.generate(np.uint64(seed % UINT64), first, LAYOUTS_AT_ONCE, side, least_path - 1, inputs, layouts)
        return first, inputs[:n].copy(), layouts[:n].copy()

    n_cores = os.cpu_count() or 1
    with ThreadPoolExecutor(n_cores) as pool:
        for start in itertools.count(0, n_cores * LAYOUTS_AT_ONCE):
            yield from pool.map(chunk, range(start, start + n_cores * LAYOUTS_AT_ONCE, LAYOUTS_AT_ONCE))


# --- published files ---


@dataclass(frozen=True)
class Rows:
    """What a maze file holds: inputs, labels uint8 [N, L], ratings int32 [N]."""

    file: PuzzleLines
    side: int
    inputs: U8
    labels: U8
    ratings: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.inputs)


def read_csv(path: Path, *, side: int | None = None, verify: bool = False) -> Rows:
    """Read a file of `source,question,answer,rating`, boards row by row of `#`, space, `S`, `G` and, in answers, `o`.

    csv_door says how else it may look. side: None takes it from the length of the first board. Spaces are data. Every
    row is checked: lengths, characters, one S and one G, answer against question, a shortest path, rating = its cells
    where there is one; with verify, also that it is the path of the tie-break. Raises BadPuzzleFile with the line of
    the first offence.
    """
    return read_puzzles(path, lambda file: _read(file, side, verify))


def _read(file: PuzzleLines, side: int | None, verify: bool) -> Rows:
    """The mazes of a file in the published form, every row checked. Raises BadPuzzleFile."""
    _, *lines = bytes(file.data).split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise BadPuzzleFile(f"{file.path}: a header and no mazes, expected one maze a line; take the whole file")
    side = _first_side(f"{file.path}, line {file.line(0)}", lines[0]) if side is None else check_side(side)
    inputs, labels = (np.empty((len(lines), side * side), dtype=np.uint8) for _ in range(2))
    ratings = np.empty(len(lines), dtype=np.int32)
    for row, line in enumerate(lines):
        offence = _read_row(
            line.removesuffix(b"\r"), verify, inputs[row : row + 1], labels[row : row + 1], ratings[row:]
        )
        if offence is not None:
            raise BadPuzzleFile(f"{file.path}, line {file.line(row)}: {offence}; correct the line or remove it")
    return Rows(file, side, inputs, labels, ratings)


def _first_side(where: str, line: bytes) -> int:
    """The side of the board in the first row of a file."""
    fields = line.split(b",")
    length = len(fields[1]) if len(fields) > 1 else 0
    side = math.isqrt(length)
    if side * side == length and side > LARGEST_SIDE:
        raise BadPuzzleFile(
            f"{where}: question is a board of {side}x{side}, expected at most {LARGEST_SIDE}x{LARGEST_SIDE} "
            f"({WHY_LARGEST}; the published mazes are 30x30); give smaller mazes"
        )
    if side * side != length or side < SMALLEST_SIDE:
        raise BadPuzzleFile(
            f"{where}: question has {length} characters, expected a square board, such as 900 for 30x30; "
            "correct the line (spaces are cells: do not strip them)"
        )
    return side


def _read_row(line: bytes, verify: bool, inputs: U8, labels: U8, ratings: NDArray[np.int32]) -> str | None:
    """One line into inputs and labels [1, L] and ratings[0]; what is wrong with it, and what was expected, or None."""
    side = _side_of(inputs)
    fields = line.split(b",")
    if len(fields) != 4:
        return f"{len(fields) if line else 0} fields, expected 4 ({HEADER.decode()})"
    for name, field, board in (("question", fields[1], inputs), ("answer", fields[2], labels)):
        if len(field) != side * side:
            return f"{name} has {len(field)} characters, expected {side * side} for {side}x{side} (spaces are cells)"
        board[0] = TOKENS[np.frombuffer(field, dtype=np.uint8)]
        foreign = (board[0] == kernels.PAD) | ((board[0] == kernels.PATH) & (name == "question"))
        for cell in np.flatnonzero(foreign)[:1]:
            expected = "'#', ' ', 'S' or 'G'" if name == "question" else "'#', ' ', 'S', 'G' or 'o'"
            return f"{name} has {_character(field[cell])} at {_place(cell, side)}, expected {expected}"
    for letter, token in (("S", kernels.START), ("G", kernels.GOAL)):
        n = int((inputs == token).sum())
        if n != 1:
            return f"question has {n} {letter}, expected one"
    return _wrong_path(fields, inputs, labels, ratings) or (_wrong_tie(inputs, labels) if verify else None)


def _wrong_path(fields: list[bytes], inputs: U8, labels: U8, ratings: NDArray[np.int32]) -> str | None:
    """What is wrong with an answer as a shortest path, or with its rating."""
    judged = judge(inputs, labels)
    changed, cells, moves, least = (
        int(a[0]) for a in (judged.changed_at, judged.path_cells, judged.path_moves, judged.least_moves)
    )
    if changed >= 0:
        found, there = _character(fields[2][changed]), _character(fields[1][changed])
        return f"answer has {found} at {_place(changed, _side_of(inputs))}, expected the question's {there}"
    if moves < 0:
        return "answer's 'o' do not lead from S to G, expected a path"
    if moves != cells - 1:
        return f"answer has {cells} cells from S to G of which {moves + 1} are enough, expected a path without others"
    if moves != least:
        return f"answer is a path of {cells} cells, expected a shortest one ({least + 1})"
    if fields[3] not in (str(cells).encode(), b""):
        found = fields[3][:30].decode("ascii", "backslashreplace")
        return f"rating {found!r}, expected {cells}, the cells of the path (number of 'o', and S and G)"
    ratings[0] = cells
    return None


def _wrong_tie(inputs: U8, labels: U8) -> str | None:
    """Where an answer leaves the path of the tie-break."""
    for cell in np.flatnonzero(solve(inputs)[0][0] != labels[0])[:1]:
        return (
            f"answer is a shortest path, but not that of the tie-break (breadth-first from S; down, left, right, up), "
            f"which differs at {_place(cell, _side_of(inputs))}; read the file without --verify to keep it"
        )
    return None


def _place(cell: int, side: int) -> str:
    return f"row {cell // side + 1}, column {cell % side + 1}"


def _character(byte: int) -> str:
    return repr(chr(byte)) if byte < 128 else f"byte 0x{byte:02x}"


def from_csv(
    folder: str | Path,
    *,
    train: int | None = None,
    validation: int = 100,
    test: int | None = None,
    seed: int,
    side: int | None = None,
    verify: bool = False,
    licence: str = "as the source files state",
) -> PuzzleSet:
    """A set from train.csv and test.csv in a folder.

    Mazes of train.csv with the layout of one of test.csv, rotated or reflected or as it is, are no candidates;
    validation is drawn from the rest (so it stays the same whatever train is), then train from those that share no
    layout with it. What was left out is counted in manifest.dropped_from_train and told in manifest.notes; test.csv
    loses nothing. train, test: how many, None for all. Order in a split is the file's. Raises BadPuzzleFile with file
    and line.
    """
    folder = Path(folder)
    for name, n, at_least in (("train", train, 1), ("validation", validation, 0), ("test", test, 0)):
        check_count(name, n, at_least)
    check_folder(folder)
    pool = read_csv(folder / "train.csv", side=side, verify=verify)
    tests = read_csv(folder / "test.csv", side=pool.side, verify=verify)
    chosen, dropped = _choose(pool, tests, train, validation, seed)
    n_test = len(tests) if test is None else test
    if n_test > len(tests):
        raise BadPuzzleFile(
            f"{tests.file.path}: {len(tests)} mazes, expected {n_test}; ask for fewer test mazes {named('test')}"
        )
    chosen["test"] = np.sort(shuffled(len(tests), seed, PURPOSE_TEST)[:n_test])
    rows = {"train": pool, "validation": pool, "test": tests}
    hashes = {"train.csv": pool.file.sha256, "test.csv": tests.file.sha256}
    published, origin = origin_of(folder, hashes)
    return PuzzleSet.build(
        {name: _taken(rows[name], chosen[name]) for name in SPLITS},
        puzzle="maze",
        source="csv",
        protocol="1k" if len(chosen["train"]) == 1000 else "full" if train is None else str(train),
        cells=pool.inputs.shape[1],
        vocab=VOCAB,
        n_puzzle_ids=1,
        seed=seed,
        settings=_csv_settings(pool.side, train, validation, test),
        source_sha256=hashes,
        origin=origin,
        published=published,
        dropped_from_train=sum(dropped.values()),
        notes=(
            *pool.file.notes,
            *tests.file.notes,
            *(
                f"train.csv: {n} mazes with a layout of the {other} split were left out of train"
                for other, n in dropped.items()
                if n
            ),
        ),
        licence=licence,
    )


def _taken(rows: Rows, index: I64) -> Split:
    return split_of(rows.inputs[index], rows.labels[index], rows.ratings[index])


def _csv_settings(side: int, train: int | None, validation: int, test: int | None) -> dict[str, int | str | None]:
    counts = {"train": train, "validation": validation, "test": test}
    return {"builder": BUILDER, "source": "csv", "side": side, **counts}


def _choose(
    pool: Rows, tests: Rows, train: int | None, validation: int, seed: int
) -> tuple[dict[str, I64], dict[str, int]]:
    """Rows of the pool for train and validation, and how many candidates had a layout of test and of validation."""
    keys = layout_keys(pool.inputs)
    in_test = set(layout_keys(tests.inputs))
    order = shuffled(len(pool), seed, PURPOSE_TRAIN).tolist()
    candidates = [row for row in order if keys[row] not in in_test]
    held_out = candidates[:validation]
    in_validation = {keys[row] for row in held_out}
    free = [row for row in candidates[validation:] if keys[row] not in in_validation]
    n_train = len(free) if train is None else train
    if len(held_out) < validation or len(free) < n_train or n_train == 0:
        raise BadPuzzleFile(
            f"{pool.file.path}: {len(held_out) + len(free)} mazes that no other split holds, expected "
            f"{max(n_train, 1)} for train and {validation} for validation; "
            f"ask for fewer {named('train', 'validation')}"
        )
    dropped = {
        "test": len(order) - len(candidates),
        "validation": len(candidates) - len(held_out) - len(free),
    }
    chosen = {"train": np.sort(np.array(free[:n_train], dtype=np.int64))}
    chosen["validation"] = np.sort(np.array(held_out, dtype=np.int64))
    return chosen, dropped


# --- one door for the command line and the launcher ---


def build_maze(
    out: str | Path,
    *,
    source: str | Path = "generate",
    train: int | None = None,
    validation: int = 100,
    test: int | None = None,
    seed: int = 0,
    side: int | None = None,
    least_path: int | None = None,
    verify: bool = False,
) -> PuzzleSet:
    """The set in folder `out`, verified: opened if it was built with the same settings and sources, else built.

    source: "generate", "hub" (Maze-Hard), or a folder with train.csv and test.csv. side: 30 for generate, by the file
    for CSV, if None. train, test: None for all of a file; generate takes 1,000 each for None. least_path: generate
    alone. verify: files alone, read them and hold every answer against the tie-break. Raises OtherContent if `out`
    holds something else, and what generate, from_csv and sources.fetch raise.
    """
    out = Path(out)
    remove_unfinished(out)
    if str(source) == "generate":
        if verify:
            raise BadSettings("verify: answers of generated mazes are the tie-break's own; leave --verify out")
        side = SIDE if side is None else check_side(side)
        least_path = _least_path(side, least_path)
        n_train, n_test = (1000 if n is None else n for n in (train, test))
        kept = reuse(out, _generate_settings(side, least_path, n_train, validation, n_test), {}, seed)
        return kept or generate(
            train=n_train, validation=validation, test=n_test, seed=seed, side=side, least_path=least_path
        ).save(out)
    if least_path is not None:
        raise BadSettings(
            f"least path: {least_path} asked for, but {source} holds mazes as they are; leave --least-path out"
        )
    folder, licence = find(source, "maze-30x30-hard-1k")
    if (out / MANIFEST).is_file() and not verify:
        hashes = hashes_of(folder)
        there = math.isqrt(read_manifest(out).cells)
        kept = reuse(out, _csv_settings(side or there, train, validation, test), hashes, seed)
        if kept is not None:
            return kept
    return from_csv(
        folder, train=train, validation=validation, test=test, seed=seed, side=side, verify=verify, licence=licence
    ).save(out)


__all__ = [
    "BadPuzzleFile",
    "BadSettings",
    "MazeAugmentation",
    "TooFewPuzzles",
    "augment_maze",
    "build_maze",
    "from_csv",
    "generate",
    "is_published_path",
    "is_shortest_path",
    "judge",
    "layout_keys",
    "read_csv",
    "solve",
]
