"""What rows cost, in floating-point operations and device-hours, and what accuracy they had for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports import words
from reports.figures.panels import (
    CHARACTER,
    amount,
    fitted,
    in_per_cent,
    key_beside,
    key_height,
    panels,
    price_axis,
    room_for_key,
    say_at_edge,
)
from reports.figures.picture import Facts, Found, NotDrawn, Numbers, Picture, column_and_label
from reports.figures.style import STYLE, Look, looks_by_name, ramp
from reports.stats import Interval, mean
from reports.types import SeedRun, Table, TableRow
from sweeps.records.types import REUSED_FROM

FLOPS = "accuracy_against_flops"
HOURS = "accuracy_against_hours"
COST = "cost_by_row"
NO_HOURS = (
    "no finished run of these rows was trained in this campaign, so none says how long it took; the report of the study"
    " that trained them has it (reused_from)."
)


@dataclass(frozen=True)
class Cost:
    """One row: what one run of it takes, and what it came to. Accuracies as fractions."""

    row: str
    base: str
    depth: int
    column: str  # the test set, where the table has several
    label: str  # its name in the key: without the column's
    flops: float | None  # of a run's training, by formula; None: the row's settings are not possible
    hours: float | None  # device-hours, mean over the finished runs that say so; None: none does
    runs: int  # finished runs behind the hours
    device: str
    accuracy: float | None
    interval: Interval | None  # over seeds


def costs(table: Table) -> tuple[Cost, ...]:
    """Of every row that has a run."""
    return tuple(_cost(row, table) for row in table.rows if row.runs)


def _cost(row: TableRow, table: Table) -> Cost:
    hours = {run.run_id: found for run in row.runs if (found := device_hours(run)) is not None}
    devices = dict.fromkeys(run.tags.get("device", "") for run in row.runs if run.run_id in hours)
    return Cost(
        row.name,
        row.base,
        row.depth or 0,
        *column_and_label(row, table),
        None if row.settings is None else row.settings.train_work(),
        mean(list(hours.values())) if hours else None,
        len(hours),
        " and ".join(name for name in devices if name),
        row.mean,
        row.seed_interval,
    )


def device_hours(run: SeedRun) -> float | None:
    """Of a finished run: hours that it was made for, times its workers, or its share of a device.

    None where the record does not say: a run that stands for another campaign's has that one's time.
    """
    if run.status != "finished" or not run.seconds or REUSED_FROM in run.tags:
        return None
    workers, share = run.tags.get("workers", ""), run.tags.get("gpus_per_run", "")
    devices = int(workers) if re.fullmatch(r"[1-9][0-9]{0,3}", workers) else 1
    part = float(share) if re.fullmatch(r"0\.[0-9]{0,6}[1-9]", share) else 1.0
    return run.seconds * devices * part / 3600


def numbers(found: Sequence[Cost]) -> Numbers:
    """A line per row."""
    header = ("column", "row", "depth", "training_flops", "device_hours", "runs_behind_the_hours", "device")
    lines = []
    for one in found:
        ends = (None, None) if one.interval is None else (one.interval.low, one.interval.high)
        about = (one.column, one.row, one.depth, one.flops, one.hours, one.runs, one.device)
        lines.append((*about, one.accuracy, *ends))
    return Numbers((*header, "accuracy", "seed_interval_95_low", "seed_interval_95_high"), lines)


def draw_accuracy(
    found: Sequence[Cost], price: Callable[[Cost], float | None], axis: str, *, metric: str, profile: str
) -> Figure | None:
    """A marker per row that has both, its bar over seeds; a panel per test set, the key beside it.

    price: what a row costs. axis: what the x axis says; metric: what the title says.
    """
    shown = [one for one in found if one.accuracy is not None and price(one)]
    if not shown:
        return None
    columns = list(dict.fromkeys(one.column for one in shown))
    with mpl.rc_context(STYLE):
        height = max(2.8, max(key_height(sum(one.column == column for one in shown)) for column in columns))
        kept = looks_by_name((one.label, one.base, one.depth) for one in found)
        room = room_for_key(kept)
        figure, axes = panels(len(columns), 1, width=4.6, height=height, room=room, between=0.76, share=False)
        for panel, column in zip([line[0] for line in axes], columns, strict=True):
            _draw_marks(panel, [one for one in shown if one.column == column], price, kept)
            panel.set_title(f"{column or metric}: profile {profile}")
            panel.set_xlabel(axis)
    return figure


def _draw_marks(
    panel: Axes, rows: Sequence[Cost], price: Callable[[Cost], float | None], found: Mapping[str, Look]
) -> None:
    heights = []
    for one in rows:
        look = found[one.label]
        x, y = price(one), one.accuracy
        assert x is not None
        assert y is not None
        ends = (y, y) if one.interval is None else (max(0.0, one.interval.low), min(1.0, one.interval.high))
        if one.interval is not None:
            panel.plot([x, x], ends, color=look.colour, linewidth=0.9, marker="_", markersize=5, alpha=0.7)
        panel.plot([x], [y], color=look.colour, marker=look.marker, markersize=6, linestyle="none", zorder=3)
        heights += [y, *ends]
    price_axis(panel, [value for one in rows if (value := price(one))])
    panel.set_ylim(fitted(heights))
    in_per_cent(panel.yaxis)
    key_beside(panel, {one.label: found[one.label] for one in rows})


def draw_cost(found: Sequence[Cost], *, profile: str) -> Figure | None:
    """A bar per row and kind of cost, its number at the end."""
    kinds: list[tuple[str, Callable[[Cost], float | None]]] = [
        ("Training FLOPs of a run", lambda one: one.flops),
        (f"{_hours(found)} of a run", lambda one: one.hours),
    ]
    kinds = [(title, price) for title, price in kinds if any(price(one) for one in found)]
    if not kinds:
        return None
    with mpl.rc_context(STYLE):
        left = 0.2 + CHARACTER * max(len(one.row) for one in found)
        height = 0.24 * len(found) + 0.1
        figure, axes = panels(
            1, len(kinds), width=2.5, height=height, room=0.85, left=left, below=-0.38, share=False, grid="none"
        )
        for place, (panel, (title, price)) in enumerate(zip(axes[0], kinds, strict=True)):
            prices = [price(one) for one in found]
            panel.barh(
                range(len(found)),
                [value or 0.0 for value in prices],
                height=0.62,
                color=[ramp(one.base)[1] for one in found],
            )
            for at, value in enumerate(prices):
                text = "not known" if value is None else amount(value)
                say_at_edge(panel, at, text, colour=ramp(found[at].base)[2], there_is_one=value is not None)
            panel.set_title(title + (f": profile {profile}" if place == 0 else ""))
            panel.set_ylim(len(found) - 0.4, -0.6)
            panel.set_yticks(range(len(found)), [one.row for one in found])
            panel.tick_params(axis="y", length=0, labelleft=place == 0)
            panel.set_xlim(0, 1.02 * max(value for value in prices if value))
            panel.set_xticks([])
            panel.spines["bottom"].set_visible(False)
    return figure


def _hours(found: Sequence[Cost]) -> str:
    """ "GPU-hours", or what they are of where that is no GPU, or not one kind of device."""
    devices = {one.device for one in found if one.hours is not None}
    return "CPU-hours" if devices == {"cpu"} else "GPU-hours" if devices and "cpu" not in devices else "Device-hours"


def _on(found: Sequence[Cost]) -> str:
    """On which devices, as a sentence after another."""
    devices = sorted({one.device for one in found if one.hours is not None and one.device})
    unlike = ", so that rows cannot be compared by their hours" if len(devices) > 1 else ""
    return f" On {'; '.join(devices)}{unlike}." if devices else ""


HOURS_ARE = (
    "{hours}: as long as commands made a run, evaluations in it and the time between two commands not, times its"
    " workers or its share of a device; mean over the runs trained here.{on}"
)


def against_flops(facts: Facts) -> Found:
    """Accuracy against the operations of a run's training."""
    table = facts.table
    if table.study.layout == "losses":
        return None
    found = costs(table)
    metric, axis = words.metric_name(table), "training FLOPs of a run, by formula"
    figure = draw_accuracy(found, lambda one: one.flops, axis, metric=metric, profile=table.profile)
    if figure is None:
        return NotDrawn(FLOPS, "no run has finished yet.")
    caption = (
        f"{words.metric_on(table)} against the floating-point operations of a run's training, by formula (evaluations"
        f" not counted).{words.bars(table)}"
    )
    return Picture(FLOPS, caption, figure, numbers(found))


def against_hours(facts: Facts) -> Found:
    """Accuracy against the device-hours of a run."""
    table = facts.table
    if table.study.layout == "losses":
        return None
    found = costs(table)
    metric, hours = words.metric_name(table), _hours(found)
    axis = f"{hours} of a run"
    figure = draw_accuracy(found, lambda one: one.hours, axis, metric=metric, profile=table.profile)
    if figure is None:
        finished = any(run.status == "finished" for row in table.rows for run in row.runs)
        return NotDrawn(HOURS, NO_HOURS if finished else "no run has finished yet.")
    said = HOURS_ARE.format(hours=hours, on=_on(found))
    caption = f"{words.metric_on(table)} against what a run takes. {said}{words.bars(table)}"
    return Picture(HOURS, caption, figure, numbers(found))


def by_row(facts: Facts) -> Found:
    """What a run of each row costs."""
    found = costs(facts.table)
    figure = draw_cost(found, profile=facts.table.profile) if found else None
    if figure is None:
        return NotDrawn(COST, "no row has a run yet.")
    said = HOURS_ARE.format(hours=_hours(found), on=_on(found)) if any(one.hours for one in found) else ""
    caption = f"What one run of each row takes. FLOPs: of its training, by formula, evaluations not counted. {said}"
    return Picture(COST, caption.strip(), figure, numbers(found))
