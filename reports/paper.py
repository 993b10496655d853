"""What the paper's tables fix beside their cells, which stand in the studies (Row.paper): nothing is here twice."""

from __future__ import annotations

from collections.abc import Iterable

from trm_core.settings import DataSettings

# The order in which the paper puts the models side by side (Table 3); models it does not know come after.
MODEL_ORDER = ("HRM", "TRM")

# What its columns are measured on. ARC in test inputs: 400 and 120 tasks.
TEST_SUDOKUS, TEST_MAZES = 422_786, 1_000
TEST_INPUTS = {"evaluation": 419, "evaluation2": 172}


def published_test(data: DataSettings) -> int | None:
    """How many test puzzles (ARC: test inputs) the published test set has; None where the paper has no such column."""
    if data.puzzle == "arc":
        return TEST_INPUTS.get(data.test_subset)
    return TEST_SUDOKUS if data.puzzle == "sudoku" else TEST_MAZES


def other_depths(printed: Iterable[int]) -> str:
    """The footnote where the paper prints other depths than its formula gives (section 4.8: 9 and 7, not 8 and 6)."""
    return f"Depth is T(n+1)·n_layers; the paper prints {' and '.join(str(depth) for depth in printed)} here."
