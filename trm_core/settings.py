"""What a run can be told: settings of data, model, optimiser and training, with ranges and meanings. No torch here.

Frozen, unknown names refused. The defaults are the released code's settings for TRM-MLP on Sudoku-Extreme
("Less is More: Recursive Reasoning with Tiny Networks", arXiv 2510.04871, and its repository); published defaults
never change again, since a run's key is the hash of what differs from them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from trm_core.curriculum import read_curriculum, spelt

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Word = BeforeValidator(lambda value: str(value).lower() if isinstance(value, bool | str) else value)  # True is "true"


class BadSetting(ValueError):
    """A setting that does not exist, has the wrong type or range, or contradicts another. One line per offence."""


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown names, no silent conversion of a float to an int."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Section(Settings):
    """Base of the four sections of a run: what is written below a setting is its meaning, which `describe` reads."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class DataSettings(Section):
    """Which puzzles, how many, and how they are augmented (paper, section 5)."""

    puzzle: Literal["sudoku", "maze", "arc"] = "sudoku"
    """Which of the paper's puzzles."""
    source: Literal["files", "generated"] = "files"
    """The published files, or our own generator."""
    box_rows: Annotated[int, Field(ge=2, le=6)] = 3
    """Sudoku: rows of a box."""
    box_cols: Annotated[int, Field(ge=2, le=6)] = 3
    """Sudoku: columns of a box; box_rows times box_cols is the side of the board, at most 12."""
    side: Annotated[int, Field(ge=3, le=32)] = 30
    """Cells along the side of a maze, and of the canvas that ARC's grids are laid on."""
    train: Positive | None = 1000
    """Training puzzles (ARC: tasks); none: all that are left."""
    validation: Annotated[int, Field(ge=0)] = 1000
    """Puzzles (ARC: tasks) held out of the training puzzles."""
    test: Positive | None = None
    """Test puzzles (ARC: tasks); none: all of the test file."""
    clues: Positive | None = None
    """Generated Sudoku only: stop removing clues here; none: minimal puzzles."""
    least_path: Annotated[int, Field(ge=2)] | None = None
    """Generated mazes: least number of cells of the path; none: as published."""
    subsets: str = "training,evaluation,concept"
    """ARC: the files whose tasks are learnt from; ARC-AGI-2's are training2 and evaluation2."""
    test_subset: str = "evaluation"
    """ARC: the one of the subsets whose test pairs are the test set."""
    allow_leak: bool = False
    """ARC: go on even where a task to be tested is learnt from; every report says so."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Which puzzles are drawn, and their augmentations."""
    augmentations: Annotated[int, Field(ge=0)] = 1000
    """Variants of each training puzzle, the original not counted."""
    maze_augmentation: Literal["released", "recomputed", "mirror"] = "released"
    """Mazes: a moved maze's answer is moved too (released code), or found anew by the tie-break after any of the eight
    moves (recomputed) or after the left-right mirror alone (mirror)."""

    @property
    def cells(self) -> int:
        """L, the number of cells of a puzzle; mazes and ARC's canvas are squares."""
        return (self.box_rows * self.box_cols if self.puzzle == "sudoku" else self.side) ** 2

    @property
    def vocabulary(self) -> int:
        """V. Sudoku: pad, blank, digits (11 for 9x9). Maze: pad, `# SGo`. ARC: pad, end, ten colours."""
        return {"sudoku": self.box_rows * self.box_cols + 2, "maze": 6, "arc": 12}[self.puzzle]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.box_rows * self.box_cols > 12:
            side = self.box_rows * self.box_cols
            raise ValueError(
                f"data.box_rows={self.box_rows}, data.box_cols={self.box_cols}: boards of {side}x{side};"
                " boards up to 12x12 can be read and generated"
            )
        if self.source == "generated" and self.test is None:
            raise ValueError("data.test: a generated set needs a number of test puzzles; set data.test")
        if self.source == "files" and self.clues is not None:
            raise ValueError("data.clues: only generated puzzles can be asked for a number of clues; leave it out")
        return self


class ModelSettings(Section):
    """The recursion and its five switches (mixer, networks, features, gradient, halting)."""

    mixer: Literal["mlp", "attention"] = "mlp"
    """What mixes the positions: an MLP over them, or self-attention (section 4.5)."""
    networks: Literal["one", "separate"] = "one"
    """One network for f_z and f_y, or two (section 4.3)."""
    features: Literal["y,z", "single z", "multi-scale z", "y"] = "y,z"
    """What the recursion carries (section 4.2, Table 2); y alone is direct prediction, y ← f(y + x), without latent
    recursion (Table 4)."""
    gradient: Literal["full recursion", "one step", "last k"] = "full recursion"
    """How far back the gradient goes through the last deep recursion (section 4.1)."""
    gradient_k: Annotated[int, Field(ge=2)] | None = None  # with 1, x would never get a gradient
    """With gradient=last k: so many of the n+1 recursions carry a gradient (appendix: 4 of 7)."""
    halting: Literal["bce", "q_learning", "none"] = "bce"
    """How the halting head learns (section 4.6): q_learning is "w/ ACT"; none: no early stop."""
    T: Positive = 3
    """Deep recursions per supervision step; all but the last without gradient."""
    n: Annotated[int, Field(ge=0)] = 6
    """Latent recursions per deep recursion; 0 in direct prediction alone."""
    N_sup: Positive = 16
    """Supervision steps."""
    n_layers: Positive = 2
    """Layers of each network."""
    D: Annotated[int, Field(ge=2)] = 512
    """Width: channels per position."""
    single_z: Literal["released code", "figure 4"] = "released code"
    """With features=single z: whether the last of the n+1 calls goes without x (released code) or takes it too, as the
    others do (figure 4)."""
    n_heads: Positive = 8
    """Heads of the self-attention."""
    head_channels: Positive | None = None
    """Channels of each head; none: D / n_heads. The released direct prediction has 12 heads of 42 where D is 512."""
    positions: Literal["rope", "learned"] = "rope"
    """How positions are told apart: rotated in self-attention, where the MLP mixer needs nothing; or by a learnt vector
    each, added to x (released code, pos_encodings)."""
    expansion: Annotated[float, Field(gt=0)] = 4.0
    """SwiGLU's inner width is 2/3 of expansion times the width, rounded up to a multiple of inner_multiple."""
    inner_multiple: Positive = 256
    """What SwiGLU's inner width is rounded up to a multiple of."""
    channel_mlp: Literal["swiglu", "mixture of experts"] = "swiglu"
    """What is applied over the channels (appendix)."""
    n_experts: Annotated[int, Field(ge=2)] = 4
    """Mixture of experts only: SwiGLUs of the same width."""
    experts_per_token: Positive = 2
    """Mixture of experts only: how many of them each position takes."""
    output_head: Literal["own", "tied"] = "own"
    """The output head's weights: its own, or the token embedding's (appendix)."""
    puzzle_prefix: Annotated[int, Field(ge=0)] = 16
    """Positions of the puzzle embedding before the cells; 0: none."""
    loss: Literal["stablemax", "softmax"] = "stablemax"
    """What turns logits into probabilities in the cross-entropy."""
    halting_loss_weight: Annotated[float, Field(ge=0)] = 0.5
    """The halting loss is added times this."""
    exploration: Fraction = 0.1
    """Probability that halting waits for a random number of steps."""

    @model_validator(mode="after")
    def _only_what_the_paper_defines(self) -> Self:
        if self.features != "y,z" and self.networks == "separate":
            raise ValueError(
                f'model.features="{self.features}" with model.networks="separate": the paper defines separate networks'
                ' for y and z only; set model.features="y,z" or model.networks="one"'
            )
        if self.features != "y,z" and self.gradient != "full recursion":
            raise ValueError(
                f'model.features="{self.features}" with model.gradient="{self.gradient}": the paper cuts the gradient'
                ' short for y and z only; set model.features="y,z" or model.gradient="full recursion"'
            )
        if (self.features == "y") != (self.n == 0):
            raise ValueError(
                f'model.features="{self.features}" with model.n={self.n}: direct prediction, model.features="y", has no'
                " latent recursion and model.n=0; everything else has a latent recursion and model.n of 1 or more"
            )
        if self.features == "y" and self.T != 1:
            raise ValueError(f'model.features="y" with model.T={self.T}: direct prediction is one pass; set model.T=1')
        if (self.gradient == "last k") != (self.gradient_k is not None):
            raise ValueError(
                f'model.gradient="{self.gradient}" with model.gradient_k={self.gradient_k}: "last k" needs the number'
                " of recursions that carry a gradient, every other gradient none; set both or neither"
            )
        if self.gradient_k is not None and self.gradient_k > self.n + 1:
            raise ValueError(
                f"model.gradient_k={self.gradient_k} with model.n={self.n}: a deep recursion has only n+1 ="
                f' {self.n + 1} recursions; set it lower, or model.gradient="full recursion"'
            )
        if self.experts_per_token > self.n_experts:
            raise ValueError(
                f"model.experts_per_token={self.experts_per_token} with model.n_experts={self.n_experts}: a position"
                " cannot take more experts than there are"
            )
        if self.single_z != "released code" and self.features != "single z":
            raise ValueError(
                f'model.single_z="{self.single_z}" with model.features="{self.features}": only a single z can do'
                ' without x in its last call; set model.features="single z", or leave model.single_z out'
            )
        if self.mixer == "attention":
            if self.head_channels is None and self.D % self.n_heads:
                raise ValueError(
                    f"model.D={self.D} with model.n_heads={self.n_heads}: the heads share the channels and these do not"
                    " divide; set model.D to an even multiple of model.n_heads, or model.head_channels"
                )
            if self.positions == "rope" and self.channels_of_a_head % 2:
                raise ValueError(
                    f"model.D={self.D} with model.n_heads={self.n_heads} and model.head_channels={self.head_channels}:"
                    f" a head has {self.channels_of_a_head} channels, and rotated positions need an even number of"
                    ' them; set model.D to an even multiple of model.n_heads, or model.positions="learned"'
                )
        return self

    def inner_width(self, width: int) -> int:
        """SwiGLU's inner width for an outer width (released code, layers.py)."""
        return -(-round(self.expansion * width * 2 / 3) // self.inner_multiple) * self.inner_multiple

    @property
    def channels_of_a_head(self) -> int:
        """Channels of each of the n_heads heads."""
        return self.D // self.n_heads if self.head_channels is None else self.head_channels

    @property
    def attention_width(self) -> int:
        """Channels of all heads of a self-attention together: D unless head_channels says otherwise."""
        return self.n_heads * self.channels_of_a_head

    @property
    def depth(self) -> int:
        """Effective depth per supervision step, T(n+1)·n_layers (section 4.8)."""
        return self.T * (self.n + 1) * self.n_layers

    @property
    def recursions_with_gradient(self) -> int:
        """Of the n+1 recursions of the last deep recursion, the last so many carry a gradient: n of z and one of y."""
        return self.with_gradient(self.n)

    def with_gradient(self, n: int) -> int:
        """The same for another n, as a curriculum has it."""
        if self.gradient == "one step":
            return 2  # z once, y once (section 2.2)
        return n + 1 if self.gradient_k is None else self.gradient_k

    @property
    def nfp(self) -> int:
        """Forward passes per training step: the continue loss needs a second one (Table 1)."""
        return 2 if self.halting == "q_learning" else 1


class OptimSettings(Section):
    """Optimisers, learning-rate schedule and EMA (PAPER: hyper-parameters; released code: AdamATan2, SignSGD)."""

    name: Literal["adam_atan2", "adamw", "muon"] = "adam_atan2"
    """The optimiser of all weights but the puzzle embedding's; muon: of the networks' matrices, and adam_atan2 of the
    other weights."""
    lr: Annotated[float, Field(gt=0)] = 1e-4
    """Learning rate after the warm-up."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the mean of the gradients."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """Decay of the mean of their squares."""
    weight_decay: Annotated[float, Field(ge=0)] = 1.0
    """Weight decay, times the learning rate at each step."""
    embedding_lr: Annotated[float, Field(ge=0)] = 1e-4
    """Learning rate of SignSGD on the puzzle embedding."""
    embedding_weight_decay: Annotated[float, Field(ge=0)] = 1.0
    """Weight decay of the puzzle embedding."""
    warmup_steps: Annotated[int, Field(ge=0)] = 2000
    """Steps in which the learning rate rises from 0."""
    schedule: Literal["constant", "cosine"] = "constant"
    """The learning rate after the warm-up."""
    final_lr: Fraction = 0.0
    """Cosine only: the last step's fraction of lr."""
    ema: Annotated[float, Field(ge=0, lt=1)] | None = 0.999
    """Decay of the moving average of the weights that are evaluated; none: no EMA (Table 1)."""
    ema_covers: Literal["all", "network"] = "all"
    """What the EMA averages; network: not the puzzle embedding, as in the released code."""


class TrainSettings(Section):
    """How long, on what, and how often it is looked at."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """What draws the weights, the order of the puzzles and the exploration."""
    steps: Positive = 65104
    """Optimiser steps."""
    batch_size: Positive = 768
    """Slots, over all workers."""
    curriculum: str = "none"
    """Shallower recursions to begin with, "T=1 n=2 until 0.3; T=2 n=4 until 0.6" (fractions of the steps), and then
    model.T and model.n; none: these from the first step."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """Of activations; weights stay float32."""
    eval_every: Positive = 5000
    """Steps between evaluations on validation and test."""
    eval_puzzles: Positive | None = 2000
    """Puzzles of each split at an evaluation in mid-run; none: all."""
    eval_N_sup: Positive | None = None
    """Supervision steps at evaluation; none: model.N_sup."""
    eval_halt: Literal["never", "settled"] = "never"
    """When an evaluated puzzle stops: after all these steps, or as soon as one of them leaves its answer as it was and
    the halting head asks to halt."""
    evaluate_on: Literal["validation and test", "validation"] = "validation and test"
    """The held-out puzzles that the run looks at; validation: not a test puzzle is read, nor does ARC vote."""
    votes: Positive | None = None
    """ARC, at the end: so many variants of each test task vote; none: all there are."""
    log_every: Positive = 10
    """Steps between logged losses; not part of the key."""
    checkpoint_every: Positive = 500
    """Steps between checkpoints; not part of the key."""
    activation_checkpointing: Annotated[Literal["auto", "true", "false"], Word] = "auto"
    """Recompute the latent recursion in the backward; auto: where a step does not fit into the memory that is free
    without it; not part of the key."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Whether torch.compile makes the step faster; auto: on a GPU, and on a CPU with a C++ compiler where the run is
    long enough to pay for it. Not part of the key: answers differ by rounding."""
    evaluate_apart: bool = False
    """Evaluate in mid-run beside the training, as a Ray task on a device that is free; not part of the key."""
    diagnostics: bool = False
    """Log how the recursion behaves at every evaluation; not part of the key."""

    @property
    def recomputes(self) -> bool:
        """Whether activation checkpointing is on; what is left to "auto" is off until it is decided (memory.py)."""
        return self.activation_checkpointing == "true"

    @field_validator("curriculum")
    @classmethod
    def _names_stages(cls, curriculum: str) -> str:
        return spelt(read_curriculum(curriculum))


# of train: no number moves
NOT_IN_THE_KEY = (
    *("log_every", "checkpoint_every", "activation_checkpointing", "compile"),
    *("evaluate_apart", "diagnostics"),
)

SECTIONS: dict[str, type[Section]] = {
    "data": DataSettings,
    "model": ModelSettings,
    "optim": OptimSettings,
    "train": TrainSettings,
}
