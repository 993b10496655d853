"""Runs → MLflow: each found by its key, wherever it stands, or created; claimed before it is trained.

So a run is never there twice, and never changed by two launches. Nothing here waits: what is told of a run is noted,
and sent when the launch's sender (write.py) looks after it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data_prep.redaction import redacted
from sweeps.campaign import Campaign, Job
from sweeps.records import claims, models, read
from sweeps.records.address import address, explained, one_line
from sweeps.records.door import run_record
from sweeps.records.inputs import log_puzzles
from sweeps.records.tree import BATCH, Tree, batches, now_ms, params
from sweeps.records.types import (
    AT_WORK,
    CAMPAIGN,
    FAILURE,
    KEY,
    REUSED_FROM,
    STATE,
    STEP,
    Measurement,
    Owner,
    RunRecord,
    Status,
)
from sweeps.records.voice import Voice
from sweeps.words import whole_number

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LARGEST = 64 * 2**20  # bytes of a file that is sent to lie with its run
# Parameters that may turn out otherwise while a run is made, so they are sent at its end: MLflow changes none that it
# has. With each what "auto" means where its trial said nothing of it.
AT_THE_END = {"train.activation_checkpointing": "false"}


@dataclass(frozen=True)
class Begun:
    """What came of a launch's wish to make a run."""

    what: Literal["ours", "finished", "failed", "elsewhere"]
    record: RunRecord | None = None  # finished or failed: by another launch
    owner: Owner | None = None  # elsewhere: the launch that makes it


@dataclass
class Child:
    """One child run of ours: what is known of it, and what waits to be sent."""

    job: Job
    data: str  # the content hash of its puzzles
    run_id: str
    tags: dict[str, str]  # to be set
    params: dict[str, str]
    stored: set[tuple[str, int]] = field(default_factory=set)  # (metric, step) that MLflow has
    pending: list[Measurement] = field(default_factory=list)
    artefacts: list[Path] = field(default_factory=list)  # files to be kept with the run
    input_tags: Mapping[str, str] | None = None  # of its puzzles, until MLflow was told which
    model: models.Trained | None = None  # to be kept with the run
    final: list[Measurement] = field(default_factory=list)  # what it was evaluated to at its last step
    end: tuple[Status, int] | None = None  # status, time [ms]
    step: int = 0
    left_s: float | None = None
    worked_s: float = 0.0  # for so long launches had made it when it last began here
    began: float | None = field(default_factory=lambda: _now_s())  # that moment; None: it has ended
    beat_at: float = -math.inf  # when the claim was last renewed, as time.time()
    refused: str | None = None
    elsewhere: bool = False  # begun in another campaign, where it stays; ours has a child that stands for it
    lost: bool = False  # another launch has taken the run over
    settled: bool = False  # nothing waits

    @property
    def key(self) -> str:
        """Its name in every store."""
        return self.job.key

    @property
    def at_work_ms(self) -> int:
        """For so long launches have made it, ours and those before it. A laptop that sleeps makes nothing."""
        return round(1000 * (self.worked_s + (0.0 if self.began is None else _now_s() - self.began)))


class Children:
    """The runs of one launch, by key: what is told of them from any thread, and how MLflow is brought to it."""

    def __init__(self, client: MlflowClient, tree: Tree, me: Owner, voice: Voice) -> None:
        self.me, self.tree = me, tree
        self._client, self._voice = client, voice
        self._children: dict[str, Child] = {}
        self._changed_rows: set[str] = set()
        self._opened_ms = now_ms()
        self._lock = threading.Lock()  # guards what waits; never held while MLflow is spoken to
        self._wake = threading.Event()  # for whoever sends

    @property
    def campaign(self) -> Campaign:
        """As MLflow has it: with the runs that others have asked for."""
        return self.tree.campaign

    # --- whose a run is ----------------------------------------------------------------------------------------------

    def begin(self, job: Job, data: str, *, tags: Mapping[str, str] | None = None) -> Begun:
        """Claim a run, to be trained by this launch: its child is found by its key and set RUNNING, or created.

        A run that another launch has finished, or has seen fail since this one began, is left as it is; so is one that
        a living launch makes. data: the content hash of its puzzles. Raises TrackingUnavailable.
        """
        with explained(f"begin {job.name}"):
            return self._begin(job, data, tags or {})

    def _begin(self, job: Job, data: str, tags: Mapping[str, str]) -> Begun:
        known = self._children.get(job.key)
        if known is not None and not known.lost:
            self.again(job.key)
            return Begun("ours")
        runs, names = self.tree.with_key(job.key)
        if (done := self.tree.finished(runs, names)) is not None:
            if done.campaign != self.campaign.id:
                self._refer(job, data, done, tags)
            return Begun("finished", record=done)
        trained = [run for run in runs if REUSED_FROM not in run.data.tags]
        if (owner := self._living_owner(trained)) is not None:
            return Begun("elsewhere", owner=owner)
        if trained:
            # the same one for every launch that looks, whichever its campaign: two never claim two
            run = min(trained, key=read.by_age)
            found = run_record(run, names.get(run.info.experiment_id, ""))
            if (
                found.status == "FAILED"
                and found.ended is not None
                and found.ended.timestamp() * 1000 > self._opened_ms
            ):
                return Begun("failed", record=found)
            if (owner := claims.claim(self._client, run.info.run_id, self.me, self.tree.heard)) is not None:
                return Begun("elsewhere", owner=owner)
            run = self._client.get_run(run.info.run_id)
            if run.info.status == "FINISHED":  # between two looks
                claims.release(self._client, run, self.me)
                return self._begin(job, data, tags)
            self._adopt(job, run, data, tags)
            return Begun("ours")
        wanted = self.tree.tags(job, data, tags) | dict([claims.tag(self.me)])
        began = _now_s()
        run = self.tree.create(job.name, wanted)
        others = [
            other
            for other in self.tree.with_key(job.key)[0]  # in the experiments that there are by now
            if REUSED_FROM not in other.data.tags and other.info.run_id != run.info.run_id
        ]
        if others:  # another launch was as quick: it or neither has it
            self._client.delete_run(run.info.run_id)
            return Begun("elsewhere", owner=self._living_owner(others))
        settings = params(job.run)
        self._children[job.key] = Child(job, data, run.info.run_id, {}, settings, input_tags=tags, began=began)
        self._wake.set()
        return Begun("ours")

    def _living_owner(self, runs: Iterable[Run]) -> Owner | None:
        """A launch but ours that makes one of these runs."""
        return self.tree.heard.living([owner for run in runs for owner in claims.others_in(run.data.tags, self.me)])

    def _adopt(self, job: Job, run: Run, data: str, tags: Mapping[str, str]) -> None:
        """A run that has begun before, now ours: RUNNING; what it has is noted, so that nothing is sent twice."""
        run_id = run.info.run_id
        self._client.update_run(run_id, status="RUNNING")
        for stale in (FAILURE, STATE, "non_finite"):
            if stale in run.data.tags:
                self._client.delete_tag(run_id, stale)
        wanted = self.tree.tags(job, data, tags)
        elsewhere = run.data.tags.get(CAMPAIGN, "") != self.campaign.id
        if elsewhere:  # it stays where it was begun
            wanted = {name: text for name, text in wanted.items() if name in self.tree.common}
        child = Child(job, data, run_id, wanted, params(job.run), elsewhere=elsewhere, input_tags=tags)
        last_ms = run.info.start_time or 0
        for metric in run.data.metrics:
            found = self._client.get_metric_history(run_id, metric)
            child.stored.update((metric, point.step) for point in found)
            last_ms = max([last_ms, *(point.timestamp for point in found)])
        at_work = whole_number(run.data.tags.get(AT_WORK, ""))
        # what an older version began says it by its last sign of life
        child.worked_s = (last_ms - (run.info.start_time or 0) if at_work is None else at_work) / 1000
        child.step = max((step for _, step in child.stored), default=0)
        child.params = {name: value for name, value in child.params.items() if name not in run.data.params}
        with self._lock:
            self._children[job.key] = child
        self._wake.set()

    def refer(self, job: Job, data: str, to: RunRecord, *, tags: Mapping[str, str] | None = None) -> bool:
        """A finished child that stands for a run of another campaign: its final metrics, `reused_from`.

        Returns whether it was made; it may be there already. Raises TrackingUnavailable.
        """
        with explained(f"record {job.name}"):
            return self._refer(job, data, to, tags or {})

    def _refer(self, job: Job, data: str, to: RunRecord, tags: Mapping[str, str]) -> bool:
        from mlflow.entities import Metric, Param

        origin = {REUSED_FROM: to.tags.get(REUSED_FROM, to.run_id), "reused_from_study": to.study}
        if "device" in to.tags:
            origin["device"] = to.tags["device"]
        wanted = self.tree.tags(job, data, {**tags, **origin})
        run, made = claims.the_one(
            self._client,
            lambda: self.tree.in_campaign(f"tags.{KEY} = '{read.quoted(job.key)}'"),
            lambda: self.tree.create(job.name, wanted),
        )
        if not made and self._living_owner([run]) is not None:
            return False
        if made or run.info.status != "FINISHED":
            now = now_ms()
            if not made:  # begun here once, before another campaign finished it
                for name, text in origin.items():
                    self._client.set_tag(run.info.run_id, name, text)
            metrics = [Metric(name, value, now, job.run.train.steps) for name, value in to.metrics.items()]
            settings = params(job.run) | {name: to.params[name] for name in AT_THE_END if name in to.params}
            lacking = {name: text for name, text in settings.items() if name not in run.data.params}
            of_run = [Param(name, text) for name, text in lacking.items()]
            self._client.log_batch(run.info.run_id, metrics=metrics, params=of_run)
            self._client.set_terminated(run.info.run_id, "FINISHED", now)
            run_id = run.info.run_id
            self._voice.helps("the puzzles", lambda: log_puzzles(self._client, run_id, job, data, wanted), job.name)
            with self._lock:
                self._changed_rows.add(job.row)
            self._wake.set()
        return made

    # --- what is told of it ------------------------------------------------------------------------------------------

    def again(self, key: str) -> None:
        """A run of ours begins again: its process ended."""
        with self._lock:
            child = self._children[key]
            child.end, child.settled = None, False
            if child.began is None:
                child.began = _now_s()

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Tags for a run that has begun."""
        with self._lock:
            child = self._children[key]
            child.tags.update(tags)
            child.settled = False

    def log(self, key: str, rows: Iterable[Measurement]) -> None:
        """Rows of a run that has begun: sent soon, in batches; what MLflow has already is not sent again."""
        with self._lock:
            child = self._children[key]
            new = list(rows)
            child.pending += new
            child.step = max([child.step, *(row.step for row in child.pending[-1:])])
            child.final += [row for row in new if row.step == child.job.run.train.steps]
            child.settled = False

    def correct(self, key: str, settings: Mapping[str, str]) -> None:
        """Settings that have turned out otherwise than the run was asked for with; what MLflow has stays as it is."""
        with self._lock:
            child = self._children[key]
            child.params.update({name: text for name, text in settings.items() if name in child.params})

    def expect(self, key: str, left_s: float | None) -> None:
        """How long a run will still take, for whoever asks for its status."""
        with self._lock:
            self._children[key].left_s = left_s

    def finish(
        self,
        key: str,
        status: Status,
        *,
        reason: str = "",
        state: str = "",
        artefacts: Iterable[Path] = (),
        model: models.Trained | None = None,
    ) -> None:
        """A run has ended; `reason` is what a failed one said, `state` what MLflow has no status for ("diverged")."""
        with self._lock:
            child = self._children[key]
            self._end(child, status)
            child.artefacts += [path for path in artefacts if path.is_file()]
            child.model = model
            if reason:
                child.tags[FAILURE] = redacted(reason)
            if state:
                child.tags[STATE] = state
        self._wake.set()

    def _end(self, child: Child, status: Status) -> None:
        child.end, child.settled = (status, now_ms()), False
        child.worked_s, child.began = child.at_work_ms / 1000, None
        child.tags |= {STEP: str(child.step), AT_WORK: str(child.at_work_ms)}

    def lost(self) -> tuple[str, ...]:
        """Keys of runs that another launch has taken over from this one."""
        return tuple(child.key for child in list(self._children.values()) if child.lost)

    # --- what is sent of it ------------------------------------------------------------------------------------------

    def _look_after(self, child: Child) -> None:
        """A heartbeat where one is due, then what waits. A run that another launch has taken over is left to it."""
        if child.settled and child.end is not None:
            return
        if is_due(child.beat_at):
            if self._is_lost(child):
                return
            at_work_ms = child.at_work_ms
            claims.beat(self._client, child.run_id, self.me, child.step, child.left_s, at_work_ms=at_work_ms)
            child.beat_at = time.time()
        if not child.settled:
            self._settle(child)

    def _is_lost(self, child: Child) -> bool:
        """Whether another launch has taken a run of ours over: nothing of it is written any more, and that is said."""
        if claims.is_lost(self._client.get_run(child.run_id), self.me):
            child.lost = True
            self._voice.once(f"{child.job.name}: another launch has taken it over, this one leaves it to that")
        return child.lost

    def _settle(self, child: Child) -> None:
        """Bring MLflow to what is known of this child. Every step may be repeated; none doubles anything."""
        from mlflow.entities import Metric, Param, RunTag

        with self._lock:
            rows, tags, end = list(child.pending), dict(child.tags), child.end
            over = end is not None and end[0] in ("FINISHED", "FAILED")
            settings = {
                name: AT_THE_END[name] if text == "auto" and name in AT_THE_END else text
                for name, text in child.params.items()
                if over or name not in AT_THE_END
            }
            artefacts = list(child.artefacts)
        points: dict[tuple[str, int], Metric] = {}
        for row in rows:
            for name, value in row.metrics.items():
                if not math.isfinite(value):
                    tags.setdefault("non_finite", f"{name} at step {row.step}")
                    self._voice.once(
                        f"{child.job.name} ({child.key}): {name} is {value} at step {row.step}; tagged non_finite"
                    )
                elif (name, row.step) not in child.stored:
                    points.setdefault((name, row.step), Metric(name, value, row.time_ms, row.step))
        for batch in batches(list(points.items()), BATCH):
            self._client.log_batch(child.run_id, metrics=[point for _, point in batch])
            child.stored.update(place for place, _ in batch)
        if tags or settings:
            self._client.log_batch(
                child.run_id,
                params=[Param(name, value) for name, value in settings.items()],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )
        for path in artefacts:
            for problem in keep(self._client, child.run_id, path):
                self._voice.once(problem)
        self._help_a_person_to_find(child)
        if end is not None:
            if self._is_lost(child):  # once more: what was sent since the last heartbeat may have taken long
                return
            self._client.set_terminated(child.run_id, *end)
            run = self._client.get_run(child.run_id)
            claims.release(self._client, run, self.me)
            if end[0] == "FINISHED" and child.elsewhere:
                self._refer(child.job, child.data, run_record(run, child.job.study), {})
        with self._lock:
            del child.pending[: len(rows)]
            del child.artefacts[: len(artefacts)]
            child.params = {name: text for name, text in child.params.items() if name not in settings}
            child.tags = {name: value for name, value in child.tags.items() if tags.get(name) != value}
            child.settled = not child.pending and not child.tags and not child.artefacts and child.end == end
            if end is not None and end[0] == "FINISHED":
                self._changed_rows.add(child.job.row)

    def _help_a_person_to_find(self, child: Child) -> None:
        """Its puzzles and its model, in MLflow's own words for them; each is tried once."""
        tags, child.input_tags = child.input_tags, None
        if tags is not None:
            self._voice.helps(
                "the puzzles",
                lambda: log_puzzles(self._client, child.run_id, child.job, child.data, tags),
                child.job.name,
            )
        model, child.model = child.model, None
        if model is not None:
            self._voice.helps("the model", lambda: self._log_model(child, model), child.job.name)

    def _log_model(self, child: Child, model: models.Trained) -> None:
        experiment_id = self.tree.experiment_id
        if child.elsewhere:
            experiment_id = self._client.get_run(child.run_id).info.experiment_id
        models.log_model(self._client, child.run_id, experiment_id, child.job, model, child.final)


def keep(client: MlflowClient, run_id: str, path: Path) -> list[str]:
    """A file or a folder's files, kept with a run; a line where that cannot be."""
    if path.is_file() and path.stat().st_size > LARGEST:
        return [f"{path}: {path.stat().st_size >> 20} MB, more than the {LARGEST >> 20} that MLflow is sent"]
    try:
        if path.is_dir():
            client.log_artifacts(run_id, str(path))
        else:
            client.log_artifact(run_id, str(path))
    except Exception as error:  # each kind of artefact store raises its own; the run must end all the same
        return [
            f"MLflow at {redacted(address())}: {path} was not stored with its run"
            f" ({type(error).__name__}: {one_line(error)}); what lies there is whole"
        ]
    return []


def unsent(child: Child) -> str:
    """What MLflow was not told of a run, and what to do."""
    name, rows = f"{child.job.name} ({child.key})", len(child.pending)
    if not rows:
        return f"how {name} ended was not recorded; run the command again"
    return f"{rows:,} rows of {name} were not sent and remain in its metrics.jsonl; run the command again"


def _now_s() -> float:
    """On the clock that what a run takes is read from."""
    return time.monotonic()


def is_due(beat_at: float) -> bool:
    """Whether it is time for a heartbeat. By the clock on the wall: the others stand still while a laptop sleeps."""
    return abs(time.time() - beat_at) >= claims.BEAT_S
