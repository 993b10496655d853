"""What we touch of Ray that Ray does not promise to keep: the only file that names it, a function each.

A minor version of Ray may change any of it, so pyproject.toml admits those that these were tried with, and
tests/sweeps/test_ray_internals.py fails where one of them is not as it was.

Ray is imported inside functions: it takes 2 s.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEAD = {"node:__internal_head__": 0.001}  # a resource that Ray gives the head alone, and hardly any of it


class WantsToken(Exception):
    """A Ray asks for its token, and we have none or another. ray.init would ask again and again for 20 s."""


def cpus_here() -> int:
    """How many CPUs a Ray that is started here would count; a container's share of them, where it has one."""
    import ray

    return int(ray._private.utils.get_num_cpus())


@contextlib.contextmanager
def own_process_group() -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """What Ray starts meanwhile is a process group of its own. Yields them as they come, by their programs' names."""
    from ray._private import services

    usual = services.ConsolePopen
    begun: dict[str, subprocess.Popen[bytes]] = {}

    def started(command: Any, **options: Any) -> Any:
        process = usual(command, process_group=0, **options)
        begun[Path(command[0]).name] = process
        return process

    services.ConsolePopen = started
    try:
        yield begun
    finally:
        services.ConsolePopen = usual


def keep_from_screen() -> None:
    """Ray prints nothing about workers any more, which `log_to_driver=False` does not see to."""
    import ray

    ray._private.worker.print_to_stdstream = lambda *_, **__: None


def is_head(address: str, within_s: float) -> bool:
    """Whether what listens there speaks as Ray's head does. Raises WantsToken."""
    import grpc
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated.gcs_service_pb2 import CheckAliveReply, CheckAliveRequest
    from ray.exceptions import AuthenticationError

    channel = init_grpc_channel(address)
    try:
        check = channel.unary_unary(
            "/ray.rpc.NodeInfoGcsService/CheckAlive",
            request_serializer=CheckAliveRequest.SerializeToString,
            response_deserializer=CheckAliveReply.FromString,
        )
        check(CheckAliveRequest(), timeout=within_s, wait_for_ready=True)
    except AuthenticationError as error:  # RAY_AUTH_MODE says that we have one
        raise WantsToken from error
    except grpc.RpcError as error:
        if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            raise WantsToken from error
        return False
    finally:
        channel.close()
    return True


def groups_of_the_dead() -> list[Any]:
    """This job's placement groups that an actor made that is dead. Ray's public table does not say who made one."""
    import ray
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData
    from ray.util.placement_group import PlacementGroup

    job = ray.get_runtime_context().get_job_id()
    found = []
    for row in ray._private.state.state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(row)
        if (
            ray.JobID(group.creator_job_id).hex() == job
            and not ray.ActorID(group.creator_actor_id).is_nil()
            and group.creator_actor_dead
            and group.state != PlacementGroupTableData.REMOVED
        ):
            found.append(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    return found


def actor_of(trial: Any) -> Any:
    """The process that runs a Tune trial, to be killed; None where it has none."""
    return trial.temporary_state.ray_actor


def error_file_of(trial: Any) -> Path | None:
    """Where Tune keeps a trial's last error, pickled, before `trial.get_error` has it; None where there was none."""
    named = trial.pickled_error_file
    return None if named is None else Path(named)


def refuse_cluster_file(config: dict[str, Any]) -> None:
    """Fill in Ray's defaults for `ray up` and hold the settings to its schema. Raises what Ray raises, of any kind."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    try:
        prepared = prepare_config(config)
    except Exception:  # of the wrong type somewhere, most often; the schema says where
        validate_config(config)
        raise
    validate_config(prepared)


def is_draining() -> bool:
    """Whether Ray is taking this process's machine away. Asked as Train's own watcher asks."""
    import ray

    return ray.get_runtime_context().get_node_id() in ray._private.state.state.get_draining_nodes()


def tell_to_end(launch: str) -> None:
    """Leave word in the cluster's own store, for the processes of a launch, that they are to end."""
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(f"told to end: {launch}", b"1")


def is_told_to_end(launch: str) -> bool:
    """Whether that word was left, asked on any machine of the cluster."""
    from ray.experimental.internal_kv import _internal_kv_exists

    return bool(_internal_kv_exists(f"told to end: {launch}"))


def end_own_processes() -> None:
    """End a Ray of our own without asking it, since it may not answer any more; its workers end with it."""
    import ray

    node = ray._private.worker._global_node
    if node is not None:
        node.kill_all_processes(check_alive=False, allow_graceful=False)
