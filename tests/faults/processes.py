"""Processes that descend from this one, however often they were orphaned: found, told apart, signalled. Linux alone."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
ROLES = {  # role → how the command line of such a process begins, or what stands in its first word
    "trial": ("ray::ImplicitFunc",),
    "worker": ("ray::RayTrainWorker", "ray::execute", "ray::TrainController"),
    "raylet": ("/raylet/raylet",),
    "gcs": ("/gcs/gcs_server",),
}


def adopt_orphans() -> None:
    """From now on whoever loses its parent below this process becomes a child of this one, and so stays findable."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def descendants(of: int | None = None) -> list[int]:
    """Ids of the processes below this one (or another) that have not ended, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(entry.name))
    found = [os.getpid() if of is None else of]
    for pid in found:
        found += children.get(pid, ())
    return found[1:]


def command_line(pid: int) -> str:
    """What it was started as, or calls itself; "" once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def role(line: str) -> str:
    """Which of ROLES a command line is of, or ""."""
    first = line.partition(" ")[0]
    for name, signs in ROLES.items():
        if any(line.startswith(sign) if sign.startswith("ray::") else first.endswith(sign) for sign in signs):
            return name
    return ""


def with_role(wanted: str, below: int) -> list[int]:
    """Descendants of a process that play this role."""
    return [pid for pid in descendants(below) if role(command_line(pid)) == wanted]


def send(pid: int, number: signal.Signals) -> bool:
    """Whether it was there to be signalled. It must be one of ours."""
    if pid not in descendants():
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


def reap() -> None:
    """Take leave of orphans that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def patience(seconds: float) -> float:
    """So many seconds of a machine that does nothing else: longer by the clock where others compute beside us."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def gone_within(seconds: float, but: frozenset[int] = frozenset()) -> list[str]:
    """Wait until no descendant is left but these; the command lines of those that stay."""
    began = time.monotonic()
    while left := _lines(but):
        if time.monotonic() - began > patience(seconds):
            return left
        time.sleep(0.2)
    return []


def end_all(but: frozenset[int] = frozenset()) -> None:
    """End every descendant but these, at once."""
    for pid in descendants():
        if pid not in but:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _lines(but: frozenset[int]) -> list[str]:
    below = {pid for kept in but for pid in descendants(kept)}
    return [command_line(pid) or "?" for pid in descendants() if pid not in but | below]


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """Whatever happens inside, no descendant outlives it."""
    try:
        yield
    finally:
        end_all()
