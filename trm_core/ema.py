"""Exponential moving average of everything that is trained (section 4.7)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from trm_core.model import Model


class EMA:
    """A second model that follows the first, w_ema ← decay · w_ema + (1 − decay) · w; evaluation reads this one.

    Where it does not cover the puzzle embedding, both models share it: with ARC that is a table of gigabytes.
    """

    def __init__(self, model: Model, decay: float, *, puzzle_embedding: bool) -> None:
        shared = None if puzzle_embedding else model.puzzle_embedding
        self.shares_puzzle_embedding = shared is not None
        self.model = copy.deepcopy(model, {id(shared): shared} if shared is not None else {}).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: Model) -> None:
        """Move towards the model by one step."""
        average: list[Tensor] = list(self.model.parameters())
        new = list(torch._foreach_mul(list(model.parameters()), 1 - self.decay))
        torch._foreach_mul_(average, self.decay)  # two products and a sum, rounded as in the released code
        torch._foreach_add_(average, new)
        if self.model.puzzle_embedding is not None and not self.shares_puzzle_embedding:
            assert model.puzzle_embedding is not None
            self.model.puzzle_embedding.weights.lerp_(model.puzzle_embedding.weights, 1 - self.decay)
