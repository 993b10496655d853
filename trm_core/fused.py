"""The MLP mixer and the norm behind it in one Triton kernel, bfloat16 on CUDA: what is [L, B·D] is read once.

The plain products write gate and up, 2·I rows of B·D numbers each, and read them again: on a GPU most of the mixer's
time, and most of what the backward keeps. Here a block of columns stays on the chip from x to its norm, nothing wide
is written, and the backward computes gate and up anew. It is the same formula (layers.py, SwiGLU.along_the_first and
rms_norm), rounded less often; tests hold it to the plain path, in Triton's interpreter where there is no GPU.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

from trm_core.memory import FUSED_INNER, FUSED_POSITIONS

# Columns and inner rows of a block, warps, stages: the fastest measured on an H200 (docs/performance.md).
FORWARD, BACKWARD = (128, 64, 8, 3), (128, 32, 8, 3)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # on any device in any precision, slowly: for tests


def is_there() -> bool:
    """Whether Triton is installed, as it is with torch's CUDA builds."""
    return importlib.util.find_spec("triton") is not None


def serves(x: Tensor, inner: int) -> bool:
    """Whether the kernel takes x [L, …] with this inner width; elsewhere the plain products do."""
    of_its_kind = (x.is_cuda and x.dtype == torch.bfloat16) or INTERPRETED
    return of_its_kind and len(x) <= FUSED_POSITIONS and inner % FUSED_INNER == 0


@torch.library.custom_op("trm_core::mix_and_norm", mutates_args=())
def mix_and_norm(x: Tensor, gate_up: Tensor, down: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """(rms_norm along the positions of x + SwiGLU of x along the positions, 1 / its root mean square).

    x: [L, N]. gate_up: [2·I, L]. down: [L, I]; all of one dtype. Returns [L, N] in it and float32 [N].
    """
    from trm_core.fused_kernel import launch

    return launch(x.contiguous(), gate_up, down, epsilon, FORWARD)


@mix_and_norm.register_fake
def _(x: Tensor, gate_up: Tensor, down: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    return torch.empty_like(x, memory_format=torch.contiguous_format), x.new_empty(x.shape[1], dtype=torch.float32)


@torch.library.custom_op("trm_core::mix_and_norm_backward", mutates_args=())
def backward(
    gradient: Tensor, x: Tensor, y: Tensor, scale: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x and of the sum that is normed, both [L, N]; the hidden [I, N]; gradients of gate and up [2·I, N].

    gradient: of y. Gate and up are computed again.
    """
    from trm_core.fused_kernel import launch_backward

    return launch_backward(gradient.contiguous(), x.contiguous(), y, scale, gate_up, down, BACKWARD)


@backward.register_fake
def _(
    gradient: Tensor, x: Tensor, y: Tensor, scale: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    inner, N = down.shape[1], x.shape[1]
    of_x, of_sum = (torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(2))
    return of_x, of_sum, x.new_empty(inner, N), x.new_empty(2 * inner, N)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, float], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:3], *output)


def _backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    x, gate_up, down, y, scale = ctx.saved_tensors
    of_x, of_sum, hidden, of_both = backward(gradient, x, y, scale, gate_up, down)
    return of_x, torch.mm(of_both, x.t()), torch.mm(of_sum, hidden.t()), None


mix_and_norm.register_autograd(_backward, setup_context=_keep)


def aligned(weight: Tensor) -> Tensor:
    """The same [2·I, L], its long side contiguous: a GPU's fast products take no rows of an odd number of bfloat16."""
    return weight.t().contiguous().t()
