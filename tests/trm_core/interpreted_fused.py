"""The fused kernels in Triton's interpreter. It is asked for before Triton is imported, so test_fused.py runs this."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trm_core import fused
from trm_core.compiled import compile_model
from trm_core.config import RunConfig
from trm_core.layers import RMS_EPS, SwiGLU, rms_norm
from trm_core.memory import FUSED_POSITIONS
from trm_core.model import Model
from trm_core.parity import relative_error

FLOAT32 = 3e-6  # relative error, from the plain path in float64
OPERATIONS = {
    f"trm_core::{name}" for name in ("mix_and_norm", "mix_and_norm_backward", "product_and_glu", "glu", "glu_backward")
}
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
        (5, 136, 64),  # fewer positions than the least block, more columns than one
        (16, 8, 64),
        (37, 200, 128),
        (97, 128, 256),  # Sudoku's, columns a block exactly
        (97, 304, 512),
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
    mixer, x = _mixer(9, 64), _drawn(24, 9, seed=3).t()
    assert not x.is_contiguous()
    weights = (fused.aligned(mixer.gate_up.weight), mixer.down.weight)
    ours, theirs = (fused.mix_and_norm(each, *weights, RMS_EPS)[0] for each in (x, x.contiguous()))
    assert torch.equal(ours, theirs)
    torch.testing.assert_close(ours, rms_norm(x + mixer.along_the_first(x), axis=0))


def test_torch_finds_both_operations_well_declared() -> None:
    mixer, x = _mixer(5, 64), _drawn(5, 16, seed=3).requires_grad_()
    weights = (mixer.gate_up.weight, mixer.down.weight)
    torch.library.opcheck(fused.mix_and_norm, (x, *weights, RMS_EPS))
    y, scale = fused.mix_and_norm(x, *weights, RMS_EPS)
    arrays = (_drawn(5, 16, seed=4), x, y, scale, *weights)
    torch.library.opcheck(fused.backward, tuple(tensor.detach() for tensor in arrays))


def test_it_serves_so_many_positions_whole_blocks_of_inner_rows_and_rows_of_whole_sixteen_bytes() -> None:
    assert fused.serves(torch.zeros(FUSED_POSITIONS, 8), 64)
    assert fused.serves(torch.zeros(FUSED_POSITIONS, 2, 4), 64)
    assert not fused.serves(torch.zeros(FUSED_POSITIONS + 1, 8), 64)
    assert not fused.serves(torch.zeros(8, 8), 72)
    assert not fused.serves(torch.zeros(8, 8), 32)
    assert not fused.serves(torch.zeros(8, 12), 64)


@pytest.mark.parametrize(
    ("rows", "D", "inner"),
    [
        ((1,), 64, 64),
        ((3, 50), 64, 128),  # more rows than a block
        ((128,), 192, 1536),  # a block of rows exactly; two rows of elements and a part of one
    ],
)
def test_the_channels_hidden_is_the_formulas_with_and_without_a_gradient(
    rows: tuple[int, ...], D: int, inner: int
) -> None:
    x, weight = _drawn(*rows, D, seed=1), _drawn(2 * inner, D, seed=2, std=D**-0.5)
    towards = _drawn(*rows, inner, seed=3)
    assert fused.serves_channels(x, inner)
    with torch.no_grad():
        without = fused.hidden_of(x, weight)
    hidden = fused.hidden_of(x.requires_grad_(), weight.requires_grad_())
    found = (hidden, *torch.autograd.grad((hidden * towards).sum(), (x, weight)))

    x64, weight64 = (each.detach().double().requires_grad_() for each in (x, weight))
    gate, up = torch.nn.functional.linear(x64, weight64).chunk(2, dim=-1)
    plain = torch.nn.functional.silu(gate) * up
    expected = (plain, *torch.autograd.grad((plain * towards).sum(), (x64, weight64)))
    assert relative_error(without, plain.detach()) <= FLOAT32
    for name, ours, theirs in zip(("hidden", "x", "gate_up"), found, expected, strict=True):
        assert relative_error(ours.detach(), theirs.detach()) <= FLOAT32, name


def test_torch_finds_the_channels_operations_well_declared() -> None:
    both, x = _drawn(3, 2, 128, seed=1).requires_grad_(), _drawn(3, 2, 64, seed=2)
    torch.library.opcheck(fused.glu, (both,))
    torch.library.opcheck(fused.glu_backward, (x, both.detach()))
    torch.library.opcheck(fused.product_and_glu, (x, _drawn(128, 64, seed=3)))


def test_the_channels_are_served_in_whole_blocks() -> None:
    assert fused.serves_channels(torch.zeros(5, 64), 128)
    assert not fused.serves_channels(torch.zeros(5, 48), 128)
    assert not fused.serves_channels(torch.zeros(5, 64), 96)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("whole", [False, True], ids=("networks", "recursions"))
def test_a_compiled_model_that_fuses_is_the_plain_one(tiny: RunConfig, whole: bool) -> None:
    run = tiny.change({"model": {"D": 64, "inner_multiple": 64, "n_layers": 1}})
    plain, fuses = Model(run), Model(run)
    compile_model(fuses, (4,), whole=whole)
    inputs = torch.randint(1, run.data.vocabulary, (4, run.data.cells), generator=torch.Generator().manual_seed(5))
    found = []
    for model in (plain, fuses):
        with torch.profiler.profile(acc_events=True) as profile:  # acc_events: without it torch 2.11 warns
            features, logits, _ = model(inputs, model.puzzle_vectors(inputs[:, 0] * 0), model.initial_features(4))
            gradients = torch.autograd.grad(logits.square().sum(), list(model.f_z.parameters()))
        found.append((logits, *features, *gradients))
        names = {event.key for event in profile.key_averages()}
        assert (OPERATIONS & names) == (OPERATIONS if model is fuses else set())
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert relative_error(ours.detach(), theirs.detach()) <= NETWORK
