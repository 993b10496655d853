"""Every switch against the paper's formulas written out slowly (plain.py): outputs, losses and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trm_core import plain
from tests.trm_core.plain import Plain
from trm_core.config import RunConfig
from trm_core.data import Batch
from trm_core.layers import Attention
from trm_core.model import Model
from trm_core.supervision import empty_slots, refill, supervision_step

HRM: dict[str, Any] = {
    "mixer": "attention",
    "networks": "separate",
    "gradient": "one step",
    "halting": "q_learning",
    "n_layers": 4,
}
TABLE_3 = [(1, 1), (2, 2), (3, 3), (4, 4), (6, 3), (3, 6), (6, 6)]

SWITCHES: dict[str, dict[str, Any]] = {
    "TRM": {},
    "w/ ACT": {"halting": "q_learning"},
    "w/ ACT, one supervision step": {"halting": "q_learning", "N_sup": 1},
    "w/ separate f_H, f_L": {"networks": "separate"},
    "w/ 1-step gradient": {"gradient": "one step"},
    "w/ 1-step gradient, separate": {"gradient": "one step", "networks": "separate"},
    "w/ 4 layers, n=3": {"n_layers": 4, "n": 3},
    "w/ self-attention": {"mixer": "attention"},
    "single z": {"features": "single z"},
    "single z of figure 4": {"features": "single z", "single_z": "figure 4"},
    "multi-scale z": {"features": "multi-scale z"},
    "softmax loss": {"loss": "softmax"},
    "last k=4 recursions": {"gradient": "last k", "gradient_k": 4, "n": 6},
    "last k=3 recursions, all of them": {"gradient": "last k", "gradient_k": 3},
    "mixture of experts": {"channel_mlp": "mixture of experts", "n_experts": 3, "experts_per_token": 2},
    "no halting": {"halting": "none"},
    "tied head": {"output_head": "tied"},
    "direct prediction": {"mixer": "attention", "features": "y", "n": 0, "T": 1},
    "direct prediction, heads that have not D channels": {
        "mixer": "attention",
        "features": "y",
        "n": 0,
        "T": 1,
        "n_heads": 3,
        "head_channels": 2,
    },
    "learnt positions, attention": {"mixer": "attention", "positions": "learned"},
    "learnt positions, MLP": {"positions": "learned"},
    "no puzzle prefix": {"puzzle_prefix": 0},
}
SWITCHES |= {f"HRM n={k}, T={T}": HRM | {"n": k, "T": T, "puzzle_prefix": 1} for k, T in TABLE_3}


def _plain(run: RunConfig) -> Plain:
    m = run.model
    return Plain(
        n=m.n,
        T=m.T,
        n_layers=m.n_layers,
        n_heads=m.n_heads,
        learned=m.positions == "learned",
        x_in_last_call=m.single_z == "figure 4",
        prefix=m.puzzle_prefix,
        mixer=m.mixer,
        separate=m.networks == "separate",
        features=m.features,
        with_gradient={"one step": 2, "last k": m.gradient_k}.get(m.gradient),
        halting=m.halting,
        experts=m.n_experts if m.channel_mlp == "mixture of experts" else 0,
        chosen=m.experts_per_token,
        tied=m.output_head == "tied",
        loss=m.loss,
    )


def _batch(run: RunConfig) -> Batch:
    draw = torch.Generator().manual_seed(7)
    cells = (2, run.data.cells)
    labels = torch.randint(0, run.data.vocabulary, cells, generator=draw)
    labels[0, :3] = -100
    return Batch(torch.randint(1, run.data.vocabulary, cells, generator=draw), labels, torch.tensor([0, 1]))


@pytest.mark.parametrize("switches", SWITCHES.values(), ids=SWITCHES.keys())
def test_two_supervision_steps_and_their_gradients_are_the_papers_formulas(
    tiny: RunConfig, switches: dict[str, Any]
) -> None:
    run = tiny.change({"model": {"D": 8, "T": 2, "n": 2, "puzzle_prefix": 2, "exploration": 0.0} | switches})
    model = Model(run, n_puzzle_ids=2)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)  # smaller weights amplify rounding less
        torch.nn.init.normal_(model.halting_head.weight, generator=draw)
        if model.puzzle_embedding is not None:
            torch.nn.init.normal_(model.puzzle_embedding.weights, generator=draw)
    model.double()  # in float64 nothing hides behind rounding
    model.dtype = torch.float64
    for module in model.modules():
        if isinstance(module, Attention):
            for name, exact in zip(("cos", "sin"), _exact_rope(run), strict=True):
                setattr(module, name, exact)
    batch, p = _batch(run), _plain(run)
    slots = refill(model, empty_slots(model, batch), batch)
    w = {name: tensor.detach().double().requires_grad_() for name, tensor in model.state_dict().items()}
    table = w.get("puzzle_embedding.weights", torch.zeros(2, run.model.D, dtype=torch.float64))
    L = run.sequence
    features = [[row.detach().expand(L, -1) for row in w["initial"]] for _ in range(2)]

    for number in (1, 2):
        model.zero_grad()
        step = supervision_step(model, slots, torch.full((2,), 9))  # nothing halts before its ninth step …
        step.loss.backward()  # type: ignore[no-untyped-call]
        total = torch.zeros((), dtype=torch.float64)
        vectors = [table[i].detach().requires_grad_() for i in range(2)]
        for i in range(2):
            last = number >= run.model.N_sup  # … but the target of q_continue knows the last one
            features[i], logits, q, loss = plain.step_loss(
                w, batch.inputs[i], batch.labels[i], vectors[i], features[i], p, last=last
            )
            total = total + loss
            _close(step.logits[i], logits)
            _close(step.q[i], q)
            for ours, theirs in zip(step.slots.features, features[i], strict=True):
                _close(ours[i], theirs)
            features[i] = [feature[i] for feature in step.slots.features]
        _close(step.loss, total)
        names = [name for name, _ in model.named_parameters()]
        expected = torch.autograd.grad(total, [w[name] for name in names] + vectors, allow_unused=True)
        for name, gradient in zip(names, expected, strict=False):
            found = dict(model.named_parameters())[name].grad
            assert (found is None) == (gradient is None), name
            if found is not None and gradient is not None:
                _close(found, gradient, name)
        if step.puzzle_vectors is not None:
            assert step.puzzle_vectors.grad is not None
            for i in range(2):
                vector_gradient = expected[len(names) + i]
                _close(
                    step.puzzle_vectors.grad[i],
                    torch.zeros(run.model.D) if vector_gradient is None else vector_gradient,
                )
        slots = refill(model, step.slots, batch)


def _exact_rope(run: RunConfig) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of the rotary embedding in float64, for every head; the model's own are float32."""
    half = run.model.channels_of_a_head // 2
    rates = torch.tensor([10_000 ** (-i / half) for i in range(half)], dtype=torch.float64)
    angles = torch.outer(torch.arange(run.sequence, dtype=torch.float64), rates)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1).unsqueeze(1), torch.cat((-sin, sin), -1).unsqueeze(1)


def _close(ours: Tensor, theirs: Tensor, name: str = "") -> None:
    """Equal to 1e-9 of the largest value."""
    difference = float((ours.detach().double() - theirs.detach().double()).abs().max())
    scale = max(float(theirs.detach().abs().max()), 1e-9)
    assert difference <= 1e-9 * scale, f"{name}: {difference / scale:.1e}"
