"""What a plan says a mini study takes, and what it takes: python benchmarks/plan_truth.py [--study NAME] [--only …].

Asks the command for its plan in an empty folder (rates measured on the spot), runs the study there, and asks for the
plan of another seed (rates of the finished runs). Prints both estimates beside the truth, which is the time from the
moment at which the command says what is to do until its last run has ended. Ends with 1 where an estimate is more than
30 % away. The machine has to have nothing else to do: its load is printed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = 0.3
UNITS_S = {"s": 1, "min": 60, "h": 3600, "days": 86400}
BEGINS, ENDS = "to do, about", re.compile(r"\(\d+ of \d+ runs done")


@dataclass(frozen=True)
class Estimate:
    """What a plan said, beside what came of it; seconds."""

    rates: str
    said_s: float
    truth_s: float

    @property
    def off(self) -> float:
        """By what part of the truth."""
        return self.said_s / self.truth_s - 1


def main() -> int:
    """Plan, run, plan; returns 1 where an estimate is too far off."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--study", default="recursion_depth")
    parser.add_argument("--only", nargs="+", default=[], metavar="PATTERN")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    study = ["--study", options.study, "--profile", "mini", *(["--only", *options.only] if options.only else [])]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="plan-truth-") as folder:
        measured_s = said(study, Path(folder))
        truth_s, whole_s = taken(study, Path(folder))
        recorded_s = said([*study, "--seeds", "1-1"], Path(folder))
    estimates = [
        Estimate("measured on the spot", measured_s, truth_s),
        Estimate("of the finished runs", recorded_s, truth_s),
    ]
    for each in estimates:
        print(f"rates {each.rates}: {each.said_s:.0f} s said, {each.truth_s:.0f} s taken, {100 * each.off:+.0f} %")
    print(f"the whole command, with its puzzles and its report: {whole_s:.0f} s; load before: {load:.2f}")
    if options.out:
        result = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "study": options.study,
            "only": options.only,
            "cores": os.cpu_count(),
            "load": load,
            "whole_s": whole_s,
            "estimates": [asdict(each) | {"off": each.off} for each in estimates],
        }
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(abs(each.off) > ALLOWED for each in estimates))


def said(study: list[str], folder: Path) -> float:
    """The seconds until all is done, as `--plan` says them."""
    answer = subprocess.run(
        command([*study, "--plan"]), cwd=folder, env=environment(folder), capture_output=True, text=True
    )
    seconds = seconds_said(answer.stdout)
    if answer.returncode or seconds is None:
        sys.exit(f"no estimate from --plan (exit code {answer.returncode}):\n{answer.stdout}{answer.stderr}")
    return seconds


def seconds_said(plan: str) -> float | None:
    """ "About 2.4 min until all is done" in a printed plan, in seconds."""
    found = re.search(r"About ([0-9.]+) (s|min|h|days) until all is done", " ".join(plan.split()))
    return float(found[1]) * UNITS_S[found[2]] if found else None


def taken(study: list[str], folder: Path) -> tuple[float, float]:
    """Seconds from what is to do to the end of the last run, and of the whole command."""
    began = time.monotonic()
    first = last = None
    lines = []
    with subprocess.Popen(
        command(study), cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if first is None and BEGINS in line:
                first = time.monotonic()
            if ENDS.search(line):
                last = time.monotonic()
    if process.returncode or first is None or last is None:
        sys.exit(f"the study did not end well (exit code {process.returncode}):\n{''.join(lines)}")
    return last - first, time.monotonic() - began


def command(arguments: list[str]) -> list[str]:
    """The command, as a person gives it."""
    return [sys.executable, str(ROOT / "sweeps" / "run.py"), *arguments]


def environment(folder: Path) -> dict[str, str]:
    """MLflow's store in the folder, lines that do not wrap and come at once, and a Ray of its own."""
    tracking = f"sqlite:///{folder / 'mlflow.db'}"
    return os.environ | {
        "MLFLOW_TRACKING_URI": tracking,
        "COLUMNS": "500",
        "PYTHONUNBUFFERED": "1",
        "RAY_ADDRESS": "local",
    }


if __name__ == "__main__":
    sys.exit(main())
