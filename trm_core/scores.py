"""What a run's weights are worth on its held-out puzzles, in the run's own process or from a checkpoint in another."""

from __future__ import annotations

from pathlib import Path

import torch

from data_prep.puzzle_set import PuzzleSet
from trm_core import checkpoint as checkpoints_of
from trm_core.config import RunConfig
from trm_core.data import sample
from trm_core.distributed import alone
from trm_core.evaluate import evaluate
from trm_core.evaluate_outcomes import Watch
from trm_core.model import Model
from trm_core.opening import open_model


def scores(
    model: Model, run: RunConfig, data: PuzzleSet, device: torch.device, *, last: bool, watch: Watch | None = None
) -> dict[str, float]:
    """validation/*, and test/* if the run looks there: of a sample of train.eval_puzzles; last: of all puzzles.

    watch: told of every test puzzle. With torch.distributed initialised, all its workers share the puzzles.
    """
    metrics: dict[str, float] = {}
    for name in ("validation", "test") if run.looks_at_test else ("validation",):
        if not len(data.splits[name]):  # released datasets hold no validation puzzles out
            continue
        found = evaluate(
            model,
            data.splits[name],
            limit=None if last else run.train.eval_puzzles,
            batch_size=run.train.batch_size,
            N_sup=run.evaluation_steps,
            device=device,
            halt=run.train.eval_halt,
            shortest_paths=run.data.puzzle == "maze",
            loss=name == "validation",  # what a search prunes by; the test set has no say there
            order=None if last else sample(data, name),
            watch=watch if name == "test" else None,
        )
        metrics |= {f"{name}/{score}": value for score, value in found.items()}
    return metrics


def scores_of_saved(path: Path, data: PuzzleSet, device: str) -> dict[str, float]:
    """The scores in mid-run of the weights in a checkpoint's step_… folder. Raises BadCheckpoint."""
    run, model = open_model(checkpoints_of.load(path))
    with alone():  # a run's first worker scores here what the others know nothing of
        return scores(model.to(device), run, data, torch.device(device), last=False)


def scores_elsewhere(path: Path, data: Path, device: str, threads: int) -> dict[str, float]:
    """The same in a process of its own, with its run's number of threads: so of the same bits. data: a PuzzleSet's."""
    torch.set_num_threads(threads)
    return scores_of_saved(path, PuzzleSet.open(data, verify=False), device)
