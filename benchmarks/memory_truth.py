"""The memory that a training step is predicted to need (trm_core/memory.py) beside what it takes.

    python benchmarks/memory_truth.py [--device cuda] [--D 512] [--batch-size 768] [--out FILE]

TRM-MLP, TRM-Att, HRM and the deepest row of Table 3; plain and compiled, with and without activation checkpointing.
Measured is the most that torch had allocated at once, from before the weights were made to the last of a few steps: on
a GPU by its allocator, on a CPU by torch's profiler. What does not fit is a line, what --minutes leaves no time for is
named. --out holds all that is known at any time, with device, versions and date.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch.autograd.profiler import profile  # noqa: E402

from benchmarks.rows import Clock, Row, Rows  # noqa: E402
from benchmarks.turns import device_name  # noqa: E402
from sweeps.recipes import recipe  # noqa: E402
from sweeps.study import BaseName, find_study  # noqa: E402
from trm_core.capture import WARM_UP  # noqa: E402
from trm_core.command_line import Parser, answered  # noqa: E402
from trm_core.config import RunConfig  # noqa: E402
from trm_core.devices import device_named, networks_of  # noqa: E402
from trm_core.memory import NotEnoughMemory, gigabytes, memory  # noqa: E402
from trm_core.speed import random_puzzles  # noqa: E402
from trm_core.trainer import Trainer  # noqa: E402

DEEPEST = "TRM k=6, T=6"
RUNS = ("trm", "trm_att", "hrm", DEEPEST)
BATCH_SIZE = {"cuda": 768, "cpu": 8}
STEPS = WARM_UP + 2  # a CUDA graph is recorded in the last but one


def run_of(name: str, D: int, batch_size: int, precision: str) -> RunConfig:
    """A recipe, or a row of Table 3, on Sudoku."""
    rows = {row.name: row for row in find_study("recursion_depth").rows}
    base: BaseName = "hrm" if name == "hrm" else "trm_att" if name == "trm_att" else "trm"
    run = recipe(base, "sudoku").change(rows[name].change if name in rows else {})
    return run.change({"model": {"D": D}, "train": {"batch_size": batch_size, "precision": precision}})


def most_allocated(work: Callable[[], object], device: torch.device) -> int:
    """The most bytes that torch had allocated at once while the work was done, beyond what there was before it."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    # Not torch.profiler's, which makes a tree of its events first: 12 s where the rest takes 4.
    with profile(profile_memory=True) as profiler:
        work()
    assert profiler.kineto_results is not None
    events = profiler.kineto_results.events()
    changes = sorted((e.start_ns(), i, e.nbytes()) for i, e in enumerate(events) if e.name() == "[memory]")
    held = highest = 0
    for *_, change in changes:
        held += change
        highest = max(highest, held)
    return highest


def measured(what: Row, run: RunConfig, device: torch.device, steps: int) -> Iterator[Row]:
    """One row: predicted, measured, and the first over the second; or why it does not fit."""
    puzzles = random_puzzles(run)
    networks = networks_of(run, device)
    predicted = memory(run, n_puzzle_ids=puzzles.n_puzzle_ids, networks=networks)
    highest = max(predicted.moments, key=lambda moment: predicted.moments[moment])
    row = what | {"networks": networks, "predicted_bytes": predicted.peak, "highest": highest}

    def take_steps() -> Trainer:
        trainer = Trainer(run, puzzles, device)
        for _ in range(steps):
            trainer.take_step()
        return trainer

    try:
        found = most_allocated(take_steps, device)
    except (NotEnoughMemory, torch.OutOfMemoryError) as error:
        yield row | {"does_not_fit": " ".join(str(error).split())[:300]}
        return
    yield row | {"measured_bytes": found, "ratio": predicted.peak / found}


def line(row: Row) -> str:
    """A row, for a person."""
    what = f"{row['run']:<13} {row['precision']:<5} compile {row['compile']:<4} checkpointing {row['checkpointing']:<6}"
    for why in ("failed", "skipped", "does_not_fit"):
        if why in row:
            return f"{what} {why.replace('_', ' ')}: {row[why]}"
    bytes_ = (gigabytes(row[name]) for name in ("predicted_bytes", "measured_bytes"))
    return "{} {:>9} predicted {:>9} measured  {:.3f}".format(what, *bytes_, row["ratio"])


def parser() -> Parser:
    """The command line."""
    top = Parser(prog="python benchmarks/memory_truth.py", description=__doc__, allow_abbrev=False)
    top.formatter_class = argparse.RawDescriptionHelpFormatter
    top.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    top.add_argument("--D", type=int, default=512)
    top.add_argument("--batch-size", type=int, help="default: 768 on a GPU, 8 on a CPU")
    top.add_argument("--precision", nargs="+", choices=("bf16", "fp32"), default=["bf16"])
    top.add_argument("--compile", nargs="+", choices=("off", "on"), default=["off", "on"])
    top.add_argument("--runs", nargs="+", choices=RUNS, default=RUNS)
    top.add_argument("--steps", type=int, default=STEPS)
    top.add_argument("--minutes", type=float, help="no row is begun that they are not enough for")
    top.add_argument("--out", type=Path)
    return top


def main(arguments: Sequence[str] | None = None, now: Callable[[], float] = time.monotonic) -> int:
    """Measure, print and write; 1 where a row failed, 2 for a bad option."""
    return answered(lambda: _main(arguments, now))


def _main(arguments: Sequence[str] | None, now: Callable[[], float]) -> int:
    options = parser().parse_args(arguments)
    device = torch.device(device_named(options.device))
    batch_size = options.batch_size or BATCH_SIZE[device.type]
    asked = {
        (name, precision): run_of(name, options.D, batch_size, precision)
        for precision, name in product(options.precision, options.runs)
    }
    rows = Rows(Clock(options.minutes, now), device)
    facts = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": device_name(device),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "settings": {"D": options.D, "batch_size": batch_size, "steps": options.steps},
    }
    for compiles, ((name, precision), run), word in product(options.compile, asked.items(), ("false", "true")):
        what = {"run": name, "precision": precision, "compile": compiles, "checkpointing": word}
        each = run.change({"train": {"compile": compiles, "activation_checkpointing": word}})
        for row in rows.add(what, partial(measured, what, each, device, options.steps)):
            print(line(row), flush=True)
        if options.out:
            options.out.write_text(json.dumps({**facts, "rows": rows.rows}, indent=1) + "\n", encoding="utf-8")
    rows.finish("memory")
    return int(any("failed" in row for row in rows.rows))


if __name__ == "__main__":
    sys.exit(main())
