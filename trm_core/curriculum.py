"""Depth curriculum: training begins with fewer recursions and ends with the model's own T and n.

Written as text, "T=1 n=2 until 0.3; T=2 n=4 until 0.6": so many recursions until these fractions of the training
steps, and model.T and model.n from there on. A step's depth follows from its number alone, so a resumed run goes on
where it was. Evaluation has the model's own depth always. No torch in this file.
"""

from __future__ import annotations

import re
from typing import NamedTuple

STAGE = re.compile(r"T=(\d{1,4}) n=(\d{1,4}) until (\d*\.\d{1,6})")
NONE = "none"
FORM = 'expected stages like "T=1 n=2 until 0.3; T=2 n=4 until 0.6"'


class Depth(NamedTuple):
    """T deep recursions of n latent recursions each."""

    T: int
    n: int


class Stage(NamedTuple):
    """A depth, until a fraction of the training steps."""

    depth: Depth
    until: float


class Stretch(NamedTuple):
    """So many steps, one after the other, at one depth."""

    depth: Depth
    steps: int


def read_curriculum(text: str) -> tuple[Stage, ...]:
    """The stages that a text names, "none" none. Raises ValueError: another form, an n of 0, fractions that fall."""
    if text.strip() == NONE:
        return ()
    stages: list[Stage] = []
    for part in text.split(";"):
        found = STAGE.fullmatch(" ".join(part.split()))
        if found is None:
            raise ValueError(f"train.curriculum: found {part.strip()[:60]!r}, {FORM}")
        T, n, until = int(found[1]), int(found[2]), float(found[3])
        before = stages[-1].until if stages else 0.0
        if not before < until < 1:
            raise ValueError(
                f"train.curriculum: until {until:g} after {before:g}; fractions rise and lie within 0 and 1"
            )
        if not (T and n):
            raise ValueError(f"train.curriculum: T={T} n={n}; a stage has a T and an n of 1 or more")
        stages.append(Stage(Depth(T, n), until))
    return tuple(stages)


def spelt(stages: tuple[Stage, ...]) -> str:
    """The one text for these stages, so that equal curricula have equal keys."""
    return "; ".join(f"T={depth.T} n={depth.n} until {until:g}" for depth, until in stages) or NONE


def stretches(stages: tuple[Stage, ...], full: Depth, steps: int) -> tuple[Stretch, ...]:
    """All training steps, cut where the depth changes; what rounds to no step is left out."""
    found, begun = [], 0
    for depth, until in (*stages, Stage(full, 1.0)):
        end = round(until * steps)
        if end > begun:
            found.append(Stretch(depth, end - begun))
        begun = max(begun, end)
    return tuple(found)
