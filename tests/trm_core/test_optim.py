from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from data_prep.puzzle_set import PuzzleSet
from trm_core.config import RunConfig
from trm_core.model import Model
from trm_core.optim import AdamATan2, MuonAndAdamATan2, lr_factor, make_optimiser
from trm_core.settings import BadSetting, OptimSettings
from trm_core.trainer import Trainer


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


# --- Muon ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def muon(tiny: RunConfig) -> RunConfig:
    return tiny.change({"optim": {"name": "muon"}})


def _two_parts(matrix: nn.Parameter, vector: nn.Parameter) -> MuonAndAdamATan2:
    return MuonAndAdamATan2([matrix], [vector], lr=0.05, betas=(0.9, 0.95), weight_decay=0.3)


@pytest.mark.parametrize("shape", [(8, 8), (24, 6), (6, 24)])
def test_muon_is_its_formula_written_out_in_float64_within_its_bf16_rounding(shape: tuple[int, int]) -> None:
    lr, wd, random = 0.05, 0.3, torch.Generator().manual_seed(0)
    matrix = nn.Parameter(torch.randn(shape, generator=random))
    optimiser = _two_parts(matrix, nn.Parameter(torch.ones(2)))
    plain, m = matrix.detach().double(), torch.zeros(shape, dtype=torch.float64)
    for _ in range(3):
        matrix.grad = torch.randn(shape, generator=random)
        g = matrix.grad.double()
        before = plain.clone()
        optimiser.step()
        m = 0.95 * m + 0.05 * g
        o = 0.05 * g + 0.95 * m
        o = o / o.norm()
        for _ in range(5):  # Newton-Schulz: the singular values s become 3.4445 s − 4.7750 s³ + 2.0315 s⁵
            u, s, vt = torch.linalg.svd(o, full_matrices=False)
            o = u @ torch.diag(3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5) @ vt
        plain = plain * (1 - lr * wd) - 0.2 * math.sqrt(max(shape)) * lr * o
        assert (matrix.detach().double() - plain).norm() < 0.02 * (plain - before).norm()


def test_with_muon_the_networks_matrices_are_torchs_and_all_else_is_adam_atan2_bit_for_bit(
    muon: RunConfig, puzzles: PuzzleSet
) -> None:
    separate = muon.change({"model": {"networks": "separate"}})
    model, twin = Model(separate, puzzles.n_puzzle_ids), Model(separate, puzzles.n_puzzle_ids)
    optimiser = make_optimiser(model.parameters(), separate.optim, model.matrices())
    theirs = dict(twin.named_parameters())
    matrices = [p for name, p in theirs.items() if name.startswith(("f_z.", "f_y_apart."))]
    others = [p for name, p in theirs.items() if name in ("embed_tokens", "output_head.weight")]
    others += [theirs["halting_head.weight"], theirs["halting_head.bias"]]
    assert len(matrices) + len(others) == len(theirs)
    lr, wd = separate.optim.lr, separate.optim.weight_decay
    torchs = torch.optim.Muon(matrices, lr=lr, weight_decay=wd, adjust_lr_fn="match_rms_adamw")
    adam = AdamATan2(others, lr=lr, betas=(0.9, 0.95), weight_decay=wd)
    random = torch.Generator().manual_seed(0)
    for _ in range(3):
        for p, q in zip(model.parameters(), twin.parameters(), strict=True):
            p.grad = torch.randn(p.shape, generator=random)
            q.grad = p.grad.clone()
        for one in (optimiser, torchs, adam):
            one.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_the_schedule_moves_both_parts_of_muon() -> None:
    ends = []
    for rate in (0.0, 0.05):
        matrix, vector = nn.Parameter(torch.eye(4)), nn.Parameter(torch.ones(4))
        optimiser = _two_parts(matrix, vector)
        for group in optimiser.param_groups:
            group["lr"] = rate
        matrix.grad, vector.grad = torch.eye(4), torch.ones(4)
        optimiser.step()
        ends.append([not torch.equal(matrix, torch.eye(4)), not torch.equal(vector, torch.ones(4))])
    assert ends == [[False, False], [True, True]]


def test_muon_gives_the_same_bits_twice_and_keeps_one_moment_of_a_matrix(muon: RunConfig, puzzles: PuzzleSet) -> None:
    twice = [Trainer(muon, puzzles, torch.device("cpu")) for _ in range(2)]
    for trainer in twice:
        for _ in range(3):
            trainer.take_step()
    one, other = (trainer.parameters for trainer in twice)
    assert all(torch.equal(one[name], other[name]) for name in one)
    kept = {name: set(twice[0].optimiser.state[parameter]) for name, parameter in one.items()}
    assert kept.pop("embed_tokens") == {"step", "exp_avg", "exp_avg_sq"}
    assert {name for name, state in kept.items() if state == {"momentum_buffer"}} == {
        name for name in one if name.startswith("f_z.")
    }


def test_where_torch_has_no_muon_it_is_refused_by_name(
    muon: RunConfig, puzzles: PuzzleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(BadSetting, match=r'optim.name="muon": torch .* has no Muon, torch 2.9 is the first that has'):
        Trainer(muon, puzzles, torch.device("cpu"))


# --- the schedule ----------------------------------------------------------------------------------------------------


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
