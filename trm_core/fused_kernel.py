"""The kernel of fused.py, in Triton. Imported where it runs: Triton is there with torch's CUDA builds alone."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

Block = tuple[int, int, int, int]  # columns, inner rows, warps, stages


@triton.jit  # type: ignore[untyped-decorator]
def _mix_and_norm(  # type: ignore[no-untyped-def]
    x_at, gate_at, up_at, down_at, y_at, scale_at, n_columns, epsilon,
    L: tl.constexpr, PADDED: tl.constexpr, WIDTH: tl.constexpr, COLUMNS: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0).to(tl.int64) * COLUMNS + tl.arange(0, COLUMNS)
    position = tl.arange(0, PADDED)
    at = position[None, :] * n_columns + column[:, None]
    inside = (position[None, :] < L) & (column[:, None] < n_columns)
    x = tl.load(x_at + at, mask=inside, other=0.0)  # [COLUMNS, PADDED]
    total = x.to(tl.float32)
    for start in range(0, WIDTH, INNER):
        inner = start + tl.arange(0, INNER)
        across = position[:, None] * WIDTH + inner[None, :]
        gate = tl.dot(x, tl.load(gate_at + across))  # [COLUMNS, INNER]
        up = tl.dot(x, tl.load(up_at + across))
        hidden = (gate * tl.sigmoid(gate) * up).to(x.dtype)
        total = tl.dot(hidden, tl.load(down_at + inner[:, None] * PADDED + position[None, :]), total)
    scale = tl.rsqrt(tl.sum(total * total, axis=1) / L + epsilon)
    tl.store(y_at + at, (total * scale[:, None]).to(x.dtype), mask=inside)
    tl.store(scale_at + column, scale, mask=column < n_columns)


@triton.jit  # type: ignore[untyped-decorator]
def _mix_and_norm_backward(  # type: ignore[no-untyped-def]
    gradient_at, x_at, y_at, scale_at, gate_at, up_at, down_at, of_x_at, of_sum_at, hidden_at, of_both_at, n_columns,
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
    for start in range(0, WIDTH, INNER):
        inner = start + tl.arange(0, INNER)
        across = position[:, None] * WIDTH + inner[None, :]
        gates, ups = tl.load(gate_at + across), tl.load(up_at + across)  # [PADDED, INNER]
        gate, up = tl.dot(x, gates), tl.dot(x, ups)  # [COLUMNS, INNER]
        of_hidden = tl.dot(of_sum, tl.load(down_at + across))
        sigmoid = tl.sigmoid(gate)
        silu = gate * sigmoid
        of_gate = (of_hidden * up * (sigmoid + silu * (1 - sigmoid))).to(x.dtype)
        of_up = (of_hidden * silu).to(x.dtype)
        wide = inner[None, :].to(tl.int64) * n_columns + column[:, None]
        tl.store(hidden_at + wide, (silu * up).to(x.dtype), mask=there[:, None])
        tl.store(of_both_at + wide, of_gate, mask=there[:, None])
        tl.store(of_both_at + wide + WIDTH * n_columns, of_up, mask=there[:, None])
        of_x = tl.dot(of_gate, tl.trans(gates), of_x)
        of_x = tl.dot(of_up, tl.trans(ups), of_x)
    tl.store(of_x_at + at, of_x.to(x.dtype), mask=inside)


def launch(x: Tensor, gate_up: Tensor, down: Tensor, epsilon: float, block: Block) -> tuple[Tensor, Tensor]:
    """fused.mix_and_norm of a contiguous x [L, N]."""
    L, N = x.shape
    gate, up, lowered = _padded(L, gate_up, down)
    y, scale = torch.empty_like(x), torch.empty(N, dtype=torch.float32, device=x.device)
    columns, inner, warps, stages = block
    _mix_and_norm[(triton.cdiv(N, columns),)](
        x, gate, up, lowered.t().contiguous(), y, scale, N, epsilon,
        L=L, PADDED=len(gate), WIDTH=down.shape[1], COLUMNS=columns, INNER=inner, num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return y, scale


def launch_backward(
    gradient: Tensor, x: Tensor, y: Tensor, scale: Tensor, gate_up: Tensor, down: Tensor, block: Block
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """fused.backward of contiguous [L, N]."""
    L, N = x.shape
    width = down.shape[1]
    gate, up, lowered = _padded(L, gate_up, down)
    of_x, of_sum = torch.empty_like(x), torch.empty_like(x)
    hidden, of_both = x.new_empty(width, N), x.new_empty(2 * width, N)
    columns, inner, warps, stages = block
    _mix_and_norm_backward[(triton.cdiv(N, columns),)](
        gradient, x, y, scale, gate, up, lowered, of_x, of_sum, hidden, of_both, N,
        L=L, PADDED=len(gate), WIDTH=width, COLUMNS=columns, INNER=inner, num_warps=warps, num_stages=stages,
    )  # fmt: skip
    return of_x, of_sum, hidden, of_both


def _padded(L: int, gate_up: Tensor, down: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(gate, up, down), each [positions, I], with zeros for the positions that fill a block."""
    padded = max(16, triton.next_power_of_2(L))
    gate, up = F.pad(gate_up, (0, padded - L)).chunk(2)
    return gate.t().contiguous(), up.t().contiguous(), F.pad(down, (0, 0, 0, padded - L))
