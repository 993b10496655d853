from pathlib import Path

import pytest

from data_prep.puzzle_set import PuzzleSet
from data_prep.sudoku import generate

FIXTURE = Path(__file__).parent.parent / "fixtures" / "sudoku-extreme"


@pytest.fixture(scope="session")
def sudoku_extreme() -> Path:
    """A folder with train.csv (300 puzzles) and test.csv (120) in the published format."""
    return FIXTURE


@pytest.fixture(scope="session")
def small_set() -> PuzzleSet:
    """Generated 6x6 puzzles, in memory: 30 train, 10 validation, 12 test."""
    return generate(2, 3, train=30, validation=10, test=12, seed=3)
