"""What a run is: RunConfig = data + model + optim + train, its depth, its cost, its key. No torch in this file.

Frozen, unknown names refused. The defaults are the released code's settings for TRM-MLP on Sudoku-Extreme
("Less is More: Recursive Reasoning with Tiny Networks", arXiv 2510.04871, and its repository); published defaults
never change again, since a run's key is the hash of what differs from them.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]


class BadSetting(ValueError):
    """A setting that does not exist, has the wrong type or range, or contradicts another. One line per offence."""


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown names, no silent conversion of a float to an int."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSettings(Settings):
    """Which puzzles, how many, and how they are augmented (paper, section 5)."""

    puzzle: Literal["sudoku", "maze", "arc"] = "sudoku"
    source: Literal["files", "generated"] = "files"  # the published files, or our own generator
    box_rows: Annotated[int, Field(ge=2, le=6)] = 3
    box_cols: Annotated[int, Field(ge=2, le=6)] = 3
    side: Annotated[int, Field(ge=3, le=32)] = 30  # of a maze, and of the canvas that ARC's grids are laid on
    train: Positive | None = 1000  # puzzles (ARC: tasks); None: all that are left
    validation: Annotated[int, Field(ge=0)] = 1000  # puzzles (ARC: tasks), held out of the training puzzles
    test: Positive | None = None  # puzzles (ARC: tasks); None: all of the test file
    clues: Positive | None = None  # generated Sudoku only: stop removing clues here; None: minimal puzzles
    least_path: Annotated[int, Field(ge=2)] | None = None  # generated mazes: cells of the path; None: as published
    subsets: str = "training,evaluation,concept"  # ARC: the files whose tasks are learnt from, "training2" and so on …
    test_subset: str = "evaluation"  # … and the one of them whose test pairs are the test set
    allow_leak: bool = False  # ARC: even where a task to be tested is learnt from; every report says so
    seed: Annotated[int, Field(ge=0)] = 0  # which puzzles are drawn, and the augmentations
    augmentations: Annotated[int, Field(ge=0)] = 1000  # variants of each training puzzle, the original not counted
    # mazes: the answer of a moved maze is moved too, as in the released code, or found anew by the tie-break (and then
    # of all eight moves, or of the left-right mirror alone)
    maze_augmentation: Literal["released", "recomputed", "mirror"] = "released"

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


class ModelSettings(Settings):
    """The recursion and its five switches (mixer, networks, features, gradient, halting)."""

    mixer: Literal["mlp", "attention"] = "mlp"  # section 4.5
    networks: Literal["one", "separate"] = "one"  # section 4.3: one net for f_z and f_y, or two
    # section 4.2, Table 2; "y" is direct prediction: y ← f(y + x), no latent recursion (Table 4)
    features: Literal["y,z", "single z", "multi-scale z", "y"] = "y,z"
    gradient: Literal["full recursion", "one step", "last k"] = "full recursion"  # section 4.1
    # "last k": of the n+1 recursions, so many carry a gradient (appendix: 4 of 7); with 1, x would never get one
    gradient_k: Annotated[int, Field(ge=2)] | None = None
    halting: Literal["bce", "q_learning", "none"] = (
        "bce"  # section 4.6: "q_learning" is "w/ ACT"; "none": no early stop
    )
    T: Positive = 3  # deep recursions per supervision step; all but the last without gradient
    n: Annotated[int, Field(ge=0)] = 6  # latent recursions per deep recursion; 0 in direct prediction alone
    N_sup: Positive = 16  # supervision steps
    n_layers: Positive = 2  # of each network
    D: Annotated[int, Field(ge=2)] = 512  # width
    n_heads: Positive = 8
    expansion: Annotated[float, Field(gt=0)] = 4.0  # SwiGLU's inner width is 2/3 of expansion · width, …
    inner_multiple: Positive = 256  # … rounded up to a multiple of this
    channel_mlp: Literal["swiglu", "mixture of experts"] = "swiglu"  # over the channels (appendix)
    n_experts: Annotated[int, Field(ge=2)] = 4  # mixture only: SwiGLUs of the same width …
    experts_per_token: Positive = 2  # … of which each position takes so many
    output_head: Literal["own", "tied"] = "own"  # "tied": the token embedding's weights (appendix)
    puzzle_prefix: Annotated[int, Field(ge=0)] = 16  # positions of the puzzle embedding before the cells; 0: none
    loss: Literal["stablemax", "softmax"] = "stablemax"
    halting_loss_weight: Annotated[float, Field(ge=0)] = 0.5
    exploration: Fraction = 0.1  # probability that halting waits for a random number of steps

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
        if self.mixer == "attention" and (self.D % self.n_heads or self.D // self.n_heads % 2):
            raise ValueError(
                f"model.D={self.D} with model.n_heads={self.n_heads}: each head needs an even number of channels;"
                " set model.D to an even multiple of model.n_heads"
            )
        return self

    def inner_width(self, width: int) -> int:
        """SwiGLU's inner width for an outer width (released code, layers.py)."""
        return -(-round(self.expansion * width * 2 / 3) // self.inner_multiple) * self.inner_multiple

    @property
    def depth(self) -> int:
        """Effective depth per supervision step, T(n+1)·n_layers (section 4.8)."""
        return self.T * (self.n + 1) * self.n_layers

    @property
    def recursions_with_gradient(self) -> int:
        """Of the n+1 recursions of the last deep recursion, the last so many carry a gradient: n of z and one of y."""
        if self.gradient == "one step":
            return 2  # z once, y once (section 2.2)
        return self.n + 1 if self.gradient_k is None else self.gradient_k

    @property
    def nfp(self) -> int:
        """Forward passes per training step: the continue loss needs a second one (Table 1)."""
        return 2 if self.halting == "q_learning" else 1


class OptimSettings(Settings):
    """Optimisers, learning-rate schedule and EMA (PAPER: hyper-parameters; released code: AdamATan2, SignSGD)."""

    name: Literal["adam_atan2", "adamw"] = "adam_atan2"
    lr: Annotated[float, Field(gt=0)] = 1e-4
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.95
    weight_decay: Annotated[float, Field(ge=0)] = 1.0
    embedding_lr: Annotated[float, Field(ge=0)] = 1e-4  # SignSGD on the puzzle embedding
    embedding_weight_decay: Annotated[float, Field(ge=0)] = 1.0
    warmup_steps: Annotated[int, Field(ge=0)] = 2000
    schedule: Literal["constant", "cosine"] = "constant"  # after the warm-up
    final_lr: Fraction = 0.0  # cosine only: the last step's fraction of lr
    ema: Annotated[float, Field(ge=0, lt=1)] | None = 0.999  # None: no EMA (Table 1)
    ema_covers: Literal["all", "network"] = "all"  # "network": not the puzzle embedding, as in the released code


class TrainSettings(Settings):
    """How long, on what, and how often it is looked at."""

    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    steps: Positive = 65104  # optimiser steps
    batch_size: Positive = 768  # slots, over all workers
    precision: Literal["fp32", "bf16"] = "bf16"  # of activations; weights stay float32
    eval_every: Positive = 5000  # steps between evaluations on validation and test
    eval_puzzles: Positive | None = 2000  # of each split at an evaluation in mid-run; None: all
    eval_N_sup: Positive | None = None  # supervision steps at evaluation; None: model.N_sup
    votes: Positive | None = None  # ARC, at the end: of each test task so many variants vote; None: all there are
    log_every: Positive = 10  # steps; not part of the key
    checkpoint_every: Positive = 500  # steps; not part of the key
    activation_checkpointing: bool = False  # recompute the latent recursion in the backward; not part of the key
    diagnostics: bool = False  # log how the recursion behaves at every evaluation; not part of the key


NOT_IN_THE_KEY = (
    "log_every",
    "checkpoint_every",
    "activation_checkpointing",
    "diagnostics",
)  # of train: no number moves


class RunConfig(Settings):
    """One training run, completely. Equal settings, equal key."""

    data: DataSettings = DataSettings()
    model: ModelSettings = ModelSettings()
    optim: OptimSettings = OptimSettings()
    train: TrainSettings = TrainSettings()

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
        m, positions = self.model, self.sequence
        swiglu = 3 * m.D * m.inner_width(m.D)
        if m.channel_mlp == "mixture of experts":
            swiglu = m.n_experts * (swiglu + m.D)
        mixer = 4 * m.D * m.D if m.mixer == "attention" else 3 * positions * m.inner_width(positions)
        networks = 2 if m.networks == "separate" else 1
        tokens = self.data.vocabulary * m.D  # embedded, and read out
        heads = tokens * (1 if m.output_head == "tied" else 2) + 2 * m.D + 2
        return networks * m.n_layers * (swiglu + mixer) + heads

    def forward_flops(self) -> int:
        """Operations of one forward supervision step on one puzzle: matrix products, 2 per multiply-add."""
        return self._layer_flops() * self.model.depth + 2 * self.data.cells * self.model.D * self.data.vocabulary

    def train_flops(self) -> int:
        """Floating-point operations of one training step on one puzzle: NFP forwards, and a backward of twice the
        forward through what carries a gradient."""
        m = self.model
        graph = m.recursions_with_gradient * m.n_layers
        head = 2 * self.data.cells * m.D * self.data.vocabulary
        return m.nfp * self.forward_flops() + 2 * (self._layer_flops() * graph + head)

    def _layer_flops(self) -> int:
        m, positions = self.model, self.sequence
        swiglu = 2 * positions * 3 * m.D * m.inner_width(m.D)
        if m.channel_mlp == "mixture of experts":
            swiglu = m.n_experts * (swiglu + 2 * positions * m.D)  # every expert is computed, most are weighed by 0
        if m.mixer == "attention":
            return swiglu + 2 * positions * 4 * m.D * m.D + 4 * positions * positions * m.D
        return swiglu + 2 * m.D * 3 * positions * m.inner_width(positions)


def assigned(assignments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """ "model.D=96"-like assignments, in order, as {"model": {"D": 96}}. Raises BadSetting."""
    known = RunConfig().flat()
    changes: dict[str, dict[str, Any]] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise BadSetting(f"--set {assignment}: expected NAME=VALUE, for example model.D=96")
        if name not in known:
            raise BadSetting(f"{name}: no such setting{_nearest(name, known)}")
        section, _, field = name.partition(".")
        changes.setdefault(section, {})[field] = _value(text)
    return changes


def _value(text: str) -> Any:
    """The value behind `--set name=`: a number or none where it is one, else the text as it stands."""
    if text.lower() in ("none", "null"):
        return None
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text  # `true` is no number


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


def _explain(error: ValidationError) -> str:
    """Pydantic's errors, one line: setting, found, expected."""
    known = RunConfig().flat()
    lines = []
    for offence in error.errors():
        name = ".".join(str(part) for part in offence["loc"])
        if offence["type"] == "extra_forbidden":
            lines.append(f"{name}: no such setting{_nearest(name, known)}")
        elif offence["type"] == "value_error":
            lines.append(str(offence["ctx"]["error"]))
        else:
            lines.append(f"{name}={offence['input']!r}: {offence['msg'][0].lower()}{offence['msg'][1:]}")
    return "; ".join(lines)
