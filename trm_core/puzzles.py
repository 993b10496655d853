"""The puzzle set that data settings ask for: built, or opened where somebody has built it already. No torch here.

A built set is held against the settings one by one: what it was built with is in its manifest.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

from data_prep.puzzle_set import MANIFEST, Manifest, PuzzleSet, read_manifest
from data_prep.released import is_released
from trm_core.config import RunConfig
from trm_core.settings import DataSettings
from trm_core.settings_as_text import setting_text

# What a set is built from; every other data setting is read when its puzzles are drawn.
_COMMON = ("puzzle", "source", "train", "validation", "test", "seed")
BUILT_FROM: dict[str, tuple[str, ...]] = {
    "sudoku": (*_COMMON, "box_rows", "box_cols", "clues"),
    "maze": (*_COMMON, "side", "least_path"),
    "arc": (*_COMMON, "side", "subsets", "test_subset", "allow_leak", "augmentations"),
}


class OtherPuzzleSet(ValueError):
    """A puzzle set that was not built by the settings that it is given for, or that nothing can be trained on."""


def is_built(folder: Path) -> bool:
    """Whether a folder is a puzzle set, of ours or of the released code, and no folder of puzzle files."""
    return (folder / MANIFEST).is_file() or is_released(folder)


def build(folder: Path, source: str | Path, settings: DataSettings) -> PuzzleSet:
    """The set of these settings in this folder, by its puzzle's builder; each is imported when needed: they compile.

    source: "generate", "hub" or a folder of files. Raises PuzzleError, OSError.
    """
    common = settings.model_dump(include={"train", "validation", "test", "seed"})
    if settings.puzzle == "sudoku":
        from data_prep.sudoku import build_sudoku

        box = (settings.box_rows, settings.box_cols)
        return build_sudoku(folder, source=source, box=box, clues=settings.clues, **common)
    if settings.puzzle == "maze":
        from data_prep.maze import build_maze

        return build_maze(folder, source=source, side=settings.side, least_path=settings.least_path, **common)
    from data_prep.arc import build_arc

    return build_arc(
        folder,
        source=source,
        subsets=settings.subsets.split(","),
        test_subset=settings.test_subset,
        variants=settings.augmentations,
        side=settings.side,
        allow_leak=settings.allow_leak,
        **common,
    )


def settings_of(folder: Path) -> DataSettings:
    """The data settings that a set was built with; those that it is not built from are the defaults.

    Raises BadManifest, OtherPuzzleSet for a set that training cannot draw from, BadSetting.
    """
    if is_released(folder):
        raise OtherPuzzleSet(
            f"{folder}: a processed dataset of the released code, whose variants are drawn already, expected puzzles to"
            " draw variants of; give the files that it was built from (python -m trm_core evaluate reads it as it is)"
        )
    manifest = read_manifest(folder)
    puzzles = get_args(DataSettings.model_fields["puzzle"].annotation)
    asked = manifest.settings
    if manifest.puzzle not in puzzles or not {"train", "validation", "test"} <= asked.keys():
        raise OtherPuzzleSet(
            f"{folder}: a set of {manifest.puzzle} puzzles that no command of this program has built, expected one of"
            f" {', '.join(puzzles)}; build it with python -m data_prep"
        )
    data: dict[str, Any] = {
        "puzzle": manifest.puzzle,
        "source": "generated" if manifest.source == "generated" else "files",
        **{name: asked[name] for name in ("train", "validation", "test")},
        "seed": manifest.seed,
        **_of_its_own(manifest),
    }
    return RunConfig.parse({"data": data}).data


def _of_its_own(manifest: Manifest) -> dict[str, Any]:
    """What a puzzle's builder is asked for beside what all are."""
    asked = manifest.settings
    if manifest.puzzle == "sudoku":
        return {"box_rows": manifest.box_rows, "box_cols": manifest.box_cols, "clues": asked.get("clues")}
    side = {"side": math.isqrt(manifest.cells)}
    if manifest.puzzle == "maze":
        return {**side, "least_path": asked.get("least_path")}
    of_arc = {"subsets": asked.get("subsets"), "test_subset": asked.get("test_subset")}
    return {**side, **of_arc, "augmentations": asked.get("variants"), "allow_leak": bool(asked.get("allow_leak"))}


def open_built(folder: Path, settings: DataSettings) -> PuzzleSet:
    """A built set, verified, for runs of these settings. Raises OtherPuzzleSet naming every setting that differs."""
    there = settings_of(folder)
    differing = [
        f"data.{name}={setting_text(getattr(there, name))}, these runs ask for {setting_text(getattr(settings, name))}"
        for name in BUILT_FROM[settings.puzzle]
        if getattr(there, name) != getattr(settings, name)
    ]
    if differing:
        seed = f" (--data-seeds {there.seed}-{there.seed} draws as it was drawn)" if there.seed != settings.seed else ""
        raise OtherPuzzleSet(
            f"{folder}: a puzzle set built with {'; '.join(differing)}; leave those settings as the set has them{seed},"
            " or give the folder of files that it was built from"
        )
    return PuzzleSet.open(folder)
