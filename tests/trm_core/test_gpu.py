from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data_prep.puzzle_set import PuzzleSet
from trm_core.config import RunConfig
from trm_core.trainer import train

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_on_a_gpu_trains_saves_resumes_and_evaluates(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path, precision: str
) -> None:
    run = tiny.change({"train": {"precision": precision}})
    steps = []

    def stops_at_6(step: int, *_: object) -> None:
        steps.append(step)
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, puzzles, stops_at_6, checkpoints=tmp_path, device="cuda")
    final = train(run, puzzles, lambda step, *_: steps.append(step), checkpoints=tmp_path, device="cuda")
    assert steps == [2, 4, 6, 4, 6, 8, 10, 12]
    assert final["test/puzzles"] == 24


def test_the_first_steps_on_a_gpu_have_the_losses_of_the_cpu(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    losses: dict[str, list[float]] = {"cpu": [], "cuda": []}
    for device, seen in losses.items():
        train(
            tiny.change({"train": {"steps": 3, "log_every": 1}}),
            puzzles,
            lambda _, metrics, __, seen=seen: seen.append(metrics["train/loss"]),  # type: ignore[misc]
            device=device,
        )
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=1e-3)
