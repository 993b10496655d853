"""What there is to run on: this machine, or a Ray cluster. Ray is brought up, joined and left here.

Ray is imported inside functions: it takes 2 s, and `--list` does not need it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

OBJECT_STORE_BYTES = 200 * 1024**2  # rows are all that passes through it; Ray's default is a third of the memory
ASKED_WITHIN_S = 20  # nvidia-smi


class NoCluster(ValueError):
    """RAY_ADDRESS names no Ray cluster that answers."""


@dataclass(frozen=True)
class Machines:
    """What Ray has to offer, and which Ray it is, in words."""

    cpus: int
    gpus: int
    where: str


@dataclass(frozen=True)
class Found:
    """What there is, before any Ray of ours is up."""

    gpus: tuple[str, ...]  # names, of this machine or of the Ray cluster ("" each, it does not say)
    cluster: Machines | None  # where one is running

    @property
    def machines(self) -> Machines:
        """The running cluster, else what a local Ray would have."""
        return self.cluster or this_machine(len(self.gpus))


def find_machines() -> Found:
    """What a running Ray cluster has, else this machine. Starts no Ray. Raises NoCluster."""
    named = os.environ.get("RAY_ADDRESS", "")
    if named != "local" and (named or _note().is_file()):
        cluster = _look_at_cluster(named)
        if cluster is not None:
            return Found(("",) * cluster.gpus, cluster)
    return Found(_gpus_here(), None)


def this_machine(gpus: int) -> Machines:
    """What a local Ray would have, without bringing one up."""
    import ray

    return Machines(cpus=int(ray._private.utils.get_num_cpus()), gpus=gpus, where="this machine")


def _gpus_here() -> tuple[str, ...]:
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=ASKED_WITHIN_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    names = [name.strip() for name in asked.stdout.splitlines() if name.strip()] if asked.returncode == 0 else []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(names)
    return tuple(names[: len([device for device in visible.split(",") if device.strip() not in ("", "-1")])])


def _look_at_cluster(named: str) -> Machines | None:
    """What the running cluster has; None where only a note of one that has ended is left. Raises NoCluster."""
    os.environ["RAY_ADDRESS"] = named or "auto"  # join only: without it a Ray of our own would be started
    try:
        with cluster() as machines:
            return machines
    except NoCluster:
        if named:
            raise
        return None
    finally:
        if not named:
            del os.environ["RAY_ADDRESS"]


# --- Ray -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def cluster() -> Iterator[Machines]:
    """A Ray to work with: the one this process has, else the cluster of RAY_ADDRESS or of `ray start`, else our own.

    What it brought up or joined it leaves at the end. Raises NoCluster.
    """
    import ray

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
            with _apart():
                ray.init(address="local", object_store_memory=OBJECT_STORE_BYTES, include_dashboard=False, **quiet)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # ray.init has put its own in its place
        _silence()
        yield _machines(f"the Ray cluster at {address}" if address else "a local Ray")
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """What Ray starts meanwhile is a process group of its own.

    A closed terminal, `timeout` and batch systems signal a whole group: Ray would be gone before this process could end
    its runs, and the wait for it ends in Ray's abort a minute later. Whatever ends this process still ends Ray.
    """
    from ray._private import services

    usual = services.ConsolePopen

    def started(*args: Any, **options: Any) -> Any:
        return usual(*args, process_group=0, **options)

    services.ConsolePopen = started
    try:
        yield
    finally:
        services.ConsolePopen = usual


def _silence() -> None:
    """Keep Ray's words about a dead worker off the screen; the driver has its own. `log_to_driver` leaves these two."""
    import ray

    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ray._private.worker.print_to_stdstream = lambda *_, **__: None


def _machines(where: str) -> Machines:
    import ray

    has = ray.cluster_resources()
    return Machines(cpus=int(has.get("CPU", 0)), gpus=int(has.get("GPU", 0)), where=where)


def _note() -> Path:
    """Where `ray start` notes the cluster that it has brought up on this machine."""
    return Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")


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
    note = _note()
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


def give_back_what_the_dead_hold() -> None:
    """Remove this job's placement groups whose creators, Ray Train controllers, are dead.

    Killed, a controller leaves its workers' CPUs and GPUs reserved until the job ends, and the run's next try waits for
    them. Ray's own cleaner asks the dashboard whether the controller lives, and gives up where there is none, or a
    second Ray on the machine.
    """
    import ray
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData
    from ray.util.placement_group import PlacementGroup, remove_placement_group

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
