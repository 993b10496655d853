"""What every builder shares: its mistakes by name, what counts it accepts, how a file is read, when a set is reused."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_prep.files import check_regular
from data_prep.puzzle_set import MANIFEST, OtherContent, PuzzleError, PuzzleSet, Split, read_manifest, sha256_of

U8 = NDArray[np.uint8]
HEADER = b"source,question,answer,rating"
FILES = ("train.csv", "test.csv")  # what a folder of published Sudokus or mazes holds
MOST = 10**8  # puzzles of a split; the largest published file has 4 million
PURPOSE_TRAIN, PURPOSE_TEST = 1, 2  # which shuffle a hash belongs to


class BadPuzzleFile(PuzzleError):
    """A puzzle file that is missing, empty or wrong in a line, or that holds fewer puzzles than asked for."""


class BadSettings(PuzzleError):
    """A number of puzzles, a size of a board or a difficulty that cannot be."""


class TooFewPuzzles(PuzzleError):
    """The generator found no more puzzles of the kind that was asked for."""


def named(*names: str) -> str:
    """What sets these numbers, for an error: the settings of `sweeps/run.py --set`, the options of this package."""
    return f"({', '.join(f'data.{name}' for name in names)}; {', '.join(f'--{name}' for name in names)})"


def check_count(name: str, n: int | None, at_least: int) -> None:
    """Raise BadSettings for fewer puzzles than `at_least` or more than MOST; None stands for all there are."""
    if n is not None and n < at_least:
        raise BadSettings(f"{name}: {n} puzzles asked for, expected at least {at_least}; ask for more {named(name)}")
    if n is not None and n > MOST:
        raise BadSettings(f"{name}: {n} puzzles asked for, expected at most {MOST}; ask for fewer {named(name)}")


def plain(array: U8) -> U8:
    """The same bytes as an ordinary writable array: numba compiles once for it, not once for each flavour."""
    plain = np.ascontiguousarray(array).view(np.ndarray)
    return plain if plain.flags.writeable else plain.copy()


def split_of(inputs: U8, labels: U8, ratings: NDArray[np.int32]) -> Split:
    """A split of puzzles without identifiers of their own."""
    return Split(inputs, labels, np.zeros(len(inputs), dtype=np.int32), ratings)


def check_folder(folder: Path) -> None:
    """Raise BadPuzzleFile unless this is a folder of files; what it holds shows when they are read."""
    if (folder / MANIFEST).is_file():
        raise BadPuzzleFile(
            f"{folder}: a puzzle set, built already, expected a folder with train.csv and test.csv; give the set itself"
            " where puzzles are wanted (sweeps/run.py --data, python -m trm_core evaluate), or those files here"
        )
    if not folder.is_dir():
        raise BadPuzzleFile(
            f"{folder}: {'a file' if folder.exists() else 'missing'}, expected a folder with train.csv and test.csv; "
            "give that folder (--data, --source)"
        )


def read_bytes(path: Path) -> U8:
    """A file as uint8 [bytes]."""
    try:
        data = np.fromfile(check_regular(path), dtype=np.uint8)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadPuzzleFile(
            f"{path}: missing, expected a file of {HEADER.decode()!r} lines; give the folder of train.csv and test.csv"
        ) from error
    except OSError as error:
        raise BadPuzzleFile(
            f"{path}: cannot be read ({error.strerror}), expected a CSV file; check the path"
        ) from error
    if len(data) == 0:
        raise BadPuzzleFile(f"{path}: an empty file, expected {HEADER.decode()!r} and puzzles; fetch the file again")
    return data


def hashes_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of train.csv and of test.csv."""
    check_folder(folder)
    return {name: sha256_of(read_bytes(folder / name)) for name in FILES}


def reuse(
    out: Path, asked: Mapping[str, int | str | None], source_sha256: Mapping[str, str], seed: int
) -> PuzzleSet | None:
    """The set in `out` if it was built with these settings; None if `out` is free; OtherContent or BadManifest else."""
    if not (out / MANIFEST).is_file():
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise OtherContent(
                f"{out}: exists and holds no puzzle set; choose another --out, or move it out of the way"
            )
        return None
    manifest = read_manifest(out)
    there = {**manifest.settings, "seed": manifest.seed, **manifest.source_sha256}
    wanted = {**asked, "seed": seed, **source_sha256}
    for name in sorted(there.keys() | wanted.keys()):
        if there.get(name) != wanted.get(name):
            raise OtherContent(
                f"{out}: holds a set with {name} = {_short(there.get(name))}, expected {_short(wanted.get(name))}; "
                "choose another --out, or delete the folder and give the same command again"
            )
    return PuzzleSet.open(out)


def _short(value: object) -> str:
    """A setting as an error names it: a hash by its beginning."""
    text = str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
