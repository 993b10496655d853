"""The matrix products of a training step and nothing else: what no program of this arithmetic can be faster than."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from trm_core.config import RunConfig

ROW = 8  # numbers; of bf16 16 bytes, which tensor cores read at once


class Operands(NamedTuple):
    """x · wᵀ = y, and what its backward gives."""

    x: Tensor
    w: Tensor
    y: Tensor
    dx: Tensor
    dw: Tensor


class Product(NamedTuple):
    """x [batch, rows, n_in] · wᵀ [batch, n_in, n_out], so many times a step; its backward is two of the same size."""

    name: str
    rows: int
    n_in: int
    n_out: int
    forward: int  # times a step
    backward: int
    batch: int = 1

    @property
    def flops(self) -> int:
        """Operations of a step, 2 per multiply-add."""
        return 2 * self.batch * self.rows * self.n_in * self.n_out * (self.forward + 2 * self.backward)


def products(run: RunConfig) -> list[Product]:
    """Those of one training step on a whole batch; together run.train_flops() · batch size."""
    m, B, L = run.model, run.train.batch_size, run.sequence
    inner, over = m.inner_width(m.D), m.inner_width(L)
    times = (m.nfp * m.depth, m.recursions_with_gradient * m.n_layers)
    found = [
        Product("channels, gate and up", B * L, m.D, 2 * inner, *times),
        Product("channels, down", B * L, inner, m.D, *times),
    ]
    if m.mixer == "mlp":
        found += [
            Product("positions, gate and up", B * m.D, L, 2 * over, *times),
            Product("positions, down", B * m.D, over, L, *times),
        ]
    else:
        width, c = m.attention_width, m.channels_of_a_head
        found += [
            Product("q, k, v", B * L, m.D, 3 * width, *times),
            Product("q · kᵀ", L, c, L, *times, batch=B * m.n_heads),
            Product("softmax · v", L, L, c, *times, batch=B * m.n_heads),
            Product("attention, out", B * L, width, m.D, *times),
        ]
    return [*found, Product("output head", B * run.data.cells, m.D, run.data.vocabulary, m.nfp, 1)]


class BareProducts:
    """take_step() computes the products of one step on random numbers.

    Rows are padded in memory to a multiple of ROW numbers: a GPU multiplies rows of 97 at a fraction of its speed.
    """

    def __init__(self, run: RunConfig, device: torch.device) -> None:
        dtype = torch.bfloat16 if run.train.precision == "bf16" else torch.float32
        generator = torch.Generator(device).manual_seed(0)

        def random(*shape: int) -> Tensor:
            *rest, n = shape
            padded = (*rest, -(-n // ROW) * ROW)
            return torch.randn(padded, device=device, dtype=dtype, generator=generator)[..., :n].mul_(n**-0.5)

        self.operands = {p: self._operands(p, random) for p in products(run)}

    @staticmethod
    def _operands(p: Product, random: Callable[..., Tensor]) -> Operands:
        batch = (p.batch,) if p.batch > 1 else ()
        shapes = ((p.rows, p.n_in), (p.n_out, p.n_in), (p.rows, p.n_out))
        x, w, y = (random(*batch, *shape) for shape in shapes)
        return Operands(x, w, y, random(*x.shape), random(*w.shape))

    @torch.no_grad()
    def take_step(self) -> None:
        """Every product as often as a step does."""
        for p, (x, w, y, dx, dw) in self.operands.items():
            for _ in range(p.forward):
                torch.matmul(x, w.mT, out=y)
            for _ in range(p.backward):
                torch.matmul(y, w, out=dx)
                torch.matmul(y.mT, x, out=dw)
