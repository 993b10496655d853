"""The recursion, top to bottom: embed x, refine z n times and y once, T times over; two heads read y.

Words and symbols of "Less is More: Recursive Reasoning with Tiny Networks" (arXiv 2510.04871, figures 1 and 3).
Shapes: B puzzles, L positions (puzzle prefix, then cells), D channels, V tokens.
The features are a tuple; the heads read the first:
    features="y,z"            (y, z)            section 4.2
    features="single z"       (z,)              Table 2
    features="multi-scale z"  (y, z1, …, zn)    Table 2
    features="y"              (y,)              direct prediction, Table 4
HRM (arXiv 2506.21734) is networks="separate", gradient="one step", halting="q_learning".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from trm_core.config import RunConfig
from trm_core.curriculum import Depth
from trm_core.layers import Linear, Network, at_least_float32, positions_first
from trm_core.puzzle_embedding import PuzzleEmbedding

Features = tuple[Tensor, ...]  # [B, L, D] each

TRUNCATED_STD = 0.8796256610342398  # standard deviation of a unit normal cut off at ±2
HALF_VARIANCE = 0.707106781  # 1/√2 to nine digits, as the released code has it


class Model(nn.Module):
    """TRM and HRM by switches: two embeddings, one or two networks, two heads."""

    def __init__(self, run: RunConfig, n_puzzle_ids: int = 1) -> None:
        super().__init__()
        m = run.model
        self.settings = m
        self.cells = run.data.cells
        self.dtype = torch.bfloat16 if run.train.precision == "bf16" else torch.float32
        self.activation_checkpointing = run.train.recomputes
        # What is compiled (compiled.py), by batch size: calls of a network, or whole deep recursions.
        self.compiled_networks: dict[tuple[Network, int], Callable[..., Tensor]] = {}
        self.compiled_recursions: dict[tuple[Depth, int], Callable[..., Features]] = {}

        self.embed_tokens = nn.Parameter(torch.empty(run.data.vocabulary, m.D))
        self.embed_positions = nn.Parameter(torch.empty(run.sequence, m.D)) if m.positions == "learned" else None
        self.puzzle_embedding = PuzzleEmbedding(n_puzzle_ids, m.D) if m.puzzle_prefix else None
        self.f_z = Network(m, run.sequence)
        self.f_y_apart = Network(m, run.sequence) if m.networks == "separate" else None
        self.output_head = Linear(m.D, run.data.vocabulary) if m.output_head == "own" else None
        self.halting_head = Linear(m.D, 2, bias=True)
        n_features = {"y,z": 2, "single z": 1, "multi-scale z": m.n + 1, "y": 1}[m.features]
        self.initial = nn.Buffer(torch.empty(n_features, m.D))
        self.initialise(torch.Generator().manual_seed(run.train.seed))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Draw every weight; nothing is initialised anywhere else (released code, common.py and trm.py).

        embed_tokens             truncated normal, std 1/√D (scaled by √D where it is read); embed_positions too
        every Linear's weight    truncated normal, std 1/√fan_in
        halting_head             weight 0, bias −5: at first nothing halts
        initial (y_init, z_init) truncated normal, std 1; fixed, not trained
        puzzle_embedding         0
        """
        _truncated_normal(self.embed_tokens, 1 / math.sqrt(self.settings.D), generator)
        if self.embed_positions is not None:
            _truncated_normal(self.embed_positions, 1 / math.sqrt(self.settings.D), generator)
        for module in self.modules():
            if isinstance(module, Linear):
                _truncated_normal(module.weight, 1 / math.sqrt(module.weight.shape[1]), generator)
        _truncated_normal(self.initial, 1.0, generator)
        self.halting_head.weight.zero_()
        assert self.halting_head.bias is not None
        self.halting_head.bias.fill_(-5)

    @property
    def f_y(self) -> Network:
        """The network that refines y: f_z again unless networks="separate"."""
        return self.f_z if self.f_y_apart is None else self.f_y_apart

    def matrices(self) -> list[nn.Parameter]:
        """The networks' weights, which are matrices all; neither the embeddings nor the heads."""
        networks = [self.f_z] if self.f_y_apart is None else [self.f_z, self.f_y_apart]
        return [parameter for network in networks for parameter in network.parameters()]

    def initial_features(self, B: int) -> Features:
        """y_init and z_init, the same at every position of every puzzle: [B, L, D] each."""
        L = self.cells + self.settings.puzzle_prefix
        return tuple(feature.to(self.dtype).expand(B, L, -1) for feature in self.initial)

    def embed(self, inputs: Tensor, puzzle_vectors: Tensor | None) -> Tensor:
        """x [B, L, D]: tokens [B, cells] behind the puzzle's vector [B, D], padded with zeros to the prefix.

        Learnt positions are added before the scale, the sum kept at the variance of one of the two (released code).
        """
        m = self.settings
        x = self.embedded(inputs)
        if puzzle_vectors is not None:
            prefix = F.pad(puzzle_vectors.to(self.dtype), (0, (m.puzzle_prefix - 1) * m.D))
            x = torch.cat((prefix.view(-1, m.puzzle_prefix, m.D), x), dim=1)
        if self.embed_positions is not None:
            x = HALF_VARIANCE * (x + self.embed_positions.to(self.dtype))
        return math.sqrt(m.D) * x

    def embedded(self, inputs: Tensor) -> Tensor:
        """Tokens [B, cells] → their vectors [B, cells, D]."""
        tokens = self.embed_tokens.to(self.dtype)
        return embedding_by_product(inputs, tokens) if inputs.is_cuda else F.embedding(inputs, tokens)

    def apply_network(self, net: Network, *addends: Tensor) -> Tensor:
        """net(their sum); with activation checkpointing only they are kept, and the backward computes the rest anew."""
        call = self.compiled_networks.get((net, len(addends[0])), net)
        if self.activation_checkpointing and torch.is_grad_enabled():
            return checkpoint(call, *addends, use_reentrant=False, preserve_rng_state=False)  # type: ignore[no-any-return]
        return call(*addends)

    def beside_z(self, x: Tensor, features: Features) -> Tensor:
        """What is added to z, the same throughout a latent recursion: y + x, and x alone where there is no y."""
        return x if self.settings.features == "single z" else features[0] + x

    def refine_z(self, beside: Tensor, features: Features, i: int) -> Features:
        """One latent recursion: z ← f_z(z + (y + x)). With several z, their sum goes in and the i-th is renewed."""
        if self.settings.features == "single z":
            return (self.apply_network(self.f_z, features[0], beside),)
        y, *z = features
        at = i % len(z)
        # z + (y + x), in this order of additions: equality with the reference numbers depends on it
        renewed = self.apply_network(self.f_z, reduce(add, z), beside)
        return (y, *z[:at], renewed, *z[at + 1 :])

    def refine_y(self, x: Tensor, features: Features) -> Features:
        """y ← f_y(y + z), without x: which network call this is, the absence of x tells (section 4.3).

        The last call of a single z goes without x in the released code, and with it in figure 4.
        """
        if self.settings.features == "single z" and self.settings.single_z == "figure 4":
            return (self.apply_network(self.f_y, features[0], x),)
        if self.settings.features == "single z":
            return (self.apply_network(self.f_y, features[0]),)
        if self.settings.features == "y":
            return (self.apply_network(self.f_y, features[0], x),)  # direct prediction has no z to carry x
        y, *z = features
        return (self.apply_network(self.f_y, y, reduce(add, z)), *z)

    def refine_z_often(self, x: Tensor, features: Features, steps: Sequence[int]) -> Features:
        """z refined for each of the steps."""
        if steps:
            beside = self.beside_z(x, features)
            for i in steps:
                features = self.refine_z(beside, features, i)
        return features

    def latent_recursion(self, x: Tensor, features: Features, steps: Sequence[int]) -> Features:
        """z refined for each of the steps, then y once (figure 3)."""
        features = self.refine_z_often(x, features, steps)
        return self.refine_y(x, features)

    def deep_recursion(self, x: Tensor, features: Features, depth: Depth | None = None) -> Features:
        """T latent recursions; only the last carries a gradient, all of it or its last recursions (section 4.1).

        depth: T and n of a curriculum; None: the settings' own.
        """
        T, n = depth or (self.settings.T, self.settings.n)
        first = n + 1 - self.settings.with_gradient(n)  # of the last latent recursion: n of z, then y
        with torch.no_grad():
            for _ in range(T - 1):
                features = self.latent_recursion(x, features, range(n))
            features = self.refine_z_often(x, features, range(first))
        return self.latent_recursion(x, features, range(first, n))

    def forward(
        self, inputs: Tensor, puzzle_vectors: Tensor | None, features: Features, depth: Depth | None = None
    ) -> tuple[Features, Tensor, Tensor]:
        """One supervision step. Returns (features, logits [B, cells, V], q [B, 2] float32: halt, continue).

        depth: T and n of a curriculum; None: the settings' own.
        """
        laid_out = positions_first if self.settings.mixer == "mlp" else Tensor.contiguous
        x, features = laid_out(self.embed(inputs, puzzle_vectors)), tuple(map(laid_out, features))
        depth = depth or Depth(self.settings.T, self.settings.n)
        recursion = self.compiled_recursions.get((depth, len(inputs)), self.deep_recursion)
        features = recursion(x, features, depth)
        y = features[0]
        logits = self.read_out(y)[:, self.settings.puzzle_prefix :]
        return features, logits, at_least_float32(self.halting_head(y[:, 0]))  # the halting head reads position 0

    def read_out(self, y: Tensor) -> Tensor:
        """The output head: y [B, L, D] → logits [B, L, V]; tied, by the token embedding's own weights (appendix)."""
        if self.output_head is None:
            return F.linear(y, self.embed_tokens.to(y.dtype))
        return self.output_head(y)  # type: ignore[no-any-return]

    def puzzle_vectors(self, puzzle_ids: Tensor) -> Tensor | None:
        """[B] → [B, D], or None where there is no puzzle prefix."""
        return None if self.puzzle_embedding is None else self.puzzle_embedding(puzzle_ids)


def embedding_by_product(which: Tensor, vectors: Tensor) -> Tensor:
    """F.embedding of [...] in [V, D]; its gradient adds in one order, which a GPU's own embedding does not promise."""
    return (which.unsqueeze(-1) == torch.arange(len(vectors), device=which.device)).to(vectors.dtype) @ vectors


def _truncated_normal(weights: Tensor, std: float, generator: torch.Generator) -> None:
    """Normal cut off at two standard deviations, widened so that its own standard deviation is std (as in JAX)."""
    wide = std / TRUNCATED_STD
    nn.init.trunc_normal_(weights, std=wide, a=-2 * wide, b=2 * wide, generator=generator)
