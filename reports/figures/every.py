"""The door of the figures: `draw` makes every figure that a table allows, and says of the others what they lack.

Each is drawn with matplotlib's objects, no global state; two draws of the same numbers are the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reports.figures import (
    at_test,
    by_row,
    cost,
    cycles,
    depth,
    differences,
    halting,
    learning,
    losses,
    ratings,
    residuals,
    votes,
)
from reports.figures.picture import Curves, Facts, Found, NotDrawn, Picture
from reports.types import SeedRun, Table, TableRow
from trm_core.outcomes import Outcomes

EVERY: tuple[Callable[[Facts], Found], ...] = (  # in the page's order
    depth.picture,
    by_row.picture,
    cycles.picture,
    differences.picture,
    votes.picture,
    learning.picture,
    losses.picture,
    at_test.picture,
    ratings.picture,
    halting.picture,
    cost.against_flops,
    cost.against_hours,
    cost.by_row,
    residuals.residuals_picture,
    residuals.distances_picture,
)
NAMES = (
    "accuracy_against_depth", "accuracy_by_row", cycles.NAME, differences.NAME, "accuracy_against_votes",
    "learning_curves", "training_losses", at_test.NAME, ratings.NAME, halting.NAME, cost.FLOPS, cost.HOURS, cost.COST,
    residuals.RESIDUALS, residuals.DISTANCE,
)  # fmt: skip
KINDS = ("png", "svg", "csv")


@dataclass(frozen=True)
class Drawn:
    """A table's figures in the page's order, and what the others lack."""

    pictures: tuple[Picture, ...]
    left_out: tuple[NotDrawn, ...]


def metrics_of(row: TableRow, run: SeedRun) -> tuple[str, ...]:
    """The metrics whose curves are drawn of this run."""
    return (*learning.metrics_of(row), *((residuals.EMA,) if residuals.EMA in run.final else ()))


def draw(table: Table, curves: Curves, outcomes: Mapping[str, Outcomes] | None = None) -> Drawn:
    """Every figure of the table. outcomes: what became of each test puzzle, by run id, of the runs that kept it."""
    facts = Facts(table, curves, outcomes or {})
    found = [figure for make in EVERY if (figure := make(facts)) is not None]
    return Drawn(
        tuple(one for one in found if isinstance(one, Picture)),
        tuple(one for one in found if isinstance(one, NotDrawn)),
    )


def stale() -> tuple[str, ...]:
    """The files that any figure may have left below a report's folder."""
    return tuple(f"figures/{name}.{kind}" for name in NAMES for kind in KINDS)
