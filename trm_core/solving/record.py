"""A model answers a batch of puzzles, and everything it answers on its way is recorded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trm_core.config import RunConfig
from trm_core.diagnostics import recursion_of, renewed
from trm_core.layers import at_least_float32
from trm_core.model import Features, Model
from trm_core.solving.thought import Asked, Thought
from trm_core.supervision import asks_to_halt


def about(run: RunConfig, step: int) -> str:
    """Which model it is, in a line. step: of its weights."""
    m, side = run.model, math.isqrt(run.data.cells)
    name = "HRM" if m.networks == "separate" and m.gradient == "one step" else "TRM"
    name = "direct prediction" if m.features == "y" else name
    return f"{name}, T={m.T}, n={m.n}, D={m.D}, step {step:,}, {run.data.puzzle} {side}x{side}"


@torch.inference_mode()
def think(model: Model, asked: Sequence[Asked], steps: int, run: RunConfig, name: str) -> list[Thought]:
    """Supervision steps on puzzles, all in one batch. name: of the model, in a line."""
    m, home = model.settings, model.embed_tokens.device
    questions = torch.from_numpy(np.stack([one.question for one in asked])).long().to(home)
    ids = torch.tensor([one.puzzle_id for one in asked], device=home)
    recursions = range(1, m.T * (m.n + 1) + 1)
    features = model.initial_features(len(asked))
    x = model.embed(questions, model.puzzle_vectors(ids))
    boards, moved, halting, asks = [], [], [], []
    for _ in range(steps):
        for recursion in recursions:
            before = features
            _, features = recursion_of(model, x, features, recursion)
            moved.append(_distance(before, features)[:, m.puzzle_prefix :])
            if recursion % (m.n + 1) == 0:
                logits = model.read_out(features[0])[:, m.puzzle_prefix :]
                boards.append(logits.argmax(-1).to(torch.uint8))
        q = at_least_float32(model.halting_head(features[0][:, 0]))
        halting.append(q[:, 0].sigmoid())
        asks.append(asks_to_halt(q, m))
    B, L = questions.shape
    all_boards = torch.stack(boards, dim=1).view(B, steps, m.T, L).cpu().numpy()
    all_moved = torch.stack(moved, dim=1).view(B, steps, len(recursions), L).cpu().numpy()
    all_halting, all_asks = (torch.stack(rows, dim=1).cpu().numpy() for rows in (halting, asks))
    box = (run.data.box_rows, run.data.box_cols) if run.data.puzzle == "sudoku" else None
    return [
        Thought(
            name=one.name,
            puzzle=run.data.puzzle,
            model=name,
            box=box,
            question=one.question,
            answer=one.answer,
            boards=all_boards[i],
            halting=all_halting[i].astype(np.float32),
            halted_at=int(all_asks[i].argmax()) + 1 if all_asks[i].any() else 0,
            moved=all_moved[i],
            renewed=tuple(renewed(m, recursion) for recursion in recursions),
        )
        for i, one in enumerate(asked)
    ]


def _distance(old: Features, new: Features) -> Tensor:
    """How far the feature that was renewed went at each position: ‖new − old‖ / √D, float32 [B, L]."""
    each = [(b.float() - a.float()).norm(dim=-1) for a, b in zip(old, new, strict=True) if a is not b]
    distance: Tensor = torch.stack(each).amax(0) / math.sqrt(old[0].shape[-1])
    return distance
