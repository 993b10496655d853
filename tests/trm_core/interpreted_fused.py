"""The fused kernels in Triton's interpreter. It is asked for before Triton is imported, so test_fused.py runs this."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trm_core import fused
from trm_core.compiled import compile_networks
from trm_core.config import RunConfig
from trm_core.layers import RMS_EPS, SwiGLU, rms_norm
from trm_core.memory import FUSED_POSITIONS
from trm_core.model import Model
from trm_core.parity import relative_error

FLOAT32 = 3e-6  # relative error, from the plain path in float64
NETWORK = 3e-5  # and of a recursion of six layers, which amplifies rounding, from the plain one in float32


def _drawn(*shape: int, seed: int, std: float = 1.0) -> Tensor:
    return std * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _mixer(L: int, inner: int) -> SwiGLU:
    mixer = SwiGLU(L, inner)
    for seed, parameter in enumerate(mixer.parameters()):
        parameter.data = _drawn(*parameter.shape, seed=seed, std=parameter.shape[1] ** -0.5)
    return mixer


@pytest.mark.parametrize(
    ("L", "N", "inner"),
    [
        (5, 130, 64),  # fewer positions than the least block, more columns than one
        (16, 1, 64),
        (37, 200, 128),
        (97, 128, 256),  # Sudoku's, columns a block exactly
        (97, 300, 512),
        (128, 96, 192),  # a block of positions exactly; inner width no power of two
    ],
)
def test_it_is_the_mixer_and_its_norm_and_so_are_its_gradients(L: int, N: int, inner: int) -> None:
    mixer, x, towards = _mixer(L, inner), _drawn(L, N, seed=7), _drawn(L, N, seed=8)
    weights = (mixer.gate_up.weight, mixer.down.weight)
    x.requires_grad_()
    assert fused.serves(x, inner)
    mixed, scale = fused.mix_and_norm(x, *weights, RMS_EPS)
    found = (mixed, *torch.autograd.grad((mixed * towards).sum(), (x, *weights)))

    exact, x64 = mixer.double(), x.detach().double().requires_grad_()
    total = x64 + exact.along_the_first(x64)
    plain = rms_norm(total, axis=0)
    wanted = (exact.gate_up.weight, exact.down.weight)
    expected = (plain, *torch.autograd.grad((plain * towards).sum(), (x64, *wanted)))
    for name, ours, theirs in zip(("mixed", "x", "gate_up", "down"), found, expected, strict=True):
        assert relative_error(ours.detach(), theirs.detach()) <= FLOAT32, name
    assert relative_error(scale.detach(), torch.rsqrt(total.detach().square().mean(0) + RMS_EPS)) <= FLOAT32


def test_what_does_not_lie_in_one_piece_is_taken_too() -> None:
    mixer, x = _mixer(9, 64), _drawn(20, 9, seed=3).t()
    assert not x.is_contiguous()
    weights = (fused.aligned(mixer.gate_up.weight), mixer.down.weight)
    ours, theirs = (fused.mix_and_norm(each, *weights, RMS_EPS)[0] for each in (x, x.contiguous()))
    assert torch.equal(ours, theirs)
    torch.testing.assert_close(ours, rms_norm(x + mixer.along_the_first(x), axis=0))


def test_torch_finds_both_operations_well_declared() -> None:
    mixer, x = _mixer(5, 64), _drawn(5, 12, seed=3).requires_grad_()
    weights = (mixer.gate_up.weight, mixer.down.weight)
    torch.library.opcheck(fused.mix_and_norm, (x, *weights, RMS_EPS))
    y, scale = fused.mix_and_norm(x, *weights, RMS_EPS)
    arrays = (_drawn(5, 12, seed=4), x, y, scale, *weights)
    torch.library.opcheck(fused.backward, tuple(tensor.detach() for tensor in arrays))


def test_it_serves_so_many_positions_and_whole_blocks_of_inner_rows() -> None:
    assert fused.serves(torch.zeros(FUSED_POSITIONS, 3), 64)
    assert not fused.serves(torch.zeros(FUSED_POSITIONS + 1, 3), 64)
    assert not fused.serves(torch.zeros(8, 3), 72)
    assert not fused.serves(torch.zeros(8, 3), 32)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_compiled_model_that_fuses_is_the_plain_one(tiny: RunConfig) -> None:
    run = tiny.change({"model": {"inner_multiple": 64, "n_layers": 1}})
    plain, fuses = Model(run), Model(run)
    compile_networks(fuses, (4,))
    inputs = torch.randint(1, run.data.vocabulary, (4, run.data.cells), generator=torch.Generator().manual_seed(5))
    found = []
    for model in (plain, fuses):
        with torch.profiler.profile() as profile:
            features, logits, _ = model(inputs, model.puzzle_vectors(inputs[:, 0] * 0), model.initial_features(4))
            gradients = torch.autograd.grad(logits.square().sum(), list(model.f_z.parameters()))
        found.append((logits, *features, *gradients))
        names = {event.key for event in profile.key_averages()}
        took = {"trm_core::mix_and_norm", "trm_core::mix_and_norm_backward"} & names
        assert len(took) == (2 if model is fuses else 0)
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert relative_error(ours.detach(), theirs.detach()) <= NETWORK
