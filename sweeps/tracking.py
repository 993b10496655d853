"""The only door to MLflow, in and out: one experiment per study, one parent run per launch, one child per run key.

A child is found by its key before it is created, in one place only, so a run is never there twice. What is written
waits in memory and is sent by one thread, in batches: training never waits for the store, and an outage costs nothing
but time. MLflow is imported inside functions: it takes 2.5 s, and `--list` does not need it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import math
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from sweeps.plan import Job
    from trm_core.config import RunConfig

DEFAULT_ADDRESS = "sqlite:///mlflow.db"
Status = Literal["FINISHED", "FAILED", "KILLED"]
BATCH = 1000  # metrics per request: MLflow's limit
PAGE = 1000  # runs per answer
SEND_EVERY_S = 1.0
RETRY_AFTER_S = 5.0  # between attempts while the store does not answer
REFUSALS = {  # error codes that no waiting mends; every other error counts as an outage
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "PERMISSION_DENIED",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
    "UNAUTHENTICATED",
}
ADVICE = "set MLFLOW_TRACKING_URI to a running server (http://host:5000) or to a file (sqlite:///mlflow.db)"
VERSIONS_OF = ("torch", "ray", "numpy", "mlflow")


class TrackingUnavailable(ValueError):
    """The MLflow address answers nothing, cannot be written, or is none. One line."""


class Measurement(NamedTuple):
    """What was measured at one step, and when. Sent twice with the same time, MLflow stores it once."""

    step: int
    time_ms: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class RunRecord:
    """One child run as MLflow has it; metrics are the last values, fractions inside."""

    key: str
    study: str
    row: str
    base: str
    profile: str
    seed: int
    status: str  # "FINISHED", "RUNNING", "FAILED" or "KILLED"
    run_id: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    started: datetime
    ended: datetime | None


# --- reading ---------------------------------------------------------------------------------------------------------


def address() -> str:
    """Where the runs are: MLFLOW_TRACKING_URI, else a SQLite file in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_ADDRESS


def read_runs(study: str, profile: str) -> list[RunRecord]:
    """The child runs of a study in a profile, one per key: the newest, a FINISHED one before any other.

    Raises TrackingUnavailable. A SQLite file that is not there holds no runs, and is not created.
    """
    if (path := sqlite_path(address())) is not None and not path.exists():
        return []
    client = connect(address())
    with _explained("read the runs"):
        experiment = client.get_experiment_by_name(study)
        if experiment is None:
            return []
        found = _search(
            client, [experiment.experiment_id], f"tags.profile = '{_quoted(profile)}' AND tags.key LIKE '%'"
        )
        return list(_one_per_key(_record(run, study) for run in found).values())


def read_curve(run_id: str, metric: str) -> list[tuple[int, float]]:
    """A metric of a run as (step, value), steps ascending, one point per step; of a reused run, its origin's."""
    client = connect(address())
    with _explained(f"read {metric} of run {run_id}"):
        points = {point.step: point.value for point in client.get_metric_history(run_id, metric)}
        if len(points) <= 1 and (origin := client.get_run(run_id).data.tags.get("reused_from")):
            points = {point.step: point.value for point in client.get_metric_history(origin, metric)} or points
    return sorted(points.items())


def _one_per_key(records: Iterable[RunRecord]) -> dict[str, RunRecord]:
    best: dict[str, RunRecord] = {}
    for record in sorted(records, key=lambda record: (record.status == "FINISHED", record.started)):
        best[record.key] = record
    return best


def _record(run: Run, study: str) -> RunRecord:
    tags = run.data.tags
    ended = run.info.end_time if run.info.status != "RUNNING" else None
    return RunRecord(
        key=tags["key"],
        study=tags.get("study", study),
        row=tags.get("row", ""),
        base=tags.get("base", ""),
        profile=tags.get("profile", ""),
        seed=int(tags.get("seed", 0)),
        status=run.info.status,
        run_id=run.info.run_id,
        tags=dict(tags),
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        ended=datetime.fromtimestamp(ended / 1000, UTC) if ended else None,
    )


def _search(client: MlflowClient, experiments: list[str], wanted: str) -> Iterator[Run]:
    """All runs that match, newest first, one request per page."""
    token: str | None = None
    while experiments:
        page = client.search_runs(
            experiments, wanted, max_results=PAGE, order_by=["attributes.start_time DESC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _quoted(text: str) -> str:
    return text.replace("'", "")  # MLflow's filter language has no escape; keys and profiles hold no quotes


# --- the address -----------------------------------------------------------------------------------------------------


def sqlite_path(uri: str) -> Path | None:
    """The file behind sqlite:///… , else None."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def connect(uri: str) -> MlflowClient:
    """A client whose address has answered once. Raises TrackingUnavailable within about 15 s, one line."""
    _check(uri)
    for name, value in {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's own patience is 4 minutes a call; ours is the sender's
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "6",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for chatter in ("mlflow", "alembic"):
        logging.getLogger(chatter).setLevel(logging.ERROR)
    with _explained("look for experiments"), _alone(sqlite_path(uri)):
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client


@contextlib.contextmanager
def _alone(path: Path | None) -> Iterator[None]:
    """One after the other where commands meet in a new SQLite file: MLflow takes another's half-made tables for old.

    The folder is locked, so no lock file stays behind.
    """
    if path is None:
        yield
        return
    folder = os.open(path.resolve().parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system that locks no folders
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def check_address() -> None:
    """See that runs can be recorded; creates nothing, not even the SQLite file. Raises TrackingUnavailable."""
    path = sqlite_path(address())
    if path is None or not path.name or path.exists():
        connect(address())
    elif not os.access(path.resolve().parent, os.W_OK):
        raise TrackingUnavailable(_cannot_write(address(), path, "no folder there, or one that may not be written"))


def _check(uri: str) -> None:
    """What can be seen of an address without MLflow. Raises TrackingUnavailable."""
    scheme, colon, _ = uri.partition(":")
    if not colon or scheme.partition("+")[0] not in ("http", "https", "sqlite", "postgresql", "mysql", "mssql"):
        raise TrackingUnavailable(f"{uri}: no MLflow address (expected http://, https:// or sqlite:///); {ADVICE}")
    if scheme == "sqlite":
        path = sqlite_path(uri)
        if path is None or not path.name:
            raise TrackingUnavailable(f"{uri}: no path (expected sqlite:///file or sqlite:////absolute/file); {ADVICE}")
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=10)) as database:
                database.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise TrackingUnavailable(_cannot_write(uri, path, str(error))) from None
        return
    try:
        parts = urlsplit(uri)
        if scheme in getproxies() and not proxy_bypass(parts.hostname or ""):
            return  # MLflow goes through the proxy, and says itself what it finds there
        port = (
            parts.port
            or {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}[scheme.partition("+")[0]]
        )
        with socket.create_connection((parts.hostname or "", port), timeout=5):
            pass
    except (OSError, ValueError) as error:
        raise TrackingUnavailable(f"{_shown(uri)}: nothing answers ({error}); start the server or {ADVICE}") from None


def _cannot_write(uri: str, path: Path, why: str) -> str:
    return f"{uri}: cannot write {path} ({why}); expected a file in an existing, writable folder; {ADVICE}"


def _shown(uri: str) -> str:
    """The address without a password."""
    head, at, tail = uri.rpartition("@")
    return f"{head.partition('://')[0]}://…@{tail}" if at else uri


@contextlib.contextmanager
def _explained(doing: str) -> Iterator[None]:
    """MLflow's errors, its store's and those of a database driver that is not there as one line."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        reason = " ".join(str(error).split())[:300]
        raise TrackingUnavailable(
            f"{_shown(address())}: MLflow could not {doing} ({reason}); see that it is an MLflow store of this version"
            " and that MLFLOW_TRACKING_URI names the right one"
        ) from None


# --- writing ---------------------------------------------------------------------------------------------------------


@dataclass
class _Child:
    """One child run: what is known of it, and what waits to be sent."""

    key: str
    name: str
    tags: dict[str, str]  # to be set
    params: dict[str, str]
    started_ms: int
    run_id: str | None = None
    stored: set[tuple[str, int]] = field(default_factory=set)  # (metric, step) that MLflow has
    pending: list[Measurement] = field(default_factory=list)
    end: tuple[Status, int] | None = None  # status, time [ms]
    refused: str | None = None
    settled: bool = False  # nothing waits


class Tracker:
    """One launch of a study in MLflow. Use as a context manager: whatever ends it, no run is left RUNNING."""

    def __init__(
        self, client: MlflowClient, experiment_id: str, study: str, profile: str, say: Callable[[str], None]
    ) -> None:
        self.study, self.profile = study, profile
        self.parent_id = ""
        self._client, self._experiment_id, self._say = client, experiment_id, say
        self._children: dict[str, _Child] = {}
        self._lock = threading.Lock()  # guards what waits; never held while MLflow is spoken to
        self._sending = threading.Lock()  # one sender at a time
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._silent_since: float | None = None  # the store does not answer
        self._warned: set[str] = set()
        self._launch_lock: _LaunchLock | None = None
        self._common = _provenance()
        self._thread = threading.Thread(target=self._send_forever, name="mlflow sender", daemon=True)

    @classmethod
    def open(
        cls,
        study: str,
        profile: str,
        *,
        out: Path,
        command: Sequence[str] = (),
        say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
    ) -> Self:
        """Check the address, find or create the experiment, clear up after dead launches, create this launch's run.

        out: the results folder; a lock below it tells the next command whether this one still lives.
        Raises TrackingUnavailable, one line, within about 15 s.
        """
        client = connect(address())
        with _explained("create the experiment and the launch's run"):
            tracker = cls(client, _experiment(client, study), study, profile, say)
            tracker._end_dead_launches()
            now = datetime.now(UTC)
            tracker.parent_id = client.create_run(
                tracker._experiment_id,
                start_time=_now_ms(),
                run_name=f"{profile} {now:%Y-%m-%d %H:%M:%S}",
                tags={
                    "launch": " ".join(command) or " ".join(sys.argv),
                    "study": study,
                    "profile": profile,
                    "out": str(out.resolve()),
                    "host": socket.gethostname(),
                    "pid": str(os.getpid()),
                    **tracker._common,
                },
            ).info.run_id
            tracker._launch_lock = _LaunchLock.take(out / "launches" / f"{tracker.parent_id}.lock")
            client.set_tag(tracker.parent_id, "lock", str(tracker._launch_lock.path.resolve()))
        tracker._thread.start()
        return tracker

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self._closed.is_set():
            killed = kind is None or issubclass(kind, KeyboardInterrupt)
            for problem in self.close("KILLED" if killed else "FAILED"):
                self._say(problem)

    def child(self, job: Job, data_hash: str, *, tags: Mapping[str, str] | None = None) -> None:
        """A run begins, or begins again: its child is found by its key and set RUNNING, or created."""
        with self._lock:
            known = self._children.get(job.key)
            if known is not None:  # its process died and Tune began it again
                known.end, known.settled = None, False
                return
            self._children[job.key] = _Child(
                key=job.key,
                name=f"{job.row} seed {job.seed}",
                tags={
                    "key": job.key,
                    "study": job.study,
                    "row": job.row,
                    "base": job.base,
                    "profile": job.profile,
                    "seed": str(job.seed),
                    "data": data_hash,
                    "mlflow.parentRunId": self.parent_id,
                    **self._common,
                    **(tags or {}),
                },
                params=_params(job.run),
                started_ms=_now_ms(),
            )
        self._wake.set()

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Tags for a run that has a child."""
        with self._lock:
            child = self._children[key]
            child.tags.update(tags)
            child.settled = False

    def log(self, key: str, rows: Iterable[Measurement]) -> None:
        """Rows of a run that has a child: sent soon, in batches; what MLflow has already is not sent again."""
        with self._lock:
            child = self._children[key]
            child.pending.extend(rows)
            child.settled = False

    def finish(self, key: str, status: Status, *, reason: str = "") -> None:
        """A run has ended; `reason` is what a failed one said."""
        with self._lock:
            child = self._children[key]
            child.end, child.settled = (status, _now_ms()), False
            if reason:
                child.tags["failure"] = reason
        self._wake.set()

    def elsewhere(self, keys: Iterable[str]) -> dict[str, RunRecord]:
        """Runs with these keys that another study, or another profile of this one, has FINISHED."""
        with _explained("look for finished runs"):
            names = {each.experiment_id: each.name for each in _experiments(self._client)}
            found = {}
            for key in keys:
                query = f"tags.key = '{_quoted(key)}' AND attributes.status = 'FINISHED'"
                records = [
                    _record(run, names.get(run.info.experiment_id, ""))
                    for run in _search(self._client, list(names), query)
                ]
                elsewhere = [
                    record
                    for record in records
                    if (record.study, record.profile) != (self.study, self.profile) and "reused_from" not in record.tags
                ]
                if elsewhere:
                    found[key] = elsewhere[0]
        return found

    def reuse(self, job: Job, data_hash: str, record: RunRecord, *, tags: Mapping[str, str] | None = None) -> None:
        """A finished child for a run that another study has trained: its final metrics, and `reused_from`."""
        origin = {"reused_from": record.run_id, "reused_from_study": record.study}
        if "device" in record.tags:
            origin["device"] = record.tags["device"]
        self.child(job, data_hash, tags={**(tags or {}), **origin})
        self.log(job.key, [Measurement(job.run.train.steps, _now_ms(), record.metrics)])
        self.finish(job.key, "FINISHED")

    def close(self, status: Status, artefacts: Path | None = None, *, patience_s: float = 20.0) -> list[str]:
        """Send what waits, end every run, log a folder to the launch's run. Returns what was not sent, a line each.

        Children that have not ended are KILLED: the next command picks them up. Waits patience_s for a silent store.
        """
        if self._closed.is_set():
            return []
        with self._lock:
            for child in self._children.values():
                if child.end is None:
                    child.end, child.settled = ("KILLED", _now_ms()), False
        self._closed.set()
        self._wake.set()
        self._thread.join()
        deadline = time.monotonic() + patience_s
        while not self._send() and time.monotonic() < deadline:
            time.sleep(min(1.0, patience_s))
        problems = [
            f"MLflow at {_shown(address())}: {child.refused or 'does not answer'}; {len(child.pending)} rows of"
            f" {child.name} ({child.key}) were not sent and remain in its metrics.jsonl; run the command again"
            for child in self._children.values()
            if not child.settled
        ]
        if artefacts is not None:
            try:
                self._client.log_artifacts(self.parent_id, str(artefacts))
            except Exception as error:  # each kind of artefact store raises its own; the run must end all the same
                reason = " ".join(str(error).split())[:300]
                problems.append(
                    f"MLflow at {_shown(address())}: {artefacts} was not stored with the launch's run"
                    f" ({type(error).__name__}: {reason}); the report in that folder is whole"
                )
        try:
            with _explained("end the launch's run"):
                self._client.set_terminated(self.parent_id, status)
        except TrackingUnavailable as error:
            problems.append(str(error))
        if self._launch_lock is not None:
            self._launch_lock.release()
        return problems

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
        """Send what waits; False while something still does."""
        from mlflow.exceptions import MlflowException

        with self._sending:
            for child in list(self._children.values()):
                if child.settled or child.refused:
                    continue
                try:
                    self._settle(child)
                except (MlflowException, OSError) as error:
                    reason = " ".join(str(error).split())[:300]
                    if getattr(error, "error_code", "") in REFUSALS:
                        child.refused = reason
                        self._once(f"MLflow refuses {child.name} ({child.key}): {reason}")
                        continue
                    if self._silent_since is None:
                        self._silent_since = time.monotonic()
                        self._say(f"MLflow at {_shown(address())} does not answer: training goes on, rows wait")
                    return False
                if self._silent_since is not None:
                    self._say(
                        f"MLflow answers again after {time.monotonic() - self._silent_since:.0f} s: rows are sent"
                    )
                    self._silent_since = None
        return all(child.settled for child in list(self._children.values()))  # the driver may add one meanwhile

    def _settle(self, child: _Child) -> None:
        """Bring MLflow to what is known of this child. Every step may be repeated; none doubles anything."""
        from mlflow.entities import Metric, Param, RunTag

        if child.run_id is None:
            child.run_id = self._find_or_create(child)
        with self._lock:
            rows, tags, params, end = list(child.pending), dict(child.tags), dict(child.params), child.end
        points: dict[tuple[str, int], Metric] = {}
        for row in rows:
            for name, value in row.metrics.items():
                if not math.isfinite(value):
                    tags.setdefault("non_finite", f"{name} at step {row.step}")
                    self._once(f"{child.name} ({child.key}): {name} is {value} at step {row.step}; tagged non_finite")
                elif (name, row.step) not in child.stored:
                    points.setdefault((name, row.step), Metric(name, value, row.time_ms, row.step))
        for batch in _batches(list(points.items()), BATCH):
            self._client.log_batch(child.run_id, metrics=[point for _, point in batch])
            child.stored.update(place for place, _ in batch)
        if tags or params:
            self._client.log_batch(
                child.run_id,
                params=[Param(name, value) for name, value in params.items()],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )
        if end is not None:
            self._client.set_terminated(child.run_id, *end)
        with self._lock:
            del child.pending[: len(rows)]
            child.params = {}
            child.tags = {name: value for name, value in child.tags.items() if tags.get(name) != value}
            child.settled = not child.pending and not child.tags and child.end == end

    def _find_or_create(self, child: _Child) -> str:
        """The child's run, RUNNING; of a run found, what it has is noted so that nothing is sent twice."""
        mine = f"tags.key = '{_quoted(child.key)}' AND tags.profile = '{_quoted(self.profile)}'"
        found = list(_search(self._client, [self._experiment_id], mine))
        if not found:
            run = self._client.create_run(
                self._experiment_id, start_time=child.started_ms, run_name=child.name, tags=child.tags
            )
            return str(run.info.run_id)
        run = found[0]
        run_id = str(run.info.run_id)
        self._client.update_run(run_id, status="RUNNING")
        for stale in ("failure", "non_finite"):
            if stale in run.data.tags:
                self._client.delete_tag(run_id, stale)
        for metric in run.data.metrics:
            child.stored.update((metric, point.step) for point in self._client.get_metric_history(run_id, metric))
        child.params = {name: value for name, value in child.params.items() if name not in run.data.params}
        return run_id

    def _end_dead_launches(self) -> None:
        """Launches that a crash left RUNNING, and their children, become KILLED; living ones are left alone."""
        unended = "attributes.status = 'RUNNING'"
        running: dict[str, list[str]] = defaultdict(list)
        parents = []
        for run in _search(self._client, [self._experiment_id], unended):
            if "launch" in run.data.tags:
                parents.append(run)
            else:
                running[run.data.tags.get("mlflow.parentRunId", "")].append(run.info.run_id)
        for parent in parents:
            tags = parent.data.tags
            if launch_is_dead(tags.get("lock"), tags.get("host", ""), tags.get("pid", "")):
                for run_id in [*running[parent.info.run_id], parent.info.run_id]:
                    self._client.set_terminated(run_id, "KILLED")

    def _once(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self._say(text)


class _LaunchLock:
    """A locked file that lives as long as this process: the kernel lets go of it, whatever ends the process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self._descriptor = path, descriptor

    @classmethod
    def take(cls, path: Path) -> _LaunchLock:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return cls(path, descriptor)

    def release(self) -> None:
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)


def launch_is_dead(lock: str | None, host: str, pid: str) -> bool:
    """Whether the launch that holds this lock file, or had this process id on this host, has ended without saying so.

    The lock answers wherever its file can be seen; else the process id, on its own host; else it counts as living.
    """
    if lock and Path(lock).exists():
        descriptor = os.open(lock, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
        Path(lock).unlink(missing_ok=True)
        return True
    return host == socket.gethostname() and pid.isdigit() and not process_lives(int(pid))


def process_lives(pid: int) -> bool:
    """Whether a process of this machine has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives, and belongs to someone else
    return True


def _experiment(client: MlflowClient, study: str) -> str:
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
    if experiment.lifecycle_stage != "active":
        raise TrackingUnavailable(
            f"{_shown(address())}: the experiment {study} is deleted; bring it back with"
            f" `mlflow experiments restore --experiment-id {experiment.experiment_id}`"
        )
    return str(experiment.experiment_id)


def _experiments(client: MlflowClient) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = client.search_experiments(max_results=PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _params(run: RunConfig) -> dict[str, str]:
    """Every setting, flat, as text that `--set` reads back; and what follows from them."""
    settings = {**run.flat(), "depth": run.model.depth, "parameters": run.parameters()}
    return {
        name: value if isinstance(value, str) else "none" if value is None else json.dumps(value)
        for name, value in settings.items()
    }


def _provenance() -> dict[str, str]:
    """Tags that are the same for all runs of a launch: commit, versions."""
    tags = {"version.python": sys.version.split()[0]}
    for package in VERSIONS_OF:
        with contextlib.suppress(PackageNotFoundError):
            tags[f"version.{package}"] = version(package)
    here = Path(__file__).resolve().parent
    tags["commit"] = _git(here, "rev-parse", "HEAD") or "unknown"
    changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    tags["dirty"] = "unknown" if changed is None else "yes" if changed else "no"
    return tags


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None where there is no git or no repository (an installed package)."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _now_ms() -> int:
    return int(time.time() * 1000)
