"""Records → MLflow: one launch of a campaign. Its run holds a run for each row, and that one a child per run key.

A run is found by its key before it is created, wherever it stands, and claimed (claims.py) before it is trained: it is
never there twice, and never changed by two launches. What is written waits in memory and is sent by one thread, in
batches: training never waits for the store, and an outage costs nothing but time.
"""

from __future__ import annotations

import math
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from data_prep.redaction import redacted
from sweeps.campaign import Campaign, Job
from sweeps.records import claims, read
from sweeps.records.address import TrackingUnavailable, address, connect, explained, one_line
from sweeps.records.door import run_record
from sweeps.records.tree import BATCH, Tree, batches, now_ms, params
from sweeps.records.types import (
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

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


SEND_EVERY_S = 1.0
RETRY_AFTER_S = 5.0  # between attempts while the store does not answer
ASK_AGAIN_S = 0.2  # at the end, where nothing else is left to do
REFUSALS = {  # error codes that no waiting mends; every other error counts as an outage
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
}
# Parameters that may turn out otherwise while a run is made, if they have this value: MLflow changes none that it has.
AT_THE_END = {"train.activation_checkpointing": "false"}


@dataclass(frozen=True)
class Begun:
    """What came of a launch's wish to make a run."""

    what: Literal["ours", "finished", "failed", "elsewhere"]
    record: RunRecord | None = None  # finished or failed: by another launch
    owner: Owner | None = None  # elsewhere: the launch that makes it


@dataclass
class _Child:
    """One child run of ours: what is known of it, and what waits to be sent."""

    job: Job
    data: str  # the content hash of its puzzles
    run_id: str
    tags: dict[str, str]  # to be set
    params: dict[str, str]
    stored: set[tuple[str, int]] = field(default_factory=set)  # (metric, step) that MLflow has
    pending: list[Measurement] = field(default_factory=list)
    artefacts: list[Path] = field(default_factory=list)  # files to be kept with the run
    end: tuple[Status, int] | None = None  # status, time [ms]
    step: int = 0
    left_s: float | None = None
    beat_at: float = -math.inf  # when the claim was last renewed, as time.time()
    refused: str | None = None
    elsewhere: bool = False  # begun in another campaign, where it stays; ours has a child that stands for it
    lost: bool = False  # another launch has taken the run over
    settled: bool = False  # nothing waits

    @property
    def key(self) -> str:
        return self.job.key


class Tracker:
    """One launch of a campaign in MLflow. A context manager: whatever ends it, no run of ours is left RUNNING."""

    def __init__(self, client: MlflowClient, campaign: Campaign, say: Callable[[str], None]) -> None:
        self.me = claims.myself(uuid.uuid4().hex)
        self.tree = Tree(client, campaign, self.me)
        self._client, self._say = client, say
        self._children: dict[str, _Child] = {}
        self._changed_rows: set[str] = set()
        self._opened_ms = now_ms()
        self._lock = threading.Lock()  # guards what waits; never held while MLflow is spoken to
        self._sending = threading.Lock()  # one sender at a time
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._silent_since: float | None = None  # the store does not answer
        self._parent_beat_at = -math.inf
        self._warned: set[str] = set()
        self._thread = threading.Thread(target=self._send_forever, name="mlflow sender", daemon=True)

    @classmethod
    def open(
        cls,
        campaign: Campaign,
        *,
        say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
    ) -> Self:
        """Find or create the experiment and the campaign's run, and leave the campaign's document with it.

        The document that is there already is extended. What launches that are dead left RUNNING becomes KILLED.
        Raises TrackingUnavailable, one line, within about 15 s, and BadCampaign where a newer program wrote it.
        """
        client = connect(address())
        lost = read.lost([campaign.study.name])
        with explained("create the experiment and the campaign's run"):
            tracker = cls(client, campaign, say)
            for line in lost:
                say(line)
            tracker.tree.open()
        tracker._thread.start()
        return tracker

    @property
    def campaign(self) -> Campaign:
        """As MLflow has it: with the runs that others have asked for."""
        return self.tree.campaign

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._closed.is_set():
            for problem in self.close("KILLED" if kind is None or issubclass(kind, KeyboardInterrupt) else "FAILED"):
                self._say(problem)

    # --- runs --------------------------------------------------------------------------------------------------------

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
        run = self.tree.create(job.name, wanted)
        others = [
            other
            for other in self.tree.with_key(job.key)[0]  # in the experiments that there are by now
            if REUSED_FROM not in other.data.tags and other.info.run_id != run.info.run_id
        ]
        if others:  # another launch was as quick: it or neither has it
            self._client.delete_run(run.info.run_id)
            return Begun("elsewhere", owner=self._living_owner(others))
        self._children[job.key] = _Child(job, data, run.info.run_id, {}, params(job.run))
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
        child = _Child(job, data, run_id, wanted, params(job.run), elsewhere=elsewhere)
        for metric in run.data.metrics:
            child.stored.update((metric, point.step) for point in self._client.get_metric_history(run_id, metric))
        child.step = max((step for _, step in child.stored), default=0)
        child.params = {name: value for name, value in child.params.items() if name not in run.data.params}
        with self._lock:
            self._children[job.key] = child
        self._wake.set()

    def extend(self, campaign: Campaign) -> None:
        """More runs of this campaign: its document is extended. Raises TrackingUnavailable."""
        with explained("extend the campaign's document"):
            self.tree.extend(campaign)

    def again(self, key: str) -> None:
        """A run of ours begins again: its process died."""
        with self._lock:
            child = self._children[key]
            child.end, child.settled = None, False

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
            with self._lock:
                self._changed_rows.add(job.row)
            self._wake.set()
        return made

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
            child.pending.extend(rows)
            child.step = max([child.step, *(row.step for row in child.pending[-1:])])
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
        self, key: str, status: Status, *, reason: str = "", state: str = "", artefacts: Iterable[Path] = ()
    ) -> None:
        """A run has ended; `reason` is what a failed one said, `state` what MLflow has no status for ("diverged")."""
        with self._lock:
            child = self._children[key]
            self._end(child, status)
            child.artefacts += [path for path in artefacts if path.is_file()]
            if reason:
                child.tags[FAILURE] = redacted(reason)
            if state:
                child.tags[STATE] = state
        self._wake.set()

    def _end(self, child: _Child, status: Status) -> None:
        child.end, child.settled = (status, now_ms()), False
        child.tags[STEP] = str(child.step)

    def lost(self) -> tuple[str, ...]:
        """Keys of runs that another launch has taken over from this one."""
        return tuple(child.key for child in list(self._children.values()) if child.lost)

    def settle(self, patience_s: float) -> bool:
        """Wait until MLflow has what it was told; False where it is silent for so long."""
        deadline = time.monotonic() + patience_s
        while not self._send():
            if time.monotonic() > deadline:
                return False
            time.sleep(ASK_AGAIN_S)
        return True

    # --- the end -----------------------------------------------------------------------------------------------------

    def close(self, status: Status, artefacts: Path | None = None, *, patience_s: float = 20.0) -> list[str]:
        """Send what waits, end every run of ours, log a folder to the campaign's run. Returns what was not sent.

        Runs that have not ended are KILLED: the next command picks them up. The campaign's run ends with the last
        launch of it. A silent store is asked again for patience_s.
        """
        deadline = time.monotonic() + patience_s
        if self._closed.is_set():
            return []
        with self._lock:
            for child in self._children.values():
                if child.end is None:
                    self._end(child, "KILLED")
        self._closed.set()
        self._wake.set()
        self._thread.join()
        answers = self.settle(patience_s)
        problems = [
            f"MLflow at {redacted(address())}: {child.refused or 'does not answer'}; {_unsent(child)}"
            for child in self._children.values()
            if not child.settled and not child.lost
        ]
        if artefacts is not None and answers:
            problems += self._keep(self.tree.parent_id, artefacts)
        while True:
            try:
                with explained("end the campaign's run"):
                    self.tree.end(status)
                return problems
            except TrackingUnavailable as error:
                if time.monotonic() > deadline:
                    return [*problems, str(error)]
                time.sleep(ASK_AGAIN_S)

    def _keep(self, run_id: str, path: Path) -> list[str]:
        """A file or a folder's files, kept with a run; a line where that cannot be."""
        try:
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path))
            else:
                self._client.log_artifact(run_id, str(path))
        except Exception as error:  # each kind of artefact store raises its own; the run must end all the same
            return [
                f"MLflow at {redacted(address())}: {path} was not stored with its run"
                f" ({type(error).__name__}: {one_line(error)}); what lies there is whole"
            ]
        return []

    # --- the sender --------------------------------------------------------------------------------------------------

    def _send_forever(self) -> None:
        while not self._closed.is_set():
            self._wake.wait(SEND_EVERY_S if self._silent_since is None else RETRY_AFTER_S)
            self._wake.clear()
            if self._closed.is_set():
                return
            self._send()
            if self._silent_since is not None:
                self._closed.wait(RETRY_AFTER_S)

    def _send(self) -> bool:
        """Send what waits, and the heartbeats; False while something still waits."""
        with self._sending:
            for child in list(self._children.values()):
                if child.refused or child.lost:
                    continue
                if not self._answered(lambda child=child: self._look_after(child), child):  # type: ignore[misc]
                    return False
            if not self._answered(self._look_after_the_campaign):
                return False
        return all(child.settled or child.lost or child.refused for child in list(self._children.values()))

    def _answered(self, act: Callable[[], None], child: _Child | None = None) -> bool:
        """Whether the store has answered; what it refuses for good is said once, and not asked again."""
        from mlflow.exceptions import MlflowException

        try:
            act()
        except (MlflowException, OSError) as error:
            if getattr(error, "error_code", "") in REFUSALS:
                what = "the campaign's run"
                if child is not None:
                    child.refused, what = one_line(error), f"{child.job.name} ({child.key})"
                self._once(f"MLflow refuses {what}: {one_line(error)}")
                return True
            if self._silent_since is None:
                self._silent_since = time.monotonic()
                self._say(f"MLflow at {redacted(address())} does not answer: training goes on, rows wait")
            return False
        if self._silent_since is not None:
            self._say(f"MLflow answers again after {time.monotonic() - self._silent_since:.0f} s: rows are sent")
            self._silent_since = None
        return True

    def _look_after(self, child: _Child) -> None:
        """A heartbeat where one is due, then what waits. A run that another launch has taken over is left to it."""
        if child.settled and child.end is not None:
            return
        if _is_due(child.beat_at):
            if self._is_lost(child):
                return
            claims.beat(self._client, child.run_id, self.me, child.step, child.left_s)
            child.beat_at = time.time()
        if not child.settled:
            self._settle(child)

    def _is_lost(self, child: _Child) -> bool:
        """Whether another launch has taken a run of ours over: nothing of it is written any more, and that is said."""
        if claims.is_lost(self._client.get_run(child.run_id), self.me):
            child.lost = True
            self._once(f"{child.job.name}: another launch has taken it over, this one leaves it to that")
        return child.lost

    def _look_after_the_campaign(self) -> None:
        if _is_due(self._parent_beat_at) and not self._closed.is_set():
            claims.beat(self._client, self.tree.parent_id, self.me)
            self._parent_beat_at = time.time()
        for row in sorted(self._changed_rows):
            self.tree.summarise(row)
            with self._lock:
                self._changed_rows.discard(row)

    def _settle(self, child: _Child) -> None:
        """Bring MLflow to what is known of this child. Every step may be repeated; none doubles anything."""
        from mlflow.entities import Metric, Param, RunTag

        with self._lock:
            rows, tags, end = list(child.pending), dict(child.tags), child.end
            over = end is not None and end[0] in ("FINISHED", "FAILED")
            settings = {name: text for name, text in child.params.items() if over or AT_THE_END.get(name) != text}
            artefacts = list(child.artefacts)
        points: dict[tuple[str, int], Metric] = {}
        for row in rows:
            for name, value in row.metrics.items():
                if not math.isfinite(value):
                    tags.setdefault("non_finite", f"{name} at step {row.step}")
                    self._once(
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
            for problem in self._keep(child.run_id, path):
                self._once(problem)
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

    def _once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._say(text)


def _unsent(child: _Child) -> str:
    """What MLflow was not told of a run, and what to do."""
    name, rows = f"{child.job.name} ({child.key})", len(child.pending)
    if not rows:
        return f"how {name} ended was not recorded; run the command again"
    return f"{rows:,} rows of {name} were not sent and remain in its metrics.jsonl; run the command again"


def _is_due(beat_at: float) -> bool:
    """Whether it is time for a heartbeat. By the clock on the wall: the others stand still while a laptop sleeps."""
    return abs(time.time() - beat_at) >= claims.BEAT_S
