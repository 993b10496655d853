"""Where a training step's time goes, by kinds of operations: a table, and a picture of it.

    python benchmarks/profile_step.py [--device cpu] [--sizes mini] [--bases trm trm_att hrm] [--picture FILE.png]

The ways and sizes are train_step.py's. torch's profiler watches some steps; each operation's own time (on a GPU its
kernels') is of one kind, by its name. The bars are shares of a step as the clock has it without the profiler; what is
left to the right of all kinds is Python, the launching of operations, and waiting.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402

from benchmarks.train_step import (  # noqa: E402
    BASES,
    PRECISIONS,
    SIZES,
    chosen_device,
    facts,
    heading,
    made,
    run_of,
    ways_on,
)
from benchmarks.turns import WARM_UP  # noqa: E402
from trm_core.command_line import BadCommand, Parser, answered  # noqa: E402

# An operation is of the first kind that has one of these words in its name.
KINDS: dict[str, tuple[str, ...]] = {
    "attention": ("attention", "flash", "fmha"),
    "fused kernels": ("triton", "mix_and_norm", "glu_kernel", "compiled", "cpp_fused"),
    "products": ("mm", "gemm", "matmul", "linear", "cutlass", "nvjet"),
    "norms and sums": ("mean", "sum", "rsqrt", "pow", "norm", "reduce", "square", "max"),
    "copies": ("copy", "cat", "clone", "roll", "memcpy", "memset", "fill", "zero", "gather", "index"),
    "elementwise": ("mul", "add", "sub", "div", "silu", "sigmoid", "exp", "log", "where", "elementwise", "foreach"),
}
REST, BETWEEN = "other operations", "between operations"
COLOURS = ("#0b4f8a", "#5a9bcb", "#d97f35", "#4fa98c", "#a586c9", "#964207", "#8b939c", "#e3e6e9")
STEPS = {"cpu": 5, "cuda": 3}


class Profile(NamedTuple):
    """Of one way of taking a step."""

    size: str
    base: str
    precision: str
    way: str
    ms: float  # a step takes, by the clock, without the profiler
    of_kind: dict[str, float]  # ms

    @property
    def name(self) -> str:
        """In a table, and at a bar."""
        return f"{self.base}, {self.size}, {self.precision}, {self.way}"


def kind_of(operation: str) -> str:
    """The kind that an operation or a kernel of this name is of."""
    name = operation.lower()
    return next((kind for kind, words in KINDS.items() if any(word in name for word in words)), REST)


def by_kind(operations: Iterable[tuple[str, float]]) -> dict[str, float]:
    """(name, time) → the time of each kind that has any, in the order of KINDS."""
    found = dict.fromkeys((*KINDS, REST), 0.0)
    for name, took in operations:
        found[kind_of(name)] += took
    return {kind: took for kind, took in found.items() if took > 0}


def measured(size: str, base: Any, precision: str, way: str, device: torch.device) -> Profile:
    """Warm up, time some steps by the clock, then profile as many."""
    steps, n = made(way, run_of(size, base, precision, None, device), device), STEPS[device.type]

    def take() -> float:
        began = time.perf_counter()
        for _ in range(n):
            steps.take_step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    for _ in range(WARM_UP[device.type]):  # compiled and captured
        steps.take_step()
    ms = 1e3 * min(take() for _ in range(3)) / n
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities, acc_events=True) as profiler:  # acc_events: without it torch 2.11 warns
        take()
    operations = [
        (event.key, (event.self_device_time_total if cuda else event.self_cpu_time_total) / 1e3 / n)
        for event in profiler.key_averages()
    ]
    found = by_kind(operations)
    all_of_it = sum(found.values())
    if all_of_it > ms:  # the profiler itself takes time: shares hold, their sum does not
        found = {kind: took * ms / all_of_it for kind, took in found.items()}
    return Profile(size, base, precision, way, ms, found)


def table(profiles: Sequence[Profile]) -> str:
    """Each way's kinds, at most 80 columns."""
    lines = []
    for one in profiles:
        lines.append(f"{one.name}: {one.ms:.1f} ms a step")
        shares = {**one.of_kind, BETWEEN: max(0.0, one.ms - sum(one.of_kind.values()))}
        lines += [f"  {kind:<20} {took:>8.2f} ms  {took / one.ms:>4.0%}" for kind, took in shares.items()]
    return "\n".join(lines)


def draw(profiles: Sequence[Profile], title: str, path: Path) -> None:
    """A bar for each way: the share of each kind."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 1.3 + 0.5 * len(profiles)), dpi=120, layout="constrained")
    kinds = (*KINDS, REST, BETWEEN)
    left = [0.0] * len(profiles)
    for kind, colour in zip(kinds, COLOURS, strict=True):
        shares = [
            1 - at if kind == BETWEEN else one.of_kind.get(kind, 0.0) / one.ms
            for one, at in zip(profiles, left, strict=True)
        ]
        if not any(share > 0.001 for share in shares):
            continue
        bars = axes.barh([one.name for one in profiles], shares, left=left, color=colour, label=kind, height=0.7)
        dark = sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) < 380
        labels = [f"{share:.0%}" if share >= 0.04 else "" for share in shares]
        axes.bar_label(bars, labels, label_type="center", color="white" if dark else "#1f2429", fontsize=8)
        left = [at + share for at, share in zip(left, shares, strict=True)]
    for y, one in enumerate(profiles):
        axes.text(1.01, y, f"{one.ms:.1f} ms", va="center", fontsize=9)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(title, fontsize=10, loc="left")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    figure.savefig(path)
    plt.close(figure)


def _parser() -> Parser:
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("--device", default="auto", choices=("auto", "cpu", "cuda"))
    add("--sizes", nargs="+", choices=SIZES, default=["mini"])
    add("--bases", nargs="+", choices=BASES, default=list(BASES))
    add("--precisions", nargs="+", choices=PRECISIONS, default=["fp32"])
    add("--ways", nargs="+", metavar="WAY", help="of train_step.py's: eager compiled (default: those this machine has)")
    add("--picture", type=Path, metavar="FILE", help="the bars, as PNG or SVG")
    add("--out", type=Path, metavar="FILE", help="everything as JSON")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0; 2 after what a user can mend, one line."""
    return answered(lambda: _main(arguments))


def _main(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    device = chosen_device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # as a run on CPUs has
    for name in ("picture", "out"):
        path = getattr(options, name)
        if path is not None and not path.resolve().parent.is_dir():
            raise BadCommand(f"--{name} {path}: no such folder; make it first")
    ways = [way for way in ways_on(device, options.ways) if way in ("eager", "compiled", "graphs", "released")]
    ways = ways if options.ways else [way for way in ways if way != "released"]
    known = facts(device)
    print(heading(known))
    profiles = []
    for size in options.sizes:
        for precision in options.precisions:
            for base in options.bases:
                for way in ways:
                    profiles.append(measured(size, base, precision, way, device))
                    print(table(profiles[-1:]), flush=True)
    if options.out:
        options.out.write_text(json.dumps(known | {"rows": [one._asdict() for one in profiles]}, indent=1) + "\n")
    if options.picture:
        title = f"Where a training step's time goes: {known['device']}, torch {known['versions']['torch']}"
        draw(profiles, title, options.picture)
        print(f"written: {options.picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
