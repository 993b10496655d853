"""Proof on a GPU: python benchmarks/gpu_proof.py --data DIR --minutes 25 --out DIR [--resume DIR].

Needs torch, numpy, pydantic and safetensors; no Ray, no MLflow, no numba. In this order, each written to
OUT/result.json as it goes:

    parity      every variant equals the reference numbers on this device, eager and compiled (benchmarks/equality.py)
    benchmark   step time, puzzles/s, peak memory and FLOP utilisation of TRM-MLP, TRM-Att and HRM, eager and compiled
    training    in the minutes left, TRM-MLP on real puzzles at the released code's settings, accuracy over time

Leaves OUT/checkpoint_<step>/ in parts under 16 MiB, from which --resume goes on (bit for bit on a CPU), and a figure.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault(
    "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
)  # deterministic matrix products, asked for before CUDA is up

import torch  # noqa: E402

from benchmarks import curve, parts  # noqa: E402
from benchmarks.equality import check_variant, compile_networks  # noqa: E402
from benchmarks.step_time import COLUMNS, device_name, measure  # noqa: E402
from data_prep.puzzle_set import PuzzleSet  # noqa: E402
from data_prep.sudoku_csv import from_plain_csv  # noqa: E402
from sweeps.recipes import recipe  # noqa: E402
from sweeps.study import BaseName  # noqa: E402
from trm_core import checkpoint as checkpoints  # noqa: E402
from trm_core.checkpoint import BadCheckpoint  # noqa: E402
from trm_core.command_line import BadCommand, Parser, is_for_the_user, refuse  # noqa: E402
from trm_core.config import RunConfig  # noqa: E402
from trm_core.evaluate import evaluate  # noqa: E402
from trm_core.parity import VARIANTS  # noqa: E402
from trm_core.supervision import empty_slots  # noqa: E402
from trm_core.trainer import Trainer  # noqa: E402

SECTIONS = ("parity", "benchmark", "training")
BASES: tuple[BaseName, ...] = ("trm", "trm_att", "hrm")
FOR_TRAINING = 0.3  # of the minutes: what parity and benchmark leave
LOOK_EVERY = 10  # steps between looks at the loss and the clock; a look waits for the GPU
Z = 1.959963984540054  # standard normal quantile of a 95 % interval


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


class Clock:
    """How many of the minutes are left."""

    def __init__(self, minutes: float) -> None:
        self.began, self.total_s = time.monotonic(), 60 * minutes

    def left_s(self) -> float:
        """Seconds."""
        return self.total_s - (time.monotonic() - self.began)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0; 1 if a check does not hold or a part failed; 2 after what a user can mend, one line."""
    try:
        return _main(arguments)
    except ValueError as error:
        if not is_for_the_user(error):
            raise
        return refuse(str(error))


def _main(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    clock = Clock(options.minutes)
    device = _device(options.device)
    run = _settings(options)
    assert run.data.train is not None
    data = from_plain_csv(
        options.data,
        train=run.data.train,
        validation=run.data.validation,
        test=run.data.test,
        seed=run.data.seed,
    )
    sections = options.sections or (["training"] if options.resume else list(SECTIONS))
    earlier: dict[str, Any] = {}
    trainer: Trainer | None = None
    options.out.mkdir(parents=True, exist_ok=True)
    if "training" in sections or options.resume:
        trainer = Trainer(run, data, device)
        if options.resume:
            earlier = _resume(trainer, options.resume, options.out)
    result = Result(options.out, earlier | _facts(options, device, run, data))
    ok = True
    if "parity" in sections:
        ok &= _parity(options, device, result, clock)
    if "benchmark" in sections:
        ok &= _benchmark(options, device, data, result, clock)
    if "training" in sections:
        assert trainer is not None
        _train(options, trainer, result, clock)
    print(f"written: {result.path}")
    return 0 if ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python benchmarks/gpu_proof.py", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="the published puzzles: train.csv and test.csv")
    add("--out", type=Path, required=True, metavar="DIR", help="result.json, figure, checkpoint")
    add("--minutes", type=float, default=25.0, help="all of it, from start to end (default: 25)")
    add("--resume", type=Path, metavar="DIR", help="go on with the training that an earlier --out holds")
    add("--device", choices=("auto", "cuda", "cpu"), default="auto", help="default: cuda where there is one")
    add("--sections", nargs="+", choices=SECTIONS, help="default: all; with --resume training alone")
    add("--set", action="append", nargs="+", default=[], metavar="NAME=VALUE", help="change a setting of the training")
    add("--test-puzzles", type=int, default=1000, metavar="N", help="evaluated each time (default: 1000)")
    add("--compile", action="store_true", help="train with compiled networks")
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
    add("--variants", nargs="+", choices=tuple(VARIANTS), default=list(VARIANTS), help="parity only: which")
    add("--D", type=int, default=512, help="benchmark only: width")
    add("--batch-size", type=int, default=768, help="benchmark only: slots")
    add("--steps", type=int, default=20, help="benchmark only: steps measured")
    add("--profile", action="store_true", help="also write the operations that take longest, profile_<base>.txt")
    return parser


def _device(name: str) -> torch.device:
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise BadCommand("--device cuda: torch finds no GPU here; use --device cpu, or install a CUDA build of torch")
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def _settings(options: argparse.Namespace) -> RunConfig:
    if options.minutes <= 0 or options.test_puzzles < 1:
        raise BadCommand(f"--minutes {options.minutes:g}, --test-puzzles {options.test_puzzles}: expected more than 0")
    run = recipe("trm", "sudoku").change({"data": {"test": options.test_puzzles}})
    return run.set(assignment for group in options.set for assignment in group)


def _facts(options: argparse.Namespace, device: torch.device, run: RunConfig, data: PuzzleSet) -> dict[str, Any]:
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": device_name(device),
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()},
        "threads": torch.get_num_threads(),
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()},
        "settings": run.model_dump(mode="json"),
        "key": run.key(data.content_hash),
        "data": {"content_hash": data.content_hash, "counts": data.manifest.counts, "notes": data.manifest.notes},
    }


# --- equality --------------------------------------------------------------------------------------------------------


def _parity(options: argparse.Namespace, device: torch.device, result: Result, clock: Clock) -> bool:
    """Every variant; what one of them raises is recorded and the others go on. Returns whether all of it held."""
    rows: list[dict[str, Any]] = []
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        for name in options.variants:
            if _is_short(clock):
                rows.append({"variant": name, "skipped": "no time left"})
            else:
                reference = options.golden / f"{name}.npz"
                _attempt(rows, {"variant": name}, partial(check_variant, reference, device.type))
            result.put("parity", rows)
            checks: dict[str, list[dict[str, Any]]] = {}
            for row in rows:
                if row["variant"] == name:
                    checks.setdefault(row.get("check", ""), []).append(row)
            for check, of_it in checks.items():
                print(_parity_line(name, check, of_it), flush=True)
    finally:
        torch.use_deterministic_algorithms(False)
    return all(row.get("holds", "skipped" in row) for row in rows)


def _parity_line(name: str, check: str, rows: list[dict[str, Any]]) -> str:
    if not check:
        return f"{name:<12} {rows[0].get('skipped') or rows[0]['failed']}"
    worst = max(rows, key=lambda row: row["error"] / max(row["bound"], 1e-300))
    said = "holds" if all(row["holds"] for row in rows) else "FAILS"
    undecided = [row["quantity"] for row in rows if not row["decides"]]
    more = f"; decides nothing on {', '.join(undecided)}" if undecided else ""
    return f"{name:<12} {check:<22} {said}  {worst['quantity']} {worst['error']:.1e} (bound {worst['bound']:.1e}){more}"


def _attempt(rows: list[dict[str, Any]], what: dict[str, Any], measured: Callable[[], Any]) -> None:
    """Add what was measured to the rows; or, so that one failure does not cost all the GPU time, why not."""
    try:
        rows.extend(measured())
    except Exception as error:
        if isinstance(error, ValueError) and is_for_the_user(error):
            raise
        # compilers and drivers raise what they like: recorded, printed, and the exit code is 1
        rows.append(what | {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}", "holds": False})


def _is_short(clock: Clock) -> bool:
    return clock.left_s() < FOR_TRAINING * clock.total_s


# --- benchmark -------------------------------------------------------------------------------------------------------


def _benchmark(
    options: argparse.Namespace, device: torch.device, data: PuzzleSet, result: Result, clock: Clock
) -> bool:
    rows: list[dict[str, Any]] = []
    for base in BASES:
        run = recipe(base, "sudoku").change({"model": {"D": options.D}, "train": {"batch_size": options.batch_size}})
        for compiled in (False, True):
            what = {"base": base, "compiled": compiled}
            if _is_short(clock):
                rows.append(what | {"skipped": "no time left"})
            else:

                def measured(run: RunConfig = run, what: dict[str, Any] = what) -> list[dict[str, Any]]:
                    torch._dynamo.reset()
                    trainer = Trainer(run, data, device)
                    if what["compiled"]:
                        compile_networks(trainer.model)
                    row = what | measure(trainer, run, options.steps)
                    if options.profile:
                        name = f"profile_{what['base']}{'_compiled' if what['compiled'] else ''}.txt"
                        (options.out / name).write_text(_profile(trainer))
                    return [row]

                _attempt(rows, what, measured)
            row = rows[-1]
            told = (
                row.get("skipped")
                or row.get("failed")
                or "  ".join(f"{name} {row[name]:.4g}" for name in COLUMNS if row[name] is not None)
            )
            print(f"{base:<8} {'compiled' if compiled else 'eager':<9} {told}", flush=True)
            result.put(
                "benchmark", {"D": options.D, "batch_size": options.batch_size, "precision": "bf16", "rows": rows}
            )
    return not any("failed" in row for row in rows)


def _profile(trainer: Trainer) -> str:
    """Where the time of three steps goes."""
    from torch.profiler import ProfilerActivity, profile

    cuda = trainer.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as profiled:
        for _ in range(3):
            trainer.take_step()
    return str(profiled.key_averages().table(sort_by=f"self_{'cuda' if cuda else 'cpu'}_time_total", row_limit=25))


# --- training --------------------------------------------------------------------------------------------------------


def _train(options: argparse.Namespace, trainer: Trainer, result: Result, clock: Clock) -> None:
    """Train until the minutes, --stop-at or the run end; evaluate and save by the clock, and always at the end."""
    run = trainer.run
    before: dict[str, Any] = result.facts.get("training", {})
    points: list[dict[str, Any]] = before.get("points", [])
    minutes_before = float(before.get("minutes", 0.0))
    began, first_step = time.monotonic(), trainer.step
    stop = min(run.train.steps, options.stop_at or run.train.steps)
    if options.compile:
        compile_networks(trainer.model)
    loss: float | None = None

    def look() -> float:
        """Evaluate, record, draw; returns the seconds it took."""
        since = time.monotonic()
        scores = evaluate(
            trainer.evaluated_model,
            trainer.data.test,
            limit=None,
            batch_size=run.train.batch_size,
            N_sup=run.train.eval_N_sup or run.model.N_sup,
            device=trainer.device,
        )
        low, high = wilson(scores["exact_accuracy"], int(scores["puzzles"]))
        minutes = minutes_before + (time.monotonic() - began) / 60
        point = {"step": trainer.step, "minutes": minutes, "loss": loss, **scores, "low": low, "high": high}
        points[:] = [old for old in points if old["step"] < trainer.step] + [point]
        steps_s = (trainer.step - first_step) / (time.monotonic() - began)
        result.put("training", {"minutes": minutes, "steps_per_second": steps_s, "points": points})
        title = f"TRM-MLP on Sudoku, {len(trainer.data.train):,} training puzzles"
        told = f"{int(scores['puzzles']):,} test puzzles, 95 % interval; {device_name(trainer.device)}"
        (options.out / "accuracy.svg").write_text(curve.draw(points, title, told))
        print(
            f"step {trainer.step:>6}  {minutes:5.1f} min  exact {scores['exact_accuracy']:.3f} [{low:.3f}, {high:.3f}]"
            f"  cells {scores['cell_accuracy']:.3f}" + ("" if loss is None else f"  loss {loss:.3f}"),
            flush=True,
        )
        return time.monotonic() - since

    look_s, save_s = look(), 0.0
    looked = saved = time.monotonic()
    while trainer.step < stop:
        trainer.take_step()
        if trainer.step == first_step + 1:
            save_s = _save(options, trainer)  # early: how long it takes must be known before time runs out
        if trainer.step % LOOK_EVERY == 0:
            loss = trainer.window_metrics()["train/loss"]
        elif trainer.device.type != "cpu":
            continue
        if clock.left_s() < 10 + 1.5 * (look_s + save_s):
            break
        if time.monotonic() - looked > options.evaluate_every:
            look_s, looked = look(), time.monotonic()
        if time.monotonic() - saved > options.checkpoint_every:
            save_s, saved = _save(options, trainer), time.monotonic()
    if trainer.slots is not None:
        _save(options, trainer)  # before the last evaluation: a run cut off there has lost nothing
    if points[-1]["step"] != trainer.step:
        look()


def wilson(accuracy: float, puzzles: int) -> tuple[float, float]:
    """Wilson 95 % interval of an accuracy [0..1] on so many puzzles."""
    shrink = 1 + Z * Z / puzzles
    centre = (accuracy + Z * Z / (2 * puzzles)) / shrink
    half = Z / shrink * math.sqrt(accuracy * (1 - accuracy) / puzzles + Z * Z / (4 * puzzles * puzzles))
    return max(0.0, centre - half), min(1.0, centre + half)


# --- checkpoints -----------------------------------------------------------------------------------------------------


def _save(options: argparse.Namespace, trainer: Trainer) -> float:
    """OUT/checkpoint_<step>, in place of the one before it. Returns the seconds it took."""
    began = time.monotonic()
    work = options.out / ".saving"
    shutil.rmtree(work, ignore_errors=True)
    path = trainer.save(work)
    if options.checkpoint == "small":
        whole = checkpoints.load(path)
        kept = {name: tensor for name, tensor in whole.training.items() if name.startswith("model/")}
        path = checkpoints.save(dataclasses.replace(whole, training=kept), work / "small")
    final: Path = options.out / f"checkpoint_{trainer.step:08d}"
    parts.split(path, final)
    shutil.rmtree(work)
    for old in options.out.glob("checkpoint_*"):
        if old != final:
            shutil.rmtree(old)
    return time.monotonic() - began


def _resume(trainer: Trainer, folder: Path, out: Path) -> dict[str, Any]:
    """Bring the trainer to where the run in a folder stopped; returns that run's result. Raises BadCheckpoint."""
    found = sorted(folder.glob("checkpoint_*"))
    if not found:
        raise BadCheckpoint(f"{folder}: no checkpoint_* here; give the --out of an earlier run")
    work = out / ".joining"
    shutil.rmtree(work, ignore_errors=True)
    try:
        parts.join(found[-1], work)
        saved = checkpoints.load(work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if not any(name.startswith("slots/") for name in saved.training):  # a small checkpoint
        print("small checkpoint: slots and the optimiser's moving averages start anew")
        batch = trainer.batches.draw(saved.step, 0, 1, trainer.device)
        slots = {f"slots/{name}": tensor for name, tensor in empty_slots(trainer.model, batch).tensors().items()}
        saved = dataclasses.replace(saved, training=saved.training | slots | {"sums": trainer.sums})
    trainer.restore(saved)
    try:
        earlier: dict[str, Any] = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError) as error:
        raise BadCheckpoint(f"{folder}/result.json: missing or unreadable ({error}); copy it here again") from None
    return earlier


if __name__ == "__main__":
    sys.exit(main())
