"""Exponential moving average of everything that is trained (section 4.7)."""

from __future__ import annotations

import copy

import torch

from trm_core.model import Model


class EMA:
    """A second model that follows the first, w_ema ← decay · w_ema + (1 − decay) · w; evaluation reads this one."""

    def __init__(self, model: Model, decay: float, *, puzzle_embedding: bool) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.puzzle_embedding = puzzle_embedding

    @torch.no_grad()
    def update(self, model: Model) -> None:
        """Move towards the model by one step."""
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), 1 - self.decay)
        if self.model.puzzle_embedding is not None and model.puzzle_embedding is not None:
            average, current = self.model.puzzle_embedding.weights, model.puzzle_embedding.weights
            if self.puzzle_embedding:
                average.lerp_(current, 1 - self.decay)
            else:
                average.copy_(current)
