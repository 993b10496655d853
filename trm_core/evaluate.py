"""Accuracy on held-out puzzles: always all supervision steps, never an early halt (section 2.4; released code)."""

from __future__ import annotations

import torch

from data_prep.puzzle_set import Split
from trm_core.data import evaluation_batches
from trm_core.distributed import sum_over_workers, world
from trm_core.metrics import score
from trm_core.model import Model


@torch.inference_mode()
def evaluate(
    model: Model, split: Split, *, limit: int | None, batch_size: int, N_sup: int, device: torch.device
) -> dict[str, float]:
    """exact_accuracy, cell_accuracy [0..1] and puzzles, of the first `limit` puzzles after N_sup supervision steps."""
    rank, workers = world()
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for batch in evaluation_batches(split, limit, batch_size, rank, workers, device):
        features = model.initial_features(len(batch.inputs))
        vectors = model.puzzle_vectors(batch.puzzle_ids)
        for _ in range(N_sup):
            features, logits, _ = model(batch.inputs, vectors, features)
        exact, cell_accuracy = score(logits, batch.labels)
        sums += torch.stack([exact.sum().double(), cell_accuracy.double().sum(), exact.new_ones(()) * len(exact)])
    sum_over_workers([sums])
    n_exact, cells, puzzles = sums.tolist()
    return {"exact_accuracy": n_exact / puzzles, "cell_accuracy": cells / puzzles, "puzzles": puzzles}
