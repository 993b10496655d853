"""Proof on a GPU: python benchmarks/gpu_proof.py --data DIR --minutes 25 --out DIR [--resume DIR].

Needs torch, numpy, pydantic and safetensors; no Ray, no MLflow, no numba. In this order, each written to
OUT/result.json as it goes:

    parity      every variant equals the reference numbers on this device, eager and compiled, and a step replayed from
                a CUDA graph the same step launched (benchmarks/equality.py)
    steps       a training step of TRM-MLP, TRM-Att and HRM beside the released one and the bare matrix products
                (benchmarks/train_step.py)
    memory      what a step is predicted to need beside what it takes (benchmarks/memory_truth.py)
    training    in the minutes left, TRM-MLP on real puzzles at a profile's settings: accuracy over time, the time that
                it took to 80, 85 and 87 %, and the last evaluation once more with settled answers let go

A row that fails or does not fit is a line, and the rest goes on. No row is begun that would take the time of the
sections behind it, were it as long as the longest before it; what is left out is named.

Leaves OUT/checkpoint_<step>/ in parts under 16 MiB, from which --resume goes on (bit for bit on a CPU), and a figure.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault(
    "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
)  # deterministic matrix products, asked for before CUDA is up

import torch  # noqa: E402

from benchmarks import memory_truth  # noqa: E402
from benchmarks.equality import check_capture, check_variant  # noqa: E402
from benchmarks.rows import Clock, Rows  # noqa: E402
from benchmarks.timed_training import TimedTraining, resume  # noqa: E402
from benchmarks.train_step import (  # noqa: E402
    BASES,
    PRECISIONS,
    SIZES,
    WAYS,
    Asked,
    chosen_device,
    facts,
    groups_of,
    measure_all,
    run_at,
    run_of,
    ways_on,
)
from data_prep.puzzle_set import PuzzleSet  # noqa: E402
from data_prep.sudoku_csv import from_plain_csv  # noqa: E402
from sweeps.profiles import PROFILES  # noqa: E402
from trm_core.command_line import BadCommand, Parser, answered  # noqa: E402
from trm_core.config import RunConfig  # noqa: E402
from trm_core.memory import NotEnoughMemory  # noqa: E402
from trm_core.parity_reference import BadReference, Reference, load  # noqa: E402
from trm_core.puzzles import BUILT_FROM, is_built, open_built, settings_of  # noqa: E402
from trm_core.trainer import Trainer  # noqa: E402

SECTIONS = ("parity", "steps", "memory", "training")
LEFT_FOR = {"steps": 0.25, "memory": 0.1, "training": 0.3}  # of the minutes: what the sections before leave to these


class Result:
    """What is known so far, in OUT/result.json at any time."""

    def __init__(self, out: Path, facts: dict[str, Any]) -> None:
        self.path, self.facts = out / "result.json", facts

    def put(self, section: str, value: Any) -> None:
        """Set a section and write the whole file, which is never half there."""
        self.facts[section] = value
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.facts, indent=1) + "\n")
        new.replace(self.path)


def main(arguments: Sequence[str] | None = None, now: Callable[[], float] = time.monotonic) -> int:
    """Returns 0; 1 if a check does not hold or a part failed; 2 after what a user can mend, one line.

    now: seconds, from any beginning.
    """
    return answered(lambda: _main(arguments, now))


def _main(arguments: Sequence[str] | None, now: Callable[[], float]) -> int:
    options = _parser().parse_args(arguments)
    clock = Clock(options.minutes, now)
    device = chosen_device(options.device)
    run = _settings(options)
    data = _puzzles(options.data, run)
    sections = options.sections or (["training"] if options.resume else list(SECTIONS))
    references = _references(options) if "parity" in sections else []
    earlier: dict[str, Any] = {}
    trainer: Trainer | None = None
    too_large = ""
    options.out.mkdir(parents=True, exist_ok=True)
    if "training" in sections or options.resume:
        try:
            trainer = Trainer(run, data, device)
        except NotEnoughMemory as error:
            too_large = str(error)
        if options.resume and trainer is not None:
            earlier = resume(trainer, options.resume, options.out)
    result = Result(options.out, earlier | _facts(options, device, run, data))
    ok = True
    for section in SECTIONS:
        behind = [later for later in SECTIONS[SECTIONS.index(section) + 1 :] if later in sections]
        if section not in sections:
            continue
        if section == "training":
            ok &= _training(options, trainer, too_large, result, clock)
            continue
        rows = Rows(clock, device, clock.total_s * sum(LEFT_FOR[later] for later in behind))
        if section == "parity":
            ok &= _parity(references, device, result, rows)
        elif section == "steps":
            ok &= _steps(options, device, result, rows)
        else:
            ok &= _memory(options, device, result, rows)
        rows.finish(section)
    print(f"written: {result.path}")
    return 0 if ok else 1


def _training(
    options: argparse.Namespace, trainer: Trainer | None, too_large: str, result: Result, clock: Clock
) -> bool:
    """Train, or say why not. Returns whether there was nothing against it."""
    before = result.facts.get("training", {})
    if trainer is None:
        result.put("training", {"failed": too_large})
        print(f"training     {too_large}", flush=True)
        return False
    if clock.left_s() <= 0:
        result.put("training", before | {"skipped": "no time left"})
        print("training: left out, no time", flush=True)
        return True
    TimedTraining(options, trainer, clock, before, partial(result.put, "training")).run()
    return True


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python benchmarks/gpu_proof.py", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="the published puzzles: train.csv and test.csv; or a set",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="result.json, figure, checkpoint")
    add("--minutes", type=float, default=25.0, help="all of it, from start to end (default: 25)")
    add("--resume", type=Path, metavar="DIR", help="go on with the training that an earlier --out holds")
    add("--device", choices=("auto", "cuda", "cpu"), default="auto", help="default: cuda where there is one")
    add("--sections", nargs="+", choices=SECTIONS, help="default: all; with --resume training alone")
    add("--profile", choices=tuple(PROFILES), default="official", help="what is trained (default: official)")
    add("--set", action="append", nargs="+", default=[], metavar="NAME=VALUE", help="change a setting of the training")
    add("--test-puzzles", type=int, default=1000, metavar="N", help="evaluated each time (default: 1000)")
    add("--evaluate-every", type=float, default=60.0, metavar="SECONDS", help="default: 60")
    add("--checkpoint-every", type=float, default=180.0, metavar="SECONDS", help="default: 180")
    add("--stop-at", type=int, metavar="STEP", help="end the training at this step even if minutes are left")
    add(
        "--checkpoint",
        choices=("exact", "small"),
        default="exact",
        help="small: raw and EMA weights only; a resumed run starts its slots and moving averages anew",
    )
    golden = ROOT / "tests" / "fixtures" / "golden"
    add("--golden", type=Path, default=golden, metavar="DIR", help="reference numbers (default: the tests' fixture)")
    add("--variants", nargs="+", metavar="NAME", help="parity only: which (default: all in --golden)")
    add("--sizes", nargs="+", choices=SIZES, default=SIZES, help="steps only (train_step.py), as all that follow")
    add("--bases", nargs="+", choices=BASES, default=BASES, help="default: all")
    add("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="default: both")
    add("--ways", nargs="+", choices=WAYS, help="default: all")
    add("--batch-size", type=int, metavar="N", help="at 512, and of memory (default: 768 on a GPU)")
    add("--rounds", type=int, default=5, metavar="N", help="default: 5")
    add("--operations", action="store_true", help="also write the operations that take longest, a file a way")
    return parser


def _puzzles(folder: Path, run: RunConfig) -> PuzzleSet:
    """The set that lies there, or one of the files there. Raises PuzzleError, OtherPuzzleSet."""
    asked = run.data
    if is_built(folder):
        return open_built(folder, asked)
    assert asked.train is not None
    return from_plain_csv(folder, train=asked.train, validation=asked.validation, test=asked.test, seed=asked.seed)


def _settings(options: argparse.Namespace) -> RunConfig:
    if options.minutes <= 0 or options.test_puzzles < 1:
        raise BadCommand(f"--minutes {options.minutes:g}, --test-puzzles {options.test_puzzles}: expected more than 0")
    run = run_at(options.profile, "trm")
    of_data: dict[str, Any] = {"test": options.test_puzzles}
    if is_built(options.data):
        there = settings_of(options.data)
        of_data = {name: getattr(there, name) for name in BUILT_FROM[there.puzzle]}
    run = run.change({"data": of_data})
    return run.set(assignment for group in options.set for assignment in group)


def _facts(options: argparse.Namespace, device: torch.device, run: RunConfig, data: PuzzleSet) -> dict[str, Any]:
    return facts(device) | {
        "options": {name: _told(value) for name, value in vars(options).items()},
        "settings": run.model_dump(mode="json"),
        "key": run.key(data.content_hash),
        "data": {"content_hash": data.content_hash, "counts": data.manifest.counts, "notes": data.manifest.notes},
    }


def _told(value: Any) -> Any:
    """An option as a result says it: of a path here what lies below this folder, so that no machine is named."""
    if not isinstance(value, Path):
        return value
    return str(value.relative_to(ROOT) if value.is_relative_to(ROOT) else value)


# --- equality --------------------------------------------------------------------------------------------------------


def _references(options: argparse.Namespace) -> list[Reference]:
    """The float32 reference numbers to check against. Raises BadReference."""
    names = options.variants or sorted(path.stem for path in options.golden.glob("*.npz"))
    if not names:
        raise BadReference(f"{options.golden}: no reference file (.npz) here")
    references = [load(options.golden / f"{name}.npz") for name in names]
    for reference in references:
        if reference.dtype != torch.float32:
            raise BadReference(f"{options.golden}/{reference.name}.npz: float64, expected the numbers in float32")
    return references


def _parity(references: Sequence[Reference], device: torch.device, result: Result, rows: Rows) -> bool:
    """Every variant; what one of them raises is recorded and the others go on. Returns whether all of it held."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    checks: dict[str, Callable[[], Iterator[dict[str, Any]]]] = {
        f"graph {base}": partial(check_capture, f"graph {base}", run_of("mini", base, "bf16", None, device), device)
        for base in (BASES if device.type == "cuda" else ())
    }
    checks |= {reference.name: partial(check_variant, reference, device.type) for reference in references}
    try:
        for name, check in checks.items():
            new = rows.add({"variant": name}, check)
            result.put("parity", rows.rows)
            of_each: dict[str, list[dict[str, Any]]] = {}
            for row in new:
                of_each.setdefault(row.get("check", ""), []).append(row)
            for title, of_it in of_each.items():
                print(_parity_line(name, title, of_it), flush=True)
    finally:
        torch.use_deterministic_algorithms(False)
    return all(row.get("holds", "skipped" in row) for row in rows.rows)


def _parity_line(name: str, check: str, rows: list[dict[str, Any]]) -> str:
    if not check:
        return f"{name:<12} {rows[0].get('skipped') or rows[0]['failed']}"
    worst = max(rows, key=lambda row: row["error"] / max(row["bound"], 1e-300))
    said = "holds" if all(row["holds"] for row in rows) else "FAILS"
    undecided = [row["quantity"] for row in rows if not row["decides"]]
    more = f"; decides nothing on {', '.join(undecided)}" if undecided else ""
    return f"{name:<12} {check:<22} {said}  {worst['quantity']} {worst['error']:.1e} (bound {worst['bound']:.1e}){more}"


# --- steps -----------------------------------------------------------------------------------------------------------


def _steps(options: argparse.Namespace, device: torch.device, result: Result, rows: Rows) -> bool:
    """Ours beside the released step and the bare products (train_step.py). Returns whether no row failed."""
    operations = options.out / "operations" if options.operations else None
    if operations:
        operations.mkdir(exist_ok=True)
    asked = Asked(ways_on(device, options.ways), options.rounds, operations)
    groups = groups_of(options.sizes, options.bases, options.precisions, options.batch_size, device)
    return measure_all(groups, asked, device, rows, partial(result.put, "steps"))


# --- memory ----------------------------------------------------------------------------------------------------------


def _memory(options: argparse.Namespace, device: torch.device, result: Result, rows: Rows) -> bool:
    """Predicted and measured peaks of compiled bf16 steps at D=512. Returns whether no row failed."""
    batch_size = options.batch_size or memory_truth.BATCH_SIZE[device.type]
    for name, word in product(memory_truth.RUNS, ("false", "true")):
        what = {"run": name, "precision": "bf16", "compile": "on", "checkpointing": word}
        run = memory_truth.run_of(name, 512, batch_size, "bf16")
        run = run.change({"train": {"compile": "on", "activation_checkpointing": word}})
        for row in rows.add(what, partial(memory_truth.measured, what, run, device, memory_truth.STEPS)):
            print(memory_truth.line(row), flush=True)
        result.put("memory", rows.rows)
    return not any("failed" in row for row in rows.rows)


if __name__ == "__main__":
    sys.exit(main())
