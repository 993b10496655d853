"""Scores of weights: the same from a checkpoint in another process as in the run itself."""

from pathlib import Path

import torch

from data_prep.puzzle_set import PuzzleSet
from trm_core import checkpoint
from trm_core.checkpoint import Checkpoint
from trm_core.config import RunConfig
from trm_core.model import Model
from trm_core.scores import scores_of_saved
from trm_core.trainer import Trainer, train


def test_saved_weights_score_as_the_run_scores_them_in_mid_run_bit_for_bit(
    puzzles: PuzzleSet, tiny: RunConfig, tmp_path: Path
) -> None:
    run = tiny.set(["train.eval_puzzles=10"])
    trainer = Trainer(run, puzzles, torch.device("cpu"))
    for _ in range(3):
        trainer.take_step()
    weights = dict(trainer.evaluated_model.state_dict())
    saved = checkpoint.save(Checkpoint(3, run.model_dump(mode="json"), puzzles.content_hash, weights, {}), tmp_path)
    found = scores_of_saved(saved, puzzles, "cpu")
    assert found == trainer.evaluate()
    assert found["test/puzzles"] == 10


def test_a_run_whose_scores_are_made_elsewhere_reports_all_else_and_scores_its_end_itself(
    puzzles: PuzzleSet, tiny: RunConfig
) -> None:
    run = tiny.set(["train.diagnostics=true"])
    asked: list[int] = []
    usual: dict[int, dict[str, float]] = {}
    found: dict[int, dict[str, float]] = {}

    def elsewhere(step: int, _: Model) -> bool:
        asked.append(step)
        return True

    train(run, puzzles, lambda step, metrics, _: usual.update({step: dict(metrics)}), device="cpu")
    train(
        run,
        puzzles,
        lambda step, metrics, _: found.update({step: dict(metrics)}),
        device="cpu",
        apart=elsewhere,
    )
    every, steps = run.train.eval_every, run.train.steps
    assert asked == [*range(every, steps, every)]
    for step, metrics in usual.items():
        lacks = {name for name in metrics if name not in found[step]}
        assert {name for name in lacks if not name.startswith("time/")} == (
            {name for name in lacks if name.startswith(("validation/", "test/"))} if step in asked else set()
        )
        assert ("test/exact_accuracy" in found[step]) == (step == steps)
        assert any(name.startswith("train/halted_at") for name in found[step]) == (step % every == 0)
