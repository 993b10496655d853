from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data_prep.maze import is_published_path, is_shortest_path, layout_keys, solve
from data_prep.puzzle_set import PuzzleSet
from data_prep.sudoku import is_valid_solution
from trm_core.config import RunConfig
from trm_core.data import TrainingBatches, evaluation_batches, to_batch
from trm_core.losses import IGNORE

CPU = torch.device("cpu")


def test_a_batch_is_a_function_of_its_step(puzzles: PuzzleSet, tiny: RunConfig) -> None:
    one, other = TrainingBatches(puzzles, tiny), TrainingBatches(puzzles, tiny)
    one.draw(0, 0, 1, CPU)
    for step in (57, 3):
        a, b = one.draw(step, 0, 1, CPU), other.draw(step, 0, 1, CPU)
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.labels, b.labels)
    assert not torch.equal(one.draw(3, 0, 1, CPU).inputs, one.draw(4, 0, 1, CPU).inputs)


def test_an_epoch_meets_every_puzzle_once_even_where_it_ends_inside_a_batch(
    puzzles: PuzzleSet, tiny: RunConfig
) -> None:
    run = tiny.change({"data": {"augmentations": 0}, "train": {"batch_size": 24}})
    batches = TrainingBatches(puzzles, run)
    drawn = torch.cat([batches.draw(step, 0, 1, CPU).inputs for step in range(8)])  # 192 puzzles: 3 epochs of 64
    originals = {tuple(row) for row in np.asarray(puzzles.train.inputs).tolist()}
    for epoch in torch.split(drawn, 64):
        assert {tuple(row) for row in epoch.tolist()} == originals


def test_two_workers_together_draw_what_one_draws(puzzles: PuzzleSet, tiny: RunConfig) -> None:
    batches = TrainingBatches(puzzles, tiny)
    whole = batches.draw(11, 0, 1, CPU)
    halves = [batches.draw(11, rank, 2, CPU) for rank in range(2)]
    assert torch.equal(torch.cat([half.inputs for half in halves]), whole.inputs)
    assert torch.equal(torch.cat([half.labels for half in halves]), whole.labels)


def test_augmented_puzzles_are_sudokus_and_mostly_new(puzzles: PuzzleSet, tiny: RunConfig) -> None:
    batch = TrainingBatches(puzzles, tiny).draw(2, 0, 1, CPU)
    inputs, labels = batch.inputs.numpy().astype(np.uint8), batch.labels.numpy().astype(np.uint8)
    assert is_valid_solution(inputs, labels, box_rows=2, box_cols=2).all()
    originals = {tuple(row) for row in np.asarray(puzzles.train.inputs).tolist()}
    assert sum(tuple(row) in originals for row in inputs.tolist()) < len(inputs) / 2


def test_evaluation_meets_each_puzzle_once_whatever_the_number_of_workers(puzzles: PuzzleSet) -> None:
    for limit, expected in ((None, 24), (10, 10), (1000, 24)):
        for workers in (1, 2, 3):
            rows = [
                tuple(row)
                for rank in range(workers)
                for batch in evaluation_batches(puzzles.test, limit, 4, rank, workers, CPU)
                for row in batch.inputs.tolist()
            ]
            assert sorted(rows) == sorted(tuple(row) for row in np.asarray(puzzles.test.inputs)[:expected].tolist())


def test_the_pad_token_is_ignored_as_a_label_and_kept_as_an_input() -> None:
    tokens = np.array([[0, 3, 2]], dtype=np.uint8)
    batch = to_batch(tokens, tokens, np.zeros(1, dtype=np.int32), CPU)
    assert batch.labels.tolist() == [[IGNORE, 3, 2]]
    assert batch.inputs.tolist() == [[0, 3, 2]]


# --- mazes ------------------------------------------------------------------------------------------------------------


def _epoch(puzzles: PuzzleSet, run: RunConfig) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The questions and answers of the first epoch, in the order in which they are drawn."""
    batches = TrainingBatches(puzzles, run)
    drawn = [batches.draw(step, 0, 1, CPU) for step in range(len(puzzles.train) // run.train.batch_size)]
    inputs, labels = (torch.cat([getattr(batch, name) for batch in drawn]) for name in ("inputs", "labels"))
    return inputs.numpy().astype(np.uint8), labels.numpy().astype(np.uint8)


@pytest.mark.parametrize("augmentation", ["released", "recomputed", "mirror"])
def test_a_maze_and_its_answer_are_moved_together(mazes: PuzzleSet, tiny_maze: RunConfig, augmentation: str) -> None:
    inputs, labels = _epoch(mazes, tiny_maze.change({"data": {"maze_augmentation": augmentation}}))
    assert is_shortest_path(inputs, labels).all()
    assert sorted(layout_keys(inputs)) == sorted(layout_keys(np.asarray(mazes.train.inputs)))  # each maze once
    originals = {row.tobytes() for row in np.asarray(mazes.train.inputs)}
    moved = np.mean([row.tobytes() not in originals for row in inputs])
    assert moved > (0.25 if augmentation == "mirror" else 0.6)  # 1/2 and 7/8 are expected
    answers, _ = solve(inputs)
    assert is_published_path(answers, labels).all() == (augmentation != "released")


def test_mazes_without_augmentations_are_drawn_as_they_are(mazes: PuzzleSet, tiny_maze: RunConfig) -> None:
    inputs, labels = _epoch(mazes, tiny_maze.change({"data": {"augmentations": 0}}))
    drawn = {(a.tobytes(), b.tobytes()) for a, b in zip(inputs, labels, strict=True)}
    stored = zip(np.asarray(mazes.train.inputs), np.asarray(mazes.train.labels), strict=True)
    assert drawn == {(a.tobytes(), b.tobytes()) for a, b in stored}
