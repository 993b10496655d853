"""Outcomes made up for the tests, what a run's outcomes.npz would hold, and what holds of every figure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from trm_core.outcomes import Outcomes, steps_type


def outcomes(
    solved: Sequence[int],
    *,
    settled_at: Sequence[int] | None = None,
    halted_at: Sequence[int] | None = None,
    ratings: Sequence[int] | None = None,
    N_sup: int = 4,
    test_set: str = "a" * 64,
    data_hash: str = "b" * 16,
) -> Outcomes:
    """Of as many puzzles as `solved` has, 1 solved and 0 not."""
    n, dtype = len(solved), steps_type(N_sup)
    right = np.array(solved, dtype=bool)
    return Outcomes(
        test_set=test_set,
        data_hash=data_hash,
        step=100,
        N_sup=N_sup,
        solved=right,
        settled_at=np.array(settled_at or [1] * n, dtype=dtype),
        halted_at=np.array(halted_at or [0] * n, dtype=dtype),
        solved_when_halted=right,
        reliability=np.zeros((10, 3)),
        ratings=None if ratings is None else np.array(ratings, dtype=np.int32),
    )


def assert_nothing_is_cut(figure: Figure) -> None:
    """All that is drawn lies on the figure's paper."""
    held = figure.get_tightbbox()
    assert held is not None
    width, height = figure.get_size_inches()
    assert min(held.x0, held.y0) > -0.02, held
    assert (held.x1 < width + 0.02, held.y1 < height + 0.02) == (True, True), (held, width, height)
