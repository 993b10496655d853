"""The released code's processed datasets, opened as PuzzleSets (SamsungSAILMontreal/TinyRecursiveModels, dataset/).

HRM's (sapientinc/HRM) are the same but for the names of tasks and totals that nothing here reads.

identifiers.json             the name of each puzzle identifier, "<blank>" where it has none
test_puzzles.json            ARC only: the tasks of the test set
{train,test}/dataset.json    seq_len, vocab_size, num_puzzle_identifiers, sets, …
{train,test}/all__inputs.npy, all__labels.npy            [N, seq_len], any integer type
{train,test}/all__puzzle_identifiers.npy                 [P]
{train,test}/all__puzzle_indices.npy, all__group_indices.npy   [P + 1], [G + 1]: where a puzzle's examples and a
                                                               group's puzzles (an original, its variants) begin

Their tokens are ours. What they call an example is a puzzle here, with its puzzle's identifier.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from data_prep.files import load_array, read_json
from data_prep.puzzle_set import SPLITS, PuzzleError, PuzzleSet, Split

DESCRIPTION = "dataset.json"
KINDS = {(81, 11): ("sudoku", 3), (900, 6): ("maze", None), (900, 12): ("arc", None)}  # (cells, V) → puzzle, box side
ROWS_AT_ONCE = 1 << 16  # of an array that is narrowed or checked
AGAIN = "build the dataset again with the released code, or copy it again"


class BadDataset(PuzzleError):
    """A released dataset of which something is missing, torn, or at odds with the rest."""


class Description(BaseModel):
    """dataset.json, as far as it is needed. total_puzzles is not: for Sudoku and mazes it holds the groups."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    seq_len: int = Field(ge=1, lt=2**31)
    vocab_size: int = Field(ge=2, le=256)
    num_puzzle_identifiers: int = Field(ge=1, lt=2**31)
    total_groups: int = Field(ge=0, lt=2**31)
    pad_id: int
    ignore_label_id: int | None
    sets: tuple[str, ...]


def is_released(folder: Path) -> bool:
    """Whether a folder looks like a released dataset."""
    return any((folder / name / DESCRIPTION).is_file() for name in ("train", "test"))


def open_released(folder: str | Path) -> PuzzleSet:
    """A released dataset as a PuzzleSet: every array checked and hashed, those of bytes memory-mapped.

    Wider ones (int64, Sudoku's training set) are narrowed in memory to a byte a cell. The released code has no
    validation split: where there is no folder of that name, it is empty. Raises BadDataset.
    """
    folder = Path(folder)
    present = [name for name in SPLITS if name != "validation" or (folder / name).is_dir()]
    described = {name: _description(folder / name / DESCRIPTION) for name in present}
    first = described[present[0]]
    for name, other in described.items():
        for field in ("seq_len", "vocab_size", "num_puzzle_identifiers"):
            if getattr(other, field) != getattr(first, field):
                raise BadDataset(
                    f"{folder / name / DESCRIPTION}: {field} {getattr(other, field)}, but {getattr(first, field)} in"
                    f" {present[0]}; {AGAIN}"
                )
    _check_names(folder, first.num_puzzle_identifiers)
    files = [path for path in (folder / "identifiers.json", folder / "test_puzzles.json") if path.is_file()]
    files += [folder / name / DESCRIPTION for name in present]
    puzzle, box_side = KINDS.get((first.seq_len, first.vocab_size), ("other", None))
    return PuzzleSet.build(
        {
            name: _split(folder / name, described[name]) if name in described else _no_puzzles(first.seq_len)
            for name in SPLITS
        },
        puzzle=puzzle,
        source="released code",
        protocol="released",
        box_rows=box_side,
        box_cols=box_side,
        cells=first.seq_len,
        vocab=first.vocab_size,
        n_puzzle_ids=first.num_puzzle_identifiers,
        seed=0,
        settings={},
        source_sha256={
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
        },
        origin="a processed dataset of the released code",
        notes=(
            "train holds each variant of a puzzle as a puzzle of its own; to train on it set data.augmentations=0",
            "ratings are 0: the format has none",
            *(() if "validation" in described else ("validation is empty: the released code holds nothing out",)),
        ),
        licence="that of the puzzles it was built from",
    )


def _split(folder: Path, described: Description) -> Split:
    """One split's examples, each with its puzzle's identifier."""
    inputs = _tokens(folder / "all__inputs.npy", described)
    labels = _tokens(folder / "all__labels.npy", described)
    if len(labels) != len(inputs):
        raise BadDataset(
            f"{folder / 'all__labels.npy'}: {len(labels)} rows, expected {len(inputs)}, the rows of"
            f" all__inputs.npy; {AGAIN}"
        )
    ids_path = folder / "all__puzzle_identifiers.npy"
    ids = _integers(ids_path, 1)
    if len(ids) and not 0 <= ids.min() <= ids.max() < described.num_puzzle_identifiers:
        raise BadDataset(
            f"{ids_path}: identifiers {ids.min()} to {ids.max()}, expected 0 to"
            f" {described.num_puzzle_identifiers - 1} by {DESCRIPTION}; {AGAIN}"
        )
    starts = _starts(folder / "all__puzzle_indices.npy", len(ids), "identifiers", len(inputs), "examples")
    _starts(folder / "all__group_indices.npy", described.total_groups, "groups", len(ids), "puzzles")
    puzzle_ids = np.repeat(ids.astype(np.int32), np.diff(starts))
    return Split(inputs, labels, puzzle_ids, np.zeros(len(inputs), dtype=np.int32))


def _no_puzzles(cells: int) -> Split:
    nothing = np.zeros((0, cells), dtype=np.uint8)
    return Split(nothing, nothing, np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32))


def _tokens(path: Path, described: Description) -> NDArray[np.uint8]:
    """inputs or labels: uint8 [N, seq_len], every token below vocab_size."""
    array = _integers(path, 2)
    if array.shape[1] != described.seq_len:
        raise BadDataset(
            f"{path}: {list(array.shape)}, expected [N, {described.seq_len}] by seq_len in {DESCRIPTION}; {AGAIN}"
        )
    narrow = array if array.dtype == np.uint8 else np.empty(array.shape, dtype=np.uint8)
    for start in range(0, len(array), ROWS_AT_ONCE):
        rows = array[start : start + ROWS_AT_ONCE]
        if not 0 <= rows.min() <= rows.max() < described.vocab_size:
            raise BadDataset(
                f"{path}: tokens {rows.min()} to {rows.max()} from row {start} on, expected 0 to"
                f" {described.vocab_size - 1} by vocab_size in {DESCRIPTION}; {AGAIN}"
            )
        if narrow is not array:
            narrow[start : start + ROWS_AT_ONCE] = rows
    return narrow


def _starts(path: Path, count: int, counted: str, total: int, totalled: str) -> NDArray[Any]:
    """Where each of `count` things begins, and behind them the end: from 0, never falling, to total."""
    starts = _integers(path, 1)
    if len(starts) != count + 1:
        raise BadDataset(f"{path}: {len(starts)} entries, expected {count + 1} for {count} {counted}; {AGAIN}")
    if starts[0] != 0 or starts[-1] != total or (np.diff(starts.astype(np.int64)) < 0).any():
        raise BadDataset(
            f"{path}: runs from {starts[0]} to {starts[-1]}, expected from 0, never falling, to {total}, the number"
            f" of {totalled}; {AGAIN}"
        )
    return starts


def _integers(path: Path, dimensions: int) -> NDArray[Any]:
    """An array of integers, memory-mapped where it has any; pickled objects are refused."""
    try:
        array = load_array(path)
    except FileNotFoundError:
        raise BadDataset(f"{path}: missing; {AGAIN}") from None
    except (ValueError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadDataset(f"{path}: cannot be read as an array ({why}); {AGAIN}") from None
    if array.dtype.kind not in "iu" or array.ndim != dimensions:
        raise BadDataset(
            f"{path}: {array.dtype} {list(array.shape)}, expected integers in {dimensions} dimension(s); {AGAIN}"
        )
    return array


def _description(path: Path) -> Description:
    content = _json(path)
    try:
        described = Description.model_validate(content)
    except ValidationError as error:
        offences = "; ".join(
            f"{'.'.join(map(str, offence['loc'])) or 'the whole file'}: {offence['msg']}" for offence in error.errors()
        )
        raise BadDataset(f"{path}: {offences}; {AGAIN}") from None
    if described.pad_id != 0 or described.ignore_label_id != 0 or described.sets != ("all",):
        raise BadDataset(
            f"{path}: pad_id {described.pad_id}, ignore_label_id {described.ignore_label_id}, sets"
            f" {list(described.sets)}; expected 0, 0 and ['all'], as the released code builds Sudoku, mazes and ARC"
        )
    return described


def _check_names(folder: Path, n_puzzle_ids: int) -> None:
    """identifiers.json names every identifier, and every task of test_puzzles.json is among the names."""
    path = folder / "identifiers.json"
    names = _json(path)
    if not isinstance(names, list) or len(names) != n_puzzle_ids or not all(isinstance(name, str) for name in names):
        found = f"{len(names)} names" if isinstance(names, list) else "no list"
        raise BadDataset(
            f"{path}: {found}, expected a list of {n_puzzle_ids} by num_puzzle_identifiers in {DESCRIPTION}; {AGAIN}"
        )
    tasks_path = folder / "test_puzzles.json"
    if tasks_path.exists():
        tasks = _json(tasks_path)
        if not isinstance(tasks, dict):
            raise BadDataset(f"{tasks_path}: no mapping of names to tasks; {AGAIN}")
        strangers = sorted(tasks.keys() - set(names))
        if strangers:
            raise BadDataset(
                f"{tasks_path}: {len(strangers)} of its {len(tasks)} tasks are not in identifiers.json, such as"
                f" {strangers[0]}; {AGAIN}"
            )


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except FileNotFoundError:
        raise BadDataset(f"{path}: missing; expected a dataset as the released code writes it; {AGAIN}") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadDataset(f"{path}: cannot be read as JSON ({why}); {AGAIN}") from None
