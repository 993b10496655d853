"""metrics.jsonl, a run's journal: the source of truth for its curves. A line per step, ascending; what came later of
a step, its evaluation elsewhere, is another line of it.

Killed at any moment it can be read, and goes on: a last line without its end is what a kill leaves, and is left out.
Whatever else is no row is damage: named with file and line, and set aside in metrics.damaged.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeGuard

from data_prep.files import whole
from sweeps.records.types import Measurement

LARGEST = 2**63 - 1  # that MLflow's tables take as a step, or a time
NAMED = 3  # damaged lines that are named one by one
log = logging.getLogger(__name__)


class BadJournal(OSError):
    """Something that is no file stands where a run's journal belongs: to its readers as if the disk refused it."""


class Journal:
    """metrics.jsonl while its run goes on: ascending also after any number of deaths and resumptions."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, BadJournal among them."""
        self.path = path
        self.rows, damaged = _read(path)  # as they were found
        self._continued = False
        if damaged:
            _set_aside(path, damaged)
            if self.rows:
                write_whole(path, "".join(map(_line, self.rows)))
            else:  # as before its first row
                path.unlink(missing_ok=True)

    def add(self, row: Measurement) -> list[Measurement]:
        """Append a row. The first after a resumption cuts what lies behind it, and brings the kept rows along.

        Training resumed at step s reports its next row as it did before: rows behind that one belong to steps not
        taken yet, rows before it are s or older. A row for a step that is there already (the last, when all that was
        left was to evaluate again) adds to it.
        """
        if self._continued:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(row))
            return [row]
        kept = [old for old in self.rows if old.step <= row.step]
        if kept and kept[-1].step == row.step:
            row = Measurement(row.step, row.time_ms, {**kept.pop().metrics, **row.metrics})
        write_whole(self.path, "".join(map(_line, [*kept, row])))
        self._continued = True
        return [*kept, row]

    def amend(self, row: Measurement) -> None:
        """What came later of a step that has a row, before the next one is added or after."""
        if self._continued:
            self.add(row)
            return
        self.rows = _merged([*self.rows, row])
        write_whole(self.path, "".join(map(_line, self.rows)))

    def to_disk(self) -> None:
        """Return when it outlasts its machine."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())


def read_journal(path: Path) -> list[Measurement]:
    """The rows of a metrics.jsonl by ascending step, none if it is not there. Raises OSError, BadJournal too."""
    return _read(path)[0]


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all. Raises OSError."""
    with whole(path) as new:
        new.write_text(text, encoding="utf-8")


def _read(path: Path) -> tuple[list[Measurement], dict[int, bytes]]:
    """(rows by ascending step, the damaged lines by number, counted from 1)."""
    rows: list[Measurement] = []
    damaged = {}
    if path.exists() and not path.is_file():
        raise BadJournal(errno.EINVAL, "no file, expected a run's journal; move it away", str(path))
    with contextlib.suppress(FileNotFoundError):
        for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
            row = _row(line)
            if row is not None:
                rows.append(row)
            elif line.strip() and line.endswith((b"\n", b"\r")):
                damaged[number] = line
    return _merged(rows), damaged


def _merged(rows: Iterable[Measurement]) -> list[Measurement]:
    """By ascending step, one of each with the time of the first, and all that was said of it."""
    found: dict[int, Measurement] = {}
    for row in rows:
        before = found.get(row.step)
        found[row.step] = row if before is None else before._replace(metrics={**before.metrics, **row.metrics})
    return [found[step] for step in sorted(found)]


def _set_aside(path: Path, damaged: dict[int, bytes]) -> None:
    """Keep damaged lines beside the journal, and say which they are."""
    with contextlib.suppress(OSError), path.with_name("metrics.damaged").open("ab") as file:
        file.writelines(damaged.values())
    numbers = ", ".join(map(str, list(damaged)[:NAMED])) + (
        f" and {len(damaged) - NAMED} more" * (len(damaged) > NAMED)
    )
    log.warning("%s, line %s: damaged, no row of a step; set aside in metrics.damaged", path, numbers)


def _row(line: bytes) -> Measurement | None:
    try:
        found = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    step, time_ms, metrics = (found.get(name) for name in Measurement._fields)
    if not (_is_count(step) and _is_count(time_ms) and isinstance(metrics, dict)):
        return None
    return Measurement(step, time_ms, metrics) if all(map(_is_number, metrics.values())) else None


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= LARGEST


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (type(value) is int and abs(value) <= LARGEST)


def _line(row: Measurement) -> str:
    return json.dumps({"step": row.step, "time_ms": row.time_ms, "metrics": dict(row.metrics)}) + "\n"
