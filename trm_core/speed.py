"""How fast runs go on one thread of this CPU: real steps of their own settings, on puzzles of random cells.

    python -m trm_core.speed

says "ready" when it is, then reads a line a run, {"run": its settings, "train_s": 0.8, "evaluate_s": 0.3}, and answers
each with a line {"step_s": 0.037, "puzzle_s": 0.0012}, or {"error": "…"} for a run that cannot be. Several of these
beside each other feel what they cost each other.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from data_prep.puzzle_set import PuzzleSet, Split
from trm_core.config import RunConfig
from trm_core.evaluate import evaluate
from trm_core.trainer import Trainer

FIRST_TOKEN = 2  # of every puzzle's vocabulary, the first that may be an answer
MOST_IDENTIFIERS = 1000


@dataclass(frozen=True)
class Speed:
    """Seconds that a training step takes, and an evaluated puzzle with all its supervision steps."""

    step_s: float
    puzzle_s: float


def measure(run: RunConfig, *, train_s: float, evaluate_s: float) -> Speed:
    """The run's speed on this process's threads, warmed up. Raises what Trainer raises.

    At the model's own depth, whatever a curriculum begins with, and not compiled, which takes longer than measuring: a
    run that will be is faster than this.
    train_s, evaluate_s: spent on its steps and on its evaluation, or what one takes where that is longer. Mazes and ARC
    tasks are not moved: what moves them would compile first, and is a small part of a step.
    """
    if run.data.puzzle != "sudoku":
        run = run.change({"data": {"augmentations": 0}})
    puzzles, cpu = random_puzzles(run), torch.device("cpu")
    trainer = Trainer(
        run.change({"train": {"diagnostics": False, "curriculum": "none", "compile": "off"}}), puzzles, cpu
    )
    step_s = _median_seconds(trainer.take_step, train_s)
    batch, N_sup = run.train.batch_size, run.evaluation_steps

    def evaluate_a_batch() -> None:
        evaluate(trainer.evaluated_model, puzzles.test, limit=batch, batch_size=batch, N_sup=N_sup, device=cpu)

    return Speed(step_s, _median_seconds(evaluate_a_batch, evaluate_s) / batch)


def _median_seconds(work: Callable[[], None], for_s: float) -> float:
    """Of one call: the first is not counted, then as many as fit, one at least."""
    work()
    times: list[float] = []
    while not times or sum(times) < for_s:
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def random_puzzles(run: RunConfig) -> PuzzleSet:
    """As many as a batch holds, of the run's size, with no sense in them."""
    random, n, data = np.random.default_rng(0), run.train.batch_size, run.data
    n_ids = 1 if data.puzzle != "arc" else min(MOST_IDENTIFIERS, data.train or MOST_IDENTIFIERS)

    def split() -> Split:
        cells = random.integers(FIRST_TOKEN, data.vocabulary, (2, n, data.cells), dtype=np.uint8)
        ids = random.integers(0, n_ids, n, dtype=np.int32)
        return Split(cells[0], cells[1], ids, np.zeros(n, dtype=np.int32))

    return PuzzleSet.build(
        {"train": split(), "validation": split(), "test": split()},
        puzzle=data.puzzle,
        source="random",
        protocol="random",
        cells=data.cells,
        vocab=data.vocabulary,
        n_puzzle_ids=n_ids,
        seed=0,
        settings={},
        source_sha256={},
        licence="none",
    )


def main() -> None:
    """Answer the runs on stdin until it ends."""
    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            asked = json.loads(line)
            run = RunConfig.parse(asked.pop("run"))
            answer = asdict(measure(run, **asked))
        except ValueError as error:  # BadSetting, NotEnoughMemory
            answer = {"error": " ".join(str(error).split())}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
