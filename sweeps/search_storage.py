"""Where a search is kept: a database of Optuna's, looked at before it is opened, made whole, held by one driver.

Optuna's own errors, its database's and those of a driver that is not there leave here as one line.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sqlite3
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from data_prep.files import whole
from data_prep.redaction import redacted
from sweeps.locks import FileHeld, hold_file, one_at_a_time
from sweeps.records.address import DAMAGE, address, damage, host_and_port, one_line, sqlite_path
from sweeps.search_spec import Search

ANSWERS_WITHIN_S = 10  # a storage, when it is opened
ENDS_WITHIN_S = 5.0  # a driver that was killed a moment ago
ADVICE = "set --optuna-storage to a file (sqlite:///optuna.db) or a database (postgresql://user@host/name)"
IDENTITY = "identity"  # a user attribute of a search
KEYS, SEEDS, WHY, PRUNING_CURVE = "keys", "seeds", "why", "pruning_curve"  # and of its trials

optuna.logging.set_verbosity(optuna.logging.ERROR)  # the driver says what there is to say


class StorageUnavailable(ValueError):
    """Optuna's storage answers nothing, cannot be written, is not there, or is no storage of Optuna's. One line."""


class OtherSearch(ValueError):
    """What the storage holds under this name is another search, or none that this program has made."""


class SearchHeld(ValueError):
    """Another driver makes this search."""


def default_storage() -> str:
    """optuna.db beside MLflow's SQLite file; in the current folder where MLflow is a server."""
    path = sqlite_path(address())
    return f"sqlite:///{path.with_name('optuna.db') if path and path.name else 'optuna.db'}"


def check_storage(url: str, *, must_be_there: bool = False) -> None:
    """What can be seen of an address without opening it. Raises StorageUnavailable; creates nothing."""
    scheme = url.partition(":")[0].partition("+")[0]
    if scheme == "sqlite":
        path = sqlite_path(url)
        if path is None or not path.name:
            raise StorageUnavailable(f"{url}: no path (expected sqlite:///file or sqlite:////absolute/file); {ADVICE}")
        if path.is_dir():
            raise StorageUnavailable(f"{url}: {path} is a folder; give a file in it, sqlite:///{path}/optuna.db")
        if not path.parent.is_dir():
            raise StorageUnavailable(f"{url}: no folder {path.parent}; make it, or {ADVICE}")
        if must_be_there and not path.exists():
            raise StorageUnavailable(f"{url}: no such file, so no search has been kept there; {ADVICE}")
        return
    if scheme != "postgresql":
        raise StorageUnavailable(
            f"{redacted(url)}: no storage address (expected sqlite:/// or postgresql://); {ADVICE}"
        )
    host, port = host_and_port(url)
    try:
        with socket.create_connection((host or "localhost", port or 5432), timeout=5):
            pass
    except (OSError, ValueError) as error:
        raise StorageUnavailable(f"{redacted(url)}: nothing answers ({error}); start the server, or {ADVICE}") from None


def create(url: str) -> None:
    """An empty storage, where there is no file yet: whole or not at all, whoever is killed or comes second."""
    path = sqlite_path(url)
    if path is None:
        return
    try:
        with one_at_a_time(path.resolve().parent):
            if path.exists() and path.stat().st_size:
                return
            with explained(url, "be made"), whole(path) as new:
                _database(f"sqlite:///{new}").engine.dispose()
    except OSError as error:
        raise StorageUnavailable(f"{url}: cannot be made ({error.strerror}); {ADVICE}") from None


def connected(url: str, *, to_write: bool = True) -> RDBStorage:
    """A storage that has answered and holds Optuna's tables; to be written, also one without any table.

    Raises StorageUnavailable.
    """
    path = sqlite_path(url)
    if path is not None and to_write:
        try:
            with contextlib.closing(sqlite3.connect(path, timeout=ANSWERS_WITHIN_S)) as database:
                database.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if why := damage(error):
                raise StorageUnavailable(_broken(url, why)) from None
            raise StorageUnavailable(f"{url}: {path} cannot be written ({error}); {ADVICE}") from None
    with explained(url, "be opened"):
        engine = sqlalchemy.create_engine(url, connect_args=_patience(url))
        try:
            tables = set(sqlalchemy.inspect(engine).get_table_names())
        finally:
            engine.dispose()
        if not {"studies", "trials", "version_info"} <= tables and (tables or not to_write):
            found = f"it has a table {min(tables)!r}, and Optuna's are missing" if tables else "it is empty"
            raise StorageUnavailable(f"{redacted(url)}: no storage of Optuna's ({found}); {ADVICE}")
        return _database(url, new=to_write)


def _database(url: str, *, new: bool = True) -> RDBStorage:
    escaped = url.replace("{", "{{").replace("}", "}}")  # Optuna fills in its schema's version
    return RDBStorage(escaped, engine_kwargs={"connect_args": _patience(url)}, skip_table_creation=not new)


def _patience(url: str) -> dict[str, Any]:
    """How long the database's driver waits: SQLite for another's lock, the others for a server."""
    return {"timeout" if url.startswith("sqlite") else "connect_timeout": ANSWERS_WITHIN_S}


def study_of(database: RDBStorage, name: str, search: Search, identity: Mapping[str, Any]) -> optuna.Study:
    """The study of that name, new or this search's own. Raises OtherSearch."""
    directions = [objective.direction for objective in search.objectives]
    study = optuna.create_study(storage=database, study_name=name, directions=directions, load_if_exists=True)
    kept = study.user_attrs.get(IDENTITY)
    if kept is None and not study.get_trials(deepcopy=False):
        study.set_user_attr(IDENTITY, dict(identity))
        kept = identity
    if kept is None:
        raise OtherSearch(f"{name}: was made by another program; give the search another name, or {ADVICE}")
    other = [what for what in identity if kept.get(what) != identity[what]]
    if other or [direction.name.lower() for direction in study.directions] != directions:
        raise OtherSearch(
            f"{name}: {redacted(database.url)} holds another search under this name (other {', '.join(other)});"
            f" undo what has changed since, give the search another name, or {ADVICE}"
        )
    return study


def reopen_failed(database: RDBStorage, name: str) -> None:
    """What has failed in being run is RUNNING again, in one transaction; Optuna itself changes no trial that ended."""
    trials = database.get_all_trials(database.get_study_id_from_name(name))
    numbers = [trial.number for trial in trials if trial.state is TrialState.FAIL and trial.user_attrs.get(KEYS)]
    study_id = database.get_study_id_from_name(name)
    with database.engine.begin() as connection:
        for number in numbers:
            at = {"id": database.get_trial_id_from_study_id_trial_number(study_id, number)}
            for statement in (
                "DELETE FROM trial_intermediate_values WHERE trial_id = :id",
                f"DELETE FROM trial_user_attributes WHERE trial_id = :id AND key IN ('{WHY}', '{PRUNING_CURVE}')",
                "UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE trial_id = :id",
            ):
                connection.execute(sqlalchemy.text(statement), at)


@contextlib.contextmanager
def hold(database: RDBStorage, name: str) -> Iterator[None]:
    """The right to drive this search: a lock beside the SQLite file, in Postgres an advisory one. Raises SearchHeld."""
    again = "wait for it, or end it, then run again"
    with contextlib.ExitStack() as stack:
        if (path := sqlite_path(database.url)) is None:
            with explained(database.url, "be locked"):
                connection = stack.enter_context(database.engine.connect())
                connection = connection.execution_options(isolation_level="AUTOCOMMIT")
                lock = sqlalchemy.select(sqlalchemy.func.pg_try_advisory_lock(zlib.crc32(name.encode())))
                deadline = time.monotonic() + ENDS_WITHIN_S
                while not connection.scalar(lock):
                    if time.monotonic() > deadline:
                        raise SearchHeld(f"{name}: another command makes this search; {again}")
                    time.sleep(0.2)
        else:
            slug = f"{re.sub('[^A-Za-z0-9_]+', '-', name)[:80]}-{zlib.crc32(name.encode()):08x}"
            try:
                stack.enter_context(hold_file(path.with_name(f".{path.name}.{slug}.lock"), ENDS_WITHIN_S))
            except FileHeld as error:
                raise SearchHeld(f"{name}: {error.holder} makes this search; {again}") from None
            except OSError as error:
                raise StorageUnavailable(f"{database.url}: cannot be locked ({error.strerror}); {ADVICE}") from None
        yield


@contextlib.contextmanager
def explained(url: str, doing: str) -> Iterator[None]:
    """Errors of the storage, its database and a driver that is not there as one line."""
    try:
        yield
    except ImportError as error:
        raise StorageUnavailable(
            f"{redacted(url)}: the database's driver is not installed ({one_line(error)});"
            f" pip install 'psycopg[binary]', or {ADVICE}"
        ) from None
    except (OptunaError, sqlalchemy.exc.SQLAlchemyError, OSError, RuntimeError, *DAMAGE) as error:
        cause = error.__cause__ or error  # Optuna wraps SQLAlchemy's error, and that the driver's
        cause = getattr(cause, "orig", None) or cause
        if sqlite_path(url) is not None and (why := damage(cause)):
            raise StorageUnavailable(_broken(url, why)) from None
        raise StorageUnavailable(
            f"{redacted(url)}: Optuna's storage could not {doing} ({one_line(cause)}); see that it is one of this"
            f" version and can be written, or {ADVICE}"
        ) from None


def _broken(url: str, why: str) -> str:
    return f"{url}: the file is damaged, or no storage of Optuna's ({why}); put a copy of it back, or {ADVICE}"
