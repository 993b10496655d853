"""A trained model as a python_function of MLflow: a checkpoint's folder, and this module, which it names as its loader.

    solver = mlflow.pyfunc.load_model("models:/m-…")
    answers = solver.predict(puzzles)

Puzzles and answers are integers [B, cells], tokens as in a puzzle set (Sudoku: 1 is a blank, digit d is d + 1), as an
array or a DataFrame. A model of ARC knows a task by its identifier in its set, so before the cells there stands that:
[B, 1 + cells]. MLflow is not imported here, and torch only once a model is loaded; opening one runs no code of others.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from data_prep.puzzle_set import Split
from trm_core.config import RunConfig

if TYPE_CHECKING:
    from trm_core.model import Model

LOADER = "trm_core.pyfunc"
TOKENS = np.int64  # of puzzles and answers
AT_ONCE = 64  # puzzles

Tokens = NDArray[np.int64]


class BadInput(ValueError):
    """What was given to a solver is no puzzle of its kind."""


def columns(run: RunConfig) -> int:
    """How many integers a puzzle is given as."""
    return run.data.cells + has_identifiers(run)


def has_identifiers(run: RunConfig) -> bool:
    """Whether an identifier stands before the cells."""
    return run.data.puzzle == "arc"


def example(run: RunConfig, split: Split) -> Tokens | None:
    """The first puzzle of a split as a solver takes it, int64 [1, columns]; None where there is none."""
    if not len(split):
        return None
    cells = np.asarray(split.inputs[:1], dtype=TOKENS)
    return np.hstack([split.puzzle_ids[:1, None].astype(TOKENS), cells]) if has_identifiers(run) else cells


class Solver:
    """A checkpoint's model, asked as it was evaluated."""

    def __init__(self, run: RunConfig, model: Model, device: str) -> None:
        self.run, self.model, self.device = run, model, device

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Tokens:
        """The answers to puzzles, int64 [B, cells], after the supervision steps of the evaluation.

        model_input: integers [B, columns], an array or a DataFrame. Raises BadInput.
        """
        import torch

        from trm_core.settling import places_of, think

        questions = self._split(model_input)
        n = len(questions)
        answers = np.zeros((n, self.run.data.cells), dtype=TOKENS)
        for seen in think(
            self.model,
            questions,
            places_of(n, AT_ONCE, 0, 1),
            batch_size=AT_ONCE,
            N_sup=self.run.evaluation_steps,
            halt=self.run.train.eval_halt,
            device=torch.device(self.device),
        ):
            answers[seen.places[seen.leaves]] = seen.answer.cpu().numpy()[seen.leaves]
        return answers

    def _split(self, model_input: Any) -> Split:
        """Puzzles as they were given → as the model is asked them. Raises BadInput."""
        data, expected = self.run.data, columns(self.run)
        given = np.asarray(model_input)
        if given.ndim != 2 or given.shape[1] != expected or not np.issubdtype(given.dtype, np.integer):
            before = "a task's identifier and " if has_identifiers(self.run) else ""
            raise BadInput(
                f"{given.dtype} {list(given.shape)}, expected integers [puzzles, {expected}]: {before}the {data.cells}"
                f" cells of a {data.puzzle}, row by row, as tokens of a puzzle set"
            )
        ids, cells = np.split(given, [expected - data.cells], axis=1)
        rows = 1 if self.model.puzzle_embedding is None else len(self.model.puzzle_embedding.weights)
        for what, found, most in (("token", cells, data.vocabulary), ("identifier", ids, rows)):
            if found.size and not 0 <= found.min() <= found.max() < most:
                odd = found[(found < 0) | (found >= most)][0]
                raise BadInput(f"{what} {odd}, expected 0 to {most - 1} for this model of {data.puzzle}")
        zeros = np.zeros(len(given), dtype=np.int32)
        return Split(
            cells.astype(np.uint8),
            np.zeros_like(cells, dtype=np.uint8),
            ids[:, 0].astype(np.int32) if ids.size else zeros,
            zeros,
        )


def _load_pyfunc(path: str) -> Solver:
    """What MLflow calls: the solver of a checkpoint's folder. Raises BadCheckpoint, BadSetting."""
    from trm_core import checkpoint
    from trm_core.devices import device_named
    from trm_core.opening import open_model

    run, model = open_model(checkpoint.open_at(Path(path)))
    device = device_named("auto")
    return Solver(run, model.to(device), device)
