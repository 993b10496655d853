"""Accuracy on held-out puzzles, on models whose answers are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data_prep.maze import is_published_path, is_shortest_path, solve
from data_prep.puzzle_set import PuzzleSet, Split
from tests.trm_core.oracle import Oracle
from trm_core.__main__ import table
from trm_core.config import RunConfig
from trm_core.evaluate import evaluate, evaluate_at
from trm_core.model import Model
from trm_core.trainer import train

CPU = torch.device("cpu")


def _another_path(inputs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shortest paths by the tie-break of the transposed maze."""
    side = math.isqrt(inputs.shape[1])

    def transposed(boards: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(boards.reshape(-1, side, side).swapaxes(1, 2)).reshape(len(boards), -1)

    return transposed(solve(transposed(inputs))[0])


def test_any_shortest_path_counts_beside_the_published_one(mazes: PuzzleSet, tiny_maze: RunConfig) -> None:
    test = mazes.test
    inputs, labels = np.asarray(test.inputs), np.asarray(test.labels)
    answers = _another_path(inputs)
    answers[:4] = inputs[:4]  # no path at all
    model = Oracle(tiny_maze, {(row.tobytes(), 0): answer for row, answer in zip(inputs, answers, strict=True)})
    scores = evaluate(model, test, limit=None, batch_size=5, N_sup=2, device=CPU, shortest_paths=True)
    assert scores["shortest_path_accuracy"] == is_shortest_path(inputs, answers).mean() == 12 / 16
    assert scores["exact_accuracy"] == is_published_path(labels, answers).mean() < 12 / 16
    without = evaluate(model, test, limit=None, batch_size=5, N_sup=2, device=CPU)
    assert without == {name: value for name, value in scores.items() if name != "shortest_path_accuracy"}
    assert "a shortest path %" in table({2: scores})
    assert len({len(line) for line in table({2: scores}).splitlines()}) == 1


def test_the_loss_is_the_mean_over_puzzles_of_the_mean_over_cells_and_moves_no_other_number(
    puzzles: PuzzleSet, tiny: RunConfig
) -> None:
    split, model = puzzles.test, Model(tiny).eval()
    asked: dict[str, Any] = {"limit": 11, "batch_size": 4, "N_sup": 2, "device": CPU}
    found = evaluate(model, split, **asked, loss=True)
    inputs, labels = (torch.from_numpy(np.array(array[:11])).long() for array in (split.inputs, split.labels))
    features = model.initial_features(11)
    with torch.inference_mode():
        vectors = model.puzzle_vectors(torch.from_numpy(np.array(split.puzzle_ids[:11])).long())
        for _ in range(2):
            features, logits, _ = model(inputs, vectors, features)
    s = torch.where(logits < 0, 1 / (1 - logits.double()), logits.double() + 1)
    wanted = -(s.gather(-1, labels[..., None])[..., 0] / s.sum(-1)).log().mean(-1)
    assert found.pop("lm_loss") == pytest.approx(wanted.mean().item(), rel=1e-5)
    assert found == evaluate(model, split, **asked)


def test_a_run_records_the_loss_on_validation_and_none_on_test(puzzles: PuzzleSet, tiny: RunConfig) -> None:
    rows: list[dict[str, float]] = []
    run = tiny.change({"train": {"steps": 4, "eval_every": 2}})
    train(run, puzzles, lambda _, metrics, __: rows.append(dict(metrics)))
    evaluated = [row for row in rows if "validation/puzzles" in row]
    assert len(evaluated) == 2
    assert all(math.isfinite(row["validation/lm_loss"]) for row in evaluated)
    assert not any("test/lm_loss" in row for row in rows)


def test_a_split_without_puzzles_has_no_accuracy(mazes: PuzzleSet, tiny_maze: RunConfig) -> None:
    none = Split(**{name: array[:0] for name, array in mazes.test.arrays().items()})
    assert evaluate(Oracle(tiny_maze, {}), none, limit=None, batch_size=5, N_sup=1, device=CPU) == {"puzzles": 0}


def test_blank_identifiers_ask_under_identifier_0(puzzles: PuzzleSet, tiny: RunConfig) -> None:
    test = puzzles.test
    named = Split(test.inputs, test.labels, test.puzzle_ids + 3, test.ratings)
    inputs, labels = np.asarray(test.inputs), np.asarray(test.labels)
    model = Oracle(tiny, {(row.tobytes(), 0): answer for row, answer in zip(inputs, labels, strict=True)}, n_ids=4)
    asked: dict[str, Any] = {"limit": None, "batch_size": 8, "steps": (1,), "device": CPU}
    assert evaluate_at(model, named, **asked, blank_identifiers=True)[1]["exact_accuracy"] == 1
    assert evaluate_at(model, named, **asked)[1]["exact_accuracy"] == 0


def test_a_run_on_mazes_ends_with_both_accuracies(mazes: PuzzleSet, tiny_maze: RunConfig) -> None:
    rows: list[tuple[int, dict[str, float]]] = []
    run = tiny_maze.change({"train": {"steps": 4, "eval_every": 2}})
    final = train(run, mazes, lambda step, metrics, _: rows.append((step, dict(metrics))))
    assert all(math.isfinite(value) for value in final.values())
    for _, metrics in [row for row in rows if "test/puzzles" in row[1]]:
        for split in ("validation", "test"):
            assert 0 <= metrics[f"{split}/exact_accuracy"] <= metrics[f"{split}/shortest_path_accuracy"] <= 1
    assert final["test/puzzles"] == 16
    assert not any("pass_at" in name for name in final)


@pytest.mark.parametrize("change", [{"side": 6}, {"puzzle": "arc"}], ids=str)
def test_mazes_are_refused_where_the_settings_name_others(
    mazes: PuzzleSet, tiny_maze: RunConfig, change: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="give the run the puzzles that its settings name"):
        train(tiny_maze.change({"data": change}), mazes, lambda *_: None)
