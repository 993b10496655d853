"""Accuracy on held-out puzzles: after all supervision steps (section 2.4; released code), or once answers have settled.

Which puzzles are asked together and when one leaves: settling.py.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from data_prep.puzzle_set import Split
from trm_core.data import Batch
from trm_core.distributed import sum_over_workers, world
from trm_core.evaluate_outcomes import Watch
from trm_core.losses import mean_over_cells, stablemax_cross_entropy
from trm_core.metrics import score
from trm_core.model import Model
from trm_core.settling import I64, Halt, Seen, places_of, think


def evaluate(
    model: Model,
    split: Split,
    *,
    limit: int | None,
    batch_size: int,
    N_sup: int,
    device: torch.device,
    halt: Halt = "never",
    unchanged: int = 1,
    shortest_paths: bool = False,
    loss: bool = False,
    order: I64 | None = None,
    watch: Watch | None = None,
) -> dict[str, float]:
    """exact_accuracy, cell_accuracy [0..1] and puzzles, of the first `limit` puzzles after N_sup supervision steps.

    halt="settled": after fewer where the answer has settled, unchanged over so many steps (settling.py), and
    steps_used, their mean over the puzzles.
    shortest_paths, for mazes: also shortest_path_accuracy; loss: also lm_loss (metrics.py). Without a puzzle there is
    none of them. order: whose first are taken (data.sample); None: as they stand. watch: told of every supervision step
    of every puzzle.
    """
    at = evaluate_at(
        model,
        split,
        limit=limit,
        batch_size=batch_size,
        steps=(N_sup,),
        device=device,
        halt=halt,
        unchanged=unchanged,
        shortest_paths=shortest_paths,
        loss=loss,
        order=order,
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
    halt: Halt = "never",
    unchanged: int = 1,
    shortest_paths: bool = False,
    loss: bool = False,
    blank_identifiers: bool = False,
    order: I64 | None = None,
    watch: Watch | None = None,
) -> dict[int, dict[str, float]]:
    """The same after each number of supervision steps asked for, in one pass to the largest of them.

    A puzzle that has settled before keeps its answer. blank_identifiers: every puzzle under identifier 0, so that the
    model cannot know a task by its name. watch: one that looks on up to the largest of the steps.
    """
    assert watch is None or watch.N_sup == max(steps)
    rank, workers = world()
    names = ["exact_accuracy", "cell_accuracy"]
    names += ["shortest_path_accuracy"] * shortest_paths + ["lm_loss"] * loss + ["steps_used"] * (halt != "never")
    sums = {step: torch.zeros(len(names) + 1, dtype=torch.float64, device=device) for step in sorted(steps)}
    n = len(split) if limit is None else min(limit, len(split))
    places = places_of(n, batch_size, rank, workers)
    for seen in think(
        model,
        split,
        places if order is None else order[places],
        batch_size=batch_size,
        N_sup=max(steps),
        halt=halt,
        unchanged=unchanged,
        device=device,
        blank_identifiers=blank_identifiers,
    ):
        if watch is not None:
            watch.see(seen)
        for step, total in sums.items():
            counted = (seen.steps == step) | (seen.leaves & (seen.steps < step))
            if counted.any():
                total += _sums(seen.of(counted), names)
    sum_over_workers(sums.values())
    scores = {}
    for step, totals in sums.items():
        *of_names, n_puzzles = totals.tolist()
        means = {name: total / n_puzzles for name, total in zip(names, of_names, strict=True)} if n_puzzles else {}
        scores[step] = {**means, "puzzles": n_puzzles}
    return scores


def _sums(seen: Seen, names: Collection[str]) -> Tensor:
    """Each of evaluate's scores summed over the puzzles, and how many they are: float64 [len(names) + 1]."""
    labels, device = seen.batch.labels, seen.logits.device
    found = [*score(seen.logits, labels)]
    if "shortest_path_accuracy" in names:
        found.append(_shortest_paths(seen.batch, seen.answer))
    if "lm_loss" in names:
        found.append(mean_over_cells(stablemax_cross_entropy(seen.logits, labels), labels))
    if "steps_used" in names:
        found.append(torch.from_numpy(seen.steps).to(device))
    puzzles = torch.full((), len(labels), dtype=torch.float64, device=device)
    return torch.stack([*(of_each.double().sum() for of_each in found), puzzles])


def _shortest_paths(batch: Batch, answer: Tensor) -> Tensor:
    """Whether each answer [B, cells] is a shortest path of its maze, whichever: bool [B]."""
    from data_prep.maze import is_shortest_path  # compiles: only where there are mazes

    predicted, inputs = (tokens.to(torch.uint8).cpu().numpy() for tokens in (answer, batch.inputs))
    return torch.from_numpy(np.asarray(is_shortest_path(inputs, predicted))).to(answer.device)
