"""The losses: cross-entropy per cell by stablemax or softmax, and the halting head's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from trm_core.layers import at_least_float32

IGNORE = -100  # a cell that does not count


def stablemax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per cell with stablemax in place of softmax (paper, appendix; Prieto et al. 2025).

    stablemax(x)_i = s(x_i) / Σ_j s(x_j), with s(x) = x + 1 for x ≥ 0 and 1 / (1 − x) below.
    logits: [B, L, V]. labels: [B, L], IGNORE where a cell does not count.
    Returns nats per cell [B, L], zero where ignored. Float64 inside, as in the released code.
    """
    x = logits.double()
    s = torch.where(x < 0, 1 / (1 - x + 1e-30), x + 1)
    log_probability = torch.log(s / s.sum(-1, keepdim=True))
    counts = labels != IGNORE
    chosen = log_probability.gather(-1, labels.where(counts, 0).unsqueeze(-1)).squeeze(-1)
    return -chosen.where(counts, 0)


def softmax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per cell, float32 inside. Shapes and unit as stablemax_cross_entropy."""
    return F.cross_entropy(at_least_float32(logits).transpose(1, 2), labels, ignore_index=IGNORE, reduction="none")


CELL_LOSSES = {"stablemax": stablemax_cross_entropy, "softmax": softmax_cross_entropy}


def mean_over_cells(per_cell: Tensor, labels: Tensor) -> Tensor:
    """Nats per puzzle [B]: the mean over the cells that count."""
    counts = (labels != IGNORE).sum(-1)
    return (per_cell / counts.clamp_min(1).unsqueeze(-1)).sum(-1)


def halting_loss(q: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of the halting head, summed over the puzzles (section 4.6).

    q: logits [B]. target: probability [B]; for q_halt, 1 where the whole answer is right.
    """
    return F.binary_cross_entropy_with_logits(q, target.to(q.dtype), reduction="sum")
