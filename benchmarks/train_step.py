"""A training step of ours beside the released one and beside its bare matrix products, all in one run.

    python benchmarks/train_step.py [--device cuda] [--sizes mini 512] [--bases trm hrm] [--precisions fp32 bf16]

For every size, recipe and precision: the released step (released_step.py) eager and compiled, ours eager, compiled and
with CUDA graphs ("recursions": and compiled as on a CPU, a deep recursion at a time), and the matrix products that the
step needs (products.py). They take turns, A B C … A B C …, so a ratio is the median of the ratios of each round, and
the least and the greatest stand beside it; times of two runs of this program are not to be compared. Puzzles are random
and never solved: every slot takes all its N_sup steps.

"first s" is the first step with what is compiled and captured for it; "graphs" finds what "compiled" has left, and
without --cold all find what earlier runs left. A row that fails or does not fit is a line; what --minutes leaves no
time for is named. --out holds all that is known at any time, with device, versions and date. Needs torch, numpy and
pydantic alone.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, cycle
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.products import BareProducts  # noqa: E402
from benchmarks.released_step import Data, ReleasedStep  # noqa: E402
from benchmarks.rows import Clock, Row, Rows  # noqa: E402
from benchmarks.turns import Steps, Turns, device_name  # noqa: E402
from data_prep.puzzle_set import PuzzleSet  # noqa: E402
from sweeps.profiles import configure  # noqa: E402
from sweeps.recipes import recipe  # noqa: E402
from sweeps.study import BaseName, ProfileName, Study  # noqa: E402
from sweeps.study import Row as StudyRow  # noqa: E402
from trm_core.command_line import BadCommand, Parser, answered  # noqa: E402
from trm_core.compiled import compile_run  # noqa: E402
from trm_core.config import RunConfig  # noqa: E402
from trm_core.data import TrainingBatches  # noqa: E402
from trm_core.memory import peak_bytes  # noqa: E402
from trm_core.model import Model  # noqa: E402
from trm_core.speed import random_puzzles  # noqa: E402
from trm_core.trainer import Trainer  # noqa: E402

SIZES = ("512", "mini")
BASES: tuple[BaseName, ...] = ("trm", "trm_att", "hrm")
PRECISIONS = ("bf16", "fp32")
WAYS = ("products", "released", "eager", "compiled", "graphs", "recursions", "released compiled")  # slow ones last
ON_A_GPU = ("graphs", "recursions")
BESIDE = ("released", "released compiled", "products")  # what the others' times are divided into
BATCH_SIZE = {"cuda": 768, "cpu": 8}  # at 512; on a CPU a step is then about a second
STEPS = {"512": {"cuda": 5, "cpu": 1}, "mini": {"cuda": 20, "cpu": 20}}  # of a turn
SHARE = 0.55  # of a card that a step may take, by formula; above it the batch is halved


class Group(NamedTuple):
    """Ways that are measured beside each other."""

    size: str
    base: BaseName
    precision: str
    run: RunConfig

    @property
    def what(self) -> Row:
        """Its name in a row."""
        return {"size": self.size, "base": self.base, "precision": self.precision}


class Asked(NamedTuple):
    """How each group is measured."""

    ways: Sequence[str]
    rounds: int
    operations: Path | None = None  # the folder for each way's profile


# --- what is measured -------------------------------------------------------------------------------------------------


def groups_of(
    sizes: Sequence[str],
    bases: Sequence[BaseName],
    precisions: Sequence[str],
    batch_size: int | None,
    device: torch.device,
) -> list[Group]:
    """What is asked for, in the order in which it is measured. batch_size: at 512; None: as BATCH_SIZE says."""
    return [
        Group(size, base, precision, run_of(size, base, precision, batch_size, device))
        for size in sizes
        for precision in precisions
        for base in bases
    ]


def run_at(profile: ProfileName, base: BaseName) -> RunConfig:
    """The recipe on Sudoku at a profile's scale."""
    row = StudyRow(name=base, base=base)
    study = Study(name="benchmark", title="benchmark", puzzle="sudoku", source="none", rows=(row,))
    return configure(study, row, profile, seed=0)


def run_of(size: str, base: BaseName, precision: str, batch_size: int | None, device: torch.device) -> RunConfig:
    """The mini profile's run, or the released one at this batch size; None: as BATCH_SIZE, halved until it fits.

    Nothing is recomputed to save memory, however little is free: a way must not depend on those before it.
    """
    train = {"precision": precision, "activation_checkpointing": "false"}
    if size == "mini":
        return run_at("mini", base).change({"train": train})
    run = recipe(base, "sudoku").change({"train": train | {"batch_size": batch_size or BATCH_SIZE[device.type]}})
    if device.type == "cuda" and batch_size is None:
        while peak_bytes(run) > SHARE * torch.cuda.mem_get_info(device)[1]:
            run = run.change({"train": {"batch_size": run.train.batch_size // 2}})
    return run


def made(way: str, run: RunConfig, device: torch.device) -> Steps:
    """A way of taking the run's steps, with weights and puzzles of its own that are the same for all."""
    if way == "products":
        return BareProducts(run, device)
    puzzles = random_puzzles(run)
    if way.startswith("released"):
        weights = dict(Model(run, puzzles.n_puzzle_ids).state_dict())
        released = ReleasedStep(run, handed_over(run, puzzles, device), weights, device)
        if way == "released compiled":
            released.compile()
        return released
    return trainer_of(way, run, puzzles, device)


def trainer_of(way: str, run: RunConfig, puzzles: PuzzleSet, device: torch.device) -> Trainer:
    """Ours: eager, compiled, or compiled and captured as CUDA graphs, with each deep recursion as one graph or not."""
    run = run.change({"train": {"compile": "on" if way in ("compiled", "graphs") else "off"}})
    trainer = Trainer(run, puzzles, device, capture=way == "graphs")
    if way == "recursions":
        compile_run(trainer.model, trainer.evaluated_model, run, device, workers=1, whole=True)
        trainer.captures = device.type == "cuda"
    return trainer


def handed_over(run: RunConfig, puzzles: PuzzleSet, device: torch.device) -> Iterator[Data]:
    """Batches as the released dataloader's process hands them over, made beforehand; on the CPU, pinned for a GPU."""
    batches = TrainingBatches(puzzles, run)

    def batch(step: int) -> Data:
        drawn = batches.draw(step, 0, 1, torch.device("cpu"))
        data = {"inputs": drawn.inputs, "labels": drawn.labels, "puzzle_identifiers": drawn.puzzle_ids}
        small = {name: tensor.int() for name, tensor in data.items()}
        return {name: tensor.pin_memory() for name, tensor in small.items()} if device.type == "cuda" else small

    return cycle([batch(step) for step in range(4)])


# --- the command ------------------------------------------------------------------------------------------------------


def facts(device: torch.device) -> Row:
    """Date, device and versions, and what float32 products are computed in."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": device_name(device),
        "versions": {"torch": torch.__version__, "cuda": torch.version.cuda, "python": platform.python_version()},
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "float32_products": torch.get_float32_matmul_precision(),
        "allow_tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def heading(known: Row) -> str:
    """The facts that a reader needs, in two lines."""
    load = "" if known["load"] is None else f", load {known['load']:.1f}"
    return (
        f"{known['device']}, torch {known['versions']['torch']}, {known['threads']} threads{load}\n"
        f"float32 products: {known['float32_products']}, TF32 {'on' if known['allow_tf32'] else 'off'}\n"
    )


def table(rows: Sequence[Row]) -> str:
    """One group's rows, at most 80 columns wide: what each way takes, and how many times as fast it is."""
    first = rows[0]
    title = f"{first['base']}, {first['size']}, {first['precision']}"
    if "way" not in first:  # the whole group was left out, or fell over
        return f"{title}: {first.get('skipped') or first['failed']}"
    lines = [f"{title}: D={first['D']}, {first['positions']} positions, batch {first['batch_size']}"]
    lines.append(f"{'':<17} {'ms/step':>9} {'puzzles/s':>10} {'TFLOP/s':>8} {'of peak':>7} {'GB':>7} {'first s':>7}")
    good = [row for row in rows if "ms_per_step" in row]
    columns = ("ms_per_step", "puzzles_per_s", "tflops", "utilisation", "peak_memory_gb", "first_step_s")
    for row in good:
        cells = [f"{_cell(row[name]):>{width}}" for name, width in zip(columns, (9, 10, 8, 7, 7, 7), strict=True)]
        lines.append(f"{row['way']:<17} {' '.join(cells)}")
    for row in rows:
        if row not in good:
            said = f"{row['way']:<17} {row.get('skipped') or row['failed']}"
            lines.append(textwrap.fill(said, 80, subsequent_indent=" " * 18))
    if any(row["times_as_fast_as"] for row in good):
        lines.append(f"{'times as fast as':<17} " + " ".join(f"{name:>20}" for name in BESIDE))
    for row in good:
        if row["times_as_fast_as"]:
            lines.append(
                f"{row['way']:<17} " + " ".join(f"{_spread(row['times_as_fast_as'].get(name)):>20}" for name in BESIDE)
            )
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _spread(found: list[float] | None) -> str:
    return "-" if found is None else "{:.2f} ({:.2f}-{:.2f})".format(*found)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def chosen_device(name: str) -> torch.device:
    """auto is the GPU where there is one. Raises BadCommand."""
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise BadCommand("--device cuda: torch finds no GPU here; use --device cpu, or install a CUDA build of torch")
    return torch.device("cuda" if found and name != "cpu" else "cpu")


def measure(
    group: Group, asked: Asked, device: torch.device, rows: Rows, keep: Callable[[list[Row]], None]
) -> list[Row]:
    """A row per way. keep: called with what is known of the group whenever there is more of it."""
    torch._dynamo.reset()
    turns = Turns(group.run, device, rows.left_s, rows.clock.now)
    ways = {way: partial(made, way, group.run, device) for way in asked.ways}
    for _ in chain(turns.begin(ways), turns.take(asked.rounds, STEPS[group.size][device.type])):
        keep([group.what | row for row in turns.rows(BESIDE)])
    if asked.operations:
        for way in turns.ways:
            name = "_".join([*group.what.values(), *way.name.split()])
            (asked.operations / f"{name}.txt").write_text(way.profile(3))
    return [group.what | row for row in turns.rows(BESIDE)]


def measure_all(
    groups: Sequence[Group], asked: Asked, device: torch.device, rows: Rows, keep: Callable[[list[Row]], None]
) -> bool:
    """Measure and print one group after the other. keep: called with all rows known. Returns whether none failed."""
    for group in groups:

        def so_far(more: list[Row], before: tuple[Row, ...] = tuple(rows.rows)) -> None:
            keep([*before, *more])

        new = rows.add(group.what, partial(measure, group, asked, device, rows, so_far))
        keep(rows.rows)
        print(table(new), flush=True)
    return not any("failed" in row for row in rows.rows)


@contextlib.contextmanager
def compiled_anew() -> Iterator[None]:
    """Inside, compiled code is kept in a folder that is empty at first, and gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        os.environ["TRITON_CACHE_DIR"] = f"{folder}/triton"
        yield


def ways_on(device: torch.device, asked: Sequence[str] | None = None) -> list[str]:
    """Those that this device has, of those asked for."""
    return [way for way in WAYS if way in (asked or WAYS) and (way not in ON_A_GPU or device.type == "cuda")]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python benchmarks/train_step.py", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("--device", choices=("auto", "cuda", "cpu"), default="auto", help="default: cuda where there is one")
    add("--sizes", nargs="+", choices=SIZES, default=SIZES, help="the mini profile's, D=512 on 9x9 (default: both)")
    add("--bases", nargs="+", choices=BASES, default=BASES, help="default: all")
    add("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="default: both")
    add("--ways", nargs="+", choices=WAYS, help="default: all")
    add(
        "--batch-size", type=int, metavar="N", help="at 512 (default: 768 on a GPU, less where it is small; 8 on a CPU)"
    )
    add("--rounds", type=int, default=5, metavar="N", help="default: 5")
    add("--minutes", type=float, metavar="M", help="all of it (default: as long as it takes)")
    add("--cold", action="store_true", help="compile everything anew: what is kept of earlier runs is not used")
    add("--operations", type=Path, metavar="DIR", help="also write the operations that take longest, a file a way")
    add("--out", type=Path, metavar="FILE", help="everything as JSON")
    return parser


def main(arguments: Sequence[str] | None = None, now: Callable[[], float] = time.perf_counter) -> int:
    """Returns 0; 1 where a row failed; 2 after what a user can mend, one line. now: seconds, from any beginning."""
    return answered(lambda: _main(arguments, now))


def _main(arguments: Sequence[str] | None, now: Callable[[], float]) -> int:
    options = _parser().parse_args(arguments)
    for name in ("batch_size", "rounds", "minutes"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise BadCommand(f"--{name.replace('_', '-')} {value:g}: expected more than 0")
    device = chosen_device(options.device)
    if options.operations:
        options.operations.mkdir(parents=True, exist_ok=True)
    known = facts(device) | {"cold": options.cold, "rows": []}

    def keep(rows: list[Row]) -> None:
        known["rows"] = rows
        if options.out:
            new = options.out.with_name(options.out.name + ".new")
            new.write_text(json.dumps(known, indent=1) + "\n")
            new.replace(options.out)

    keep([])  # before anything takes time: it can be written
    print(heading(known), flush=True)
    rows = Rows(Clock(options.minutes, now), device)
    asked = Asked(ways_on(device, options.ways), options.rounds, options.operations)
    groups = groups_of(options.sizes, options.bases, options.precisions, options.batch_size, device)
    with compiled_anew() if options.cold else contextlib.nullcontext():
        ok = measure_all(groups, asked, device, rows, keep)
    rows.finish("not measured")
    if options.out:
        print(f"written: {options.out}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
