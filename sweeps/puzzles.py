"""Where runs' puzzles come from, and where their sets lie: `--data` read, one set per distinct data settings built.

`--data` names folders of files or sets that are built already (trm_core.puzzles opens those).

Sudoku and mazes are augmented as they are drawn, so runs that differ in augmentation alone share a set; ARC's variants
have identifiers, so they are a part of it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data_prep.places import not_elsewhere
from sweeps.study import EVERY_PUZZLE, PuzzleName
from trm_core.command_line import BadCommand
from trm_core.puzzles import BUILT_FROM, build, is_built, open_built, settings_of
from trm_core.settings import DataSettings
from trm_core.settings_as_text import setting_text

if TYPE_CHECKING:
    from data_prep.puzzle_set import PuzzleSet

OWN_FILES = "own_files"  # the tag of runs on puzzle files that are not the published ones: what those are
Source = Path | Literal["hub"]
Sources = Mapping[PuzzleName, Source]  # what --data said

PUZZLE_WORDS: dict[PuzzleName, str] = {"sudoku": "Sudoku", "maze": "Maze", "arc": "ARC"}
FOLDERS: dict[PuzzleName, str] = {"sudoku": "sudoku-extreme", "maze": "maze-30x30-hard-1k", "arc": "arc"}
FILES: dict[PuzzleName, str] = {
    "sudoku": "train.csv and test.csv (from https://huggingface.co/datasets/sapientinc/sudoku-extreme)",
    "maze": "train.csv and test.csv (from https://huggingface.co/datasets/sapientinc/maze-30x30-hard-1k)",
    "arc": "ARC's tasks (Kaggle's *_challenges.json and *_solutions.json, or a checkout of fchollet/ARC-AGI)",
}
ON_THE_HUB: tuple[PuzzleName, ...] = ("sudoku", "maze")
PUBLISHED_TESTS: dict[PuzzleName, int] = {  # puzzles of the published test files, for plans without them
    "sudoku": 422_786,
    "maze": 1000,
    "arc": 419,  # of ARC-AGI-1's 400 evaluation tasks
}


class NoPuzzles(ValueError):
    """Runs on the published puzzles, and nobody said where they are."""


class CannotWrite(ValueError):
    """The folder for results cannot be written."""


@dataclass(frozen=True)
class BuiltSet:
    """What runs need to know of their puzzle set."""

    folder: Path
    content_hash: str
    n_test: int  # puzzles, before ARC's variants
    leaks: tuple[str, ...] = ()  # tasks to be tested that are learnt from too, where that was allowed
    origin: str = ""  # what the files are that it was built from; empty for generated puzzles
    published: bool = False  # whether they are the published ones, by their hashes

    @property
    def tags(self) -> dict[str, str]:
        """For the runs' records."""
        leaks = {"leaks": ",".join(self.leaks)} if self.leaks else {}
        return leaks | ({OWN_FILES: self.origin} if self.origin and not self.published else {})


# --- what --data says ------------------------------------------------------------------------------------------------


def find_sources(given: Iterable[str], puzzles: Collection[PuzzleName]) -> dict[PuzzleName, Source]:
    """`--data`'s values → where each puzzle's files are; puzzles: those that the chosen rows need.

    FOLDER alone is the one puzzle's, or a built set, or holds sudoku-extreme/, maze-30x30-hard-1k/, arc/; else
    sudoku=FOLDER and so on. "hub" in a folder's place fetches the published files. Raises BadCommand.
    """
    found: dict[PuzzleName, Source] = {}
    for text in given:
        name, equals, place = text.partition("=")
        named = {puzzle: place for puzzle in EVERY_PUZZLE if equals and puzzle == name}
        if equals and not named and not _folder(text).exists():
            raise BadCommand(f"--data {text}: no puzzle {name!r}; expected {_each_of(puzzles)}, or a folder")
        if any(puzzle not in puzzles for puzzle in named):
            raise BadCommand(f"--data {text}: none of these runs is on {name}; expected {_each_of(puzzles)}")
        if not place and equals:
            raise BadCommand(f"--data {text}: no folder; expected {name}=FOLDER")
        for puzzle, source in (_named(named) if named else _bare(text, puzzles)).items():
            if puzzle in found:
                raise BadCommand(f"--data {text}: a second place for {puzzle}, after {found[puzzle]}; give one")
            found[puzzle] = source
    return found


def _named(named: Mapping[PuzzleName, str]) -> dict[PuzzleName, Source]:
    if (place := named.get("arc")) == "hub":
        raise BadCommand(f"--data arc={place}: ARC's tasks are not there; give arc=FOLDER with {FILES['arc']}")
    return {puzzle: "hub" if place == "hub" else _folder(place) for puzzle, place in named.items()}


def _bare(text: str, puzzles: Collection[PuzzleName]) -> dict[PuzzleName, Source]:
    """What a value without a puzzle's name stands for. Raises BadCommand where that could be several things."""
    if text == "hub":
        return _named({puzzle: text for puzzle in puzzles if puzzle in ON_THE_HUB or len(puzzles) == 1})
    folder = _folder(text)
    if is_built(folder):
        holds = settings_of(folder).puzzle
        if holds not in puzzles:
            raise BadCommand(
                f"--data {text}: a set of {PUZZLE_WORDS[holds]} puzzles; these runs are on {_words(puzzles)}"
            )
        return {holds: folder}
    below: dict[PuzzleName, Source] = {
        puzzle: folder / FOLDERS[puzzle] for puzzle in puzzles if (folder / FOLDERS[puzzle]).is_dir()
    }
    if below:
        return below
    if len(puzzles) > 1:
        raise BadCommand(
            f"--data {text}: these runs need {_words(puzzles)}, and no {' or '.join(FOLDERS[each] for each in puzzles)}"
            f" is in that folder; say which is which: --data {_each_of(puzzles)}"
        )
    return dict.fromkeys(puzzles, folder)


def _folder(text: str) -> Path:
    """The path of a folder, there or not. Raises BadCommand for one that may not even be looked at."""
    try:
        not_elsewhere(text)
        Path(text).exists()
    except argparse.ArgumentTypeError as error:
        raise BadCommand(f"--data {error}") from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BadCommand(f"--data {text[:60]}: cannot be looked at ({why}); name a folder that can be read") from None
    return Path(text)


def _words(puzzles: Collection[PuzzleName]) -> str:
    return " and ".join(PUZZLE_WORDS[puzzle] for puzzle in puzzles)


def _each_of(puzzles: Collection[PuzzleName]) -> str:
    return " ".join(f"{puzzle}=FOLDER" for puzzle in puzzles)


def source_overrides(settings: Mapping[PuzzleName, DataSettings], sources: Sources, *, scoped: bool) -> tuple[str, ...]:
    """What `--data` changes in each puzzle's settings: the source, the board by the first puzzle, nothing generated;
    of a built set all that it was built from but the seed.

    Only what differs: a run on the published puzzles that asks for nothing else is the profile's own run. scoped:
    each for its puzzle's rows alone ("maze:data.side=30"), where a study has several.
    """
    assignments = []
    for puzzle, source in sources.items():
        if isinstance(source, Path) and is_built(source):
            there = settings_of(source)
            if there.puzzle != puzzle:
                raise BadCommand(f"--data {puzzle}={source}: a set of {PUZZLE_WORDS[there.puzzle]} puzzles")
            wanted: dict[str, object] = {name: getattr(there, name) for name in BUILT_FROM[puzzle] if name != "seed"}
        else:
            wanted = {"source": "files", "clues": None, "least_path": None, **(_board(puzzle, source) or {})}
        now = settings[puzzle]
        assignments += [
            f"{f'{puzzle}:' if scoped else ''}data.{name}={setting_text(to)}"
            for name, to in wanted.items()
            if getattr(now, name) != to
        ]
    return tuple(assignments)


def _board(puzzle: PuzzleName, source: Source) -> dict[str, int] | None:
    """The size of the first board in train.csv, as settings; None where there is none to be read (the builder then
    says why)."""
    from data_prep.csv_door import first_board
    from data_prep.sudoku import BOXES

    if puzzle == "arc":
        return {"side": 30}
    if source == "hub":
        return {"box_rows": 3, "box_cols": 3} if puzzle == "sudoku" else {"side": 30}
    cells = first_board(source / "train.csv") or 0
    side = math.isqrt(cells)
    if side * side != cells:
        return None
    if puzzle == "maze":
        return {"side": side} if 3 <= side <= 32 else None
    box = BOXES.get(side)
    return None if box is None else {"box_rows": box[0], "box_cols": box[1]}


# --- the sets --------------------------------------------------------------------------------------------------------


def set_of(settings: DataSettings) -> DataSettings:
    """Of a run's data settings what its puzzle set is built from, the rest at its defaults: equal ones share a set."""
    built_from = settings.model_dump(include=set(BUILT_FROM[settings.puzzle]))
    return DataSettings.model_validate(built_from)


def puzzle_folder(settings: DataSettings, source: Source | None, out: Path) -> Path:
    """Where the puzzle set of these settings lies: <out>/data/<name>, one folder per set, or where it is built."""
    if isinstance(source, Path) and is_built(source):
        return source.absolute()
    what = settings.model_dump(include=set(BUILT_FROM[settings.puzzle])) | {
        "folder": source if source is None or source == "hub" else str(source.resolve())
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
    side = math.isqrt(settings.cells)
    return out / "data" / f"{settings.puzzle}_{side}x{side}_{settings.source}_{digest}"


def check_sources(wanted: Collection[DataSettings], sources: Sources, *, may_be_missing: bool = False) -> None:
    """Whether every set has its files. Raises NoPuzzles, naming all that are missing, and BadCommand.

    may_be_missing: a plan can do without them.
    """
    missing = [
        puzzle
        for puzzle in EVERY_PUZZLE
        if not may_be_missing
        and puzzle not in sources
        and any(one.puzzle == puzzle and one.source == "files" for one in wanted)
    ]
    if missing and len({one.puzzle for one in wanted}) == 1:
        raise NoPuzzles(
            f"these runs need the published puzzles; give --data FOLDER with {FILES[missing[0]]},"
            f" {'--data hub to fetch them, ' if missing[0] in ON_THE_HUB else ''}or --profile mini, which generates its"
            " own"
        )
    if missing:
        places = "; ".join(f"{puzzle}=FOLDER with {FILES[puzzle]}" for puzzle in missing)
        raise NoPuzzles(
            f"these runs need the published puzzles of {_words(missing)}; give --data {places}; or --profile mini,"
            " which generates its own"
        )
    for one in wanted:
        source = sources.get(one.puzzle)
        if source is not None and one.source != "files" and not (isinstance(source, Path) and is_built(source)):
            raise BadCommand(f"--data {sources[one.puzzle]} with data.source={one.source}: leave one of them out")


def build_puzzles(settings: DataSettings, source: Source | None, out: Path) -> tuple[Path, PuzzleSet]:
    """The set of these settings, opened if it is there, else built. Raises NoPuzzles, CannotWrite, PuzzleError."""
    check_sources([settings], {} if source is None else {settings.puzzle: source})
    folder = puzzle_folder(settings, source, out)
    try:
        if isinstance(source, Path) and is_built(source):
            return folder, open_built(folder, settings)
        return folder, build(folder, "generate" if source is None else source, settings)
    except OSError as error:
        raise CannotWrite(
            f"{folder}: puzzles cannot be written here ({error.strerror}); choose another --out"
        ) from None


def build_all(wanted: Sequence[DataSettings], sources: Sources, out: Path) -> dict[DataSettings, BuiltSet]:
    """Every set that these runs' data settings ask for, by set_of(). Raises NoPuzzles, CannotWrite, PuzzleError."""
    distinct = _distinct(wanted)
    check_sources(distinct, sources)
    return {one: _built(*build_puzzles(one, sources.get(one.puzzle), out)) for one in distinct}


def look_up(
    wanted: Sequence[DataSettings], sources: Sources, out: Path, *, may_be_missing: bool = False
) -> dict[DataSettings, BuiltSet]:
    """As build_all, but nothing is written into `out`: the sets that lie there already, and those of given files.

    The latter are built in a temporary folder and removed again, so their hashes and counts are what a run's would be
    and what it would refuse is refused: raises what build_all raises. Nothing is generated or fetched.
    may_be_missing: files that --data does not give are no error; those sets are left out, and `assumed` says so.
    """
    distinct = _distinct(wanted)
    check_sources(distinct, sources, may_be_missing=may_be_missing)
    found = {}
    for one in distinct:
        source = sources.get(one.puzzle)
        folder = puzzle_folder(one, source, out)
        if (folder / "manifest.json").exists():
            found[one] = _built(*build_puzzles(one, source, out))
        elif isinstance(source, Path):
            found[one] = _built_elsewhere(one, source, folder)
    return found


def _built_elsewhere(settings: DataSettings, source: Path, folder: Path) -> BuiltSet:
    """What the set in `folder` will be, built in a temporary one."""
    from data_prep.puzzle_set import CannotSave

    try:
        with tempfile.TemporaryDirectory(prefix="trm-plan-") as elsewhere:
            _, puzzles = build_puzzles(settings, source, Path(elsewhere))
            return _built(folder, puzzles)
    except (CannotSave, CannotWrite, OSError) as error:
        raise CannotWrite(
            f"no place for a plan's puzzles in a temporary folder ({error}); set TMPDIR to a folder with room"
        ) from None


def assumed(wanted: Sequence[DataSettings], sources: Sources, found: Collection[DataSettings]) -> tuple[str, ...]:
    """What a plan takes as published for want of the files, a sentence per puzzle. found: the sets of look_up."""
    lacking = [one for one in _distinct(wanted) if one.source == "files" and one not in found]
    return tuple(
        f"{'--data hub, nothing fetched yet' if puzzle in sources else f'No --data for {PUZZLE_WORDS[puzzle]}'}:"
        f" counted as published, {PUBLISHED_TESTS[puzzle]:,} test puzzles."
        for puzzle in EVERY_PUZZLE
        if any(one.puzzle == puzzle and one.test is None for one in lacking)
    )


def origins(sets: Iterable[BuiltSet]) -> tuple[str, ...]:
    """What the files are that sets were built from, a sentence each; of own ones that they are not the paper's."""
    return tuple(
        f"{one.origin[:1].upper()}{one.origin[1:]}{'' if one.published else ': not comparable with the paper'}."
        for one in {one.origin: one for one in sets if one.origin}.values()
    )


def _distinct(wanted: Iterable[DataSettings]) -> tuple[DataSettings, ...]:
    return tuple(dict.fromkeys(map(set_of, wanted)))


def _built(folder: Path, puzzles: PuzzleSet) -> BuiltSet:
    about = puzzles.manifest
    return BuiltSet(folder, about.content_hash, len(puzzles.test), about.leaks, about.origin, about.published)
