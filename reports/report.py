"""A study's report as files: read what MLflow has, collect, render, write. The one place here that reads and writes."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from matplotlib.figure import Figure

from reports import figures, page, words
from reports.collect import (
    VALIDATION,
    SeedRun,
    Table,
    TableRow,
    collect,
    elsewhere,
    loss_metric,
    passes,
    with_losses,
    with_selection,
    with_votes,
)
from reports.write import csv_files
from reports.write.latex import latex
from reports.write.markdown import markdown
from reports.write.terminal import terminal
from sweeps.campaign import FILE, Campaign
from sweeps.records.address import looked
from sweeps.records.read import artefact, campaigns, read_curve, runs_of
from sweeps.study import Study


class NothingRecorded(ValueError):
    """No run of this campaign."""


class BadVotes(ValueError):
    """A votes.csv that no vote has written."""


VOTES = "votes.csv"
VOTES_HEADER = ["votes", "pass@1", "pass@2"]
VOTE_AGAIN = "delete it, or let the predictions beside it vote again (python -m trm_core vote)"


@dataclass(frozen=True)
class Report:
    """A report that was written."""

    folder: Path
    files: tuple[str, ...]  # names below the folder
    text: str  # the table for the terminal
    table: Table


def write_report(campaign: Campaign, out: Path) -> Report:
    """The report of a campaign, in its folder below `out`, its document beside it. The same runs give the same bytes.

    Raises NothingRecorded, and TrackingUnavailable where MLflow does not answer.
    """
    table = read_table(campaign)
    study = campaign.study
    if not any(row.runs for row in table.rows):
        raise NothingRecorded(
            f"{campaign.name}: none of its runs is in {looked(out)}; make them with"
            f" `{campaign.command or f'python sweeps/run.py --study {study.name}'}`"
        )
    curves = {
        (run.run_id, metric): read_curve(run.run_id, metric)
        for row in table.rows
        for run in row.runs
        for metric in _curves_of(study, row, run)
    }
    table = with_losses(table, curves) if study.layout == "losses" else with_selection(table, curves)
    return render(_with_votes(table, out), curves, out)


def _curves_of(study: Study, row: TableRow, run: SeedRun) -> tuple[str, ...]:
    if study.layout == "losses":
        return (loss_metric(study),)
    return (*figures.metrics_of(row), *((VALIDATION,) if run.has_validation else ()))


def read_table(campaign: Campaign) -> Table:
    """The campaign's table from what MLflow has. Raises TrackingUnavailable."""
    ours, others = runs_of(campaign)
    labels = {one.id: one.label for one in campaigns(campaign.study.name, campaign.profile)} if others.runs else {}
    return collect(campaign, ours.runs, others=elsewhere(campaign, others.runs, labels), unreadable=ours.unreadable)


def _with_votes(table: Table, out: Path) -> Table:
    """The table with what ARC's votes left with the runs, and a note on what is not there or cannot be read.

    A run's folder is asked first, then MLflow, where the file is kept as well.
    """
    if passes(table.study.metric) is None:
        return table
    found, notes = {}, []
    for name, run in [(row.name, run) for row in table.rows for run in row.runs if run.status == "finished"]:
        try:
            if (votes := _votes(run, out)) is not None:
                found[run.run_id] = votes
        except BadVotes as error:
            notes.append(f"{VOTES} of {name}, {run.seeds} ({run.key}), {error}.")
    return with_votes(replace(table, notes=table.notes + tuple(notes)), found)


def _votes(run: SeedRun, out: Path) -> list[tuple[int, float, float]] | None:
    """From the run's folder or, where that has none that can be read, MLflow. Raises BadVotes where neither can be."""
    text = _text(out / "runs" / run.key / "predictions" / VOTES)
    with contextlib.suppress(BadVotes):
        if text is not None:
            return read_votes(text)
    kept = artefact(run.run_id, VOTES)
    text = text if kept is None else kept
    return None if text is None else read_votes(text)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def read_votes(text: str) -> list[tuple[int, float, float]]:
    """ARC's accuracy against the number of votes: (variants that vote, pass@1, pass@2). Raises BadVotes."""
    lines = list(csv.reader(text.splitlines()))
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
    """Every file of the report, written."""
    folder = table.campaign.folder(out)
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
    texts = {
        "table.md": markdown(table),
        "table.csv": csv_files.rows_csv(table),
        "runs.csv": csv_files.runs_csv(table),
        **latex(table),
        "page.html": page.page(table, inlined),
    }
    for name, there_is, write in (
        ("quoted.csv", table.quoted, csv_files.quoted_csv),
        (VOTES, table.vote_curves, csv_files.votes_csv),
        ("claims.csv", table.claims, csv_files.claims_csv),
        ("checkpoints.csv", table.selected, csv_files.checkpoints_csv),
    ):
        if there_is:
            texts[name] = write(table)
    contents = {name: text.encode() for name, text in texts.items()} | contents
    contents[FILE] = table.campaign.text().encode()
    write_files(folder, contents)
    for name in (*stale, *SOMETIMES):
        if name not in contents:
            (folder / name).unlink(missing_ok=True)
    return Report(folder, tuple(contents), terminal(table), table)


SOMETIMES = (  # files that a later report may have no more
    "quoted.csv", VOTES, "claims.csv", "checkpoints.csv", "claims.tex", "checkpoints.tex", "votes.tex", "quoted.tex",
)  # fmt: skip
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
    bars = (
        f" Bars: 95 % interval of the mean over {table.over}." if any(row.seed_interval for row in table.rows) else ""
    )
    names = {}
    drawn: list[tuple[str, str, Figure | None]] = []
    if table.grid is not None and not table.grid.by_puzzle:  # the rows are a ladder of depths
        depth = figures.accuracy_against_depth(table)
        names = {one.base: one.name for one in depth}
        picture = figures.draw_accuracy_against_depth(depth, comparable=table.comparable, profile=table.profile)
        drawn.append(("accuracy_against_depth", f"{words.metric_on(table)} against effective depth.{bars}", picture))
    else:  # each is a change of its own
        picture = figures.draw_accuracy_by_row(
            figures.accuracy_by_row(table),
            comparable=table.comparable,
            profile=table.profile,
            metric=words.metric_name(table),
        )
        drawn.append(("accuracy_by_row", f"{words.metric_on(table)}, row by row.{bars}", picture))
    if passes(table.study.metric) is not None:
        caption = (
            f"{words.VOTES_TITLE}: where only the first so many variants of each task vote. {words.ONE_CHECKPOINT}"
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


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Each under a temporary name first, then renamed, so that none is ever half there."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
