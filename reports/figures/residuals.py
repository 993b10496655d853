"""How the recursion comes to rest: fixed-point residuals, and how far the EMA's weights are from the raw ones."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from reports.figures.learning import Array, thinned
from reports.figures.panels import (
    in_training_steps,
    key_beside,
    key_height,
    logarithmic_ticks,
    panels,
    room_for_key,
    whole_ticks,
)
from reports.figures.picture import Curves, Facts, Found, NotDrawn, Numbers, Picture
from reports.figures.style import STYLE, looks_by_name
from reports.stats import mean
from reports.types import Table, TableRow

RESIDUALS, DISTANCE = "residuals", "ema_distance"
EMA = "train/ema_distance"
RESIDUAL = re.compile(r"validation/residual_([yz])/(step|recursion)_(\d+)")
SETTING = "train.diagnostics=true records {what} at every evaluation (--set train.diagnostics=true)."
PANELS = (  # feature, over what, what the title and the axis say
    ("y", "step", "y, over supervision steps", "supervision step"),
    ("z", "step", "z, over supervision steps", "supervision step"),
    ("y", "recursion", "y, within the last step", "recursion, of T(n+1)"),
    ("z", "recursion", "z, within the last step", "recursion, of T(n+1)"),
)


@dataclass(frozen=True)
class Residual:
    """‖new − old‖ / ‖old‖ of one feature of a row, at the end of training: means over its runs."""

    row: str
    base: str
    depth: int
    feature: str  # "y" or "z"
    over: str  # "step": of the supervision; "recursion": of the last supervision step
    at: tuple[int, ...]  # steps or recursions, ascending
    means: tuple[float, ...]
    runs: int


def residuals(table: Table) -> tuple[Residual, ...]:
    """Of every row with a run that recorded them."""
    found = []
    for row in table.rows:
        by_seed: dict[tuple[str, str], list[dict[int, float]]] = {}
        for run in row.runs:
            of_run: dict[tuple[str, str], dict[int, float]] = {}
            for name, value in run.final.items():
                if (said := RESIDUAL.fullmatch(name)) and value > 0:
                    of_run.setdefault((said[1], said[2]), {})[int(said[3])] = value
            for key, values in of_run.items():
                by_seed.setdefault(key, []).append(values)
        for (feature, over), runs in sorted(by_seed.items()):
            at = sorted(set.intersection(*map(set, runs)))
            means = tuple(mean([one[place] for one in runs]) for place in at)
            if at:
                found.append(Residual(row.name, row.base, row.depth or 0, feature, over, tuple(at), means, len(runs)))
    return tuple(found)


def numbers(found: Sequence[Residual]) -> Numbers:
    """A line per row, feature and step."""
    header = ("row", "runs", "feature", "over", "at", "residual")
    lines = [
        (one.row, one.runs, one.feature, one.over, place, value)
        for one in found
        for place, value in zip(one.at, one.means, strict=True)
    ]
    return Numbers(header, lines)


def draw_residuals(found: Sequence[Residual]) -> Figure | None:
    """A panel per feature and kind of step, logarithmic; a line per row, the key beside the first."""
    kinds = [(*kind, of) for kind in PANELS if (of := [one for one in found if (one.feature, one.over) == kind[:2]])]
    if not kinds:
        return None
    rows = list(dict.fromkeys((one.row, one.base, one.depth) for one in found))
    kept = looks_by_name(rows)
    with mpl.rc_context(STYLE):
        across = min(2, len(kinds))
        down = -(-len(kinds) // across)
        height = max(1.7, (key_height(len(rows)) - (down - 1) * 0.76) / down)
        figure, axes = panels(down, across, width=2.5, height=height, room=0.55, between=0.76, share=False)
        whole, key = figure.get_figwidth(), room_for_key(kept, lines=True) - 0.45
        figure.set_figwidth(whole + key)
        for at in range(down * across):
            panel = axes[at // across][at % across]
            box = panel.get_position()
            shrunk = whole / (whole + key)  # the figure has grown by the key, its panels have not
            panel.set_position((box.x0 * shrunk, box.y0, box.width * shrunk, box.height))
            panel.set_visible(at < len(kinds))
            if at >= len(kinds):
                continue
            *_, title, axis, of = kinds[at]
            for one in of:
                look = kept[one.row]
                how: dict[str, Any] = {
                    "linestyle": look.dash,
                    "marker": look.marker,
                    "linewidth": 1.2,
                    "markersize": 3.5,
                }
                panel.plot(*_joined(one), color=look.colour, **how)
            panel.set_yscale("log")
            values = [value for one in of for value in one.means]
            logarithmic_ticks(panel.yaxis, max(values) / min(values))
            whole_ticks(panel.xaxis)
            panel.set_xlabel(axis)
            panel.set_title(f"Residual of {title}")
        key_beside(axes[0][across - 1], kept, lines=True)
    return figure


def _joined(one: Residual) -> tuple[list[float], list[float]]:
    """Where its line goes: z's is interrupted where y is renewed."""
    breaks = {place for place in one.at if place + 1 not in one.at} if one.feature == "z" else set()
    points = [
        point
        for place, value in zip(one.at, one.means, strict=True)
        for point in [(float(place), value), *([(place + 0.5, math.nan)] if place in breaks else [])]
    ]
    return [x for x, _ in points], [y for _, y in points]


def residuals_picture(facts: Facts) -> Found:
    """Of runs with diagnostics."""
    found = residuals(facts.table)
    figure = draw_residuals(found)
    if figure is None:
        return NotDrawn(RESIDUALS, SETTING.format(what="them"))
    caption = (
        "Fixed-point residuals ‖new − old‖ / ‖old‖ at the end of training, means over validation puzzles and seeds:"
        " over each supervision step, and over each of the T(n+1) recursions of the last one."
    )
    return Picture(RESIDUALS, caption, figure, numbers(found))


@dataclass(frozen=True)
class Distance:
    """How far a row's EMA is from its raw weights, [0..] of their norm, by training step: mean over its runs."""

    row: str
    base: str
    depth: int
    steps: Array
    means: Array
    runs: int


def ema_distances(table: Table, curves: Curves) -> tuple[Distance, ...]:
    """Of every row with an EMA and a run that recorded it."""
    return tuple(one for row in table.rows if (one := _distance(row, curves)) is not None)


def _distance(row: TableRow, curves: Curves) -> Distance | None:
    kept = [thinned(points) for run in row.runs if (points := curves.get((run.run_id, EMA), ()))]
    steps = sorted(set.intersection(*(set(of.tolist()) for of, _ in kept))) if kept else []
    if not steps:
        return None
    by_seed = [dict(zip(of.tolist(), values.tolist(), strict=True)) for of, values in kept]
    means = [mean([one[step] for one in by_seed]) for step in steps]
    return Distance(row.name, row.base, row.depth or 0, np.array(steps), np.array(means), len(kept))


def draw_distances(found: Sequence[Distance], *, profile: str) -> Figure | None:
    """A line per row by training step, the key beside it."""
    if not found:
        return None
    kept = looks_by_name((one.row, one.base, one.depth) for one in found)
    with mpl.rc_context(STYLE):
        height = max(2.4, key_height(len(found)))
        figure, axes = panels(1, 1, width=4.6, height=height, room=room_for_key(kept, lines=True))
        panel = axes[0][0]
        for one in found:
            look = kept[one.row]
            how = look.line | {"linewidth": 1.3, "markersize": 3.5}
            every = max(1, len(one.steps) // 10)
            panel.plot(one.steps, one.means, color=look.colour, markevery=every, **how)
        panel.set_xlim(left=0)
        panel.set_ylim(bottom=0)
        in_training_steps(panel)
        panel.set_title(f"EMA distance ‖w_EMA − w‖ / ‖w‖: profile {profile}")
        key_beside(panel, kept, lines=True)
    return figure


def distances_picture(facts: Facts) -> Found:
    """Of rows that have an EMA."""
    rows = [row for row in facts.table.rows if row.settings is not None and row.settings.optim.ema is not None]
    if not rows:
        return None
    found = ema_distances(facts.table, facts.curves)
    figure = draw_distances(found, profile=facts.table.profile)
    if figure is None:
        return NotDrawn(DISTANCE, SETTING.format(what="it"))
    caption = "‖w_EMA − w‖ / ‖w‖ over all parameters of the network, at every evaluation; means over the seeds."
    numbers = Numbers(
        ("row", "runs", "training_step", "distance"),
        [
            (one.row, one.runs, int(step), value)
            for one in found
            for step, value in zip(one.steps.tolist(), one.means.tolist(), strict=True)
        ],
    )
    return Picture(DISTANCE, caption, figure, numbers)
