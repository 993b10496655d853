"""Every metric's name and unit, in one place. Sums and counts travel; the division comes last.

train/loss              nats per slot: cells + halting_loss_weight · halting
train/lm_loss           nats per slot, mean over the cells of a puzzle
train/halt_loss         nats per slot, of the halting head(s), unweighted
train/exact_accuracy    [0..1] of the puzzles that halted: every cell right
train/cell_accuracy     [0..1] of the puzzles that halted: mean share of right cells
train/steps_to_halt     supervision steps, mean over the puzzles that halted
train/lr                the network's learning rate
time/steps_per_second   optimiser steps; this and what follows: of the steps since the last report (meter.py)
time/step_seconds       seconds per optimiser step
time/puzzles_per_second puzzles that took a supervision step, of all workers
time/tflops             TFLOP/s of all workers, by formula (RunConfig.train_flops): what is computed again counts once
time/utilisation        [0..1] of the devices' published peak at this precision; left out where that is not known
time/waiting_for_data   [0..1] of that time: the first worker draws puzzles or hands them to the device
{validation,test}/exact_accuracy   [0..1]
{validation,test}/cell_accuracy    [0..1]
{validation,test}/puzzles          how many were evaluated
validation/lm_loss      nats per puzzle, mean over its cells, by stablemax whatever the run trains on
{validation,test}/steps_used       supervision steps, mean over the puzzles; with train.eval_halt=settled alone. All of
                        these, and the first two of the halting head's below, are then as of each puzzle's stop
With train.evaluate_on=validation there is no test/*.

Mazes have a second accuracy beside exact_accuracy:
{validation,test}/shortest_path_accuracy   [0..1] of the mazes answered by a shortest path, whichever
A maze of 30x30 has millions of equally short paths (median 3.8 million). The published answer is one of them, picked
by a tie-break (breadth-first from S; down, left, right, up; first parent wins), and exact_accuracy, the paper's, asks
for that very one. So a model may solve a maze and still be wrong by exact match; never the other way round.

With test/* a run ends with what became of each test puzzle (outcomes.py), and:
test/q_halt_accuracy                [0..1] of the test puzzles: the halting head's p ≥ 1/2 after the last step is right
                                    about "the whole answer is right"
test/q_halt_calibration_error       [0..1] expected calibration error of p, ten bins of equal width
test/exact_accuracy_when_halting    [0..1] where each puzzle stops at the first step at which the head asks to halt
test/steps_when_halting             supervision steps, mean over the test puzzles, when halting so
test/exact_accuracy/step_01         [0..1] after 1, 2, 4, … N_sup, 2·N_sup, 4·N_sup, 8·N_sup supervision steps, all of
                                    the same puzzles, test/puzzles_at_depth of them
test/puzzles_at_depth               how many those are: train.eval_puzzles, or what a twentieth of the training pays
With model.halting=none nothing trains the head, and the first four are left out.

ARC's runs end with a vote over the variants of each test task (arc_vote.py):
test/pass_at_1, 2, 5, 10, 100, 1000   [0..1] mean over tasks of the share of test inputs whose answer is among the first
                                      k grids. Usually written pass@k; MLflow takes no @ in a name
test/votes                            the largest number of variants that voted on a test input

With train.diagnostics, at every evaluation (diagnostics.py; steps and recursions count from 01):
train/halted_at/step_01             share [0..1] of the puzzles that halted since the last evaluation: at that step
train/ema_distance                  L2 norm of the EMA's weights minus the raw ones, over that of the raw ones
validation/{exact,cell}_accuracy/step_01    [0..1] after supervision steps 1, …, N_sup, 2·N_sup, 4·N_sup
validation/residual_{y,z}/step_01           ‖new − old‖ / ‖old‖ over a supervision step 1, …, N_sup, mean over puzzles
validation/residual_{y,z}/recursion_01      the same over each of the T(n+1) recursions of supervision step N_sup
"""

from __future__ import annotations

import torch
from torch import Tensor

from trm_core.losses import IGNORE

TRAIN_SUMS = ("slots", "loss", "lm_loss", "halt_loss", "halted", "exact", "cell", "steps")


def score(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(whole answer right, bool [B]; share of right cells, float32 [B]) of logits [B, L, V] and labels [B, L]."""
    counts = labels != IGNORE
    right = (logits.argmax(-1) == labels) & counts
    n_right, n_cells = right.sum(-1), counts.sum(-1)
    return n_right == n_cells, n_right / n_cells.clamp_min(1)


def train_metrics(sums: Tensor) -> dict[str, float]:
    """TRAIN_SUMS over a window of steps and all workers → train/*. Where nothing halted there is no accuracy."""
    s = dict(zip(TRAIN_SUMS, sums.tolist(), strict=True))
    metrics = {f"train/{name}": s[name] / s["slots"] for name in ("loss", "lm_loss", "halt_loss")}
    if s["halted"]:
        metrics["train/exact_accuracy"] = s["exact"] / s["halted"]
        metrics["train/cell_accuracy"] = s["cell"] / s["halted"]
        metrics["train/steps_to_halt"] = s["steps"] / s["halted"]
    return metrics


def halting_metrics(halted_at: Tensor) -> dict[str, float]:
    """How many halted at each supervision step [N_sup], over all workers → shares; none where nothing halted."""
    counts = halted_at.tolist()
    total = sum(counts)
    return {f"train/halted_at/step_{step:02d}": count / total for step, count in enumerate(counts, 1)} if total else {}


def no_sums(device: torch.device) -> Tensor:
    """Zero of each of TRAIN_SUMS; float64, so that a window's order of additions does not show."""
    return torch.zeros(len(TRAIN_SUMS), dtype=torch.float64, device=device)
