"""Runs to a table: pure. What a row's numbers are, and what a row without one says.

Which runs belong to which row stands in the campaign's document: they are joined by key, and nothing is configured
again. So runs of the same row with other settings or on other puzzles never meet in one mean; a note counts them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports import paper, stats
from reports.facts import facts_of, have_test_sets_of_their_own, is_own, leak_of, warning_of
from reports.judging import DID_NOT_RUN, judged, pools_of, speaks_for
from reports.notes import (
    NOT_POSSIBLE,
    not_in_this_table,
    not_the_published_set,
    notes_on_runs,
    notes_on_spreads,
    why_paths_differ,
)
from reports.runs import accuracy_metric, mean_of_all, said, seed_run, test_interval, utc
from reports.types import Grid, SeedRun, Seeds, Table, TableRow
from reports.verdicts import judge_claims
from sweeps.campaign import Campaign
from sweeps.puzzles import OWN_FILES, set_of
from sweeps.records.types import RunRecord
from sweeps.study import Row
from sweeps.words import whole_number

NOT_IN_PROFILE = "not in this profile"  # a row that the study does not run at this scale


def collect(
    campaign: Campaign,
    records: Sequence[RunRecord],
    *,
    others: Mapping[str, int] | None = None,
    unreadable: Sequence[str] = (),
) -> Table:
    """The campaign's table from what is recorded of its runs.

    others: how many of the study's runs in this profile belong elsewhere, by what a note says of them.
    unreadable: what was said of records that are none.
    """
    asked = {run.key: run for run in campaign.runs}

    def place(record: RunRecord) -> tuple[str, Seeds]:
        """Its row and seeds: by its key, and as it was recorded where the document has lost it."""
        run = asked.get(record.key, record)
        return run.row, Seeds(run.data_seed, run.seed)

    def drawn_from(record: RunRecord) -> object:
        row, seeds = place(record)
        settings = campaign.settings(row)
        return settings and set_of(settings.change({"data": {"seed": seeds.data}}).data)

    ordered = sorted(records, key=lambda record: (record.key in asked, utc(record.started), record.run_id))
    newest_set = {drawn_from(record): record.data for record in ordered}  # the last one wins
    taken = [record for record in ordered if record.data == newest_set[drawn_from(record)]]
    by_row: dict[str, dict[Seeds, RunRecord]] = {}
    for record in taken:
        row, seeds = place(record)
        by_row.setdefault(row, {})[seeds] = record

    left = dict(others or {})
    if len(taken) < len(ordered):
        left["other puzzles"] = len(ordered) - len(taken)
    leak = leak_of(campaign.study, by_row)
    own = {record.tags[OWN_FILES] for records in by_row.values() for record in records.values() if is_own(record.tags)}
    warning = warning_of(campaign, leaks=bool(leak), own_files=sorted(own))
    rows = tuple(_row(campaign, row, by_row.get(row.name, {}), comparable=not warning) for row in campaign.study.rows)
    pools = pools_of(rows)
    rows = judged(campaign.study, rows, pools, comparable=not warning)
    return Table(
        campaign=campaign,
        warning=warning,
        rows=rows,
        grid=_grid(rows),
        facts=facts_of(campaign, rows),
        notes=not_the_published_set(rows, comparable=not warning and campaign.study.has_paper_numbers)
        + why_paths_differ(rows)
        + notes_on_spreads(rows, pools, losses=campaign.study.layout == "losses")
        + notes_on_runs(campaign, rows)
        + not_in_this_table(left, unreadable),
        leak=leak,
        pools=pools,
        claims=judge_claims(
            campaign.study.claims,
            pools,
            {row.name: row.paper / 100 for row in rows if isinstance(row.paper, float)},
        ),
    )


def _row(campaign: Campaign, row: Row, records: Mapping[Seeds, RunRecord], *, comparable: bool) -> TableRow:
    study, settings = campaign.study, campaign.settings(row.name)
    runs = tuple(seed_run(records[seeds], seeds, study) for seeds in sorted(records))
    finished = [run for run in runs if run.accuracy is not None]
    values = tuple(run.accuracy for run in finished if run.accuracy is not None)
    counts = [run.puzzles for run in finished if run.puzzles]
    puzzles = min(counts) if counts and len(counts) == len(finished) else None
    by_seeds = {(run.data_seed, run.seed): run.accuracy for run in finished if run.accuracy is not None}
    mean = stats.mean(stats.units(by_seeds)) if values else None
    recorded = [records[run.seeds].params.get("parameters", "") for run in finished]
    parameters = next(
        (n for text in recorded if (n := whole_number(text)) is not None),
        None if settings is None else settings.parameters(),
    )
    return TableRow(
        name=row.name,
        base=row.base,
        puzzle=study.puzzle_of(row),
        place=row.place,
        settings=settings,
        depth=None if settings is None else settings.model.depth,
        paper_depth=row.paper_depth,
        nfp=None if settings is None else settings.model.nfp,
        parameters=parameters,
        eval_steps=None if settings is None else settings.evaluation_steps,
        runs=runs,
        values=values,
        mean=mean,
        cell_accuracy=mean_of_all([run.cell_accuracy for run in finished]),
        shortest_path=mean_of_all([run.shortest_path for run in finished]),
        seed_interval=None,  # when all rows are there: judged
        test_interval=test_interval(accuracy_metric(study), mean, puzzles),
        puzzles=puzzles,
        paper=row.paper,
        difference=100 * mean - row.paper if comparable and mean is not None and isinstance(row.paper, float) else None,
        status="" if values else _status(campaign, row, runs),
        paper_losses=row.paper_losses,
    )


def _status(campaign: Campaign, row: Row, runs: Sequence[SeedRun]) -> str:
    """What stands in place of a number."""
    if not runs and campaign.profile not in row.profiles:
        return NOT_IN_PROFILE
    if not runs:
        why_not = next((one.why_not for one in campaign.rows if one.name == row.name), "")
        return f"{NOT_POSSIBLE}: {why_not}" if why_not else DID_NOT_RUN
    return said(speaks_for(runs))


def _grid(rows: Sequence[TableRow]) -> Grid | None:
    """The rows laid out by their place, columns side by side; None unless every row has a place with a column.

    The column stands under "model": a model (Table 3), or the puzzles that it is measured on (Tables 4 and 5).
    """
    if not rows or any("model" not in row.place for row in rows):
        return None
    labels = tuple(name for name in rows[0].place if name != "model")
    if any(tuple(name for name in row.place if name != "model") != labels for row in rows):
        return None
    met = list(dict.fromkeys(row.place["model"] for row in rows))
    columns = [name for name in paper.MODEL_ORDER if name in met] + [m for m in met if m not in paper.MODEL_ORDER]
    lines: dict[tuple[str, ...], dict[str, TableRow]] = {}
    for row in rows:
        lines.setdefault(tuple(row.place[name] for name in labels), {})[row.place["model"]] = row
    if sum(len(cells) for cells in lines.values()) != len(rows):
        return None  # two rows in one place: the list shows both
    return Grid(
        labels=labels,
        columns=tuple(columns),
        by_puzzle=have_test_sets_of_their_own(rows),
        lines=tuple((at, tuple(cells.get(column) for column in columns)) for at, cells in lines.items()),
    )
