"""The command on two hosts: who has a part in it, and who may not come in."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sweeps.probe import OURS
from tests.sweeps.cluster.conftest import ROOT
from tests.sweeps.cluster.hosts import NEEDED, Host, hosts, install, lacking, where
from tests.sweeps.nodes import wait_until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
]
RAY = str(Path(sys.executable).parent / "ray")
SMALL_STORE = ("--object-store-memory=100000000",)
LOOK = ("--check", "--out", "seen")
RUN = [sys.executable, str(ROOT / "sweeps" / "run.py")]


@dataclass
class Two:
    """A head and another host with a CPU each, under a Ray that wants a token."""

    head: Host
    other: Host
    outside: Host  # has no part in it
    folder: Path  # which all of them see
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"{self.head.address}:6379"

    def start(self, host: Host, **environment: str) -> None:
        """Ray, as `ray up` would start it."""
        role = (
            ["--head", "--port=6379", "--include-dashboard=false"]
            if host is self.head
            else [f"--address={self.address}"]
        )
        arguments = [RAY, "start", *role, f"--node-ip-address={host.address}", "--num-cpus=1", *SMALL_STORE]
        with (self.folder / f"{host.name}.txt").open("ab") as said:
            options = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said, "cwd": "/"}
            stays = (
                f"{shlex.join(arguments)} && exec sleep infinity"  # --block would end with the least of its processes
            )
            host.start(["bash", "-c", stays], env=self.environment | environment, **options)

    def wait_for_both(self) -> str:
        """Until both have been looked at; what was said of them. Ray has 30 s to start, which can be too few."""
        said = ""
        while len(re.findall("^(?:good|bad )  ", said, re.MULTILINE)) < 2:
            for host in (self.head, self.other):
                if not host.running or host.running[0].poll() is not None:
                    host.power_cut()
                    self.start(host)
            with contextlib.suppress(ChildProcessError):
                said = self.ask(*LOOK)[1]
        return said

    def command(self, *arguments: str, said: Path, **environment: str) -> subprocess.Popen[bytes]:
        """The command, on the head, and where it says what."""
        with said.open("wb") as screen:
            return subprocess.Popen(
                self.head.beside("env", "--chdir", str(self.folder), *RUN, *arguments),
                env=self.environment | {"RAY_ADDRESS": self.address} | environment,
                stdin=subprocess.DEVNULL, stdout=screen, stderr=screen,
            )  # fmt: skip

    def ask(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """The command, to its end: exit code, and what it said."""
        said = self.folder / "asked.txt"
        code = self.command(*arguments, said=said, **environment).wait()
        return code, said.read_text()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("two")
    token = secrets.token_hex(32)
    with hosts(3, folder) as (head, other, outside):
        here = Two(head, other, outside, folder)
        here.environment = {
            "PATH": os.environ["PATH"], "HOME": "/root", "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0",
            "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
        }  # fmt: skip
        for host in (head, other):
            kept = host.folder / "home" / ".ray" / "auth_token"
            kept.parent.mkdir(parents=True)
            kept.touch(mode=0o600)
            kept.write_text(token)
            here.start(host)
        here.wait_for_both()
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
