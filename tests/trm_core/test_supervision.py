from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from data_prep.puzzle_set import PuzzleSet
from trm_core.config import RunConfig
from trm_core.data import Batch, TrainingBatches
from trm_core.losses import halting_loss, mean_over_cells, stablemax_cross_entropy
from trm_core.model import Model
from trm_core.supervision import Slots, Step, empty_slots, exploration, refill, supervision_step

CPU = torch.device("cpu")
NO_WAIT = torch.zeros(8, dtype=torch.int64)


def _first(run: RunConfig, puzzles: PuzzleSet) -> tuple[Model, Batch, Slots]:
    model, batch = Model(run), TrainingBatches(puzzles, run).draw(0, 0, 1, CPU)
    return model, batch, refill(model, empty_slots(model, batch), batch)


def _halting_bias(model: Model, halt: float, go_on: float) -> None:
    with torch.no_grad():
        assert model.halting_head.bias is not None
        model.halting_head.bias.copy_(torch.tensor([halt, go_on]))


def test_a_slot_keeps_its_puzzle_and_features_until_it_halts_and_then_starts_anew(
    tiny: RunConfig, puzzles: PuzzleSet
) -> None:
    model, _, slots = _first(tiny, puzzles)
    done = supervision_step(model, slots, NO_WAIT).slots
    halted = torch.tensor([True, False] * 4)
    done = replace(done, halted=halted)
    batch = TrainingBatches(puzzles, tiny).draw(1, 0, 1, CPU)
    filled = refill(model, done, batch)
    initial = model.initial_features(8)
    for slot in range(8):
        source = batch if halted[slot] else slots
        assert torch.equal(filled.inputs[slot], source.inputs[slot])
        assert torch.equal(filled.labels[slot], source.labels[slot])
        assert filled.steps[slot] == (0 if halted[slot] else 1)
        for k, feature in enumerate(filled.features):
            assert torch.equal(feature[slot], initial[k][slot] if halted[slot] else done.features[k][slot])


def test_the_first_refill_fills_every_slot(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    model, batch, slots = _first(tiny, puzzles)
    assert torch.equal(slots.inputs, batch.inputs)
    assert torch.all(slots.steps == 0)
    assert torch.equal(slots.features[0], model.initial_features(8)[0])


def test_nothing_halts_before_N_sup_at_first_and_everything_at_N_sup(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    model, batch, slots = _first(tiny, puzzles)
    for step in (1, 2, 3):
        slots = supervision_step(model, refill(model, slots, batch), NO_WAIT).slots
        assert torch.all(slots.steps == step)
        assert torch.all(slots.halted == (step == 3))


def test_a_confident_halting_head_halts_at_once_unless_exploration_makes_it_wait(
    tiny: RunConfig, puzzles: PuzzleSet
) -> None:
    model, _, slots = _first(tiny, puzzles)
    _halting_bias(model, 3.0, -3.0)
    wait = torch.tensor([0, 2, 0, 3, 0, 0, 2, 0])
    assert supervision_step(model, slots, wait).slots.halted.tolist() == [w == 0 for w in wait.tolist()]


def test_with_act_a_slot_halts_where_halting_is_worth_more_than_going_on(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    run = tiny.change({"model": {"halting": "q_learning"}})
    model, _, slots = _first(run, puzzles)
    _halting_bias(model, -1.0, -2.0)  # q_halt below 0: bce would go on
    assert torch.all(supervision_step(model, slots, NO_WAIT).slots.halted)
    _halting_bias(model, 1.0, 2.0)  # q_halt above 0: bce would halt
    assert not torch.any(supervision_step(model, slots, NO_WAIT).slots.halted)


def test_the_loss_is_the_cells_plus_half_the_halting_loss(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    model, _, slots = _first(tiny, puzzles)
    step = supervision_step(model, slots, NO_WAIT)
    right = torch.tensor([bool(torch.all(a.argmax(-1) == b)) for a, b in zip(step.logits, slots.labels, strict=True)])
    cells = mean_over_cells(stablemax_cross_entropy(step.logits, slots.labels), slots.labels).sum()
    torch.testing.assert_close(step.loss.detach(), cells + 0.5 * halting_loss(step.q[:, 0], right))


def _continue_target(model: Model, step: Step, last: bool) -> list[float]:
    """Q-learning's target, plainly: go one supervision step further and look at what that is worth."""
    targets = []
    for slot in range(len(step.q)):
        inputs = step.slots.inputs[slot : slot + 1]
        vectors = model.puzzle_vectors(step.slots.puzzle_ids[slot : slot + 1])
        features = tuple(feature[slot : slot + 1] for feature in step.slots.features)
        with torch.no_grad():
            _, _, q = model(inputs, vectors, features)
        halt, go_on = q[0].tolist()
        targets.append(torch.sigmoid(torch.tensor(halt if last else max(halt, go_on))).item())
    return targets


@pytest.mark.parametrize("N_sup", [1, 3])
def test_with_act_the_continue_loss_is_against_a_second_forward_pass(
    tiny: RunConfig, puzzles: PuzzleSet, N_sup: int
) -> None:
    run = tiny.change({"model": {"halting": "q_learning", "N_sup": N_sup}})
    model, _, slots = _first(run, puzzles)
    with torch.no_grad():
        torch.nn.init.normal_(model.halting_head.weight, generator=torch.Generator().manual_seed(0))
    step = supervision_step(model, slots, NO_WAIT)
    target = torch.tensor(_continue_target(model, step, last=N_sup == 1))
    right = torch.tensor([bool(torch.all(a.argmax(-1) == b)) for a, b in zip(step.logits, slots.labels, strict=True)])
    cells = mean_over_cells(stablemax_cross_entropy(step.logits, slots.labels), slots.labels).sum()
    halting = halting_loss(step.q[:, 0], right) + halting_loss(step.q[:, 1], target)
    torch.testing.assert_close(step.loss.detach(), cells + 0.5 * halting)


def test_no_gradient_crosses_from_one_supervision_step_to_the_next(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    model, _, slots = _first(tiny, puzzles)
    step = supervision_step(model, slots, NO_WAIT)
    assert step.loss.requires_grad
    assert not any(feature.requires_grad for feature in step.slots.features)


def test_the_puzzle_vectors_gradient_is_per_slot(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    model, _, slots = _first(tiny, puzzles)
    step = supervision_step(model, slots, NO_WAIT)
    step.loss.backward()  # type: ignore[no-untyped-call]
    assert step.puzzle_vectors is not None
    assert step.puzzle_vectors.grad is not None
    assert step.puzzle_vectors.grad.shape == (8, tiny.model.D)
    assert torch.all(step.puzzle_vectors.grad.abs().sum(-1) > 0)


def test_slots_survive_the_way_through_named_tensors(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    _, _, slots = _first(tiny, puzzles)
    again = Slots.from_tensors(slots.tensors())
    assert all(torch.equal(a, b) for a, b in zip(again.features, slots.features, strict=True))
    assert torch.equal(again.inputs, slots.inputs)
    assert torch.equal(again.halted, slots.halted)


def test_exploration_waits_for_2_to_N_sup_steps_with_its_probability(tiny: RunConfig) -> None:
    model = Model(tiny.change({"model": {"exploration": 0.25, "N_sup": 5}}))
    waits = exploration(model, seed=3, step=7, B=40_000)
    assert set(waits.tolist()) == {0, 2, 3, 4, 5}
    assert abs((waits > 0).double().mean().item() - 0.25) < 0.01
    for steps in (2, 3, 4, 5):
        assert abs((waits == steps).double().mean().item() - 0.0625) < 0.006


def test_exploration_is_a_function_of_seed_and_step(tiny: RunConfig) -> None:
    model = Model(tiny)
    assert torch.equal(exploration(model, 3, 7, 1000), exploration(model, 3, 7, 1000))
    assert not torch.equal(exploration(model, 3, 7, 1000), exploration(model, 3, 8, 1000))
    assert not torch.equal(exploration(model, 3, 7, 1000), exploration(model, 4, 7, 1000))
