"""From puzzle files to augmented arrays, beside the released builder: python benchmarks/data_path.py [--sudoku FOLDER].

Builds the published sets (Sudoku: 1,000 training puzzles; ARC-AGI-1 with 1,000 variants), each in a process of its own,
then draws augmented puzzles from them for a while on one thread and on two. Prints the figures as a table with our
targets and what the released builder needs (PAPER.md, 2.18), and writes them as JSON with machine, versions and date.
Without --sudoku and --arc the sets are small ones, and no target is judged.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from rich import box  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from data_prep import arc, maze, sudoku  # noqa: E402
from data_prep.augment import augment_sudoku  # noqa: E402
from data_prep.puzzle_set import PuzzleError, PuzzleSet  # noqa: E402

FIXTURES = ROOT / "tests" / "fixtures"
SMALL_SUDOKU, SMALL_MAZE = FIXTURES / "sudoku-extreme", FIXTURES / "maze-30x30-hard-gen"
Draw = Callable[[NDArray[np.int64], NDArray[np.int64]], object]  # (examples, variants) → whatever is drawn


@dataclass(frozen=True)
class Figure:
    """A line of the table. released: the released builder's. met: None where there is no target, or another set."""

    name: str
    value: float | None  # None: not known on this system
    unit: str
    target: str = ""
    met: bool | None = None
    released: float | None = None


@dataclass(frozen=True)
class Built:
    """What a build took, in a process of its own. peak_mb: of the whole process, libraries included; None: unknown."""

    seconds: float
    peak_mb: float | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 2 after a user's mistake, told in one line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--sudoku", type=Path, help="folder of train.csv and test.csv (default: a small one)")
    parser.add_argument("--arc", type=Path, help="folder of ARC-AGI-1 and ConceptARC (default: small tasks, generated)")
    parser.add_argument("--maze", type=Path, default=SMALL_MAZE, help="folder of mazes (default: 20 of them)")
    parser.add_argument("--variants", type=int, default=1000, help="of each puzzle")
    parser.add_argument("--batch-size", type=int, default=768)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each kind of draw is timed")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    try:
        with tempfile.TemporaryDirectory() as work:
            figures = [*_sudoku(options, Path(work)), *_maze(options, Path(work)), *_arc(options, Path(work))]
    except PuzzleError as error:
        print(error, file=sys.stderr)
        return 2
    table = Table("", "ours", "target", "", "released", box=box.SIMPLE_HEAD)
    for figure in figures:
        ours, released = (_told(value, figure.unit) for value in (figure.value, figure.released))
        table.add_row(figure.name, ours, figure.target, {True: "met", False: "NOT met", None: ""}[figure.met], released)
    console = Console()
    console.print(table)
    console.print(f"{os.cpu_count()} cores, load {load:.1f} when it began.", highlight=False)
    small = [f"--{name}" for name in ("sudoku", "arc") if getattr(options, name) is None]
    if small:
        console.print(f"Without {' and '.join(small)} the sets are small: their targets are not judged.")
    result = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": load,
        "versions": {name: version(name) for name in ("numpy", "numba")} | {"python": platform.python_version()},
        "settings": {name: getattr(options, name) for name in ("variants", "batch_size", "seconds")},
        "published_sets": {name: getattr(options, name) is not None for name in ("sudoku", "arc")},
        "figures": [asdict(figure) for figure in figures],
    }
    if options.out:
        try:
            options.out.write_text(json.dumps(result, indent=1) + "\n")
        except OSError as error:
            print(f"{options.out}: cannot be written ({error.strerror}); name another file (--out)", file=sys.stderr)
            return 2
    return 0


def _told(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:,.{0 if value >= 100 else 1}f} {unit}".rstrip()


# --- the three puzzles ---


def _sudoku(options: argparse.Namespace, work: Path) -> list[Figure]:
    small = {"source": str(SMALL_SUDOKU), "train": 200, "validation": 20}
    asked = small if options.sudoku is None else {"source": str(options.sudoku), "train": 1000, "validation": 1000}
    least, built = (_built("sudoku", work / name, how) for name, how in (("least", small), ("sudoku", asked)))
    puzzles = PuzzleSet.open(work / "sudoku", verify=False)
    judged = options.sudoku is not None
    split, seed = puzzles.train, puzzles.manifest.seed

    def draw(examples: NDArray[np.int64], variants: NDArray[np.int64]) -> object:
        boards = split.inputs[examples], split.labels[examples]
        return augment_sudoku(*boards, examples, variants, seed=seed, box_rows=3, box_cols=3)

    limits = np.full(len(split), options.variants + 1)
    return [
        *_build_figures("Sudoku", least, built, work / "sudoku", judged, (3, 50, None), (84, 3600, 1300)),
        *_rates("Sudoku", draw, limits, options, 200_000 if judged else None),
    ]


def _maze(options: argparse.Namespace, work: Path) -> list[Figure]:
    puzzles = maze.build_maze(work / "maze", source=options.maze, validation=0)
    split, figures = puzzles.train, []
    augmentations: tuple[maze.MazeAugmentation, ...] = ("released", "recomputed")
    for augmentation in augmentations:

        def draw(
            examples: NDArray[np.int64],
            variants: NDArray[np.int64],
            augmentation: maze.MazeAugmentation = augmentation,
        ) -> object:
            boards = split.inputs[examples], split.labels[examples]
            return maze.augment_maze(*boards, examples, variants, seed=0, augmentation=augmentation)

        figures += _rates(f"mazes, {augmentation}", draw, np.full(len(split), 8), options, None)
    return figures


def _arc(options: argparse.Namespace, work: Path) -> list[Figure]:
    subsets = ("training", "evaluation")
    small = {"source": "generate", "subsets": subsets, "train": 20, "test": 20, "side": 12, "variants": 20}
    files = {"source": str(options.arc), "subsets": (*subsets, "concept"), "variants": options.variants}
    least, built = (
        _built("arc", work / name, how)
        for name, how in (("least_arc", small), ("arc", small if options.arc is None else files))
    )
    puzzles = PuzzleSet.open(work / "arc", verify=False)
    groups, judged = puzzles.groups, options.arc is not None
    assert groups is not None
    split, seed, side = puzzles.train, puzzles.manifest.seed, round(puzzles.cells**0.5)

    def draw(examples: NDArray[np.int64], variants: NDArray[np.int64]) -> object:
        return arc.draw_arc(split, groups, examples, variants, side=side, seed=seed, translate=True)

    limits = arc.n_variants(groups, split.puzzle_ids)
    n_test = int(arc.n_variants(groups, puzzles.test.puzzle_ids).sum())
    return [
        *_build_figures("ARC-AGI-1", least, built, work / "arc", judged, (30, 1000, 300), (527, 15_500, 7300)),
        Figure("ARC-AGI-1, identifiers", puzzles.n_puzzle_ids, "", released=876_406),
        Figure("ARC-AGI-1, train examples", int(limits.sum()), "", released=3_633_410),
        Figure("ARC-AGI-1, test examples", n_test, "", released=385_815),
        *_rates("ARC, shifted", draw, limits, options, 20_000 if judged else None),
    ]


# --- building ---


def _built(puzzle: str, out: Path, asked: dict[str, Any]) -> Built:
    """Build a set in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_build, puzzle, out, asked).result()


def _build(puzzle: str, out: Path, asked: dict[str, Any]) -> Built:
    builders: dict[str, Callable[..., PuzzleSet]] = {"sudoku": sudoku.build_sudoku, "arc": arc.build_arc}
    began = time.perf_counter()
    builders[puzzle](out, **asked)
    return Built(time.perf_counter() - began, _peak_mb())


def _peak_mb() -> float | None:
    """The most memory that this process has held, by Linux; elsewhere None.

    Not ru_maxrss: a process inherits that from the one that started it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return next(int(line.split()[1]) / 1000 for line in status.read_text().splitlines() if line.startswith("VmHWM:"))


def _build_figures(
    name: str,
    least: Built,
    built: Built,
    folder: Path,
    judged: bool,
    targets: tuple[float, float, float | None],
    released: tuple[float, float, float],
) -> list[Figure]:
    """Seconds, memory and disk of a build. targets, released: seconds, MB of memory, MB of disk.

    The build's own memory is what its process holds beyond one that builds the smallest set: libraries and compiled
    code are in both. The released builder's figure is of its whole process.
    """
    disk = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    own = None if built.peak_mb is None or least.peak_mb is None else max(0.0, built.peak_mb - least.peak_mb)

    def line(what: str, value: float | None, unit: str, place: int) -> Figure:
        target = targets[place]
        met = value < target if judged and target is not None and value is not None else None
        told = "" if target is None else f"< {target:,g} {unit}"
        return Figure(f"{name}, {what}", value, unit, told, met, released[place])

    return [
        line("build", built.seconds, "s", 0),
        line("the build's memory", own, "MB", 1),
        Figure(f"{name}, process memory", built.peak_mb, "MB", released=released[1]),
        line("disk", disk, "MB", 2),
    ]


# --- drawing ---


def _rates(
    name: str, draw: Draw, limits: NDArray[np.int64], options: argparse.Namespace, target: int | None
) -> list[Figure]:
    """Draws per second on one thread and on two together. limits: of each example, how many variants there are."""
    figures: list[Figure] = []
    _draw_for(draw, limits, options.batch_size, 0, 0)  # what is compiled is loaded
    for n_threads, threads in ((1, "1 thread"), (2, "2 threads")):
        with ThreadPoolExecutor(n_threads) as pool:
            began = time.perf_counter()
            counts = pool.map(
                lambda i: _draw_for(draw, limits, options.batch_size, options.seconds, i), range(n_threads)
            )
            rate = sum(counts) / (time.perf_counter() - began)
        wanted = target if n_threads == 2 else None
        told, met = ("", None) if wanted is None else (f">= {wanted:,} /s", rate >= wanted)
        figures.append(Figure(f"{name}, {threads}", rate, "/s", told, met))
    return figures


def _draw_for(draw: Draw, limits: NDArray[np.int64], batch_size: int, seconds: float, seed: int) -> int:
    """Draw batches, one at least, until the time is up; how many examples that were."""
    random = np.random.default_rng(seed)
    ends, n = time.perf_counter() + seconds, 0
    while n == 0 or time.perf_counter() < ends:
        examples = random.integers(0, len(limits), batch_size)
        draw(examples, random.integers(0, limits[examples]))
        n += batch_size
    return n


if __name__ == "__main__":
    sys.exit(main())
