"""A Ray that wants a token over two hosts, as `ray up` would start it, and the command on its head."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.sweeps.cluster.conftest import ROOT
from tests.sweeps.cluster.hosts import Host, hosts

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

    def start_again(self, host: Host) -> None:
        """Ray on a host where it has ended, or did not begin: it has 30 s to start, which can be too few."""
        if not host.running or host.running[0].poll() is not None:
            host.power_cut()
            self.start(host)

    def wait_for_both(self) -> str:
        """Until both have been looked at; what was said of them."""
        said = ""
        while len(re.findall("^(?:good|bad )  ", said, re.MULTILINE)) < 2:
            for host in (self.head, self.other):
                self.start_again(host)
            with contextlib.suppress(ChildProcessError):
                said = self.ask(*LOOK)[1]
        return said

    def command(self, *arguments: str, said: Path, at: Path, **environment: str) -> subprocess.Popen[str]:
        """The command, on the head, in a folder, and where it says what."""
        with said.open("w") as screen:
            return subprocess.Popen(
                self.head.beside("env", "--chdir", str(at), *RUN, *arguments),
                env=self.environment | {"RAY_ADDRESS": self.address} | environment,
                stdin=subprocess.DEVNULL, stdout=screen, stderr=screen, text=True,
            )  # fmt: skip

    def ask(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """The command, to its end: exit code, and what it said."""
        said = self.folder / "asked.txt"
        code = self.command(*arguments, said=said, at=self.folder, **environment).wait()
        return code, said.read_text()


@contextlib.contextmanager
def two_hosts(folder: Path) -> Iterator[Two]:
    """Both of them, looked at by each other; a third host has no part in it."""
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
