"""trm_core.solve: a checkpoint's model is asked, and what it answers on its way comes back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from trm_core import checkpoint as checkpoints_of
from trm_core.devices import device_named
from trm_core.opening import open_model
from trm_core.solving.puzzles import read_puzzles
from trm_core.solving.record import about, think
from trm_core.solving.thought import Thought

AT_ONCE = 16  # puzzles


def solve(
    checkpoint: str | Path,
    puzzles: str | Path | Sequence[str | Path],
    *,
    steps: int | None = None,
    split: str = "test",
    allow_leak: bool = False,
    device: str = "auto",
) -> list[Thought]:
    """What a checkpoint's model answers to puzzles, supervision step after supervision step.

    checkpoint: a step_… folder, a folder of them, or a run's. puzzles: one or several of PUZZLE, FILE, SET:17
    (puzzles.py).
    steps: supervision steps; None: as many as it was evaluated with. split, allow_leak: of puzzle sets.
    Raises BadCheckpoint, BadPuzzle, OtherPuzzles, Leaks, BadSetting, and what opening puzzle files and sets raises.
    """
    home = torch.device(device_named(device))
    saved = checkpoints_of.open_at(Path(checkpoint))
    run, model = open_model(saved)
    given = [puzzles] if isinstance(puzzles, str | Path) else puzzles
    asked = [
        one for text in given for one in read_puzzles(str(text), saved, run, model, split=split, allow_leak=allow_leak)
    ]
    model = model.to(home)
    n_steps = steps or run.evaluation_steps
    return [
        thought
        for first in range(0, len(asked), AT_ONCE)
        for thought in think(model, asked[first : first + AT_ONCE], n_steps, run, about(run, saved.step))
    ]
