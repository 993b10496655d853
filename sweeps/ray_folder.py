"""Where Tune and Train keep their own files while a launch goes on; what launches that died left there is removed.

A launch holds a lease (locks.py) in its folder. So who comes later can tell: of one of this machine at once, of one of
another machine, or of this one before it was started anew, once its heartbeat has stopped for a minute.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from sweeps.locks import Lease, Seen, hold_file, is_free

NAME, LEASE = "ray", ".lock"


@contextlib.contextmanager
def ray_folder(out: Path) -> Iterator[Path]:
    """A folder of this launch's own below the results, gone at the end. Raises OSError."""
    parent = out.resolve() / NAME
    mine = parent / f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    mine.mkdir(parents=True)
    try:
        with hold_file(mine / LEASE, 0):
            looked_at = time.monotonic()
            seen = {folder: found for folder in parent.iterdir() if folder != mine and (found := _look(folder))}
            _remove_the_dead(seen, 0.0)
            try:
                yield mine
            finally:
                _remove_the_dead(seen, time.monotonic() - looked_at)
    finally:
        shutil.rmtree(mine, ignore_errors=True)
        with contextlib.suppress(OSError):  # another launch's files lie there too
            parent.rmdir()


def _remove_the_dead(seen: dict[Path, Seen], still_s: float) -> None:
    """Those whose lease is free, nothing having happened to it since it was seen."""
    for folder, before in seen.items():
        now = _look(folder)
        if now is not None and now.is_as(before) and is_free(now, still_s):
            shutil.rmtree(folder, ignore_errors=True)


def _look(folder: Path) -> Seen | None:
    """A launch's lease; None where it has none: it begins just now, or has gone."""
    try:
        return Lease(folder / LEASE).look() if (folder / LEASE).exists() else None
    except OSError:
        return None
