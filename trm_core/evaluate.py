"""Accuracy on held-out puzzles: always all supervision steps, never an early halt (section 2.4; released code)."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from data_prep.puzzle_set import Split
from trm_core.data import Batch, evaluation_batches
from trm_core.distributed import sum_over_workers, world
from trm_core.evaluate_outcomes import Watch
from trm_core.losses import mean_over_cells, stablemax_cross_entropy
from trm_core.metrics import score
from trm_core.model import Model

BLANK = 0  # the identifier that is nobody's


def evaluate(
    model: Model,
    split: Split,
    *,
    limit: int | None,
    batch_size: int,
    N_sup: int,
    device: torch.device,
    shortest_paths: bool = False,
    loss: bool = False,
    watch: Watch | None = None,
) -> dict[str, float]:
    """exact_accuracy, cell_accuracy [0..1] and puzzles, of the first `limit` puzzles after N_sup supervision steps.

    shortest_paths, for mazes: also shortest_path_accuracy; loss: also lm_loss (metrics.py). Without a puzzle there is
    none of them. watch: told of every supervision step of every puzzle.
    """
    at = evaluate_at(
        model,
        split,
        limit=limit,
        batch_size=batch_size,
        steps=(N_sup,),
        device=device,
        shortest_paths=shortest_paths,
        loss=loss,
        watch=watch,
    )
    return at[N_sup]


@torch.inference_mode()
def evaluate_at(
    model: Model,
    split: Split,
    *,
    limit: int | None,
    batch_size: int,
    steps: Collection[int],
    device: torch.device,
    shortest_paths: bool = False,
    loss: bool = False,
    blank_identifiers: bool = False,
    watch: Watch | None = None,
) -> dict[int, dict[str, float]]:
    """The same after each number of supervision steps asked for, in one pass to the largest of them.

    blank_identifiers: every puzzle under identifier 0, so that the model cannot know a task by its name.
    """
    rank, workers = world()
    names = ["exact_accuracy", "cell_accuracy"]
    names += ["shortest_path_accuracy"] * shortest_paths + ["lm_loss"] * loss
    sums = {step: torch.zeros(len(names) + 1, dtype=torch.float64, device=device) for step in sorted(steps)}
    for i, batch in enumerate(evaluation_batches(split, limit, batch_size, rank, workers, device)):
        features = model.initial_features(len(batch.inputs))
        vectors = model.puzzle_vectors(
            torch.full_like(batch.puzzle_ids, BLANK) if blank_identifiers else batch.puzzle_ids
        )
        for step in range(1, max(steps) + 1):
            features, logits, q = model(batch.inputs, vectors, features)
            if watch is not None:
                watch.see((rank + i * workers) * batch_size, step, batch.labels, logits, q)
            if step in sums:
                found = [*score(logits, batch.labels), *([_shortest_paths(batch, logits)] if shortest_paths else [])]
                found += [mean_over_cells(stablemax_cross_entropy(logits, batch.labels), batch.labels)] * loss
                puzzles = torch.full((), len(batch.inputs), dtype=torch.float64, device=device)
                sums[step] += torch.stack([*(of_each.double().sum() for of_each in found), puzzles])
    sum_over_workers(sums.values())
    scores = {}
    for step, totals in sums.items():
        *of_names, n_puzzles = totals.tolist()
        means = {name: total / n_puzzles for name, total in zip(names, of_names, strict=True)} if n_puzzles else {}
        scores[step] = {**means, "puzzles": n_puzzles}
    return scores


def _shortest_paths(batch: Batch, logits: Tensor) -> Tensor:
    """Whether each prediction [B, L, V] is a shortest path of its maze, whichever: bool [B]."""
    from data_prep.maze import is_shortest_path  # compiles: only where there are mazes

    predicted, inputs = (tokens.to(torch.uint8).cpu().numpy() for tokens in (logits.argmax(-1), batch.inputs))
    return torch.from_numpy(np.asarray(is_shortest_path(inputs, predicted))).to(logits.device)
