"""Curves of finished runs, kept in a Parquet file beside the results: they never change, and MLflow is slow.

A curve is found again for the run that it was read for, if that is still FINISHED, ended at the same moment and with
the same value. The file is input: one that is torn, foreign or of another version holds nothing, a curve that cannot be
one is not there, and both are read anew. It takes its name when it is whole, so two commands may write at once; the
later one's stays.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.files import whole
from sweeps.records.door import MOST, is_measurement
from sweeps.records.types import RunRecord

if TYPE_CHECKING:
    import pyarrow

Curve = list[tuple[int, float]]  # (step, value), steps ascending, one point per step

FOLDER = "curves"  # in the results folder
VERSION = b"1"
LARGEST = 2**29  # bytes of a file, and of what it unpacks to
MOST_KEPT = 100_000  # curves in a file


def file_of(out: Path, study: str) -> Path:
    """Where the curves of a study's runs are kept."""
    return out / FOLDER / f"{study}.parquet"


@dataclass(frozen=True)
class Kept:
    """What a file holds. `rows`: at which of its rows the curve of a run and metric stands."""

    path: Path | None  # None: nothing is kept
    table: pyarrow.Table | None = None
    rows: dict[tuple[str, str], tuple[int, int, float | None]] | None = None  # row, ended [ms], last value

    @classmethod
    def load(cls, path: Path | None) -> Kept:
        """What the file holds; nothing where there is none that can be read."""
        if path is None or not path.is_file():
            return cls(path)
        import pyarrow
        from pyarrow import parquet

        try:
            with path.open("rb") as file:
                found = parquet.ParquetFile(file, page_checksum_verification=True)
                groups = [found.metadata.row_group(at).total_byte_size for at in range(found.metadata.num_row_groups)]
                if path.stat().st_size > LARGEST or sum(groups) > LARGEST or found.metadata.num_rows > MOST_KEPT:
                    return cls(path)
                table = found.read().combine_chunks()
        except (OSError, ValueError, pyarrow.ArrowException):
            return cls(path)
        whole = (name for name in table.schema.names if name != "last")
        if (
            not table.schema.equals(_schema())
            or (table.schema.metadata or {}).get(b"curves") != VERSION
            or any(table[name].null_count for name in whole)
        ):
            return cls(path)
        places = zip(table["run_id"].to_pylist(), table["metric"].to_pylist(), strict=True)
        facts = zip(table["ended_ms"].to_pylist(), table["last"].to_pylist(), strict=True)
        rows = {place: (at, *facts) for at, (place, facts) in enumerate(zip(places, facts, strict=True))}
        return cls(path, table, rows)

    def curve(self, run: RunRecord, metric: str) -> Curve | None:
        """The curve, where it is that of this run as it stands in MLflow; else None."""
        if self.rows is None or self.table is None or (found := self.rows.get((run.run_id, metric))) is None:
            return None
        row, ended_ms, last = found
        if (ended_ms, last) != _state(run, metric):
            return None
        steps, values = (self.table[name][row].values for name in ("steps", "values"))
        if steps.null_count or values.null_count or len(steps) != len(values):
            return None
        curve: Curve = list(zip(steps.to_pylist(), values.to_pylist(), strict=True))
        return curve if _is_curve(curve) and (last is None or (curve and curve[-1][1] == last)) else None

    def keep(self, read: Sequence[tuple[RunRecord, str, Curve]]) -> None:
        """Leave these for the next time, where they are of runs that have ended; a disk that is full keeps none."""
        new = [(run, metric, curve) for run, metric, curve in read if _state(run, metric) is not None]
        if self.path is None or not new:
            return
        import pyarrow
        from pyarrow import parquet

        columns: dict[str, list[Any]] = {name: [] for name in _schema().names}
        for run, metric, curve in new:
            ended_ms, last = _state(run, metric) or (0, None)
            steps, values = [step for step, _ in curve], [value for _, value in curve]
            for name, value in zip(columns, (run.run_id, metric, ended_ms, last, steps, values), strict=True):
                columns[name].append(value)
        table = pyarrow.table(columns, schema=_schema())
        if self.table is not None and self.rows is not None and len(self.rows) + len(new) <= MOST_KEPT:
            replaced = {(run.run_id, metric) for run, metric, _ in new}
            stays = sorted(row for place, (row, *_) in self.rows.items() if place not in replaced)
            table = pyarrow.concat_tables([self.table.take(pyarrow.array(stays, pyarrow.int64())), table])
        with contextlib.suppress(OSError):  # it is a help; what is read from MLflow is whole
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with whole(self.path.absolute()) as new_file:  # of a relative path pyarrow expands a "~"
                parquet.write_table(
                    table.replace_schema_metadata({"curves": VERSION}), new_file, write_page_checksum=True
                )


def _schema() -> Any:
    import pyarrow

    return pyarrow.schema(
        [
            ("run_id", pyarrow.string()),
            ("metric", pyarrow.string()),
            ("ended_ms", pyarrow.int64()),
            ("last", pyarrow.float64()),
            ("steps", pyarrow.list_(pyarrow.int64())),
            ("values", pyarrow.list_(pyarrow.float64())),
        ]
    )


def _state(run: RunRecord, metric: str) -> tuple[int, float | None] | None:
    """By what a curve is known to be the same: when its run ended [ms], and with what. None: it may still grow."""
    if run.status != "FINISHED" or run.ended is None:
        return None
    return round(run.ended.timestamp() * 1000), run.metrics.get(metric)


def _is_curve(curve: Curve) -> bool:
    steps = [step for step, _ in curve]
    return (
        all(before < after for before, after in itertools.pairwise(steps))
        and (not steps or (steps[0] >= 0 and steps[-1] <= MOST))
        and all(math.isfinite(value) and is_measurement(value) for _, value in curve)
    )
