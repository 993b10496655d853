"""The baseline computes what we compute: else its time would be another thing's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from benchmarks.released_step import Data, ReleasedStep
from sweeps.recipes import recipe
from sweeps.study import BaseName
from trm_core.config import RunConfig
from trm_core.data import TrainingBatches
from trm_core.official import PREFIX, to_theirs
from trm_core.parity import relative_error
from trm_core.speed import random_puzzles
from trm_core.supervision import empty_slots, refill, supervision_step
from trm_core.trainer import Trainer

CPU = torch.device("cpu")
BASES: tuple[BaseName, ...] = ("trm", "trm_att", "hrm")


def small(base: BaseName) -> RunConfig:
    """Few recursions: 42 layers amplify the rounding of products that are laid out another way, in float32, to 3e-5."""
    return recipe(base, "sudoku").change(
        {
            "data": {"source": "generated", "box_rows": 2, "box_cols": 2, "test": 4, "validation": 4},
            "model": {"D": 32, "n": 2, "T": 2, "n_heads": 2, "inner_multiple": 8, "N_sup": 3, "exploration": 0.0},
            "train": {"batch_size": 4, "precision": "fp32", "steps": 100},
            "optim": {"warmup_steps": 2, "lr": 1e-3},
        }
    )


def as_theirs(trainer: Trainer) -> Iterator[Data]:
    """Our batches as their dataloader hands them over."""
    step = 0
    while True:
        batch = trainer.batches.draw(step, 0, 1, CPU)
        yield {
            "inputs": batch.inputs.int(),
            "labels": batch.labels.int(),
            "puzzle_identifiers": batch.puzzle_ids.int(),
        }
        step += 1


def both(run: RunConfig) -> tuple[Trainer, ReleasedStep]:
    trainer = Trainer(run, random_puzzles(run), CPU)
    return trainer, ReleasedStep(run, as_theirs(trainer), dict(trainer.model.state_dict()), CPU)


@pytest.mark.parametrize("base", BASES)
def test_the_released_step_has_our_loss_and_our_gradients(base: BaseName) -> None:
    trainer, released = both(small(base))
    run, model = trainer.run, trainer.model
    batch = TrainingBatches(trainer.data, run).draw(0, 0, 1, CPU)
    slots = refill(model, empty_slots(model, batch), batch)
    ours = supervision_step(model, slots, torch.zeros(4, dtype=torch.int64))
    ours.loss.backward()  # type: ignore[no-untyped-call]

    data = next(released.batches)
    _, loss, _ = released.model(released.first_carry(data), data)
    loss.backward()
    assert relative_error(loss.detach(), ours.loss.detach()) < 1e-5
    gradients: dict[str, Tensor] = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    expected = to_theirs({**model.state_dict(), **gradients}, run.model)
    for name, parameter in released.model.inner.named_parameters():
        assert parameter.grad is not None
        assert relative_error(parameter.grad, expected[PREFIX + name]) < 1e-5, name
    local = released.model.inner.puzzle_emb.local_weights.grad
    assert local is not None
    assert ours.puzzle_vectors is not None
    assert ours.puzzle_vectors.grad is not None
    assert relative_error(local, ours.puzzle_vectors.grad) < 1e-5


@pytest.mark.parametrize("base", BASES)
def test_five_steps_of_both_end_with_the_same_weights_slots_and_averages(base: BaseName) -> None:
    """Through a warm-up, a refill of every slot (N_sup is 3), both optimisers and the EMA.

    One recursion deep: more would amplify the rounding until a gradient near zero has another sign.
    """
    trainer, released = both(small(base).change({"model": {"n": 1, "T": 1}}))
    for _ in range(5):
        trainer.take_step()
        released.take_step()
    expected = to_theirs(dict(trainer.model.state_dict()), trainer.run.model)
    for name, tensor in released.model.inner.state_dict().items():
        assert relative_error(tensor, expected[PREFIX + name]) < 1e-5, name
    assert trainer.slots is not None
    assert released.carry is not None
    assert torch.equal(released.carry.steps, trainer.slots.steps)
    assert torch.equal(released.carry.current["inputs"].long(), trainer.slots.inputs)
    if trainer.ema is not None:
        averages = to_theirs(dict(trainer.ema.model.state_dict()), trainer.run.model)
        for name, tensor in released.shadow.items():
            assert relative_error(tensor, averages[PREFIX + name.removeprefix("inner.")]) < 1e-5, name
