"""A campaign as MLflow holds it: its run, a run for each row below it, and its document; and what they say of the runs.

Nothing here waits or retries: that is write.py's.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sweeps.campaign import BadCampaign, Campaign, Job, NewerCampaign
from sweeps.records import claims, provenance, read
from sweeps.records.address import address, sqlite_path
from sweeps.records.door import NotOurs, run_record
from sweeps.records.summary import cell_name, summarised
from sweeps.records.types import (
    CAMPAIGN,
    CAMPAIGN_ROLE,
    KEY,
    ROLE,
    ROW,
    ROW_ORDER,
    ROW_ROLE,
    STEP,
    Owner,
    RunRecord,
    Status,
)
from trm_core.settings_as_text import setting_text

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from trm_core.config import RunConfig

DOCUMENT_SHARE = 0.1  # of a launch's time
BATCH = 1000  # metrics per request: MLflow's limit
# What SQL stores say where two wrote the same new tag at once: SQLite, PostgreSQL, MySQL.
ALREADY_THERE = ("IntegrityError", "UniqueViolation", "Duplicate entry")
ROW_ID = "row_id"  # a row's name in letters that MLflow's filters take


class Tree:
    """A campaign's run and its rows' runs, found or made by one launch of it."""

    def __init__(self, client: MlflowClient, campaign: Campaign, me: Owner) -> None:
        """Raises TrackingUnavailable where the study's experiment is deleted."""
        self.client, self.me = client, me
        self.campaign = campaign  # as MLflow has it: with the runs that others have asked for
        self.heard = claims.Heard()
        self.common = provenance.tags()
        self.experiment_id = experiment(client, campaign.study.name)
        self.parent_id = ""
        self._rows: dict[str, str] = {}  # row → its run's id
        self._behind = False  # the document lacks runs that we ask for
        self._write_at = -math.inf  # before that it stays as it is

    def open(self) -> None:
        """The campaign's run is there, RUNNING and ours too, with the document; what the dead left is ended."""
        self.parent_id = self.campaigns_run()
        self._let_go_of_the_dead()
        claims.beat(self.client, self.parent_id, self.me)
        self.write_document()
        self.end_what_the_dead_left()

    def _let_go_of_the_dead(self) -> None:
        """The campaign's run is several launches' at once; of those that are gone nothing stays on it."""
        run = self.client.get_run(self.parent_id)
        for owner in claims.others_in(run.data.tags, self.me):
            if not self.heard.lives(owner):
                claims.release(self.client, run, owner)

    def campaigns_run(self) -> str:
        """The id of the campaign's run, made where there is none; RUNNING."""
        campaign = self.campaign
        wanted = {
            ROLE: CAMPAIGN_ROLE,
            CAMPAIGN: campaign.id,
            "study": campaign.study.name,
            "profile": campaign.profile,
            "label": campaign.label,
            "changes": " ".join(campaign.changes)[:4000],
            **self.common,
        }
        run, _ = claims.the_one(
            self.client,
            lambda: [run for run in self.in_campaign() if run.data.tags.get(ROLE) == CAMPAIGN_ROLE],
            lambda: self.client.create_run(
                self.experiment_id,
                start_time=now_ms(),
                run_name=f"{campaign.profile} {campaign.label}".strip(),
                tags=wanted,
            ),
        )
        self.client.update_run(run.info.run_id, status="RUNNING")
        return str(run.info.run_id)

    def extend(self, campaign: Campaign) -> None:
        """More runs of the same campaign: a search asks run by run, and its document grows with each.

        So it is written for no more than a tenth of the time; what it lacks then it has at the next run, or at the end.
        """
        if not campaign.keys <= self.campaign.keys:
            self.campaign = self.campaign.extended(campaign)
            self._behind = True
        if self._behind and time.monotonic() >= self._write_at:
            self.write_document()

    def write_document(self) -> None:
        """The document with the campaign's run, extended by what we ask for; one launch at a time writes it."""
        began = time.monotonic()
        self._write_document()
        self._behind = False
        self._write_at = time.monotonic() + (time.monotonic() - began) * (1 / DOCUMENT_SHARE - 1)

    def _write_document(self) -> None:
        if not self._is_written():
            with claims.alone(self.client, self.parent_id, self.me, self.heard):
                if not self._is_written():
                    self.client.log_text(self.parent_id, self.campaign.text(), read.DOCUMENT)
        for name, text in {
            "seeds": _several(self.campaign.seeds),
            "data_seeds": _several(self.campaign.data_seeds),
            "runs": str(len(self.campaign.runs)),
            "command": self.campaign.command[:4000],
            "updated_ms": str(now_ms()),
        }.items():
            self._tell(name, text)

    def _is_written(self) -> bool:
        """Whether the document has all that we ask for; what else it has, we have from here on."""
        try:
            there = read.read_document(self.client, self.parent_id)
        except NewerCampaign:
            raise
        except BadCampaign:  # torn, or being written; what it said of runs stands in their records
            return False
        if there is None or there.id != self.campaign.id:
            return False
        if self.campaign.keys <= there.keys and there.command == self.campaign.command:
            self.campaign = there
            return True
        self.campaign = there.extended(self.campaign)
        return False

    def _tell(self, tag: str, text: str) -> None:
        """A tag of the campaign's run. Another launch may be the first to write it between our look and our insert."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.set_tag(self.parent_id, tag, text)
        except MlflowException as error:
            if not any(word in str(error) for word in ALREADY_THERE):
                raise
            self.client.set_tag(self.parent_id, tag, text)  # it is there now, and is changed

    def rows_run(self, row: str) -> str:
        """The id of a row's run, made where there is none."""
        if row not in self._rows:
            wanted = {
                ROLE: ROW_ROLE,
                CAMPAIGN: self.campaign.id,
                ROW: row,
                ROW_ID: row_id(row),
                "study": self.campaign.study.name,
                "profile": self.campaign.profile,
                "mlflow.parentRunId": self.parent_id,
                **self.common,
            }
            run, _ = claims.the_one(
                self.client,
                lambda: [
                    run
                    for run in self.in_campaign(f"tags.{ROW_ID} = '{row_id(row)}'")
                    if run.data.tags.get(ROLE) == ROW_ROLE
                ],
                lambda: self.client.create_run(self.experiment_id, start_time=now_ms(), run_name=row, tags=wanted),
            )
            self._rows[row] = str(run.info.run_id)
        return self._rows[row]

    def summarise(self, row: str) -> None:
        """What a row's finished runs say together, with its run; and the row's cell with the campaign's run."""
        from mlflow.entities import Metric

        drawn = {(run.row, run.data_seed): run.data for run in self.campaign.runs}
        finished = [
            record
            for run in self.in_campaign(f"tags.{ROW_ID} = '{row_id(row)}' AND attributes.status = 'FINISHED'")
            if (record := record_or_none(run, {})) is not None
            and read.belongs(self.campaign, record)
            and drawn.get((row, record.data_seed), record.data) == record.data  # two test sets never meet in one mean
        ]
        runs = [record.metrics for record in read.one_per_key(finished, self.campaign.id).values()]
        if not runs:
            return
        now, n = now_ms(), len(runs)
        points = [Metric(name, value, now, n) for name, value in summarised(runs).items()]
        for batch in batches(points, BATCH):
            self.client.log_batch(self.rows_run(row), metrics=batch)
        values = [run[self.campaign.study.metric] for run in runs if self.campaign.study.metric in run]
        if values:
            name = cell_name(row, [one.name for one in self.campaign.rows])
            self.client.log_metric(self.parent_id, name, math.fsum(values) / len(values), now, n)

    def end_what_the_dead_left(self) -> None:
        """Runs of this study that are RUNNING although the launch that made them is gone: KILLED, once claimed."""
        for run in read.search(
            self.client, [self.experiment_id], f"attributes.status = 'RUNNING' AND tags.{KEY} LIKE '%'"
        ):
            run_id = run.info.run_id
            owners = claims.owners_in(run.data.tags)
            if not owners or record_or_none(run, {}) is None:
                continue
            if claims.claim(self.client, run_id, self.me, self.heard) is not None:
                continue
            run = self.client.get_run(run_id)
            if run.info.status == "RUNNING":
                self.client.set_tag(run_id, STEP, str(max(owner.step for owner in owners)))
                self.client.set_terminated(run_id, "KILLED")
            claims.release(self.client, run, self.me)

    def in_campaign(self, also: str = "") -> list[Run]:
        """The runs that stand in this campaign, its rows' and its own among them."""
        query = f"tags.{CAMPAIGN} = '{self.campaign.id}'" + (f" AND {also}" if also else "")
        return list(read.search(self.client, [self.experiment_id], query))

    def with_key(self, key: str) -> tuple[list[Run], dict[str, str]]:
        """The runs of a key that are records of ours, and the names of all experiments by their ids."""
        names = read.experiments(self.client)
        runs = read.with_key(self.client, [*names], key)
        return [run for run in runs if record_or_none(run, names) is not None], names

    def finished(self, runs: Sequence[Run], names: Mapping[str, str]) -> RunRecord | None:
        """Of the runs of a key the finished one, this campaign's own before another's."""
        found = [record_or_none(run, names) for run in runs if run.info.status == "FINISHED"]
        best = read.one_per_key((one for one in found if one is not None), self.campaign.id)
        return next(iter(best.values()), None)

    def create(self, name: str, tags: Mapping[str, str]) -> Run:
        """A new run of this study."""
        return self.client.create_run(self.experiment_id, start_time=now_ms(), run_name=name, tags=dict(tags))

    def tags(self, job: Job, data: str, tags: Mapping[str, str]) -> dict[str, str]:
        """What is written on a run's child, with tags of its own."""
        return {
            KEY: job.key,
            CAMPAIGN: self.campaign.id,
            "study": job.study,
            ROW: job.row,
            ROW_ID: row_id(job.row),
            ROW_ORDER: self._place(job),
            "command": self.campaign.command[:4000],
            "base": job.base,
            "profile": job.profile,
            "seed": str(job.seed),
            "data_seed": str(job.data_seed),
            "data": data,
            "mlflow.parentRunId": self.rows_run(job.row),
            "launch": self.me.launch,
            **self.common,
            **tags,
        }

    def _place(self, job: Job) -> str:
        """Where a run stands in its table, as text that sorts."""
        row = next((at for at, one in enumerate(self.campaign.rows) if one.name == job.row), len(self.campaign.rows))
        return f"{row:04d}.{job.data_seed:04d}.{job.seed:04d}"

    def end(self, status: Status) -> None:
        """The document is whole; the campaign's and its rows' runs end, unless another launch of it lives."""
        if self._behind:
            self.write_document()
        parent = self.client.get_run(self.parent_id)
        claims.release(self.client, parent, self.me)
        others = claims.others_in(parent.data.tags, self.me)
        if not all(claims.has_stopped(owner, now_ms()) for owner in others):
            return
        runs = self.in_campaign()
        records = [
            record for run in runs if (record := record_or_none(run, {})) and read.belongs(self.campaign, record)
        ]
        ended: dict[str, set[str]] = {}  # by row; of several records of a key the one that a table would show
        for record in read.one_per_key(records, self.campaign.id).values():
            ended.setdefault(row_id(record.row), set()).add(record.status)
        ids = {row_id(row.name) for row in self.campaign.rows}
        for run in runs:
            if run.data.tags.get(ROLE) == ROW_ROLE and run.data.tags.get(ROW_ID) in ids:
                statuses = ended.get(run.data.tags[ROW_ID], set())
                of_row = "FINISHED" if statuses == {"FINISHED"} else "FAILED" if "FAILED" in statuses else "KILLED"
                if run.info.status != of_row:
                    self.client.set_terminated(run.info.run_id, of_row)
        self.client.set_terminated(self.parent_id, status)


def row_id(row: str) -> str:
    """A row's name as 8 hex digits: MLflow's filters take no quotes."""
    return hashlib.sha256(row.encode()).hexdigest()[:8]


def experiment(client: MlflowClient, study: str) -> str:
    """The study's experiment, created where it is not there. Artefacts of a SQLite store lie beside its file."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(study)
    if experiment is None:
        path = sqlite_path(address())
        try:
            return client.create_experiment(
                study, (path.resolve().parent / "mlruns" / study).as_uri() if path else None
            )
        except MlflowException:
            experiment = client.get_experiment_by_name(study)
            if experiment is None:  # else another command has just created it
                raise
    read.check_is_active(experiment)
    return str(experiment.experiment_id)


def record_or_none(run: Run, names: Mapping[str, str]) -> RunRecord | None:
    """The record behind a run; None where no launch of ours has written it. names: the experiments', by id."""
    with contextlib.suppress(NotOurs):
        return run_record(run, names.get(run.info.experiment_id, ""))
    return None


def params(run: RunConfig) -> dict[str, str]:
    """Every setting, flat, as text that `--set` reads back; and what follows from them."""
    settings = {name: setting_text(value) for name, value in run.flat().items()}
    return settings | {"depth": str(run.model.depth), "parameters": str(run.parameters())}


def _several(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))[:4000]


def batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    """The items, so many at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def now_ms() -> int:
    """Milliseconds since 1970."""
    return int(time.time() * 1000)
