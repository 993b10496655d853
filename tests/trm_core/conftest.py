"""One tiny puzzle set and one tiny run, shared by the tests of trm_core."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data_prep import maze
from data_prep.puzzle_set import PuzzleSet
from data_prep.sudoku import generate
from trm_core.config import RunConfig


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def puzzle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 64 / 16 / 24 generated 4x4 Sudokus."""
    folder = tmp_path_factory.mktemp("puzzles") / "4x4"
    generate(2, 2, train=64, validation=16, test=24, seed=0, clues=7).save(folder)
    return folder


@pytest.fixture(scope="session")
def puzzles(puzzle_folder: Path) -> PuzzleSet:
    return PuzzleSet.open(puzzle_folder)


@pytest.fixture(scope="session")
def tiny() -> RunConfig:
    """TRM small enough to take a step in milliseconds."""
    return RunConfig.parse(
        {
            "data": {
                "source": "generated",
                "box_rows": 2,
                "box_cols": 2,
                "train": 64,
                "validation": 16,
                "test": 24,
                "clues": 7,
            },
            "model": {"D": 16, "n_heads": 2, "T": 2, "n": 2, "N_sup": 3, "puzzle_prefix": 2, "inner_multiple": 8},
            "optim": {"lr": 3e-3, "warmup_steps": 4, "weight_decay": 0.1, "ema": 0.9},
            "train": {
                "steps": 12,
                "batch_size": 8,
                "precision": "fp32",
                "eval_every": 6,
                "eval_puzzles": 16,
                "log_every": 2,
                "checkpoint_every": 3,
            },
        }
    )


@pytest.fixture(scope="session")
def tiny_hrm(tiny: RunConfig) -> RunConfig:
    """HRM by the switches, as small."""
    return tiny.change(
        {
            "model": {
                "mixer": "attention",
                "networks": "separate",
                "gradient": "one step",
                "halting": "q_learning",
                "puzzle_prefix": 1,
            },
            "optim": {"ema": None},
        }
    )


@pytest.fixture(scope="session")
def mazes() -> PuzzleSet:
    """32 / 8 / 16 generated mazes of 5x5."""
    return maze.generate(train=32, validation=8, test=16, seed=0, side=5, least_path=5)


@pytest.fixture(scope="session")
def tiny_maze(tiny: RunConfig) -> RunConfig:
    """TRM-Att, as small, on `mazes`."""
    data = {"puzzle": "maze", "source": "generated", "side": 5, "least_path": 5}
    counts = {"train": 32, "validation": 8, "test": 16, "augmentations": 7}
    return tiny.change({"data": {**data, **counts, "clues": None}, "model": {"mixer": "attention"}})


@pytest.fixture(scope="session")
def arc_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an ARC set on a canvas of 6x6: 9 tasks, the rule is to mirror; 4 of them tested, 2 for validation.

    Tasks have 2 or 3 demonstrations, 1 or 2 test inputs, and 6 variants beside the original.
    """
    from data_prep.arc import build_arc

    folder = tmp_path_factory.mktemp("arc")
    random = np.random.default_rng(0)
    for subset, n in (("training", 5), ("evaluation", 4)):
        (folder / "data" / subset).mkdir(parents=True)
        for i in range(n):
            rows, columns = random.integers(1, 6, 2)
            grids = [random.integers(0, 10, (rows, columns + 1)) for _ in range(4 + i % 2)]
            pairs = [{"input": grid.tolist(), "output": np.fliplr(grid).tolist()} for grid in grids]
            n_tests = 1 + i % 3 % 2
            task = {"train": pairs[n_tests:], "test": pairs[:n_tests]}
            (folder / "data" / subset / f"{subset}_{i}.json").write_text(json.dumps(task))
    asked = {"subsets": ("training", "evaluation"), "test_subset": "evaluation"}
    build_arc(folder / "set", source=folder, **asked, validation=2, variants=6, side=6)  # type: ignore[arg-type]
    return folder / "set"


@pytest.fixture(scope="session")
def arc(arc_folder: Path) -> PuzzleSet:
    return PuzzleSet.open(arc_folder)


@pytest.fixture(scope="session")
def tiny_arc(tiny: RunConfig) -> RunConfig:
    """TRM-Att, as small, on `arc`."""
    data = {"puzzle": "arc", "source": "files", "side": 6, "subsets": "training,evaluation", "clues": None}
    counts = {"train": None, "validation": 2, "test": None, "augmentations": 6}
    return tiny.change({"data": {**data, **counts}, "model": {"mixer": "attention"}})
