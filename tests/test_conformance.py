"""Every row of every study, in every profile, is built small and trains; Table 1 learns in mini."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from data_prep.puzzle_set import PuzzleSet
from data_prep.sudoku import generate
from sweeps.profiles import PROFILES, configure
from sweeps.puzzles import build_puzzles, set_of
from sweeps.study import ProfileName, PuzzleName, Row, Study, all_studies, find_study
from trm_core.settings import DataSettings
from trm_core.trainer import train

SMALL = ["model.D=16", "model.n_heads=2", "model.inner_multiple=8", "train.batch_size=4", "train.steps=2"]
SMALL += ["data.source=generated", "train.precision=fp32", "model.N_sup=2"]
SMALL_PUZZLES: dict[PuzzleName, list[str]] = {
    "sudoku": [
        "data.box_rows=2",
        "data.box_cols=2",
        "data.clues=7",
        "data.train=64",
        "data.validation=4",
        "data.test=8",
    ],
    "maze": ["data.side=5", "data.least_path=6", "data.train=16", "data.validation=4", "data.test=8"],
    "arc": ["data.side=6", "data.train=6", "data.validation=0", "data.test=3", "data.augmentations=2", "train.votes=2"],
}


@pytest.fixture(scope="module")
def small_sets(tmp_path_factory: pytest.TempPathFactory) -> dict[DataSettings, PuzzleSet]:
    """A small set for each distinct data settings that rows ask for, built as it is asked for."""
    return _Sets(tmp_path_factory.mktemp("sets"))


class _Sets(dict[DataSettings, PuzzleSet]):
    def __init__(self, out: Path) -> None:
        super().__init__()
        self.out = out

    def __missing__(self, settings: DataSettings) -> PuzzleSet:
        self[settings] = build_puzzles(settings, None, self.out)[1]
        return self[settings]


def _take_two_steps(study: Study, row: Row, profile: ProfileName, sets: dict[DataSettings, PuzzleSet]) -> None:
    run = configure(study, row, profile, 0, [*SMALL, *SMALL_PUZZLES[study.puzzle_of(row)]])
    final = train(run, sets[set_of(run.data)], lambda *_: None)
    assert math.isfinite(final["train/loss"])
    assert study.metric in final
    expected = {"sudoku": "test/exact_accuracy", "maze": "test/shortest_path_accuracy", "arc": "test/pass_at_2"}
    assert 0 <= final[expected[run.data.puzzle]] <= 1


@pytest.mark.parametrize(
    ("study", "row", "profile"),
    [
        pytest.param(study, row, profile, id=f"{study.name}, {row.name}, {profile}")
        for study in all_studies()
        for profile in PROFILES
        for row in study.rows_of(profile)
    ],
)
def test_a_row_takes_two_supervision_steps(
    small_sets: dict[DataSettings, PuzzleSet], study: Study, row: Row, profile: ProfileName
) -> None:
    _take_two_steps(study, row, profile, small_sets)


@pytest.fixture(scope="module")
def mini_puzzles() -> PuzzleSet:
    """The training puzzles of mini; few to be tested on, since the loss is asked for."""
    data = configure(COMPONENTS, COMPONENTS.rows[0], "mini", 0).data
    assert data.train is not None
    return generate(data.box_rows, data.box_cols, train=data.train, validation=8, test=8, seed=0, clues=data.clues)


COMPONENTS = find_study("components")


@pytest.mark.slow
@pytest.mark.parametrize("row", COMPONENTS.rows, ids=lambda row: row.name)
def test_150_mini_steps_of_a_row_of_table_1_lower_its_training_loss_by_a_fifth(
    mini_puzzles: PuzzleSet, row: Row
) -> None:
    """The mean loss of steps 1 to 5 against that of steps 146 to 150, at mini's rate before it falls."""
    changes = ["train.steps=150", "optim.schedule=constant", "train.eval_every=150", "train.log_every=5"]
    run = configure(COMPONENTS, row, "mini", 0, changes)
    losses: list[float] = []
    train(run, mini_puzzles, lambda step, metrics, _: losses.append(metrics["train/loss"]))
    assert len(losses) == 30
    assert losses[-1] <= 0.8 * losses[0]
