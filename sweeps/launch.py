"""The only door to Ray Tune: brings Ray up, runs a study's jobs as trials of a plain grid, and takes it down again.

What to start, and how many at once, is decided by `arrange`, a pure function; the rest acts. Tune schedules and
retries; what a run is, and whether it is done, MLflow and the run's folder know, never Tune's own files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from sweeps.plan import Job
from sweeps.progress import Progress
from sweeps.puzzles import BuiltSet
from sweeps.tracking import Measurement, Tracker, process_lives
from sweeps.worker import (
    MAX_FAILURES,
    Task,
    earlier_failure,
    note_failure,
    read_journal,
    train_inline,
    train_with_workers,
)

QUIET = {  # set before Ray is imported; what the user has set stays
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else a FutureWarning at every start
    "RAY_TRAIN_V2_ENABLED": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard copies of every row
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours ends cleanly
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",  # we never restore Tune's own state
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "60",
}
for _name, _value in QUIET.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # noqa: E402
from ray.util.placement_group import PlacementGroup, remove_placement_group  # noqa: E402

LauncherName = Literal["train", "inline"]
GIVE_BACK_EVERY_S = 1.0
OBJECT_STORE_BYTES = 200 * 1024**2  # rows are all that passes through it; Ray's default is a third of the memory


class NoCluster(ValueError):
    """RAY_ADDRESS names no Ray cluster that answers."""


class NotEnoughMachines(ValueError):
    """A run asks for more than the cluster has."""


class ProcessDied(RuntimeError):
    """A run's process died as often as was allowed: killed, out of memory, its machine gone."""


class Interrupted(Exception):
    """Somebody wants the study to end now. An Exception, so that Tune gives back what its trials hold."""


@dataclass(frozen=True)
class Machines:
    """What Ray has to offer, and which Ray it is, in words."""

    cpus: int
    gpus: int
    where: str


@dataclass(frozen=True)
class Arrangement:
    """How runs are started: by which launcher, how many at once, and what each has."""

    launcher: LauncherName
    at_once: int
    workers: int  # processes per run
    use_gpu: bool  # one per worker


@dataclass(frozen=True)
class Outcome:
    """How a launch ended, by key."""

    finished: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)  # key → reason, one line
    interrupted: bool = False


# --- deciding --------------------------------------------------------------------------------------------------------


def arrange(machines: Machines, jobs: int, launcher: LauncherName | None = None, workers: int = 1) -> Arrangement:
    """Which launcher, and how many runs at once.

    Train where there are GPUs or a run has several workers: its start-up of 11-18 s is nothing beside those. Inline
    elsewhere, each run on one CPU: as many at once as there are CPUs, so that threads never outnumber them and a run
    computes the same bits whatever runs beside it. Raises NotEnoughMachines.
    """
    if workers < 1:
        raise NotEnoughMachines(f"--workers {workers}: a run needs at least one; set it to 1 or more")
    chosen: LauncherName = launcher or ("train" if machines.gpus or workers > 1 else "inline")
    if chosen == "inline" and workers > 1:
        raise NotEnoughMachines(
            f"--workers {workers} with --launcher inline: inline trains a run in one process;"
            " set --launcher train or --workers 1"
        )
    places, kind = (machines.gpus, "GPUs") if machines.gpus else (machines.cpus, "CPUs")
    if workers > min(places, machines.cpus):
        raise NotEnoughMachines(
            f"--workers {workers}: {machines.where} has {machines.gpus} GPUs and {machines.cpus} CPUs, and each worker"
            f" needs a CPU and, where there are GPUs, a GPU; set --workers to at most {min(places, machines.cpus)}"
            if places and machines.cpus
            else f"{machines.where} has no {kind}; add a machine to the cluster"
        )
    at_once = min(places, machines.cpus) // workers
    return Arrangement(chosen, max(1, min(at_once, jobs)), workers, use_gpu=machines.gpus > 0)


# --- Ray -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def cluster() -> Iterator[Machines]:
    """A Ray to work with: the one this process has, else the cluster of RAY_ADDRESS or of `ray start`, else our own.

    What it brought up or joined it leaves at the end. Raises NoCluster.
    """
    if ray.is_initialized():
        yield _machines("this process's Ray")
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    address = _running_cluster()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address is not None:
            try:
                ray.init(address=address, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise NoCluster(
                    f"{address}: cannot join this Ray cluster ({' '.join(str(error).split())[:200]}); run"
                    " the command on one of its machines, with the same Ray version, or unset RAY_ADDRESS"
                ) from None
        else:
            here = str(Path(__file__).resolve().parents[1])  # workers import us as we are, installed or not
            known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
            if here not in known:
                os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, known)])
            ray.init(address="local", object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False, **quiet)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # ray.init has put its own in its place
        _silence()
        yield _machines(f"the Ray cluster at {address}" if address else "a local Ray")
    finally:
        ray.shutdown()


def _silence() -> None:
    """Keep Ray's words about a dead worker off the screen; `_Watch` has its own. `log_to_driver` leaves these two."""
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ray._private.worker.print_to_stdstream = lambda *_, **__: None


def _running_cluster() -> str | None:
    """RAY_ADDRESS, else what `ray start` noted on this machine if it still answers. Raises NoCluster.

    Ray's own "auto" also takes the private Ray of another command on this machine, which ends when that one does.
    """
    named = os.environ.get("RAY_ADDRESS", "")
    if named == "local":
        return None
    if "://" in named:
        raise NoCluster(f"RAY_ADDRESS={named}: expected host:port; to start from outside, use `ray job submit` instead")
    if named and named != "auto":
        if not _answers(named):
            raise NoCluster(f"RAY_ADDRESS={named}: nothing answers; start the cluster, or unset RAY_ADDRESS")
        return named
    note = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    noted = note.read_text().strip() if note.is_file() else ""
    if noted and _answers(noted):
        return noted
    if named == "auto":
        raise NoCluster("RAY_ADDRESS=auto: no cluster runs on this machine; start it with `ray start`, or unset it")
    return None


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return True
    except (OSError, ValueError):
        return False


def this_machine(gpus: int) -> Machines:
    """What a local Ray would have, without bringing one up."""
    return Machines(cpus=int(ray._private.utils.get_num_cpus()), gpus=gpus, where="this machine")


def _machines(where: str) -> Machines:
    has = ray.cluster_resources()
    return Machines(cpus=int(has.get("CPU", 0)), gpus=int(has.get("GPU", 0)), where=where)


def _give_back() -> None:
    """Remove this job's placement groups whose creators, Ray Train controllers, are dead.

    Killed, a controller leaves its workers' CPUs and GPUs reserved until the job ends, and the run's next try waits for
    them. Ray's own cleaner asks the dashboard whether the controller lives, and gives up where there is none, or a
    second Ray on the machine.
    """
    job = ray.get_runtime_context().get_job_id()
    for row in ray._private.state.state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(row)
        if (
            ray.JobID(group.creator_job_id).hex() == job
            and not ray.ActorID(group.creator_actor_id).is_nil()
            and group.creator_actor_dead
            and group.state != PlacementGroupTableData.REMOVED
        ):
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))


# --- running ---------------------------------------------------------------------------------------------------------


def launch(
    jobs: Sequence[Job],
    *,
    sets: Mapping[str, BuiltSet],
    out: Path,
    tracker: Tracker,
    progress: Progress,
    launcher: LauncherName | None = None,
    workers: int = 1,
) -> Outcome:
    """Train every job, tell tracker and progress of it, and say how it ended. Each job's files: <out>/runs/<key>/.

    sets: each job's puzzles, by its key. A failed run stops no other. Ctrl-C and SIGTERM end within seconds, with what
    is unfinished KILLED; a second one ends at once. Raises NoCluster, NotEnoughMachines.
    """
    if not jobs:
        return Outcome()
    watch = _Watch({job.key: job for job in jobs}, sets, out / "runs", tracker, progress)
    with _signals(watch.interrupt):
        try:
            with cluster() as machines:
                arrangement = arrange(machines, len(jobs), launcher, workers)
                progress.say(_in_words(arrangement, machines))
                _fit(jobs, arrangement, out, watch)
        except Exception:  # Interrupted, in whatever Tune has wrapped it
            if not watch.interrupted:
                raise
            watch.kill_running()
    return Outcome(tuple(watch.finished), watch.failed, watch.interrupted)


def _fit(jobs: Sequence[Job], arrangement: Arrangement, out: Path, watch: _Watch) -> None:
    """One Tune trial per job."""
    device = "cuda" if arrangement.use_gpu else "cpu"
    tasks = {
        job.key: Task(
            job.key,
            job.run,
            watch.sets[job.key].folder.resolve(),
            watch.runs.resolve() / job.key,
            1,
            watch.launch,
            device,
        )
        for job in jobs
    }
    with _storage(out) as storage:
        trial: Callable[[dict[str, Any]], None]
        if arrangement.launcher == "inline":

            def trial(config: dict[str, Any]) -> None:
                train_inline(tasks[config["key"]])

            needs = {"CPU": 1.0, "GPU": 1.0} if arrangement.use_gpu else {"CPU": 1.0}
        else:

            def trial(config: dict[str, Any]) -> None:
                train_with_workers(
                    tasks[config["key"]], workers=arrangement.workers, use_gpu=arrangement.use_gpu, storage=storage
                )

            needs = {"CPU": 0.0, "node:__internal_head__": 0.001}  # it only waits: a CPU of its own could deadlock
        watch.check()
        tune.Tuner(
            tune.with_resources(trial, needs),
            param_space={"key": tune.grid_search([job.key for job in jobs])},
            tune_config=tune.TuneConfig(
                max_concurrent_trials=arrangement.at_once,
                reuse_actors=arrangement.launcher == "inline",
                trial_name_creator=lambda trial: str(trial.config["key"]),
                trial_dirname_creator=lambda trial: str(trial.config["key"]),
            ),
            run_config=tune.RunConfig(
                name="trials",
                storage_path=str(storage),
                failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
                callbacks=[watch],
                verbose=0,
                log_to_file=False,
            ),
        ).fit()


class _Watch(tune.Callback):  # type: ignore[misc]  # Ray is not typed
    """Hears from Tune, in the driver, and tells tracker and progress."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        sets: Mapping[str, BuiltSet],
        runs: Path,
        tracker: Tracker,
        progress: Progress,
    ) -> None:
        self.jobs, self.sets, self.runs, self.tracker, self.progress = jobs, sets, runs, tracker, progress
        self.launch = uuid.uuid4().hex
        self.finished: list[str] = []
        self.failed: dict[str, str] = {}
        self.running: set[str] = set()
        self.interrupted = False
        self._failures: dict[str, str] = {}  # reported by the run itself
        self._told: dict[str, int] = {}  # the last step that came through Tune
        self._gave_back_at = 0.0

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        """Tune writes its callbacks to disk, to restore them one day: ours stays here, an empty one goes there."""
        return tune.Callback, ()

    def interrupt(self) -> None:
        """End at the next step of Tune's loop."""
        self.interrupted = True

    def check(self) -> None:
        """Raise Interrupted if somebody asked for it."""
        if self.interrupted:
            raise Interrupted

    def kill_running(self) -> None:
        """What is under way counts as killed."""
        for key in sorted(self.running):
            self.tracker.finish(key, "KILLED")
        self.running.clear()

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Tune's loop has turned."""
        if self.interrupted:
            for trial in trials:
                if trial.temporary_state.ray_actor is not None:
                    ray.kill(trial.temporary_state.ray_actor)
        self.check()
        if time.monotonic() - self._gave_back_at > GIVE_BACK_EVERY_S:
            _give_back()
            self._gave_back_at = time.monotonic()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A run begins, or begins again."""
        self._begin(self.jobs[trial.config["key"]])

    def _begin(self, job: Job) -> None:
        self.running.add(job.key)
        of = self.sets[job.key]
        self.tracker.child(job, of.content_hash, tags=of.tags)
        work = float(job.run.train_flops() * job.run.train.batch_size * job.run.train.steps)
        self.progress.begin(job.key, f"{job.row} seed {job.seed}", job.run.train.steps, work)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Rows, the device, a torn checkpoint, or the reason why a run failed."""
        key = trial.config["key"]
        self._log(key, [Measurement(*row) for row in result.get("rows", ())])
        if "device" in result:
            self.tracker.tag(key, {"device": result["device"]})
        for torn in result.get("torn", ()):
            self.progress.say(f"{self.jobs[key].row} seed {self.jobs[key].seed}: {torn}")
            self.tracker.tag(key, {"torn_checkpoint": torn})
        if "failure" in result:
            self._failures[key] = result["failure"]

    def _log(self, key: str, rows: Sequence[Measurement]) -> None:
        if rows:
            self.tracker.log(key, rows)
            self._told[key] = rows[-1].step
        for row in rows:
            self.progress.update(key, row.step, row.metrics)

    def _catch_up(self, key: str) -> None:
        """The journal's rows that never came through Tune.

        Train's poll looks for a report first and whether the worker has ended second: one between the two is lost.
        """
        told = self._told.get(key, -1)
        self._log(key, [row for row in read_journal(self.runs / key / "metrics.jsonl") if row.step > told])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A run has come to its end, or has said why it could not."""
        if self.interrupted:
            return
        key = trial.config["key"]
        if key in self._failures:
            self._fail(key, self._failures[key])
            return
        self._catch_up(key)
        self.running.discard(key)
        self.finished.append(key)
        self.tracker.finish(key, "FINISHED")
        self.progress.end(key)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A run's process died once too often, or could not be started at all."""
        if self.interrupted:
            return
        key = trial.config["key"]
        if key not in self.running:
            self._begin(self.jobs[key])
        folder = self.runs / key
        self._fail(
            key,
            earlier_failure(folder, self.launch)
            or note_failure(
                folder,
                self.launch,
                ProcessDied(
                    f"its process ended {trial.num_failures} times; the last time Ray said: {trial.get_error()}"
                ),
            ),
        )

    def _fail(self, key: str, reason: str) -> None:
        self._catch_up(key)
        self.running.discard(key)
        self.failed[key] = reason
        self.tracker.finish(key, "FAILED", reason=reason)
        self.progress.end(key, failure=reason)


def _in_words(arrangement: Arrangement, machines: Machines) -> str:
    each = "in one process" if arrangement.launcher == "inline" else f"on {arrangement.workers} Ray Train worker(s)"
    device = "GPU" if arrangement.use_gpu else "CPU"
    return (
        f"On {machines.where} ({machines.cpus} CPUs, {machines.gpus} GPUs): {arrangement.at_once} run(s) at once,"
        f" each {each}, {device}"
    )


@contextlib.contextmanager
def _storage(out: Path) -> Iterator[Path]:
    """Where Tune and Train keep their own files while they run; also what commands that died left there is removed."""
    parent = out.resolve() / "ray"
    here = f"{socket.gethostname()}-"
    for old in parent.glob(f"{here}*"):
        pid = old.name.removeprefix(here)
        if pid.isdigit() and not process_lives(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    mine = parent / f"{here}{os.getpid()}"
    mine.mkdir(parents=True, exist_ok=True)
    try:
        yield mine
    finally:
        shutil.rmtree(mine, ignore_errors=True)
        with contextlib.suppress(OSError):  # another command's files lie there too
            parent.rmdir()


@contextlib.contextmanager
def _signals(interrupt: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal ask for an end; the second time they have their usual, sudden effect.

    What is ignored stays so: nohup.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asking = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    watched = [number for number in asking if signal.getsignal(number) is not signal.SIG_IGN]

    def heard(number: int, _: FrameType | None) -> None:
        interrupt()
        for each in watched:
            signal.signal(each, signal.SIG_DFL)

    before = {number: signal.signal(number, heard) for number in watched}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
