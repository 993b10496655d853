"""The arithmetic of the float32 reference numbers: matrix products added in the order in which their BLAS added.

A recursion amplifies rounding. In exact arithmetic (float64) the float32 reference's own logits of the MLP mixer are
3e-5 off after a single supervision step, so two correct float32 programs differ by as much wherever their matrix
products add in another order, and BLAS libraries do. The reference's add one product after the other, each by a fused
multiply-add, in equal blocks of at most 384 products. `SequentialMatmul` does that on any CPU, slowly; with it the
logits of the first step are bit-identical in all variants but the MLP mixer's. There positions come first in memory
(layers.py), silu and the norm meet the numbers in another order than the reference's, and what is left is within the
rounding that the recursion amplifies. It changes no formula: without it the same code runs on the CPU's own BLAS.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

BLOCK = 384  # products that the reference's BLAS adds into one sum before it starts another


def sequential_product(a: Tensor, b: Tensor) -> Tensor:
    """a [M, K] b [N, K] → a b^T [M, N], float32: fused multiply-adds over K in order, in equal blocks of ≤ BLOCK.

    A fused multiply-add rounds once. Float64 holds the product of two float32 exactly, and its sum to 2⁻⁵³.
    """
    K = a.shape[1]
    size = ceil(K / ceil(K / BLOCK))
    a64, b64 = a.double(), b.double().t().contiguous()
    total: Tensor | None = None
    for start in range(0, K, size):
        part = torch.zeros(a.shape[0], b.shape[0])
        for k in range(start, min(start + size, K)):
            part = torch.addcmul(part.double(), a64[:, k : k + 1], b64[k : k + 1]).float()
        total = part if total is None else total + part
    assert total is not None
    return total


class _SequentialLinear(torch.autograd.Function):
    """F.linear without bias by sequential_product, and its two gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """[..., K], [N, K] → [..., N]."""
        ctx.save_for_backward(x, weight)
        return sequential_product(x.reshape(-1, x.shape[-1]), weight).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of x and of the weight."""
        x, weight = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, gradients[0].shape[-1])
        flat = x.reshape(-1, x.shape[-1])
        return sequential_product(gradient, weight.t()).view(x.shape), sequential_product(gradient.t(), flat.t())


class SequentialMatmul(TorchFunctionMode):
    """Inside, every F.linear and torch.mm in float32 on a CPU adds as the reference's BLAS; nothing else changes."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch for every function."""
        if func is torch.mm:  # the MLP mixer's, weight first
            weight, x = args
            return _SequentialLinear.apply(x.t(), weight).t()  # type: ignore[no-untyped-call]
        if func is F.silu and args[0].is_contiguous():  # the MLP mixer's: vectors and their ends as the reference's
            rows = args[0].movedim(0, -1)
            return F.silu(torch.cat((rows, rows), -1)[..., : rows.shape[-1]]).movedim(-1, 0)
        if func is not F.linear:
            return func(*args, **(kwargs or {}))
        x, weight, *rest = args
        bias = rest[0] if rest else (kwargs or {}).get("bias")
        product = _SequentialLinear.apply(x, weight)  # type: ignore[no-untyped-call]
        return product if bias is None else product + bias
