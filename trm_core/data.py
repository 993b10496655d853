"""PuzzleSet → seeded batches per worker, augmented as they are drawn.

Every batch is a function of (seed, step): there is no state to save, and a resumed run sees what the uninterrupted one
would have seen. An epoch meets each puzzle once, in one of its variants, as in the released code; epochs follow one
another without a gap, so no puzzle is dropped at their seam.
"""

from __future__ import annotations

from collections.abc import Iterator
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

PAD = 0  # the token that means "no cell here"; as a label it is ignored


@dataclass(frozen=True)
class Batch:
    """B puzzles on the device they are used on."""

    inputs: Tensor  # int64 [B, cells]
    labels: Tensor  # int64 [B, cells], IGNORE where a cell does not count
    puzzle_ids: Tensor  # int64 [B]


class TrainingBatches:
    """Batches of the training split, by step."""

    def __init__(self, data: PuzzleSet, run: RunConfig) -> None:
        self.split = data.train
        self.data = run.data
        self.batch_size = run.train.batch_size
        self._epoch = lru_cache(maxsize=4)(lambda epoch: self._order(run.train.seed, epoch))

    def draw(self, step: int, rank: int, workers: int, device: torch.device) -> Batch:
        """The rank's part of the batch of a step, counted from 0."""
        share = self.batch_size // workers
        places = np.arange(share) + step * self.batch_size + rank * share
        epochs, within = np.divmod(places, len(self.split))
        puzzles = np.empty(share, dtype=np.int64)
        variants = np.empty(share, dtype=np.int64)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            order, variant = self._epoch(int(epoch))
            puzzles[here], variants[here] = order[within[here]], variant[within[here]]
        inputs, labels = augment_sudoku(
            self.split.inputs[puzzles],
            self.split.labels[puzzles],
            puzzles,
            variants,
            seed=self.data.seed,
            box_rows=self.data.box_rows,
            box_cols=self.data.box_cols,
        )
        return to_batch(inputs, labels, self.split.puzzle_ids[puzzles], device)

    def _order(self, seed: int, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(puzzles in the order they are met, the variant of each) of an epoch; variant 0 is the original."""
        random = np.random.default_rng([seed, epoch, 0])
        n = len(self.split)
        return random.permutation(n), random.integers(0, self.data.augmentations, n, endpoint=True)


def evaluation_batches(
    split: Split, limit: int | None, batch_size: int, rank: int, workers: int, device: torch.device
) -> Iterator[Batch]:
    """The first `limit` puzzles of a split (all: None) as they are, this rank's batches of them."""
    n = len(split) if limit is None else min(limit, len(split))
    for start in range(rank * batch_size, n, workers * batch_size):
        part = slice(start, min(start + batch_size, n))
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
