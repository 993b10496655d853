"""What letting settled puzzles go saves and costs: python benchmarks/evaluation.py CHECKPOINT DATA [--device cuda].

Evaluates a trained checkpoint both ways (trm_core/settling.py): never, where each test puzzle takes all supervision
steps, and settled. How many steps an answer must have stayed is chosen on validation: the fewest that lose under a
tenth of a point there. Then the test puzzles are asked in parts, each part both ways one after the other in this one
process, so that whatever else the machine does meets both alike. Prints a table, and writes it as JSON (--out) with
device, versions and date.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from data_prep.puzzle_set import Split  # noqa: E402
from trm_core.__main__ import exact_interval, table  # noqa: E402
from trm_core.checkpoint import open_at  # noqa: E402
from trm_core.command_line import BadCommand, Parser, answered  # noqa: E402
from trm_core.devices import device_named  # noqa: E402
from trm_core.evaluate import evaluate  # noqa: E402
from trm_core.model import Model  # noqa: E402
from trm_core.opening import check_puzzles, open_model, open_puzzles  # noqa: E402
from trm_core.settling import Halt  # noqa: E402

CANDIDATES = (1, 2, 3, 4)  # steps over which an answer has stayed
BOUND = 0.1  # points of exact accuracy that may be lost
SUMMED = ("exact_accuracy", "cell_accuracy", "steps_used")

Scores = dict[str, float]


@dataclass(frozen=True)
class Asker:
    """A model, and how it is asked."""

    model: Model
    batch_size: int
    N_sup: int
    device: torch.device

    def ask(self, split: Split, limit: int | None, halt: Halt, unchanged: int = 1) -> Scores:
        """evaluate's scores, and seconds."""
        self.wait()
        began = time.perf_counter()
        scores = evaluate(
            self.model,
            split,
            limit=limit,
            batch_size=self.batch_size,
            N_sup=self.N_sup,
            device=self.device,
            halt=halt,
            unchanged=unchanged,
        )
        self.wait()
        return {**scores, "seconds": time.perf_counter() - began}

    def wait(self) -> None:
        """Until a GPU has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def part_of(split: Split, start: int, end: int) -> Split:
    """Some of its puzzles, which follow one another."""
    return Split(**{name: array[start:end] for name, array in split.arrays().items()})


def points_lost(never: Scores, settled: Scores) -> float:
    """By letting settled puzzles go."""
    return 100 * (never["exact_accuracy"] - settled["exact_accuracy"])


def choose(asker: Asker, validation: Split, limit: int | None) -> tuple[int, list[dict[str, float]]]:
    """(steps that an answer must have stayed, what was measured for it): the fewest within the bound, or the most."""
    never = asker.ask(validation, limit, "never")
    measured: list[dict[str, float]] = []
    for unchanged in CANDIDATES:
        settled = asker.ask(validation, limit, "settled", unchanged)
        lost = points_lost(never, settled)
        measured.append({"unchanged": unchanged, "points_lost": lost, "steps_used": settled["steps_used"]})
        if lost < BOUND:
            break
    return int(measured[-1]["unchanged"]), measured


def in_parts(asker: Asker, split: Split, n: int, parts: int, unchanged: int) -> list[dict[Halt, Scores]]:
    """Each part both ways, one after the other."""
    ends = [n * i // parts for i in range(parts + 1)]
    return [
        {
            "never": asker.ask(part_of(split, start, end), None, "never"),
            "settled": asker.ask(part_of(split, start, end), None, "settled", unchanged),
        }
        for start, end in pairwise(ends)
    ]


def together(parts: Sequence[Scores]) -> Scores:
    """The scores of all parts' puzzles; seconds are added."""
    n = sum(part["puzzles"] for part in parts)
    means = {name: sum(part[name] * part["puzzles"] for part in parts) / n for name in SUMMED if name in parts[0]}
    return {**means, "puzzles": n, "seconds": sum(part["seconds"] for part in parts)}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Choose on validation, warm up, and measure on test."""
    device = torch.device(device_named(options.device))
    saved = open_at(options.checkpoint)
    run, model = open_model(saved)
    asker = Asker(
        model.to(device),
        options.batch_size or run.train.batch_size,
        run.evaluation_steps,
        device,
    )
    with open_puzzles(options.data, run.data) as data:
        for name in ("validation", "test"):
            check_puzzles(run, model, data, name, blank_identifiers=False)
        n = min(options.limit or len(data.test), len(data.test))
        if n < options.parts:
            raise BadCommand(f"--parts {options.parts}: {n} test puzzles, expected one for each part; give fewer parts")
        first = part_of(data.test, 0, min(n, asker.batch_size))
        for halt in ("never", "settled"):
            asker.ask(first, None, halt)  # to compile, to allocate
        unchanged, chosen_by = choose(asker, data.validation, options.limit)
        parts = in_parts(asker, data.test, n, options.parts, unchanged)
        found = {halt: together([part[halt] for part in parts]) for halt in parts[0]}
        return {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
            "threads": torch.get_num_threads(),
            "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
            "checkpoint_step": saved.step,
            "run": run.model_dump(mode="json", exclude_defaults=True),
            "data_hash": data.content_hash,
            "N_sup": asker.N_sup,
            "batch_size": asker.batch_size,
            "validation": {"puzzles": min(options.limit or len(data.validation), len(data.validation))}
            | {"measured": chosen_by},
            "unchanged": unchanged,
            "test": {halt: {**scores, "exact_interval_95": exact_interval(scores)} for halt, scores in found.items()},
            "points_lost": points_lost(found["never"], found["settled"]),
            "times_faster": found["never"]["seconds"] / found["settled"]["seconds"],
            "times_faster_by_part": [part["never"]["seconds"] / part["settled"]["seconds"] for part in parts],
        }


def told(result: dict[str, Any]) -> str:
    """The result, as a person reads it."""
    never, settled = result["test"]["never"], result["test"]["settled"]
    chosen = ", ".join(
        f"{row['unchanged']} (lost {row['points_lost']:.2f})" for row in result["validation"]["measured"]
    )
    by_part = result["times_faster_by_part"]
    return "\n".join(
        [
            f"step {result['checkpoint_step']}, {result['device']}, {result['threads']} threads,"
            f" batches of {result['batch_size']}",
            f"steps that an answer must stay, on {result['validation']['puzzles']:,} validation puzzles: {chosen}",
            table({result["N_sup"]: never}, {result["N_sup"]: settled}, halts=("never", "settled")),
            f"{result['points_lost']:.3f} points lost, {result['times_faster']:.2f} times faster"
            f" ({min(by_part):.2f} to {max(by_part):.2f} in {len(by_part)} parts):"
            f" {settled['puzzles'] / settled['seconds']:.0f} puzzles/s instead of"
            f" {never['puzzles'] / never['seconds']:.0f}",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 2 after a user's mistake."""

    def carry_out() -> int:
        parser = Parser(description=__doc__, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a step_… folder, or a folder of them")
        parser.add_argument("data", type=Path, metavar="DATA", help="the puzzles it was trained for")
        parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
        parser.add_argument("--limit", type=int, metavar="N", help="the first N puzzles of each split (default: all)")
        parser.add_argument("--parts", type=int, default=4, metavar="P", help="of the test puzzles (default: 4)")
        parser.add_argument("--batch-size", type=int, metavar="B", help="puzzles at once (default: the training's)")
        parser.add_argument("--out", type=Path, metavar="FILE", help="write the numbers there")
        options = parser.parse_args(arguments)
        for name in ("limit", "parts", "batch_size"):
            if (value := getattr(options, name)) is not None and value < 1:
                raise BadCommand(f"--{name.replace('_', '-')} {value}: expected 1 or more")
        result = measure(options)
        print(told(result))
        if options.out is not None:
            options.out.write_text(json.dumps(result, indent=1) + "\n")
        return 0

    return answered(carry_out)


if __name__ == "__main__":
    sys.exit(main())
