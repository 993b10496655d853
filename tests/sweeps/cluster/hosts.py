"""Test "hosts" on one machine: network, mount, process and host-name namespaces, with a bridge between them.

`ray stop` ends every Ray of a machine; in a process namespace of its own it ends that host's. Needs root and iproute2.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults import processes

NEEDED = ("ssh", "ssh-keygen", "rsync", "sshd")  # for machines that are logged in to


def lacking() -> str:
    """What this machine lacks for it; empty where it can be done."""
    if os.name != "posix" or os.geteuid() != 0:
        return "needs root"
    if missing := [name for name in ("ip", "unshare", "nsenter", "mount") if shutil.which(name) is None]:
        return f"needs {', '.join(missing)}"
    made = subprocess.run(["ip", "netns", "add", f"trm-try-{os.getpid()}"], capture_output=True)
    subprocess.run(["ip", "netns", "del", f"trm-try-{os.getpid()}"], capture_output=True)
    return "" if made.returncode == 0 else "may make no network namespace"


@dataclass
class Host:
    """One of them: its address, its /tmp/ray and root's home under `folder`, and what runs on it."""

    name: str
    address: str
    folder: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def command(self, *arguments: str) -> list[str]:
        """What runs `arguments` on this host; killed, it takes all that runs there along, as a power cut does."""
        script = (
            f"mount --make-rprivate / && hostname {self.name} && mount -t proc proc /proc{self._home()}"
            f" && mount --bind {self.folder}/tmp /tmp/ray && mount -t tmpfs -o size=1g tmpfs /dev/shm"
            ' && "$@"; exit $?'  # not exec: bash buries what dies there, as a host's first process does
        )
        inside = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--uts", "--ipc", "bash", "-c", script, "-"]
        return ["ip", "netns", "exec", self.name, *inside, *arguments]

    def _home(self) -> str:
        """Root's home is the host's own; an interpreter that lies in root's real one is bound into it first."""
        home, needed = self.folder / "home", Path(sys.base_prefix)
        home.mkdir(exist_ok=True)
        inner = home / needed.relative_to("/root") if needed.is_relative_to("/root") else None
        kept = f" && mkdir -p {inner} && mount --bind {needed} {inner}" if inner else ""
        return f"{kept} && mount --rbind {home} /root"

    def start(self, arguments: Sequence[str], **options: object) -> subprocess.Popen[bytes]:
        """Run something on it and do not wait."""
        process: subprocess.Popen[bytes] = subprocess.Popen(self.command(*arguments), **options)  # type: ignore[call-overload]
        self.running.append(process)
        return process

    def power_cut(self) -> None:
        """All that was started on it is gone at once."""
        for process in self.running:
            process.kill()
            process.wait()
        self.running.clear()

    def beside(self, *arguments: str) -> list[str]:
        """What runs `arguments` on this host beside what was started first: in its namespaces, seeing its processes.

        Raises ChildProcessError where that has ended.
        """
        while not (there := [pid for pid in processes.descendants(self.running[0].pid) if not _prepares(pid)]):
            if self.running[0].poll() is not None:
                raise ChildProcessError(f"what was started on {self.name} has ended")
            time.sleep(0.05)
        return ["nsenter", "--target", str(there[0]), "--all", "--wd=/", *arguments]

    def close_to_others(self, *peers: str) -> None:
        """A firewall's rules, for IPv4, by routing: ssh from anywhere, all from the peers, nothing else comes in."""
        for rule in (
            ["add", "pref", "10", "to", self.address, "ipproto", "tcp", "dport", "22", "lookup", "local"],
            *(["add", "pref", "20", "from", peer, "lookup", "local"] for peer in (*peers, self.address, "127.0.0.0/8")),
            ["add", "pref", "30", "iif", "eth0", "blackhole"],
            ["add", "pref", "40", "lookup", "local"],
            ["del", "pref", "0"],
        ):
            subprocess.run(["ip", "netns", "exec", self.name, "ip", "rule", *rule], check=True, capture_output=True)


def _prepares(pid: int) -> bool:
    """Whether a process is one of those by which a host is made ready."""
    return processes.command_line(pid).startswith(("bash -c mount", "mount ", "hostname ", "mkdir "))


_sets = itertools.count()  # the kernel buries a namespace when it likes: no name of one set is used by the next


@contextlib.contextmanager
def hosts(n: int, folder: Path) -> Iterator[list[Host]]:
    """n hosts that reach each other and are reached from here, and are gone at the end."""
    this = next(_sets)
    subnet = f"10.{64 + (os.getpid() // 250 + this) % 128}.{os.getpid() % 250}"
    bridge = f"trm{os.getpid() % 10**7}s{this}"  # an interface's name has 15 letters at most
    Path("/tmp/ray").mkdir(exist_ok=True)
    with contextlib.ExitStack() as made:
        _ip("link", "add", bridge, "type", "bridge")
        made.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"{subnet}.254/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        there = []
        for number in range(1, n + 1):
            host = Host(f"{bridge}h{number}", f"{subnet}.{number}", folder / f"host{number}")
            (host.folder / "tmp").mkdir(parents=True)
            _ip("netns", "add", host.name)
            made.callback(_ip, "netns", "del", host.name)
            outside = f"{bridge}v{number}"
            _ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            made.callback(_ip, "link", "del", outside)
            made.callback(host.power_cut)
            _ip("link", "set", outside, "master", bridge)
            _ip("link", "set", outside, "up")
            for more in (
                ["addr", "add", f"{host.address}/24", "dev", "eth0"],
                ["link", "set", "eth0", "up"],
                ["link", "set", "lo", "up"],
                ["route", "add", "default", "via", f"{subnet}.254"],
            ):
                _ip("netns", "exec", host.name, "ip", *more)
            there.append(host)
        yield there


def _ip(*arguments: str) -> None:
    """Raises ChildProcessError, with what `ip` says."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise ChildProcessError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


def install(host: Host, public_key: Path) -> None:
    """A home with a virtual environment that sees this one's packages, and an sshd."""
    home = host.folder / "home"
    subprocess.run([sys.executable, "-m", "venv", str(home / "trm-venv")], check=True)
    (packages,) = (home / "trm-venv" / "lib").glob("python*/site-packages")
    (packages / "here.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n", encoding="utf-8")
    ray = home / "trm-venv" / "bin" / "ray"
    ray.write_text("#!/root/trm-venv/bin/python\nfrom ray.scripts.scripts import main\nmain()\n", encoding="utf-8")
    ray.chmod(0o755)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(host.folder / "hostkey")], check=True)
    settings = {
        "ListenAddress": host.address,
        "HostKey": str(host.folder / "hostkey"),
        "AuthorizedKeysFile": str(public_key),
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "UsePAM": "no",
        "StrictModes": "no",
        "PidFile": "none",
        "MaxStartups": "100",
        "MaxSessions": "100",
    }
    (host.folder / "sshd").write_text("".join(f"{key} {value}\n" for key, value in settings.items()), encoding="utf-8")
    start_sshd(host)


def start_sshd(host: Host) -> subprocess.Popen[bytes]:
    """Let people in; killed, everybody who is in is out."""
    Path("/run/sshd").mkdir(exist_ok=True)
    return host.start([where("sshd"), "-D", "-e", "-f", str(host.folder / "sshd")], stderr=subprocess.DEVNULL)


def where(program: str) -> str:
    """Where a program lies; empty where there is none."""
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") or ""
