from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from trm_core.config import OptimSettings
from trm_core.optim import AdamATan2, lr_factor, make_optimiser


def test_adam_atan2_is_its_formula_written_out_number_by_number() -> None:
    lr, beta1, beta2, wd = 0.05, 0.9, 0.95, 0.3
    p = nn.Parameter(torch.tensor([0.5, -2.0, 0.0], dtype=torch.float64))
    optimiser = AdamATan2([p], lr=lr, betas=(beta1, beta2), weight_decay=wd)
    gradients = [[0.1, -3.0, 0.0], [2.0, 0.5, 0.0], [-1.0, 0.25, 1e-12]]
    plain, m, v = p.tolist(), [0.0] * 3, [0.0] * 3
    for t, gradient in enumerate(gradients, start=1):
        p.grad = torch.tensor(gradient, dtype=torch.float64)
        optimiser.step()
        for i, g in enumerate(gradient):
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g * g
            plain[i] *= 1 - lr * wd
            plain[i] -= lr / (1 - beta1**t) * math.atan2(m[i], math.sqrt(v[i]) / math.sqrt(1 - beta2**t))
    torch.testing.assert_close(p.tolist(), plain, rtol=1e-12, atol=1e-15)


def test_adam_atan2_does_not_see_the_scale_of_the_gradient() -> None:
    ends = []
    for scale in (1.0, 2.0**20):
        p = nn.Parameter(torch.tensor([1.0, 2.0]))
        optimiser = AdamATan2([p], lr=0.1, betas=(0.9, 0.95), weight_decay=0.0)
        for gradient in ([1.0, -2.0], [0.5, 0.5]):
            p.grad = torch.tensor(gradient) * scale
            optimiser.step()
        ends.append(p.detach().clone())
    torch.testing.assert_close(ends[0], ends[1])


def test_adam_atan2_comes_to_the_minimum_of_a_bowl() -> None:
    p = nn.Parameter(torch.tensor([3.0, -4.0]))
    optimiser = AdamATan2([p], lr=0.02, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(600):
        optimiser.zero_grad()
        p.square().sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert p.abs().max().item() < 0.05


@pytest.mark.parametrize(("name", "kind"), [("adam_atan2", AdamATan2), ("adamw", torch.optim.AdamW)])
def test_settings_choose_the_optimiser_and_its_numbers(name: str, kind: type) -> None:
    settings = OptimSettings.model_validate(
        {"name": name, "lr": 0.25, "beta1": 0.5, "beta2": 0.75, "weight_decay": 0.125}
    )
    optimiser = make_optimiser([nn.Parameter(torch.ones(1))], settings)
    assert isinstance(optimiser, kind)
    group = optimiser.param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.25, (0.5, 0.75), 0.125)


def test_the_learning_rate_warms_up_linearly_and_then_stays() -> None:
    settings = OptimSettings(warmup_steps=4)
    assert [lr_factor(settings, step, 100) for step in (1, 2, 4, 5, 100)] == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_the_cosine_falls_from_the_end_of_the_warm_up_to_its_last_fraction() -> None:
    settings = OptimSettings(warmup_steps=10, schedule="cosine", final_lr=0.1)
    assert lr_factor(settings, 10, 110) == 1.0
    assert math.isclose(lr_factor(settings, 60, 110), 0.55)
    assert math.isclose(lr_factor(settings, 110, 110), 0.1)


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert lr_factor(OptimSettings(warmup_steps=0), 1, 10) == 1.0
