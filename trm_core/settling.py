"""Held-out puzzles as they are thought about: slots, which puzzles leave them and when, and which enter.

halt="never"     each puzzle takes all supervision steps (section 2.4; released code): a batch enters and leaves as one
halt="settled"   a puzzle leaves once its answer has settled, and the next one takes its slot: so the batch stays full,
                 and of one shape, to the end of the split, where it is halved as it empties

Whether an answer has settled is asked of what a model that solves unknown puzzles has, never of the right answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data_prep.puzzle_set import Split
from trm_core.data import Batch, to_batch
from trm_core.model import Features, Model
from trm_core.settings import ModelSettings
from trm_core.supervision import asks_to_halt

Halt = Literal["never", "settled"]
I64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

BLANK = 0  # the identifier that is nobody's
NO_ANSWER = -1  # no token


@dataclass(frozen=True)
class Slots:
    """B puzzles under way. Where they are and how far is known to the host, which decides who leaves."""

    places: I64  # [B], in their split
    steps: I64  # [B], supervision steps taken
    taken: Bool  # [B]; the puzzle in a free slot is done, and computed once more for nothing
    batch: Batch
    features: Features  # [B, L, D] each
    answer: Tensor  # int64 [B, cells] after those steps; NO_ANSWER before the first
    unchanged: Tensor  # int64 [B], the last so many steps did not change it


@dataclass(frozen=True)
class Seen:
    """One supervision step of B puzzles."""

    places: I64  # [B], in their split
    steps: I64  # [B], supervision steps taken, this one included
    leaves: Bool  # [B]: this step was its last
    batch: Batch
    before: Tensor  # int64 [B, cells], the answer one step earlier; NO_ANSWER at a puzzle's first
    answer: Tensor  # int64 [B, cells]
    logits: Tensor  # [B, cells, V]
    q: Tensor  # float32 [B, 2]: halt, continue

    def of(self, rows: Bool) -> Seen:
        """Of some of the puzzles alone."""
        if rows.all():
            return self
        at = torch.from_numpy(np.flatnonzero(rows)).to(self.q.device)
        return Seen(
            self.places[rows],
            self.steps[rows],
            self.leaves[rows],
            _rows(self.batch, at),
            *(tensor[at] for tensor in (self.before, self.answer, self.logits, self.q)),
        )


def has_settled(unchanged: Tensor, q: Tensor, settings: ModelSettings, enough: int = 1) -> Tensor:
    """Whether `enough` steps or more left the whole answer as it was and the halting head asks to halt: bool [B].

    unchanged: [B]. q: [B, 2]. With halting="none" nothing trains the head, so the answer decides alone.
    """
    settled = unchanged >= enough
    return settled if settings.halting == "none" else settled & asks_to_halt(q, settings)


def places_of(n: int, batch_size: int, rank: int, workers: int) -> I64:
    """Which of n puzzles this worker asks, in order: every workers-th batch."""
    places = np.arange(n)
    mine: I64 = places[places // batch_size % workers == rank]
    return mine


@torch.inference_mode()
def think(
    model: Model,
    split: Split,
    places: I64,
    *,
    batch_size: int,
    N_sup: int,
    halt: Halt,
    device: torch.device,
    unchanged: int = 1,
    blank_identifiers: bool = False,
) -> Iterator[Seen]:
    """Ask the puzzles at these places of a split, in order, batch_size at a time; see each step of each of them once.

    N_sup: a puzzle's last step, if it has not left before. unchanged: steps over which a settled answer has stayed.
    blank_identifiers: every puzzle under identifier 0.
    """

    if not len(places):
        return

    def ask(k: int) -> tuple[I64, Batch]:
        """The next k puzzles, or as many as there are."""
        nonlocal places
        here, places = places[:k], places[k:]
        ids = split.puzzle_ids[here]
        ids = np.full_like(ids, BLANK) if blank_identifiers else ids
        return here, to_batch(split.inputs[here], split.labels[here], ids, device)

    slots = _new(model, *ask(batch_size))
    while slots.taken.any():
        batch = slots.batch
        features, logits, q = model(batch.inputs, model.puzzle_vectors(batch.puzzle_ids), slots.features)
        answer, steps = logits.argmax(-1), slots.steps + 1
        leaves = steps == N_sup
        still = (slots.unchanged + 1) * (answer == slots.answer).all(-1)
        if halt == "settled":
            leaves |= has_settled(still, q, model.settings, unchanged).cpu().numpy()
        leaves &= slots.taken
        yield Seen(slots.places, steps, leaves, batch, slots.answer, answer, logits, q).of(slots.taken)
        slots = Slots(slots.places, steps, slots.taken & ~leaves, batch, features, answer, still)
        free = int((~slots.taken).sum())
        if len(places) and free == len(slots.taken):
            slots = _new(model, *ask(free))
        elif len(places) and free:
            slots = _refilled(model, slots, *ask(free))
        elif free:
            slots = _halved(slots)


def _new(model: Model, places: I64, batch: Batch) -> Slots:
    """As many slots as puzzles, none of which has taken a step."""
    B = len(places)
    return Slots(
        places,
        np.zeros(B, dtype=np.int64),
        np.ones(B, dtype=np.bool_),
        batch,
        model.initial_features(B),
        torch.full_like(batch.inputs, NO_ANSWER),
        torch.zeros(B, dtype=torch.int64, device=batch.inputs.device),
    )


def _refilled(model: Model, slots: Slots, places: I64, batch: Batch) -> Slots:
    """The puzzles of the batch in the first free slots, of which there are as many or more; the others go on."""
    rows = np.flatnonzero(~slots.taken)[: len(places)]
    at = torch.from_numpy(rows).to(slots.answer.device)
    enters = torch.zeros(len(slots.places), dtype=torch.bool, device=at.device).index_fill(0, at, True)
    there, steps, taken = slots.places.copy(), slots.steps.copy(), slots.taken.copy()
    there[rows], steps[rows], taken[rows] = places, 0, True
    initial = model.initial_features(len(there))
    return Slots(
        there,
        steps,
        taken,
        Batch(
            slots.batch.inputs.index_copy(0, at, batch.inputs),
            slots.batch.labels.index_copy(0, at, batch.labels),
            slots.batch.puzzle_ids.index_copy(0, at, batch.puzzle_ids),
        ),
        tuple(torch.where(enters.view(-1, 1, 1), new, old) for new, old in zip(initial, slots.features, strict=True)),
        slots.answer.index_fill(0, at, NO_ANSWER),
        slots.unchanged.index_fill(0, at, 0),
    )


def _halved(slots: Slots) -> Slots:
    """Half as many slots, again and again while the puzzles under way fit."""
    size = len(slots.taken)
    while size > (half := -(-size // 2)) >= max(slots.taken.sum(), 1):
        size = half
    if size == len(slots.taken):
        return slots
    rows = np.argsort(~slots.taken, kind="stable")[:size]
    at = torch.from_numpy(rows).to(slots.answer.device)
    return Slots(
        slots.places[rows],
        slots.steps[rows],
        slots.taken[rows],
        _rows(slots.batch, at),
        tuple(feature[at] for feature in slots.features),
        slots.answer[at],
        slots.unchanged[at],
    )


def _rows(batch: Batch, at: Tensor) -> Batch:
    return Batch(batch.inputs[at], batch.labels[at], batch.puzzle_ids[at])
