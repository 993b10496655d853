"""Every row of every study, in every profile that runs it, is built small and takes two supervision steps."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from data_prep.puzzle_set import PuzzleSet
from sweeps.profiles import PROFILES, configure
from sweeps.study import ProfileName, Row, Study, all_studies
from trm_core.trainer import train

SMALL = ["model.D=16", "model.n_heads=2", "model.inner_multiple=8", "train.batch_size=4", "train.steps=2"]
SMALL += ["data.source=generated", "data.box_rows=2", "data.box_cols=2", "data.clues=7"]
SMALL += ["data.train=64", "data.validation=16", "data.test=32", "train.precision=fp32", "model.N_sup=2"]


@pytest.mark.parametrize(
    ("study", "row", "profile"),
    [
        pytest.param(study, row, profile, id=f"{study.name}, {row.name}, {profile}")
        for study in all_studies()
        for profile in PROFILES
        for row in study.rows_of(profile)
    ],
)
def test_a_row_takes_two_supervision_steps(puzzles: Path, study: Study, row: Row, profile: ProfileName) -> None:
    run = configure(study, row, profile, 0, SMALL)
    final = train(run, PuzzleSet.open(puzzles), lambda *_: None)
    assert math.isfinite(final["train/loss"])
    assert final["test/puzzles"] == 32
