"""Which Ray to join, whether it answers, and where a Ray of our own may lie.

A note that others may write is only read.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import stat
import sys
import tempfile
from pathlib import Path

from sweeps import ray_internals

ANSWERS_WITHIN_S = 6.0  # a Ray; nine tenths of that is for one that is far away or busy
NOTE_BYTES = 300  # an address is shorter
SOCKET_PATH = 107  # bytes that a Unix socket's path may have on Linux, 103 on macOS
BELOW_BYTES = len("/ray/session_2026-11-26_08-56-46_535647_1234567/sockets/plasma_store.123456")
OPEN_FILES, FEWEST_FILES = 4096, 256  # asked for; needed: Ray's raylet had 147 open with two workers
TOKEN_BYTES = 64  # of Ray's token
ADDRESS_SPACE = 4 * 1024**3  # bytes, mapped rather than used: a trial's process had mapped 3.6e9


class NoCluster(ValueError):
    """RAY_ADDRESS names no Ray cluster that answers."""


class RayNotStarted(ValueError):
    """This machine, or what this shell allows, does not let Ray start."""


def running_cluster() -> str | None:
    """RAY_ADDRESS, else what `ray start` noted on this machine if a Ray of ours answers there. Raises NoCluster.

    Ray's own "auto" also takes the private Ray of another command on this machine, which ends when that one does.
    """
    named = os.environ.get("RAY_ADDRESS", "")
    if named == "local":
        return None
    if "://" in named:
        raise NoCluster(f"RAY_ADDRESS={named}: expected host:port; to start from outside, use `ray job submit` instead")
    if named and named != "auto":
        if not _connects(named):
            raise NoCluster(f"RAY_ADDRESS={named}: nothing answers; start the cluster, or unset RAY_ADDRESS")
        if not _is_ray(named):
            raise NoCluster(
                f"RAY_ADDRESS={named}: what answers there is no Ray, or one that hangs; name the port of `ray start"
                " --head`, 6379 unless it was told otherwise, or unset RAY_ADDRESS"
            )
        return named
    noted = noted_address()
    if noted and _connects(noted) and _is_ray(noted):
        return noted
    if named == "auto":
        raise NoCluster("RAY_ADDRESS=auto: no cluster runs on this machine; start it with `ray start`, or unset it")
    return None


def note() -> Path:
    """Where `ray start` notes the cluster that it has brought up on this machine."""
    folders = [os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR") if sys.platform == "linux" else None]
    return Path(next(filter(None, folders), "/tmp"), "ray", "ray_current_cluster")


def noted_address() -> str:
    """The address that the note holds; "" without a note, and of one that neither we nor root have written."""
    with contextlib.suppress(OSError, ValueError):  # not there, not ours to read, no text
        descriptor = os.open(note(), os.O_RDONLY | os.O_NONBLOCK)  # a pipe of that name keeps nobody waiting
        with open(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode) and found.st_uid in (0, os.geteuid()):
                return file.read(NOTE_BYTES).decode("ascii").strip()
    return ""


def _connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return True
    except (OSError, ValueError, OverflowError):
        return False


def _is_ray(address: str) -> bool:
    """Whether what listens there is Ray's head, and not hung. ray.init would wait minutes for one that is neither.

    Raises NoCluster where it wants a token.
    """
    try:
        return ray_internals.is_head(address, ANSWERS_WITHIN_S)
    except ray_internals.WantsToken:
        raise NoCluster(
            f"{address}: this Ray cluster wants its token, and there is none here or another; copy ~/.ray/auth_token of"
            " its head to this machine (mode 0600), and set RAY_AUTH_MODE=token"
        ) from None


# --- a Ray of our own ------------------------------------------------------------------------------------------------


def session_folder() -> str | None:
    """Where our Ray's session is to lie; None: where Ray puts it. Raises RayNotStarted.

    Batch systems set a TMPDIR that is too long for the sockets in it, and some leave it empty.
    """
    told = [os.environ[name] for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ]
    if not told:
        told = ["/tmp"]
    if _has_room(told[0]):
        return None
    for folder in (*told[1:], "/tmp", "/var/tmp", "/dev/shm"):
        if _has_room(folder):
            return f"{folder}/ray"
    longest = SOCKET_PATH - BELOW_BYTES
    raise RayNotStarted(
        f"{told[0] or 'an empty TMPDIR'}: no place for Ray's session, and /tmp, /var/tmp and /dev/shm are none either;"
        f" set RAY_TMPDIR to a writable folder with a path of {longest} characters or fewer"
    )


def _has_room(folder: str) -> bool:
    """Whether sockets below it have paths that are short enough, and it can be written."""
    if not os.path.isabs(folder) or len(os.fsencode(folder)) > SOCKET_PATH - BELOW_BYTES:
        return False
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
            file.flush()
    except OSError:
        return False
    return True


def check_machine() -> None:
    """That a Ray of our own can start here, before anything is written. Raises RayNotStarted."""
    check_limits()
    session_folder()
    check_home()


def check_home() -> None:
    """That Ray can keep its token. Raises RayNotStarted.

    On a full disk Ray would leave half a token, and say no more than that a disk is full.
    """
    given = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if given or os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return
    folder = Path(os.path.expanduser("~")) / ".ray"
    try:
        token = folder / "auth_token"
        if token.exists() and token.read_bytes():
            return
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0" * TOKEN_BYTES)
            file.flush()
    except OSError as error:
        raise RayNotStarted(
            f"{folder}: Ray cannot keep its token there ({error.strerror}); make room, or set HOME to a folder that can"
            " be written, then give the same command again"
        ) from None


def check_limits() -> None:
    """Raise what this shell limits as far as it lets us. Raises RayNotStarted where that is too little for Ray."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES:
        highest = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, hard))
        if highest < FEWEST_FILES:
            raise RayNotStarted(
                f"this shell allows {highest} open files, and Ray needs {FEWEST_FILES}; give `ulimit -n {OPEN_FILES}`,"
                " or have the limit raised (/etc/security/limits.conf)"
            )
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < ADDRESS_SPACE:
        raise RayNotStarted(
            f"this shell allows a process {soft / 1024**3:.1f} GiB of address space, and Ray's map"
            f" {ADDRESS_SPACE // 1024**3} GiB; give `ulimit -v unlimited`, or limit memory by a cgroup instead"
        )
