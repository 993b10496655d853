"""What is recorded is what the model answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trm_core
from data_prep.puzzle_set import PuzzleSet
from tests.trm_core.test_diagnostics import SWITCHES
from trm_core.config import RunConfig
from trm_core.diagnostics import recursion_of
from trm_core.model import Model
from trm_core.solving.record import think
from trm_core.solving.thought import Asked
from trm_core.supervision import asks_to_halt


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_each_step_is_recorded_as_the_model_answers_it(
    tiny: RunConfig, puzzles: PuzzleSet, switches: dict[str, Any]
) -> None:
    run = tiny.change({"model": switches})
    model = Model(run).eval()
    torch.nn.init.normal_(model.halting_head.weight, generator=torch.Generator().manual_seed(0))
    asked = [Asked(str(i), np.array(puzzles.test.inputs[i]), np.array(puzzles.test.labels[i])) for i in range(3)]
    thoughts = think(model, asked, 4, run, "")
    inputs = torch.from_numpy(np.array(puzzles.test.inputs[:3])).long()
    features = model.initial_features(3)
    with torch.inference_mode():
        for step in range(4):
            features, logits, q = model(inputs, model.puzzle_vectors(torch.zeros(3, dtype=torch.long)), features)
            for i, thought in enumerate(thoughts):
                assert thought.answers[step].tolist() == logits[i].argmax(-1).tolist()
                assert thought.halting[step] == pytest.approx(q[i, 0].sigmoid().item())
                asks = bool(asks_to_halt(q, model.settings)[i])
                assert not asks or 0 < thought.halted_at <= step + 1
    m = run.model
    for thought in thoughts:
        assert thought.boards.shape == (4, m.T, 16)
        assert thought.moved.shape == (4, m.T * (m.n + 1), 16)
        assert thought.renewed.count("y") == (0 if m.features == "single z" else m.T)


def test_what_moves_is_measured_cell_by_cell_since_every_cells_z_is_equally_large(
    tiny: RunConfig, puzzles: PuzzleSet
) -> None:
    model = Model(tiny).eval()
    (thought,) = think(model, [Asked("", np.array(puzzles.test.inputs[0]), None)], 1, tiny, "")
    features = model.initial_features(1)
    x = model.embed(
        torch.from_numpy(np.array(puzzles.test.inputs[:1])).long(), model.puzzle_vectors(torch.zeros(1).long())
    )
    with torch.inference_mode():
        for recursion in range(1, 7):
            before = features
            name, features = recursion_of(model, x, features, recursion)
            place = "yz".index(name)
            for cell in range(16):
                new, old = (each[place][0, 2 + cell].double() for each in (features, before))
                assert new.norm().item() == pytest.approx(math.sqrt(16), rel=1e-3)
                moved = thought.moved[0, recursion - 1, cell]
                assert moved == pytest.approx((new - old).norm().item() / 4, rel=1e-4)


def test_the_package_hands_out_the_function(sudoku_model: Path, puzzle_folder: Path, puzzles: PuzzleSet) -> None:
    first, second = trm_core.solve(sudoku_model, [f"{puzzle_folder}:3", f"{puzzle_folder}:5"], steps=2)
    assert (first.name, second.name, first.steps) == ("test 3", "test 5", 2)
    assert first.question.tolist() == puzzles.test.inputs[3].tolist()
    assert second.answer is not None
    assert second.answer.tolist() == puzzles.test.labels[5].tolist()
    alone = trm_core.solve(sudoku_model, f"{puzzle_folder}:5")
    assert alone[0].steps == 3
    assert (alone[0].answers[:2] == second.answers).all()


def test_the_package_has_no_other_secret() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'sovle'"):
        _ = trm_core.sovle
