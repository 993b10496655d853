"""What the platform takes beside the training: between trials, before the first step, and in the driver's memory.

    python benchmarks/sweep_overhead.py [--trials 20] [--steps 1000]

Two searches, each in a folder of its own that is removed in the end: one of runs of two steps, which train next to
nothing, and one of runs that last some seconds and so occupy every CPU, one each. A gap is the time from a run's end
to the start of the next one on the same place; there are as many places as runs were ever at work at once: one, where
they end sooner than a second process would start. Prints seconds and MB; the targets are under 1 s a gap, under 15 s
to the first training step, 500 trials (reckoned) within 600 s, and 200 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTHING = 2  # steps of a trial that trains next to nothing
DECLARED = """
from sweeps.search_spec import Confirmation, Dimension, Floats, Objective, Search
from sweeps.study import Row

search = Search(
    name="overhead",
    title="Overhead",
    puzzle="sudoku",
    row=Row(name="TRM k=1, T=1", base="trm", change={"model": {"n": 1, "T": 1}}),
    space=(Dimension(setting="optim.lr", range=Floats(low=1e-4, high=1e-2, log=True)),),
    objectives=(Objective(metric="validation/cell_accuracy", direction="maximize"),),
    trials=10,
    startup=100000,
    confirmation=Confirmation(best=1, seeds=1),
)
"""
SMALL = (
    "train.steps={steps} train.batch_size=4 train.eval_every={steps} model.D=16 model.n_heads=2"
    " model.N_sup=1 data.box_rows=2 data.box_cols=2 data.clues=8 data.train=8 data.validation=4 data.test=4"
)


def resident_mb(pid: int) -> float | None:
    """What a process holds in memory; None where it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return pages * resource.getpagesize() / 1e6


def main() -> None:
    """Run the search, watch its driver, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20, metavar="N", help="of two steps (default: 20)")
    parser.add_argument("--steps", type=int, default=1000, metavar="N", help="of ten more trials (default: 1000)")
    options = parser.parse_args()
    for trials, steps in ((options.trials, NOTHING), (10, options.steps)):
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), trials, steps)


def measure(folder: Path, trials: int, steps: int) -> None:
    """One command, from its start to its end."""
    (folder / "overhead.py").write_text(DECLARED)
    command = [sys.executable, str(ROOT / "sweeps" / "run.py"), "--search", "overhead.py", "--profile", "mini"]
    command += ["--trials", str(trials), "--launcher", "inline", "--set"]
    command += SMALL.format(steps=steps).split()
    command += ["train.log_every=1"] if steps == NOTHING else []  # else as often as ever
    environment = {name: text for name, text in os.environ.items() if name not in ("RAY_ADDRESS",)}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    load = os.getloadavg()[0]
    began = time.time()
    with (folder / "said.txt").open("w") as said:
        driver = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        memory: list[tuple[int, float]] = []  # (runs begun, MB)
        while driver.poll() is None:
            held = resident_mb(driver.pid)
            if held is not None:
                memory.append((len(list((folder / "results" / "runs").glob("*/config.json"))), held))
            time.sleep(0.25)
    took = time.time() - began
    if driver.returncode:
        sys.exit((folder / "said.txt").read_text()[-2000:])
    print(f"{trials} trials of {steps:,} steps, load {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end")
    report(folder, trials, steps, began, took, memory)


def report(folder: Path, trials: int, steps: int, began: float, took: float, memory: list[tuple[int, float]]) -> None:
    """Spans of the runs are those of their files: config.json when a run begins, the journal's last row at its end."""
    spans, first_steps = [], []
    for run in (folder / "results" / "runs").iterdir():
        begun = (run / "config.json").stat().st_mtime
        ended = (run / "metrics.jsonl").stat().st_mtime
        spans.append((begun, ended))
        with (run / "metrics.jsonl").open() as rows:
            first_steps.append(json.loads(next(rows))["time_ms"] / 1000)
    spans.sort()
    places = at_once(spans[:trials])
    gaps = between(spans[:trials], places)
    settled = min(10, trials // 2)  # runs until the driver has loaded what it needs
    warm = [held for runs, held in memory if settled <= runs <= trials]  # before the best are confirmed, and the report
    first_end, last_end = min(ended for _, ended in spans), spans[:trials][-1][1]
    if trials > 1:
        each = (last_end - first_end) / (trials - 1)
        in_all = first_end - began + 499 * each
        said = f"{took:.1f} s; a trial more: {each:.2f} s"
        line("whole command", said, *((in_all / 600, "600 s (500)") if steps == NOTHING else ()))
    if steps == NOTHING:
        begins_after = min(first_steps) - began
        said = f"{begins_after:.1f} s; the first run's end {first_end - began:.1f} s"
        line("to the first step", said, begins_after / 15, "15 s")
    if gaps:
        middle = statistics.median(gaps)
        line("between two trials", f"{middle:.2f} s median, {max(gaps):.2f} s at most; {places} at once", middle, "1 s")
    if warm:
        grown = max(warm) - warm[0]
        line("driver's memory", f"{warm[0]:.0f} MB after {settled} runs, {grown:+.0f} MB since", grown / 200, "200 MB")


def line(what: str, found: str, ratio: float | None = None, target: str = "") -> None:
    """One measurement, and its ratio to what is aimed at."""
    print(f"{what:<19}{found:<41}{'' if ratio is None else f'{ratio:.2f} of {target}'}".rstrip())


def at_once(spans: list[tuple[float, float]]) -> int:
    """The most runs that were at work at the same time."""
    return max(sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans)


def between(spans: list[tuple[float, float]], places: int) -> list[float]:
    """The gap before each run but the first on its place, which is the one that has been free longest."""
    free_at: list[float] = []
    gaps = []
    for begun, ended in spans:
        free = [moment for moment in free_at if moment <= begun]
        if len(free_at) < places or not free:
            free_at.append(ended)
            continue
        last = min(free)
        free_at.remove(last)
        gaps.append(begun - last)
        free_at.append(ended)
    return gaps


if __name__ == "__main__":
    main()
