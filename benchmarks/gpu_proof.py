"""Proof on a GPU: python benchmarks/gpu_proof.py --data DIR --minutes 25 --out DIR [--resume DIR].

Needs torch, numpy, pydantic and safetensors; no Ray, no MLflow, no numba. In this order, each written to
OUT/result.json as it goes:

    parity      every variant equals the reference numbers on this device, eager and compiled (benchmarks/equality.py)
    benchmark   step time, puzzles/s, peak memory and FLOP utilisation of TRM-MLP, TRM-Att and HRM, eager and compiled
    training    in the minutes left, TRM-MLP on real puzzles at the released code's settings, accuracy over time

A row that fails or does not fit is a line, and the rest goes on. No row is begun that would take the time of the
sections behind it, were it as long as the longest before it; what is left out is named.

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
from collections.abc import Callable, Iterable, Sequence
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
from trm_core.memory import NotEnoughMemory  # noqa: E402
from trm_core.parity_reference import BadReference, Reference, load  # noqa: E402
from trm_core.supervision import empty_slots  # noqa: E402
from trm_core.trainer import Trainer, release  # noqa: E402

SECTIONS = ("parity", "benchmark", "training")
BASES: tuple[BaseName, ...] = ("trm", "trm_att", "hrm")
LEFT_FOR = {"benchmark": 0.25, "training": 0.3}  # of the minutes: what the sections before leave to these
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

    def __init__(self, minutes: float, now: Callable[[], float]) -> None:
        self.now, self.began, self.total_s = now, now(), 60 * minutes

    def left_s(self) -> float:
        """Seconds."""
        return self.total_s - (self.now() - self.began)


class Rows:
    """The rows of a section, measured one after the other for as long as its time allows; one that fails is a row."""

    def __init__(self, clock: Clock, behind: Sequence[str], device: torch.device) -> None:
        self.clock, self.device = clock, device
        self.kept_s = clock.total_s * sum(LEFT_FOR[section] for section in behind)
        self.longest_s = 0.0
        self.rows: list[dict[str, Any]] = []
        self.left_out: list[str] = []

    def add(self, what: dict[str, Any], measured: Callable[[], Iterable[dict[str, Any]]]) -> list[dict[str, Any]]:
        """What was measured, as rows; or one that says why not: failed, no time left."""
        before = len(self.rows)
        began = self.clock.left_s()
        if began - self.kept_s <= self.longest_s:
            self.left_out.append(" ".join(str(value) for value in what.values()))
            self.rows.append(what | {"skipped": "no time left"})
            return self.rows[before:]
        try:
            self.rows.extend(measured())
        except Exception as error:
            # compilers, drivers and a full card raise what they like: recorded, printed, and the exit code is 1
            said = " ".join(str(error).split())[:500]
            self.rows.append(what | {"failed": f"{type(error).__name__}: {said}", "holds": False})
        release(self.device)  # the next row finds the card as this one did
        self.longest_s = max(self.longest_s, began - self.clock.left_s())
        return self.rows[before:]

    def finish(self, section: str) -> None:
        """Say what there was no time for."""
        if self.left_out:
            print(f"{section}: left out, no time: {', '.join(self.left_out)}", flush=True)


def main(arguments: Sequence[str] | None = None, now: Callable[[], float] = time.monotonic) -> int:
    """Returns 0; 1 if a check does not hold or a part failed; 2 after what a user can mend, one line.

    now: seconds, from any beginning.
    """
    try:
        return _main(arguments, now)
    except ValueError as error:
        if not is_for_the_user(error):
            raise
        return refuse(str(error))


def _main(arguments: Sequence[str] | None, now: Callable[[], float]) -> int:
    options = _parser().parse_args(arguments)
    clock = Clock(options.minutes, now)
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
            earlier = _resume(trainer, options.resume, options.out)
    result = Result(options.out, earlier | _facts(options, device, run, data))
    ok = True
    for section in SECTIONS:
        behind = [later for later in SECTIONS[SECTIONS.index(section) + 1 :] if later in sections]
        if section not in sections:
            continue
        if section == "training":
            ok &= _training(options, trainer, too_large, result, clock)
            continue
        rows = Rows(clock, behind, device)
        if section == "parity":
            ok &= _parity(references, device, result, rows)
        else:
            ok &= _benchmark(options, device, data, result, rows)
        rows.finish(section)
    print(f"written: {result.path}")
    return 0 if ok else 1


def _training(
    options: argparse.Namespace, trainer: Trainer | None, too_large: str, result: Result, clock: Clock
) -> bool:
    """Train, or say why not. Returns whether there was nothing against it."""
    if trainer is None:
        result.put("training", {"failed": too_large})
        print(f"training     {too_large}", flush=True)
        return False
    if clock.left_s() <= 0:
        result.put("training", {**result.facts.get("training", {}), "skipped": "no time left"})
        print("training: left out, no time", flush=True)
        return True
    _train(options, trainer, result, clock)
    return True


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
    add("--variants", nargs="+", metavar="NAME", help="parity only: which (default: all in --golden)")
    add("--D", type=int, default=512, help="benchmark only: width")
    add("--batch-size", type=int, default=768, help="benchmark only: slots")
    add("--steps", type=int, default=20, help="benchmark only: steps measured")
    add("--eager", action="store_true", help="benchmark only: nothing compiled")
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
    try:
        for reference in references:
            new = rows.add({"variant": reference.name}, partial(check_variant, reference, device.type))
            result.put("parity", rows.rows)
            checks: dict[str, list[dict[str, Any]]] = {}
            for row in new:
                checks.setdefault(row.get("check", ""), []).append(row)
            for check, of_it in checks.items():
                print(_parity_line(reference.name, check, of_it), flush=True)
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


# --- benchmark -------------------------------------------------------------------------------------------------------


def _benchmark(options: argparse.Namespace, device: torch.device, data: PuzzleSet, result: Result, rows: Rows) -> bool:
    """Each recipe eager and compiled; a row that fails or does not fit is a line. Returns whether none was."""
    for base in BASES:
        run = recipe(base, "sudoku").change({"model": {"D": options.D}, "train": {"batch_size": options.batch_size}})
        for compiled in (False,) if options.eager else (False, True):
            name = "compiled" if compiled else "eager"
            (row,) = rows.add(
                {"base": base, "compiled": compiled}, partial(_measured, options, run, data, device, base, name)
            )
            told = (
                row.get("skipped")
                or row.get("failed")
                or "  ".join(f"{column} {row[column]:.4g}" for column in COLUMNS if row[column] is not None)
            )
            print(f"{base:<8} {name:<9} {told}", flush=True)
            result.put(
                "benchmark", {"D": options.D, "batch_size": options.batch_size, "precision": "bf16", "rows": rows.rows}
            )
    return not any("failed" in row for row in rows.rows)


def _measured(
    options: argparse.Namespace, run: RunConfig, data: PuzzleSet, device: torch.device, base: str, name: str
) -> list[dict[str, Any]]:
    """One row: step time and, if asked for, a profile."""
    torch._dynamo.reset()
    trainer = Trainer(run, data, device)
    if name == "compiled":
        compile_networks(trainer.model)
    row = {"base": base, "compiled": name == "compiled"} | measure(trainer, run, options.steps)
    if options.profile:
        suffix = "_compiled" if name == "compiled" else ""
        (options.out / f"profile_{base}{suffix}.txt").write_text(_profile(trainer))
    return [row]


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
    began, first_step = clock.now(), trainer.step
    stop = min(run.train.steps, options.stop_at or run.train.steps)
    if options.compile:
        compile_networks(trainer.model)
    loss: float | None = None

    def look() -> float:
        """Evaluate, record, draw; returns the seconds it took."""
        since = clock.now()
        scores = evaluate(
            trainer.evaluated_model,
            trainer.data.test,
            limit=None,
            batch_size=run.train.batch_size,
            N_sup=run.train.eval_N_sup or run.model.N_sup,
            device=trainer.device,
        )
        low, high = wilson(scores["exact_accuracy"], int(scores["puzzles"]))
        minutes = minutes_before + (clock.now() - began) / 60
        point = {"step": trainer.step, "minutes": minutes, "loss": loss, **scores, "low": low, "high": high}
        points[:] = [old for old in points if old["step"] < trainer.step] + [point]
        steps_s = (trainer.step - first_step) / max(clock.now() - began, 1e-9)  # a clock may stand still
        result.put("training", {"minutes": minutes, "steps_per_second": steps_s, "points": points})
        title = f"TRM-MLP on Sudoku, {len(trainer.data.train):,} training puzzles"
        told = f"{int(scores['puzzles']):,} test puzzles, 95 % interval; {device_name(trainer.device)}"
        (options.out / "accuracy.svg").write_text(curve.draw(points, title, told))
        print(
            f"step {trainer.step:>6}  {minutes:5.1f} min  exact {scores['exact_accuracy']:.3f} [{low:.3f}, {high:.3f}]"
            f"  cells {scores['cell_accuracy']:.3f}" + ("" if loss is None else f"  loss {loss:.3f}"),
            flush=True,
        )
        return clock.now() - since

    look_s, save_s = look(), 0.0
    looked = saved = clock.now()
    while trainer.step < stop:
        trainer.take_step()
        if trainer.step == first_step + 1:
            save_s = _save(options, trainer, clock)  # early: how long it takes must be known before time runs out
        if trainer.step % LOOK_EVERY == 0:
            loss = trainer.window_metrics()["train/loss"]
        elif trainer.device.type != "cpu":
            continue
        if clock.left_s() < 10 + 1.5 * (look_s + save_s):
            break
        if clock.now() - looked > options.evaluate_every:
            look_s, looked = look(), clock.now()
        if clock.now() - saved > options.checkpoint_every:
            save_s, saved = _save(options, trainer, clock), clock.now()
    if trainer.slots is not None:
        _save(options, trainer, clock)  # before the last evaluation: a run cut off there has lost nothing
    if points[-1]["step"] != trainer.step:
        look()


def wilson(accuracy: float, puzzles: int) -> tuple[float, float]:
    """Wilson 95 % interval of an accuracy [0..1] on so many puzzles."""
    shrink = 1 + Z * Z / puzzles
    centre = (accuracy + Z * Z / (2 * puzzles)) / shrink
    half = Z / shrink * math.sqrt(accuracy * (1 - accuracy) / puzzles + Z * Z / (4 * puzzles * puzzles))
    return max(0.0, centre - half), min(1.0, centre + half)


# --- checkpoints -----------------------------------------------------------------------------------------------------


def _save(options: argparse.Namespace, trainer: Trainer, clock: Clock) -> float:
    """OUT/checkpoint_<step>, in place of the one before it. Returns the seconds it took."""
    began = clock.now()
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
    return clock.now() - began


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
