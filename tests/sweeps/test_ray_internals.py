"""Ray's private parts are as we know them: a Ray in which one is not fails its test here, and the pin stays."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import sys
import time
import tomllib
import uuid
from pathlib import Path
from typing import Any

import pytest

from sweeps import machines, probe, ray_internals
from tests.faults import processes

ROOT = Path(__file__).resolve().parents[2]
PRIVATE = re.compile(
    r"\._private|_raylet|ray\S*\.generated|temporary_state|pickled_error|__internal_|\b_internal\b|v2\.api"
)


def test_no_other_file_names_what_is_private_in_ray() -> None:
    files = [
        path for package in ("data_prep", "trm_core", "sweeps", "reports") for path in (ROOT / package).rglob("*.py")
    ]
    users = {str(path.relative_to(ROOT)) for path in files if PRIVATE.search(path.read_text(encoding="utf-8"))}
    assert users == {"sweeps/ray_internals.py"}


def test_the_ray_that_is_tried_is_the_one_that_is_installed_by_default_and_admitted() -> None:
    import ray
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (asked,) = [one for one in map(Requirement, project["dependencies"]) if one.name == "ray"]
    pinned = re.search(r"^ray==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert asked.specifier.contains(pinned[1])
    assert asked.specifier.contains(ray.__version__)
    major, minor = map(int, ray.__version__.split(".")[:2])
    assert not asked.specifier.contains(f"{major}.{minor + 1}.0"), "a minor version that was not tried"


@pytest.mark.ray
def test_as_many_cpus_are_counted_as_ray_counts(ray_here: None) -> None:
    import ray

    assert ray.cluster_resources()["CPU"] == ray_internals.cpus_here()


@pytest.mark.ray
def test_what_ray_starts_is_in_a_process_group_of_its_own(ray_here: None) -> None:
    groups = {os.getpgid(pid) for role in ("raylet", "gcs") for pid in processes.with_role(role, os.getpid())}
    assert groups
    assert os.getpgid(0) not in groups


def test_rays_own_way_of_starting_processes_is_back_afterwards() -> None:
    from ray._private import services

    usual = services.ConsolePopen
    with ray_internals.own_process_group() as begun:
        process = services.ConsolePopen([sys.executable, "-c", ""])
        assert os.getpgid(process.pid) == process.pid
        assert begun == {Path(sys.executable).name: process}
    process.wait()
    assert services.ConsolePopen is usual


def test_what_ray_prints_about_workers_goes_through_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray._private import worker

    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)  # restored
    assert inspect.getsource(worker).count("print_to_stdstream") > 1, "nobody calls it"
    ray_internals.keep_from_screen()
    assert worker.print_to_stdstream({"lines": ["said"]}) is None


@pytest.mark.ray
def test_the_head_has_the_resource_that_keeps_drivers_there(ray_here: None) -> None:
    import ray

    assert ray_internals.HEAD.keys() <= ray.cluster_resources().keys()


@pytest.mark.ray
def test_what_an_actor_that_died_has_reserved_is_found_and_given_back(ray_here: None) -> None:
    import ray
    from ray.util.placement_group import placement_group, placement_group_table

    @ray.remote(num_cpus=0)
    class Reserves:
        def reserve(self) -> str:
            group = placement_group([{"CPU": 1.0}])
            ray.get(group.ready())
            return str(group.id.hex())

    def state(group: str) -> Any:
        return placement_group_table()[group]["state"]

    ours = placement_group([{"CPU": 0.001}])
    actor = Reserves.remote()  # type: ignore[attr-defined]
    group = ray.get(actor.reserve.remote())
    assert ray_internals.groups_of_the_dead() == []
    ray.kill(actor)
    while not (found := ray_internals.groups_of_the_dead()):
        time.sleep(0.05)
    assert [one.id.hex() for one in found] == [group]
    machines.give_back_what_the_dead_hold()
    while state(group) != "REMOVED":
        time.sleep(0.05)
    assert ray_internals.groups_of_the_dead() == []
    assert state(ours.id.hex()) != "REMOVED"
    ray.util.remove_placement_group(ours)


@pytest.mark.ray
def test_a_trials_process_and_its_last_error_are_had_from_it(ray_here: None, tmp_path: Path) -> None:
    from ray import tune

    actors: set[bool] = set()
    errors: list[BaseException] = []

    class Looks(tune.Callback):  # type: ignore[misc]  # Ray is not typed
        def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
            actors.update(ray_internals.actor_of(trial) is not None for trial in trials)

        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            assert ray_internals.error_file_of(trial) is None

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
            kept = ray_internals.error_file_of(trial)
            assert kept is not None
            errors.append(pickle.loads(kept.read_bytes()))

    def fails(config: dict[str, Any]) -> None:
        raise ArithmeticError("as it should")

    tune.Tuner(
        tune.with_resources(fails, {"CPU": 1.0}),
        run_config=tune.RunConfig(name="trials", storage_path=str(tmp_path), callbacks=[Looks()], verbose=0),
    ).fit()
    assert actors == {False, True}
    assert ["ArithmeticError" in str(error) for error in errors] == [True]


@pytest.mark.ray
def test_what_a_worker_wrote_to_its_stderr_is_read_beside_another(ray_here: None) -> None:
    import ray

    @ray.remote(num_cpus=0)
    class Says:
        def say(self) -> int:
            print("the driver is too old", file=sys.stderr, flush=True)
            return os.getpid()

    one = Says.remote()  # type: ignore[attr-defined]
    pid = ray.get(one.say.remote())
    assert ray.get(ray.remote(probe.stderr_of).options(num_cpus=0).remote(pid)).endswith("the driver is too old")


def test_rays_schema_refuses_a_file_that_it_does_not_know() -> None:
    good = {"cluster_name": "x", "provider": {"type": "local", "head_ip": "192.0.2.1", "worker_ips": []}}
    ray_internals.refuse_cluster_file(good | {"auth": {"ssh_user": "x"}})
    with pytest.raises(Exception, match="additional"):
        ray_internals.refuse_cluster_file(good | {"auth": {"ssh_user": "x"}, "additional": 1})


@pytest.mark.ray
def test_a_worker_is_told_whether_its_machine_is_drained(ray_here: None) -> None:
    import ray

    assert ray.get(ray.remote(ray_internals.is_draining).options(num_cpus=0).remote()) is False


@pytest.mark.ray
def test_word_to_end_reaches_the_processes_of_that_launch_alone(ray_here: None) -> None:
    import ray

    heard = ray.remote(ray_internals.is_told_to_end).options(num_cpus=0)
    one, other = uuid.uuid4().hex, uuid.uuid4().hex
    assert ray.get(heard.remote(one)) is False
    ray_internals.tell_to_end(one)
    assert ray.get([heard.remote(one), heard.remote(other)]) == [True, False]
    assert ray_internals.is_told_to_end(one)


@pytest.mark.ray
def test_the_processes_of_a_ray_of_our_own_are_ended_through_its_node(ray_here: None) -> None:
    import ray

    node = ray._private.worker._global_node
    assert {"check_alive", "allow_graceful"} <= inspect.signature(node.kill_all_processes).parameters.keys()
    assert node.all_processes.keys() >= {"gcs_server", "raylet"}  # what it would end
