"""Which Ray is joined, and what keeps one of our own from starting."""

from __future__ import annotations

import os
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sweeps import joining
from sweeps.joining import NoCluster, RayNotStarted, check_limits, noted_address, running_cluster, session_folder
from tests.faults import processes


@pytest.fixture(params=["silent", "http"])
def no_ray(request: pytest.FixtureRequest) -> Iterator[str]:
    """A port that answers, and is no Ray."""
    if request.param == "silent":
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        return

    class Quiet(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `ray start` would leave its note."""
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    path = tmp_path / "ray" / "ray_current_cluster"
    path.parent.mkdir()
    return path


def test_a_port_that_answers_and_is_no_ray_is_named(no_ray: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", no_ray)
    with pytest.raises(NoCluster, match=f"{re.escape(no_ray)}: what answers there is no Ray"):
        running_cluster()


def test_a_note_of_what_is_no_ray_is_passed_over(no_ray: str, note: Path) -> None:
    note.write_text(no_ray)
    assert noted_address() == no_ray
    assert running_cluster() is None


@pytest.mark.ray
def test_a_ray_that_runs_is_joined_by_its_address_and_by_its_note(
    ray_here: None, note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    address = ray.get_runtime_context().gcs_address
    note.write_text(f"{address}\n")
    assert running_cluster() == address
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert running_cluster() == address


@pytest.mark.parametrize("what", ["nothing", "bytes", "a folder", "a pipe", "a loop", "stale"])
def test_a_note_that_names_no_ray_that_runs_is_passed_over(what: str, note: Path) -> None:
    if what == "bytes":
        note.write_bytes(b"\xff\x00" * 10_000)
    elif what == "a folder":
        note.mkdir()
    elif what == "a pipe":
        os.mkfifo(note)
    elif what == "a loop":
        note.symlink_to(note)
    elif what == "stale":
        note.write_text("127.0.0.1:9")
    assert running_cluster() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_a_note_that_another_user_has_left_is_not_followed(note: Path) -> None:
    note.write_text("127.0.0.1:9")
    assert noted_address()
    os.chown(note, 12345, 12345)
    assert noted_address() == ""


# --- a Ray of our own ------------------------------------------------------------------------------------------------


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """No temporary folder is named but those that the test names."""
    for name in ("RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_a_session_lies_where_ray_puts_it_if_that_will_do(named: pytest.MonkeyPatch) -> None:
    assert session_folder() is None
    named.setenv("TMPDIR", "/tmp")
    assert session_folder() is None


LONG = 78  # characters, as batch systems make them


def too_long(below: Path) -> str:
    """A folder that is there, with as long a path."""
    folder = Path(f"{below}/{'x' * (LONG - 1 - len(str(below)))}")
    folder.mkdir()
    assert len(str(folder)) == LONG
    return str(folder)


@pytest.mark.parametrize("folder", ["", "relative", "/nowhere/at/all", "/proc", "long"])
def test_a_temporary_folder_that_is_empty_not_there_or_too_long_for_sockets_is_passed_over(
    folder: str, named: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    named.chdir(tmp_path)
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        named.setenv("TMPDIR", too_long(Path(short)) if folder == "long" else folder)
        assert session_folder() == "/tmp/ray"


OUR_OWN = """
import sys
from sweeps.machines import cluster
with cluster():
    import ray
    print(ray.get_runtime_context().gcs_address, ray.get(ray.remote(lambda: "works").remote()), flush=True)
    sys.stdin.read()
"""


@pytest.mark.kills
def test_a_long_tmpdir_is_no_trouble_and_a_head_that_hangs_is_named_or_passed_over(
    note: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as short:
        environment = {name: text for name, text in os.environ.items() if name not in ("RAY_TMPDIR", "RAY_ADDRESS")}
        environment |= {"TMPDIR": too_long(Path(short)), "RAY_ADDRESS": "local"}
        with subprocess.Popen([sys.executable, "-c", OUR_OWN], env=environment, stdin=-1, stdout=-1, text=True) as ray:
            assert ray.stdout is not None
            address, works = ray.stdout.readline().split()
            assert works == "works"
            (head,) = processes.with_role("gcs", ray.pid)
            os.kill(head, signal.SIGSTOP)
            try:
                note.write_text(address)
                assert running_cluster() is None
                monkeypatch.setenv("RAY_ADDRESS", address)
                with pytest.raises(NoCluster, match=f"{re.escape(address)}: what answers there is no Ray, or one that"):
                    running_cluster()
            finally:
                os.kill(head, signal.SIGCONT)
                ray.communicate()
        assert ray.returncode == 0


def test_where_no_folder_will_do_it_is_one_line(named: pytest.MonkeyPatch) -> None:
    named.setattr(joining, "_has_room", lambda folder: False)
    with pytest.raises(RayNotStarted, match="set RAY_TMPDIR to a writable folder with a path of"):
        session_folder()


HOME_OF = """
import resource
from sweeps.joining import *
{limit}
try: check_home()
except RayNotStarted as error: print(error)
"""
NO_ROOM = "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))"  # as on a disk that is full by then


@pytest.mark.parametrize(
    ("limit", "environment", "said"),
    [
        (NO_ROOM, {}, "cannot keep its token there (File too large); make room, or set HOME to a folder"),
        ("", {"HOME": "/dev/null"}, "/dev/null/.ray: Ray cannot keep its token there (Not a directory)"),
        (NO_ROOM, {"RAY_AUTH_TOKEN": "x" * 64}, ""),
        (NO_ROOM, {"RAY_AUTH_MODE": "disabled"}, ""),
        ("", {}, ""),
        ("", {"HOME": "/dev/null", "RAY_AUTH_TOKEN_PATH": "/dev/null"}, ""),
    ],
)
def test_a_home_without_a_place_for_rays_token_is_one_line_and_keeps_no_half_of_one(
    limit: str, environment: dict[str, str], said: str, tmp_path: Path
) -> None:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("RAY_AUTH")}
    asked = subprocess.run(
        [sys.executable, "-c", HOME_OF.format(limit=limit)],
        env=clean | {"HOME": str(tmp_path / "new")} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said in asked.stdout
    assert len(asked.stdout.splitlines()) == bool(said)
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["new"], ["new", ".ray"])


def test_a_token_that_is_there_is_enough_in_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("x" * 64)
    asked = [sys.executable, "-c", HOME_OF.format(limit=NO_ROOM)]
    clean = {name: text for name, text in os.environ.items() if not name.startswith("RAY_AUTH")}
    said = subprocess.run(asked, env=clean | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert said.stdout == ""


def test_a_socket_in_the_longest_folder_that_is_taken_can_be_bound() -> None:
    longest = "/" + "x" * (joining.SOCKET_PATH - joining.BELOW_BYTES - 1)
    path = f"{longest}/{(joining.BELOW_BYTES - 1) * 'y'}"
    with closing(socket.socket(socket.AF_UNIX)) as one, pytest.raises(FileNotFoundError):  # and not: path too long
        one.bind(path)


def _limited(limit: str) -> str:
    """What check_limits says in a shell with this limit."""
    asked = "from sweeps.joining import *\ntry: check_limits()\nexcept RayNotStarted as error: print(error)"
    script = f"{limit}; exec {sys.executable} -c '{asked}'"
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout


def test_too_few_open_files_or_too_little_address_space_are_one_line() -> None:
    assert "64 open files, and Ray needs 256; give `ulimit -n 4096`" in _limited("ulimit -n 64")
    assert "2.0 GiB of address space" in _limited(f"ulimit -v {2 * 1024**2}")
    assert _limited("ulimit -n 1000") == ""


def test_a_soft_limit_of_open_files_is_raised_as_far_as_it_may_be() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
        check_limits()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= joining.FEWEST_FILES
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
