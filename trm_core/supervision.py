"""Deep supervision: the slots, their refill, halting with exploration, and one supervision step (section 2.4, 4.6).

As in the released code there is no loop over N_sup: every optimiser step is one supervision step of a batch of slots.
A slot keeps its puzzle and its features (y, z), detached, until it halts; then it takes the next puzzle and starts
from y_init, z_init. So slots are part of a checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trm_core.curriculum import Depth
from trm_core.data import Batch
from trm_core.losses import CELL_LOSSES, halting_loss, mean_over_cells
from trm_core.metrics import score
from trm_core.model import Features, Model
from trm_core.settings import ModelSettings


@dataclass(frozen=True)
class Slots:
    """B puzzles under way. A slot that halted is refilled before its next step."""

    features: Features  # [B, L, D] each
    steps: Tensor  # int32 [B], supervision steps done on the current puzzle
    halted: Tensor  # bool [B]
    inputs: Tensor  # int64 [B, cells]
    labels: Tensor  # int64 [B, cells], IGNORE where a cell does not count
    puzzle_ids: Tensor  # int64 [B]

    def tensors(self) -> dict[str, Tensor]:
        """All of it by name, for a checkpoint."""
        named = {f"features.{i}": feature for i, feature in enumerate(self.features)}
        return named | {name: getattr(self, name) for name in ("steps", "halted", "inputs", "labels", "puzzle_ids")}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Slots:
        """The inverse of tensors()."""
        rest = {name: tensor for name, tensor in tensors.items() if not name.startswith("features.")}
        return cls(features=tuple(tensors[f"features.{i}"] for i in range(len(tensors) - len(rest))), **rest)


def empty_slots(model: Model, batch: Batch) -> Slots:
    """As many slots as the batch has puzzles, all halted: the first refill fills them."""
    B, device = len(batch.inputs), batch.inputs.device
    return Slots(
        features=model.initial_features(B),
        steps=torch.zeros(B, dtype=torch.int32, device=device),
        halted=torch.ones(B, dtype=torch.bool, device=device),
        inputs=batch.inputs,
        labels=batch.labels,
        puzzle_ids=batch.puzzle_ids,
    )


def refill(model: Model, slots: Slots, batch: Batch) -> Slots:
    """Slots that halted take the puzzle at their place in the batch and start anew; the other puzzles go unused."""
    halted = slots.halted
    column, cube = halted.view(-1, 1), halted.view(-1, 1, 1)
    initial = model.initial_features(len(halted))
    return Slots(
        features=tuple(torch.where(cube, new, old) for new, old in zip(initial, slots.features, strict=True)),
        steps=slots.steps.where(~halted, 0),
        halted=halted,
        inputs=batch.inputs.where(column, slots.inputs),
        labels=batch.labels.where(column, slots.labels),
        puzzle_ids=batch.puzzle_ids.where(halted, slots.puzzle_ids),
    )


@dataclass(frozen=True)
class Step:
    """What one supervision step gave."""

    slots: Slots
    logits: Tensor  # [B, cells, V]
    q: Tensor  # float32 [B, 2]: halt, continue
    loss: Tensor  # scalar, summed over the slots, with gradient
    puzzle_vectors: Tensor | None  # [B, D], a leaf: its gradient is the puzzle embedding's
    sums: Tensor  # float64 [len(TRAIN_SUMS)]


def supervision_step(model: Model, slots: Slots, min_steps: Tensor, depth: Depth | None = None) -> Step:
    """Forward, losses and halting of slots that have been refilled.

    min_steps: int [B], supervision steps before which a slot may not halt (exploration); 0 for most.
    depth: T and n of a curriculum; None: the model's own.
    """
    m = model.settings
    vectors = model.puzzle_vectors(slots.puzzle_ids)
    if vectors is not None:
        vectors = vectors.detach().requires_grad_()
    features, logits, q = model(slots.inputs, vectors, slots.features, depth)
    features = tuple(feature.detach() for feature in features)  # no gradient crosses to the next step (section 2.4)
    q_halt, q_continue = q.unbind(-1)
    steps = slots.steps + 1
    last = steps >= m.N_sup

    lm_loss = mean_over_cells(CELL_LOSSES[m.loss](logits, slots.labels), slots.labels)
    exact, cell_accuracy = score(logits.detach(), slots.labels)
    halt_loss = halting_loss(q_halt, exact)
    with torch.no_grad():
        if m.halting == "q_learning":  # "w/ ACT": a second forward pass gives the value of going on
            _, _, q_next = model(slots.inputs, vectors, features, depth)
            target = torch.sigmoid(torch.where(last, q_next[:, 0], q_next.amax(-1)))
        halted = last | asks_to_halt(q, m) if m.N_sup > 1 else last
        halted = halted & (steps >= min_steps)
    if m.halting == "q_learning":
        halt_loss = halt_loss + halting_loss(q_continue, target)
    loss = lm_loss.sum()
    if m.halting != "none":  # the head is there and read, but nothing trains it
        loss = loss + m.halting_loss_weight * halt_loss

    with torch.no_grad():
        sums = torch.stack(
            [
                value.double()
                for value in (
                    torch.full((), len(steps), device=q.device),
                    loss,
                    lm_loss.sum(),
                    halt_loss,
                    halted.sum(),
                    (exact & halted).sum(),
                    (cell_accuracy * halted).sum(),
                    (steps * halted).sum(),
                )
            ]
        )
    done = Slots(features, steps, halted, slots.inputs, slots.labels, slots.puzzle_ids)
    return Step(done, logits.detach(), q.detach(), loss, vectors, sums)


def asks_to_halt(q: Tensor, settings: ModelSettings) -> Tensor:
    """Whether the halting head would end each puzzle here, exploration left aside: bool [B]. q: [B, 2]."""
    q_halt, q_continue = q.unbind(-1)
    if settings.halting == "none":  # every puzzle takes all N_sup steps (appendix)
        return torch.zeros_like(q_halt, dtype=torch.bool)
    if settings.halting == "q_learning" or settings.features == "y":
        return q_halt > q_continue  # direct prediction compares too, though nothing trains its q_continue
    return q_halt > 0


def exploration(model: Model, seed: int, step: int, B: int) -> Tensor:
    """min_steps [B] of one training step: with probability `exploration` uniform in 2..N_sup, else 0.

    A function of (seed, step) alone: a resumed run draws what the uninterrupted one would have drawn.
    """
    random = np.random.default_rng([seed, step, 1])
    explores = random.random(B) < model.settings.exploration
    if model.settings.N_sup < 2:
        return torch.zeros(B, dtype=torch.int64)
    return torch.from_numpy(random.integers(2, model.settings.N_sup, B, endpoint=True) * explores)
