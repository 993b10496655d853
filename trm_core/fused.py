"""What Triton computes of a compiled network on CUDA in bfloat16: the MLP mixer with its norm, the channels' SwiGLU.

A GPU spends most of a plain layer's time on writing and reading what is wide: gate and up, 2·I numbers a row. Here
- the mixer is one kernel with the norm behind it (fused_kernel.py): a block of columns stays on the chip from x to its
  norm, nothing wide is written, and the backward computes gate and up anew;
- the channels' gate and up are multiplied where their products end, and not written at all, where no gradient is asked
  for; where one is, its backward writes both of their gradients in one pass (glu_kernel.py).
It is the same formula (layers.py), rounded less often; tests hold it to the plain path, in Triton's interpreter where
there is no GPU.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

from trm_core.memory import FUSED_INNER, FUSED_POSITIONS

# The fastest blocks measured on an H200 (docs/performance.md).
FORWARD, BACKWARD = (128, 32, 8, 3, 128), (64, 32, 4, 3, None)  # columns and inner rows, warps, stages, registers
PRODUCT = (128, 64, 64, 4, 3)  # rows, inner columns and channels, warps, stages
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # on any device in any precision, slowly: for tests


def is_there() -> bool:
    """Whether Triton is installed, as it is with torch's CUDA builds."""
    return importlib.util.find_spec("triton") is not None


def serves(x: Tensor, inner: int) -> bool:
    """Whether the mixer's kernel takes x [L, …] with this inner width; elsewhere the plain products do."""
    whole = x.numel() // len(x) % 8 == 0  # a row begins where 16 bytes do
    return _of_its_kind(x) and len(x) <= FUSED_POSITIONS and inner % FUSED_INNER == 0 and whole


def serves_channels(x: Tensor, inner: int) -> bool:
    """Whether the channels' kernels take x [..., D] with this inner width."""
    return _of_its_kind(x) and inner % FUSED_INNER == 0 and x.shape[-1] % FUSED_INNER == 0


def _of_its_kind(x: Tensor) -> bool:
    return (x.is_cuda and x.dtype == torch.bfloat16) or INTERPRETED


# --- the MLP mixer and its norm ---------------------------------------------------------------------------------------


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
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x [L, N], gate_up [2·I, L] and down [L, I] from y's. Gate and up are computed again."""
    from trm_core.fused_kernel import launch_backward

    x = x.contiguous()
    of_x, of_sum, hidden, of_both = launch_backward(gradient.contiguous(), x, y, scale, gate_up, down, BACKWARD)
    # Products whose rows are long: L numbers a row, often an odd number of them, a GPU multiplies at half the speed.
    return of_x, torch.mm(x, of_both.t()).t(), torch.mm(of_sum, hidden.t())


@backward.register_fake
def _(
    gradient: Tensor, x: Tensor, y: Tensor, scale: Tensor, gate_up: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    of_x = torch.empty_like(x, memory_format=torch.contiguous_format)
    return of_x, gate_up.new_empty(gate_up.shape[1], len(gate_up)).t(), down.new_empty(down.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, float], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:3], *output)


def _backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
    x, gate_up, down, y, scale = ctx.saved_tensors
    return *backward(gradient, x, y, scale, gate_up, down), None


mix_and_norm.register_autograd(_backward, setup_context=_keep)


def aligned(weight: Tensor) -> Tensor:
    """The same [2·I, L], its long side contiguous: a GPU's fast products take no rows of an odd number of bfloat16."""
    return weight.t().contiguous().t()


# --- the channels' SwiGLU ---------------------------------------------------------------------------------------------


def hidden_of(x: Tensor, gate_up: Tensor) -> Tensor:
    """silu(W_gate x) · W_up x: [..., D] → [..., I]. gate_up: [2·I, D], of x's dtype."""
    if torch.is_grad_enabled():
        return glu(torch.nn.functional.linear(x, gate_up))  # type: ignore[no-any-return]
    return product_and_glu(x, gate_up)  # type: ignore[no-any-return]


@torch.library.custom_op("trm_core::product_and_glu", mutates_args=())
def product_and_glu(x: Tensor, gate_up: Tensor) -> Tensor:
    """hidden_of, of which no gradient is asked for: gate and up are never written."""
    from trm_core.glu_kernel import launch_product

    return launch_product(x.contiguous(), gate_up.contiguous(), PRODUCT)


@product_and_glu.register_fake
def _(x: Tensor, gate_up: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(gate_up) // 2)


@torch.library.custom_op("trm_core::glu", mutates_args=())
def glu(both: Tensor) -> Tensor:
    """silu(gate) · up: [..., 2·I], gate first → [..., I]."""
    from trm_core.glu_kernel import launch_glu

    return launch_glu(both.contiguous())


@glu.register_fake
def _(both: Tensor) -> Tensor:
    return both.new_empty(*both.shape[:-1], both.shape[-1] // 2)


@torch.library.custom_op("trm_core::glu_backward", mutates_args=())
def glu_backward(gradient: Tensor, both: Tensor) -> Tensor:
    """The gradient of both [..., 2·I] from the hidden's [..., I], in one pass."""
    from trm_core.glu_kernel import launch_glu_backward

    return launch_glu_backward(gradient.contiguous(), both.contiguous())


@glu_backward.register_fake
def _(gradient: Tensor, both: Tensor) -> Tensor:
    return torch.empty_like(both, memory_format=torch.contiguous_format)


def _keep_both(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _of_both(ctx: Any, gradient: Tensor) -> Tensor:
    return glu_backward(gradient, *ctx.saved_tensors)  # type: ignore[no-any-return]


glu.register_autograd(_of_both, setup_context=_keep_both)
