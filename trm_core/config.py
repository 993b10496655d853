"""What a run is: RunConfig = data + model + optim + train, its depth, its cost, its key. No torch in this file.

Frozen, unknown names refused. The defaults are the released code's settings for TRM-MLP on Sudoku-Extreme
("Less is More: Recursive Reasoning with Tiny Networks", arXiv 2510.04871, and its repository); published defaults
never change again, since a run's key is the hash of what differs from them.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from trm_core.curriculum import Depth, Stretch, read_curriculum, spelt, stretches

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


class RunConfig(Settings):
    """One training run, completely. Equal settings, equal key."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    optim: OptimSettings = OptimSettings()
    train: TrainSettings = TrainSettings()

    @model_validator(mode="after")
    def _has_puzzles_to_look_at(self) -> Self:
        if self.train.evaluate_on == "validation" and not self.data.validation:
            raise ValueError(
                f'train.evaluate_on="validation" with data.validation={self.data.validation}: no puzzles are held out;'
                ' set data.validation, or train.evaluate_on="validation and test"'
            )
        return self

    @model_validator(mode="after")
    def _grows_to_the_model(self) -> Self:
        m = self.model
        stages = read_curriculum(self.train.curriculum)
        if stages and m.features in ("multi-scale z", "y"):
            raise ValueError(
                f'train.curriculum with model.features="{m.features}": another n would be another number of features;'
                " leave train.curriculum out"
            )
        for depth, _ in stages:
            if depth.T > m.T or depth.n > m.n or m.with_gradient(depth.n) > depth.n + 1:
                raise ValueError(
                    f"train.curriculum: T={depth.T} n={depth.n} with model.T={m.T}, model.n={m.n},"
                    f" model.gradient_k={m.gradient_k}; a curriculum grows up to the model's own depth, and has as many"
                    " recursions as carry a gradient; set lower ones, or leave train.curriculum out"
                )
        return self

    @property
    def looks_at_test(self) -> bool:
        """Whether the test puzzles are evaluated, and ARC's vote is held."""
        return self.train.evaluate_on == "validation and test"

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> RunConfig:
        """Nested mappings → RunConfig. Raises BadSetting, every offence named, with the nearest right name."""
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            raise BadSetting(_explain(error)) from None

    def change(self, settings: Mapping[str, Mapping[str, Any]]) -> RunConfig:
        """This run with some settings replaced: {"model": {"n": 2}}. Raises BadSetting."""
        merged = self.model_dump()
        for section, values in settings.items():
            if section not in merged:
                raise BadSetting(f"{section}: no such section; sections are {', '.join(merged)}")
            merged[section] = {**merged[section], **values}
        return type(self).parse(merged)

    def set(self, assignments: Iterable[str]) -> RunConfig:
        """This run with "model.D=96"-like assignments applied, in order. Raises BadSetting."""
        return self.change(assigned(assignments))

    def flat(self) -> dict[str, Any]:
        """Every setting as {"model.D": 512, …}."""
        return {
            f"{section}.{field}": value for section, part in self.model_dump().items() for field, value in part.items()
        }

    def key(self, data_hash: str) -> str:
        """The run's name: 16 hex digits from its settings, defaults left out, and the content hash of its puzzles."""
        settings = self.model_dump(mode="json", exclude_defaults=True, exclude={"train": set(NOT_IN_THE_KEY)})
        settings = {section: values for section, values in settings.items() if values}
        text = json.dumps([settings, data_hash], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    # --- what it costs -------------------------------------------------------------------------------------------

    @property
    def sequence(self) -> int:
        """Positions the network sees: the puzzle prefix and the cells."""
        return self.model.puzzle_prefix + self.data.cells

    def parameters(self) -> int:
        """Trained parameters of the network, puzzle embedding rows not counted (as the paper and the released code)."""
        tokens = self.data.vocabulary * self.model.D  # embedded, and read out
        heads = tokens * (1 if self.model.output_head == "tied" else 2) + 2 * self.model.D + 2
        positions = self.sequence * self.model.D if self.model.positions == "learned" else 0
        return self.matrices() + heads + positions

    def matrices(self) -> int:
        """Of them, those of the one network or the two: without embedding and heads."""
        m, positions = self.model, self.sequence
        swiglu = 3 * m.D * m.inner_width(m.D)
        if m.channel_mlp == "mixture of experts":
            swiglu = m.n_experts * (swiglu + m.D)
        mixer = 4 * m.D * m.attention_width if m.mixer == "attention" else 3 * positions * m.inner_width(positions)
        networks = 2 if m.networks == "separate" else 1
        return networks * m.n_layers * (swiglu + mixer)

    def stretches(self) -> tuple[Stretch, ...]:
        """The training steps, cut where the curriculum changes the depth; one stretch where there is none."""
        stages = read_curriculum(self.train.curriculum)
        return stretches(stages, Depth(self.model.T, self.model.n), self.train.steps)

    def depth_at(self, step: int) -> Depth:
        """The T and n of the step after `step` steps; the model's own past the last."""
        for depth, steps in self.stretches():
            if step < steps:
                return depth
            step -= steps
        return Depth(self.model.T, self.model.n)

    def forward_flops(self) -> int:
        """Operations of one forward supervision step on one puzzle: matrix products, 2 per multiply-add."""
        return self._forward_flops(Depth(self.model.T, self.model.n))

    def train_flops(self, depth: Depth | None = None) -> int:
        """Floating-point operations of one training step on one puzzle: NFP forwards, and a backward of twice the
        forward through what carries a gradient. depth: of a curriculum; None: the model's own.

        What a backward computes a second time to save memory is not counted: activation checkpointing, and within
        fused attention.
        """
        m, depth = self.model, depth or Depth(self.model.T, self.model.n)
        graph = m.with_gradient(depth.n) * m.n_layers
        head = 2 * self.data.cells * m.D * self.data.vocabulary
        return m.nfp * self._forward_flops(depth) + 2 * (self._layer_flops() * graph + head)

    def train_work(self, steps: int | None = None) -> float:
        """Operations of the first so many training steps, None: of all; the evaluations not counted."""
        left, work = self.train.steps if steps is None else steps, 0
        for depth, of_depth in self.stretches():
            work += self.train_flops(depth) * self.train.batch_size * min(left, of_depth)
            left = max(0, left - of_depth)
        return float(work)

    def _forward_flops(self, depth: Depth) -> int:
        layers = depth.T * (depth.n + 1) * self.model.n_layers
        return self._layer_flops() * layers + 2 * self.data.cells * self.model.D * self.data.vocabulary

    def _layer_flops(self) -> int:
        m, positions = self.model, self.sequence
        swiglu = 2 * positions * 3 * m.D * m.inner_width(m.D)
        if m.channel_mlp == "mixture of experts":
            swiglu = m.n_experts * (swiglu + 2 * positions * m.D)  # every expert is computed, most are weighed by 0
        if m.mixer == "attention":
            return swiglu + 2 * positions * 4 * m.D * m.attention_width + 4 * positions * positions * m.attention_width
        return swiglu + 2 * m.D * 3 * positions * m.inner_width(positions)


# --- settings as text ------------------------------------------------------------------------------------------------


Kind = type[int] | type[float] | type[bool] | type[str]


class Setting(NamedTuple):
    """One setting of a run in words, and what its text is read by."""

    name: str  # "model.D"
    type: str  # "integer", "number", "true or false", "text" or "choice", where it may be none " or none"
    range: str  # "2 or more", "mlp | attention"; empty where every value of the type will do
    default: str  # as `--set` reads it
    meaning: str  # one clause
    kind: Kind
    choices: tuple[str, ...]  # of a choice: all there are
    takes_none: bool


@functools.cache
def describe() -> tuple[Setting, ...]:
    """Every setting of a run, in the order of RunConfig."""
    defaults = RunConfig().flat()
    return tuple(_described(name, _field(name), default) for name, default in defaults.items())


def setting_text(value: object) -> str:
    """The text that `--set` reads back as this value of a setting: none, true, 0.001, single z."""
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value)


def setting_value(name: str, text: str) -> Any:
    """The value that `--set name=text` gives a setting, looked at alone. Raises BadSetting."""
    setting = find_setting(name)
    try:
        return _adapter(name).validate_python(_value(setting, text))
    except ValidationError as error:
        raise BadSetting(_explain(error, name)) from None


def find_setting(name: str) -> Setting:
    """The setting of that name. Raises BadSetting with the nearest right one."""
    for setting in describe():
        if setting.name == name:
            return setting
    raise BadSetting(f"{name}: no such setting{_nearest(name, RunConfig().flat())}")


def assigned(assignments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """ "model.D=96"-like assignments, in order, as {"model": {"D": 96}}. Raises BadSetting.

    A text is read by its setting's type, and whether it is a value of that type is for RunConfig to say.
    """
    changes: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise BadSetting(f"--set {assignment}: expected NAME=VALUE, for example model.D=96")
        section, _, field = name.partition(".")
        changes.setdefault(section, {})[field] = _value(find_setting(name), text)
    return changes


def _value(setting: Setting, text: str) -> Any:
    """The value that a text stands for, where it stands for one of the setting's type; else the text itself."""
    if setting.takes_none and text.lower() in ("none", "null"):
        return None
    if setting.kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    if setting.kind is str:
        return text
    try:
        number = json.loads(text)
    except (ValueError, RecursionError):  # no JSON; thousands of digits; thousands of brackets
        return text
    return number if isinstance(number, int | float) and not isinstance(number, bool) else text  # `true` is no number


def _field(name: str) -> FieldInfo:
    section, _, field = name.partition(".")
    part = RunConfig.model_fields[section].annotation
    assert isinstance(part, type)
    assert issubclass(part, Settings)
    return part.model_fields[field]


@functools.cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_field(name).rebuild_annotation(), config=ConfigDict(allow_inf_nan=False))


def _described(name: str, field: FieldInfo, default: object) -> Setting:
    kind: Any = field.annotation
    bounds = list(field.metadata)
    takes_none = NoneType in get_args(kind)
    if takes_none:
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is Annotated:
        bounds += [bound for info in kind.__metadata__ for bound in info.metadata]
        kind = kind.__origin__
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    words = "choice" if choices else {int: "integer", float: "number", bool: "true or false", str: "text"}[kind]
    return Setting(
        name=name,
        type=words + (" or none" if takes_none else ""),
        range=" | ".join(choices) if choices else _range(bounds),
        default=setting_text(default),
        meaning=" ".join((field.description or "").split()),
        kind=str if choices else kind,
        choices=choices,
        takes_none=takes_none,
    )


def _range(bounds: Iterable[object]) -> str:
    """Pydantic's bounds in words: "2 or more", "0 to 1", "0 or more, less than 1"."""
    found = {
        name: getattr(bound, name) for bound in bounds for name in ("ge", "gt", "le", "lt") if hasattr(bound, name)
    }
    if set(found) == {"ge", "le"}:
        return f"{found['ge']} to {found['le']}"
    words = {"ge": "{} or more", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}
    return ", ".join(words[name].format(found[name]) for name in words if name in found)


def _nearest(name: str, names: Iterable[str]) -> str:
    """A hint at the setting meant: the same field in another section, or in none, before the closest spelling."""
    full_names = {spelling: known for known in names for spelling in (known, known.rpartition(".")[2])}
    field = name.rpartition(".")[2].lower()
    meant = sorted({known for known in full_names.values() if known.rpartition(".")[2].lower() == field})
    if not meant:
        meant = [full_names[spelling] for spelling in difflib.get_close_matches(name, full_names, n=1, cutoff=0.5)]
    if not meant:
        return f"; settings are {', '.join(sorted(set(full_names.values())))}"
    return f"; did you mean {' or '.join(meant)}?"


def _explain(error: ValidationError, within: str = "") -> str:
    """Pydantic's errors, one line: setting, found, expected. within: the setting, where it was looked at alone."""
    known = RunConfig().flat()
    lines = []
    for offence in error.errors():
        name = within or ".".join(str(part) for part in offence["loc"])
        if offence["type"] == "extra_forbidden":
            lines.append(f"{name}: no such setting{_nearest(name, known)}")
        elif offence["type"] == "value_error":
            lines.append(str(offence["ctx"]["error"]))
        else:
            lines.append(f"{name}={shortened(offence['input'])}: {offence['msg'][0].lower()}{offence['msg'][1:]}")
    return "; ".join(lines)


def shortened(value: object) -> str:
    """A value as an error shows it: its start, where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
