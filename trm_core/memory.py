"""How much memory a training run needs, by formula: what is held between steps, and the highest moment of a step.

Counted are tensors, as torch allocates them; a GPU's context and what its allocator cannot reuse come on top, and where
a step is replayed as a CUDA graph, an evaluation beside what the graph keeps for itself.
B slots of one worker, L positions, D channels; u = B·L·D numbers in the compute dtype, f = B·L·D in float32.
What one sublayer keeps for the backward (verified with torch.autograd.graph.saved_tensors_hooks):

    SwiGLU       its input (u), and gate, up, silu(gate), silu(gate)·up: 4 inner widths per row
    attention    its input (u), q, k, v as projected (3u), with RoPE q, k rotated (2u), the heads' output (u), the
                 softmax's logarithms; no L x L matrix, on CPU and GPU alike
    rms_norm     the float32 sum that is normed (f)
    weights      float32; in bf16 each application of a network keeps its own cast of them

Compiled, a SwiGLU keeps 3 inner widths, silu(gate) being computed again, and a norm's sum has the compute dtype. The
fused mixer (fused.py) keeps nothing wide: its input, and its output, which the channels' SwiGLU keeps anyway.

So a supervision step keeps n_layers · (n+1) of these; with activation checkpointing the inputs of the n+1
applications, and one application whole, the one whose backward is under way. No torch in this file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trm_core.config import RunConfig

FLOAT32, FLOAT64, INT64 = 4, 8, 8  # bytes

FUSED_POSITIONS, FUSED_INNER = 128, 64  # that the fused mixer takes: positions at most, inner widths in blocks of

Networks = Literal["plain", "compiled", "fused"]  # as they are applied; fused: compiled, with the fused mixer


class NotEnoughMemory(ValueError):
    """A run whose predicted peak is more than the device has."""


@dataclass(frozen=True)
class Memory:
    """Bytes that one worker needs: what it always holds, and what comes on top at each high moment of a step."""

    held: Mapping[str, int]  # weights, optimiser state, EMA, puzzle embedding, slots
    moments: Mapping[str, int]  # the backward's start, …: never two at a time

    @property
    def peak(self) -> int:
        """The most at any time."""
        return sum(self.held.values()) + max(self.moments.values())


def peak_bytes(run: RunConfig, *, workers: int = 1, n_puzzle_ids: int = 1, networks: Networks = "plain") -> int:
    """Predicted peak of one worker's memory, in bytes."""
    return memory(run, workers=workers, n_puzzle_ids=n_puzzle_ids, networks=networks).peak


def memory(run: RunConfig, *, workers: int = 1, n_puzzle_ids: int = 1, networks: Networks = "plain") -> Memory:
    """The formula."""
    m, size = run.model, _Sizes(run, run.train.batch_size // workers, networks)
    weights, muon = FLOAT32 * run.parameters(), run.optim.name == "muon"
    embedding = FLOAT32 * n_puzzle_ids * m.D if m.puzzle_prefix else 0
    n_features = {"y,z": 2, "single z": 1, "multi-scale z": m.n + 1, "y": 1}[m.features]
    puzzles = 2 * INT64 * size.B * run.data.cells  # inputs and labels
    features = n_features * size.u
    held = {
        "weights": weights,
        "optimiser state": 2 * weights - (FLOAT32 * run.matrices() if muon else 0),  # Muon has one moment, not two
        "EMA": 0 if run.optim.ema is None else weights + (embedding if run.optim.ema_covers == "all" else 0),
        "puzzle embedding": embedding,
        "slots": features + puzzles,
    }

    # Until it is done, a step holds beside the old slots the refilled ones, its own features, its batch and its logits.
    step = 2 * features + 2 * puzzles + size.logits
    whole = size.kept_by_a_network()
    # An application is kept whole, or by its input and then made whole again when its backward comes.
    kept, again = (size.u, whole) if run.train.recomputes else (whole, 0)
    n_kept = m.recursions_with_gradient
    moments = {
        "loss": step + n_kept * kept + size.loss_at_work(),
        "start of the backward": step + size.kept_by_the_loss() + n_kept * kept + again + size.backward_at_work(),
        "optimiser step": step + weights + size.optimiser_at_work(),
        "evaluation": _Sizes(run, run.train.batch_size, networks).forward_at_work(n_features),
    }
    if n_kept > 1:  # the weights have gradients by now, and those of the features and of x are on their way down
        passed_on = (n_features + 1) * size.u + weights
        moments["middle of the backward"] = step + (n_kept - 1) * kept + again + passed_on + size.backward_at_work()
    if m.halting == "q_learning":
        forward = size.forward_at_work(n_features)
        moments["continue loss"] = step + size.kept_by_the_loss() + n_kept * kept + forward
    return Memory(held, moments)


def networks_on_a_gpu(run: RunConfig) -> Networks:
    """How a GPU applies them, if it can compile: fused where the kernel takes them (fused.serves)."""
    if run.train.compile == "off":
        return "plain"
    m, L = run.model, run.sequence
    whole = m.inner_width(L) % FUSED_INNER == 0 and m.D % 8 == 0
    fits = run.train.precision == "bf16" and L <= FUSED_POSITIONS and whole
    return "fused" if m.mixer == "mlp" and fits else "compiled"


def settled(
    run: RunConfig,
    available: int | None,
    *,
    workers: int = 1,
    n_puzzle_ids: int = 1,
    networks: Networks = "plain",
) -> RunConfig:
    """The run with train.activation_checkpointing decided where it is "auto": on where only so one worker's predicted
    peak is within the bytes available. None: not known, and it is off."""
    if run.train.activation_checkpointing != "auto":
        return run
    off, on = (run.change({"train": {"activation_checkpointing": word}}) for word in ("false", "true"))
    without, within = (
        peak_bytes(each, workers=workers, n_puzzle_ids=n_puzzle_ids, networks=networks) for each in (off, on)
    )
    return off if available is None or without <= available or without <= within else on


def why_recomputed(
    run: RunConfig,
    available: int | None,
    *,
    workers: int = 1,
    n_puzzle_ids: int = 1,
    networks: Networks = "plain",
) -> str:
    """Why activation checkpointing was decided on for this run, in one line; "" where it was not."""
    decided = settled(run, available, workers=workers, n_puzzle_ids=n_puzzle_ids, networks=networks)
    if available is None or decided == run or not decided.train.recomputes:
        return ""
    without, within = (
        gigabytes(peak_bytes(each, workers=workers, n_puzzle_ids=n_puzzle_ids, networks=networks))
        for each in (run, decided)
    )
    return (
        f"train.activation_checkpointing=true, for a step needs {without} without it and {within} with it, and"
        f" {gigabytes(available)} are free"
    )


def refuse_what_does_not_fit(
    run: RunConfig,
    available: int | None,
    *,
    workers: int = 1,
    n_puzzle_ids: int = 1,
    networks: Networks = "plain",
) -> None:
    """Raises NotEnoughMemory where one worker's predicted peak is above the bytes available; None: not known."""
    needed = peak_bytes(run, workers=workers, n_puzzle_ids=n_puzzle_ids, networks=networks)
    if available is None or needed <= available:
        return
    advice = "a smaller train.batch_size, a smaller model.D, or more workers"
    if not run.train.recomputes:
        less = run.change({"train": {"activation_checkpointing": True}})
        there = peak_bytes(less, workers=workers, n_puzzle_ids=n_puzzle_ids, networks=networks)
        advice = f"train.activation_checkpointing=true (then {gigabytes(there)}), {advice}"
    m = run.model
    raise NotEnoughMemory(
        f"depth {m.depth} (model.T={m.T}, model.n={m.n}, model.n_layers={m.n_layers}) with train.batch_size="
        f"{run.train.batch_size} on {workers} worker(s) needs {gigabytes(needed)} of memory per worker and"
        f" {gigabytes(available)} are free; set {advice}"
    )


def gigabytes(n_bytes: float) -> str:
    """Bytes as a person says them: 41.8 GB, 0.03 GB."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{max(n_bytes / 1e9, 0.01):.2f} GB"


def free_memory() -> int | None:
    """Bytes that this machine can give to a new process; None where the system does not say (macOS, Windows)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


class _Sizes:
    """Bytes of what appears in a step of B slots."""

    def __init__(self, run: RunConfig, B: int, networks: Networks) -> None:
        m = run.model
        self.networks: Networks = networks
        self.run, self.B, self.number = run, B, 2 if run.train.precision == "bf16" else FLOAT32
        self.L = run.sequence
        self.u = self.number * B * self.L * m.D
        self.f = FLOAT32 * B * self.L * m.D
        self.heads = self.number * B * self.L * m.attention_width  # q, k or v of all heads
        self.over_channels = self.number * B * self.L * m.inner_width(m.D)  # one inner width of the channels' SwiGLU
        self.over_positions = self.number * B * m.D * m.inner_width(self.L)  # … of the MLP mixer
        self.logits = self.number * B * self.L * run.data.vocabulary
        self.cells = B * run.data.cells * run.data.vocabulary

    def kept_by_a_network(self) -> int:
        """For the backward of one application of a network."""
        m, run = self.run.model, self.run
        wide, norm = (4, self.f) if self.networks == "plain" else (3, self.u)
        if m.mixer == "attention":
            mixer = (
                norm + self.u + (6 if m.positions == "rope" else 4) * self.heads + FLOAT32 * self.B * m.n_heads * self.L
            )
        elif self.networks == "fused":
            mixer = self.u + FLOAT32 * self.B * m.D
        else:
            mixer = norm + self.u + wide * self.over_positions
        channels = norm + self.u + wide * self.over_channels
        if m.channel_mlp == "mixture of experts":
            channels = norm + self.u + m.n_experts * (wide * self.over_channels + self.u)
        casts = 0
        if self.number != FLOAT32:
            casts = self.number * run.matrices() // (2 if m.networks == "separate" else 1)
        return m.n_layers * (mixer + channels) + casts

    def kept_by_the_loss(self) -> int:
        """Stablemax: a bool, and three float64 per token and cell. Softmax: float32 log-probabilities."""
        return (1 + 3 * FLOAT64 if self.run.model.loss == "stablemax" else 2 * FLOAT32) * self.cells

    def loss_at_work(self) -> int:
        """The most while the loss is computed: two float64 more than it keeps."""
        return (
            self.kept_by_the_loss() + (3 * FLOAT64 if self.run.model.loss == "stablemax" else 2 * FLOAT32) * self.cells
        )

    def backward_at_work(self) -> int:
        """On top of what is kept, at the start of a network's backward: in rms_norm's, or in SwiGLU's product."""
        if self.networks != "plain":
            channels = self.u + 2 * self.over_channels
            done = 3 * self.over_channels + 2 * self.u  # and given back when the mixer's turn comes
            mixer = 0
            if self.run.model.mixer == "mlp":
                mixer = (5 if self.networks == "fused" else 2) * self.over_positions + self.f
            return max(channels, mixer - done)
        return max(5 * self.f, self.u - self.f + 2 * self.over_channels)

    def optimiser_at_work(self) -> int:
        """On top of the gradients: two temporaries of their size, but Muon comes to one matrix after the other."""
        m, run = self.run.model, self.run
        if run.optim.name != "muon":
            return 2 * FLOAT32 * run.parameters()
        mixer = 3 * m.D * m.attention_width if m.mixer == "attention" else 2 * self.L * m.inner_width(self.L)
        largest = max(mixer, 2 * m.D * m.inner_width(m.D))
        # The update in float32 and, by Newton-Schulz, twice in bf16; two products of it with itself are no larger.
        return max(3 * FLOAT32 * largest, 2 * FLOAT32 * (run.parameters() - run.matrices()))

    def forward_at_work(self, n_features: int) -> int:
        """The most of a forward pass without gradient: x, the features old and new, and one sublayer at work."""
        m = self.run.model
        rotation = 3 * self.heads
        if m.positions == "rope":
            rotation += (4 if self.number == FLOAT32 else 6) * (FLOAT32 * self.heads // self.number)
        wide = 4 if self.networks == "plain" else 3
        mixer = rotation if m.mixer == "attention" else self.u + wide * self.over_positions
        if self.networks == "fused":
            mixer = self.u
        return (n_features + 3) * self.u + max(mixer, wide * self.over_channels, 3 * self.f)
