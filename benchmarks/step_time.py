"""Time of a training step of TRM-MLP, TRM-Att and HRM: python benchmarks/step_time.py [--device cuda] [--out FILE].

Prints milliseconds per step (median), puzzles per second and achieved FLOP/s (matrix products, by formula), and writes
them as JSON with device, versions and date. Puzzles are generated on the spot; compare rows of one run only.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from data_prep.sudoku import generate  # noqa: E402
from sweeps.recipes import recipe  # noqa: E402
from trm_core.config import RunConfig  # noqa: E402
from trm_core.trainer import Trainer  # noqa: E402


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--D", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=768)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    device = torch.device(options.device)
    puzzles = generate(3, 3, train=1000, validation=1, test=1, seed=0)
    rows = []
    for base in ("trm", "trm_att", "hrm"):
        run = recipe(base, "sudoku").change(
            {
                "data": {"source": "generated", "test": 1, "validation": 1},
                "model": {"D": options.D},
                "train": {"batch_size": options.batch_size, "precision": options.precision},
            }
        )
        rows.append({"base": base} | measure(Trainer(run, puzzles, device), run, options.steps))

    table = Table("base", "ms per step", "puzzles/s", "TFLOP/s", "peak memory, GB")
    for row in rows:
        table.add_row(str(row["base"]), *(f"{row[name]:.3g}" for name in list(row)[1:]))
    Console().print(table)
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else platform.machine(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "settings": {name: getattr(options, name) for name in ("D", "batch_size", "precision", "steps")},
        "rows": rows,
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


def measure(trainer: Trainer, run: RunConfig, steps: int) -> dict[str, float]:
    """Median milliseconds per step after three steps of warm-up, and what follows from it."""
    cuda = trainer.device.type == "cuda"
    times = []
    for step in range(steps + 3):
        began = time.perf_counter()
        trainer.take_step()
        if cuda:
            torch.cuda.synchronize()
        if step >= 3:
            times.append(time.perf_counter() - began)
    seconds = statistics.median(times)
    return {
        "ms_per_step": 1000 * seconds,
        "puzzles_per_s": run.train.batch_size / seconds,
        "tflops": run.train_flops() * run.train.batch_size / seconds / 1e12,
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9 if cuda else float("nan"),
    }


if __name__ == "__main__":
    main()
