"""A model that answers from a table, so that a score is known beforehand."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from trm_core.config import RunConfig
from trm_core.curriculum import Depth
from trm_core.model import Features, Model


class Oracle(Model):
    """Answers (question uint8 [cells] as bytes, identifier) by the table's tokens [cells]; others by token 0.

    It knows the identifier as the network does, by its vector alone. halt: the halting head's logit.
    """

    def __init__(
        self, run: RunConfig, answers: Mapping[tuple[bytes, int], NDArray[np.uint8]], n_ids: int = 1, halt: float = 0
    ) -> None:
        super().__init__(run, n_ids)
        assert self.puzzle_embedding is not None
        self.puzzle_embedding.weights[:, 0] = torch.arange(n_ids)
        self.answers, self.vocabulary, self.halt = answers, run.data.vocabulary, halt

    def forward(
        self, inputs: Tensor, puzzle_vectors: Tensor | None, features: Features, depth: Depth | None = None
    ) -> tuple[Features, Tensor, Tensor]:
        """As Model.forward."""
        assert puzzle_vectors is not None
        asked = zip(inputs.numpy().astype(np.uint8), puzzle_vectors[:, 0].long().tolist(), strict=True)
        nothing = np.zeros(inputs.shape[1], dtype=np.uint8)
        rows = np.stack([self.answers.get((row.tobytes(), puzzle_id), nothing) for row, puzzle_id in asked])
        logits = F.one_hot(torch.from_numpy(rows).long(), self.vocabulary).float()
        return features, logits, torch.full((len(rows), 2), self.halt)
