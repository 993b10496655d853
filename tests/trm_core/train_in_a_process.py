"""A run in a process of its own, which a test kills, or several that train one run together.

python train_in_a_process.py SETTINGS.json PUZZLES CHECKPOINTS REPORTS.jsonl [RANK WORKERS RENDEZVOUS]

HELD_AT_STEP: it trains on from the report of this step or a later one when it is killed, that is never.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import distributed as dist

from data_prep.puzzle_set import PuzzleSet
from trm_core.config import RunConfig
from trm_core.trainer import train


def main() -> None:
    settings, puzzles, checkpoints, reports, *group = sys.argv[1:]
    torch.set_num_threads(1)
    rank, held_at = 0, float(os.environ.get("HELD_AT_STEP", "inf"))
    if group:
        rank, workers = int(group[0]), int(group[1])
        dist.init_process_group("gloo", init_method=f"file://{group[2]}", rank=rank, world_size=workers)

    def report(step: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        with Path(f"{reports}.{rank}").open("a") as file:
            file.write(json.dumps({"step": step, "metrics": dict(metrics)}) + "\n")
        if step >= held_at:
            threading.Event().wait()

    run = RunConfig.parse(json.loads(Path(settings).read_text()))
    folder = Path(checkpoints)
    data = PuzzleSet.open(Path(puzzles))
    status = 0
    try:
        train(run, data, report, checkpoints=folder, predictions=folder / "predictions", device="cpu")
        if group:
            dist.destroy_process_group()
    except Exception:
        traceback.print_exc()
        status = 1
    os._exit(status)  # torch's own threads now and then abort the interpreter's exit after gloo


main()
