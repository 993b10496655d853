"""Runs and their curves as tidy frames, a line each, in two forms with the same columns and values: CSV and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from reports.plain import Texts
from reports.stats import Interval
from reports.types import SeedRun, Table, TableRow

Curves = Mapping[tuple[str, str], Sequence[tuple[int, float]]]  # (run id, metric) → (step, value)
KINDS = {str: "string", int: "Int64", float: "Float64"}  # pandas' types, in which a number may be missing

LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Frame:
    """Columns, each of one kind, and their lines; None where a value is not there."""

    columns: Mapping[str, type]  # str, int or float
    lines: Sequence[Sequence[object]]

    @cached_property
    def _values(self) -> list[Sequence[object]]:
        """Column by column, texts as a spreadsheet may have them."""
        texts = Texts()
        columns: list[Sequence[object]] = list(zip(*self.lines, strict=True)) or [()] * len(self.columns)
        return [
            [text and texts[str(text)] for text in column] if kind is str else column
            for column, kind in zip(columns, self.columns.values(), strict=True)
        ]

    def csv(self) -> str:
        """As CSV, every number in full precision."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(zip(*self._values, strict=True))
        return out.getvalue()

    def parquet(self) -> bytes:
        """As Parquet: numbers are numbers. The same lines give the same bytes, by the same versions of pandas."""
        import pandas as pd

        frame = pd.DataFrame(
            {
                name: pd.array(_counts(column) if kind is int else column, dtype=KINDS[kind])  # type: ignore[call-overload]
                for (name, kind), column in zip(self.columns.items(), self._values, strict=True)
            }
        )
        out = io.BytesIO()
        frame.to_parquet(out, engine="pyarrow", index=False)
        return out.getvalue()


def _counts(column: Sequence[object]) -> list[object]:
    """Whole numbers as Parquet holds them; a count of 10¹⁰⁰ puzzles, which anybody can record, it does not."""
    return [None if isinstance(value, int) and abs(value) > LARGEST else value for value in column]


def runs(table: Table) -> Frame:
    """A line per seed: the run behind each number, and where MLflow keeps it. Accuracies are fractions."""
    columns: dict[str, type] = {
        "study": str,
        "profile": str,
        "row": str,
        "seed": int,
        "key": str,
        "mlflow_run_id": str,
        "status": str,
        "accuracy": float,
        "test_puzzles": int,
        "test_set_wilson95_low": float,
        "test_set_wilson95_high": float,
        "cell_accuracy": float,
        "started_utc": str,
        "ended_utc": str,
        "seconds": float,
        "reason": str,
        **({"data_seed": int} if table.draws else {}),
        **({"shortest_path_accuracy": float} if table.has_shortest_paths else {}),
        **({"votes": int} if table.voters else {}),
        **({"leaked_test_tasks": str} if table.leak else {}),
    }
    lines = [(table.study.name, table.profile, row.name, *_run_line(table, run)) for row, run in _runs(table)]
    return Frame(columns, lines)


def _run_line(table: Table, run: SeedRun) -> Iterator[object]:
    yield from (run.seed, run.key, run.run_id, run.status, run.accuracy, run.puzzles, *_ends(run.interval))
    yield run.cell_accuracy
    yield run.started.isoformat()
    yield None if run.ended is None else run.ended.isoformat()
    yield from (run.seconds, run.reason)
    yield from [run.data_seed] if table.draws else []
    yield from [run.shortest_path] if table.has_shortest_paths else []
    yield from [run.votes] if table.voters else []
    yield from [" ".join(run.leaks)] if table.leak else []


def curves(table: Table, found: Curves) -> Frame:
    """A line per point of each curve that the report is made from; `key` leads to the run's line in the other frame."""
    columns = {"row": str, "seed": int, "key": str, "metric": str, "step": int, "value": float}
    columns |= {"data_seed": int} if table.draws else {}
    metrics = sorted({metric for _, metric in found})
    lines = [
        (row.name, run.seed, run.key, metric, step, value, *draw)
        for row, run in _runs(table)
        for draw in [(run.data_seed,) if table.draws else ()]
        for metric in metrics
        for step, value in found.get((run.run_id, metric), ())
    ]
    return Frame(columns, lines)


def _runs(table: Table) -> Iterable[tuple[TableRow, SeedRun]]:
    return ((row, run) for row in table.rows for run in row.runs)


def _ends(interval: Interval | None) -> tuple[float | None, float | None]:
    return (None, None) if interval is None else (interval.low, interval.high)
