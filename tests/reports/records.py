"""Recorded runs made up for the tests: what read_runs would have returned."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from reports.collect import accuracy_metric
from sweeps.profiles import configure
from sweeps.study import ProfileName, Study
from sweeps.tracking import RunRecord

START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
DATA = "d" * 16


def record(
    study: Study,
    row_name: str,
    accuracy: float | None,
    *,
    seed: int = 0,
    profile: ProfileName = "mini",
    status: str = "FINISHED",
    overrides: tuple[str, ...] = (),
    puzzles: int = 500,
    cells: float | None = None,
    data: str = DATA,
    tags: Mapping[str, str] | None = None,
    more: Mapping[str, float] | None = None,
    minutes: float = 0,
) -> RunRecord:
    """A child run of that row, as tracking keeps it; `minutes` after START. more: other metrics it ended with."""
    row = next(row for row in study.rows if row.name == row_name)
    run = configure(study, row, profile, seed, list(overrides))
    key = run.key(data)
    metrics = {} if accuracy is None else {accuracy_metric(study): accuracy, "test/puzzles": float(puzzles)}
    if cells is not None:
        metrics["test/cell_accuracy"] = cells
    metrics |= more or {}
    started = START + timedelta(minutes=minutes)
    return RunRecord(
        key=key,
        study=study.name,
        row=row.name,
        base=row.base,
        profile=profile,
        seed=seed,
        status=status,
        run_id=f"run-{key}",
        tags={
            "data": data,
            "device": "cpu",
            "commit": "0123456789abcdef",
            "dirty": "no",
            "version.torch": "2.13.0",
            **(tags or {}),
        },
        params={name: "none" if value is None else str(value) for name, value in run.flat().items()}
        | {"parameters": str(run.parameters())},
        metrics=metrics,
        started=started,
        ended=None if status == "RUNNING" else started + timedelta(minutes=1, seconds=12),
    )
