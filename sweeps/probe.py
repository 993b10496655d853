"""What a machine says of itself when it is looked at before a run. It runs on that machine, with whatever is installed
there: the standard library alone, and nothing raised.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OURS = ("data_prep", "trm_core", "sweeps")  # what a run's worker imports
PACKAGES = ("torch", "ray", "numpy")
NO_FLOCK = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # of a file system that has none: leases do


def source_hash() -> str:
    """16 hex digits of the code that a worker here would run: every Python file of ours; "" where there is none."""
    digest = hashlib.sha256()
    for name in OURS:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            return ""
        home = Path(found.origin).parent
        for file in sorted(home.rglob("*.py")):
            digest.update(f"{name}/{file.relative_to(home).as_posix()}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def look(out: str, nonce: str, places: Sequence[str], gpus: float) -> dict[str, Any]:
    """Facts of this machine, and what of `out` and of other places it can reach. See preflight.py for what they mean.

    out: a folder in which the driver has left a file `nonce`, holding its own name. gpus: that Ray counts here.
    """
    facts: dict[str, Any] = {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "code": _said(source_hash),
        "memory": _memory(),
        "out": _reach(Path(out), nonce),
        "places": [place for place in places if not os.path.isdir(place)],
        "packages": {name: _version(name) for name in PACKAGES},
        "cuda": _said(_cuda) if gpus else "",
    }
    try:
        facts["free"] = shutil.disk_usage(out).free
    except OSError:
        facts["free"] = None
    return facts


def _said(ask: Any) -> str:
    try:
        return str(ask())
    except Exception as error:
        return f"error: {' '.join(str(error).split())[:160]}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cuda() -> str:
    """ "CUDA 12.8, NCCL 2.27.5", or an error where torch sees no GPU here."""
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError(f"torch {torch.__version__} sees no GPU")
    version: tuple[int, ...] = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
    nccl = ".".join(map(str, version)) if torch.distributed.is_nccl_available() else "none"
    return f"CUDA {torch.version.cuda}, NCCL {nccl}"


def _memory() -> int | None:
    """Bytes that are available."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None


def _reach(out: Path, nonce: str) -> str:
    """What keeps this machine from reading, writing or locking in the driver's folder; "" where nothing does."""
    mine = out / f"{nonce}.{socket.gethostname()}.{os.getpid()}"
    try:
        if (out / nonce).read_text(encoding="utf-8") != nonce:
            return "holds another file than the driver's"
        mine.write_text(nonce, encoding="utf-8")
    except FileNotFoundError:
        return "is not the driver's folder"
    except OSError as error:
        return f"cannot be used ({error.strerror})"
    try:
        with open(mine, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_FLOCK:
            return f"locks no files ({error.strerror})"
    return ""


def stderr_of(pid: int) -> str:
    """The last lines that a worker process beside this one wrote to its stderr, as one; "" without any.

    To be asked of a worker of the same node: Ray keeps what they write in one folder.
    """
    logs = Path(os.readlink("/proc/self/fd/2")).parent
    lines: list[str] = []
    for file in sorted(logs.glob(f"worker-*-{pid}.err")):
        with open(file, "rb") as stream:
            stream.seek(max(0, os.path.getsize(file) - 4096))
            lines += stream.read().decode(errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.startswith(":")]  # Ray's own marks
    return " | ".join(said[-4:])
