"""A small study's report, byte for byte in tests/fixtures/report; `python -m tests.reports.golden` writes it anew."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from reports.curves import with_selection
from reports.report import render
from sweeps.study import Claim, Quoted, Study
from tests.reports.records import depth_row, record, table_of

FOLDER = Path(__file__).parents[1] / "fixtures" / "report"
TEXTS = (".md", ".csv", ".tex")
HALTING = {
    "test/q_halt_accuracy": 0.93,
    "test/q_halt_calibration_error": 0.021,
    "test/exact_accuracy_when_halting": 0.61,
    "test/steps_when_halting": 3.25,
    "test/puzzles_at_depth": 500.0,
    "test/exact_accuracy/step_01": 0.25,
    "test/exact_accuracy/step_16": 0.63,
}


def study() -> Study:
    """Like Table 3, with an "OOM", a depth that the paper prints otherwise, what it quotes, and a claim."""

    return Study(
        name="small_depth",
        title="Small depth",
        puzzle="sudoku",
        source="Table 0",
        rows=(
            depth_row("TRM", 1, 2, paper=63.2, paper_depth=7),
            depth_row("HRM", 1, 1, paper=46.4),
            depth_row("TRM", 2, 4, paper=81.9),
            depth_row("HRM", 2, 2, paper=55.0),
            depth_row("TRM", 6, 12, paper="OOM"),
        ),
        quoted=(Quoted(name="DeepSeek R1", parameters="671B", cells={"Sudoku-Extreme": 0.0}),),
        baseline=("TRM k=1",),
        claims=(Claim(says="TRM is better than HRM", rising=(("HRM k=1", "TRM k=1"), ("HRM k=2", "TRM k=2"))),),
        note="A note.",
    )  # fmt: skip


def files() -> dict[str, bytes]:
    """What the report writes as Markdown, CSV and LaTeX; figures and their numbers are not in it."""
    of = study()
    scores = {"TRM k=1": (0.63, 0.62, 0.64), "HRM k=1": (0.46, 0.47, 0.455), "TRM k=2": (0.71, 0.70, 0.72)}
    records = [
        record(of, row, score, seed=seed, profile="official", puzzles=422_786, cells=score + 0.1, more=HALTING)
        for row, found in scores.items()
        for seed, score in enumerate(found)
    ]
    why = "=1+1 out of memory | 20 MiB & more_words <b>"
    records.append(record(of, "HRM k=2", None, profile="official", status="FAILED", tags={"failure": why}))
    table = table_of(of, "official", records)
    curves = {
        (run.run_id, "test/exact_accuracy"): [(100, 0.5), (200, run.accuracy)]
        for row in table.rows
        for run in row.runs
        if run.accuracy is not None
    }
    with tempfile.TemporaryDirectory() as out:
        folder = render(with_selection(table, curves), curves, Path(out)).folder
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in TEXTS}


def main() -> int:
    """Write them anew, for a change that is meant to change them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in FOLDER.iterdir():
        path.unlink()
    for name, content in files().items():
        (FOLDER / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
