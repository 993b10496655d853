"""Every row of every study, in every profile, and every base, is built small and trains; Table 1 learns in mini."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from data_prep.puzzle_set import PuzzleSet
from data_prep.sudoku import generate
from sweeps.profiles import PROFILES, configure
from sweeps.study import EVERY_BASE, BaseName, ProfileName, Row, Study, all_studies, find_study
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


@pytest.mark.parametrize("base", EVERY_BASE)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_base_takes_two_supervision_steps(puzzles: Path, base: BaseName, profile: ProfileName) -> None:
    row = Row(name="base", base=base)
    study = Study(name="bases", title="Bases", puzzle="sudoku", source="Tables 4 and 5", rows=(row,))
    final = train(configure(study, row, profile, 0, SMALL), PuzzleSet.open(puzzles), lambda *_: None)
    assert math.isfinite(final["train/loss"])


@pytest.fixture(scope="module")
def mini_puzzles() -> PuzzleSet:
    """The training puzzles of mini; few to be tested on, since the loss is asked for."""
    data = configure(COMPONENTS, COMPONENTS.rows[0], "mini", 0).data
    assert data.train is not None
    return generate(data.box_rows, data.box_cols, train=data.train, validation=8, test=8, seed=0, clues=data.clues)


COMPONENTS = find_study("components")


@pytest.mark.slow
@pytest.mark.parametrize("row", COMPONENTS.rows, ids=lambda row: row.name)
def test_sixty_mini_steps_of_a_row_of_table_1_lower_its_training_loss_by_a_fifth(
    mini_puzzles: PuzzleSet, row: Row
) -> None:
    """The mean loss of steps 1 to 5 against that of steps 56 to 60."""
    run = configure(COMPONENTS, row, "mini", 0, ["train.steps=60", "train.eval_every=60", "train.log_every=5"])
    losses: list[float] = []
    train(run, mini_puzzles, lambda step, metrics, _: losses.append(metrics["train/loss"]))
    assert len(losses) == 12
    assert losses[-1] <= 0.8 * losses[0]
