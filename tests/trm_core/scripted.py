"""A model that answers by a script, so that what becomes of each puzzle is known beforehand."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from data_prep.puzzle_set import Split
from trm_core.config import RunConfig
from trm_core.curriculum import Depth
from trm_core.model import Features, Model


class Scripted(Model):
    """Puzzle i of a split is answered by the tokens answers[step - 1, i], with halting logits q[step - 1, i]."""

    def __init__(self, run: RunConfig, split: Split, answers: NDArray[np.uint8], q: NDArray[np.float32]) -> None:
        super().__init__(run)
        self.initial.zero_()  # the features count the steps
        self.places = {row.tobytes(): i for i, row in enumerate(np.asarray(split.inputs))}
        self.answers, self.q, self.vocabulary = answers, q, run.data.vocabulary

    def forward(
        self, inputs: Tensor, puzzle_vectors: Tensor | None, features: Features, depth: Depth | None = None
    ) -> tuple[Features, Tensor, Tensor]:
        """As Model.forward; behind its end the script's last line holds."""
        step = features[0][:, 0, 0].long().clamp(max=len(self.answers) - 1).numpy()  # of each puzzle its own
        rows = [self.places[row.tobytes()] for row in inputs.numpy().astype(np.uint8)]
        logits = F.one_hot(torch.from_numpy(self.answers[step, rows]).long(), self.vocabulary).float()
        return tuple(feature + 1 for feature in features), logits, torch.from_numpy(self.q[step, rows])
