"""Locks and signals: what keeps two processes apart, and what lets one end well. Knows no other file of ours.

A lock here belongs to the kernel: whatever ends its holder lets go of it. Who owns a *run* is no lock but a claim in
MLflow (records/claims.py), since two machines may have no folder in common.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

WAIT_FOR_LOCK_S = 60.0  # an orphan of a killed command needs seconds to notice that it is one
ENDING = (signal.SIGTERM, signal.SIGHUP)  # `kill` and a closed terminal


class FolderHeld(ValueError):
    """Another process trains this run."""


class FileHeld(ValueError):
    """Another process has the right that a lock file stands for."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"{holder} has it")
        self.holder = holder  # "process 123 on host"


# --- locks -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def hold_folder(folder: Path, wait_s: float = WAIT_FOR_LOCK_S) -> Iterator[None]:
    """The right to train in this folder; waits for a holder to end. Raises FolderHeld."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_file(folder / ".lock", wait_s))
        except FileHeld as error:
            raise FolderHeld(
                f"{folder}: {error.holder} trains here, waited {wait_s:.0f} s; end it, or wait for it, then run again"
            ) from None
        yield


@contextlib.contextmanager
def hold_file(path: Path, wait_s: float) -> Iterator[None]:
    """The right that this lock file stands for; waits for a holder to end. The file stays. Raises FileHeld, OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + wait_s
        while not _locked(descriptor):
            if time.monotonic() > deadline:
                raise FileHeld(os.pread(descriptor, 200, 0).decode(errors="replace") or "an unknown process")
            time.sleep(0.2)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)  # lets go of the lock


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """One process after the other, wherever several would make something in this folder; no lock file stays behind.

    Where the file system locks no folders, all at once.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- processes -------------------------------------------------------------------------------------------------------


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


# --- signals ---------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """`kill` and a closed terminal end the command as Ctrl-C does, so that no run is left RUNNING."""

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    with _handled(ENDING, interrupt):
        yield


@contextlib.contextmanager
def asked_to_end(act: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C, `kill` and a closed terminal call `act`; the second time they have their usual, sudden effect."""

    def heard(number: int) -> None:
        act()
        for each in heeded:
            signal.signal(each, signal.SIG_DFL)

    with _handled((signal.SIGINT, *ENDING), heard) as heeded:
        yield


@contextlib.contextmanager
def _handled(numbers: tuple[signal.Signals, ...], act: Callable[[int], None]) -> Iterator[list[signal.Signals]]:
    """These signals call `act`, but for those that are ignored (nohup); before and after, things are as they were."""
    if threading.current_thread() is not threading.main_thread():
        yield []
        return

    def handler(number: int, _: FrameType | None) -> None:
        act(number)

    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield heeded
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
