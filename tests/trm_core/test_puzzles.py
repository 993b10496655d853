"""A puzzle set by data settings: built, or there already."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_prep.puzzle_set import BadManifest, PuzzleSet
from trm_core.puzzles import BUILT_FROM, OtherPuzzleSet, build, is_built, open_built, settings_of
from trm_core.settings import DataSettings

SETS = [
    DataSettings(source="generated", box_rows=2, box_cols=2, clues=7, train=12, validation=4, test=6, seed=3),
    DataSettings(puzzle="maze", source="generated", side=5, least_path=6, train=8, validation=2, test=4),
    DataSettings(
        puzzle="arc",
        source="generated",
        side=6,
        train=4,
        validation=1,
        test=2,
        augmentations=2,
        subsets="training,evaluation",
    ),
]


@pytest.mark.parametrize("settings", SETS, ids=lambda settings: settings.puzzle)
def test_a_set_says_by_what_settings_it_was_built(settings: DataSettings, tmp_path: Path) -> None:
    assert not is_built(tmp_path / "set")
    built = build(tmp_path / "set", "generate", settings)
    assert is_built(tmp_path / "set")
    there = settings_of(tmp_path / "set")
    assert all(getattr(there, name) == getattr(settings, name) for name in BUILT_FROM[settings.puzzle])
    drawn_otherwise = settings.model_copy(update={"maze_augmentation": "mirror"})
    assert open_built(tmp_path / "set", drawn_otherwise).content_hash == built.content_hash


def test_a_set_that_no_command_has_built_is_refused_by_name(puzzles: PuzzleSet, tmp_path: Path) -> None:
    with pytest.raises(BadManifest, match=r"no manifest\.json there"):
        settings_of(tmp_path)
    by_hand = puzzles.manifest.model_copy(update={"puzzle": "chess"})
    PuzzleSet(by_hand, puzzles.splits).save(tmp_path / "chess")
    with pytest.raises(OtherPuzzleSet, match="a set of chess puzzles that no command of this program has built"):
        settings_of(tmp_path / "chess")
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "dataset.json").write_text("{}")
    with pytest.raises(OtherPuzzleSet, match="a processed dataset of the released code"):
        settings_of(tmp_path)
