"""The base runs that rows start from, at official scale: the settings of the released code, per puzzle.

"official" and "paper" differ where the paper and its released code do (PAPER.md, section 2); what is here is the code,
and profiles.py holds what the paper says instead.
"""

from __future__ import annotations

from typing import Any

from sweeps.study import BaseName, PuzzleName
from trm_core.config import RunConfig

# The released trainer: 50k epochs of 1,000 puzzles at batch 768, AdamATan2, constant rate after the warm-up, and an EMA
# that does not cover the puzzle embedding. Everything else is a default of RunConfig.
_RELEASED: dict[str, dict[str, Any]] = {
    "train": {"steps": 65104, "batch_size": 768},
    "optim": {"name": "adam_atan2", "schedule": "constant", "ema_covers": "network"},
}

_BASES: dict[BaseName, dict[str, dict[str, Any]]] = {
    "trm": {"model": {"mixer": "mlp"}},  # section 4.5: the MLP mixer wins on the small, fixed Sudoku board
    "trm_att": {"model": {"mixer": "attention"}},
    "hrm": {  # arXiv 2506.21734, trained like TRM: section 2 and Table 1
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
}


def recipe(base: BaseName, puzzle: PuzzleName) -> RunConfig:
    """The run that `base` names on this puzzle, at official scale."""
    return RunConfig().change({"data": {"puzzle": puzzle}}).change(_RELEASED).change(_BASES[base])
