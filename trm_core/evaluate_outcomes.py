"""The final evaluation, watched: what becomes of each test puzzle over the supervision steps, and at greater depth.

Watching adds a comparison of answers to each step of an evaluation that is made anyway and moves none of its numbers.
What lies beyond its last step is an evaluation of its own, on as many puzzles as are cheap.
"""

from __future__ import annotations

import numpy as np
import torch

from data_prep.puzzle_set import PuzzleSet
from trm_core.config import RunConfig
from trm_core.distributed import sum_over_workers
from trm_core.losses import IGNORE
from trm_core.metrics import score
from trm_core.outcomes import BINS, Outcomes, Place, hash_of_test_set, steps_type
from trm_core.settings import ModelSettings
from trm_core.settling import Halt, Seen
from trm_core.supervision import asks_to_halt

BEYOND = 8  # times N_sup: the deepest accuracy that a run ends with
OF_TRAINING = 0.05  # operations that may be spent on it, as a share of the training's
N_COLUMNS = 4  # solved, settled_at, halted_at, solved_when_halted


class Watch:
    """Looks on while puzzles are evaluated, and knows afterwards what became of each."""

    def __init__(self, n: int, N_sup: int, settings: ModelSettings, device: torch.device) -> None:
        self.N_sup, self.settings = N_sup, settings
        self.table = torch.zeros(N_COLUMNS, n, dtype=torch.int64, device=device)  # other workers' puzzles stay 0
        self.reliability = torch.zeros(BINS, 3, dtype=torch.float64, device=device)

    def see(self, seen: Seen) -> None:
        """One supervision step of some of the puzzles; each is seen at all its steps, in order."""
        places, steps, leaves = (
            torch.from_numpy(of_each).to(self.table.device) for of_each in (seen.places, seen.steps, seen.leaves)
        )
        solved, settled_at, halted_at, when_halted = self.table[:, places]
        labels = seen.batch.labels
        exact, _ = score(seen.logits, labels)
        moved = ((seen.answer != seen.before) & (labels != IGNORE)).any(-1)
        stops = asks_to_halt(seen.q, self.settings) & (halted_at == 0)
        settled_at = torch.where(moved, steps, settled_at)
        halted_at = torch.where(stops, steps, halted_at)
        solved = torch.where(leaves, exact, solved)
        when_halted = torch.where(stops | (leaves & (halted_at == 0)), exact, when_halted)
        self.table[:, places] = torch.stack([solved, settled_at, halted_at, when_halted])
        if seen.leaves.any():
            probability = seen.q[:, 0].double().sigmoid()
            bins = (probability * BINS).long().clamp_max(BINS - 1)
            rows = torch.stack([torch.ones_like(probability), probability, exact.double()], dim=1)
            self.reliability.index_add_(0, bins, rows * leaves.unsqueeze(1))

    def outcomes(self, data: PuzzleSet, step: int, places: tuple[Place, ...] = (), *, halt: Halt = "never") -> Outcomes:
        """Of the test set's puzzles, over all workers. step: of the weights. halt: of the evaluation looked on at."""
        table, reliability = self.table.double(), self.reliability.clone()
        sum_over_workers([table, reliability])
        solved, settled_at, halted_at, when_halted = table.cpu().numpy()
        steps = steps_type(self.N_sup)
        return Outcomes(
            hash_of_test_set(data.manifest),
            data.content_hash,
            step,
            self.N_sup,
            solved.astype(bool),
            settled_at.astype(steps),
            halted_at.astype(steps),
            when_halted.astype(bool),
            np.asarray(reliability.cpu().numpy()),
            places,
            halt,
            np.array(data.test.ratings),
        )


def depths(N_sup: int) -> tuple[int, ...]:
    """1, 2, 4, … and N_sup, 2, 4, 8 times N_sup: where accuracy is read, since it grows with depth at test time."""
    doubled = [1 << i for i in range(N_sup.bit_length())]
    times = [N_sup << i for i in range(BEYOND.bit_length())]
    return tuple(sorted({step for step in doubled if step < N_sup} | set(times)))


def puzzles_at_depth(run: RunConfig, N_sup: int, n: int) -> int:
    """How many of n test puzzles are asked so deep: train.eval_puzzles, or what a twentieth of the training pays for.

    Of a large test set a sample is asked, and by a short run few, so that the end costs little beside the training.
    """
    paid = int(OF_TRAINING * run.train_work() / (run.forward_flops() * max(depths(N_sup))))
    return min(n, paid, run.train.eval_puzzles or n)
