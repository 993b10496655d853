"""Accuracy on held-out puzzles: always all supervision steps, never an early halt (section 2.4; released code)."""

from __future__ import annotations

from collections.abc import Collection

import torch

from data_prep.puzzle_set import Split
from trm_core.data import evaluation_batches
from trm_core.distributed import sum_over_workers, world
from trm_core.metrics import score
from trm_core.model import Model


def evaluate(
    model: Model, split: Split, *, limit: int | None, batch_size: int, N_sup: int, device: torch.device
) -> dict[str, float]:
    """exact_accuracy, cell_accuracy [0..1] and puzzles, of the first `limit` puzzles after N_sup supervision steps."""
    return evaluate_at(model, split, limit=limit, batch_size=batch_size, steps=(N_sup,), device=device)[N_sup]


@torch.inference_mode()
def evaluate_at(
    model: Model, split: Split, *, limit: int | None, batch_size: int, steps: Collection[int], device: torch.device
) -> dict[int, dict[str, float]]:
    """The same after each number of supervision steps asked for, in one pass to the largest of them."""
    rank, workers = world()
    sums = {step: torch.zeros(3, dtype=torch.float64, device=device) for step in sorted(steps)}
    for batch in evaluation_batches(split, limit, batch_size, rank, workers, device):
        features = model.initial_features(len(batch.inputs))
        vectors = model.puzzle_vectors(batch.puzzle_ids)
        for step in range(1, max(steps) + 1):
            features, logits, _ = model(batch.inputs, vectors, features)
            if step in sums:
                exact, cell_accuracy = score(logits, batch.labels)
                sums[step] += torch.stack(
                    [exact.sum().double(), cell_accuracy.double().sum(), exact.new_ones(()) * len(exact)]
                )
    sum_over_workers(sums.values())
    scores = {}
    for step, totals in sums.items():
        n_exact, cells, puzzles = totals.tolist()
        scores[step] = {"exact_accuracy": n_exact / puzzles, "cell_accuracy": cells / puzzles, "puzzles": puzzles}
    return scores
