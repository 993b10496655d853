"""Where the runs are: the address of MLflow, found again from another folder, looked at, and connected to once.

MLflow is imported inside functions: it takes 2.5 s, and `--list` does not need it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from data_prep.files import check_regular, whole
from data_prep.redaction import redacted
from sweeps.locks import one_at_a_time
from sweeps.words import clean

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_ADDRESS = "sqlite:///mlflow.db"
VARIABLE = "MLFLOW_TRACKING_URI"
NOTE = "tracking.json"  # in the results folder: the SQLite file that its runs are recorded in
ADVICE = "set MLFLOW_TRACKING_URI to a running server (http://host:5000) or to a file (sqlite:///mlflow.db)"
LOCKED = "database is locked"  # SQLite's words, also where SQLAlchemy or MLflow repeats them
READ_ONLY = "readonly database"  # likewise
DAMAGED = ("disk image is malformed", "malformed database schema", "file is not a database")  # likewise
LOCKED_FOR_S = 6.0  # a busy machine takes as long to start, and 15 s are to be enough
PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
DAMAGE = (sqlite3.Error, UnicodeError)  # what SQLite itself says of a file in which bytes have changed
_answered: dict[str, MlflowClient] = {}  # by address


class TrackingUnavailable(ValueError):
    """The MLflow address answers nothing, cannot be written, or is none. One line."""


class StoreGone(ValueError):
    """The SQLite file that a launch records in was deleted, moved or replaced under it. One line."""


class Store:
    """The SQLite file behind an address, as it was when it answered; a server has none."""

    def __init__(self, uri: str) -> None:
        self._uri, self._path = uri, sqlite_path(uri)
        self._was = self._path.stat() if self._path else None

    def refuse_if_gone(self) -> None:
        """Raise StoreGone where it is not there any more: SQLite itself would write on into the deleted file."""
        if self._path is None or self._was is None:
            return
        try:
            there = os.path.samestat(self._was, self._path.stat())
        except FileNotFoundError:
            there = False
        except OSError:  # a file system that is away for a moment
            return
        if not there:
            raise StoreGone(
                f"{self._uri}: the file was deleted or replaced while runs were recorded in it; put it back, or give"
                " the same command again: it records in a new one, and runs go on from what is in their folders"
            )


def address() -> str:
    """Where the runs are: MLFLOW_TRACKING_URI, else a SQLite file in the current folder."""
    return os.environ.get(VARIABLE) or DEFAULT_ADDRESS


def locate(out: Path) -> str:
    """Settle the address for this process, and say where it was found; empty where nothing needs to be said.

    MLFLOW_TRACKING_URI, else mlflow.db in the current folder, else the file that the results folder names (its runs
    are recorded there, wherever the command was given), else a new mlflow.db in the current folder.
    """
    if os.environ.get(VARIABLE):
        return ""
    here = Path.cwd() / "mlflow.db"
    noted = _noted(out)
    if here.exists() or noted is None or noted == here:
        return ""
    os.environ[VARIABLE] = f"sqlite:///{noted}"
    return f"MLflow: {noted}, where the runs of {out} are recorded (no mlflow.db in {Path.cwd()})"


def note(out: Path) -> None:
    """Leave in the results folder where its runs are recorded, if that is a file; a server's address is not written
    down: it may hold a password, and stands in the environment of whoever uses it."""
    path = sqlite_path(address())
    file = out / NOTE
    if path is None:
        return
    text = json.dumps({"sqlite": str(path.resolve())}) + "\n"
    with contextlib.suppress(OSError):  # the runs matter, this is a help
        if not file.exists() or check_regular(file).read_bytes() != text.encode():
            with whole(file) as new:
                new.write_text(text, encoding="utf-8")


def _noted(out: Path) -> Path | None:
    """The SQLite file that the results folder names, if it is there; the note is anybody's, so only read."""
    try:
        found = json.loads(check_regular(out / NOTE).read_text(encoding="utf-8"))
        path = Path(found["sqlite"])
        with check_regular(path).open("rb") as file:
            return path if file.read(16) == b"SQLite format 3\0" else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def looked(out: Path) -> str:
    """Where one has looked for runs, for a message that says there are none."""
    path = sqlite_path(address())
    if path is None:
        return redacted(address())
    there = "" if path.exists() else ", which is not there"
    return f"{path.resolve()}{there} ({VARIABLE} names another, and --out a results folder that knows its own)"


def sqlite_path(uri: str) -> Path | None:
    """The file behind sqlite:///… , else None."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(uri.removeprefix("sqlite:///").partition("?")[0])


def connect(uri: str) -> MlflowClient:
    """A client whose address has answered once. Raises TrackingUnavailable within about 15 s, one line.

    A SQLite file that could not be made whole is not left behind.
    """
    _check(uri)
    for name, value in {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # MLflow's own patience is 4 minutes a call; ours is the sender's
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "6",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for chatter in ("mlflow", "alembic"):
        logging.getLogger(chatter).setLevel(logging.CRITICAL)  # what goes wrong is raised too, and said in a line
    path = sqlite_path(uri)
    # MLflow takes another's half-made tables for old ones
    alone = contextlib.nullcontext() if path is None else one_at_a_time(path.resolve().parent)
    with explained("look for experiments"), alone, _whole_or_gone(path):
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    _answered[uri] = client
    return client


def connected(uri: str) -> MlflowClient:
    """The client that has answered in this process already, else `connect`: for what is asked of many runs in turn."""
    path = sqlite_path(uri)
    there = uri in _answered and (path is None or path.exists())  # MLflow would make an empty one
    return _answered[uri] if there else connect(uri)


@contextlib.contextmanager
def _whole_or_gone(path: Path | None) -> Iterator[None]:
    """What goes wrong while a SQLite file is made leaves none behind."""
    new = path is not None and not (path.exists() and path.stat().st_size)
    try:
        yield
    except Exception:
        if path is not None and new:
            for made in (path, path.with_name(f"{path.name}-journal")):
                made.unlink(missing_ok=True)
        raise


def check_address() -> None:
    """See that runs can be recorded; creates nothing, not even the SQLite file. Raises TrackingUnavailable."""
    path = sqlite_path(address())
    if path is None or not path.name or path.exists():
        connect(address())
    elif not os.access(path.resolve().parent, os.W_OK):
        raise TrackingUnavailable(_cannot_write(address(), path, "no folder there, or one that may not be written"))


def _check(uri: str) -> None:
    """What can be seen of an address without MLflow. Raises TrackingUnavailable."""
    scheme, colon, _ = uri.partition(":")
    if not colon or scheme.partition("+")[0] not in ("sqlite", *PORTS):
        raise TrackingUnavailable(
            f"{redacted(uri)}: no MLflow address (expected http://, https:// or sqlite:///); {ADVICE}"
        )
    if scheme == "sqlite":
        path = sqlite_path(uri)
        if path is None or not path.name:
            raise TrackingUnavailable(f"{uri}: no path (expected sqlite:///file or sqlite:////absolute/file); {ADVICE}")
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=LOCKED_FOR_S)) as database:
                database.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if LOCKED in str(error):
                raise TrackingUnavailable(_held(uri)) from None
            why = damage(error)
            raise TrackingUnavailable(_broken(uri, why) if why else _cannot_write(uri, path, str(error))) from None
        return
    host, port = host_and_port(uri)
    if scheme in getproxies() and not proxy_bypass(host):
        return  # MLflow goes through the proxy, and says itself what it finds there
    try:
        with socket.create_connection((host, port or PORTS[scheme.partition("+")[0]]), timeout=5):
            pass
    except (OSError, ValueError) as error:
        raise TrackingUnavailable(f"{redacted(uri)}: nothing answers ({error}); start the server or {ADVICE}") from None


def host_and_port(uri: str) -> tuple[str, int | None]:
    """Where an address leads. Raises TrackingUnavailable for one in which that cannot be told."""
    try:
        parts = urlsplit(uri)
        return parts.hostname or "", parts.port
    except ValueError:  # its words quote what may be a part of the password
        raise TrackingUnavailable(
            f"{redacted(uri)}: no address (expected scheme://user:password@host:port, the port a number; in a password"
            " / is %2F, : is %3A, @ is %40, ? is %3F, # is %23, % is %25)"
        ) from None


def _cannot_write(uri: str, path: Path, why: str) -> str:
    return f"{uri}: cannot write {path} ({why}); expected a file in an existing, writable folder; {ADVICE}"


def damage(error: BaseException) -> str:
    """SQLite's words for a file that is damaged; empty where it is something else."""
    return next((words for words in DAMAGED if words in str(error)), "")


def _broken(uri: str, why: str) -> str:
    return (
        f"{uri}: the file is damaged, or no MLflow store ({why}); put a copy of it back, or move it away: the study's"
        " command then records in a new one, and runs go on from what is in their folders"
    )


def _held(uri: str) -> str:
    return (
        f"{redacted(uri)}: another process keeps it locked; see which (`fuser mlflow.db`, `lsof mlflow.db`: a copy, a"
        " backup, an open editor of databases), let that end, then try again"
    )


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """MLflow's errors, its store's, its migrations' and those of a database driver that is not there as one line."""
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, CommandError, ImportError, OSError, *DAMAGE) as error:
        if LOCKED in str(error):
            raise TrackingUnavailable(_held(address())) from None
        if READ_ONLY in str(error):
            path = sqlite_path(address()) or Path("its file")
            raise TrackingUnavailable(_cannot_write(address(), path, "it can only be read")) from None
        if "disk is full" in str(error):
            raise TrackingUnavailable(f"{redacted(address())}: its disk is full; make room, then try again") from None
        if sqlite_path(address()) is not None and (why := damage(error)):
            raise TrackingUnavailable(_broken(address(), why)) from None
        raise TrackingUnavailable(
            f"{redacted(address())}: MLflow could not {doing} ({one_line(error)}); see that it is an MLflow store of"
            " this version and that MLFLOW_TRACKING_URI names the right one"
        ) from None


def one_line(error: BaseException) -> str:
    """An error's words in one short line, without passwords and control characters; a server's words are anybody's."""
    return clean(redacted(" ".join(str(error).split())))[:300]
