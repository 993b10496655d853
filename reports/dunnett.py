"""Dunnett's test by quadrature: several rows against one, with one variance for all (Dunnett 1955).

Each row's t shares the control's mean, so that given that mean and the variance the rows are independent: the chance
is an integral over two variables alone, to nine digits in a few milliseconds. `scipy.stats.dunnett` draws points at
random in as many dimensions as there are rows: three digits, fifty times as long, and a search that may not end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

Array = NDArray[np.float64]

Side = Literal["two-sided", "less"]
NODES = 128  # of each variable
FAR, TAIL = 9.0, 1e-12  # the integral ends at so many standard deviations, and leaves out so little of the variance's


class Dunnett:
    """The distribution of the largest t of rows of these sizes against a control, all equal in truth.

    sizes: values of each row; control: of the control; df: degrees of freedom of the pooled variance, 1 or more.
    """

    def __init__(self, sizes: Sequence[int], control: int, df: int) -> None:
        self.sizes, self.control, self.df = tuple(sizes), control, df

    def p(self, t: Sequence[float], side: Side) -> list[float]:
        """Of each row's t: the chance that, all being equal, any is as far out (or, "less", as low)."""
        outside = [1 - self.inside(abs(one) if side == "two-sided" else -one, side) for one in t]
        return [min(1.0, max(0.0, one)) for one in outside]

    def critical(self, confidence: float) -> float:
        """The |t| that none exceeds with this confidence: between that of one row, and Bonferroni's."""
        alpha, k = 1 - confidence, len(self.sizes)
        low, high = (float(stats.t.isf(alpha / 2 / of, self.df)) for of in (1, k))
        if k == 1:
            return low
        return float(optimize.brentq(lambda c: self.inside(c, "two-sided") - confidence, low, high, xtol=1e-9))

    def inside(self, c: float, side: Side) -> float:
        """The chance that every t is between −c and c; "less": that every one is above −c."""
        s, z, weights = self._grid
        chance = np.ones_like(weights)
        for size in set(self.sizes):
            shared = math.sqrt(size / (size + self.control))  # of a row's t is the control's; its square: of both rows'
            own = math.sqrt(self.control / (size + self.control))
            within = special.ndtr((c * s + shared * z) / own)
            if side == "two-sided":
                within = within - special.ndtr((shared * z - c * s) / own)
            chance *= within ** self.sizes.count(size)
        return float((weights * chance).sum())

    @cached_property
    def _grid(self) -> tuple[Array, Array, Array]:
        """Gauss and Legendre's nodes: standard deviations in units of the true one, control's means, and weights."""
        nodes, weights = special.roots_legendre(NODES)
        least, most = (float(stats.chi.ppf(at, self.df)) for at in (TAIL, 1 - TAIL))
        root = (most - least) / 2 * nodes + (most + least) / 2
        of_s = (most - least) / 2 * weights * stats.chi.pdf(root, self.df)
        z = FAR * nodes
        of_z = FAR * weights * stats.norm.pdf(z)
        s = root / math.sqrt(self.df)
        return s[:, None], z[None, :], of_s[:, None] * of_z[None, :]
