from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from data_prep.arc import restore
from data_prep.maze import is_published_path, is_shortest_path, layout_keys, solve
from data_prep.puzzle_set import PuzzleSet
from data_prep.sudoku import is_valid_solution
from trm_core import data
from trm_core.config import RunConfig
from trm_core.data import TrainingBatches, evaluation_batches, sample, to_batch
from trm_core.losses import IGNORE
from trm_core.settings import BadSetting

CPU = torch.device("cpu")


def test_a_batch_is_a_function_of_its_step(puzzles: PuzzleSet, tiny: RunConfig) -> None:
    one, other = TrainingBatches(puzzles, tiny), TrainingBatches(puzzles, tiny)
    one.draw(0, 0, 1, CPU)
    for step in (57, 3):
        a, b = one.draw(step, 0, 1, CPU), other.draw(step, 0, 1, CPU)
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.labels, b.labels)
    assert not torch.equal(one.draw(3, 0, 1, CPU).inputs, one.draw(4, 0, 1, CPU).inputs)


def test_batches_made_ahead_for_a_gpu_are_those_of_their_steps_in_any_order(
    puzzles: PuzzleSet, tiny: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the last move needs a GPU.
    monkeypatch.setattr(data, "to_batch", lambda inputs, labels, ids, _: to_batch(inputs, labels, ids, CPU))
    ahead, at_once = TrainingBatches(puzzles, tiny), TrainingBatches(puzzles, tiny)
    steps = [0, 1, 2, 7, 8, 3, 3, 4, 64, 63, 64]  # on, forward as after a resumption, back, again, over an epoch's end
    for step, rank in [(step, 0) for step in steps] + [(5, 0), (6, 1), (7, 1)]:
        workers = 1 if step in steps and rank == 0 else 2
        found = ahead.draw(step, rank, workers, torch.device("cuda"))
        expected = at_once.draw(step, rank, workers, CPU)
        for name in ("inputs", "labels", "puzzle_ids"):
            assert torch.equal(getattr(found, name), getattr(expected, name))
        (coming, future) = ahead._ahead
        assert coming == (step + 1, rank, workers)
        assert future is not None


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


def test_puzzles_from_files_are_asked_in_one_shuffled_order_and_drawn_ones_as_they_stand(puzzles: PuzzleSet) -> None:
    from_files = replace(puzzles, manifest=puzzles.manifest.model_copy(update={"source": "csv", "seed": 5}))
    order, again = sample(from_files, "test"), sample(from_files, "test")
    assert order is not None
    assert again is not None
    assert sorted(order.tolist()) == list(range(24)) != order.tolist()
    assert order.tolist() == again.tolist()
    assert sample(puzzles, "test") is None
    asked = torch.cat([batch.inputs for batch in evaluation_batches(puzzles.test, 10, 4, 0, 1, CPU, order)])
    assert asked.tolist() == np.asarray(puzzles.test.inputs)[order[:10]].tolist()


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


# --- ARC --------------------------------------------------------------------------------------------------------------


def test_an_arc_epoch_meets_every_task_once_in_one_of_its_variants_with_all_its_examples(
    arc: PuzzleSet, tiny_arc: RunConfig
) -> None:
    assert arc.groups is not None
    n, n_epochs = len(arc.train), 6
    sizes = dict(zip(*np.unique(arc.groups.of(np.asarray(arc.train.puzzle_ids)), return_counts=True), strict=True))
    for allowed in (6, 2, 0):  # variants beside the original
        run = tiny_arc.change({"data": {"augmentations": allowed}, "train": {"batch_size": 5}})
        batches = TrainingBatches(arc, run)
        drawn = torch.cat([batches.draw(step, 0, 1, CPU).puzzle_ids for step in range(n * n_epochs // 5 + 1)])
        met, orders = set(), set()
        for epoch in torch.split(drawn[: n * n_epochs], n):
            runs = [(int(part[0]), len(part)) for part in np.split(epoch, np.flatnonzero(np.diff(epoch)) + 1)]
            groups = arc.groups.of(np.array([identifier for identifier, _ in runs], dtype=np.int32))
            assert {int(group): count for group, (_, count) in zip(groups, runs, strict=True)} == sizes
            assert len(runs) == len(sizes)
            met |= {int(identifier - arc.groups.starts[g]) for g, (identifier, _) in zip(groups, runs, strict=True)}
            orders.add(tuple(groups))
        assert met == set(range(allowed + 1))
        assert len(orders) == n_epochs


def test_arc_examples_of_a_task_come_each_once_in_random_order_as_the_variant_of_their_identifier(
    arc: PuzzleSet, tiny_arc: RunConfig
) -> None:
    assert arc.groups is not None
    n = len(arc.train)
    batches = TrainingBatches(arc, tiny_arc.change({"train": {"batch_size": n}}))
    ids = np.asarray(arc.train.puzzle_ids)
    originals = restore(np.asarray(arc.train.labels), np.zeros(n, dtype=np.int32), side=6)
    expected = sorted(zip(ids.tolist(), originals, strict=True))
    orders = set()
    for step in range(4):
        batch = batches.draw(step, 0, 1, CPU)
        drawn = batch.puzzle_ids.numpy().astype(np.int32)
        labels = batch.labels.where(batch.labels != IGNORE, 0).numpy().astype(np.uint8)
        home = arc.groups.starts[arc.groups.of(drawn)]
        shifted = np.array([row.reshape(6, 6)[0, 0] < 2 for row in labels])
        undone = restore(labels, arc.groups.variants[drawn], side=6)
        found = {(int(i), grid) for i, grid, moved in zip(home, undone, shifted, strict=True) if not moved}
        assert found <= set(expected)
        assert sorted(home) == sorted(ids)
        assert 0 < shifted.sum() < n  # translated in training, one example of each task is not
        first = home == ids[0]
        orders.add(tuple(grid for grid, of in zip(undone, first, strict=True) if of))
    assert len(orders) > 1


def test_an_arc_batch_is_a_function_of_its_step_and_two_workers_share_it(arc: PuzzleSet, tiny_arc: RunConfig) -> None:
    one, other = TrainingBatches(arc, tiny_arc), TrainingBatches(arc, tiny_arc)
    for step in (9, 2):
        whole, halves = one.draw(step, 0, 1, CPU), [other.draw(step, rank, 2, CPU) for rank in range(2)]
        for name in ("inputs", "labels", "puzzle_ids"):
            assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name))
    assert not torch.equal(one.draw(2, 0, 1, CPU).inputs, one.draw(3, 0, 1, CPU).inputs)


def test_arc_without_groups_trains_example_by_example_as_it_is_stored(arc: PuzzleSet, tiny_arc: RunConfig) -> None:
    released = replace(arc, groups=None)
    batches = TrainingBatches(released, tiny_arc.change({"data": {"augmentations": 0}, "train": {"batch_size": 5}}))
    drawn = torch.cat([batches.draw(step, 0, 1, CPU).inputs for step in range(len(arc.train))])[: len(arc.train)]
    assert sorted(map(tuple, drawn.tolist())) == sorted(map(tuple, np.asarray(arc.train.inputs).tolist()))
    with pytest.raises(BadSetting, match=r"data.augmentations=6, but .* set data.augmentations=0"):
        TrainingBatches(released, tiny_arc)
