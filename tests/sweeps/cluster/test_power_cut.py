"""A host whose power is cut while runs go on there, the head too: what it costs, and what it does when it is back."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sweeps.journal import read_journal
from sweeps.ray_folder import NAME
from tests.faults import processes
from tests.faults.chaos import N_RUNS, STUDY, Place, facts, wrong_with
from tests.sweeps import held
from tests.sweeps.cluster.hosts import Host, lacking
from tests.sweeps.cluster.two import Two, two_hosts

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("power_cut"),  # its two hosts are made once
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
]


@dataclass
class Study(Place):
    """The small study of the chaos rounds, on two hosts."""

    def begin(self, two: Two, launcher: str) -> subprocess.Popen[str]:
        self.folder.mkdir(exist_ok=True)
        store = {"MLFLOW_TRACKING_URI": f"sqlite:///{self.store}"}
        log = self.folder / f"command {len(self.codes)}.log"
        return two.command(*STUDY, "--launcher", launcher, said=log, at=self.folder, **store)

    @property
    def runs(self) -> Path:
        return self.folder / "results" / "runs"

    @property
    def text(self) -> str:
        """What the command that was given last has said so far, in one line."""
        return " ".join(max(self.folder.glob("command *.log")).read_text().split())

    def preemptions(self) -> list[tuple[str, str]]:
        """Runs that went on elsewhere, by key, and how often."""
        asked = (
            "SELECT k.value, p.value FROM tags p JOIN tags k ON k.run_uuid = p.run_uuid AND k.key = 'key'"
            " WHERE p.key = 'preemptions'"
        )
        with closing(sqlite3.connect(self.store)) as database:
            return database.execute(asked).fetchall()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with two_hosts(tmp_path_factory.mktemp("two")) as here:
        yield here


@pytest.fixture(scope="module")
def undisturbed(two: Two) -> dict[str, Any]:
    """What the study comes to where nobody cuts anything."""
    here = Study(two.folder / "undisturbed")
    assert here.wait(here.begin(two, "inline")) == 0, here.said[-1]
    assert here.problems == []
    found = facts(here)
    assert len(found["journals"]) == N_RUNS
    assert found["table"]
    return found


def test_a_power_cut_costs_no_key_and_no_bit_and_the_host_that_comes_back_goes_on_with_what_it_lost(
    two: Two, undisturbed: dict[str, Any]
) -> None:
    """With Ray Train, where it takes more to tell a cut from a failure; the head's, below, is the inline launcher's."""
    here = Study(two.folder / "train")
    command = here.begin(two, "train")
    kept, lost = _in_their_middle(two, here, command, "train")
    assert kept != lost
    before = (lost / ".lock").read_bytes()

    two.other.power_cut()
    assert _at_work(two.other, "train") == []
    two.start(two.other)  # as a machine that boots: with its Ray, and nobody tells the command
    while (lost / ".lock").read_bytes() == before:  # the head's one CPU is not free
        two.start_again(two.other)
        assert command.poll() is None, here.text
        time.sleep(0.1)
    while not held.locked_by(here.runs, f"on {two.other.name}"):
        assert command.poll() is None, here.text
        time.sleep(0.05)
    assert held.locked_by(here.runs, f"on {two.other.name}") == [lost]

    held.let_go(_at_work(two.head, "train"))
    assert here.wait(command) == 0, here.said[-1]
    assert here.problems == []
    assert f"joined: {two.other.name}" in here.text
    assert "1 preemption: no failures" in here.text
    assert here.preemptions() == [(lost.name, "1")]
    assert wrong_with(here, undisturbed) == []


def test_a_head_that_comes_back_goes_on_with_the_same_command_from_the_last_checkpoints(
    two: Two, undisturbed: dict[str, Any]
) -> None:
    here = Study(two.folder / "head")
    command = here.begin(two, "inline")
    runs = _in_their_middle(two, here, command, "inline")
    two.head.power_cut()  # the command, Ray's head and a run
    here.codes.append(command.wait())
    cut_at_ms = int(time.time() * 1000)
    two.other.power_cut()  # `ray up` stops and starts Ray on every machine of a head that is new
    for host in (two.head, two.other):
        two.start(host)
    two.wait_for_both()

    assert here.wait(here.begin(two, "inline")) == 0, here.said[-1]
    assert here.problems == []
    assert all(read_journal(run / "metrics.jsonl")[0].time_ms < cut_at_ms for run in runs)
    beside = (f"left behind: results/{NAME}", f"half-written: results/{NAME}/")  # its launch may live, for a minute
    assert [one for one in wrong_with(here, undisturbed) if not one.startswith(beside)] == []


def _in_their_middle(two: Two, here: Study, command: subprocess.Popen[str], launcher: str) -> tuple[Path, Path]:
    """The folders of two runs, on the head and on the other host, that stand in their middle."""
    hosts, standing = (two.head, two.other), []
    for host in hosts:
        while not (stopped := _stopped(host, launcher)):
            assert command.poll() is None, here.text
            time.sleep(0.05)
        standing.append(stopped)
    on_head, on_other = [
        held.brought_to_its_middle(
            partial(_at_work, host, launcher), partial(held.locked_by, here.runs, f"on {host.name}"), stopped
        )
        for host, stopped in zip(hosts, standing, strict=True)
    ]
    return on_head, on_other


def _at_work(host: Host, launcher: str) -> list[int]:
    """Processes of that host that train. Train's trials only wait, on the head."""
    below = [pid for each in host.running for pid in processes.descendants(each.pid)]
    return [pid for pid in below if processes.command_line(pid).startswith(held.TRAINS[launcher])]


def _stopped(host: Host, launcher: str) -> list[int]:
    return [pid for pid in _at_work(host, launcher) if processes.send(pid, signal.SIGSTOP)]
