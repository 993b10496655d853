"""A study's report as files: read what MLflow has, collect, render, write. The one place here that reads and writes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports import figures, page, tables
from reports.collect import Table, collect
from sweeps.profiles import PROFILES
from sweeps.study import ProfileName, Study
from sweeps.tracking import address, read_curve, read_runs


class NothingRecorded(ValueError):
    """No run of this study in this profile, or several profiles to choose from."""


@dataclass(frozen=True)
class Report:
    """A report that was written."""

    folder: Path
    files: tuple[str, ...]  # names below the folder
    text: str  # the table for the terminal
    table: Table


def choose_profile(study: Study) -> ProfileName:
    """The only profile with runs of this study. Raises NothingRecorded where there is none, or a choice."""
    found = {profile: count for profile in PROFILES if (count := len(read_runs(study.name, profile)))}
    if len(found) == 1:
        return next(iter(found))
    if found:
        raise NothingRecorded(f"{study.name}: runs in {_counted(found)}; say which with --profile")
    raise NothingRecorded(f"{study.name}: {_nothing_at_all(study)}")


def write_report(study: Study, profile: ProfileName, out: Path, *, overrides: Sequence[str] | None = None) -> Report:
    """The report of a study in a profile, below `out`/profile/study. The same runs give the same bytes.

    overrides: the `--set` assignments of the runs wanted; None: the profile as it stands, else the newest runs.
    Raises NothingRecorded, BadSetting, and TrackingUnavailable where MLflow does not answer.
    """
    records = read_runs(study.name, profile)
    if not records:
        others = {other: count for other in PROFILES if (count := len(read_runs(study.name, other)))}
        there = f"there are runs in {_counted(others)}" if others else _nothing_at_all(study)
        raise NothingRecorded(f"{study.name}: nothing recorded in profile {profile}; {there}")
    table = collect(study, profile, records, overrides=overrides)
    if overrides is not None and not any(row.runs for row in table.rows):
        wanted = ", ".join(overrides) or "the profile's own settings"
        raise NothingRecorded(f"{study.name}: no run in profile {profile} with {wanted}; {table.notes[-1]}")
    curves = {
        (run.run_id, metric): read_curve(run.run_id, metric)
        for row in table.rows
        for run in row.runs
        for metric, _ in figures.PANELS
    }
    return render(table, curves, out)


def render(table: Table, curves: figures.Curves, out: Path) -> Report:
    """Every file of the report. Each is written under a temporary name and renamed, so none is ever half there."""
    folder = out / table.profile / table.study.name
    depth = figures.accuracy_against_depth(table)
    names = {one.base: one.name for one in depth}
    bars = " Bars: 95 % interval of the mean over seeds." if any(row.seed_interval for row in table.rows) else ""
    depths = rows = None
    if table.grid is not None:  # the rows are a ladder of depths; else each is a change of its own
        depths = figures.draw_accuracy_against_depth(depth, comparable=table.comparable, profile=table.profile)
    else:
        dots = figures.accuracy_by_row(table)
        rows = figures.draw_accuracy_by_row(dots, comparable=table.comparable, profile=table.profile)
    drawn = (
        (
            "accuracy_against_depth",
            f"Exact accuracy on the test puzzles against effective depth.{bars}",
            depths,
        ),
        (
            "accuracy_by_row",
            f"Exact accuracy on the test puzzles, row by row.{bars}",
            rows,
        ),
        (
            "learning_curves",
            "Thin lines: one seed each; thick: their mean. Long curves are averaged in bins of equal length."
            " Evaluations before the last may use fewer puzzles. Cell accuracy counts the given cells too.",
            figures.draw_learning_curves(figures.learning_curves(table, curves), names),
        ),
    )
    contents: dict[str, bytes] = {}
    inlined = []
    stale = []
    for name, caption, figure in drawn:
        if figure is None:
            stale += [f"figures/{name}.png", f"figures/{name}.svg"]
            continue
        image = figures.svg(figure)
        contents[f"figures/{name}.png"] = figures.png(figure)
        contents[f"figures/{name}.svg"] = image.encode()
        inlined.append((caption, figures.inline(image, name.replace("_", " "), name)))
    written: dict[str, Callable[[Table], str]] = {
        "table.md": tables.markdown,
        "table.csv": tables.rows_csv,
        "runs.csv": tables.runs_csv,
        "table.tex": tables.latex,
        "page.html": lambda table: page.page(table, inlined),
    }
    contents = {name: write(table).encode() for name, write in written.items()} | contents
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        _write(folder / name, content)
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    return Report(folder, tuple(contents), tables.terminal(table), table)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _counted(found: dict[ProfileName, int]) -> str:
    return ", ".join(f"{profile} ({count})" for profile, count in found.items())


def _nothing_at_all(study: Study) -> str:
    store = re.sub(r"//[^/@]*@", "//", address())  # a password is for no one's screen
    return f"no profile has any in {store}; make them with `python sweeps/run.py --study {study.name}`"
