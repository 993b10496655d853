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

from sweeps.recipes import recipe  # noqa: E402
from trm_core.config import RunConfig  # noqa: E402
from trm_core.trainer import Trainer  # noqa: E402

# Dense bf16 peaks that the makers publish, TFLOP/s, by torch's name of the device. Not here: unknown, never a guess.
PEAK_TFLOPS = {
    "NVIDIA H200": 989.0,
    "NVIDIA H100 80GB HBM3": 989.0,
    "NVIDIA H100 PCIe": 756.0,
    "NVIDIA A100-SXM4-80GB": 312.0,
    "NVIDIA A100-SXM4-40GB": 312.0,
    "NVIDIA A100 80GB PCIe": 312.0,
    "NVIDIA A100-PCIE-40GB": 312.0,
    "NVIDIA L40S": 362.0,
    "NVIDIA GeForce RTX 4090": 165.2,
    "NVIDIA GeForce RTX 5090": 209.5,
}


def main() -> None:
    """Measure and print."""
    from rich.console import Console
    from rich.table import Table

    from data_prep.sudoku import generate

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

    table = Table("base", *COLUMNS)
    for row in rows:
        table.add_row(str(row["base"]), *(_cell(row[name]) for name in COLUMNS))
    Console().print(table)
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": device_name(device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "settings": {name: getattr(options, name) for name in ("D", "batch_size", "precision", "steps")},
        "rows": rows,
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")


COLUMNS = ("ms_per_step", "puzzles_per_s", "tflops", "utilisation", "peak_memory_gb")


def device_name(device: torch.device) -> str:
    """The GPU's name as torch gives it, or the processor's kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()


def measure(trainer: Trainer, run: RunConfig, steps: int) -> dict[str, float | None]:
    """Median milliseconds per step after three steps of warm-up, and what follows from it.

    tflops counts matrix products by formula (train_flops); utilisation [0..1] is of the published bf16 peak. None:
    not known on this device.
    """
    cuda = trainer.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    times = []
    for step in range(steps + 3):
        began = time.perf_counter()
        trainer.take_step()
        if cuda:
            torch.cuda.synchronize()
        if step >= 3:
            times.append(time.perf_counter() - began)
    seconds = statistics.median(times)
    tflops = run.train_flops() * run.train.batch_size / seconds / 1e12
    peak = PEAK_TFLOPS.get(device_name(trainer.device)) if run.train.precision == "bf16" else None
    return {
        "ms_per_step": 1000 * seconds,
        "puzzles_per_s": run.train.batch_size / seconds,
        "tflops": tflops,
        "utilisation": None if peak is None else tflops / peak,
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9 if cuda else None,
    }


def _cell(value: float | str | None) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else value


if __name__ == "__main__":
    main()
