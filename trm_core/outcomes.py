"""Which test puzzles a run solved: a file per run, bound to its test set. numpy alone: whoever reads it needs no torch.

outcomes.npz, of N test puzzles in the order of the test split, after the N_sup supervision steps of the evaluation:

    about                JSON: format, test_set, data_hash, step (of the weights), N_sup, puzzles
    solved               bits [N]: every cell right
    settled_at           [N]: the supervision step after which the answer, right or wrong, did not change any more
    halted_at            [N]: the first step after which the halting head asked to halt (as in training, without
                         exploration); 0: at none of them
    solved_when_halted   bits [N]: right at that step; where there is none, after all
    reliability          float64 [10, 3]: of the puzzles whose halting probability after all steps lies in
                         [i/10, (i+1)/10) how many there are, the sum of their probabilities, how many are solved
    ratings              int32 [N]: the source's measure of difficulty, 0 where it has none; files of older runs lack it
    task, test, place    ARC, after the vote, a row per test input: the task's name, the number of the input, and the
                         attempt that is right (1, 2, …; 0: none is)

Where puzzles stopped once their answers had settled (train.eval_halt=settled), `about` says so under halt, and solved,
settled_at and reliability are as of that stop. halted_at and solved_when_halted are what they are without it, since no
puzzle stops before its head asks to halt; but where the head is not trained, solved_when_halted is as of the stop too.

Steps are bytes where N_sup is below 256. The test set's hash is over its questions and answers alone: runs that
learnt from other training puzzles, but were asked the same, can be compared puzzle by puzzle.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_prep.files import HEADER_ERRORS, check_regular, write_arrays
from data_prep.puzzle_set import Manifest

NAME = "outcomes.npz"  # in a run's folder, and among its artefacts
FORMAT = 1
BINS = 10
LARGEST_FILE = 1 << 30  # bytes, unpacked: the published test set's is 1.3 MB

Bool = NDArray[np.bool_]
Steps = NDArray[np.unsignedinteger[Any]]  # uint8 or uint16


class BadOutcomes(ValueError):
    """Outcomes that are missing, torn, foreign, or of another test set."""


class CannotWriteOutcomes(ValueError):
    """The disk refused them."""


class Place(NamedTuple):
    """ARC: which attempt at a test input is right (1, 2, …), 0 where none is."""

    task: str
    test: int
    place: int


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of N test puzzles. Shapes and meaning: the module's docstring."""

    test_set: str
    data_hash: str
    step: int
    N_sup: int
    solved: Bool
    settled_at: Steps
    halted_at: Steps
    solved_when_halted: Bool
    reliability: NDArray[np.float64]
    places: tuple[Place, ...] = ()
    halt: str = "never"  # or "settled": as of each puzzle's stop
    ratings: NDArray[np.int32] | None = None  # None: not kept by an older version

    def __len__(self) -> int:
        return len(self.solved)


def hash_of_test_set(manifest: Manifest) -> str:
    """SHA-256 over what the test puzzles ask and answer; equal for sets that differ in their training puzzles alone."""
    asked = [manifest.puzzle, *(manifest.arrays[f"test_{name}"].sha256 for name in ("inputs", "labels"))]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def halting_scores(found: Outcomes) -> dict[str, float]:
    """What the halting head is worth, by the names of metrics.py, without the split; none without a puzzle."""
    if not len(found):
        return {}
    n, probability, solved = found.reliability.T
    asks = np.arange(BINS) >= BINS // 2
    stopped = np.where(found.halted_at > 0, found.halted_at, found.N_sup)
    return {
        "q_halt_accuracy": float(np.where(asks, solved, n - solved).sum() / n.sum()),
        "q_halt_calibration_error": float(np.abs(solved - probability).sum() / n.sum()),
        "exact_accuracy_when_halting": float(found.solved_when_halted.mean()),
        "steps_when_halting": float(stopped.mean()),
    }


def write_outcomes(found: Outcomes, path: Path) -> None:
    """Write a file whole or not at all; equal outcomes, equal bytes. Raises CannotWriteOutcomes."""
    about = {
        "format": FORMAT,
        "test_set": found.test_set,
        "data_hash": found.data_hash,
        "step": found.step,
        "N_sup": found.N_sup,
        "puzzles": len(found),
    } | ({} if found.halt == "never" else {"halt": found.halt})
    arrays: dict[str, NDArray[Any]] = {
        "about": np.frombuffer(json.dumps(about).encode(), dtype=np.uint8),
        "solved": np.packbits(found.solved),
        "settled_at": found.settled_at,
        "halted_at": found.halted_at,
        "solved_when_halted": np.packbits(found.solved_when_halted),
        "reliability": found.reliability,
    }
    if found.ratings is not None:
        arrays["ratings"] = found.ratings
    if found.places:
        tasks, tests, places = zip(*found.places, strict=True)
        arrays |= {"task": np.array(tasks), "test": np.array(tests, np.int32), "place": np.array(places, np.int32)}
    try:
        write_arrays(path, arrays)
    except OSError as error:
        raise CannotWriteOutcomes(
            f"{path}: not written ({error.strerror or error}); make room or fix the disk, then give the same command"
            " again"
        ) from error


def read_outcomes(path: Path, *, test_set: str | None = None) -> Outcomes:
    """The outcomes in a file. test_set: the hash that they must be of. Raises BadOutcomes, one line."""
    try:
        with zipfile.ZipFile(check_regular(path)) as members:
            if sum(member.file_size for member in members.infolist()) > LARGEST_FILE:
                raise BadOutcomes(
                    f"{path}: more than {LARGEST_FILE >> 20} MB, expected a few bytes a puzzle; delete it"
                )
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays["about"].tobytes())
        found = _checked(about, arrays)
    except FileNotFoundError:
        raise BadOutcomes(
            f"{path}: not there; runs that ended before outcomes were kept have none: `python -m trm_core evaluate"
            " CHECKPOINT DATA --outcomes FILE` makes them"
        ) from None
    except (OSError, KeyError, EOFError, zipfile.BadZipFile, *HEADER_ERRORS) as error:
        if isinstance(error, BadOutcomes):
            raise
        reason = " ".join(str(error).split())[:200]
        raise BadOutcomes(f"{path}: cannot be read ({reason}); it is torn or foreign, evaluate again") from None
    if test_set is not None and found.test_set != test_set:
        raise BadOutcomes(
            f"{path}: of test set {found.test_set[:12]}…, expected {test_set[:12]}…; compare runs that were asked the"
            " same puzzles"
        )
    return found


def _checked(about: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Outcomes:
    """A file's arrays as outcomes. Raises ValueError, KeyError or TypeError where they are none."""
    n, N_sup = about["puzzles"], about["N_sup"]
    if about["format"] != FORMAT:
        raise ValueError(f"format {about['format']!r:.20}, this version reads {FORMAT}")
    if not all(type(number) is int and number >= 0 for number in (n, N_sup, about["step"])):
        raise ValueError(f"{n!r:.20} puzzles, {N_sup!r:.20} steps")
    if not (isinstance(about["test_set"], str) and isinstance(about["data_hash"], str)):
        raise ValueError("no hash of its test set")
    halt = about.get("halt", "never")
    if halt not in ("never", "settled"):
        raise ValueError(f"halt {halt!r:.20}, expected never or settled")
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "solved": ((-(-n // 8),), np.uint8),
        "settled_at": ((n,), steps_type(N_sup)),
        "halted_at": ((n,), steps_type(N_sup)),
        "solved_when_halted": ((-(-n // 8),), np.uint8),
        "reliability": ((BINS, 3), np.float64),
    } | ({"ratings": ((n,), np.int32)} if "ratings" in arrays else {})
    for name, (shape, dtype) in shapes.items():
        if arrays[name].shape != shape or arrays[name].dtype != dtype:
            raise ValueError(f"{name} is {arrays[name].dtype} {list(arrays[name].shape)}, expected {list(shape)}")
    if n and max(arrays["settled_at"].max(), arrays["halted_at"].max()) > N_sup:
        raise ValueError(f"a step beyond the last, {N_sup}")
    if not np.isfinite(arrays["reliability"]).all():
        raise ValueError("reliability is not finite")
    places: tuple[Place, ...] = ()
    if "task" in arrays:
        rows = zip(*(arrays[name].tolist() for name in ("task", "test", "place")), strict=True)
        places = tuple(Place(str(task), int(test), int(place)) for task, test, place in rows)
    return Outcomes(
        about["test_set"],
        about["data_hash"],
        about["step"],
        N_sup,
        np.unpackbits(arrays["solved"], count=n).astype(bool),
        arrays["settled_at"],
        arrays["halted_at"],
        np.unpackbits(arrays["solved_when_halted"], count=n).astype(bool),
        arrays["reliability"],
        places,
        halt,
        arrays.get("ratings"),
    )


def steps_type(N_sup: int) -> type[np.uint8] | type[np.uint16]:
    """A byte for a step, where the steps are few enough."""
    return np.uint8 if N_sup < 256 else np.uint16
