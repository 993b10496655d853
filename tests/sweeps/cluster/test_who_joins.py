"""The command on two hosts: who has a part in it, and who may not come in."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sweeps.probe import OURS
from tests.faults.chaos import N_RUNS, STUDY
from tests.sweeps.cluster.conftest import ROOT
from tests.sweeps.cluster.hosts import NEEDED, Host, install, lacking, where
from tests.sweeps.cluster.two import Two, two_hosts
from tests.sweeps.nodes import wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.xdist_group("who_joins"),  # its two hosts are made once
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with two_hosts(tmp_path_factory.mktemp("two")) as here:
        yield here


@pytest.mark.parametrize("token", ["none", "none, and none is asked for", "another"])
def test_who_has_no_token_is_told_so_in_a_line(two: Two, token: str) -> None:
    out = two.folder / "none"
    asked = ["--study", "recursion_depth", "--profile", "mini", "--yes", "--out", str(out)]
    environment = {"HOME": str(two.folder / "nobody"), "RAY_AUTH_MODE": "disabled" if "," in token else "token"}
    code, said = two.ask(*asked, **environment | ({"RAY_AUTH_TOKEN": "0" * 64} if token == "another" else {}))
    assert (code, len(said.splitlines())) == (2, 1), said
    assert f"{two.address}: this Ray cluster wants its token" in said
    assert not out.exists()


def test_a_host_with_other_code_is_named(two: Two) -> None:
    for name in OURS:
        shutil.copytree(ROOT / name, two.folder / "code" / name, dirs_exist_ok=True)
    words = two.folder / "code" / "sweeps" / "words.py"
    words.write_text(f"{words.read_text()}\n")
    two.other.power_cut()
    two.start(two.other, PYTHONPATH=str(two.folder / "code"))
    try:
        said = ""
        while f"bad {two.other.name}" not in said or "has other code" not in said:  # before that, the one that is gone
            said = " ".join(two.wait_for_both().split())
        assert re.search(rf"{two.other.name}.*has other code \(\w+, here \w+\); copy this checkout there", said)
        assert f"good {two.head.name}" in said
    finally:
        two.other.power_cut()
        two.start(two.other)


def test_a_host_that_does_not_share_the_results_is_left_out_and_the_study_is_made_without_it(two: Two) -> None:
    while two.wait_for_both().count("good  ") < 2:  # the host that another test cut off is named for a while
        pass
    home = two.environment["HOME"]  # each host's is its own
    own = ("--out", f"{home}/results")
    code, said = two.ask("--check", *own)
    why = rf"{two.other.name}.*{home}/results is not the driver's folder; mount it there"
    assert (code, bool(re.search(rf"bad {why}", " ".join(said.split())))) == (0, True), said
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{two.folder / 'unshared.db'}"}
    code, said = two.ask(*STUDY, *own, "--launcher", "inline", **store)
    assert code == 0, said
    words = " ".join(said.split())
    assert re.search(rf"left out: {why}", words), said
    assert f"joined: {two.other.name}" not in words
    there = two.head.folder / "home" / "results" / "runs"
    assert len(list(there.glob("*/outcomes.npz"))) == N_RUNS
    assert not (two.other.folder / "home" / "results").exists()


@pytest.mark.skipif(not all(map(where, (*NEEDED, "ss"))), reason=f"needs {', '.join(NEEDED)} and ss")
def test_behind_a_firewall_of_two_rules_the_hosts_work_together_and_nothing_but_ssh_answers_from_outside(
    two: Two,
) -> None:
    two.outside.start(["sleep", "infinity"])
    for host in (two.head, two.other):
        install(host, two.folder / "nobody")
    wait_until(lambda: {22, 6379} <= _open_ports(two.outside, two.head) and 22 in _open_ports(two.outside, two.other))
    open_before = _open_ports(two.outside, two.head)
    assert len(open_before) > 2, (
        "Ray's ports are open to everybody where there is no firewall, as docs/clusters.md says"
    )
    two.head.close_to_others(two.other.address)
    two.other.close_to_others(two.head.address)
    wait_until(
        lambda: two.wait_for_both().count("good  ") == 2
    )  # the host that another test cut off is named for a while
    assert _open_ports(two.outside, two.head) == {22}
    assert _open_ports(two.outside, two.other) == {22}


SCAN = """
import socket, sys
for port in map(int, sys.argv[2:]):
    try:
        socket.create_connection((sys.argv[1], port), timeout=2).close()
        print(port)
    except OSError:
        pass
"""


def _open_ports(outside: Host, host: Host) -> set[int]:
    """Of all ports that anything on that host listens at, loopback alone left out: those that take a connection."""
    listening = subprocess.run(
        ["ip", "netns", "exec", host.name, "ss", "-ltnH"], capture_output=True, text=True, check=True
    )
    places = [line.split()[3].rpartition(":") for line in listening.stdout.splitlines()]
    ports = {port for where, _, port in places if not where.startswith(("127.", "[::1"))}
    scan = outside.beside(sys.executable, "-c", SCAN, host.address, *sorted(ports))
    return set(map(int, subprocess.run(scan, capture_output=True, text=True, check=True).stdout.split()))
