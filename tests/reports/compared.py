"""Tables of campaigns to compare, by what their rows scored."""

from __future__ import annotations

from collections.abc import Sequence

from reports.types import Table
from sweeps.records.types import RunRecord
from sweeps.study import Study
from tests.reports.records import record, table_of

VALIDATION = "validation/exact_accuracy"


LR = ("optim.lr=0.01", "optim.lr=0.003", "optim.lr=0.02")  # of which none is mini's


def scored(study: Study, row: str, validation: float | None, test: float, changes: Sequence[str], *, seed: int = 0,
           status: str = "FINISHED") -> RunRecord:  # fmt: skip
    more = {} if validation is None else {VALIDATION: validation}
    return record(study, row, test if status == "FINISHED" else None, seed=seed, overrides=tuple(changes), more=more,
                  status=status)  # fmt: skip


def tables(study: Study, scores: dict[str, dict[str, tuple[float | None, float]]]) -> list[Table]:
    """changes → row → (validation, test)."""
    return [
        table_of(study, "mini", [scored(study, row, *of, changes.split()) for row, of in rows.items()], changes.split())
        for changes, rows in scores.items()
    ]
