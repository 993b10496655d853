"""What a trial does in its actor, on a run's folder as it lies there: train, report what comes of it, never raise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sweeps.campaign import read_file
from sweeps.folder import Task
from sweeps.worker import train_alone


def main(_: Sequence[str]) -> int:
    """The study's one run, from where its folder stands; 0 where it ended, or said in one line why it could not."""
    told: list[dict[str, Any]] = []
    train_alone(task(), told.append)
    rows = [row for report in told for row in report.get("rows", ())]
    failure = told[-1].get("failure", "")
    assert failure or (rows and rows[-1].step == 6), f"neither ended nor failed: {told}"
    assert "\n" not in failure
    print(json.dumps({"rows": len(rows), "failure": failure}))
    for report in told:
        for line in (*report.get("torn", ()), report.get("retry", "")):
            print(line)
    return 0


def task() -> Task:
    """What the study's run is, by its document."""
    (path,) = Path("results/mini/recursion_depth").glob("*/campaign.json")
    campaign = read_file(path)
    (job,) = campaign.jobs()
    (data,) = Path("results/data").iterdir()
    return Task(job.key, job.run, data, Path("results/runs") / job.key, 1, "a launch", "cpu")
