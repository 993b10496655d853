"""The network's parts: linear, SwiGLU, attention with RoPE, the MLP mixer, one layer. Initialised in model.py.

Shapes: B puzzles, L positions (puzzle prefix and cells), D channels, H heads.
Weights are float32 and are cast to the activations' dtype where they are used, as in the released code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trm_core.config import ModelSettings

ROPE_THETA = 10_000.0
RMS_EPS = 1e-5


def at_least_float32(x: Tensor) -> Tensor:
    """bf16 → float32, where rounding would show; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def rms_norm(x: Tensor) -> Tensor:
    """x over the root mean square of its last axis; no learnt gain, float32 inside (released code, layers.py)."""
    x32 = at_least_float32(x)
    return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + RMS_EPS)).to(x.dtype)


class Linear(nn.Module):
    """x W^T (+ b), weights cast to x's dtype."""

    def __init__(self, n_in: int, n_out: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in))
        self.bias = nn.Parameter(torch.empty(n_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[..., n_in] → [..., n_out]."""
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class SwiGLU(nn.Module):
    """W_down(silu(W_gate x) · W_up x), along the last axis."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = Linear(width, 2 * inner)
        self.down = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] → [..., width]."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]


class MixtureOfExperts(nn.Module):
    """Several SwiGLUs; each position takes the few that a linear router likes best (paper, appendix: it failed).

    The paper gives no details; this is the plain form: softmax over the chosen experts' scores, no balancing loss.
    Every expert is computed at every position and those not chosen are weighed by zero.
    """

    def __init__(self, width: int, inner: int, n_experts: int, experts_per_token: int) -> None:
        super().__init__()
        self.router = Linear(width, n_experts)
        self.experts = nn.ModuleList(SwiGLU(width, inner) for _ in range(n_experts))
        self.experts_per_token = experts_per_token

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] → [..., width]."""
        scores = at_least_float32(self.router(x))
        best, chosen = scores.topk(self.experts_per_token, dim=-1)
        weights = torch.zeros_like(scores).scatter(-1, chosen, best.softmax(-1)).to(x.dtype)
        out = torch.zeros_like(x)
        for i, expert in enumerate(self.experts):
            out = out + weights[..., i : i + 1] * expert(x)
        return out


def rope(positions: int, head_channels: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding, [positions, head_channels / 2] each, float32 (Su et al. 2021)."""
    frequencies = 1.0 / ROPE_THETA ** (torch.arange(0, head_channels, 2, dtype=torch.float32) / head_channels)
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding of x [B, L, any number of heads, channels]; float32 inside."""
    first, second = at_least_float32(x).chunk(2, dim=-1)
    cos, sin = cos.unsqueeze(-2), sin.unsqueeze(-2)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Self-attention over all positions; with RoPE, unless positions are learnt."""

    def __init__(self, settings: ModelSettings, positions: int) -> None:
        super().__init__()
        self.n_heads, self.rotates = settings.n_heads, settings.positions == "rope"
        self.qkv = Linear(settings.D, 3 * settings.attention_width)
        self.out = Linear(settings.attention_width, settings.D)
        cos, sin = rope(positions, settings.channels_of_a_head)
        self.cos = nn.Buffer(cos, persistent=False)
        self.sin = nn.Buffer(sin, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] → [B, L, D]."""
        B, L, _ = x.shape
        heads = self.qkv(x).view(B, L, 3 * self.n_heads, -1)
        qk, v = heads[:, :, : 2 * self.n_heads], heads[:, :, 2 * self.n_heads :]
        if self.rotates:
            qk = rotate(qk, self.cos, self.sin)
        q, k = qk.chunk(2, dim=2)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return self.out(mixed.transpose(1, 2).reshape(B, L, -1))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Mix the positions, then the channels, each with a residual and a norm after it (post-norm)."""

    def __init__(self, settings: ModelSettings, positions: int) -> None:
        super().__init__()
        self.mixer = settings.mixer
        self.mix: nn.Module = (  # the MLP runs over the sequence axis, with no position encoding (section 4.5)
            Attention(settings, positions)
            if settings.mixer == "attention"
            else SwiGLU(positions, settings.inner_width(positions))
        )
        inner = settings.inner_width(settings.D)
        self.mlp: nn.Module = (
            SwiGLU(settings.D, inner)
            if settings.channel_mlp == "swiglu"
            else MixtureOfExperts(settings.D, inner, settings.n_experts, settings.experts_per_token)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] → [B, L, D]."""
        if self.mixer == "attention":
            x = rms_norm(x + self.mix(x))
        else:
            x = x.transpose(1, 2)  # the mixer's norm runs over the positions too, as in the released code
            x = rms_norm(x + self.mix(x)).transpose(1, 2)
        return rms_norm(x + self.mlp(x))


class Network(nn.Module):
    """net: n_layers layers, one after the other."""

    def __init__(self, settings: ModelSettings, positions: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(settings, positions) for _ in range(settings.n_layers))

    def forward(self, x: Tensor) -> Tensor:
        """[B, L, D] → [B, L, D]."""
        for layer in self.layers:
            x = layer(x)
        return x
