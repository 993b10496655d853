"""How figures look: one ramp of colours per model, and what else tells two rows apart (dash, marker).

Colours are safe for colour-blind readers, and lightness orders those of a ramp; beside hue, rows differ by lightness,
dash and marker, so that a copy in grey still tells them apart. `SCHEMES` says what each becomes on a dark page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

INK, FAINT, PAPER = "#1f2429", "#8b939c", "#ffffff"
# light page → dark page. One ramp per model, from shallow to deep.
RAMPS: tuple[tuple[str, ...], ...] = (
    ("#5a9bcb", "#347fb9", "#1f6cab", "#0b4f8a", "#083a68", "#05294d", "#031b35"),  # blue
    ("#d97f35", "#cc6a1c", "#b9560f", "#964207", "#733204", "#552303", "#3d1802"),  # vermilion
    ("#4fa98c", "#2f957a", "#158063", "#07634b", "#054a38", "#033628", "#02251b"),  # green
    ("#a586c9", "#8d6bb8", "#7a55a8", "#643f91", "#4c2d72", "#352052", "#221436"),  # purple
)
DARK_RAMPS: tuple[tuple[str, ...], ...] = (
    ("#3a80b5", "#4a95cc", "#5aa6dc", "#7dbdea", "#9fd0f2", "#bfe0f8", "#dceffc"),
    ("#bb6a2c", "#d47d3a", "#e88f4c", "#f3a970", "#f8c196", "#fbd7ba", "#fdeada"),
    ("#2f8f74", "#40a588", "#52bb9c", "#7dd0b6", "#a3dfcb", "#c4ebdd", "#e0f5ed"),
    ("#8a68b3", "#9f7fc6", "#b196d4", "#c6b1e2", "#d8c9ec", "#e7ddf4", "#f4effa"),
)
BASE_ORDER = ("trm", "hrm", "trm_att", "direct")  # whose ramp is which
APART = (  # (ramp, step) of rows that are no ladder
    *((0, 3), (1, 0), (2, 4), (3, 1), (0, 0), (1, 4)),
    *((2, 1), (3, 5), (0, 5), (1, 2), (2, 6), (3, 3)),
)

Dash = Literal["-", "none"] | tuple[int, tuple[float, ...]]
DASHED: Dash = (0, (4, 2))
DASHES: tuple[Dash, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.4, 1.2, 1.4)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")

SCHEMES: dict[str, tuple[str, str]] = {
    **{
        light: (f"{ramp}-{step}", dark)
        for ramp, (lights, darks) in enumerate(zip(RAMPS, DARK_RAMPS, strict=True))
        for step, (light, dark) in enumerate(zip(lights, darks, strict=True))
    },
    INK: ("ink", "#e6e9ec"),
    FAINT: ("faint", "#7d8690"),
    PAPER: ("paper", "#14171a"),
}

STYLE: dict[Any, Any] = {  # matplotlib names its keys in a type of their own
    "svg.hashsalt": "trm",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # over every panel alike, and nothing to be measured for it
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "axes.grid": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
}


class Look(NamedTuple):
    """What a row is drawn with."""

    colour: str
    dash: Dash
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """What tells a line apart beside its colour, as matplotlib's plot takes it."""
        return {"linestyle": self.dash, "marker": self.marker}


def ramp(base: str) -> tuple[str, ...]:
    """A base recipe's colours, from shallow to deep."""
    return RAMPS[BASE_ORDER.index(base) % len(RAMPS)] if base in BASE_ORDER else RAMPS[-1]


def looks_by_name(rows: Iterable[tuple[str, str, int]]) -> dict[str, Look]:
    """A look for each name, (name, base, depth): one that comes again, on another test set, keeps its look."""
    first: dict[str, tuple[str, int]] = {}
    for name, base, depth in rows:
        first.setdefault(name, (base, depth))
    return dict(zip(first, looks(list(first.values())), strict=True))


def looks(rows: Sequence[tuple[str, int]]) -> tuple[Look, ...]:
    """A look for each row of a panel, (base, depth), no two alike as far as they go.

    Where the rows of each base are a ladder of depths, a base's are of its ramp, the deeper the darker. Else their
    depths say nothing, and each row has a hue of its own.
    """
    by_base = {base: sorted(depth for of, depth in rows if of == base) for base, _ in rows}
    is_ladder = all(len(set(depths)) == len(depths) <= len(RAMPS[0]) for depths in by_base.values())
    found = []
    for at, (base, depth) in enumerate(rows):
        if is_ladder:
            rank, n = by_base[base].index(depth), len(by_base[base])
            colour = ramp(base)[2 if n == 1 else rank * (2 if n <= 3 else 1)]
        else:
            hue, step = APART[at % len(APART)]
            colour = RAMPS[hue][step]
        rounds = at // len(DASHES), at // len(MARKERS)  # a look of the next round is shifted, so that none comes again
        dash, marker = DASHES[(at + rounds[0]) % len(DASHES)], MARKERS[(at + rounds[1]) % len(MARKERS)]
        found.append(Look(colour, dash, marker))
    return tuple(found)
