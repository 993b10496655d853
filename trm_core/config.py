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

    puzzle: Literal["sudoku"] = "sudoku"
    source: Literal["files", "generated"] = "files"  # the published CSV files, or our own generator
    box_rows: Annotated[int, Field(ge=2, le=6)] = 3
    box_cols: Annotated[int, Field(ge=2, le=6)] = 3
    train: Positive = 1000  # puzzles
    validation: Positive = 1000  # puzzles, held out of the training file
    test: Positive | None = None  # puzzles; None: all of the test file
    clues: Positive | None = None  # generated only: stop removing clues here; None: minimal puzzles
    seed: Annotated[int, Field(ge=0)] = 0  # which puzzles are drawn, and the augmentations
    augmentations: Annotated[int, Field(ge=0)] = 1000  # variants of each training puzzle, the original not counted

    @property
    def cells(self) -> int:
        """L, the number of cells of a puzzle."""
        return (self.box_rows * self.box_cols) ** 2

    @property
    def vocabulary(self) -> int:
        """V: pad, blank and the digits (11 for 9x9)."""
        return self.box_rows * self.box_cols + 2

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
    features: Literal["y,z", "single z", "multi-scale z"] = "y,z"  # section 4.2, Table 2
    gradient: Literal["full recursion", "one step"] = "full recursion"  # section 4.1
    halting: Literal["bce", "q_learning"] = "bce"  # section 4.6: "q_learning" is "w/ ACT"
    T: Positive = 3  # deep recursions per supervision step; all but the last without gradient
    n: Positive = 6  # latent recursions per deep recursion
    N_sup: Positive = 16  # supervision steps
    n_layers: Positive = 2  # of each network
    D: Annotated[int, Field(ge=2)] = 512  # width
    n_heads: Positive = 8
    expansion: Annotated[float, Field(gt=0)] = 4.0  # SwiGLU's inner width is 2/3 of expansion · width, …
    inner_multiple: Positive = 256  # … rounded up to a multiple of this
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
        if self.features != "y,z" and self.gradient == "one step":
            raise ValueError(
                f'model.features="{self.features}" with model.gradient="one step": the paper defines the one-step'
                ' gradient for y and z only; set model.features="y,z" or model.gradient="full recursion"'
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
    log_every: Positive = 10  # steps; not part of the key
    checkpoint_every: Positive = 500  # steps; not part of the key


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
        changes: dict[str, dict[str, Any]] = {}
        for assignment in assignments:
            name, equals, text = assignment.partition("=")
            if not equals:
                raise BadSetting(f"--set {assignment}: expected NAME=VALUE, for example model.D=96")
            if name not in self.flat():
                raise BadSetting(f"{name}: no such setting{_nearest(name, self.flat())}")
            section, _, field = name.partition(".")
            changes.setdefault(section, {})[field] = _value(text)
        return self.change(changes)

    def flat(self) -> dict[str, Any]:
        """Every setting as {"model.D": 512, …}."""
        return {
            f"{section}.{field}": value for section, part in self.model_dump().items() for field, value in part.items()
        }

    def key(self, data_hash: str) -> str:
        """The run's name: 16 hex digits from its settings, defaults left out, and the content hash of its puzzles."""
        settings = self.model_dump(
            mode="json", exclude_defaults=True, exclude={"train": {"log_every", "checkpoint_every"}}
        )
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
        mixer = 4 * m.D * m.D if m.mixer == "attention" else 3 * positions * m.inner_width(positions)
        networks = 2 if m.networks == "separate" else 1
        heads = 2 * self.data.vocabulary * m.D + 2 * m.D + 2
        return networks * m.n_layers * (swiglu + mixer) + heads

    def forward_flops(self) -> int:
        """Operations of one forward supervision step on one puzzle: matrix products, 2 per multiply-add."""
        return self._layer_flops() * self.model.depth + 2 * self.data.cells * self.model.D * self.data.vocabulary

    def train_flops(self) -> int:
        """Floating-point operations of one training step on one puzzle: NFP forwards, and a backward of twice the
        forward through what carries a gradient (the last n latent recursions and y, or one of each)."""
        m = self.model
        graph = (m.n + 1 if m.gradient == "full recursion" else 2) * m.n_layers
        head = 2 * self.data.cells * m.D * self.data.vocabulary
        return m.nfp * self.forward_flops() + 2 * (self._layer_flops() * graph + head)

    def _layer_flops(self) -> int:
        m, positions = self.model, self.sequence
        swiglu = 2 * positions * 3 * m.D * m.inner_width(m.D)
        if m.mixer == "attention":
            return swiglu + 2 * positions * 4 * m.D * m.D + 4 * positions * positions * m.D
        return swiglu + 2 * m.D * 3 * positions * m.inner_width(positions)


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
