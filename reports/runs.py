"""A record of MLflow as a run of a row: which of its metrics count, and what it says where it has no number."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from reports import stats
from reports.stats import Interval
from reports.types import SeedRun, Seeds, Status
from sweeps.records.types import STATE, RunRecord
from sweeps.study import Study
from sweeps.words import whole_number

EXACT = "test/exact_accuracy"
CELL_ACCURACY = "test/cell_accuracy"
SHORTEST_PATH = "test/shortest_path_accuracy"  # of mazes
VOTES = "test/votes"  # of ARC: the most variants of a task that voted
VALIDATION = "validation/exact_accuracy"
LOSS = "train/loss"
MOST = 2.0**53  # a count beyond it is none


def utc(moment: datetime) -> datetime:
    """In UTC; what has no time zone is taken to be in it."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def mean_of_all(values: Sequence[float | None]) -> float | None:
    """Their mean; None unless there are some and all are there."""
    known = [value for value in values if value is not None]
    return stats.mean(known) if known and len(known) == len(values) else None


def test_interval(metric: str, accuracy: float | None, puzzles: int | None) -> Interval | None:
    """Wilson's, where each test puzzle is solved or not; a task of two test inputs may be solved by half (pass@k)."""
    if accuracy is None or puzzles is None or passes(metric):
        return None
    return stats.test_set_interval(accuracy, puzzles)


def accuracy_metric(study: Study) -> str:
    """The metric of the study's accuracies; beside a table of losses stands exact accuracy."""
    return EXACT if study.layout == "losses" else study.metric


def loss_metric(study: Study) -> str:
    """The training loss of the study's curves: its metric where that is one."""
    return study.metric if study.metric.startswith("train/") else LOSS


def choosing_metric(study: Study) -> str:
    """What tells the better of two settings: the study's metric on validation, or a loss itself; never a test score.

    Votes are cast on test tasks alone, so for pass@k it is exact accuracy on validation.
    """
    if not study.metric.startswith("test/"):
        return study.metric
    return (EXACT if passes(study.metric) else study.metric).replace("test/", "validation/")


def passes(metric: str) -> int | None:
    """k of the metric pass@k, "test/pass_at_2" (MLflow takes no @ in a name); None for another metric."""
    found = re.fullmatch(r"test/pass_at_(\d+)", metric)
    return int(found[1]) if found else None


def said(run: SeedRun) -> str:
    """A run without a number, in words."""
    if run.status == "finished" or run.reason.startswith(run.status):  # "diverged at step 20: …"
        return run.reason
    return f"{run.status}: {run.reason}" if run.reason else run.status


def seed_run(record: RunRecord, seeds: Seeds, study: Study) -> SeedRun:
    """What a record says of a run of this study; numbers that are none are left out, with the reason."""
    metric, choosing = accuracy_metric(study), choosing_metric(study)
    status: Status = record.state
    if record.status == "FAILED" and record.tags.get(STATE) == "out of memory":
        status = "out of memory"
    unfinished = record.status in ("FAILED", "KILLED")  # a full disk is no failure of the run's: it goes on
    reason = " ".join(record.tags.get("failure", "").split()) if unfinished else ""
    accuracy = record.metrics.get(metric) if status == "finished" else None

    def finite(name: str) -> float | None:
        value = record.metrics.get(name, math.nan) if status == "finished" else math.nan
        return value if math.isfinite(value) else None

    def fraction(name: str) -> float | None:
        value = finite(name)
        return value if value is not None and is_fraction(value) else None

    def count(name: str) -> int | None:
        value = record.metrics.get(name, 0.0)
        return int(value) if 1 <= value < MOST else None

    if status == "finished" and accuracy is None:
        reason = f"no {metric} recorded"
    elif accuracy is not None and not is_fraction(accuracy):
        accuracy, reason = None, f"{metric} is {accuracy:g}, not a fraction"
    puzzles = count("test/puzzles")
    return SeedRun(
        seeds=seeds,
        key=record.key,
        run_id=record.run_id,
        status=status,
        reason=reason,
        accuracy=accuracy,
        chosen_by=fraction(choosing) if choosing.startswith("validation/") else finite(choosing),
        has_validation=fraction(VALIDATION) is not None,
        cell_accuracy=fraction(CELL_ACCURACY),
        shortest_path=fraction(SHORTEST_PATH),
        puzzles=puzzles,
        votes=count(VOTES),
        log_every=whole_number(record.params.get("train.log_every", "")),
        interval=test_interval(metric, accuracy, puzzles),
        started=utc(record.started),
        ended=None if record.ended is None else utc(record.ended),
        tags=record.tags,
        final={name: value for name, value in record.metrics.items() if status == "finished" and math.isfinite(value)},
    )


def is_fraction(value: float) -> bool:
    """Whether a metric is an accuracy [0..1]."""
    return math.isfinite(value) and 0 <= value <= 1
