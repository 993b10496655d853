"""Recorded runs made up for the tests: what records.read would have returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from reports.collect import collect
from reports.notes import elsewhere
from reports.runs import accuracy_metric
from reports.types import Table, TableRow
from sweeps.campaign import Campaign, declare
from sweeps.records.read import belongs, one_per_key
from sweeps.records.types import RunRecord
from sweeps.study import ProfileName, Row, Study
from trm_core.settings import DataSettings
from trm_core.settings_as_text import setting_text

START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
DATA = "d" * 16


def depth_row(model: str, k: int, n: int, **more: Any) -> Row:
    """A row like Table 3's: at T = k, with n recursions."""
    place = {"k": str(k), "T": str(k), "model": model}
    change = {"model": {"n": n, "T": k}}
    return Row(name=f"{model} k={k}", base=model.lower(), change=change, place=place, **more)


def record(
    study: Study,
    row_name: str,
    accuracy: float | None,
    *,
    seed: int = 0,
    data_seed: int = 0,
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
    """A child run of that row, as MLflow keeps it; `minutes` after START. more: other metrics it ended with."""
    row = next(row for row in study.rows if row.name == row_name)
    campaign = declare(study, profile, overrides)
    run = campaign.run(row_name, seed, data_seed)
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
        data_seed=data_seed,
        status=status,
        run_id=f"run-{key}",
        tags={
            "campaign": campaign.id,
            "data": data,
            "device": "cpu",
            "commit": "0123456789abcdef",
            "dirty": "no",
            "version.torch": "2.13.0",
            **(tags or {}),
        },
        params={name: setting_text(value) for name, value in run.flat().items()}
        | {"parameters": str(run.parameters())},
        metrics=metrics,
        started=started,
        ended=None if status == "RUNNING" else started + timedelta(minutes=1, seconds=12),
    )


def campaign_of(
    study: Study, profile: ProfileName, records: Sequence[RunRecord] = (), changes: Sequence[str] = ()
) -> Campaign:
    """The campaign, with those of the recorded runs asked for that are its own."""
    campaign = declare(study, profile, changes)
    for run in sorted(records, key=lambda run: run.started):
        if belongs(campaign, run):
            rows = [row for row in study.rows if row.name == run.row]
            campaign = campaign.extended(
                campaign.asked(rows, [run.seed], [run.data_seed], data_hash=partial(_is, run.data))
            )
    return campaign


def _is(data: str, settings: DataSettings) -> str:
    return data


def table_of(
    study: Study, profile: ProfileName, records: Sequence[RunRecord] = (), changes: Sequence[str] = ()
) -> Table:
    """The table of a campaign from all that is recorded of its study, as `reports` makes it."""
    campaign = campaign_of(study, profile, records, changes)
    ours = one_per_key(run for run in records if belongs(campaign, run))
    others = [run for run in records if run.key not in ours]
    labels = {declare(study, profile, each).id: declare(study, profile, each).label for each in ((), changes)}
    return collect(campaign, list(ours.values()), others=elsewhere(campaign, others, labels))


def row_of(table: Table, name: str) -> TableRow:
    """The table's row of this name."""
    return next(row for row in table.rows if row.name == name)
