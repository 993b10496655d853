"""Reports of a large store: python benchmarks/report_scale.py [--runs 2000] [--points 200] [--out FILE].

Makes an MLflow store of made-up runs over all studies, written in bulk, then times, each in a process of its own, what
reads it (runs and curves into tables, nothing drawn), and `python -m reports all`, twice: without curves that are kept
and with those that the first has left. The runs have no files: votes and outcomes are not in these figures. Prints CPU
seconds, the peak of memory and the largest page beside what is held to, and writes them as JSON with machine, versions
and date.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from rich import box  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from sweeps.campaign import Job, declare  # noqa: E402
from sweeps.records.address import VARIABLE  # noqa: E402
from sweeps.records.tree import params  # noqa: E402
from sweeps.records.write import Tracker  # noqa: E402
from sweeps.study import ProfileName, Study, all_studies  # noqa: E402

PROFILE: ProfileName = "mini"
DATA = "0" * 16  # the hash of puzzles that were never there
BEGAN_MS = 1_767_225_600_000  # 2026-01-01
EVALUATIONS = 20  # of a run, on the way
ACCURACIES = ("test/exact_accuracy", "test/cell_accuracy", "validation/exact_accuracy", "train/exact_accuracy")
AT_THE_END = {"test/puzzles": 500.0, "time/steps_per_second": 20.0, "time/step_seconds": 0.05}
CPU_SECONDS, GIGABYTES, PAGE_MEGABYTES = 20.0, 1.0, 2.0  # what reading is held to, and every page
ROWS_AT_ONCE = 100_000


@dataclass(frozen=True)
class Timed:
    """What one `python -m reports all` took."""

    name: str
    cpu_seconds: float
    seconds: float
    peak_gb: float  # of the process, libraries included
    pages: int
    largest_page_mb: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the store, time the reports, print, write. Returns the reports' exit code where that is not 0."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=int, default=2000, help="over all studies")
    parser.add_argument("--points", type=int, default=200, help="of each run's training loss")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as work:
        os.environ[VARIABLE] = f"sqlite:///{work}/mlflow.db"
        n_points = make_store(options.runs, options.points)
        timed = []
        reports = ["-m", "reports", "all", "--out", f"{work}/results"]
        for name, command in (
            ("reading", ["-c", READ, f"{work}/read"]),
            ("python -m reports all", reports),
            ("the same again, curves kept", reports),
        ):
            code, one = _timed(name, command, Path(command[-1]))
            if code:
                return code
            timed.append(one)
    result = {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "device": platform.processor() or platform.machine(),
        "load": load,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "runs": options.runs,
        "points_of_each_loss": options.points,
        "points": n_points,
        "timed": [asdict(one) for one in timed],
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    _print(timed, f"{options.runs:,} runs, {n_points:,} points; load {load:.1f}")
    return 0


READ = (
    "import sys; from pathlib import Path; from reports.everything import Reader, look\n"
    "for one in Reader(Path(sys.argv[1])).read(look(Path(sys.argv[1]))): assert one.gathered"
)
LIBRARIES = ("mlflow", "sqlalchemy", "pandas", "pyarrow", "matplotlib", "numpy")


def _print(timed: Sequence[Timed], caption: str) -> None:
    table = Table(box=box.SIMPLE, caption=caption)
    for name in ("", "CPU s", "s", "peak GB", "pages", "largest MB"):
        table.add_column(name, justify="right" if name else "left")
    for one in timed:
        numbers = (one.cpu_seconds, one.seconds, one.peak_gb)
        table.add_row(one.name, *(f"{number:.2f}" for number in numbers), str(one.pages), f"{one.largest_page_mb:.2f}")
    table.add_row("held to: reading", f"{CPU_SECONDS:g}", "", f"{GIGABYTES:g}", "", f"{PAGE_MEGABYTES:g}")
    Console().print(table)


def _timed(name: str, command: Sequence[str], out: Path) -> tuple[int, Timed]:
    """A command, in a process of its own, and what that took."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    pages = [path.stat().st_size for path in out.rglob("*.html")]
    return process.returncode, Timed(
        name=name,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        seconds=time.perf_counter() - began,
        peak_gb=usage.ru_maxrss / 2**20,
        pages=len(pages),
        largest_page_mb=max(pages, default=0) / 1e6,
    )


# --- the store -------------------------------------------------------------------------------------------------------


def make_store(runs: int, points: int) -> int:
    """A store at MLflow's address with so many finished runs over all studies. Returns how many points it holds."""
    studies = [study for study in all_studies() if study.rows_of(PROFILE)]
    n_points = 0
    for at, study in enumerate(studies):
        n_points += _record(study, runs // len(studies) + (at < runs % len(studies)), points)
    return n_points


def _record(study: Study, n_runs: int, points: int) -> int:
    """One study's campaign: its own runs by our tracker, the runs below them in bulk."""
    rows = study.rows_of(PROFILE)
    seeds = range(math.ceil(n_runs / len(rows)))
    campaign = declare(study, PROFILE).asked(
        rows, seeds, [0], lambda _: DATA, f"python sweeps/run.py --study {study.name}"
    )
    campaign = campaign.model_copy(update={"runs": campaign.runs[:n_runs]})
    chance = random.Random(study.name)
    with Tracker.open(campaign) as tracker:
        tables = _Tables(tracker)
        for job in campaign.jobs():
            tables.add(job, points, chance)
        tables.send()
        tracker.close("FINISHED")
    return tables.n_points


class _Tables:
    """MLflow's own tables, filled many rows at a time, through the models that it declares."""

    def __init__(self, tracker: Tracker) -> None:
        from mlflow.store.tracking.dbmodels import models

        self.tracker = tracker
        self.models = (models.SqlRun, models.SqlTag, models.SqlParam, models.SqlMetric, models.SqlLatestMetric)
        self.rows: dict[Any, list[dict[str, Any]]] = {model: [] for model in self.models}
        self.n_points = 0

    def add(self, job: Job, points: int, chance: random.Random) -> None:
        """A finished run of the job, with a curve that falls and accuracies that rise."""
        run, tag, param, metric, latest = self.models
        run_id, tree = uuid.UUID(int=chance.getrandbits(128)).hex, self.tracker.tree
        ended_ms = BEGAN_MS + 60_000
        self.rows[run].append({
            "run_uuid": run_id, "name": job.name, "source_type": "LOCAL", "user_id": "nobody", "status": "FINISHED",
            "start_time": BEGAN_MS, "end_time": ended_ms, "lifecycle_stage": "active",
            "experiment_id": int(tree.experiment_id), "artifact_uri": f"mlflow-artifacts:/{run_id}",
        })  # fmt: skip
        tags = tree.tags(job, DATA, {"device": "cpu", "workers": "1"})
        self.rows[tag] += [{"run_uuid": run_id, "key": name, "value": text} for name, text in tags.items()]
        settings = params(job.run)
        self.rows[param] += [{"run_uuid": run_id, "key": name, "value": text} for name, text in settings.items()]
        for name, curve in _curves(job, points, chance).items():
            measured = [
                {
                    "run_uuid": run_id,
                    "key": name,
                    "value": value,
                    "timestamp": BEGAN_MS + step,
                    "step": step,
                    "is_nan": False,
                }
                for step, value in curve
            ]
            self.rows[metric] += measured
            self.rows[latest].append(measured[-1])
            self.n_points += len(measured)
        if len(self.rows[metric]) >= ROWS_AT_ONCE:
            self.send()

    def send(self) -> None:
        """What waits, in one transaction."""
        from sqlalchemy import create_engine

        engine = create_engine(os.environ[VARIABLE])
        with engine.begin() as connection:
            for model in self.models:
                if self.rows[model]:
                    connection.execute(model.__table__.insert(), self.rows[model])
                self.rows[model] = []
        engine.dispose()


def _curves(job: Job, points: int, chance: random.Random) -> dict[str, list[tuple[int, float]]]:
    """Of each metric that a run reports, (step, value)."""
    steps = job.run.train.steps
    best = chance.uniform(0.5, 0.95)
    losses = [(step, 2.0 / (1 + 8 * step / steps) + chance.gauss(0, 0.02)) for step in _spread(steps, points)]
    curves = {"train/loss": losses, "train/lm_loss": losses}
    for name in ACCURACIES:
        curves[name] = [
            (step, min(1.0, max(0.0, best * (step / steps) ** 2 + chance.gauss(0, 0.005))))
            for step in _spread(steps, EVALUATIONS)
        ]
    curves["test/pass_at_1"] = [(steps, 0.8 * best)]
    curves["test/pass_at_2"] = [(steps, best)]
    return curves | {name: [(steps, value)] for name, value in AT_THE_END.items()}


def _spread(steps: int, points: int) -> Iterator[int]:
    """So many steps, evenly, the last among them."""
    return (
        (math.ceil(steps * (at + 1) / points) for at in range(points)) if points <= steps else iter(range(1, steps + 1))
    )


if __name__ == "__main__":
    sys.exit(main())
