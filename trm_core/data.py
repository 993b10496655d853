"""PuzzleSet → seeded batches per worker, augmented as they are drawn.

Every batch is a function of (seed, step): there is no state to save, and a resumed run sees what the uninterrupted one
would have seen. An epoch meets each puzzle once, in one of its variants, as in the released code; with ARC each task
once, in one of its variants, with all its examples. Epochs follow one another without a gap and what does not fit into
a batch goes on in the next, so nothing is dropped. (The released code cuts a task's examples off where its batch is
full, the rest goes unused in that epoch; and it drops the last batch of an epoch where that is not full.)
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.augment import augment_sudoku
from data_prep.puzzle_set import PuzzleSet, Split
from trm_core.config import RunConfig
from trm_core.losses import IGNORE
from trm_core.settings import BadSetting

PAD = 0  # the token that means "no cell here"; as a label it is ignored

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """B puzzles on the device they are used on."""

    inputs: Tensor  # int64 [B, cells]
    labels: Tensor  # int64 [B, cells], IGNORE where a cell does not count
    puzzle_ids: Tensor  # int64 [B]


class TrainingBatches:
    """Batches of the training split, by step. Raises BadSetting where the puzzles cannot be augmented as asked."""

    def __init__(self, data: PuzzleSet, run: RunConfig) -> None:
        self.split, self.groups = data.train, data.groups
        self.data = run.data
        self.batch_size = run.train.batch_size
        if self.data.puzzle == "arc" and self.groups is None and self.data.augmentations:
            raise BadSetting(
                f"data.augmentations={self.data.augmentations}, but these ARC examples come without the groups that"
                " variants are made of, as a dataset of the released code does, which holds them ready-made;"
                " set data.augmentations=0, or build the set with `python -m data_prep arc`"
            )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: tuple[tuple[int, ...], Future[tuple[U8, U8, I32]] | None] = ((), None)
        self._epoch = lru_cache(maxsize=4)(lambda epoch: self._order(np.random.default_rng([run.train.seed, epoch, 0])))

    def draw(self, step: int, rank: int, workers: int, device: torch.device) -> Batch:
        """The rank's part of the batch of a step, counted from 0; for a GPU the next one is made meanwhile."""
        if device.type == "cpu":
            return to_batch(*self._arrays(step, rank, workers), device)
        wanted = (step, rank, workers)
        made, coming = self._ahead
        arrays = coming.result() if made == wanted and coming is not None else self._arrays(*wanted)
        following = (step + 1, rank, workers)
        self._ahead = following, self._thread.submit(self._arrays, *following)
        return to_batch(*arrays, device)

    def _arrays(self, step: int, rank: int, workers: int) -> tuple[U8, U8, I32]:
        share = self.batch_size // workers
        places = np.arange(share) + step * self.batch_size + rank * share
        epochs, within = np.divmod(places, len(self.split))
        examples = np.empty(share, dtype=np.int64)
        variants = np.empty(share, dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            order, variant = self._epoch(int(epoch))
            examples[here], variants[here] = order[within[here]], variant[within[here]]
        return self._variants(examples, variants)

    def _order(self, random: np.random.Generator) -> tuple[I64, I64]:
        """(examples in the order they are met, the variant of each) of an epoch; variant 0 is the original."""
        n = len(self.split)
        if self.groups is None:
            return random.permutation(n), random.integers(0, self.data.augmentations, n, endpoint=True)
        from data_prep.arc import n_variants

        tasks, task = np.unique(self.split.puzzle_ids, return_inverse=True)
        limits = np.minimum(n_variants(self.groups, tasks), self.data.augmentations + 1)
        place, variant = random.permutation(len(tasks)), random.integers(0, limits)
        order = np.lexsort((random.random(n), place[task]))  # task by task, the examples of each shuffled
        return order, variant[task][order]

    def _variants(self, examples: I64, variants: I64) -> tuple[U8, U8, I32]:
        """(inputs, labels, puzzle ids) of the given variant of each example. What moves them is imported on use."""
        split, data = self.split, self.data
        if self.groups is not None:
            from data_prep.arc import draw_arc

            return draw_arc(split, self.groups, examples, variants, side=data.side, seed=data.seed, translate=True)
        inputs, labels, puzzle_ids = split.inputs[examples], split.labels[examples], split.puzzle_ids[examples]
        if data.puzzle == "sudoku":
            inputs, labels = augment_sudoku(
                inputs, labels, examples, variants, seed=data.seed, box_rows=data.box_rows, box_cols=data.box_cols
            )
        elif data.puzzle == "maze":
            from data_prep.maze import augment_maze

            augmentation = data.maze_augmentation if data.augmentations else "none"
            inputs, labels = augment_maze(inputs, labels, examples, variants, seed=data.seed, augmentation=augmentation)
        return inputs, labels, puzzle_ids


def sample(data: PuzzleSet, split: str) -> NDArray[np.int64] | None:
    """The order [puzzles] in which a part of a split is asked: its first k are a fair sample, within its first k + 1.

    None: as they stand, where they were drawn. Files may be sorted by source or difficulty, so of them it is one fixed
    permutation, whatever the run's seeds.
    """
    if data.manifest.source == "generated":
        return None
    return np.random.default_rng(len(data.splits[split])).permutation(len(data.splits[split]))


def evaluation_batches(
    split: Split,
    limit: int | None,
    batch_size: int,
    rank: int,
    workers: int,
    device: torch.device,
    order: NDArray[np.int64] | None = None,
) -> Iterator[Batch]:
    """The first `limit` puzzles (all: None) of a split in its own or another order, this rank's batches of them."""
    n = len(split) if limit is None else min(limit, len(split))
    for start in range(rank * batch_size, n, workers * batch_size):
        stop = min(start + batch_size, n)
        part = slice(start, stop) if order is None else order[start:stop]
        yield to_batch(split.inputs[part], split.labels[part], split.puzzle_ids[part], device)


def to_batch(
    inputs: NDArray[np.uint8], labels: NDArray[np.uint8], puzzle_ids: NDArray[np.int32], device: torch.device
) -> Batch:
    """Arrays as stored → tensors on the device; small on the way, widened there."""

    def move(array: NDArray[np.uint8] | NDArray[np.int32]) -> Tensor:
        tensor = torch.from_numpy(np.array(array))  # a copy: the stored arrays are read-only
        if device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(device, non_blocking=True).long()

    tokens = move(labels)
    return Batch(move(inputs), tokens.where(tokens != PAD, IGNORE), move(puzzle_ids))
