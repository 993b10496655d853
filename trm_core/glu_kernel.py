"""The channels' kernels of fused.py, in Triton: gate and up multiplied where their product ends, and gradients."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from trm_core.fused_kernel import sigmoid

Block = tuple[int, int, int, int, int]  # rows, inner columns, channels, warps, stages

ELEMENTS, WARPS = 2048, 4  # of a row at a time; what is read and written once needs no more thought


@triton.jit  # type: ignore[untyped-decorator]
def _product(  # type: ignore[no-untyped-def]
    x, gate_up, hidden,
    D: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, INNER: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    across = WIDTH // INNER  # blocks of the same rows run side by side, and read them once
    row, inner = tl.program_id(0) // across * ROWS, tl.program_id(0) % across * INNER
    gate = tl.zeros((ROWS, INNER), tl.float32)
    up = tl.zeros((ROWS, INNER), tl.float32)
    for channel in range(0, D, CHANNELS):
        rows = x.load([row, channel])
        gate = tl.dot(rows, gate_up.load([inner, channel]).T, gate)
        up = tl.dot(rows, gate_up.load([WIDTH + inner, channel]).T, up)
    hidden.store([row, inner], (gate * sigmoid(gate) * up).to(hidden.dtype))


@triton.jit  # type: ignore[untyped-decorator]
def _glu(both_at, hidden_at, WIDTH: tl.constexpr, ELEMENTS: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    for start in range(0, WIDTH, ELEMENTS):
        i = start + tl.arange(0, ELEMENTS)
        at = both_at + row * 2 * WIDTH + i
        gate = tl.load(at, mask=i < WIDTH, other=0.0).to(tl.float32)
        up = tl.load(at + WIDTH, mask=i < WIDTH, other=0.0).to(tl.float32)
        tl.store(hidden_at + row * WIDTH + i, gate * sigmoid(gate) * up, mask=i < WIDTH)


@triton.jit  # type: ignore[untyped-decorator]
def _glu_backward(  # type: ignore[no-untyped-def]
    gradient_at, both_at, of_both_at, WIDTH: tl.constexpr, ELEMENTS: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64)
    for start in range(0, WIDTH, ELEMENTS):
        i = start + tl.arange(0, ELEMENTS)
        at = row * 2 * WIDTH + i
        gate = tl.load(both_at + at, mask=i < WIDTH, other=0.0).to(tl.float32)
        up = tl.load(both_at + at + WIDTH, mask=i < WIDTH, other=0.0).to(tl.float32)
        gradient = tl.load(gradient_at + row * WIDTH + i, mask=i < WIDTH, other=0.0).to(tl.float32)
        share = sigmoid(gate)
        silu = gate * share
        tl.store(of_both_at + at, gradient * up * (share + silu * (1 - share)), mask=i < WIDTH)
        tl.store(of_both_at + at + WIDTH, gradient * silu, mask=i < WIDTH)


def launch_product(x: Tensor, gate_up: Tensor, block: Block) -> Tensor:
    """fused.product_and_glu of contiguous x [..., D] and gate_up [2·I, D]."""
    rows, inner, channels, warps, stages = block
    D, width = x.shape[-1], len(gate_up) // 2
    flat, hidden = x.view(-1, D), x.new_empty(*x.shape[:-1], width)
    blocks = ((flat, [rows, channels]), (gate_up, [inner, channels]), (hidden.view(-1, width), [rows, inner]))
    grid = (triton.cdiv(len(flat), rows) * (width // inner),)
    _product[grid](
        *(TensorDescriptor.from_tensor(matrix, list(of)) for matrix, of in blocks),
        D=D, WIDTH=width, ROWS=rows, INNER=inner, CHANNELS=channels, num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return hidden


def launch_glu(both: Tensor) -> Tensor:
    """fused.glu of a contiguous [..., 2·I]."""
    width = both.shape[-1] // 2
    hidden = both.new_empty(*both.shape[:-1], width)
    _glu[(hidden.numel() // width,)](both, hidden, WIDTH=width, ELEMENTS=ELEMENTS, num_warps=WARPS)
    return hidden


def launch_glu_backward(gradient: Tensor, both: Tensor) -> Tensor:
    """fused.glu_backward of contiguous [..., I] and [..., 2·I]."""
    width, of_both = gradient.shape[-1], torch.empty_like(both)
    rows = gradient.numel() // width
    _glu_backward[(rows,)](gradient, both, of_both, WIDTH=width, ELEMENTS=ELEMENTS, num_warps=WARPS)
    return of_both
