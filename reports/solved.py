"""How one run of a table answered a puzzle, step by step: the strip on its page, below the table.

The file comes from a run's folder or from MLflow, where others write too: thought_file checks every shape and value of
it, and no text of it is drawn.
"""

from __future__ import annotations

import base64
import tempfile
from dataclasses import dataclass
from pathlib import Path

from reports.outcomes import KEPT
from reports.plain import one_line
from reports.types import SeedRun, Table
from sweeps.records.read import artefact_file
from trm_core.solving.thought import Thought
from trm_core.solving.thought_file import NAME, BadThought, read_thought

TRIES = 8  # runs that are asked for one
BOARDS = 5
LARGEST_BOARD = 30 * 30  # cells
DOTS_PER_INCH = 200
LEGEND = {
    "sudoku": "Yellow: what a step changed; red: wrong.",
    "maze": "A dot: what a step changed; a cross: wrong.",
    "arc": "A dot: what a step changed; a cross: wrong.",
}


@dataclass(frozen=True)
class Solved:
    """The strip, as a data: address that an <img> shows, and what is to be said of it."""

    row: str
    seeds: str
    image: str
    caption: str
    is_solved: bool


def solved(table: Table, out: Path) -> Solved | None:
    """The strip of the best run that left one, of these the first that solved its puzzle; None where none can be read.

    Raises TrackingUnavailable.
    """
    finished = [(row.name, run) for row in table.rows for run in row.runs if run.accuracy is not None]
    finished.sort(key=lambda one: -(one[1].accuracy or 0.0))
    instead = None
    for name, run in finished[:TRIES]:
        thought = _thought(run, out)
        if thought is not None and thought.solved:
            return _drawn(name, run, thought)
        instead = instead or (None if thought is None else _drawn(name, run, thought))
    return instead


def _thought(run: SeedRun, out: Path) -> Thought | None:
    """From the run's folder or, where that has none that can be read, MLflow, if the run kept any."""
    found = _read(out / "runs" / run.key / NAME)
    if found is None and KEPT in run.final:
        with tempfile.TemporaryDirectory() as folder:
            path = artefact_file(run.run_id, NAME, Path(folder))
            found = None if path is None else _read(path)
    return found


def _read(path: Path) -> Thought | None:
    """What the file holds; None where it is not there, is none, or of boards that nobody has asked for."""
    try:
        found = read_thought(path)
    except BadThought:
        return None
    return found if len(found.question) <= LARGEST_BOARD else None


def _drawn(row: str, run: SeedRun, thought: Thought) -> Solved:
    from trm_core.solving.picture import png, strip  # which loads numba

    figure = strip(thought, most=BOARDS, title="")
    figure.set_dpi(DOTS_PER_INCH)
    image = base64.b64encode(png(figure)).decode()
    said = f"{thought.model} · {thought.name}: {thought.outcome()}"
    caption = f"{row}, {run.seeds}: {said}. {LEGEND[thought.puzzle]}"
    return Solved(row, str(run.seeds), f"data:image/png;base64,{image}", one_line(caption), thought.solved)
