"""What a run is: RunConfig = data + model + optim + train, its depth, its cost, its key. No torch in this file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import ValidationError, model_validator

from trm_core.curriculum import Depth, Stretch, read_curriculum, stretches
from trm_core.settings import (
    NOT_IN_THE_KEY,
    BadSetting,
    DataSettings,
    ModelSettings,
    OptimSettings,
    Settings,
    TrainSettings,
)
from trm_core.settings_as_text import assigned, explain


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

    @property
    def evaluation_steps(self) -> int:
        """Supervision steps at evaluation: the model's own unless train.eval_N_sup says otherwise."""
        return self.train.eval_N_sup or self.model.N_sup

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> RunConfig:
        """Nested mappings → RunConfig. Raises BadSetting, every offence named, with the nearest right name."""
        try:
            return cls.model_validate(settings)
        except ValidationError as error:
            raise BadSetting(explain(error)) from None

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
