"""Four machines with a GPU each, that Ray only counts: a study on them from an empty head to a machine's loss."""

from __future__ import annotations

import os
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sweeps.journal import read_journal
from tests.faults import processes
from tests.sweeps import held
from tests.sweeps.nodes import Launch, Nodes

NODES, RUNS = 4, 5


@pytest.mark.cluster
@pytest.mark.timeout(3600)
def test_a_study_waits_for_gpus_packs_two_runs_on_one_and_loses_a_machine_without_losing_a_step(
    tmp_path: Path,
) -> None:
    runs = tmp_path / "results" / "runs"
    nodes = Nodes(0)
    asked = ["--gpus", str(NODES), "--wait", "60", "--gpus-per-run", "0.5", "--only", "TRM k=1*", "--seeds", str(RUNS)]
    launch = Launch(nodes, tmp_path, *asked, steps=1000, TRM_LOGICAL_GPUS="1")
    try:
        launch.wait_for(f"waiting for the first of {NODES} GPUs")
        assert not list(runs.glob("*/config.json")), "a run has begun where there is no machine for it"
        with ThreadPoolExecutor() as pool:
            holding = pool.submit(held.hold, nodes.process.pid, RUNS)
            for _ in range(NODES):
                nodes.tell("add 2 1")
            at_once = holding.result()

        raylets = {
            raylet: set(processes.descendants(raylet)) for raylet in processes.with_role("raylet", nodes.process.pid)
        }
        assert len(raylets) == 1 + NODES
        places = Counter(raylet for raylet, below in raylets.items() for pid in at_once if pid in below)
        assert places.total() == RUNS
        assert max(places.values()) == 2, "two halves of a GPU at the most, and five runs on four GPUs have some"
        assert at_once == set(held.at_work(nodes.process.pid))

        lost = min(places, key=lambda raylet: (places[raylet], raylet))
        there = at_once & raylets[lost]
        folder = held.brought_to_its_middle(
            lambda: there, lambda: [one for pid in there for one in held.locked_by(runs, f"process {pid} on {_host()}")]
        )
        kept = len(read_journal(folder / "metrics.jsonl"))
        for pid in (lost, *raylets[lost] | set(processes.descendants(lost))):
            processes.send(pid, signal.SIGKILL)
        held.let_go(at_once - there)
        assert launch.process.wait() == 0, launch.text
    finally:
        launch.end()
        nodes.end()
    assert "1 GPUs): 2 run(s) at once" in launch.text, "it begins with the first GPU"
    assert launch.text.count("joined: ") >= NODES
    assert len(list(runs.glob("*/outcomes.npz"))) == RUNS
    (data,) = {manifest.parent for manifest in (tmp_path / "results" / "data").rglob("manifest.json")}
    expected = held.undisturbed(folder, data, tmp_path / "checkpoints")
    assert 0 < kept < len(expected)
    assert held.reported(folder) == expected


def _host() -> str:
    return os.uname().nodename
