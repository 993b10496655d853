"""Thoughts to draw: of a Sudoku, a maze and an ARC task, by models that have learnt nothing, and one by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from data_prep.puzzle_set import PuzzleSet
from trm_core.checkpoint import Checkpoint, save
from trm_core.config import RunConfig
from trm_core.model import Model
from trm_core.solving.thought import Thought


def checkpoint_of(run: RunConfig, data: PuzzleSet, folder: Path) -> Path:
    """Weights as they are drawn, the halting head's moved so that its probabilities differ."""
    model = Model(run, data.n_puzzle_ids)
    torch.nn.init.normal_(model.halting_head.weight, generator=torch.Generator().manual_seed(1))
    assert model.halting_head.bias is not None
    torch.nn.init.zeros_(model.halting_head.bias)
    settings = run.model_dump(mode="json")
    return save(Checkpoint(12, settings, data.content_hash, dict(model.state_dict()), {}), folder)


@pytest.fixture(scope="session")
def sudoku_model(tiny: RunConfig, puzzles: PuzzleSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_of(tiny, puzzles, tmp_path_factory.mktemp("sudoku"))


@pytest.fixture(scope="session")
def maze_model(tiny_maze: RunConfig, mazes: PuzzleSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_of(tiny_maze, mazes, tmp_path_factory.mktemp("maze"))


@pytest.fixture(scope="session")
def arc_model(tiny_arc: RunConfig, arc: PuzzleSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_of(tiny_arc, arc, tmp_path_factory.mktemp("arc"))


def by_hand() -> Thought:
    """A 4x4 Sudoku in three steps: one cell wrong, then that and another wrong, then right."""
    answer = np.array([[2, 3, 4, 5], [4, 5, 2, 3], [3, 2, 5, 4], [5, 4, 3, 2]], dtype=np.uint8).ravel()
    question = answer.copy()
    question[[0, 5, 10]] = 1
    first, second = answer.copy(), answer.copy()
    first[5] = 2
    second[[5, 10]] = 2, 3
    boards = np.stack([first, second, answer])[:, None]
    return Thought(
        name="by hand",
        puzzle="sudoku",
        model="TRM, by hand",
        box=(2, 2),
        question=question,
        answer=answer,
        boards=boards,
        halting=np.array([0.1, 0.2, 0.9], dtype=np.float32),
        halted_at=3,
        moved=np.linspace(0, 1, 3 * 2 * 16, dtype=np.float32).reshape(3, 2, 16),
        renewed=("z", "y"),
    )
