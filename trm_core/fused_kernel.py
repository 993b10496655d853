"""The mixer's kernels of fused.py, in Triton. Imported where they run: Triton is there with torch's CUDA builds alone.

A block is COLUMNS of the N columns, with all L positions, filled up with zeros to PADDED; it goes through the inner
width INNER rows at a time. Weights come in through descriptors, on Hopper by its own copies.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

Block = tuple[int, int, int, int, int | None]  # columns, inner rows, warps, stages, registers a thread

FAST = tl.constexpr(not triton.knobs.runtime.interpret)  # the interpreter knows no PTX


@triton.jit
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + e^-x) = (1 + tanh(x/2)) / 2 by the chip's own tanh: one operation for two, right to 2^-11."""
    if FAST:
        half = tl.inline_asm_elementwise(
            "tanh.approx.f32 $0, $1;", "=f,f", [0.5 * x], dtype=tl.float32, is_pure=True, pack=1
        )
        return 0.5 * half + 0.5
    return tl.sigmoid(x)


@triton.jit  # type: ignore[untyped-decorator]
def _prepare(  # type: ignore[no-untyped-def]
    gate_up_at, down_at, wide_at, down_rows_at, by_row, by_position, by_down_row, by_down_inner,
    L: tl.constexpr, PADDED: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    position = tl.arange(0, PADDED)
    inside = position < L
    gate_up = tl.load(gate_up_at + row * by_row + position * by_position, mask=inside, other=0.0)
    tl.store(wide_at + row * PADDED + position, gate_up)
    if row < WIDTH:
        down = tl.load(down_at + position * by_down_row + row * by_down_inner, mask=inside, other=0.0)
        tl.store(down_rows_at + row * PADDED + position, down)


@triton.jit  # type: ignore[untyped-decorator]
def _mix_and_norm(  # type: ignore[no-untyped-def]
    x_at, wide, down, y_at, scale_at, n_columns, epsilon,
    L: tl.constexpr, PADDED: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    position = tl.arange(0, PADDED)
    at = position[None, :] * n_columns + column[:, None]
    inside = (position[None, :] < L) & (column[:, None] < n_columns)
    x = tl.load(x_at + at, mask=inside, other=0.0)  # [COLUMNS, PADDED]
    total = x.to(tl.float32)
    for inner in range(0, WIDTH, INNER):
        gate = tl.dot(x, wide.load([inner, 0]).T)  # [COLUMNS, INNER]
        up = tl.dot(x, wide.load([WIDTH + inner, 0]).T)
        total = tl.dot((gate * sigmoid(gate) * up).to(x.dtype), down.load([inner, 0]), total)
    scale = tl.rsqrt(tl.sum(total * total, axis=1) / L + epsilon)
    tl.store(y_at + at, (total * scale[:, None]).to(x.dtype), mask=inside)
    tl.store(scale_at + column, scale, mask=column < n_columns)


@triton.jit  # type: ignore[untyped-decorator]
def _mix_and_norm_backward(  # type: ignore[no-untyped-def]
    gradient_at, x_at, y_at, scale_at, wide, down, of_x_at, of_sum_at, hidden_at, of_both_at, n_columns,
    L: tl.constexpr, PADDED: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    position = tl.arange(0, PADDED)
    there = column < n_columns
    at = position[None, :] * n_columns + column[:, None]
    inside = (position[None, :] < L) & there[:, None]
    gradient = tl.load(gradient_at + at, mask=inside, other=0.0).to(tl.float32)
    y = tl.load(y_at + at, mask=inside, other=0.0).to(tl.float32)
    scale = tl.load(scale_at + column, mask=there, other=0.0)
    of_x = scale[:, None] * (gradient - y * (tl.sum(gradient * y, axis=1) / L)[:, None])  # through the norm
    x = tl.load(x_at + at, mask=inside, other=0.0)
    of_sum = of_x.to(x.dtype)
    tl.store(of_sum_at + at, of_sum, mask=inside)
    for inner in range(0, WIDTH, INNER):
        gates, ups = wide.load([inner, 0]), wide.load([WIDTH + inner, 0])  # [INNER, PADDED]
        gate, up = tl.dot(x, gates.T), tl.dot(x, ups.T)  # [COLUMNS, INNER]
        of_hidden = tl.dot(of_sum, down.load([inner, 0]).T)
        share = sigmoid(gate)
        silu = gate * share
        of_gate = (of_hidden * up * (share + silu * (1 - share))).to(x.dtype)
        of_up = (of_hidden * silu).to(x.dtype)
        at_wide = (inner + tl.arange(0, INNER))[None, :].to(tl.int64) * n_columns + column[:, None]
        tl.store(hidden_at + at_wide, (silu * up).to(x.dtype), mask=there[:, None])
        tl.store(of_both_at + at_wide, of_gate, mask=there[:, None])
        tl.store(of_both_at + at_wide + WIDTH * n_columns, of_up, mask=there[:, None])
        of_x = tl.dot(of_gate, gates, of_x)
        of_x = tl.dot(of_up, ups, of_x)
    tl.store(of_x_at + at, of_x.to(x.dtype), mask=inside)


def launch(x: Tensor, gate_up: Tensor, down: Tensor, epsilon: float, block: Block) -> tuple[Tensor, Tensor]:
    """fused.mix_and_norm of a contiguous x [L, N]."""
    L, N = x.shape
    columns, inner, warps, stages, registers = block
    wide, down_rows = _padded(L, gate_up, down)
    y, scale = torch.empty_like(x), torch.empty(N, dtype=torch.float32, device=x.device)
    _mix_and_norm[(triton.cdiv(N, columns),)](
        x, _rows_of(wide, inner), _rows_of(down_rows, inner), y, scale, N, epsilon,
        L=L, PADDED=wide.shape[1], WIDTH=down.shape[1], COLUMNS=columns, INNER=inner,
        num_warps=warps, num_stages=stages, maxnreg=registers,
    )  # fmt: skip
    return y, scale


def launch_backward(
    gradient: Tensor, x: Tensor, y: Tensor, scale: Tensor, gate_up: Tensor, down: Tensor, block: Block
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of contiguous [L, N]: gradients of x and of the sum that is normed, [L, N]; the hidden [I, N]; of gate and up."""
    L, N = x.shape
    columns, inner, warps, stages, registers = block
    width = down.shape[1]
    wide, down_rows = _padded(L, gate_up, down)
    of_x, of_sum = torch.empty_like(x), torch.empty_like(x)
    hidden, of_both = x.new_empty(width, N), x.new_empty(2 * width, N)
    _mix_and_norm_backward[(triton.cdiv(N, columns),)](
        gradient, x, y, scale, _rows_of(wide, inner), _rows_of(down_rows, inner), of_x, of_sum, hidden, of_both, N,
        L=L, PADDED=wide.shape[1], WIDTH=width, COLUMNS=columns, INNER=inner,
        num_warps=warps, num_stages=stages, maxnreg=registers,
    )  # fmt: skip
    return of_x, of_sum, hidden, of_both


def _padded(L: int, gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """(gate and up [2·I, positions], down [I, positions]), with zeros for the positions that fill a block."""
    padded, width = max(16, triton.next_power_of_2(L)), down.shape[1]
    wide, down_rows = gate_up.new_empty(2 * width, padded), gate_up.new_empty(width, padded)
    strides = (*gate_up.stride(), *down.stride())
    _prepare[(2 * width,)](gate_up, down, wide, down_rows, *strides, L=L, PADDED=padded, WIDTH=width)
    return wide, down_rows


def _rows_of(matrix: Tensor, rows: int) -> TensorDescriptor:
    return TensorDescriptor.from_tensor(matrix, [rows, matrix.shape[1]])
