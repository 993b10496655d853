"""The base runs that rows start from, at official scale: the settings of the released code, per puzzle.

"official" and "paper" differ where the paper and its released code do (PAPER.md, section 2); what is here is the code,
and profiles.py holds what the paper says instead.
"""

from __future__ import annotations

from typing import Any

from sweeps.study import BaseName, PuzzleName
from trm_core.config import RunConfig

Changes = dict[str, dict[str, Any]]

# The released trainer: 50k epochs of 1,000 puzzles at batch 768, AdamATan2, constant rate after the warm-up, and an EMA
# that does not cover the puzzle embedding. Everything else is a default of RunConfig.
_RELEASED: Changes = {
    "train": {"steps": 65104, "batch_size": 768},
    "optim": {"name": "adam_atan2", "schedule": "constant", "ema_covers": "network"},
}

# What its commands change for the other puzzles.
_PUZZLES: dict[PuzzleName, Changes] = {
    "sudoku": {},
    # It trains on all 1,000 mazes and holds none out; augmentation is off in its builder unless asked for.
    "maze": {"data": {"train": 1000, "validation": 0, "augmentations": 0}},
    "arc": {
        "data": {"train": None, "validation": 0},  # all tasks; subsets as published for ARC-AGI-1
        "optim": {"embedding_lr": 1e-2, "weight_decay": 0.1, "embedding_weight_decay": 0.1},
        # 100k epochs at batch 768. An epoch of ARC-1 is 960 tasks with 4.15 examples each: 3,633,410 examples of
        # 876,405 augmented tasks (the released builder's; ours has 3,633,426 of 876,409 with seed 0). Another set of
        # tasks is another number of steps.
        "train": {"steps": 100_000 * 960 * 3_633_410 // (876_405 * 768)},
    },
}

_BASES: dict[BaseName, Changes] = {
    "trm": {"model": {"mixer": "mlp"}},  # section 4.5: the MLP mixer wins on the small, fixed Sudoku board
    "trm_att": {"model": {"mixer": "attention"}},
    "hrm": {  # arXiv 2506.21734, trained as TRM: section 2 and Table 1; HRM_BY_ITSELF is its own recipe
        "model": {
            "mixer": "attention",
            "networks": "separate",
            "gradient": "one step",
            "halting": "q_learning",
            "n_layers": 4,
            "n": 2,
            "T": 2,
            "puzzle_prefix": 1,
        },
        "optim": {"ema": None},
    },
    "direct": {  # HRM's baseline (Tables 4 and 5): its eight layers in one pass, supervised like the others
        "model": {
            "mixer": "attention",
            "features": "y",
            "n_layers": 8,
            "n": 0,
            "T": 1,
            "puzzle_prefix": 1,
            "n_heads": 12,  # transformers_baseline.yaml: 12 heads of 512 / 12, rounded down
            "head_channels": 42,
        },
        "optim": {"ema": None},
    },
}

# HRM by its own recipe (README of its code): 20,000 epochs of 1,000 puzzles at batch 768, for Sudoku and mazes; on
# ARC-AGI-2 its own 1,120 tasks, without ConceptARC, for 100k epochs. The optimiser is AdamATan2 and half of the halting
# loss counts, whatever a profile says; late in training it overfits, and its README advises to stop early. On ARC-AGI-1
# it is the recipe above.
_HRM: Changes = {"optim": {"name": "adam_atan2"}, "model": {"halting_loss_weight": 0.5}}
HRM_BY_ITSELF: dict[PuzzleName, Changes] = {
    "sudoku": _HRM | {"train": {"steps": 20_000 * 1000 // 768}},
    "maze": _HRM | {"train": {"steps": 20_000 * 1000 // 768}, "data": {"augmentations": 0}},
    "arc": _HRM,
}

_FEWER_RECURSIONS: Changes = {"model": {"n": 4}}  # L_cycles=4 in the commands for Maze and ARC


def recipe(base: BaseName, puzzle: PuzzleName) -> RunConfig:
    """The run that `base` names on this puzzle, at official scale."""
    run = RunConfig().change({"data": {"puzzle": puzzle}})
    for change in (_RELEASED, _PUZZLES[puzzle], _BASES[base]):
        run = run.change(change)
    return run.change(_FEWER_RECURSIONS) if base in ("trm", "trm_att") and puzzle != "sudoku" else run


def called_for(base: BaseName) -> tuple[str, ...]:
    """The settings that make this recipe what it is called: of "hrm", the switches and sizes that HRM has."""
    sizes = ("puzzle_prefix", "n_heads", "head_channels")
    return tuple(f"model.{name}" for name in _BASES[base]["model"] if name not in sizes)
