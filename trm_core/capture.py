"""A training step as one CUDA graph: recorded once, replayed with new puzzles, without a launch per kernel.

Recorded is what depends on the batch: refill, forward, losses, backward. The optimisers and the workers' sum come after
it, as ever. Every tensor of a recording keeps its place: puzzles are copied into it before a replay, and slots and
gradients stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from trm_core.data import Batch
from trm_core.supervision import Slots, Step

WARM_UP = 3  # steps taken before recording: kernels are compiled and chosen by then

ForwardAndBackward = Callable[[Slots | None, Batch, Tensor], Step]


class Captured:
    """forward_and_backward(slots, batch, min_steps), as it is for the first steps, and then replayed.

    The slots of the Step it returns are the next call's: a replay overwrites them.
    """

    def __init__(self, forward_and_backward: ForwardAndBackward) -> None:
        self.work = forward_and_backward
        self.taken = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self._batch: Batch
        self._min_steps: Tensor
        self._slots: Slots
        self._step: Step

    def __call__(self, slots: Slots | None, batch: Batch, min_steps: Tensor) -> Step:
        """One step."""
        if slots is None or (self.graph is None and self.taken < WARM_UP):
            self.taken += 1
            return self._beside(slots, batch, min_steps)
        if self.graph is None:
            self.graph = self._record(slots, batch, min_steps)
        elif slots is not self._slots:  # of another hand: a checkpoint's
            _move(_tensors(slots), _tensors(self._slots))
        _move(_tensors(batch), _tensors(self._batch))
        self._min_steps.copy_(min_steps)
        self.graph.replay()
        return self._step

    def _beside(self, slots: Slots | None, batch: Batch, min_steps: Tensor) -> Step:
        """On a stream of its own, as recording will be: what is chosen and allocated there once is there then."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            step = self.work(slots, batch, min_steps)
        torch.cuda.current_stream().wait_stream(stream)
        return step

    def _record(self, slots: Slots, batch: Batch, min_steps: Tensor) -> torch.cuda.CUDAGraph:
        self._slots, self._batch, self._min_steps = _own(slots), _own(batch), min_steps.clone()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step = self.work(self._slots, self._batch, self._min_steps)
            _move(_tensors(step.slots), _tensors(self._slots))
        self._step = replace(step, slots=self._slots)
        return graph


S = TypeVar("S", Slots, Batch)


def _own(of: S) -> S:
    """The same in tensors of its own, laid out alike."""
    copies: dict[str, Any] = {}
    for field in fields(of):
        value = getattr(of, field.name)
        copies[field.name] = tuple(each.clone() for each in value) if isinstance(value, tuple) else value.clone()
    return type(of)(**copies)


def _tensors(of: Slots | Batch) -> list[Tensor]:
    values = (getattr(of, field.name) for field in fields(of))
    return [tensor for value in values for tensor in (value if isinstance(value, tuple) else (value,))]


def _move(new: list[Tensor], into: list[Tensor]) -> None:
    for tensor, there in zip(new, into, strict=True):
        if there is not tensor:
            there.copy_(tensor)
