"""Faults planted in the model, the losses, the optimisers, the EMA and supervision: each is seen in every variant.

A fault is a text of the source replaced by another, the function compiled anew; each must make some number of the
float64 reference not hold (or, where a graph is then used twice, torch refuse it).
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trm_core import ema, layers, losses, model, optim, parity_numbers, puzzle_embedding, supervision
from trm_core.parity import compare
from trm_core.parity_reference import load

GOLDEN_64 = Path(__file__).parents[1] / "fixtures" / "golden64"
VARIANTS = ("trm_att", "trm_mlp", "trm_singlez", "trm_hier6", "hrm", "direct")


@dataclass(frozen=True)
class Fault:
    """A text in a function or method, and what stands there instead."""

    owner: Any  # a module or class
    function: str
    right: str
    wrong: str
    only: tuple[str, ...] = VARIANTS  # where the line is run at all


ATTENTION = tuple(name for name in VARIANTS if name != "trm_mlp")
RECURSIVE = tuple(name for name in VARIANTS if name != "direct")  # there the recursion cuts the graph anew by itself
TRM = tuple(name for name in RECURSIVE if name != "hrm")

FAULTS = {
    "β2": Fault(optim.AdamATan2, "step", 'group["betas"]', '(group["betas"][0], 0.949)'),
    "β1": Fault(optim.AdamATan2, "step", 'group["betas"]', '(0.901, group["betas"][1])'),
    "no bias correction": Fault(optim.AdamATan2, "step", "(1 - beta1**t)", "1"),
    "no weight decay": Fault(optim.AdamATan2, "step", '1 - lr * group["weight_decay"]', "1.0"),
    "warm-up one step late": Fault(optim, "lr_factor", "return step / ", "return (step - 1) / "),
    "EMA's rate": Fault(ema.EMA, "update", "1 - self.decay)", "1 - self.decay + 1e-3)"),
    "EMA of the weights before the step": Fault(
        parity_numbers,
        "our_numbers",
        "        optimiser.step()\n",
        "        if ema is not None:\n            ema.update(model)\n        optimiser.step()\n",
    ),
    "SignSGD's sign": Fault(puzzle_embedding.PuzzleEmbedding, "sign_sgd", "- lr * total.sign()", "+ lr * total.sign()"),
    "SignSGD without weight decay": Fault(puzzle_embedding.PuzzleEmbedding, "sign_sgd", "(1 - lr * weight_decay)", "1"),
    "SignSGD of each slot alone": Fault(
        puzzle_embedding.PuzzleEmbedding,
        "sign_sgd",
        "puzzle_ids.unsqueeze(1) == puzzle_ids",
        "torch.eye(len(puzzle_ids), dtype=torch.bool)",
    ),
    "weight of the halting loss": Fault(supervision, "supervision_step", "m.halting_loss_weight *", "0.51 *"),
    "halting after one step more": Fault(supervision, "supervision_step", "steps >= m.N_sup", "slots.steps >= m.N_sup"),
    "halting before the first step is counted": Fault(
        supervision, "refill", "slots.steps.where(~halted, 0)", "slots.steps.where(~halted, 1)"
    ),
    "refilled slots keep their features": Fault(supervision, "refill", "torch.where(cube, new, old)", "old.clone()"),
    "refilled slots keep their puzzle": Fault(
        supervision, "refill", "batch.labels.where(column, slots.labels)", "slots.labels"
    ),
    "no detach between supervision steps": Fault(
        supervision,
        "supervision_step",
        "feature.detach() for feature in features",
        "feature for feature in features",
        only=("direct",),
    ),
    "gradient through every deep recursion": Fault(
        model.Model, "deep_recursion", "torch.no_grad()", "torch.enable_grad()", only=RECURSIVE
    ),
    "halts where its head says go on": Fault(supervision, "asks_to_halt", "q_halt > 0", "q_halt < 0", only=TRM),
    "halts where going on is worth more": Fault(
        supervision, "asks_to_halt", "q_halt > q_continue", "q_halt < q_continue", only=("hrm", "direct")
    ),
    "the continue loss left out": Fault(
        supervision, "supervision_step", "halt_loss + halting_loss(q_continue, target)", "halt_loss", only=("hrm",)
    ),
    "cells that do not count are counted": Fault(
        losses, "mean_over_cells", "counts.clamp_min(1).unsqueeze(-1)", "labels.shape[-1]"
    ),
    "softmax for stablemax": Fault(
        losses, "stablemax_cross_entropy", "torch.where(x < 0, 1 / (1 - x + 1e-30), x + 1)", "torch.exp(x)"
    ),
    "the norm's epsilon": Fault(layers, "rms_norm", "RMS_EPS", "1e-6"),
    "gate and up exchanged": Fault(layers.SwiGLU, "forward", "gate, up =", "up, gate ="),
    "gate and up exchanged in the mixer": Fault(
        layers.SwiGLU, "along_the_first", "gate, up =", "up, gate =", only=("trm_mlp",)
    ),
    "norm before the residual": Fault(
        layers.Layer, "forward", "rms_norm(x + self.mlp(x))", "x + self.mlp(rms_norm(x))"
    ),
    "rotation the other way": Fault(layers, "rope", "(-sin, sin)", "(sin, -sin)", only=ATTENTION),
    "mixer's norm over the channels": Fault(layers.Layer, "mix_and_norm", "axis=0", "axis=-1", only=("trm_mlp",)),
    "scale of the embedding": Fault(model.Model, "embed", "math.sqrt(m.D) * x", "m.D * x"),
    "one latent recursion fewer": Fault(
        model.Model, "deep_recursion", "range(first, n)", "range(first + 1, n)", only=TRM
    ),
    "the halting head reads the first cell": Fault(model.Model, "forward", "y[:, 0]", "y[:, -1]"),
}


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[Fault], None]:
    """Puts a fault where every caller finds it."""

    def planted(fault: Fault) -> None:
        right = getattr(fault.owner, fault.function)
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(right)))
        assert fault.right in source, f"{fault.function} has no {fault.right!r} any more"
        scope = dict(inspect.unwrap(right).__globals__)
        exec("from __future__ import annotations\n" + source.replace(fault.right, fault.wrong), scope)
        wrong = scope[fault.function]
        for module in (fault.owner, supervision, parity_numbers):
            if getattr(module, fault.function, None) is right:
                monkeypatch.setattr(module, fault.function, wrong)
        for name, loss in losses.CELL_LOSSES.items():
            if loss is right:
                monkeypatch.setitem(losses.CELL_LOSSES, name, wrong)

    return planted


def _is_seen(variant: str) -> bool:
    """Whether some number of the reference does not hold, within two steps or by the end of all."""
    reference = load(GOLDEN_64 / f"{variant}.npz")
    try:
        found = (
            parity_numbers.our_numbers(reference, steps=steps, step=supervision.supervision_step) for steps in (2, None)
        )
        return any(not result.holds for numbers in found for result in compare(reference, numbers))
    except RuntimeError as error:
        return "backward through the graph a second time" in str(error)


@pytest.mark.parametrize(
    ("fault", "variant"), [(name, variant) for name, fault in FAULTS.items() for variant in fault.only]
)
def test_a_planted_fault_is_seen(fault: str, variant: str, plant: Callable[[Fault], None]) -> None:
    plant(FAULTS[fault])
    assert _is_seen(variant)


@pytest.mark.parametrize("variant", ["hrm", "direct"])
def test_what_is_planted_without_a_fault_is_not_seen(variant: str, plant: Callable[[Fault], None]) -> None:
    for fault in (FAULTS["β2"], FAULTS["the norm's epsilon"], FAULTS["weight of the halting loss"]):
        plant(Fault(fault.owner, fault.function, fault.right, fault.right))
    assert not _is_seen(variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_more_than_ten_faults(variant: str) -> None:
    assert sum(variant in fault.only for fault in FAULTS.values()) > 10
