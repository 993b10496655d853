"""What there is to run on: this machine, or a Ray cluster. Ray is brought up, joined and left here.

Ray is imported inside functions: it takes 2 s, and `--list` does not need it.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from sweeps import joining, ray_internals
from sweeps.head import Starting
from sweeps.joining import NoCluster as NoCluster
from sweeps.joining import RayNotStarted as RayNotStarted
from sweeps.probe import OURS
from trm_core.command_line import USER_ERROR, refuse

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
NODES_ANSWER_WITHIN_S = 60  # a process starts on each first
A_LOCAL_RAY = "a local Ray"  # one that this command has started for itself
LOGICAL = "TRM_LOGICAL_GPUS"  # set to 1 where a Ray only counts GPUs: runs hold them, and compute on CPUs


@dataclass(frozen=True)
class Machines:
    """What Ray has to offer, and which Ray it is, in words."""

    cpus: int
    gpus: int
    where: str

    @property
    def device(self) -> str:
        """What runs compute on: "cuda" or "cpu"."""
        return "cuda" if self.gpus and os.environ.get(LOGICAL) != "1" else "cpu"


@dataclass(frozen=True)
class Wanted:
    """What was asked of the machines."""

    gpus: int | None = None  # to be used; None: all there are. 0: CPUs alone
    wait_s: float = 0.0  # for the first of them to come
    ship_code: bool = False  # Ray brings the driver's code to machines that have other code, or none


ALL_THERE_IS = Wanted()


class Gpu(NamedTuple):
    """A GPU, as nvidia-smi has it."""

    name: str
    free: int | None  # bytes; None: it does not say


@dataclass(frozen=True)
class Found:
    """What there is, before any Ray of ours is up."""

    gpus: tuple[str, ...]  # names, of this machine or of the Ray cluster ("" each, it does not say)
    cluster: Machines | None  # where one is running
    free: int | None = None  # bytes on the fullest of the GPUs; None: not known, or not asked for

    @property
    def machines(self) -> Machines:
        """The running cluster, else what a local Ray would have."""
        return self.cluster or this_machine(len(self.gpus))


class NotEnoughGpus(ValueError):
    """More GPUs were asked for than there are, and nobody brings any."""


def find_machines(*, ask_nodes: bool = False) -> Found:
    """What a running Ray cluster has, else this machine. Starts no Ray. Raises NoCluster.

    ask_nodes: every node of a cluster is asked what its GPUs have free, which takes some seconds.
    """
    named = os.environ.get("RAY_ADDRESS", "")
    if named != "local" and (named or joining.noted_address()):
        found = _look_at_cluster(named, ask_nodes)
        if found is not None:
            return found
    gpus = gpus_here()
    return Found(tuple(gpu.name for gpu in gpus), None, least_free(gpus))


def as_wanted(found: Found, wanted: Wanted) -> Found:
    """What there is of what was wanted: fewer GPUs, or those that a cluster is still to bring. Raises NotEnoughGpus."""
    if wanted.gpus is None:
        return found
    if wanted.gpus > len(found.gpus) and found.cluster is None:
        there = f"{len(found.gpus)} GPU(s)" if found.gpus else "no GPU"
        raise NotEnoughGpus(
            f"--gpus {wanted.gpus}: this machine has {there}; join a cluster that brings more (RAY_ADDRESS), or"
            f" {'ask for fewer' if found.gpus else 'leave it out'}"
        )
    gpus = (*found.gpus, *("",) * wanted.gpus)[: wanted.gpus]
    grown = found.cluster and replace(found.cluster, cpus=max(found.cluster.cpus, wanted.gpus), gpus=wanted.gpus)
    return replace(found, gpus=gpus, cluster=grown)


def this_machine(gpus: int) -> Machines:
    """What a local Ray would have, without bringing one up."""
    return Machines(cpus=ray_internals.cpus_here(), gpus=gpus, where="this machine")


def gpus_here() -> tuple[Gpu, ...]:
    """Those of this machine that CUDA_VISIBLE_DEVICES lets a process see."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.free", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=ASKED_WITHIN_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    gpus = read_gpus(asked.stdout) if asked.returncode == 0 else ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return gpus
    wanted = [device.strip() for device in visible.split(",") if device.strip() not in ("", "-1")]
    if all(device.isdigit() and int(device) < len(gpus) for device in wanted):
        return tuple(gpus[int(device)] for device in wanted)
    return gpus[: len(wanted)]


def read_gpus(said: str) -> tuple[Gpu, ...]:
    """nvidia-smi's lines "NAME, FREE [MiB]"."""
    lines = [line.rpartition(",") for line in said.splitlines() if line.strip()]
    return tuple(Gpu(name.strip(), int(free) * 1024**2 if free.strip().isdigit() else None) for name, _, free in lines)


def least_free(gpus: Sequence[Gpu]) -> int | None:
    """Bytes free on the fullest of them; None where any does not say."""
    free = [gpu.free for gpu in gpus if gpu.free is not None]
    return min(free) if free and len(free) == len(gpus) else None


def _look_at_cluster(named: str, ask_nodes: bool) -> Found | None:
    """What the running cluster has; None where only a note of one that has ended is left. Raises NoCluster."""
    os.environ["RAY_ADDRESS"] = named or "auto"  # join only: without it a Ray of our own would be started
    try:
        with cluster() as machines:
            free = least_free(_gpus_of_nodes()) if ask_nodes and machines.gpus else None
            return Found(("",) * machines.gpus, machines, free)
    except NoCluster:
        if named:
            raise
        return None
    finally:
        if not named:
            del os.environ["RAY_ADDRESS"]


def _gpus_of_nodes() -> tuple[Gpu, ...]:
    """The GPUs of all nodes of the Ray that is up; none where a node does not answer."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU")]
    ask = ray.remote(gpus_here).options
    asked = [
        ask(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote() for node in nodes
    ]
    try:
        answers: list[tuple[Gpu, ...]] = ray.get(asked, timeout=NODES_ANSWER_WITHIN_S)
    except ray.exceptions.RayError:
        return ()
    return tuple(gpu for of_node in answers for gpu in of_node) if all(answers) else ()


# --- Ray -------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def cluster(*, ship_code: bool = False, gone: Callable[[str], None] | None = None) -> Iterator[Machines]:
    """A Ray to work with: the one this process has, else the cluster of RAY_ADDRESS or of `ray start`, else our own.

    What it brought up or joined it leaves at the end. ship_code: to a cluster that is joined, in Ray's own store. gone:
    hears, in another thread, which part of a Ray of our own has died as it started; ends the process if nobody does.
    Raises NoCluster, RayNotStarted.
    """
    import ray

    if ray.is_initialized():
        yield _machines("the Ray of this command")
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    address = joining.running_cluster()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address is not None:
            try:
                ray.init(address=address, runtime_env=_our_code() if ship_code else None, **quiet)
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
            _start(gone or _end_with, **quiet)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # ray.init has put its own in its place
        _silence()
        yield _machines(f"the Ray cluster at {address}" if address else A_LOCAL_RAY)
    finally:
        gc.collect()  # handles of actors in circles: collected by another thread during shutdown they end this process
        ray.shutdown()


def _our_code() -> dict[str, Any]:
    """Ray's words for: before anything else, import what is imported here."""
    home = Path(__file__).resolve().parents[1]
    return {"py_modules": [str(home / name) for name in OURS]}


def _end_with(part: str) -> None:
    refuse(f"Ray's {part} died as it started; give the same command again")
    sys.stderr.flush()
    os._exit(USER_ERROR)


def _start(gone: Callable[[str], None], **quiet: Any) -> None:
    """A Ray of our own, in a process group of its own. Raises RayNotStarted.

    A closed terminal, `timeout` and batch systems signal a whole group: Ray would be gone before this process could end
    its runs, and the wait for it ends in Ray's abort a minute later. Whatever ends this process still ends Ray.
    """
    import ray

    joining.check_limits()
    folder = joining.session_folder()
    try:
        with ray_internals.own_process_group() as begun, Starting(begun, gone):
            ray.init(
                address="local",
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                _temp_dir=folder,
                **quiet,
            )
    except Exception as error:  # each of the processes that it starts fails in its own way
        said = " ".join(str(error).split())[:200] or type(error).__name__
        if "timed out during startup" in said:
            load = f"load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores"
            raise RayNotStarted(
                f"Ray did not start within 30 s ({load}); wait until less is running here, then give the same command"
                " again"
            ) from None
        if isinstance(error, OSError) and error.filename:
            raise RayNotStarted(
                f"Ray did not start: it cannot write {error.filename} ({error.strerror}); set HOME, or TMPDIR, to a"
                " folder that can be written, then give the same command again"
            ) from None
        logs = f"{folder or joining.note().parent}/session_latest/logs"
        raise RayNotStarted(
            f"Ray did not start on this machine ({said}); see that memory and disk have room, then give the same"
            f" command again; what Ray's processes said: {logs}"
        ) from None


def _silence() -> None:
    """Keep Ray's words about a dead worker off the screen; the driver has its own. `log_to_driver` leaves these two."""
    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    ray_internals.keep_from_screen()


def _machines(where: str) -> Machines:
    import ray

    has = ray.cluster_resources()
    return Machines(cpus=int(has.get("CPU", 0)), gpus=int(has.get("GPU", 0)), where=where)


def give_back_what_the_dead_hold() -> None:
    """Remove this job's placement groups whose creators, Ray Train controllers, are dead.

    Killed, a controller leaves its workers' CPUs and GPUs reserved until the job ends, and the run's next try waits for
    them. Ray's own cleaner asks the dashboard whether the controller lives, and gives up where there is none, or a
    second Ray on the machine.
    """
    from ray.util.placement_group import remove_placement_group

    for group in ray_internals.groups_of_the_dead():
        remove_placement_group(group)
