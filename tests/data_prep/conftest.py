import json
from pathlib import Path

import pytest

from data_prep.arc import build_arc
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


@pytest.fixture(scope="session")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> PuzzleSet:
    """Two ARC tasks on a 6x6 canvas, five variants each: "grow" to learn from, "flip" with a test."""
    folder = tmp_path_factory.mktemp("arc")
    grow = {
        "train": [{"input": [[3]], "output": [[3, 3], [3, 3]]}],
        "test": [{"input": [[1, 2]], "output": [[1, 2], [1, 2]]}],
    }
    flip = {
        "train": [{"input": [[1, 2]], "output": [[2, 1]]}, {"input": [[7], [0]], "output": [[0], [7]]}],
        "test": [{"input": [[0, 5, 4]], "output": [[4, 5, 0]]}],
    }
    for subset, name, task in (("training", "grow", grow), ("evaluation", "flip", flip)):
        (folder / "data" / subset).mkdir(parents=True)
        (folder / "data" / subset / f"{name}.json").write_text(json.dumps(task))
    subsets = ("training", "evaluation")
    return build_arc(
        folder / "set", source=folder, subsets=subsets, test_subset="evaluation", variants=5, side=6, seed=1
    )
