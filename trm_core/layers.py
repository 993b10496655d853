"""The network's parts: linear, SwiGLU, attention with RoPE, the MLP mixer, one layer. Initialised in model.py.

Shapes: B puzzles, L positions (puzzle prefix and cells), D channels, H heads.
Weights are float32 and are cast to the activations' dtype where they are used, as in the released code.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trm_core import fused
from trm_core.settings import ModelSettings

ROPE_THETA = 10_000.0
RMS_EPS = 1e-5


def at_least_float32(x: Tensor) -> Tensor:
    """bf16 → float32, where rounding would show; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def rms_norm(x: Tensor, axis: int = -1) -> Tensor:
    """x over the root mean square along an axis; no learnt gain, float32 inside (released code, layers.py)."""
    x32 = at_least_float32(x)
    return (x32 * torch.rsqrt(x32.square().mean(axis, keepdim=True) + RMS_EPS)).to(x.dtype)


class Linear(nn.Module):
    """x W^T (+ b), weights cast to x's dtype."""

    def __init__(self, n_in: int, n_out: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in))
        self.bias = nn.Parameter(torch.empty(n_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """[..., n_in] → [..., n_out]."""
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))

    def along_the_first(self, x: Tensor) -> Tensor:
        """[n_in, ...] → [n_out, ...], without the bias: one product, and nothing is transposed or copied for it."""
        weight = self.weight.to(x.dtype)
        return torch.mm(fused.aligned(weight) if x.is_cuda else weight, x.flatten(1)).view(-1, *x.shape[1:])


class SwiGLU(nn.Module):
    """W_down(silu(W_gate x) · W_up x), along the last axis or along the first."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fuses = False  # where the network is compiled (compiled.py)
        self.gate_up = Linear(width, 2 * inner)
        self.down = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] → [..., width]."""
        if self.fuses and fused.serves_channels(x, self.down.weight.shape[1]):
            return self.down(fused.hidden_of(x, self.gate_up.weight.to(x.dtype)))  # type: ignore[no-any-return]
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]

    def along_the_first(self, x: Tensor) -> Tensor:
        """[width, ...] → [width, ...]."""
        gate, up = self.gate_up.along_the_first(x).chunk(2)
        return self.down.along_the_first(F.silu(gate) * up)


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
    """Cosines and signed sines of the rotary embedding, [positions, head_channels] each, float32 (Su et al. 2021).

    Channel i of the first half turns with channel i of the second, so both halves hold the same angles.
    """
    frequencies = 1.0 / ROPE_THETA ** (torch.arange(0, head_channels, 2, dtype=torch.float32) / head_channels)
    angles = torch.outer(torch.arange(positions, dtype=torch.float32), frequencies)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)


def rotate(x: Tensor, cos: Tensor, signed_sin: Tensor) -> Tensor:
    """Rotary position embedding of x [B, L, heads, channels]; cos, signed_sin: [L, heads, channels]; float32 inside."""
    x32 = at_least_float32(x)
    halves_exchanged = x32.roll(x.shape[-1] // 2, -1)
    return (x32 * cos + halves_exchanged * signed_sin).to(x.dtype)


class Attention(nn.Module):
    """Self-attention over all positions; with RoPE, unless positions are learnt."""

    def __init__(self, settings: ModelSettings, positions: int) -> None:
        super().__init__()
        self.n_heads, self.rotates = settings.n_heads, settings.positions == "rope"
        self.qkv = Linear(settings.D, 3 * settings.attention_width)
        self.out = Linear(settings.attention_width, settings.D)
        # A copy for each head of q and k: products over whole rows are several times as fast as over a head's channels.
        both = rope(positions, settings.channels_of_a_head)
        cos, sin = (each.unsqueeze(1).repeat(1, 2 * settings.n_heads, 1) for each in both)
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


def positions_first(x: Tensor) -> Tensor:
    """The same x [B, L, D], laid out in memory as [L, B, D]; x itself where it is.

    So the MLP mixer's products read it as the matrix [L, B·D]. Sums and norms keep the order of their operands, so
    what goes into a recursion in it comes out in it.
    """
    return x.transpose(0, 1).contiguous().transpose(0, 1)


class Layer(nn.Module):
    """Mix the positions, then the channels, each with a residual and a norm after it (post-norm)."""

    def __init__(self, settings: ModelSettings, positions: int) -> None:
        super().__init__()
        self.mix: Attention | SwiGLU = (  # the MLP runs over the sequence axis, with no position encoding (section 4.5)
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
        """[B, L, D] → [B, L, D], with the MLP mixer best as positions_first lays it out, and then so again."""
        attends = isinstance(self.mix, Attention)
        x = rms_norm(x + self.mix(x)) if attends else self.mix_and_norm(x.transpose(0, 1).contiguous())
        x = rms_norm(x + self.mlp(x))
        return x if attends else x.transpose(0, 1)

    def mix_and_norm(self, x: Tensor) -> Tensor:
        """[L, B, D] → [L, B, D]: the mixer's norm runs over the positions too, as in the released code."""
        mix = self.mix
        assert isinstance(mix, SwiGLU)
        if mix.fuses and fused.serves(x, mix.down.weight.shape[1]):
            weights = (linear.weight.to(x.dtype) for linear in (mix.gate_up, mix.down))
            mixed, _ = fused.mix_and_norm(x.flatten(1), *weights, RMS_EPS)
            return mixed.view_as(x)  # type: ignore[no-any-return]
        return rms_norm(x + mix.along_the_first(x), axis=0)


class Network(nn.Module):
    """net: n_layers layers, one after the other."""

    def __init__(self, settings: ModelSettings, positions: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(settings, positions) for _ in range(settings.n_layers))

    def forward(self, x: Tensor, *added: Tensor) -> Tensor:
        """[B, L, D] each → [B, L, D]: net(x + added)."""
        for each in added:
            x = x + each
        for layer in self.layers:
            x = layer(x)
        return x
