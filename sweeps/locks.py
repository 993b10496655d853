"""Locks that are leases: a file says who holds it, and its time of change, renewed by the holder, that he still does.

Where the file system has flock, the holder has that too; but Lustre may have none, or one that ends at the host, and
NFS keeps a dead host's for minutes. So three signs decide who is gone: of a process of this machine, that it has ended;
of any other, that its heartbeat is old by the file system's own clock (a file just touched by the reader against the
lease; never two hosts' clocks), and that it did not move while the reader watched.

The file is never written by anyone but who has it. A taker makes `<name>.1` (`.2`, where one died at it), which only
one can, sees that what it judged is still as it was, and renames its own over the file. A holder that slept so long
that he was taken for dead finds another file in the place of his own: `lost`. What stands in a lease is anybody's word:
it is parsed, compared and shown, never opened or deleted.

Who owns a *run* is no lock but a claim in MLflow (records/claims.py), since two machines may have no folder in common.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import stat
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data_prep.unfinished import process_lives, this_machine
from sweeps.probe import NO_FLOCK
from sweeps.words import clean

BEAT_S = 5.0  # between heartbeats
STALE_S = 60.0  # a heartbeat of another machine's that is so old has stopped,
FLOCKED_S = 300.0  # or so old where the kernel still calls the file locked: by NFS for the dead, or by one who sleeps
WATCHED_S = 3 * BEAT_S  # and that did not move for so long, watched by one's own clock
WAIT_FOR_LOCK_S = 60.0  # an orphan of a killed command needs seconds to notice that it is one
MAKES_WITHIN_S = 600.0  # an empty store takes seconds; a hundred jobs of an array may want it at the same time
SAY_AFTER_S = 5.0
LOOK_AGAIN_S = 0.2
MOST_BYTES = 2000  # of a lease
UNKNOWN = "unknown"


class FolderHeld(ValueError):
    """Another process trains this run."""


class FileHeld(ValueError):
    """Another process has the right that a lock file stands for."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"{holder} has it")
        self.holder = holder  # "process 123 on host"


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as it stands there."""

    id: str  # of this lease, no other has it
    host: str
    machine: str  # where process ids are comparable
    pid: int
    started: str  # when that process began, by its machine's kernel

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_here(self) -> bool:
        """Whether its process is one of this machine's."""
        return self.machine == this_machine()

    def text(self) -> bytes:
        """A line for a person, and one for `read`."""
        facts = {"id": self.id, "host": self.host, "machine": self.machine, "pid": self.pid, "started": self.started}
        return f"{self}\n{json.dumps(facts)}\n".encode()


def myself() -> Holder:
    """This process, as the holder of a new lease."""
    return Holder(uuid.uuid4().hex, socket.gethostname(), this_machine(), os.getpid(), birth(os.getpid()))


def read(text: bytes) -> Holder | None:
    """The holder in a lease's text; None where nobody is named, or not in our words."""
    try:
        facts = json.loads(text.partition(b"\n")[2])
        words = [facts[name] for name in ("id", "host", "machine", "started")]
        pid = facts["pid"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if not all(isinstance(word, str) for word in words) or type(pid) is not int or not 0 < pid < 2**31:
        return None
    of_lease, host, machine, started = (clean(word[:300]) for word in words)
    return Holder(of_lease, host, machine, pid, started)


def birth(pid: int) -> str:
    """When a process of this machine began, in its kernel's ticks; "" where it has ended, "unknown" if none says."""
    try:
        state, *facts = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return UNKNOWN if process_lives(pid) else ""
    return "" if state in ("Z", "X") else facts[18]


# --- deciding --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """One look at a lease."""

    generation: int  # 0: the file itself; above, a takeover that has begun
    inode: int
    text: bytes
    beat_ns: int  # its time of change
    age_s: float = 0.0  # since then, by the file system's clock
    flocked: bool | None = None  # by another; None: there is no flock here, or it was not asked for

    @property
    def holder(self) -> Holder | None:
        """Who holds it; None where nobody does, or nobody that can be read."""
        return read(self.text)

    @property
    def words(self) -> str:
        """Who holds it, for a person."""
        return str(self.holder or "an unknown process")

    @property
    def is_nobodys(self) -> bool:
        """Whether it was let go of, or never had. The file itself is in place only when it is whole."""
        return self.generation == 0 and self.holder is None

    def is_as(self, other: Seen) -> bool:
        """Whether nothing has happened between two looks."""
        return self._facts() == other._facts()

    def _facts(self) -> tuple[int, int, bytes, int]:
        return self.generation, self.inode, self.text, self.beat_ns


def is_free(seen: Seen, still_s: float) -> bool:
    """Whether a lease has no living holder. still_s: for how long it was watched without a change."""
    if seen.is_nobodys and not seen.flocked:
        return True
    holder = seen.holder
    if holder is not None and holder.is_here:
        began = birth(holder.pid)
        return not began or (UNKNOWN not in (began, holder.started) and began != holder.started)
    return seen.age_s > (FLOCKED_S if seen.flocked else STALE_S) and still_s > WATCHED_S


def gives_up(seen: Seen, still_s: float, left_s: float) -> bool:
    """Whether who waits is told that it is held: his time is over, and the holder is no one who may be gone."""
    holder = seen.holder
    return left_s < 0 and (still_s < WATCHED_S or (holder is not None and holder.is_here))


# --- doing -----------------------------------------------------------------------------------------------------------


class Lease:
    """The right that a file stands for. Take it with `hold_file`."""

    def __init__(self, path: Path) -> None:
        self.path, self.me = path, myself()
        self.lost = False  # another has taken us for dead
        self._descriptor = -1
        self._generation = 0  # of the file of ours that is to become the lease
        self._ended = threading.Event()
        self._beating = threading.Thread(target=self._beat_on, name="heartbeat of a lock", daemon=True)

    def wait(self, wait_s: float, say: Callable[[str], None] = lambda holder: None) -> None:
        """Take it, once it is free. say: hears who has it, once, where that takes a while. Raises FileHeld, OSError."""
        began = time.monotonic()
        until, before, since, said = began + wait_s, None, 0.0, False
        while True:
            seen, now = self.look(), time.monotonic()
            if before is None or not seen.is_as(before):
                before, since = seen, now
            if is_free(seen, now - since) and self.begin(seen) and self.finish():
                self._beating.start()
                return
            if gives_up(seen, now - since, until - now):
                raise FileHeld(seen.words)
            if not said and now - began > SAY_AFTER_S:
                say(seen.words)
                said = True
            time.sleep(LOOK_AGAIN_S)

    def look(self) -> Seen:
        """The lease as it is now: of the file, or of the newest takeover."""
        while True:
            newest = max(self._generations())
            try:
                return self._look_at(newest)
            except FileNotFoundError:
                if newest == 0:  # its folder is gone
                    raise  # else it was a takeover's, and has just become the file

    def _look_at(self, generation: int) -> Seen:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | (0 if generation else os.O_CREAT)
        # read alone, as it may be another user's; a pipe of that name keeps nobody waiting
        descriptor = os.open(self._file(generation), flags, 0o644)
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise OSError(errno.EINVAL, "no file, expected a lock", str(self._file(generation)))
            seen = Seen(generation, facts.st_ino, os.pread(descriptor, MOST_BYTES, 0), facts.st_mtime_ns)
            if seen.holder is not None and seen.holder.is_here:
                return seen
            age_s = (self._now_ns() - facts.st_mtime_ns) / 1e9
            free = _flock(descriptor, fcntl.LOCK_SH)  # two who look are not in each other's way
            return Seen(*seen._facts(), age_s, None if free is None else not free)
        finally:
            os.close(descriptor)

    def _now_ns(self) -> int:
        """By the clock of the file system."""
        with tempfile.TemporaryFile(dir=self.path.parent) as file:
            os.utime(file.fileno())
            return os.fstat(file.fileno()).st_mtime_ns

    def begin(self, seen: Seen) -> bool:
        """The first half of taking a lease that was seen to be free: alone among all takers. False: another was it."""
        self._generation = seen.generation + 1
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._descriptor = os.open(self._file(self._generation), flags, 0o644)
        except FileExistsError:
            return False
        try:
            for _ in range(100):  # one who looks at it has it for an instant
                if _flock(self._descriptor) is not False:
                    break
                time.sleep(0.01)
            os.pwrite(self._descriptor, self.me.text(), 0)
            alone = max(self._generations()) == self._generation
            if alone and self._look_at(seen.generation).is_as(seen):
                return True
        except FileNotFoundError:
            pass  # what was seen has become the file itself
        except BaseException:
            self._back_out()
            raise
        self._back_out()
        return False

    def finish(self) -> bool:
        """The second half: ours takes the place of the file. False: we slept in between, and another has begun anew."""
        for generation in self._generations():
            if 0 < generation < self._generation:  # of takers that died at it
                self._file(generation).unlink(missing_ok=True)
        try:
            self._file(self._generation).replace(self.path)
        except FileNotFoundError:
            self._close()
            return False
        return True

    def beat(self) -> None:
        """Say that we are still there, and see whether it is still ours."""
        try:
            self.lost = self.lost or os.lstat(self.path).st_ino != os.fstat(self._descriptor).st_ino
            os.utime(self._descriptor)
        except FileNotFoundError:
            self.lost = True
        except OSError:
            pass  # a file system that is away for a while: it is asked again

    def release(self) -> None:
        """Let go of it. The file stays, and names nobody."""
        self._ended.set()
        if self._beating.is_alive():
            self._beating.join()
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            self._close()

    def remove(self) -> None:
        """Let go of it, and leave no file; before that nobody finds it free, so it is nobody else's by then."""
        with contextlib.suppress(OSError):
            if self._descriptor >= 0 and os.lstat(self.path).st_ino == os.fstat(self._descriptor).st_ino:
                self.path.unlink()
        self.release()

    def _beat_on(self) -> None:
        while not self._ended.wait(BEAT_S):
            self.beat()

    def _back_out(self) -> None:
        with contextlib.suppress(OSError):
            mine = self._file(self._generation)
            if os.lstat(mine).st_ino == os.fstat(self._descriptor).st_ino:
                mine.unlink()
        self._close()

    def _close(self) -> None:
        os.close(self._descriptor)  # lets go of the flock
        self._descriptor = -1

    def _file(self, generation: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{generation}") if generation else self.path

    def _generations(self) -> list[int]:
        """0 for the file itself, and those of takeovers that have begun."""
        ours = re.compile(re.escape(self.path.name) + r"\.([1-9][0-9]{0,5})")
        found = (ours.fullmatch(name) for name in os.listdir(self.path.parent))
        return [0, *(int(one[1]) for one in found if one is not None)]


def _flock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool | None:
    """Whether the file is locked for us now; None where there are no such locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_FLOCK:
            raise
        return None
    return True


@contextlib.contextmanager
def hold_file(path: Path, wait_s: float) -> Iterator[Lease]:
    """The right that this lock file stands for; waits for a holder to end. The file stays. Raises FileHeld, OSError."""
    lease = Lease(path)
    try:
        lease.wait(wait_s)
        yield lease
    finally:
        lease.release()


@contextlib.contextmanager
def hold_folder(folder: Path, wait_s: float = WAIT_FOR_LOCK_S) -> Iterator[Lease]:
    """The right to train in this folder; waits for a holder to end. Raises FolderHeld."""
    with contextlib.ExitStack() as stack:
        try:
            lease = stack.enter_context(hold_file(folder / ".lock", wait_s))
        except FileHeld as error:
            raise FolderHeld(
                f"{folder}: {error.holder} trains here, waited {wait_s:.0f} s; end it, or wait for it, then run again"
            ) from None
        yield lease


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """One process after the other, wherever several would make something in this folder; no lock file stays behind.

    All at once where nobody may write: nothing is made there either. Raises OSError, also where one who lives has it
    for longer than anything takes.
    """
    lease = Lease(folder / ".making.lock")
    try:
        _wait_for_turn(lease)
        yield
    finally:
        lease.remove()


def _wait_for_turn(lease: Lease) -> None:
    def say(holder: str) -> None:
        print(f"waiting for {holder}, which makes something in {lease.path.parent}", file=sys.stderr)

    try:
        lease.wait(MAKES_WITHIN_S, say)
    except FileHeld as error:
        said = f"{error.holder} makes something there, waited {MAKES_WITHIN_S:.0f} s"
        raise OSError(errno.EBUSY, said, str(lease.path.parent)) from None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
