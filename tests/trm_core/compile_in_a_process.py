"""What a run compiles anew in a process of its own: python compile_in_a_process.py SETTINGS.json PUZZLES.

Waits for a line on its standard input, so that several can begin at once, and prints how many graphs were not found in
the folder of compiled code.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch._dynamo.utils import counters

from data_prep.puzzle_set import PuzzleSet
from trm_core.config import RunConfig
from trm_core.trainer import Trainer

torch.set_num_threads(1)
run = RunConfig.model_validate_json(Path(sys.argv[1]).read_text())
puzzles = PuzzleSet.open(Path(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
Trainer(run, puzzles, torch.device("cpu")).take_step()
print(counters["inductor"]["fxgraph_cache_miss"], flush=True)
