"""A checkpoint as MLflow asks it. That MLflow loads it: tests/sweeps/records/test_models.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import trm_core
from data_prep.puzzle_set import PuzzleSet
from tests.trm_core.solving.conftest import checkpoint_of
from trm_core import pyfunc
from trm_core.config import RunConfig
from trm_core.pyfunc import BadInput, Solver, _load_pyfunc


@pytest.fixture(scope="module")
def sudoku(tiny: RunConfig, puzzles: PuzzleSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint_of(tiny, puzzles, tmp_path_factory.mktemp("sudoku"))


@pytest.fixture(scope="module")
def solver(sudoku: Path) -> Solver:
    return _load_pyfunc(str(sudoku))


@pytest.fixture(scope="module")
def task_solver(tiny_arc: RunConfig, arc: PuzzleSet, tmp_path_factory: pytest.TempPathFactory) -> Solver:
    solver = _load_pyfunc(str(checkpoint_of(tiny_arc, arc, tmp_path_factory.mktemp("arc"))))
    assert solver.model.puzzle_embedding is not None
    solver.model.puzzle_embedding.weights.normal_(std=10, generator=torch.Generator().manual_seed(0))  # 0 at first
    return solver


def questions(data: PuzzleSet, n: int) -> pyfunc.Tokens:
    return np.asarray(data.test.inputs[:n], dtype=np.int64)


def test_it_answers_as_the_model_does_where_it_is_watched(sudoku: Path, solver: Solver, puzzles: PuzzleSet) -> None:
    asked = questions(puzzles, 5)
    watched = trm_core.solve(sudoku, ["".join(".1234"[max(0, one - 1)] for one in row) for row in asked])
    answers = solver.predict(asked)
    assert answers.dtype == np.int64
    assert answers.tolist() == [thought.answers[-1].tolist() for thought in watched]


@pytest.mark.parametrize("halt", ["never", "settled"])
def test_more_puzzles_than_are_asked_at_once_come_back_in_their_order(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, halt: str
) -> None:
    run = tiny.change({"train": {"eval_halt": halt}})
    solver = _load_pyfunc(str(checkpoint_of(run, puzzles, tmp_path)))
    one_by_one = np.vstack([solver.predict(questions(puzzles, 7)[i : i + 1]) for i in range(7)])
    monkeypatch.setattr(pyfunc, "AT_ONCE", 3)
    assert (solver.predict(questions(puzzles, 7)) == one_by_one).all()


def test_a_frame_of_any_whole_numbers_is_as_good_as_an_array_and_none_at_all_is_none(
    solver: Solver, puzzles: PuzzleSet
) -> None:
    asked = questions(puzzles, 3)
    assert (solver.predict(pd.DataFrame(asked.astype(np.int32))) == solver.predict(asked)).all()
    assert solver.predict(asked[:0]).shape == (0, 16)


def test_a_task_is_asked_under_its_identifier(task_solver: Solver, arc: PuzzleSet, tiny_arc: RunConfig) -> None:
    first = pyfunc.example(tiny_arc, arc.test)
    assert first is not None
    assert first.shape == (1, pyfunc.columns(tiny_arc)) == (1, 37)
    assert first[0, 0] == arc.test.puzzle_ids[0] > 0
    other = first.copy()
    other[0, 0] = 0
    assert (task_solver.predict(first) != task_solver.predict(other)).any()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.ones((2, 15), dtype=int), r"int64 \[2, 15\], expected integers \[puzzles, 16\]: the 16 cells of a sudoku"),
        (np.ones(16, dtype=int), r"int64 \[16\]"),
        (np.full((1, 16), 1.5), r"float64 \[1, 16\]"),
        (np.full((1, 16), 6), "token 6, expected 0 to 5"),
        (np.full((1, 16), -(2**40)), "token -1099511627776"),
        ([["a"] * 16], "expected integers"),
    ],
)
def test_what_is_no_puzzle_is_said_in_one_line(solver: Solver, given: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says) as error:
        solver.predict(given)
    assert "\n" not in str(error.value)


def test_an_identifier_that_the_model_has_not_is_said(task_solver: Solver, arc: PuzzleSet, tiny_arc: RunConfig) -> None:
    asked = pyfunc.example(tiny_arc, arc.test)
    assert asked is not None
    asked[0, 0] = arc.n_puzzle_ids
    with pytest.raises(BadInput, match=f"identifier {arc.n_puzzle_ids}, expected 0 to {arc.n_puzzle_ids - 1}"):
        task_solver.predict(asked)
