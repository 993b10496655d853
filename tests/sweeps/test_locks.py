from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sweeps.locks import (
    FLOCKED_S,
    STALE_S,
    WATCHED_S,
    FileHeld,
    FolderHeld,
    Lease,
    Seen,
    birth,
    gives_up,
    hold_file,
    hold_folder,
    is_free,
    myself,
    one_at_a_time,
    read,
)
from tests.sweeps.records.stores import another_process, hear, tell

NO_FLOCK = (  # what comes first in another process: a file system that has none
    "import errno, fcntl\ndef flock(*_): raise OSError(errno.ENOSYS, 'Function not implemented')\nfcntl.flock = flock\n"
)
HOLDS = (
    "import sys, time; from pathlib import Path; from sweeps.locks import hold_folder\n"
    "with hold_folder(Path(sys.argv[1])): print('held', flush=True); input()\n"
)
STILL = WATCHED_S + 1


@pytest.fixture(params=["flock", "no flock"])
def flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system that locks, and one that does not; what another process is told before anything else."""
    if request.param == "flock":
        return ""
    monkeypatch.setattr(fcntl, "flock", _no_flock)
    return NO_FLOCK


def _no_flock(*_: object) -> None:
    raise OSError(errno.ENOSYS, "Function not implemented")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".lock"


def elsewhere(path: Path, *, beat_age_s: float = 0.0) -> Path:
    """The file as a process of another machine left it, its heartbeat so long ago."""
    path.write_bytes(replace(myself(), machine="another machine", host="far", pid=7).text())
    at = path.stat().st_mtime - beat_age_s
    os.utime(path, (at, at))
    return path


def taken(path: Path) -> Lease:
    """A lease of this process's, by hand."""
    lease = Lease(path)
    assert lease.begin(lease.look())
    assert lease.finish()
    return lease


@pytest.fixture
def holder(tmp_path: Path, flock: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder until it is told."""
    process = another_process(flock + HOLDS, str(tmp_path))
    assert hear(process) == "held"
    yield process
    process.kill()
    process.communicate()


# --- two processes ---------------------------------------------------------------------------------------------------


def test_a_folder_that_another_process_holds_is_refused_with_its_name_until_that_is_killed(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(FolderHeld, match=f"process {holder.pid} on"), hold_folder(tmp_path, wait_s=0):
        pass
    holder.kill()
    holder.communicate()
    with hold_folder(tmp_path, wait_s=0):  # whatever ends its holder lets go of it
        pass
    assert os.listdir(tmp_path) == [".lock"]


def test_a_stopped_process_of_this_machine_keeps_its_lock_however_old_its_heartbeat(
    tmp_path: Path, path: Path, holder: subprocess.Popen[str]
) -> None:
    holder.send_signal(signal.SIGSTOP)
    os.utime(path, (0, 0))
    with pytest.raises(FolderHeld, match=f"process {holder.pid} on"), hold_folder(tmp_path, wait_s=0):
        pass
    assert not is_free(Lease(path).look(), 10 * FLOCKED_S)
    holder.send_signal(signal.SIGCONT)


def test_a_folder_that_is_let_go_of_while_one_waits_is_had(
    tmp_path: Path, path: Path, holder: subprocess.Popen[str]
) -> None:
    tell(holder)
    with hold_folder(tmp_path) as lease:
        assert path.read_text().startswith(f"process {os.getpid()} on")
        assert not lease.lost
    assert path.read_text() == ""
    holder.communicate()


def test_a_killed_process_that_nobody_has_buried_holds_nothing(path: Path, holder: subprocess.Popen[str]) -> None:
    began = birth(holder.pid)
    assert began.isdigit()
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead by now, and still in the table
    assert birth(holder.pid) == ""
    with hold_file(path, wait_s=0):
        pass


def test_another_process_with_a_dead_ones_id_does_not_hold_its_lock(path: Path, flock: str) -> None:
    path.write_bytes(replace(myself(), started="1").text())
    with hold_file(path, wait_s=0):
        pass


# --- what is free ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flocked", "age_s", "still_s", "free"),
    [
        (False, STALE_S + 1, STILL, True),
        (None, STALE_S + 1, STILL, True),
        (None, STALE_S - 1, STILL, False),
        (None, STALE_S + 1, STILL - 2, False),  # by a clock that is wrong, it would be dead: it beats
        (True, STALE_S + 1, STILL, False),
        (True, FLOCKED_S + 1, STILL, True),  # NFS, whose server still thinks of the dead
        (True, FLOCKED_S + 1, 0.0, False),
    ],
)
def test_a_holder_elsewhere_is_gone_when_its_heartbeat_is_old_and_was_watched_not_to_move(
    flocked: bool | None, age_s: float, still_s: float, free: bool
) -> None:
    text = replace(myself(), machine="another").text()
    assert is_free(Seen(0, 1, text, 0, age_s, flocked), still_s) == free


def test_who_waits_is_told_so_while_the_holder_beats_and_waits_on_while_it_may_be_dead() -> None:
    far = Seen(0, 1, replace(myself(), machine="another").text(), 0)
    here = Seen(0, 1, myself().text(), 0)
    assert not gives_up(far, still_s=1, left_s=1)
    assert gives_up(far, still_s=1, left_s=-1)
    assert not gives_up(far, still_s=STILL, left_s=-1)
    assert gives_up(here, still_s=STILL, left_s=-1)


def test_age_is_measured_by_the_file_systems_clock(path: Path, flock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(path, beat_age_s=100.0)
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setattr("time.time_ns", lambda: 0)
    seen = Lease(path).look()
    assert 100 <= seen.age_s < 100 + STALE_S  # but for how busy this machine is
    assert is_free(seen, STILL)
    assert not is_free(Lease(elsewhere(path)).look(), STILL)


def test_a_lock_that_the_kernel_still_keeps_for_a_dead_machine_is_taken_when_it_has_not_beaten_for_long(
    path: Path,
) -> None:
    with elsewhere(path, beat_age_s=FLOCKED_S - STALE_S).open("r+") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        lease = Lease(path)
        seen = lease.look()
        assert seen.flocked
        assert not is_free(seen, STILL)
        elsewhere(path, beat_age_s=FLOCKED_S + 1)
        seen = lease.look()
        assert is_free(seen, STILL)
        assert lease.begin(seen)
        assert lease.finish()
        assert not Lease(path).look().flocked  # not asked for: it is this machine's now
        assert read(path.read_bytes()) == lease.me
    lease.release()


# --- interleavings, step by step -------------------------------------------------------------------------------------


def test_of_two_that_saw_the_same_dead_holder_one_has_its_place(path: Path, flock: str) -> None:
    elsewhere(path, beat_age_s=STALE_S + 1)
    first, second, third = Lease(path), Lease(path), Lease(path)
    seen = first.look()
    assert seen.is_as(second.look())
    assert first.begin(seen)
    assert not second.begin(seen)  # while the first is at it
    assert first.finish()
    assert not third.begin(seen)  # and after
    assert read(path.read_bytes()) == first.me
    assert os.listdir(path.parent) == [".lock"]
    first.release()


def test_a_holder_that_wakes_between_the_look_and_the_taking_keeps_it(path: Path, flock: str) -> None:
    elsewhere(path, beat_age_s=STALE_S + 1)
    taker = Lease(path)
    seen = taker.look()
    os.utime(path)  # a heartbeat
    assert not taker.begin(seen)
    assert os.listdir(path.parent) == [".lock"]


def test_a_taker_that_died_at_it_is_taken_over_from_and_leaves_nothing(path: Path, flock: str) -> None:
    elsewhere(path, beat_age_s=STALE_S + 1)
    dead = Lease(path)
    assert dead.begin(dead.look())
    taker = Lease(path)
    seen = taker.look()
    assert (seen.generation, seen.holder) == (1, dead.me)
    assert not is_free(seen, STILL)  # this process lives
    assert taker.begin(seen)  # as if it did not
    assert taker.finish()
    assert read(path.read_bytes()) == taker.me
    assert os.listdir(path.parent) == [".lock"]
    assert not dead.finish()  # should it wake
    assert read(path.read_bytes()) == taker.me
    taker.release()


def test_a_takeover_that_names_nobody_yet_is_not_free(path: Path, flock: str) -> None:
    path.touch()
    path.with_name(".lock.1").touch()
    seen = Lease(path).look()
    assert (seen.generation, seen.holder) == (1, None)
    assert not is_free(seen, STILL)
    with pytest.raises(FileHeld, match="an unknown process"), hold_file(path, wait_s=0):
        pass


def test_who_slept_and_was_taken_for_dead_finds_out_and_touches_nothing_of_the_others(path: Path, flock: str) -> None:
    sleeper = taken(path)
    sleeper.beat()
    assert not sleeper.lost
    taker = Lease(path)
    assert taker.begin(taker.look())
    assert taker.finish()
    sleeper.beat()
    assert sleeper.lost
    sleeper.release()
    assert read(path.read_bytes()) == taker.me
    taker.beat()
    assert not taker.lost
    taker.release()


def test_a_heartbeat_moves_what_others_see(path: Path, flock: str) -> None:
    lease = taken(path)
    os.utime(path, (1, 1))
    before = lease.look()
    lease.beat()
    assert lease.look().beat_ns > before.beat_ns
    lease.release()


# --- what stands in a lease is anybody's word ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        b"process 1 on an older version's host",
        b"\xff\xfe\n{}\n",
        b"x\n" + b"[" * 1500,
        b'x\n{"id": "../../victim", "host": 1, "machine": "m", "pid": 7, "started": "1"}\n',
        b'x\n{"id": "i", "host": "h", "machine": "m", "pid": true, "started": "1"}\n',
        b'x\n{"id": "i", "host": "h", "machine": "m", "pid": -1, "started": "1"}\n',
    ],
)
def test_what_is_no_lease_names_nobody_and_keeps_nobody_out(text: bytes, path: Path, flock: str) -> None:
    path.write_bytes(text)
    assert read(text) is None
    with hold_file(path, wait_s=0):
        pass


def test_no_word_of_a_lease_is_opened_or_deleted_or_shown_as_it_came(tmp_path: Path, path: Path, flock: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    path.write_bytes(replace(myself(), id=str(victim), host="a\x1b[2Jb", machine=str(victim)).text())
    with pytest.raises(FileHeld) as refused, hold_file(path, wait_s=0):
        pass
    assert "\x1b" not in refused.value.holder
    os.utime(path, (1, 1))
    lease = Lease(path)
    assert lease.begin(lease.look())
    assert lease.finish()
    lease.release()
    assert victim.read_text() == "precious"


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path, path: Path) -> None:
    (tmp_path / "victim").write_text("precious")
    path.symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"), hold_file(path, wait_s=0):
        pass
    assert (tmp_path / "victim").read_text() == "precious"


def test_an_error_that_is_not_the_lack_of_locks_is_not_swallowed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", broken)
    with pytest.raises(OSError, match="Input/output error"), hold_file(path, wait_s=0):
        pass
    assert not list(path.parent.glob(".lock.*"))


def test_a_lock_in_a_folder_that_is_gone_is_said_to_be_and_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), hold_file(tmp_path / "gone" / ".lock", wait_s=60):
        pass


# --- one at a time ---------------------------------------------------------------------------------------------------

IN_TURN = (
    "import sys; from pathlib import Path; from sweeps.locks import one_at_a_time\n"
    "with open(sys.argv[2], 'a', buffering=1) as log:\n"
    "    for _ in range(5):\n"
    "        with one_at_a_time(Path(sys.argv[1])): print('in', file=log); print('out', file=log)\n"
)
MAKES = (
    "import sys; from pathlib import Path; from sweeps.locks import one_at_a_time\n"
    "with one_at_a_time(Path(sys.argv[1])): print('in', flush=True); input()\n"
)


@pytest.fixture
def making(tmp_path: Path) -> Path:
    return tmp_path / ".making.lock"


def test_one_at_a_time_leaves_no_file_behind(tmp_path: Path, flock: str) -> None:
    with one_at_a_time(tmp_path):
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_several_processes_make_something_one_after_the_other(tmp_path: Path, flock: str) -> None:
    log, folder = tmp_path / "log", tmp_path / "folder"
    folder.mkdir()
    makers = [another_process(flock + IN_TURN, str(folder), str(log)) for _ in range(4)]
    assert [(maker.communicate(), maker.returncode)[1] for maker in makers] == [0] * 4
    assert log.read_text().split() == ["in", "out"] * 20
    assert list(folder.iterdir()) == []


def test_who_is_killed_at_it_is_followed_by_the_next_and_who_waits_says_for_whom(
    tmp_path: Path, flock: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    maker = another_process(flock + MAKES, str(tmp_path))
    assert hear(maker) == "in"
    monkeypatch.setattr("sweeps.locks.SAY_AFTER_S", 0.0)
    monkeypatch.setattr("sweeps.locks.MAKES_WITHIN_S", 1.0)
    refused = f"process {maker.pid} on .* makes something there, waited 1 s"
    with pytest.raises(OSError, match=refused), one_at_a_time(tmp_path):
        pass
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith(f"waiting for process {maker.pid} on ")
    assert said[0].endswith(f", which makes something in {tmp_path}")
    maker.kill()
    maker.communicate()
    with one_at_a_time(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_dead_machine_for_which_the_file_system_still_keeps_the_lock_is_passed_by(
    tmp_path: Path, making: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere(making, beat_age_s=FLOCKED_S + 1)
    monkeypatch.setattr("sweeps.locks.WATCHED_S", 0.1)
    with making.open() as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        with one_at_a_time(tmp_path):
            assert making.read_text().startswith(f"process {os.getpid()} on")
    assert list(tmp_path.iterdir()) == []


def test_one_who_was_taken_for_dead_does_not_remove_the_lock_of_the_next(tmp_path: Path, making: Path) -> None:
    slept, other = taken(making), taken(making)  # the second has seen the first sleep for too long
    slept.remove()
    assert making.read_bytes() == other.me.text()
    other.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_where_nobody_may_write_nobody_waits(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    entered = False
    monkeypatch.setattr(os, "open", refuse)
    with one_at_a_time(tmp_path):
        entered = True
    assert entered
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_not_taken_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(OSError, match="No space left"), one_at_a_time(tmp_path):
        pass


@pytest.mark.parametrize("name", [".lock", ".lock.1"])
def test_a_pipe_in_the_place_of_a_lock_keeps_nobody_waiting(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match="no file, expected a lock"), hold_file(tmp_path / ".lock", 0):
        pass
