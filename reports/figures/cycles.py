"""Accuracy by T and n, as a map: what Table 3's diagonal cannot tell apart (sections 4.1 and 4.8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from reports import words
from reports.figures.panels import panels
from reports.figures.picture import Facts, Found, NotDrawn, Numbers, Picture
from reports.figures.style import BASE_ORDER, FAINT, INK, PAPER, STYLE, ramp
from reports.types import Table

NAME = "accuracy_by_cycles"
WIDE, TALL = 0.86, 0.56  # inches of a cell
DARK = 0.6  # a shade from which on letters are light


@dataclass(frozen=True)
class Square:
    """One row at its place in the map."""

    row: str
    base: str
    T: int
    n: int
    depth: int
    accuracy: float | None  # [0..1]; None: no number, `word` says why
    word: str
    is_best: bool  # or not significantly below the best


def accuracy_by_cycles(table: Table) -> tuple[Square, ...]:
    """The rows that differ in T and n alone; none where they are no map, but a line or a diagonal of one."""
    maps: dict[object, list[Square]] = {}
    for row in table.rows:
        if row.settings is None:
            continue
        rest = {name: value for name, value in row.settings.flat().items() if name not in ("model.T", "model.n")}
        model, word = row.settings.model, row.status.partition(":")[0]
        square = Square(row.name, row.base, model.T, model.n, model.depth, row.mean, word, row.is_best)
        maps.setdefault(tuple(sorted((name, str(value)) for name, value in rest.items())), []).append(square)
    found = max(maps.values(), key=len, default=[])
    Ts, ns = {one.T for one in found}, {one.n for one in found}
    is_map = len(Ts) > 1 and len(ns) > 1 and len(found) > len(Ts) * len(ns) / 2
    return tuple(found) if is_map and len({(one.T, one.n) for one in found}) == len(found) else ()


def numbers(found: Sequence[Square]) -> Numbers:
    """A line per square."""
    header = ("row", "T", "n", "depth", "accuracy", "word", "not_below_the_best")
    return Numbers(
        header,
        [(s.row, s.T, s.n, s.depth, s.accuracy, s.word, "yes" if s.is_best else "no") for s in found],
    )


def draw(found: Sequence[Square], *, metric: str, profile: str) -> Figure | None:
    """A square per row, the darker the better, with its accuracy in per cent and, under it, its depth."""
    values = [one.accuracy for one in found if one.accuracy is not None]
    if not values:
        return None
    Ts, ns = sorted({one.T for one in found}), sorted({one.n for one in found})
    low, high = min(values), max(values)
    with mpl.rc_context(STYLE):
        size = {"width": max(WIDE * len(ns), 3.4), "height": TALL * len(Ts)}
        figure, axes = panels(1, 1, room=0.3, left=0.75, share=False, grid="none", **size)
        panel = axes[0][0]
        panel.set_xlim(0, len(ns))
        panel.set_ylim(len(Ts), 0)
        for one in found:
            share = 0.0 if one.accuracy is None else 0.3 if high == low else (one.accuracy - low) / (high - low)
            _draw_square(panel, one, ns.index(one.n), Ts.index(one.T), share)
        panel.set_xticks([at + 0.5 for at in range(len(ns))], [str(n) for n in ns])
        panel.set_yticks([at + 0.5 for at in range(len(Ts))], [str(T) for T in Ts])
        panel.tick_params(length=0)
        panel.spines[:].set_visible(False)
        panel.set_xlabel("n, latent recursions in a deep recursion")
        panel.set_ylabel("T, deep recursions")
        panel.set_title(f"{metric}, %: profile {profile}")
    return figure


def _draw_square(panel: Axes, one: Square, x: int, y: int, share: float) -> None:
    colour = ramp(one.base if one.base in BASE_ORDER else "trm")[3]
    if one.accuracy is None:
        edge = Rectangle((x + 0.03, y + 0.04), 0.94, 0.92, facecolor="none", edgecolor=FAINT, linewidth=0.4)
        panel.add_patch(edge)
        panel.text(x + 0.5, y + 0.5, one.word.replace(" ", "\n", 1), ha="center", va="center", fontsize=7, color=INK)
        return
    shade = 0.06 + 0.9 * share
    panel.add_patch(Rectangle((x, y), 1, 1, facecolor=colour, alpha=shade, edgecolor="none"))
    panel.add_patch(Rectangle((x, y), 1, 1, facecolor="none", edgecolor=PAPER, linewidth=1.2))
    ink = PAPER if shade > DARK else INK
    weight = "bold" if one.is_best else "normal"
    panel.text(x + 0.5, y + 0.4, words.percent(one.accuracy), ha="center", va="center", color=ink, weight=weight)
    panel.text(x + 0.5, y + 0.74, f"depth {one.depth}", ha="center", va="center", color=ink, fontsize=6.5)


def picture(facts: Facts) -> Found:
    """Of a study of T and n apart."""
    table = facts.table
    if table.study.layout == "losses" or not (found := accuracy_by_cycles(table)):
        return None
    figure = draw(found, metric=words.metric_name(table), profile=table.profile)
    if figure is None:
        return NotDrawn(NAME, "no run has finished yet.")
    bold = " Bold: not significantly below the best." if any(one.is_best for one in found) else ""
    caption = f"{words.metric_on(table)} by T and n; the darker the better, depth T(n+1)·n_layers under it.{bold}"
    return Picture(NAME, caption, figure, numbers(found))
