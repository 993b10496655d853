"""What scheduling and recording take by themselves: python benchmarks/scale.py [--runs 1000] [--nodes 64] [--out FILE].

The command on a Ray of logical nodes, each a CPU and a GPU that Ray only counts, with runs that train nothing: a run
is claimed, starts, sleeps for --seconds, reports one row and is recorded as finished. So what is measured is the
driver, Ray and MLflow (SQLite). Several logical nodes are the resources of one raylet (--raylets): one of its own for
each, with its two agents, would take some 20 GB for 64 on one machine. Prints, and writes as JSON, runs a minute, the
time between two runs of a place, the driver's memory and CPU time, and the calls to MLflow, with versions, date and
load.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

STUDY, ROWS = "recursion_depth", 6  # of its mini profile
SMALL = (
    "train.steps=1 train.batch_size=4 train.eval_every=1 train.log_every=1 model.D=16 model.n_heads=2 model.N_sup=1"
    " data.box_rows=2 data.box_cols=2 data.clues=8 data.train=8 data.validation=4 data.test=4"
)
NOT_ASKED = ("_", "get_", "search_", "load_", "download_", "list_")  # what MLflow is only asked
WATCH_EVERY_S = 1.0
SLEEPS = "TRM_SCALE_SLEEPS"  # seconds, for Ray's processes


def train_nothing(task: Any) -> None:
    """In the place of sweeps.worker.train_inline: what the driver needs to hear and find of a run that has ended."""
    from ray import tune

    from sweeps.journal import Journal
    from sweeps.records.types import Measurement

    began = time.time()
    tune.report({"device": "cpu", "worker": {"host": platform.node(), "code": ""}})
    task.folder.mkdir(parents=True, exist_ok=True)
    facts = {"key": task.key, "data": "", "settings": task.run.model_dump(mode="json")}
    (task.folder / "config.json").write_text(json.dumps(facts))
    scores = {
        "test/exact_accuracy": 0.5,
        "test/cell_accuracy": 0.5,
        "test/puzzles": 4.0,
        "validation/exact_accuracy": 0.5,
    }
    time.sleep(float(os.environ[SLEEPS]))
    row = Measurement(1, int(time.time() * 1000), {"train/loss": 1.0, **scores})
    rows = Journal(task.folder / "metrics.jsonl").add(row)
    (task.folder / "place.json").write_text(json.dumps([os.getpid(), began, time.time()]))
    tune.report({"rows": rows, "torn": []})


def nothing_is_trained() -> None:
    """In every process of Ray's, before it works: the module that would import torch is another."""
    import types

    worker = types.ModuleType("sweeps.worker")
    worker.train_inline = train_nothing  # type: ignore[attr-defined]
    sys.modules["sweeps.worker"] = worker


class Counted:
    """Calls of a class's methods, and the seconds in them; a call within another belongs to that."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self._inside = threading.local()
        self._lock = threading.Lock()

    def watch(self, cls: type, wanted: Callable[[str], bool]) -> None:
        """Count from now on."""
        for name, method in list(vars(cls).items()):
            if callable(method) and not isinstance(method, staticmethod | classmethod | type) and wanted(name):
                setattr(cls, name, self._counted(name, method))

    def _counted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def counted(*arguments: Any, **options: Any) -> Any:
            if getattr(self._inside, "any", False):
                return method(*arguments, **options)
            self._inside.any, began = True, time.perf_counter()
            try:
                return method(*arguments, **options)
            finally:
                self._inside.any, took = False, time.perf_counter() - began
                with self._lock:
                    self.calls[name] = self.calls.get(name, 0) + 1
                    self.seconds[name] = self.seconds.get(name, 0.0) + took

        return counted

    def table(self) -> dict[str, list[float]]:
        """name → [calls, seconds], the longest first."""
        names = sorted(self.calls, key=lambda name: -self.seconds[name])
        return {name: [self.calls[name], round(self.seconds[name], 2)] for name in names}


def drive(address: str, folder: Path, runs: int, nodes: int, seconds: float, minutes: float) -> int:
    """In a process of its own: the command, watched. Returns its exit code."""
    import ray
    from mlflow import MlflowClient

    from sweeps import run as command
    from sweeps.machines import cluster
    from sweeps.records.write import Tracker

    os.environ["RAY_ADDRESS"] = address
    hook = {"worker_process_setup_hook": nothing_is_trained, "env_vars": {SLEEPS: str(seconds)}}
    ray.init(address, runtime_env=hook, log_to_driver=False, logging_level="ERROR")
    mlflow, tracker = Counted(), Counted()
    mlflow.watch(MlflowClient, lambda name: not name.startswith(NOT_ASKED))
    for cls in Tracker.__mro__[:-1]:
        tracker.watch(cls, lambda name: name in ("begin", "finish", "log", "tag", "expect", "lost"))
    memory: list[tuple[int, float]] = []

    def look() -> None:
        while True:
            ended = len(list((folder / "results" / "runs").glob("*/place.json")))
            memory.append((ended, _resident_mb()))
            time.sleep(WATCH_EVERY_S)

    threading.Thread(target=look, daemon=True).start()
    asked = ["--study", STUDY, "--profile", "mini", "--seeds", str(-(-runs // ROWS)), "--launcher", "inline", "--yes"]
    asked += ["--gpus", str(nodes), "--set", *SMALL.split()]
    asked += ["--budget", f"{minutes:g}m"] if minutes else []
    with cluster():
        code = command.main(asked)
    used = resource.getrusage(resource.RUSAGE_SELF)
    early = next((held for ended, held in memory if ended >= min(100, runs // 10)), None)
    found = {
        "driver_cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "driver_mb": {
            "after a tenth": early,
            "at the end": memory[-1][1],
            "at most": round(used.ru_maxrss * 1024 / 1e6, 1),
        },
        "mlflow_writes": mlflow.table(),
        "tracker": tracker.table(),
    }
    (folder / "driver.json").write_text(json.dumps(found))
    return code


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)


def measure(folder: Path, runs: int, nodes: int, raylets: int, seconds: float, minutes: float) -> dict[str, Any]:
    """Cluster, command, and what came of both."""
    from ray.cluster_utils import Cluster

    each = nodes // raylets
    load = os.getloadavg()[0]
    os.environ["RAY_prestart_worker_first_driver"] = "0"  # noqa: SIM112 else a process for every place
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100 * 1024**2})
    for _ in range(raylets):
        cluster.add_node(num_cpus=each, num_gpus=each, object_store_memory=100 * 1024**2)
    environment = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}", "TRM_LOGICAL_GPUS": "1"}
    environment |= {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    driver = [sys.executable, __file__, "--drive", cluster.address, "--runs", str(runs), "--nodes", str(nodes)]
    driver += ["--seconds", str(seconds), "--minutes", str(minutes)]
    began = time.time()
    try:
        with (folder / "said.txt").open("w") as said:
            code = subprocess.run(driver, cwd=folder, env=environment, stdout=said, stderr=said).returncode
        took = time.time() - began
    finally:
        cluster.shutdown()
    if code:
        sys.exit((folder / "said.txt").read_text()[-3000:])
    asked = {"runs": runs, "logical nodes": nodes, "raylets": raylets, "seconds a run": seconds, "minutes": minutes}
    return worked_out(folder, asked, began, took, load)


def worked_out(folder: Path, asked: dict[str, float], began: float, took: float, load: float) -> dict[str, Any]:
    """What the files of a command that has ended tell of it."""
    places: dict[int, list[tuple[float, float]]] = {}
    for path in (folder / "results" / "runs").glob("*/place.json"):
        pid, start, end = json.loads(path.read_text())
        places.setdefault(pid, []).append((start, end))
    spans = [sorted(of_place) for of_place in places.values()]
    gaps = [after[0] - before[1] for of_place in spans for before, after in itertools.pairwise(of_place)]
    finished = sum(map(len, spans))
    ends = sorted(end for of_place in spans for _, end in of_place)
    all_there = max(of_place[0][0] for of_place in spans)  # the last place's first run has begun
    settled = [end for end in ends if end >= all_there]
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "load": [round(load, 1), round(os.getloadavg()[0], 1)],
        "versions": {name: version(name) for name in ("ray", "mlflow", "torch")}
        | {"python": platform.python_version()},
        "asked": asked,
        "finished": finished,
        "places": len(spans),
        "whole_command_s": round(took, 1),
        "first_run_s": round(ends[0] - began, 1),
        "all_places_s": round(all_there - began, 1),
        "runs_a_minute": round(60 * (finished - 1) / (ends[-1] - ends[0]), 1),
        "runs_a_minute_settled": round(60 * len(settled) / (ends[-1] - all_there), 1),
        "between_runs_s": {
            "median": round(statistics.median(gaps), 2),
            "95 of 100": round(statistics.quantiles(gaps, n=20)[-1], 2),
            "at most": round(max(gaps), 2),
        },
        **json.loads((folder / "driver.json").read_text()),
    }


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="at least so many (default: 1000)")
    parser.add_argument("--nodes", type=int, default=64, metavar="N", help="logical ones (default: 64)")
    parser.add_argument("--raylets", type=int, default=1, metavar="N", help="that have them (default: 1)")
    parser.add_argument("--seconds", type=float, default=0.2, metavar="S", help="that a run sleeps (default: 0.2)")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="M", help="begin no run after (default: all)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="for the figures, as JSON")
    parser.add_argument("--drive", metavar="ADDRESS", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        sys.exit(drive(options.drive, Path.cwd(), options.runs, options.nodes, options.seconds, options.minutes))
    if options.nodes % options.raylets:
        parser.error(f"--nodes {options.nodes}: expected a multiple of --raylets {options.raylets}")
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.runs, options.nodes, options.raylets, options.seconds, options.minutes)
    text = json.dumps(found, indent=2)
    print(text)
    if options.out:
        options.out.write_text(f"{text}\n")


if __name__ == "__main__":
    main()
