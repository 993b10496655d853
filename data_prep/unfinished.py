"""What is not whole yet lies beside its place under a name of its writer's, and what a killed one left is removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import time
from pathlib import Path

FOREIGN_S = 24 * 3600  # what another machine has left unfinished is taken for abandoned after a day


def partial_of(path: Path, pid: int | None = None) -> Path:
    """Where a process of this machine (None: this one) writes a file or folder that will lie at `path`."""
    here = hashlib.sha256(this_machine().encode()).hexdigest()[:8]
    path = _named(path)
    return path.parent / f"{_prefix(path)}{here}-{os.getpid() if pid is None else pid}"


def remove_unfinished(path: Path) -> None:
    """Remove what killed writers of this file or folder left beside it.

    This machine's, if its process is gone; another machine's (a shared file system), once untouched for a day.
    """
    try:
        path = _named(path)
        prefix, here = _prefix(path), partial_of(path, 0).name.removesuffix("0")
        there = [path.parent / name for name in os.listdir(path.parent) if name.startswith(prefix)]
    except OSError:  # no folder yet; or none that may be read, and who writes there will say so
        return
    for leftover in there:
        pid = leftover.name.removeprefix(here)
        if pid != leftover.name:
            abandoned = not pid.isdigit() or not process_lives(int(pid))
        else:
            abandoned = time.time() - _changed_at(leftover) > FOREIGN_S
        if abandoned:
            shutil.rmtree(leftover, ignore_errors=True)
            with contextlib.suppress(OSError):
                leftover.unlink()


def _named(path: Path) -> Path:
    """The same place by a path that ends in its name; "." does not."""
    return path if path.name else path.absolute()


def _prefix(path: Path) -> str:
    return f".{path.name[:100]}.partial-"


def _changed_at(path: Path) -> float:
    """When a path last changed, seconds since 1970; now, if it has just gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def process_lives(pid: int) -> bool:
    """Whether a process of this machine has this id."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it lives, and belongs to someone else
    return True


def this_machine() -> str:
    """A name for where process ids are comparable: this boot of this machine, and the container in it.

    Host names do not do: containers share them, and the ids of their processes.
    """
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # Linux has both, others neither
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)
