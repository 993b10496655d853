"""How a cluster's head is reached: OpenSSH's words, and a tunnel to what listens on the head's loopback."""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from data_prep.terminal import clean
from sweeps.cluster import launcher
from sweeps.cluster.findings import at, read_text, unfilled

ADDRESSED = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?(?:[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+)")
ASKS_NOBODY = (  # a key, a host that is who it was last time, and an end to silence after a minute
    "BatchMode=yes",
    "StrictHostKeyChecking=accept-new",
    "ConnectTimeout=20",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "LogLevel=ERROR",
)
PAGES = {"Ray's dashboard": 8265, "MLflow": 5000}
TRIES = 3  # for a port that nobody else has taken meanwhile
GREETING_LINES, GREETING_BYTES = 1000, 1000  # what a login may say before our word
ENDS_WITHIN_S = 5.0


class NoLogin(ValueError):
    """A head that cannot be reached, or whose address says no head."""


@dataclass(frozen=True)
class Login:
    """Who logs in where, by ssh, and how it was given."""

    destination: str  # user@host
    options: tuple[str, ...]  # -i key, -p port
    given: str  # cluster.yaml, ssh://user@host

    def command(self, *options: str, script: str = "") -> list[str]:
        """ssh's arguments. script: sh's words, to be run there."""
        settled = [word for option in ASKS_NOBODY for word in ("-o", option)]
        there = [f"exec sh -c {shlex.quote(script)}"] if script else []
        return ["ssh", *settled, *self.options, *options, "--", self.destination, *there]

    def by_hand(self, *options: str) -> str:
        """The same for a person's shell, who may be asked."""
        return shlex.join(["ssh", *self.options, *options, self.destination])


def find_login(given: str) -> Login:
    """A file in Ray's schema, whose head must be up; or user@host, or ssh://user@host:port. Raises NoLogin, BadFile."""
    if "://" in given:
        return _of_address(given)
    if "@" in given and not Path(given).exists():
        return Login(_checked(given, given), (), given)
    path = Path(given)
    if not path.exists():
        raise NoLogin(f"{given}: no such file; give a cluster's file in Ray's schema, cluster.yaml say, or user@host")
    return of_file(path)


def of_file(path: Path) -> Login:
    """The head of a cluster that is up. Raises CannotLaunch, BadFile, NoLogin."""
    config = launcher.need_ray_file(path)
    for finding in unfilled(read_text(path)):
        raise NoLogin(f"{path}:{finding.line}: {finding.message}")
    host = launcher.head_of(path, config)
    auth = launcher.auth_of(config)
    options: list[str] = []
    if key := at(auth, "ssh_private_key"):
        options += ["-i", str(Path(str(key)).expanduser()), "-o", "IdentitiesOnly=yes"]
    if proxy := at(auth, "ssh_proxy_command"):
        options += ["-o", f"ProxyCommand={proxy}"]
    user = at(auth, "ssh_user", default="ubuntu")
    return Login(_checked(f"{user}@{host}", str(path)), tuple(options), str(path))


def _of_address(given: str) -> Login:
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme != "ssh" or not host or parts.password is not None or parts.path.strip("/"):
        raise NoLogin(
            f"{given}: expected a cluster's file, user@host or ssh://user@host:port; code and report go over ssh"
        )
    user = f"{parts.username}@" if parts.username else ""
    return Login(_checked(f"{user}{host}", given), ("-p", str(port)) if port else (), given)


def _checked(destination: str, given: str) -> str:
    """Nothing that ssh would read as an option, or a shell as a command. Raises NoLogin."""
    if not ADDRESSED.fullmatch(destination):
        raise NoLogin(f"{given}: {destination} is no user@host; see its head's address and ssh_user")
    return destination


def tunnels(login: Login) -> str:
    """The ssh commands that bring the head's pages to this machine."""
    return "\n".join(
        f"{page}: {login.by_hand('-N', '-L', f'{port}:127.0.0.1:{port}')} and http://127.0.0.1:{port}"
        for page, port in PAGES.items()
    )


# --- the tunnel ------------------------------------------------------------------------------------------------------


class Tunnel:
    """A port of this machine's loopback that leads to one of the head's, for as long as ssh lives."""

    def __init__(self, process: subprocess.Popen[bytes], words: IO[bytes], port: int) -> None:
        self._process, self._words = process, words
        self.address = f"http://127.0.0.1:{port}"

    def lost(self, wait_s: float = 0.0) -> str | None:
        """Why ssh has ended; None while it lives. wait_s: for an end that shows on the port first."""
        try:
            self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            return None
        return last_words(self._words) or f"ssh ended with {self._process.returncode}"


@contextlib.contextmanager
def tunnel(login: Login, port: int) -> Iterator[Tunnel]:
    """To the head's 127.0.0.1:port. It ends with this process, however that ends. Raises NoLogin."""
    with tempfile.TemporaryFile() as words:
        process, local = _forwarding(login, port, words)
        try:
            yield Tunnel(process, words, local)
        finally:
            _end(process)


def _forwarding(login: Login, port: int, words: IO[bytes]) -> tuple[subprocess.Popen[bytes], int]:
    """An ssh that forwards already, so that no other program answers on its port, and the port."""
    for _ in range(TRIES):
        local, ready = _free_port(), uuid.uuid4().hex
        command = login.command(
            *("-o", "ExitOnForwardFailure=yes", "-L", f"127.0.0.1:{local}:127.0.0.1:{port}"),
            script=f"echo {ready}; exec cat",  # ends as our end of its input closes, and ssh with it
        )
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, start_new_session=True
            )
        except FileNotFoundError:
            raise NoLogin("no `ssh` here; install OpenSSH's client") from None
        try:
            assert process.stdout is not None
            for _ in range(GREETING_LINES):
                line = process.stdout.readline(GREETING_BYTES)
                if ready.encode() in line:
                    return process, local
                if not line:  # it ends, and says why as it does
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(ENDS_WITHIN_S)
                    break
        except BaseException:
            _end(process)
            raise
        _end(process)
        said = last_words(words)
        if "already in use" not in said:
            break
    raise NoLogin(f"{login.given}: no way in ({said or 'ssh says nothing'}); try `{login.by_hand()}`")


def _end(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    process.terminate()
    try:
        process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def last_words(words: IO[bytes]) -> str:
    """The end of what a program has written to its stderr, as one line."""
    words.seek(0)
    lines = [clean(line).strip() for line in words.read()[-2000:].decode(errors="replace").splitlines()]
    return "; ".join(list(filter(None, lines))[-2:])[:300]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
