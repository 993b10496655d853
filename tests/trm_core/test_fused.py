"""The fused kernels: in Triton's interpreter, in a process of its own (interpreted_fused.py), and on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.compiler import know_this_machine
from trm_core import fused
from trm_core.compiled import can_compile
from trm_core.layers import RMS_EPS, SwiGLU, rms_norm
from trm_core.parity import relative_error

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(fused.INTERPRETED, reason="TRITON_INTERPRET=1: it serves any device")
def test_a_cpu_is_not_served_without_the_interpreter() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        assert not fused.serves(torch.zeros(8, 3, dtype=dtype), 64)


def test_aligned_weights_are_the_same_with_their_long_side_contiguous() -> None:
    weight = torch.arange(12.0).view(4, 3)
    assert torch.equal(fused.aligned(weight), weight)
    assert fused.aligned(weight).stride() == (1, 4)


@pytest.mark.kills
@pytest.mark.timeout(1800)  # one test compiles
def test_in_tritons_interpreter_the_kernels_are_the_plain_formula(tmp_path: Path) -> None:
    pytest.importorskip("triton", exc_type=ImportError)
    if not can_compile(torch.device("cpu")):
        pytest.skip("no C++ compiler here")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "TRITON_INTERPRET": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(know_this_machine(tmp_path / "code")),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    file = Path(__file__).with_name("interpreted_fused.py")
    command = [sys.executable, "-m", "pytest", str(file), "-p", "no:cacheprovider", "--timeout", "1700"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize(("L", "N", "inner"), [(97, 1000, 512), (128, 256, 1024), (5, 80, 64)])
def test_on_a_gpu_in_bfloat16_it_is_no_further_from_float32_than_the_plain_path(L: int, N: int, inner: int) -> None:
    generator = torch.Generator().manual_seed(0)
    mixer = SwiGLU(L, inner)
    for parameter in mixer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) / parameter.shape[1] ** 0.5
    x, towards = (torch.randn(L, N, generator=generator).bfloat16().cuda() for _ in range(2))
    mixer = mixer.bfloat16().cuda()

    def numbers(kernel: bool, dtype: torch.dtype) -> list[torch.Tensor]:
        each, rows = mixer.to(dtype), x.to(dtype).requires_grad_()
        weights = (each.gate_up.weight, each.down.weight)
        if kernel:
            assert fused.serves(rows, inner)
            mixed = fused.mix_and_norm(rows, *weights, RMS_EPS)[0]
        else:
            mixed = rms_norm(rows + each.along_the_first(rows), axis=0)
        return [mixed, *torch.autograd.grad((mixed * towards).sum(), (rows, *weights))]

    ours, plain = numbers(True, torch.bfloat16), numbers(False, torch.bfloat16)
    for fast, slow, exact in zip(ours, plain, numbers(False, torch.float32), strict=True):
        fast, slow, exact = (each.detach() for each in (fast, slow, exact))
        assert relative_error(fast, exact) <= 2 * relative_error(slow, exact) + 2.0**-8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize(("rows", "D", "inner"), [(1000, 512, 1536), (97, 64, 64)])
def test_on_a_gpu_the_channels_hidden_is_no_further_from_float32_than_the_plain_path(
    rows: int, D: int, inner: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    x, towards = (torch.randn(rows, n, generator=generator).bfloat16().cuda() for n in (D, inner))
    weight = (torch.randn(2 * inner, D, generator=generator) / D**0.5).bfloat16().cuda()

    def numbers(kernel: bool, dtype: torch.dtype) -> list[torch.Tensor]:
        inputs = [each.to(dtype).requires_grad_() for each in (x, weight)]
        if kernel:
            hidden = fused.hidden_of(*inputs)
        else:
            gate, up = torch.nn.functional.linear(*inputs).chunk(2, dim=-1)
            hidden = torch.nn.functional.silu(gate) * up
        return [hidden, *torch.autograd.grad((hidden * towards).sum(), inputs)]

    ours, plain, exact = (numbers(*of) for of in ((True, x.dtype), (False, x.dtype), (False, torch.float32)))
    with torch.no_grad():
        written_never = fused.hidden_of(x, weight)
    pairs = [*zip(ours, plain, exact, strict=True), (written_never, plain[0], exact[0])]
    for fast, slow, right in pairs:
        fast, slow, right = (each.detach() for each in (fast, slow, right))
        assert relative_error(fast, right) <= 2 * relative_error(slow, right) + 2.0**-8
