"""A study's report as files: read what MLflow has, collect, render, write. The one place here that reads and writes."""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.files import check_regular, whole
from reports import page
from reports.collect import collect
from reports.curves import with_losses, with_selection, with_votes
from reports.figures import every, files
from reports.links import Links, links
from reports.live import Live, live
from reports.notes import elsewhere
from reports.outcomes import read_all, with_outcomes
from reports.reach import SPEED, with_reached
from reports.runs import VALIDATION, loss_metric, passes
from reports.solved import Solved, solved
from reports.tables import below
from reports.tables.outcomes import has_halting, steps
from reports.types import SeedRun, Table, TableRow
from reports.write import csv_files, frames, outcomes_csv
from reports.write.latex import latex
from reports.write.markdown import markdown
from reports.write.terminal import terminal
from sweeps.campaign import FILE, Campaign
from sweeps.records.address import address, looked
from sweeps.records.curves import Curves, read_curves
from sweeps.records.kept import file_of
from sweeps.records.provenance import remote
from sweeps.records.read import artefact, campaigns, experiment_id, runs_of
from sweeps.records.types import Recorded
from sweeps.study import Study
from trm_core.outcomes import Outcomes


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


@dataclass(frozen=True)
class Gathered:
    """All that a campaign's report is made of."""

    table: Table
    curves: Curves
    recorded: Recorded  # its runs, one per key
    links: Links
    solved: Solved | None  # a puzzle, as one of its runs thought about it
    outcomes: Mapping[str, Outcomes]  # what became of each test puzzle, by run id, of the runs that kept it


def write_report(campaign: Campaign, out: Path) -> Report:
    """The report of a campaign, in its folder below `out`, its document beside it. The same runs give the same bytes.

    Raises NothingRecorded, and TrackingUnavailable where MLflow does not answer.
    """
    return write_gathered(gather(campaign, out), out)


def write_gathered(of: Gathered, out: Path) -> Report:
    """The report of what was gathered. Raises NothingRecorded."""
    campaign = of.table.campaign
    if not any(row.runs for row in of.table.rows):
        raise NothingRecorded(
            f"{campaign.name}: none of its runs is in {looked(out)}; make them with"
            f" `{campaign.command or f'python sweeps/run.py --study {campaign.study.name}'}`"
        )
    going = live(campaign, of.recorded.runs, int(1000 * time.time()))
    return render(of.table, of.curves, out, of.links, of.solved, going, of.outcomes)


def gather(campaign: Campaign, out: Path, of_study_read: Recorded | None = None, *, keeps: bool = True) -> Gathered:
    """What MLflow holds of a campaign, read in bulk; curves of finished runs are kept in `out` (records/kept.py).

    of_study_read: what `of_study` has read, where several campaigns of a study are reported. keeps: whether curves that
    are read are kept. Raises TrackingUnavailable.
    """
    recorded, table = _read_table(campaign, of_study_read)
    study, records = campaign.study, {run.run_id: run for run in recorded.runs}
    wanted = [(records[run.run_id], _curves_of(study, row, run)) for row in table.rows for run in row.runs]
    curves = read_curves(wanted, file_of(out, study.name), keeps=keeps)
    table = with_losses(table, curves) if study.layout == "losses" else with_selection(table, curves)
    table = table if study.reach is None else with_reached(table, curves)
    found, notes = read_all(table, out)
    table = with_outcomes(replace(table, notes=table.notes + notes), found)
    kept = links(address(), experiment_id(study.name), remote(), len(campaign.folder(out).relative_to(out).parts))
    return Gathered(_with_votes(table, out), curves, recorded, kept, solved(table, out), found)


def _curves_of(study: Study, row: TableRow, run: SeedRun) -> tuple[str, ...]:
    if study.layout == "losses":
        return (loss_metric(study),)
    more = () if study.reach is None else (SPEED,)
    return (*every.metrics_of(row, run), *((VALIDATION,) if run.has_validation else ()), *more)


def read_table(campaign: Campaign) -> Table:
    """The campaign's table from what MLflow has. Raises TrackingUnavailable."""
    return _read_table(campaign)[1]


def _read_table(campaign: Campaign, of_study_read: Recorded | None = None) -> tuple[Recorded, Table]:
    ours, others = runs_of(campaign, of_study_read)
    labels = {one.id: one.label for one in campaigns(campaign.study.name, campaign.profile)} if others.runs else {}
    there = elsewhere(campaign, others.runs, labels)
    return ours, collect(campaign, ours.runs, others=there, unreadable=ours.unreadable)


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
    kept = None if run.votes is None else artefact(run.run_id, VOTES)  # a run that votes records how many did
    text = text if kept is None else kept
    return None if text is None else read_votes(text)


def _text(path: Path) -> str | None:
    try:
        return check_regular(path).read_text(encoding="utf-8", errors="replace")
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


def render(
    table: Table,
    curves: Curves,
    out: Path,
    kept: Links | None = None,
    thought: Solved | None = None,
    going: Live | None = None,
    outcomes: Mapping[str, Outcomes] | None = None,
) -> Report:
    """Every file of the report, written. kept: where its runs are. thought: how one of them answered a puzzle. going:
    while any of its runs goes on. outcomes: by run id, of the runs that kept what became of each puzzle.
    """
    folder = table.campaign.folder(out)
    drawn = every.draw(table, curves, outcomes)
    table = replace(table, not_drawn=tuple(one.sentence for one in drawn.left_out))
    contents: dict[str, bytes] = {}
    inlined = []
    for one in drawn.pictures:
        image = files.svg(one.figure)
        contents[f"figures/{one.name}.png"] = files.png(one.figure)
        contents[f"figures/{one.name}.svg"] = image.encode()
        contents[f"figures/{one.name}.csv"] = one.numbers.csv().encode()
        inlined.append((one.caption, files.inline(image, one.name.replace("_", " "), one.name)))
    runs, points = frames.runs(table), frames.curves(table, curves)
    contents |= {"runs.parquet": runs.parquet(), "curves.parquet": points.parquet()}
    texts = {
        "table.md": markdown(table),
        "table.csv": csv_files.rows_csv(table),
        "runs.csv": runs.csv(),
        "curves.csv": points.csv(),
        **latex(table),
        "page.html": page.page(table, inlined, kept, thought, going),
    }
    for name, there_is, write in (
        ("quoted.csv", table.quoted, csv_files.quoted_csv),
        (VOTES, table.vote_curves, csv_files.votes_csv),
        ("claims.csv", table.claims, csv_files.claims_csv),
        ("checkpoints.csv", table.selected, csv_files.checkpoints_csv),
        ("speed.csv", table.study.reach, csv_files.speed_csv),
        ("paired.csv", table.paired, outcomes_csv.paired_csv),
        ("halting.csv", has_halting(table), outcomes_csv.halting_csv),
        ("depths.csv", steps(table), outcomes_csv.depths_csv),
    ):
        if there_is:
            texts[name] = write(table)
    contents = {name: text.encode() for name, text in texts.items()} | contents
    contents[FILE] = table.campaign.text().encode()
    write_files(folder, contents)
    for name in (*every.stale(), *SOMETIMES):
        if name not in contents:
            (folder / name).unlink(missing_ok=True)
    return Report(folder, tuple(contents), terminal(table), table)


SOMETIMES = (  # files that a later report may have no more
    "quoted.csv", "speed.csv", "claims.csv", "claims.tex", "quoted.tex",
    *(f"{name}.{form}" for name in below.NAMES for form in ("csv", "tex")),
)  # fmt: skip


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Each under a temporary name first, then renamed, so that none is ever half there."""
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as new:
            new.write_bytes(content)
