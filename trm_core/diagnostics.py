"""How the recursion behaves on held-out puzzles: accuracy by supervision step, fixed-point residuals, EMA distance.

Measured on a model as it is, without gradient and without any random draw: training's numbers are the same with and
without. Sums and counts travel between workers; the division comes last. Names and units: metrics.py.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.puzzle_set import Split
from trm_core.data import evaluation_batches
from trm_core.distributed import sum_over_workers, world
from trm_core.metrics import score
from trm_core.model import Features, Model
from trm_core.settings import ModelSettings

BEYOND = (2, 4)  # times N_sup: accuracy is also read there, since it grows with depth at test time


@torch.inference_mode()
def diagnose(
    model: Model,
    split: Split,
    *,
    limit: int | None,
    batch_size: int,
    N_sup: int,
    device: torch.device,
    order: NDArray[np.int64] | None = None,
) -> dict[str, float]:
    """Means over the first `limit` puzzles (all: None) of the split, in its order or another, over all workers.

    exact_accuracy/step_01, cell_accuracy/step_01   [0..1] after supervision steps 1, …, N_sup, and 2, 4 times N_sup
    residual_y/step_01, residual_z/step_01          ‖new − old‖ / ‖old‖ of y and z over supervision steps 1, …, N_sup
    residual_y/recursion_07, residual_z/…_01        the same over each of the T(n+1) recursions of step N_sup
    """
    rank, workers = world()
    names = diagnostic_names(model.settings, N_sup)
    sums = torch.zeros(len(names) + 1, dtype=torch.float64, device=device)  # the last: puzzles
    for batch in evaluation_batches(split, limit, batch_size, rank, workers, device, order):
        found: dict[str, Tensor] = {}
        features = model.initial_features(len(batch.inputs))
        x = model.embed(batch.inputs, model.puzzle_vectors(batch.puzzle_ids))
        for step in range(1, max(BEYOND) * N_sup + 1):
            before = features
            for recursion in range(1, model.settings.T * (model.settings.n + 1) + 1):
                earlier = features
                name, features = recursion_of(model, x, features, recursion)
                if step == N_sup:
                    found[f"residual_{name}/recursion_{recursion:02d}"] = residual(earlier, features, name, model)
            if step <= N_sup:
                for name in _feature_names(model.settings):
                    found[f"residual_{name}/step_{step:02d}"] = residual(before, features, name, model)
            if step <= N_sup or step in [times * N_sup for times in BEYOND]:
                logits = model.read_out(features[0])[:, model.settings.puzzle_prefix :]
                exact, cell_accuracy = score(logits, batch.labels)
                found[f"exact_accuracy/step_{step:02d}"] = exact
                found[f"cell_accuracy/step_{step:02d}"] = cell_accuracy
        puzzles = torch.full((), len(batch.inputs), dtype=torch.float64, device=device)
        sums += torch.stack([*(found[name].double().sum() for name in names), puzzles])
    sum_over_workers([sums])
    *totals, n_puzzles = sums.tolist()
    return {name: total / n_puzzles for name, total in zip(names, totals, strict=True)}


def diagnostic_names(settings: ModelSettings, N_sup: int) -> list[str]:
    """What diagnose measures of such a model, in the order of its sums."""
    steps = range(1, N_sup + 1)
    accuracy = [
        f"{name}/step_{step:02d}"
        for name in ("exact_accuracy", "cell_accuracy")
        for step in (*steps, *(times * N_sup for times in BEYOND))
    ]
    by_step = [f"residual_{name}/step_{step:02d}" for name in _feature_names(settings) for step in steps]
    by_recursion = [
        f"residual_{renewed(settings, recursion)}/recursion_{recursion:02d}"
        for recursion in range(1, settings.T * (settings.n + 1) + 1)
    ]
    return accuracy + by_step + by_recursion


def residual(old: Features, new: Features, name: str, model: Model) -> Tensor:
    """Relative L2 distance ‖new − old‖ / ‖old‖ of feature y, or of all z together, per puzzle: float32 [B]."""
    part = slice(None) if model.settings.features == "single z" else slice(0, 1) if name == "y" else slice(1, None)
    a, b = (torch.cat(features[part], dim=-1).float().flatten(1) for features in (old, new))
    distance: Tensor = (b - a).norm(dim=1) / a.norm(dim=1)
    return distance


@torch.no_grad()
def ema_distance(model: Model, average: Model) -> float:
    """‖w_ema − w‖ / ‖w‖ over all parameters of the network together."""
    weights, averages = (torch.cat([p.flatten() for p in each.parameters()]) for each in (model, average))
    return float((averages - weights).norm() / weights.norm())


def _feature_names(settings: ModelSettings) -> tuple[str, ...]:
    return {"single z": ("z",), "y": ("y",)}.get(settings.features, ("y", "z"))


def renewed(settings: ModelSettings, recursion: int) -> str:
    """The feature that a recursion, counted from 1, renews: every (n+1)-th y, the others z."""
    last = recursion % (settings.n + 1) == 0
    return "y" if last and settings.features != "single z" else "z"


def recursion_of(model: Model, x: Tensor, features: Features, recursion: int) -> tuple[str, Features]:
    """One of the T(n+1) recursions, counted from 1: (the feature it renews, the features after it)."""
    i = (recursion - 1) % (model.settings.n + 1)
    after = (
        model.refine_y(x, features)
        if i == model.settings.n
        else model.refine_z(model.beside_z(x, features), features, i)
    )
    return renewed(model.settings, recursion), after
