"""The training step of the released code, written anew from what is published of it: the baseline of train_step.py.

Neither slowed nor tuned. As there: every weight is cast to bf16 where it is used, the MLP mixer runs on transposed
hidden states, the batch is copied to the device within the step, the metrics are read back at the end of each, and
`torch.compile` takes the whole model with its loss. Its AdamATan2 is a package with one fused CUDA kernel; torch's
foreach stands in for it. Names are the released tensors', so that official.to_theirs gives the same weights to both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trm_core.config import RunConfig
from trm_core.official import PREFIX, to_theirs
from trm_core.settings import ModelSettings

IGNORE = -100
Data = dict[str, Tensor]  # inputs and labels int32 [B, cells], puzzle_identifiers int32 [B]


def rms_norm(h: Tensor) -> Tensor:
    """Post-norm without a gain, float32 inside."""
    dtype, h = h.dtype, h.float()
    return (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-5)).to(dtype)


class CastLinear(nn.Module):
    """A linear layer whose float32 weights are cast at each use."""

    def __init__(self, n_in: int, n_out: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_out, n_in))
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None

    def forward(self, h: Tensor) -> Tensor:
        """[..., n_in] → [..., n_out]."""
        return F.linear(h, self.weight.to(h.dtype), None if self.bias is None else self.bias.to(h.dtype))


class SwiGLU(nn.Module):
    """Gate and up in one product, cut in two."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up_proj = CastLinear(width, 2 * inner)
        self.down_proj = CastLinear(inner, width)

    def forward(self, h: Tensor) -> Tensor:
        """[..., width] → [..., width]."""
        gate, up = self.gate_up_proj(h).chunk(2, dim=-1)
        return cast(Tensor, self.down_proj(F.silu(gate) * up))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """RoPE of [B, L, heads, channels], in the tables' float32."""
    dtype, x = x.dtype, x.to(cos.dtype)
    first, second = x.chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return (x * cos.unsqueeze(-2) + turned * sin.unsqueeze(-2)).to(dtype)


class Attention(nn.Module):
    """Self-attention over all positions."""

    def __init__(self, D: int, heads: int, width: int) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.qkv_proj = CastLinear(D, 3 * width)
        self.o_proj = CastLinear(width, D)

    def forward(self, h: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[B, L, D] → [B, L, D]."""
        B, L, _ = h.shape
        qkv = self.qkv_proj(h).view(B, L, 3 * self.heads, self.width // self.heads)
        q, k, v = qkv[:, :, : self.heads], qkv[:, :, self.heads : 2 * self.heads], qkv[:, :, 2 * self.heads :]
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return cast(Tensor, self.o_proj(mixed.transpose(1, 2).reshape(B, L, self.width)))


class Block(nn.Module):
    """Mix, norm, MLP, norm."""

    def __init__(self, m: ModelSettings, positions: int) -> None:
        super().__init__()
        if m.mixer == "mlp":
            self.mlp_t = SwiGLU(positions, m.inner_width(positions))
        else:
            self.self_attn = Attention(m.D, m.n_heads, m.attention_width)
        self.transposes = m.mixer == "mlp"
        self.mlp = SwiGLU(m.D, m.inner_width(m.D))

    def forward(self, h: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[B, L, D] → [B, L, D]."""
        if self.transposes:
            h = h.transpose(1, 2)
            h = rms_norm(h + self.mlp_t(h)).transpose(1, 2)
        else:
            h = rms_norm(h + self.self_attn(h, cos, sin))
        return rms_norm(h + self.mlp(h))


class Level(nn.Module):
    """The layers of one network, behind the addition of what is injected."""

    def __init__(self, m: ModelSettings, positions: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Block(m, positions) for _ in range(m.n_layers))

    def forward(self, h: Tensor, injected: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[B, L, D] → [B, L, D]."""
        h = h + injected
        for layer in self.layers:
            h = layer(h, cos, sin)
        return h


class TokenEmbedding(nn.Module):
    """A table of tokens, cast at each use."""

    def __init__(self, vocabulary: int, D: int) -> None:
        super().__init__()
        self.embedding_weight = nn.Parameter(torch.zeros(vocabulary, D))

    def forward(self, tokens: Tensor, dtype: torch.dtype) -> Tensor:
        """[B, cells] → [B, cells, D]."""
        return F.embedding(tokens, self.embedding_weight.to(dtype))


class PuzzleEmbedding(nn.Module):
    """The rows that a batch met are copied into a leaf of their own, whose gradient SignSGD reads."""

    def __init__(self, n_ids: int, D: int, B: int) -> None:
        super().__init__()
        self.weights = nn.Buffer(torch.zeros(n_ids, D))
        self.local_weights = nn.Buffer(torch.zeros(B, D, requires_grad=True), persistent=False)
        self.local_ids = nn.Buffer(torch.zeros(B, dtype=torch.int32), persistent=False)

    def forward(self, ids: Tensor, dtype: torch.dtype) -> Tensor:
        """[B] → [B, D]."""
        with torch.no_grad():
            self.local_weights.copy_(self.weights[ids])
            self.local_ids.copy_(ids)
        return self.local_weights.to(dtype)


class Inner(nn.Module):
    """One supervision step: embedding, H_cycles of L_cycles, heads."""

    def __init__(self, run: RunConfig, n_ids: int) -> None:
        super().__init__()
        m, positions = run.model, run.sequence
        self.H_cycles, self.L_cycles, self.prefix = m.T, m.n, m.puzzle_prefix
        self.one_step = m.gradient == "one step"  # HRM; else TRM
        self.scale = math.sqrt(m.D)
        self.dtype = torch.bfloat16 if run.train.precision == "bf16" else torch.float32
        self.embed_tokens = TokenEmbedding(run.data.vocabulary, m.D)
        self.puzzle_emb = PuzzleEmbedding(n_ids, m.D, run.train.batch_size)
        self.lm_head = CastLinear(m.D, run.data.vocabulary)
        self.q_head = CastLinear(m.D, 2, bias=True)
        self.L_level = Level(m, positions)
        self.separate = m.networks == "separate"
        if self.separate:
            self.H_level = Level(m, positions)
        self.H_init = nn.Buffer(torch.zeros(m.D, dtype=self.dtype))
        self.L_init = nn.Buffer(torch.zeros(m.D, dtype=self.dtype))
        channels = m.channels_of_a_head
        frequencies = 1.0 / 10_000.0 ** (torch.arange(0, channels, 2, dtype=torch.float32) / channels)
        angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies)
        angles = torch.cat((angles, angles), dim=-1)
        self.cos = nn.Buffer(angles.cos(), persistent=False)
        self.sin = nn.Buffer(angles.sin(), persistent=False)

    def embed(self, data: Data) -> Tensor:
        """x [B, L, D], the puzzle's vector padded to the prefix in front."""
        x = self.embed_tokens(data["inputs"], self.dtype)
        vector = self.puzzle_emb(data["puzzle_identifiers"], self.dtype)
        D = vector.shape[-1]
        vector = F.pad(vector, (0, (self.prefix - 1) * D)).view(-1, self.prefix, D)
        return self.scale * torch.cat((vector, x), dim=-2)

    def refine_low(self, z_H: Tensor, z_L: Tensor, x: Tensor) -> Tensor:
        """z_L of z_L, z_H and x."""
        return cast(Tensor, self.L_level(z_L, z_H + x, self.cos, self.sin))

    def refine_high(self, z_H: Tensor, z_L: Tensor) -> Tensor:
        """z_H of z_H and z_L: by the same network in TRM, by another in HRM."""
        level = self.H_level if self.separate else self.L_level
        return cast(Tensor, level(z_H, z_L, self.cos, self.sin))

    def forward(self, z_H: Tensor, z_L: Tensor, data: Data) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(z_H, z_L) detached, logits [B, cells, V], q [B, 2] float32."""
        x = self.embed(data)
        if self.one_step:  # all but the last call of each network without gradient
            with torch.no_grad():
                for cycle in reversed(range(self.H_cycles)):
                    for _ in range(self.L_cycles if cycle else self.L_cycles - 1):
                        z_L = self.refine_low(z_H, z_L, x)
                    if cycle:
                        z_H = self.refine_high(z_H, z_L)
            z_L = self.refine_low(z_H, z_L, x)
            z_H = self.refine_high(z_H, z_L)
        else:
            with torch.no_grad():
                for _ in range(self.H_cycles - 1):
                    for _ in range(self.L_cycles):
                        z_L = self.refine_low(z_H, z_L, x)
                    z_H = self.refine_high(z_H, z_L)
            for _ in range(self.L_cycles):
                z_L = self.refine_low(z_H, z_L, x)
            z_H = self.refine_high(z_H, z_L)
        logits = self.lm_head(z_H)[:, self.prefix :]
        return z_H.detach(), z_L.detach(), logits, self.q_head(z_H[:, 0]).float()


@dataclass
class Carry:
    """What lives from one step to the next."""

    z_H: Tensor  # [B, L, D]
    z_L: Tensor
    steps: Tensor  # int32 [B]
    halted: Tensor  # bool [B]
    current: Data


class LossHead(nn.Module):
    """The model with its halting and its losses: what the released trainer compiles."""

    def __init__(self, run: RunConfig, n_ids: int) -> None:
        super().__init__()
        self.inner = Inner(run, n_ids)
        self.N_sup, self.exploration = run.model.N_sup, run.model.exploration
        self.learns_to_continue = run.model.halting == "q_learning"

    def forward(self, carry: Carry, batch: Data) -> tuple[Carry, Tensor, Data]:
        """Next carry, loss summed over the batch, metrics summed over the puzzles that halted."""
        halted, inner = carry.halted, self.inner
        z_H = torch.where(halted.view(-1, 1, 1), inner.H_init, carry.z_H)
        z_L = torch.where(halted.view(-1, 1, 1), inner.L_init, carry.z_L)
        steps = torch.where(halted, 0, carry.steps)
        current = {
            name: torch.where(halted.view(-1, *(1,) * (old.ndim - 1)), batch[name], old)
            for name, old in carry.current.items()
        }
        z_H, z_L, logits, q = inner(z_H, z_L, current)
        q_halt, q_continue = q[:, 0], q[:, 1]
        target: Tensor | None = None
        with torch.no_grad():
            steps = steps + 1
            last = steps >= self.N_sup
            halted = last
            if self.N_sup > 1:
                halted = halted | (q_halt > q_continue if self.learns_to_continue else q_halt > 0)
                least = torch.randint_like(steps, low=2, high=self.N_sup + 1)
                halted = halted & (steps >= (torch.rand_like(q_halt) < self.exploration) * least)
                if self.learns_to_continue:
                    next_q = inner(z_H, z_L, current)[-1]
                    target = torch.sigmoid(torch.where(last, next_q[:, 0], torch.maximum(next_q[:, 0], next_q[:, 1])))

        labels = current["labels"].long()
        mask = labels != IGNORE
        with torch.no_grad():
            counts = mask.sum(-1)
            right = mask & (logits.argmax(-1) == labels)
            exact = right.sum(-1) == counts
            valid = halted & (counts > 0)
        lm_loss = (stablemax_loss(logits, labels, mask) / counts.clamp_min(1).unsqueeze(-1)).sum()
        halt_loss = F.binary_cross_entropy_with_logits(q_halt, exact.to(q.dtype), reduction="sum")
        metrics = {
            "count": valid.sum(),
            "accuracy": (valid * (right.float() / counts.clamp_min(1).unsqueeze(-1)).sum(-1)).sum(),
            "exact_accuracy": (valid & exact).sum(),
            "q_halt_accuracy": (valid & ((q_halt >= 0) == exact)).sum(),
            "steps": (valid * steps).sum(),
            "lm_loss": lm_loss.detach(),
            "q_halt_loss": halt_loss.detach(),
        }
        loss = halt_loss
        if target is not None:
            loss = loss + F.binary_cross_entropy_with_logits(q_continue, target, reduction="sum")
        return Carry(z_H, z_L, steps, halted, current), lm_loss + 0.5 * loss, metrics


def stablemax_loss(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Nats per cell, zero where masked; float64 inside."""
    x = logits.double()
    s = torch.where(x < 0, 1 / (1 - x + 1e-30), x + 1)
    log_p = torch.log(s / s.sum(-1, keepdim=True))
    chosen = log_p.gather(-1, torch.where(mask, labels, 0).unsqueeze(-1)).squeeze(-1)
    return -torch.where(mask, chosen, 0)


class ReleasedStep:
    """A training run of the released code under way. take_step() is one optimiser step."""

    def __init__(
        self, run: RunConfig, batches: Iterator[Data], weights: dict[str, Tensor], device: torch.device
    ) -> None:
        """batches: on the CPU, as a dataloader's worker hands them over. weights: of a model of ours."""
        self.run, self.batches, self.device = run, batches, device
        theirs = {name.removeprefix(PREFIX): value for name, value in to_theirs(weights, run.model).items()}
        self.model = LossHead(run, len(theirs["puzzle_emb.weights"]))
        self.model.inner.load_state_dict(theirs)
        self.model.to(device)
        local = self.model.inner.puzzle_emb.local_weights
        local.detach_().requires_grad_()  # a leaf again, wherever it went
        self.forward: Callable[..., tuple[Carry, Tensor, Data]] = self.model
        self.parameters = list(self.model.parameters())
        self.moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]
        self.shadow = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.carry: Carry | None = None
        self.step = 0
        self.metrics: dict[str, float] = {}

    def compile(self) -> None:
        """As the released trainer compiles: the whole model with its loss, shapes fixed."""
        self.forward = cast(Callable[..., tuple[Carry, Tensor, Data]], torch.compile(self.model, dynamic=False))

    def take_step(self) -> None:
        """Batch to the device, forward, backward, both optimisers, metrics to the host, EMA."""
        batch = {name: tensor.to(self.device) for name, tensor in next(self.batches).items()}
        if self.carry is None:
            self.carry = self.first_carry(batch)
        self.carry, loss, metrics = self.forward(self.carry, batch)
        (loss / self.run.train.batch_size).backward()  # type: ignore[no-untyped-call]
        self.step += 1
        optim = self.run.optim
        factor = min(1.0, self.step / max(1, optim.warmup_steps))
        self._sign_sgd(optim.embedding_lr * factor, optim.embedding_weight_decay)
        self._adam_atan2(optim.lr * factor)
        names = sorted(metrics)
        values = torch.stack([metrics[name].double() for name in names]).cpu().tolist()
        self.metrics = dict(zip(names, values, strict=True))
        if optim.ema is not None:
            for name, parameter in self.model.named_parameters():
                self.shadow[name] = (1 - optim.ema) * parameter.data + optim.ema * self.shadow[name]

    def first_carry(self, batch: Data) -> Carry:
        """All halted: the first step fills them."""
        B, inner = self.run.train.batch_size, self.model.inner
        z = torch.zeros(B, self.run.sequence, self.run.model.D, dtype=inner.dtype, device=self.device)
        steps = torch.zeros(B, dtype=torch.int32, device=self.device)
        halted = torch.ones(B, dtype=torch.bool, device=self.device)
        return Carry(z, z.clone(), steps, halted, {name: torch.zeros_like(value) for name, value in batch.items()})

    @torch.no_grad()
    def _sign_sgd(self, lr: float, weight_decay: float) -> None:
        embedding = self.model.inner.puzzle_emb
        gradient = embedding.local_weights.grad
        assert gradient is not None
        ids, places = torch.unique(embedding.local_ids, return_inverse=True)
        total = torch.zeros(len(ids), gradient.shape[1], dtype=gradient.dtype, device=self.device)
        total.scatter_add_(0, places.unsqueeze(-1).expand_as(gradient), gradient)
        rows = embedding.weights[ids]
        embedding.weights[ids] = rows.mul_(1 - lr * weight_decay).add_(total.sign_(), alpha=-lr)
        embedding.local_weights.grad = None

    @torch.no_grad()
    def _adam_atan2(self, lr: float) -> None:
        optim = self.run.optim
        beta1, beta2 = optim.beta1, optim.beta2
        gradients = [cast(Tensor, p.grad) for p in self.parameters]
        m, v = map(list, zip(*self.moments, strict=True))
        weights: list[Tensor] = list(self.parameters)
        torch._foreach_mul_(weights, 1 - lr * optim.weight_decay)
        torch._foreach_lerp_(m, gradients, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, gradients, gradients, value=1 - beta2)
        scale = torch._foreach_sqrt(v)
        torch._foreach_div_(scale, math.sqrt(1 - beta2**self.step))
        turns = [torch.atan2(a, b) for a, b in zip(m, scale, strict=True)]
        torch._foreach_add_(weights, turns, alpha=-lr / (1 - beta1**self.step))
        for parameter in self.parameters:
            parameter.grad = None
