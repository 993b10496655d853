"""ARC's score: every variant of a test task is solved, the predictions are turned back, and they vote (released code).

predict() writes what a model answers to each test input under each variant of its task, as it comes:

    part-<rank>-of-<workers>.parquet    one file per worker, rows in the order of the split, variant by variant
        task      string    the task's name
        test      int32     which of the task's inputs, from 0
        variant   int32     which variant of the task was asked, 0: as it is
        grid      binary    the answer, cropped and turned back: rows, columns, then colours row by row (data_prep.arc)
        halt      float32   halting probability [0..1] after the last supervision step

vote() reads such folders, of one checkpoint or of several, and write_outcome() leaves beside them:

    votes.csv          accuracy against the number of variants that vote
    submission.json    two attempts for each test input, in the format of the ARC Prize on Kaggle

The rule of the vote: equal grids are counted; more votes are better, then the higher mean halting probability. The
released code leaves what is equal in both to chance, here the grid's bytes decide. A test input is solved at k if its
answer is among the first k grids; a task scores the share of its test inputs that are solved; pass@k is the mean over
tasks. The released evaluator pools the votes of all evaluations of a run so far, an ensemble of checkpoints; here a
checkpoint votes alone, and several together only where they are asked for.
"""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, ValidationError

from data_prep.arc import draw_arc, n_variants, restore, unpack
from data_prep.files import check_regular, whole
from data_prep.puzzle_set import PuzzleSet
from trm_core.data import to_batch
from trm_core.distributed import same_for_all, sum_over_workers, wait_for_all, world
from trm_core.model import Model
from trm_core.outcomes import Place
from trm_core.settling import BLANK

KS = (1, 2, 5, 10, 100, 1000)
CURVE_KS = (1, 2)
CURVE_VOTES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # and all
ROWS_AT_ONCE = 4096  # and what is left of a batch: a row group, what a writer and a reader hold in memory
EMPTY = bytes((0, 0))  # a prediction without a cell
SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("test", pa.int32()),
        ("variant", pa.int32()),
        ("grid", pa.binary()),
        ("halt", pa.float32()),
    ]
)


class BadPredictions(ValueError):
    """Predictions that are missing, torn, or of other puzzles."""


class CannotWritePredictions(ValueError):
    """The disk refused predictions or what was voted."""


class BadSubmission(ValueError):
    """A submission that the ARC Prize would refuse."""


@dataclass(frozen=True)
class Question:
    """One test input of a task and its answer, packed."""

    task: str
    test: int
    answer: bytes


def questions(data: PuzzleSet, split: str = "test", limit: int | None = None) -> list[Question]:
    """The (first `limit`) inputs of a split, in its order. data: ARC, with groups."""
    assert data.groups is not None
    puzzles = data.splits[split]
    n = len(puzzles) if limit is None else min(limit, len(puzzles))
    labels, ids = np.asarray(puzzles.labels[:n]), np.asarray(puzzles.puzzle_ids[:n])
    answers = restore(labels, np.zeros(n, dtype=np.int32), side=math.isqrt(data.cells))
    names = [name.decode() for name in data.groups.names[data.groups.of(ids)]]
    seen: dict[str, int] = {}
    found = []
    for name, answer in zip(names, answers, strict=True):
        seen[name] = seen.get(name, -1) + 1
        found.append(Question(name, seen[name], answer))
    return found


# --- predictions, to the disk -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class About:
    """What predictions are of; in each file's metadata."""

    data_hash: str
    split: str
    step: int  # of the checkpoint
    blank_identifiers: bool

    def metadata(self) -> dict[bytes, bytes]:
        """As Parquet keeps it."""
        return {b"trm_core": json.dumps(self.__dict__).encode()}


class PartWriter:
    """One worker's predictions, a row group at a time; the file has its name once it is whole."""

    def __init__(self, folder: Path, of: About, rank: int = 0, workers: int = 1) -> None:
        self.path = folder / f"part-{rank}-of-{workers}.parquet"
        self.partial = self.path.with_name(f".{self.path.name}.partial")
        self.schema = SCHEMA.with_metadata(of.metadata())
        self._rows: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}

    def __enter__(self) -> Self:
        with _told(self.path):
            self._writer = pq.ParquetWriter(_literal(self.partial), self.schema, compression="zstd")
        return self

    def add(self, **columns: Iterable[Any]) -> None:
        """Rows, by column; each column in full."""
        for name, values in columns.items():
            self._rows[name] += values
        if len(self._rows["grid"]) >= ROWS_AT_ONCE:
            self._flush()

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is not None:
                with contextlib.suppress(OSError, pa.ArrowException):  # what ended the writing is told, not this
                    self._writer.close()
                return
            self._flush()
            with _told(self.path):
                self._writer.close()
                with self.partial.open("rb") as file:
                    os.fsync(file.fileno())
                self.partial.rename(self.path)
        finally:
            with contextlib.suppress(OSError):
                self.partial.unlink(missing_ok=True)

    def _flush(self) -> None:
        with _told(self.path):
            self._writer.write_table(pa.table(self._rows, schema=self.schema))
        for column in self._rows.values():
            column.clear()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise CannotWritePredictions(
            f"{path}: not written ({error}); make room or choose another folder, then give the same command again"
        ) from error


def _literal(path: Path) -> Path:
    """The same place by a path that pyarrow takes as it stands; of a relative one it expands a "~"."""
    return path.absolute()


def make_room(folder: Path) -> None:
    """An empty place for predictions: those of an earlier attempt go, whole or not, and what was voted from them."""
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for pattern in ("part-*-of-*.parquet", ".part-*-of-*.parquet.partial", "votes.csv", "submission.json"):
            for path in folder.glob(pattern):
                path.unlink()


@torch.inference_mode()
def predict(
    model: Model,
    data: PuzzleSet,
    folder: Path,
    *,
    step: int,
    split: str = "test",
    limit: int | None = None,
    votes: int | None,
    batch_size: int,
    N_sup: int,
    device: torch.device,
    blank_identifiers: bool = False,
) -> None:
    """Answers to the (first `limit`) inputs of a split under the first `votes` variants of each (None: all there are).

    All workers together, each to a file of its own, which replace whatever was predicted there. Variants are not
    translated and each has its own identifier; with blank_identifiers all have the blank one. Raises
    CannotWritePredictions.
    """
    assert data.groups is not None
    rank, workers = world()
    of = About(data.content_hash, split, step, blank_identifiers)
    if rank == 0:
        make_room(folder)
    wait_for_all()
    puzzles, asked = data.splits[split], questions(data, split, limit)
    counts = n_variants(data.groups, np.asarray(puzzles.puzzle_ids[: len(asked)]))
    ends = np.cumsum(counts if votes is None else np.minimum(counts, votes))
    side = math.isqrt(data.cells)
    with PartWriter(folder, of, rank, workers) as part:
        for first in range(rank * batch_size, int(ends[-1]) if len(ends) else 0, workers * batch_size):
            rows = np.arange(first, min(first + batch_size, int(ends[-1])))
            examples = np.searchsorted(ends, rows, side="right")
            variants = rows - np.concatenate([[0], ends])[examples]
            tokens, labels, ids = draw_arc(puzzles, data.groups, examples, variants, side=side, seed=0, translate=False)
            batch = to_batch(tokens, labels, np.full_like(ids, BLANK) if blank_identifiers else ids, device)
            features, vectors = model.initial_features(len(rows)), model.puzzle_vectors(batch.puzzle_ids)
            for _ in range(N_sup):
                features, logits, q = model(batch.inputs, vectors, features)
            predicted = logits.argmax(-1).to(torch.uint8).cpu().numpy()
            part.add(
                task=[asked[example].task for example in examples],
                test=[asked[example].test for example in examples],
                variant=variants.tolist(),
                grid=restore(predicted, data.groups.variants[ids], side=side),
                halt=q[:, 0].sigmoid().tolist(),
            )
    wait_for_all()


# --- predictions, from the disk ---------------------------------------------------------------------------------------


def parts(folder: Path) -> list[Path]:
    """The files of one prediction, all of them; of a run's folder those in predictions/. Raises BadPredictions."""
    found = sorted(folder.glob("part-*-of-*.parquet"))
    if not found and (folder / "predictions").is_dir():
        return parts(folder / "predictions")
    if not found:
        raise BadPredictions(
            f"{folder}: no predictions there, expected part-…-of-….parquet, or a run's folder with predictions/;"
            " write them with `python -m trm_core evaluate CHECKPOINT DATA`"
        )
    workers = {path.stem.rpartition("-")[2] for path in found}
    n = min(workers)
    expected = {f"part-{rank}-of-{n}.parquet" for rank in range(int(n))} if len(workers) == 1 and n.isdigit() else set()
    if {path.name for path in found} != expected:
        raise BadPredictions(
            f"{folder}: {', '.join(path.name for path in found)}, expected"
            f" {f'all of part-0-of-{n} to part-{int(n) - 1}-of-{n}' if expected else 'the parts of one prediction'};"
            " the workers must write to a folder that all machines see; predict again"
        )
    return found


def about(folder: Path) -> About:
    """What the predictions in a folder are of. Raises BadPredictions."""
    found = set()
    for path in parts(folder):
        with _read(path):
            schema = pq.read_schema(_literal(path))
        if not schema.equals(SCHEMA) or b"trm_core" not in (schema.metadata or {}):
            raise BadPredictions(
                f"{path}: columns {', '.join(schema.names)}, expected {', '.join(SCHEMA.names)} as predictions of this"
                " program have them; predict again"
            )
        with _read(path):
            found.add(About(**json.loads(schema.metadata[b"trm_core"])))
    if len(found) > 1:
        raise BadPredictions(f"{folder}: its parts are of different predictions ({found}); predict again")
    return found.pop()


@contextlib.contextmanager
def _read(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, json.JSONDecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadPredictions(f"{path}: cannot be read ({reason}); it is torn or foreign, predict again") from error


Key = tuple[str, int]
Row = tuple[int, bytes, float]  # variant, grid, halting probability
Attempt = dict[str, list[list[int]]]


class _Stream:
    """A part's rows, test input by test input, a row group in memory at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inputs = groupby(self._rows(), key=itemgetter(0, 1))
        self._next = next(self._inputs, None)

    def take(self, key: Key) -> list[Row]:
        """The rows of this test input; none where the part goes on with another."""
        if self._next is None or self._next[0] != key:
            return []
        rows = [(variant, grid, halt) for _, _, variant, grid, halt in self._next[1]]
        self._next = next(self._inputs, None)
        return rows

    def end(self) -> None:
        """Raises BadPredictions where rows are left."""
        if self._next is not None:
            task, test = self._next[0]
            raise BadPredictions(
                f"{self.path}: test input {test} of {task} is not of these puzzles, or not in their order;"
                " give the puzzles that were predicted"
            )

    def _rows(self) -> Iterator[tuple[str, int, int, bytes, float]]:
        with _read(self.path), pq.ParquetFile(_literal(check_regular(self.path)), buffer_size=1 << 16) as file:
            for i in range(file.num_row_groups):  # iter_batches() holds on to all that it has read
                rows = file.read_row_group(i, use_threads=False)
                for row in zip(*(column.to_pylist() for column in rows.columns), strict=True):
                    task, test, variant, grid, halt = row
                    if not (None not in row and variant >= 0 and len(grid) >= 2 and len(grid) == 2 + grid[0] * grid[1]):
                        raise BadPredictions(
                            f"{self.path}: variant {variant} of {task}, input {test}: expected a packed grid and a"
                            " halting probability; it is torn or foreign, predict again"
                        )
                    yield task, test, variant, grid, halt


# --- the vote ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vote:
    """What a vote came to."""

    pass_at: Mapping[int, float]  # by k, [0..1]
    votes: int  # the largest number of variants that voted on a test input
    n_tasks: int
    n_inputs: int
    curve: tuple[tuple[int, float, float], ...]  # (variants that vote, pass@1, pass@2), the last: all
    submission: Mapping[str, list[Attempt]]
    unpredicted: tuple[Key, ...]  # test inputs without a prediction: not solved
    empty: int  # attempts without a cell, submitted as [[0]]
    places: tuple[Place, ...] = ()  # of each test input, in order: which attempt is right

    def metrics(self) -> dict[str, float]:
        """By the names of metrics.py, without the split."""
        return {f"pass_at_{k}": score for k, score in self.pass_at.items()} | {"votes": float(self.votes)}

    def warnings(self) -> list[str]:
        """What a reader of the numbers has to know."""
        told = []
        if self.unpredicted:
            first = "; ".join(f"{task}, input {test}" for task, test in self.unpredicted[:3])
            more = "; …" if len(self.unpredicted) > 3 else ""
            told.append(
                f"{len(self.unpredicted)} test inputs have no predictions and count as not solved: {first}{more}"
            )
        if self.empty:
            told.append(f"{self.empty} of {2 * self.n_inputs} attempts have no cell and are submitted as [[0]]")
        return told


def ranking(rows: Iterable[tuple[bytes, float]]) -> list[bytes]:
    """The different grids among (grid, halting probability), best first; the order of the rows has no say."""
    halts: dict[bytes, list[float]] = {}
    for grid, halt in rows:
        halts.setdefault(grid, []).append(halt)

    def worth(grid: bytes) -> tuple[int, float, bytes]:
        votes = halts[grid]
        mean = math.fsum(votes) / len(votes)  # fsum: exact, in whatever order
        return -len(votes), math.inf if math.isnan(mean) else -mean, grid

    return sorted(halts, key=worth)


def vote(folders: Sequence[Path], data: PuzzleSet, *, split: str = "test", limit: int | None = None) -> Vote:
    """The vote of all predictions in these folders together, on the (first `limit`) inputs of a split.

    Rows are read as they are needed, a row group of each file at a time. Raises BadPredictions.
    """
    for folder in folders:
        of = about(folder)
        if (of.data_hash, of.split) != (data.content_hash, split):
            raise BadPredictions(
                f"{folder}: predictions of split {of.split} of puzzles {of.data_hash[:12]}…, expected split {split} of"
                f" {data.content_hash[:12]}…; give the puzzles that were predicted"
            )
    streams = [_Stream(path) for folder in folders for path in parts(folder)]
    asked = questions(data, split, limit)
    tasks = list(dict.fromkeys(one.task for one in asked))
    n_solved = {task: np.zeros((len(CURVE_VOTES) + 1, len(KS)), dtype=np.int64) for task in tasks}
    submission: dict[str, list[Attempt]] = {task: [] for task in tasks}
    unpredicted: list[Key] = []
    right: list[Place] = []
    most = empty = 0
    for one in asked:
        rows = [row for stream in streams for row in stream.take((one.task, one.test))]
        variants = 1 + max((variant for variant, _, _ in rows), default=-1)
        most = max(most, variants)
        ranked = ranking((grid, halt) for _, grid, halt in rows)
        places = [
            _place(one.answer, ranking((grid, halt) for variant, grid, halt in rows if variant < votes))
            if votes < variants
            else _place(one.answer, ranked)
            for votes in (*CURVE_VOTES, variants)
        ]
        n_solved[one.task] += np.less.outer(places, KS)
        right.append(Place(one.task, one.test, 1 + int(places[-1]) if math.isfinite(places[-1]) else 0))
        if not ranked:
            unpredicted.append((one.task, one.test))
        attempts = (ranked or [EMPTY])[:2]
        attempts = [attempts[0], attempts[-1]]  # the first once more where there is no second
        empty += attempts.count(EMPTY)
        submission[one.task].append({f"attempt_{i}": _as_lists(grid) for i, grid in enumerate(attempts, 1)})
    for stream in streams:
        stream.end()
    shares = [n_solved[task] / len(submission[task]) for task in tasks]
    scores = np.mean(shares, axis=0) if shares else np.zeros((len(CURVE_VOTES) + 1, len(KS)))
    first = [KS.index(k) for k in CURVE_KS]
    return Vote(
        pass_at=dict(zip(KS, scores[-1].tolist(), strict=True)),
        votes=most,
        n_tasks=len(tasks),
        n_inputs=len(asked),
        curve=(
            *((votes, *at[first].tolist()) for votes, at in zip(CURVE_VOTES, scores, strict=False) if votes < most),
            (most, *scores[-1, first].tolist()),
        ),
        submission=submission,
        unpredicted=tuple(unpredicted),
        empty=empty,
        places=tuple(right),
    )


def _place(answer: bytes, ranked: Sequence[bytes]) -> float:
    return ranked.index(answer) if answer in ranked else math.inf


def _as_lists(grid: bytes) -> list[list[int]]:
    return [[0]] if grid == EMPTY else unpack(grid).tolist()


# --- what is kept of it -----------------------------------------------------------------------------------------------


def _rectangle(grid: list[list[int]]) -> list[list[int]]:
    if len({len(row) for row in grid}) > 1:
        raise ValueError(f"rows of {sorted({len(row) for row in grid})} cells in one grid")
    return grid


_Colour = Annotated[int, Field(ge=0, le=9, strict=True)]
_Line = Annotated[list[_Colour], Field(min_length=1, max_length=30)]
_Grid = Annotated[list[_Line], Field(min_length=1, max_length=30), AfterValidator(_rectangle)]


class Attempts(BaseModel):
    """Two answers to a test input."""

    model_config = ConfigDict(extra="forbid")

    attempt_1: _Grid
    attempt_2: _Grid


class Submission(RootModel[dict[str, Annotated[list[Attempts], Field(min_length=1)]]]):
    """submission.json of the ARC Prize: for each task, for each of its test inputs in order, two attempts."""


def check_submission(submission: Any) -> None:
    """Raises BadSubmission with the place of the first offence."""
    try:
        Submission.model_validate(submission)
    except ValidationError as error:
        first = error.errors()[0]
        place = ", ".join(map(str, first["loc"]))
        raise BadSubmission(f"submission: {place}: {first['msg']}; the grids of the predictions are wrong") from None


def write_outcome(outcome: Vote, folder: Path) -> None:
    """votes.csv and submission.json, each whole or not at all. Raises BadSubmission, CannotWritePredictions."""
    check_submission(outcome.submission)
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _whole(folder / "submission.json") as file:
            json.dump(outcome.submission, file)
        with _whole(folder / "votes.csv") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(("votes", *(f"pass@{k}" for k in CURVE_KS)))
            rows.writerows(outcome.curve)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Any]:
    with whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        yield file


def final_metrics(
    model: Model, data: PuzzleSet, folder: Path | None, **settings: Any
) -> tuple[dict[str, float], tuple[Place, ...]]:
    """Predict, vote, keep: what the end of a run does, on all its workers, each of which is told the metrics.

    The first worker is told the places of the right answers too.

    folder: where predictions stay, one that all workers see; None: nowhere. settings: those of predict(). Raises
    CannotWritePredictions, BadPredictions.
    """
    rank, _ = world()
    places: tuple[Place, ...] = ()
    kept = same_for_all(str(tempfile.mkdtemp() if folder is None and rank == 0 else folder))
    try:
        predict(model, data, Path(kept), **settings)
        numbers = torch.zeros(len(KS) + 1, dtype=torch.float64, device=settings["device"])
        names = [*(f"pass_at_{k}" for k in KS), "votes"]
        if rank == 0:
            outcome = vote([Path(kept)], data)
            write_outcome(outcome, Path(kept))
            places = outcome.places
            numbers += torch.tensor([outcome.metrics()[name] for name in names], dtype=torch.float64).to(numbers)
        sum_over_workers([numbers])
    finally:
        if folder is None and rank == 0:
            shutil.rmtree(kept, ignore_errors=True)
    return dict(zip(names, numbers.tolist(), strict=True)), places
