"""A study's report as files: read what MLflow has, collect, render, write. The one place here that reads and writes."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from reports import figures, page, tables
from reports.collect import Table, collect, loss_metric, passes, with_losses, with_votes
from sweeps.profiles import PROFILES
from sweeps.study import ProfileName, Study
from sweeps.tracking import address, read_curve, read_runs


class NothingRecorded(ValueError):
    """No run of this study in this profile, or several profiles to choose from."""


class BadVotes(ValueError):
    """A votes.csv that no vote has written."""


VOTES_HEADER = ["votes", "pass@1", "pass@2"]
VOTE_AGAIN = "delete it, or let the predictions beside it vote again (python -m trm_core vote)"


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
        for metric in ((loss_metric(study),) if study.layout == "losses" else figures.metrics_of(row))
    }
    table = with_losses(table, curves) if study.layout == "losses" else table
    return render(_with_votes(table, out), curves, out)


def _with_votes(table: Table, out: Path) -> Table:
    """The table with what ARC's votes left in the runs' folders, and a note on what is not there or cannot be read."""
    if passes(table.study.metric) is None:
        return table
    found, notes = {}, []
    for run in (run for row in table.rows for run in row.runs):
        name = f"runs/{run.key}/predictions/votes.csv"
        if (out / name).is_file():
            try:
                found[run.run_id] = read_votes(out / name)
            except BadVotes as error:
                notes.append(f"{name}, {error}.")
    return with_votes(replace(table, notes=table.notes + tuple(notes)), found)


def read_votes(path: Path) -> list[tuple[int, float, float]]:
    """ARC's accuracy against the number of votes: (variants that vote, pass@1, pass@2). Raises BadVotes."""
    lines = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    if lines[:1] != [VOTES_HEADER]:
        raise BadVotes(f"line 1: expected {','.join(VOTES_HEADER)}; {VOTE_AGAIN}")
    found = []
    for number, line in enumerate(lines[1:], 2):
        try:
            votes, first, second = int(line[0]), float(line[1]), float(line[2])
        except (ValueError, IndexError):
            votes = first = second = 0
        if len(line) != len(VOTES_HEADER) or votes < 1 or not 0 <= first <= second <= 1:
            raise BadVotes(
                f"line {number}: {','.join(line)}, expected a count and two shares, the second no less; {VOTE_AGAIN}"
            )
        found.append((votes, first, second))
    return sorted(found)


def render(table: Table, curves: figures.Curves, out: Path) -> Report:
    """Every file of the report. Each is written under a temporary name and renamed, so none is ever half there."""
    folder = out / table.profile / table.study.name
    drawn = _drawn(table, curves)
    contents: dict[str, bytes] = {}
    inlined = []
    stale = [f"figures/{name}.{kind}" for name in FIGURES for kind in ("png", "svg")]
    for name, caption, figure in drawn:
        if figure is None:
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
    if table.quoted:
        written["quoted.csv"] = tables.quoted_csv
    if table.vote_curves:
        written["votes.csv"] = tables.votes_csv
    contents = {name: write(table).encode() for name, write in written.items()} | contents
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        _write(folder / name, content)
    for name in (*stale, "quoted.csv", "votes.csv"):
        if name not in contents:
            (folder / name).unlink(missing_ok=True)
    return Report(folder, tuple(contents), tables.terminal(table), table)


FIGURES = ("accuracy_against_depth", "accuracy_by_row", "accuracy_against_votes", "learning_curves", "training_losses")


def _drawn(table: Table, curves: figures.Curves) -> list[tuple[str, str, Figure | None]]:
    """The figures of this table, in the page's order: name, caption, and the picture where there is any to draw."""
    if table.study.layout == "losses":
        caption = (
            "Training loss of every row. Thin lines: one seed each; thick: their mean."
            " Long curves are averaged in bins of equal length."
        )
        picture = figures.draw_training_losses(figures.training_losses(table, curves), profile=table.profile)
        return [("training_losses", caption, picture)]
    bars = " Bars: 95 % interval of the mean over seeds." if any(row.seed_interval for row in table.rows) else ""
    names = {}
    drawn: list[tuple[str, str, Figure | None]] = []
    if table.grid is not None and not table.grid.by_puzzle:  # the rows are a ladder of depths
        depth = figures.accuracy_against_depth(table)
        names = {one.base: one.name for one in depth}
        picture = figures.draw_accuracy_against_depth(depth, comparable=table.comparable, profile=table.profile)
        drawn.append(("accuracy_against_depth", f"{tables.metric_on(table)} against effective depth.{bars}", picture))
    else:  # each is a change of its own
        picture = figures.draw_accuracy_by_row(
            figures.accuracy_by_row(table),
            comparable=table.comparable,
            profile=table.profile,
            metric=tables.metric_name(table),
        )
        drawn.append(("accuracy_by_row", f"{tables.metric_on(table)}, row by row.{bars}", picture))
    if passes(table.study.metric) is not None:
        caption = (
            f"{tables.VOTES_TITLE}: where only the first so many variants of each task vote. {tables.ONE_CHECKPOINT}"
        )
        drawn.append(("accuracy_against_votes", caption, figures.draw_accuracy_against_votes(table)))
    kinds = {row.puzzle for row in table.rows}
    given = (
        "Cell accuracy counts the given cells too."
        if kinds == {"sudoku"}
        else "Cell accuracy counts the cells that a puzzle shows, too."
    )
    alone = " Each ARC test input as it is: no variants, no vote." if "arc" in kinds else ""
    drawn.append(
        (
            "learning_curves",
            "Thin lines: one seed each; thick: their mean. Long curves are averaged in bins of equal length."
            f" Evaluations before the last may use fewer puzzles. {given}{alone}",
            figures.draw_learning_curves(figures.learning_curves(table, curves), names),
        )
    )
    return drawn


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
