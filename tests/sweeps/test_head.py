from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sweeps.head import GONE_S, Head, Heard, Silence, Starting, ask, places
from tests.faults import processes
from tests.faults.chaos import N_RUNS, Place
from tests.sweeps.nodes import Nodes
from tests.sweeps.records.stores import query
from trm_core.command_line import USER_ERROR

OF_RUNS = "SELECT r.status FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'key'"


@pytest.fixture
def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def place(of: socket.socket) -> tuple[str, int]:
    host, port = of.getsockname()
    return host, port


def heard_of(*words: Heard, every_s: float) -> list[bool]:
    """Whether a place counts as gone after each, 5 s being enough where nobody listens."""
    now = [0.0]
    silence, gone = Silence(5.0, clock=lambda: now[0]), []
    for word in words:
        now[0] += every_s
        gone.append(silence.gone("head", word))
    return gone


def test_a_place_is_gone_when_nobody_has_listened_for_long_and_an_answer_in_between_begins_anew() -> None:
    nobody: Heard = "nobody listens"
    assert heard_of("an answer", nobody, nobody, "an answer", nobody, nobody, nobody, every_s=3) == [False] * 6 + [True]


def test_a_place_of_which_nothing_is_heard_is_given_more_time_for_it_may_be_busy() -> None:
    nothing: Heard = "nothing"
    assert heard_of(nothing, nothing, nothing, nothing, every_s=GONE_S / 3 + 1) == [False, False, False, True]


def test_who_was_there_and_has_gone_is_named_once(listening: socket.socket) -> None:
    told: list[str] = []
    gone = threading.Event()

    def hear(name: str) -> None:
        told.append(name)
        gone.set()

    other = socket.create_server(("127.0.0.1", 0))
    assert (ask(place(listening)), ask(place(other))) == ("an answer", "an answer")
    with Head({"head": place(listening), "node here": place(other)}, hear, within_s=0.0) as head:
        other.close()
        gone.wait()
        head._thread.join()
    assert told == ["node here"]
    listening.close()


def test_a_part_of_ray_that_dies_as_it_starts_is_named() -> None:
    told: list[str] = []
    gone = threading.Event()

    def hear(name: str) -> None:
        told.append(name)
        gone.set()

    begun: dict[str, subprocess.Popen[bytes]] = {}
    with Starting(begun, hear, within_s=0.0) as starting:
        begun["log_monitor.py"] = subprocess.Popen(["true"])  # nothing waits for it
        begun["gcs_server"] = subprocess.Popen(["sleep", "infinity"])
        begun["raylet"] = subprocess.Popen(["true"])
        gone.wait()
        starting._thread.join()
    begun["gcs_server"].kill()
    for process in begun.values():
        process.wait()
    assert told == ["node on this machine"]


def test_once_ray_is_up_its_parts_are_somebody_elses_care() -> None:
    told: list[str] = []
    begun = {"raylet": subprocess.Popen(["true"])}
    with Starting(begun, told.append, within_s=1e6) as starting:
        begun["raylet"].wait()
    starting._thread.join()
    assert told == []


@pytest.mark.ray
def test_ray_says_where_its_head_and_this_machines_part_of_it_listen(ray_here: None) -> None:
    found = places()
    assert set(found) == {"head", "node on this machine"}
    assert [ask(at) for at in found.values()] == ["an answer"] * 2


@pytest.mark.kills
@pytest.mark.timeout(1800)
def test_whichever_part_of_ray_dies_and_when_the_command_says_so_with_its_runs_closed_and_the_same_command_goes_on(
    tmp_path: Path, empty_mlflow: Path
) -> None:
    here = Place(tmp_path)
    shutil.copy(empty_mlflow, here.store)

    def killed(role: str, reported: int = -1) -> str:
        """The last line of a command whose Ray loses that part as soon as runs have reported more than that."""
        command = here.start("inline")
        while not ((there := processes.with_role(role, command.pid)) and _reported(tmp_path) > reported):
            assert command.poll() is None
            time.sleep(0.01)
        os.kill(there[0], signal.SIGKILL)
        assert here.wait(command) == USER_ERROR, here.said
        return here.said[-1].strip().splitlines()[-1]

    for role in ("gcs", "raylet"):
        last = killed(role)  # as it starts
        assert last.startswith(("error: Ray did not start on this machine", "error: Ray's "))
        assert "give the same command again" in last
    for role, said in (("gcs", "Ray's head"), ("raylet", "Ray's node on this machine")):
        last = killed(role, _reported(tmp_path))  # as a run trains
        assert last.startswith(f"error: {said} does not answer any more; give the same command again")
        assert {state for (state,) in query(here.store, OF_RUNS)} <= {"KILLED", "FINISHED"}
    assert here.wait(here.start("inline")) == 0, here.said[-1]
    assert here.problems == []
    assert query(here.store, OF_RUNS) == [("FINISHED",)] * N_RUNS


def _reported(folder: Path) -> int:
    """Bytes of what the runs there have reported."""
    return sum(path.stat().st_size for path in folder.glob("results/runs/*/metrics.jsonl"))


WHERE = """
import json, ray
from sweeps.ray_internals import HEAD
from sweeps.ray_train import queue_here
ray.init(log_to_driver=False, logging_level="ERROR")
def where(*_): return ray.get_runtime_context().get_node_id()
def queues(): return ray.get([queue_here().actor.__ray_call__.remote(where) for _ in range(8)])  # as a trial does
at = ray.get(ray.remote(queues).options(num_cpus=0, resources=HEAD).remote())
heads = [node["NodeID"] for node in ray.nodes() if HEAD.keys() <= node["Resources"].keys()]
print(json.dumps([at, heads, len(ray.nodes())]))
"""


@pytest.mark.kills
@pytest.mark.timeout(900)
def test_queues_are_on_the_head_wherever_else_there_is_room() -> None:
    nodes = Nodes(0)
    try:
        nodes.tell("add 4")
        nodes.tell("add 4")
        environment = nodes.environment | {"RAY_ADDRESS": nodes.address}
        asked = subprocess.run([sys.executable, "-c", WHERE], env=environment, capture_output=True, text=True)
        assert asked.returncode == 0, asked.stderr
        at, heads, n_nodes = json.loads(asked.stdout.strip().splitlines()[-1])
    finally:
        nodes.end()
    assert n_nodes == 3
    assert len(heads) == 1
    assert at == heads * 8
