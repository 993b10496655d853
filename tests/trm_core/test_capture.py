"""A step recorded as a CUDA graph: what it copies, and on a GPU that its numbers are the launched step's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.equality import FLOAT32
from data_prep.puzzle_set import PuzzleSet
from trm_core import checkpoint
from trm_core.capture import WARM_UP, Captured, _move, _own, _tensors
from trm_core.config import RunConfig
from trm_core.data import TrainingBatches
from trm_core.model import Model
from trm_core.parity import relative_error
from trm_core.supervision import Slots, empty_slots
from trm_core.trainer import Trainer

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def _slots(tiny: RunConfig, puzzles: PuzzleSet) -> Slots:
    """As a step leaves them: the MLP mixer's positions come first."""
    model, batch = Model(tiny), TrainingBatches(puzzles, tiny).draw(0, 0, 1, CPU)
    slots = empty_slots(model, batch)
    vectors = model.puzzle_vectors(batch.puzzle_ids)
    features, *_ = model(batch.inputs, vectors, slots.features)
    return replace(slots, features=tuple(feature.detach() for feature in features))


def test_a_recordings_own_tensors_are_equal_laid_out_alike_and_share_no_memory(
    tiny: RunConfig, puzzles: PuzzleSet
) -> None:
    slots, batch = _slots(tiny, puzzles), TrainingBatches(puzzles, tiny).draw(0, 0, 1, CPU)
    assert slots.features[0].transpose(0, 1).is_contiguous()
    for given, own in ((slots, _own(slots)), (batch, _own(batch))):
        assert type(own) is type(given)
        assert len(_tensors(own)) == len(_tensors(given)) == (7 if isinstance(given, Slots) else 3)
        for ours, theirs in zip(_tensors(own), _tensors(given), strict=True):
            assert torch.equal(ours, theirs)
            assert ours.stride() == theirs.stride()
            assert ours.data_ptr() != theirs.data_ptr()


def test_what_is_moved_into_a_recording_keeps_its_place_there(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    batches = TrainingBatches(puzzles, tiny)
    own, following = _own(batches.draw(0, 0, 1, CPU)), batches.draw(1, 0, 1, CPU)
    places = [tensor.data_ptr() for tensor in _tensors(own)]
    _move(_tensors(following), _tensors(own))
    assert all(torch.equal(ours, new) for ours, new in zip(_tensors(own), _tensors(following), strict=True))
    assert [tensor.data_ptr() for tensor in _tensors(own)] == places
    with pytest.raises(ValueError, match="zip"):
        _move(_tensors(following)[:1], _tensors(own))


# --- on a GPU --------------------------------------------------------------------------------------------------------

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]
gpu += [
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]


class TestOnAGPU:
    pytestmark = gpu

    @staticmethod
    def _compiled(tiny: RunConfig, change: dict[str, dict[str, Any]]) -> RunConfig:
        torch._dynamo.reset()
        return tiny.change(change).change({"train": {"compile": "on"}})

    @staticmethod
    def _state(trainer: Trainer) -> dict[str, Tensor]:
        assert trainer.slots is not None
        tensors = trainer.slots.tensors() | trainer.model.state_dict() | {"sums": trainer.sums}
        return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}

    def _assert_alike(self, captured: Trainer, launched: Trainer) -> None:
        ours, theirs = self._state(captured), self._state(launched)
        assert ours.keys() == theirs.keys()
        errors = {name: relative_error(ours[name], theirs[name]) for name in ours}
        assert {name: error for name, error in errors.items() if error > FLOAT32} == {}

    @pytest.mark.parametrize("mixer", ["mlp", "attention"])
    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_ten_captured_steps_are_ten_launched_ones(
        self, tiny: RunConfig, puzzles: PuzzleSet, mixer: str, precision: str
    ) -> None:
        run = self._compiled(tiny, {"model": {"mixer": mixer}, "train": {"precision": precision}})
        captured, launched = (Trainer(run, puzzles, GPU, capture=capture) for capture in (True, False))
        for step in range(10):
            captured.take_step()
            launched.take_step()
            work = captured.forward_and_backward
            assert isinstance(work, Captured)
            assert (work.graph is not None) == (step >= WARM_UP)
        assert not isinstance(launched.forward_and_backward, Captured)
        self._assert_alike(captured, launched)
        ours, theirs = captured.window_metrics(), launched.window_metrics()
        assert ours == pytest.approx(theirs, rel=FLOAT32)

    def test_slots_of_a_checkpoint_are_taken_by_a_recording_and_by_one_not_yet_made(
        self, tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path
    ) -> None:
        run = self._compiled(tiny, {})
        whole = Trainer(run, puzzles, GPU, capture=False)
        recorded, fresh = Trainer(run, puzzles, GPU), Trainer(run, puzzles, GPU)
        for _ in range(5):
            whole.take_step()
        saved = checkpoint.load(whole.save(tmp_path))
        for _ in range(7):
            recorded.take_step()  # elsewhere than the checkpoint, with a graph of its own
        recorded.restore(saved)
        fresh.restore(saved)
        for _ in range(6):
            for trainer in (whole, recorded, fresh):
                trainer.take_step()
        self._assert_alike(recorded, whole)
        self._assert_alike(fresh, whole)

    def test_another_depth_of_a_curriculum_is_another_recording(self, tiny: RunConfig, puzzles: PuzzleSet) -> None:
        run = self._compiled(tiny, {"train": {"curriculum": "T=1 n=1 until 0.5"}})
        captured, launched = (Trainer(run, puzzles, GPU, capture=capture) for capture in (True, False))
        recordings = []
        for _ in range(12):
            captured.take_step()
            launched.take_step()
            if captured.forward_and_backward not in recordings:
                recordings.append(captured.forward_and_backward)
        assert len(recordings) == 2
        assert all(isinstance(each, Captured) and each.graph is not None for each in recordings)
        self._assert_alike(captured, launched)
