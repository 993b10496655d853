"""The paper's formulas once more, written slowly: one puzzle at a time, float64, loops, nothing shared with trm_core.

Weights come as {our name: tensor}. Where a gradient ends there is a `.detach()` in the open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Plain:
    """What the formulas need to know of a model."""

    n: int
    T: int
    n_layers: int
    n_heads: int
    prefix: int
    mixer: str = "mlp"
    separate: bool = False
    features: str = "y,z"
    learned: bool = False  # positions
    x_in_last_call: bool = False  # of a single z
    with_gradient: int | None = None  # of the last n+1 recursions; None: all
    halting: str = "bce"
    experts: int = 0
    chosen: int = 0
    tied: bool = False
    loss: str = "stablemax"


def norm(h: Tensor) -> Tensor:
    """h / root mean square."""
    return h / torch.sqrt((h * h).sum(-1, keepdim=True) / h.shape[-1] + 1e-5)


def swiglu(h: Tensor, w: Weights, name: str) -> Tensor:
    """Section 2.1 of the paper's references: W2(silu(W1 h) · W3 h)."""
    both = w[f"{name}.gate_up.weight"]
    half = both.shape[0] // 2
    gate, up = h @ both[:half].T, h @ both[half:].T
    return (gate / (1 + torch.exp(-gate)) * up) @ w[f"{name}.down.weight"].T


def mixture(h: Tensor, w: Weights, name: str, experts: int, chosen: int) -> Tensor:
    """Position by position: the experts with the highest scores, weighed by the softmax of those scores."""
    rows = []
    for row in h:
        scores = w[f"{name}.router.weight"] @ row
        best = sorted(range(experts), key=lambda e, s=scores: -float(s[e].detach()))[:chosen]  # type: ignore[misc]
        total = sum((torch.exp(scores[e]) for e in best), torch.zeros((), dtype=torch.float64))
        out = torch.zeros_like(row)
        for e in best:
            out = out + torch.exp(scores[e]) / total * swiglu(row, w, f"{name}.experts.{e}")
        rows.append(out)
    return torch.stack(rows)


def attention(h: Tensor, w: Weights, name: str, n_heads: int, *, rotary: bool) -> Tensor:
    """Softmax attention, with rotary positions or without, head by head."""
    width = w[f"{name}.out.weight"].shape[1]
    c = width // n_heads
    q, k, v = (h @ part.T for part in torch.split(w[f"{name}.qkv.weight"], width))
    turned = rotated if rotary else torch.clone
    out = []
    for head in range(n_heads):
        cut = slice(head * c, (head + 1) * c)
        scores = turned(q[:, cut]) @ turned(k[:, cut]).T / math.sqrt(c)
        weights = torch.exp(scores - scores.max(1, keepdim=True).values)
        out.append(weights / weights.sum(1, keepdim=True) @ v[:, cut])
    return torch.cat(out, 1) @ w[f"{name}.out.weight"].T


def rotated(x: Tensor) -> Tensor:
    """Channel i and i + c/2 turned by position / 10000^(2i/c)."""
    half = x.shape[1] // 2
    columns: list[Tensor | None] = [None] * (2 * half)
    position = torch.arange(x.shape[0], dtype=torch.float64)
    for i in range(half):
        angle = position / 10_000 ** (2 * i / (2 * half))
        columns[i] = x[:, i] * angle.cos() - x[:, i + half] * angle.sin()
        columns[i + half] = x[:, i + half] * angle.cos() + x[:, i] * angle.sin()
    return torch.stack([column for column in columns if column is not None], 1)


def net(h: Tensor, w: Weights, name: str, p: Plain) -> Tensor:
    """One network: mixing, then the channels' MLP, each with a residual and a norm after it."""
    for layer in range(p.n_layers):
        at = f"{name}.layers.{layer}"
        if p.mixer == "attention":
            h = norm(h + attention(h, w, f"{at}.mix", p.n_heads, rotary=not p.learned))
        else:
            h = norm(h.T + swiglu(h.T, w, f"{at}.mix")).T
        mlp = mixture(h, w, f"{at}.mlp", p.experts, p.chosen) if p.experts else swiglu(h, w, f"{at}.mlp")
        h = norm(h + mlp)
    return h


def supervision(
    w: Weights, inputs: Tensor, vector: Tensor, features: list[Tensor], p: Plain
) -> tuple[list[Tensor], Tensor, Tensor]:
    """One supervision step of one puzzle: (features, logits [cells, V], q [2])."""
    D = w["embed_tokens"].shape[1]
    rows = [vector] + [torch.zeros(D, dtype=torch.float64)] * (p.prefix - 1) if p.prefix else []
    x = torch.stack(rows + [w["embed_tokens"][int(token)] for token in inputs])
    if p.learned:  # 1/√2, as the released code writes it
        x = 0.707106781 * (x + w["embed_positions"])
    x = math.sqrt(D) * x
    f_z, f_y = "f_z", "f_y_apart" if p.separate else "f_z"
    for t in range(p.T):
        for i in range(p.n + 1):
            kept = p.n + 1 if p.with_gradient is None else p.with_gradient
            counts = t == p.T - 1 and i >= p.n + 1 - kept
            if not counts:  # what was computed so far is a constant
                features = [feature.detach() for feature in features]
            here = w if counts else {name: tensor.detach() for name, tensor in w.items()}
            seen = x if counts else x.detach()
            features = recursion(here, seen, features, i, f_z, f_y, p)
            if not counts:
                features = [feature.detach() for feature in features]
    y = features[0]
    head = w["embed_tokens"] if p.tied else w["output_head.weight"]
    logits = (y @ head.T)[p.prefix :]
    return features, logits, w["halting_head.weight"] @ y[0] + w["halting_head.bias"]


def recursion(w: Weights, x: Tensor, features: list[Tensor], i: int, f_z: str, f_y: str, p: Plain) -> list[Tensor]:
    """The i-th of n+1: z for i < n, then y (figure 3; Table 2's variants; direct prediction)."""
    if p.features == "y":
        return [net(features[0] + x, w, f_y, p)]
    if p.features == "single z":
        return [net(features[0] + x if i < p.n or p.x_in_last_call else features[0], w, f_z, p)]
    y, zs = features[0], features[1:]
    z = zs[0]
    for other in zs[1:]:
        z = z + other
    if i == p.n:
        return [net(y + z, w, f_y, p), *zs]
    zs[i if p.features == "multi-scale z" else 0] = net(z + y + x, w, f_z, p)
    return [y, *zs]


def cell_loss(logits: Tensor, labels: Tensor, kind: str) -> Tensor:
    """Mean over the cells that count, nats."""
    losses = []
    for row, label in zip(logits, labels, strict=True):
        if label != -100:
            scores = (
                torch.exp(row) if kind == "softmax" else torch.stack([v + 1 if v >= 0 else 1 / (1 - v) for v in row])
            )
            losses.append(-torch.log(scores[label] / scores.sum()))
    return torch.stack(losses).mean()


def bce(q: Tensor, target: float) -> Tensor:
    """−target·log σ(q) − (1−target)·log(1−σ(q))."""
    halt = 1 / (1 + torch.exp(-q))
    return -target * torch.log(halt) - (1 - target) * torch.log(1 - halt)


def step_loss(
    w: Weights, inputs: Tensor, labels: Tensor, vector: Tensor, features: list[Tensor], p: Plain, *, last: bool
) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    """(features, logits, q, loss) of one puzzle: cells + 0.5 · halting, with the continue loss in "w/ ACT"."""
    features, logits, q = supervision(w, inputs, vector, features, p)
    loss = cell_loss(logits, labels, p.loss)
    right = all(int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True) if label != -100)
    if p.halting != "none":
        loss = loss + 0.5 * bce(q[0], float(right))
    if p.halting == "q_learning":  # a second forward pass says what one more step would be worth (section 4.6)
        constant = {name: tensor.detach() for name, tensor in w.items()}
        _, _, after = supervision(constant, inputs, vector.detach(), [f.detach() for f in features], p)
        after = after.detach()
        value = float(after[0]) if last else max(float(after[0]), float(after[1]))
        loss = loss + 0.5 * bce(q[1], 1 / (1 + math.exp(-value)))
    return features, logits, q, loss
