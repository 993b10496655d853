"""One learnt vector per puzzle identifier, trained by SignSGD on the rows that a batch met (released code)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trm_core.distributed import gather_batch


class PuzzleEmbedding(nn.Module):
    """A table [n_puzzle_ids, D], zero at first. It is a buffer: its own optimiser moves it, not the network's."""

    def __init__(self, n_puzzle_ids: int, D: int) -> None:
        super().__init__()
        self.weights = nn.Buffer(torch.zeros(n_puzzle_ids, D))

    def forward(self, puzzle_ids: Tensor) -> Tensor:
        """Identifiers [B] → vectors [B, D], float32, without gradient."""
        return self.weights[puzzle_ids]

    @torch.no_grad()
    def sign_sgd(self, puzzle_ids: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
        """p ← p·(1 − lr·wd) − lr·sign(g) on the rows met, g summed per identifier over the batch and all workers.

        puzzle_ids: [B]. gradient: [B, D] of the loss, one vector per slot.
        """
        puzzle_ids, gradient = gather_batch(puzzle_ids), gather_batch(gradient)
        # Slots of one identifier all write the row of the first of them. The sum is a matrix product: fixed shapes
        # (no torch.unique), so a GPU is never waited for, and no atomics, so all workers come to the same signs.
        same = puzzle_ids.unsqueeze(1) == puzzle_ids
        total = (same.to(gradient.dtype) @ gradient)[same.int().argmax(1)]
        self.weights[puzzle_ids] = self.weights[puzzle_ids] * (1 - lr * weight_decay) - lr * total.sign()
