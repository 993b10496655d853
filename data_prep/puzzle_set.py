"""PuzzleSet: puzzles as arrays beside a manifest that says what they are and what every byte of them hashes to.

A folder holds <split>_<array>.npy for each split, groups_<array>.npy where puzzles have identifiers of their own (ARC),
and, written last, manifest.json: where it stands, the set is whole.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from data_prep.files import load_array, read_text
from data_prep.unfinished import partial_of, remove_unfinished

MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 64 << 20  # ARC's has a name and a hash for each task file
FORMAT = 1
SPLITS = ("train", "validation", "test")
DTYPES = {"inputs": "|u1", "labels": "|u1", "puzzle_ids": "<i4", "ratings": "<i4"}
GROUP_DTYPES = {"names": "|S64", "starts": "<i4", "variants": "<i4"}


class PuzzleError(ValueError):
    """A mistake in puzzle files or settings: one line that says what was found, what was expected, what to do."""


class BadManifest(PuzzleError):
    """A puzzle folder whose manifest or arrays are missing, foreign or changed."""


class OtherContent(PuzzleError):
    """A folder that already holds something else than what is to be written there."""


class CannotSave(PuzzleError):
    """The operating system refused to write a puzzle set; nothing of it was left behind."""


@dataclass(frozen=True, eq=False)
class Split:
    """One split of N puzzles of L cells; len(split) is N.

    inputs, labels: uint8 [N, L], tokens (0 pad; for Sudoku 1 blank, digit d is d + 1; labels hold every cell's answer).
    puzzle_ids: int32 [N]. ratings: int32 [N], the source's measure of difficulty.
    """

    inputs: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    puzzle_ids: NDArray[np.int32]
    ratings: NDArray[np.int32]

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, in the order in which they are declared."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class Groups:
    """The G groups of a set whose puzzles have identifiers: a group is a task and its variants, the original first.

    names: bytes [G]. starts: int32 [G + 1]; the identifiers of group g are starts[g] .. starts[g + 1] - 1; identifier
    0, the blank one, is nobody's. variants: int32 [n_puzzle_ids], what each identifier does to its task, 0: nothing.
    In a split the examples of a group stand together and carry the original's identifier, starts[g], as puzzle id.
    """

    names: NDArray[np.bytes_]
    starts: NDArray[np.int32]
    variants: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.names)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, in the order in which they are declared."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def of(self, puzzle_ids: NDArray[np.int32]) -> NDArray[np.int64]:
        """The group of each identifier [B]; -1 for the blank one."""
        return np.searchsorted(self.starts, puzzle_ids, side="right").astype(np.int64) - 1


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArrayEntry(_Frozen):
    """What one .npy file holds. sha256 is over the array's bytes in C order, little-endian, without the header."""

    dtype: str
    shape: tuple[int, ...]
    sha256: str


class Manifest(_Frozen):
    """What a PuzzleSet is and where it comes from. No path in it: the same content has the same manifest anywhere."""

    format: Literal[1] = 1
    puzzle: str
    source: str
    protocol: str
    box_rows: int | None = None
    box_cols: int | None = None
    cells: int
    vocab: int
    n_puzzle_ids: int
    seed: int
    counts: dict[str, int]
    settings: dict[str, int | str | None]  # what the builder was asked for; equal settings, equal content
    source_sha256: dict[str, str]  # of each file read, by its name
    origin: str = ""  # what those files are, in words
    published: bool = False  # whether they are the published ones, by their hashes
    dropped_from_train: int = 0  # train candidates equivalent to a puzzle of another split
    leaks: tuple[str, ...] = ()  # tasks of the test split that are learnt from too, where that was allowed
    notes: tuple[str, ...] = ()  # what the builder has to tell, a sentence each
    licence: str
    arrays: dict[str, ArrayEntry]
    content_hash: str


def sha256_of(array: NDArray[Any]) -> str:
    """SHA-256, in hexadecimal, of a contiguous array's bytes."""
    return hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()


def array_entry(array: NDArray[Any]) -> ArrayEntry:
    """The manifest's entry for an array."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return ArrayEntry(dtype=little.dtype.str, shape=array.shape, sha256=sha256_of(little))


def content_hash_of(manifest: Mapping[str, Any], arrays: Mapping[str, ArrayEntry]) -> str:
    """SHA-256 over what a model can see: the arrays, their geometry and vocabulary. Not over where they come from."""
    keys = ("format", "puzzle", "box_rows", "box_cols", "cells", "vocab", "n_puzzle_ids")
    seen = {key: manifest[key] for key in keys}
    seen["arrays"] = {name: arrays[name].model_dump(mode="json") for name in sorted(arrays)}
    return hashlib.sha256(json.dumps(seen, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class PuzzleSet:
    """Three splits and their manifest, in memory (from a builder) or memory-mapped (from a folder)."""

    manifest: Manifest
    splits: Mapping[str, Split]
    groups: Groups | None = None  # where puzzles have identifiers of their own

    @classmethod
    def build(cls, splits: Mapping[str, Split], *, groups: Groups | None = None, **manifest: Any) -> "PuzzleSet":
        """A set from arrays: counts, array entries and content hash are computed; the rest of Manifest is given."""
        assert tuple(splits) == SPLITS, f"splits {tuple(splits)}, expected {SPLITS}"
        arrays = {}
        for split_name, split in splits.items():
            for name, array in split.arrays().items():
                assert array.dtype.newbyteorder("<").str == DTYPES[name], f"{split_name}/{name} is {array.dtype}"
                assert len(array) == len(split), f"{split_name}/{name}: {len(array)} rows, expected {len(split)}"
                arrays[f"{split_name}_{name}"] = array_entry(array)
        if groups is not None:
            for name, array in groups.arrays().items():
                assert array.dtype.newbyteorder("<").str == GROUP_DTYPES[name], f"groups/{name} is {array.dtype}"
                arrays[f"groups_{name}"] = array_entry(array)
        facts = Manifest(
            **manifest,
            counts={name: len(split) for name, split in splits.items()},
            arrays=arrays,
            content_hash="",
        )
        content_hash = content_hash_of(facts.model_dump(), arrays)
        return cls(facts.model_copy(update={"content_hash": content_hash}), dict(splits), groups)

    @classmethod
    def open(cls, folder: str | Path, verify: bool = True) -> "PuzzleSet":
        """Open a saved set, its arrays memory-mapped and read-only.

        Manifest, shapes and dtypes are always checked; with verify every byte is hashed too. Raises BadManifest with
        the array, what was found and what was expected.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        splits = {}
        for split_name in SPLITS:
            arrays = {name: _open_array(folder, f"{split_name}_{name}", manifest) for name in DTYPES}
            splits[split_name] = Split(**arrays)
        groups = None
        if any(name.startswith("groups_") for name in manifest.arrays):
            groups = Groups(**{name: _open_array(folder, f"groups_{name}", manifest) for name in GROUP_DTYPES})
        puzzles = cls(manifest, splits, groups)
        _check_counts(folder, puzzles)
        if verify:
            puzzles.verify(folder)
            _check_content(folder, puzzles)
        return puzzles

    def verify(self, folder: str | Path) -> None:
        """Hash every array again; raises BadManifest naming the first that differs (folder: where the set lies)."""
        for name, array in self.arrays().items():
            expected = self.manifest.arrays[name].sha256
            found = array_entry(array).sha256
            if found != expected:
                raise BadManifest(
                    f"{folder}: {name} has sha256 {found[:12]}..., "
                    f"the manifest says {expected[:12]}...; {_rebuild(folder)}"
                )
        found = content_hash_of(self.manifest.model_dump(), self.manifest.arrays)
        if found != self.manifest.content_hash:
            raise BadManifest(
                f"{folder}: content hash {found[:12]}..., the manifest says {self.manifest.content_hash[:12]}...; "
                f"{_rebuild(folder)}"
            )

    def save(self, folder: str | Path) -> "PuzzleSet":
        """Write arrays, then the manifest, into a temporary folder beside, then rename it; return the set reopened.

        Unfinished folders of earlier builds are removed first. A folder that already holds the same content is kept
        as it is; anything else there raises OtherContent. A full disk and the like raise CannotSave.
        """
        folder = Path(folder)
        remove_unfinished(folder)
        if _is_taken(folder):
            return self._same_as(folder)
        if folder.is_dir() and folder.samefile(os.curdir):
            raise CannotSave(f"{folder}: the current folder, expected one that a set can replace; give a name in it")
        partial = partial_of(folder)
        new = [parent for parent in folder.parents if not parent.exists()]

        def leave_nothing() -> None:
            shutil.rmtree(partial, ignore_errors=True)
            with contextlib.suppress(OSError):  # another process's set lies there by now
                for parent in new:
                    parent.rmdir()

        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            for name, array in self.arrays().items():
                with _synced(partial / f"{name}.npy") as file:
                    little = array.dtype.newbyteorder("<")
                    np.save(file, np.ascontiguousarray(array, dtype=little), allow_pickle=False)
            with _synced(partial / MANIFEST) as file:
                file.write((self.manifest.model_dump_json(indent=2) + "\n").encode())
            os.rename(partial, folder)
        except OSError as error:
            leave_nothing()
            if _is_taken(folder):  # another process was faster
                return self._same_as(folder)
            raise CannotSave(
                f"{folder}: {error.strerror or error}; nothing was left there; make room or choose another folder"
            ) from error
        except BaseException:
            leave_nothing()
            raise
        return PuzzleSet.open(folder, verify=False)

    def _same_as(self, folder: Path) -> "PuzzleSet":
        """The set that a folder holds, if it is this one; OtherContent otherwise."""
        if not (folder / MANIFEST).is_file():
            raise OtherContent(
                f"{folder}: exists and holds no puzzle set; choose another folder, or move it out of the way"
            )
        there = PuzzleSet.open(folder)
        if there.manifest != self.manifest:
            raise OtherContent(
                f"{folder}: holds another puzzle set (content {there.content_hash[:12]}..., "
                f"expected {self.content_hash[:12]}...); choose another folder or delete this one"
            )
        return there

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array by the name of its file: <split>_<array>, then groups_<array>."""
        owners: dict[str, Split | Groups] = dict(self.splits)
        if self.groups is not None:
            owners["groups"] = self.groups
        return {f"{owner}_{name}": array for owner, part in owners.items() for name, array in part.arrays().items()}

    @property
    def train(self) -> Split:
        """What a model learns from."""
        return self.splits["train"]

    @property
    def validation(self) -> Split:
        """Held out of the training puzzles; what a choice between models is made on."""
        return self.splits["validation"]

    @property
    def test(self) -> Split:
        """Touched by evaluation alone."""
        return self.splits["test"]

    @property
    def cells(self) -> int:
        """L, the cells of a puzzle."""
        return self.manifest.cells

    @property
    def vocab(self) -> int:
        """V, the number of tokens, pad included."""
        return self.manifest.vocab

    @property
    def n_puzzle_ids(self) -> int:
        """How many puzzle identifiers there are; ids run from 0."""
        return self.manifest.n_puzzle_ids

    @property
    def content_hash(self) -> str:
        """SHA-256 over the arrays and their geometry."""
        return self.manifest.content_hash


def _rebuild(folder: str | Path) -> str:
    """What to do about a set that does not hold what its manifest says, whichever command built it."""
    return f"delete the folder {folder} and give the same command again"


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a saved set; raises BadManifest if there is none, or one that this code does not understand."""
    path = folder / MANIFEST
    try:
        text = read_text(path, MOST_MANIFEST_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        files = "puzzle files and " if any(folder.glob("*.csv")) or any(folder.glob("*_challenges.json")) else ""
        raise BadManifest(
            f"{folder}: {files}no {MANIFEST} there, expected a puzzle set; build it by python -m data_prep, or give "
            "the command that builds it again"
        ) from error
    except OSError as error:
        raise BadManifest(f"{path}: cannot be read ({error.strerror}), expected a manifest; check the path") from error
    except ValueError as error:
        raise BadManifest(f"{path}: {error}, expected JSON; {_rebuild(folder)}") from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        found = " ".join(str(first["input"]).split())[:60]
        raise BadManifest(f"{path}: {where}: {first['msg']}, found {found}; {_rebuild(folder)}") from error


def _open_array(folder: Path, name: str, manifest: Manifest) -> NDArray[Any]:
    """One array, memory-mapped, its dtype and shape checked against the manifest."""
    path = folder / f"{name}.npy"
    entry = manifest.arrays.get(name)
    if entry is None:
        raise BadManifest(
            f"{folder / MANIFEST}: array {name} is not listed, expected all of the splits'; {_rebuild(folder)}"
        )
    try:
        array = load_array(path)
    except FileNotFoundError as error:
        raise BadManifest(f"{path}: missing, the manifest lists it; {_rebuild(folder)}") from error
    except (ValueError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadManifest(
            f"{path}: cannot be read as {entry.dtype} {list(entry.shape)} ({why}); {_rebuild(folder)}"
        ) from error
    if array.dtype.str != entry.dtype or array.shape != entry.shape:
        raise BadManifest(
            f"{path}: {array.dtype.str} {list(array.shape)}, the manifest says {entry.dtype} {list(entry.shape)}; "
            f"{_rebuild(folder)}"
        )
    return array


def _check_counts(folder: Path, puzzles: PuzzleSet) -> None:
    """Every array is of the dtype, the rows and the cells that its name and the manifest's counts promise."""
    manifest = puzzles.manifest
    for split_name, split in puzzles.splits.items():
        n = manifest.counts.get(split_name)
        for name, array in split.arrays().items():
            expected = (n, manifest.cells) if name in ("inputs", "labels") else (n,)
            if array.shape != expected or array.dtype.str != DTYPES[name]:
                raise BadManifest(
                    f"{folder}: {split_name}_{name} is {array.dtype.str} {list(array.shape)}, "
                    f"expected {DTYPES[name]} {list(expected)} by the manifest's counts; {_rebuild(folder)}"
                )
    if puzzles.groups is not None:
        n_groups = len(puzzles.groups)
        shapes = {"names": (n_groups,), "starts": (n_groups + 1,), "variants": (manifest.n_puzzle_ids,)}
        for name, array in puzzles.groups.arrays().items():
            if array.shape != shapes[name] or array.dtype.str != GROUP_DTYPES[name]:
                raise BadManifest(
                    f"{folder}: groups_{name} is {array.dtype.str} {list(array.shape)}, expected {GROUP_DTYPES[name]}"
                    f" {list(shapes[name])} by groups_names and the manifest's n_puzzle_ids; {_rebuild(folder)}"
                )


def _check_content(folder: Path, puzzles: "PuzzleSet") -> None:
    """Every token and every identifier is one of those that the manifest counts: a model looks them up."""
    manifest = puzzles.manifest
    for name, split in puzzles.splits.items():
        for array, most, what in (
            (split.inputs, manifest.vocab, "tokens"),
            (split.labels, manifest.vocab, "tokens"),
            (split.puzzle_ids, manifest.n_puzzle_ids, "identifiers"),
        ):
            if len(array) and not 0 <= array.min() <= array.max() < most:
                raise BadManifest(
                    f"{folder}: {what} {array.min()} to {array.max()} in {name}, expected 0 to {most - 1} by the "
                    f"manifest; {_rebuild(folder)}"
                )
    if (groups := puzzles.groups) is not None:
        starts = groups.starts.astype(np.int64)
        if starts[0] != 1 or starts[-1] != manifest.n_puzzle_ids or (np.diff(starts) < 1).any():
            raise BadManifest(
                f"{folder}: groups_starts runs from {starts[0]} to {starts[-1]}, expected from 1, rising, to "
                f"{manifest.n_puzzle_ids}, the manifest's n_puzzle_ids; {_rebuild(folder)}"
            )


@contextlib.contextmanager
def _synced(path: Path) -> Iterator[Any]:
    """A new file for writing that is on the disk, not only on its way there, when the block ends."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _is_taken(folder: Path) -> bool:
    """Something stands at this path that a rename would not replace silently (an empty folder is free)."""
    return folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
