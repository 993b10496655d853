"""Runs to a table: pure. What a row's numbers are, and what a row without one says.

Which runs belong to which row stands in the campaign's document: they are joined by key, and nothing is configured
again. So runs of the same row with other settings or on other puzzles never meet in one mean; a note counts them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from reports import paper, stats, verdicts
from reports.stats import Difference, Interval, Pool
from reports.verdicts import Judged, Verdict, declines, judge, judge_claims
from sweeps.campaign import Campaign
from sweeps.puzzles import OWN_FILES, set_of
from sweeps.records.types import STATE, RunRecord
from sweeps.study import Losses, ProfileName, PuzzleName, Quoted, Row, Study
from sweeps.words import whole_number
from trm_core.config import RunConfig

Status = Literal["finished", "running", "failed", "diverged", "out of memory", "killed"]
STATUSES: tuple[Status, ...] = ("finished", "running", "failed", "diverged", "out of memory", "killed")

NOT_COMPARABLE = "not comparable with the paper's column"
NO_COLUMN = "not comparable with runs at full size"  # the same where the paper prints no numbers
NOT_ITS_LOSSES = "not comparable with the source's losses"  # and of a table of losses
SMALL = "small puzzles, small model, few steps"  # what a profile that is not comparable means
EXACT = "test/exact_accuracy"
CELL_ACCURACY = "test/cell_accuracy"
SHORTEST_PATH = "test/shortest_path_accuracy"  # of mazes
VOTES = "test/votes"  # of ARC: the most variants of a task that voted
VALIDATION = "validation/exact_accuracy"
LOSS = "train/loss"
LAST_DIGIT = 0.0005  # nats: half of the last digit that a source of losses prints
NO_VOTES = "no votes.csv that can be read is with the run"
DID_NOT_RUN = "did not run"
NOT_IN_PROFILE = "not in this profile"  # a row that the study does not run at this scale
NOT_POSSIBLE = "not possible"  # a row that the campaign's changes cannot be for
LEAKS_NAMED = 5  # task ids of a leak, before "and N more"
NOT_JUDGED = Verdict("not run")
TOLD_BY_BASE = {"optim.lr": "learning rate", "optim.ema": "EMA"}  # a profile may set them for one base alone


class Seeds(NamedTuple):
    """What draws a run's puzzles and their variants, and what its weights, order and exploration."""

    data: int
    train: int

    def __str__(self) -> str:
        return f"seed {self.train}" + (f", data seed {self.data}" if self.data else "")


@dataclass(frozen=True)
class SeedRun:
    """One recorded run of a row."""

    seeds: Seeds
    key: str
    run_id: str
    status: Status
    reason: str  # why there is no number; empty where there is one
    accuracy: float | None  # [0..1]
    chosen_by: float | None  # what a comparison of settings looks at (choosing_metric), never a test score
    has_validation: bool  # whether it was scored on validation puzzles
    cell_accuracy: float | None  # [0..1], the mean share of right cells
    shortest_path: float | None  # [0..1], mazes answered by a shortest path, whichever
    puzzles: int | None  # test puzzles behind it; ARC: test inputs
    votes: int | None  # ARC: so many variants of a task voted, at most
    log_every: int | None  # steps that each reported training loss is the mean of
    interval: Interval | None  # Wilson, of the test set
    started: datetime
    ended: datetime | None
    tags: Mapping[str, str]

    @property
    def seed(self) -> int:
        """Of its weights, order and exploration."""
        return self.seeds.train

    @property
    def data_seed(self) -> int:
        """Of its puzzles and their variants."""
        return self.seeds.data

    @property
    def leaks(self) -> tuple[str, ...]:
        """The tasks that were tested although they had been learnt from (ARC, data.allow_leak)."""
        return leaked(self.tags)

    @property
    def seconds(self) -> float | None:
        """Wall time from the run's first start to its end."""
        return None if self.ended is None else (self.ended - self.started).total_seconds()


@dataclass(frozen=True)
class TableRow:
    """One row with everything that is known of it. Accuracies are fractions, the paper's cell per cent as printed."""

    name: str
    base: str
    puzzle: PuzzleName
    place: Mapping[str, str]
    settings: RunConfig | None  # both seeds at 0; None: the changes cannot be for this row, nor what follows from them
    depth: int | None  # T(n+1)·n_layers
    paper_depth: int | None  # where the paper prints another
    nfp: int | None
    parameters: int | None
    eval_steps: int | None  # supervision steps at test
    runs: tuple[SeedRun, ...]  # by seed
    values: tuple[float, ...]  # of the finished seeds
    mean: float | None
    cell_accuracy: float | None  # mean over the same seeds; None unless all of them recorded it
    shortest_path: float | None  # the same
    seed_interval: Interval | None  # of the mean, by the spread over seeds (stats.Pool); None where none is known
    test_interval: Interval | None  # Wilson, one run at the mean accuracy
    puzzles: int | None
    paper: float | str | None
    difference: float | None  # ours minus paper, percentage points; None where they cannot be compared
    status: str  # why there is no number; empty where there is one
    paper_losses: Losses | None = None
    losses: tuple[Losses, ...] = ()  # of each finished seed that has a curve (with_losses)
    verdict: Verdict = NOT_JUDGED
    against: Difference | None = None  # the baseline, where the study names one
    is_best: bool = False  # or not significantly below the best

    @property
    def seeds(self) -> tuple[Seeds, ...]:
        """The seeds behind the mean."""
        return tuple(run.seeds for run in self.runs if run.accuracy is not None)


@dataclass(frozen=True)
class Selected:
    """A row's accuracy at three of its checkpoints: means over the seeds that have a curve, [0..1]."""

    row: str
    seeds: int
    last: float
    by_validation: float | None  # of each run at the step of its best score on validation; None: no validation
    by_test: float  # at the best on test, which nobody could have picked: peeking
    declined: bool  # the last is well below what was there before


@dataclass(frozen=True)
class Grid:
    """The paper's layout of a study whose rows have a place: lines of labels, and for each column a row or none."""

    labels: tuple[str, ...]  # ("k", "T"), ("method",)
    columns: tuple[str, ...]  # ("HRM", "TRM"), ("Sudoku-Extreme", "Maze-Hard")
    by_puzzle: bool  # whether each column is measured on a test set of its own
    lines: tuple[tuple[tuple[str, ...], tuple[TableRow | None, ...]], ...]


@dataclass(frozen=True)
class VoteCurve:
    """A row's accuracy on ARC by the number of variants that vote: means over the seeds that have one, [0..1]."""

    row: str
    seeds: int
    votes: tuple[int, ...]  # ascending; those that all of these seeds have
    pass_at: Mapping[int, tuple[float, ...]]  # by k: 1 and 2


@dataclass(frozen=True)
class Table:
    """A campaign, ready to be rendered."""

    campaign: Campaign
    warning: str  # why it cannot stand beside the paper's column; empty where it can
    rows: tuple[TableRow, ...]
    grid: Grid | None
    facts: tuple[tuple[str, str], ...]  # what was run: (name, text)
    notes: tuple[str, ...]
    leak: str = ""  # which tasks were tested although learnt from; empty where none was
    vote_curves: tuple[VoteCurve, ...] = ()  # ARC's accuracy against the number of votes (with_votes)
    pools: tuple[Pool, ...] = ()  # the seeds of the rows that share a test set
    claims: tuple[Judged, ...] = ()
    selected: tuple[Selected, ...] = ()  # the last checkpoint beside the best (with_selection)

    @property
    def study(self) -> Study:
        """What was asked for, and what the paper prints."""
        return self.campaign.study

    @property
    def profile(self) -> ProfileName:
        """At what scale."""
        return self.campaign.profile

    @property
    def overrides(self) -> tuple[str, ...]:
        """What was changed in the profile's settings."""
        return self.campaign.changes

    @property
    def draws(self) -> bool:
        """Whether any run has other puzzles, or other variants, than those of data seed 0."""
        return any(run.data_seed for row in self.rows for run in row.runs)

    @property
    def over(self) -> str:
        """What a spread is over: of the two seeds the one that varies, or both."""
        seeds = [row.seeds for row in self.rows]
        if not any(one.data for of_row in seeds for one in of_row):
            return "seeds"
        draws = any(len({one.data for one in of_row}) > 1 for of_row in seeds)
        weights = any(len({one.train for one in of_row}) > 1 for of_row in seeds)
        words = ("draws of the puzzles" if draws else "", "training seeds" if weights or not draws else "")
        return " and ".join(word for word in words if word)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What stands above every form of the table."""
        return tuple(text for text in (self.leak, self.warning) if text)

    @property
    def quoted(self) -> tuple[Quoted, ...]:
        """The rows that the paper quotes: printed apart, and never ours."""
        return self.study.quoted

    @property
    def comparable(self) -> bool:
        """Whether ours and the paper's may be subtracted."""
        return not self.warning

    @property
    def eval_steps(self) -> tuple[int, ...]:
        """Supervision steps at test, over all rows: without it an accuracy is ambiguous."""
        return tuple(sorted({row.eval_steps for row in self.rows if row.eval_steps is not None}))

    @property
    def puzzles(self) -> tuple[int, ...]:
        """Numbers of test puzzles behind the accuracies."""
        return tuple(sorted({row.puzzles for row in self.rows if row.puzzles is not None}))

    @property
    def voters(self) -> tuple[int, ...]:
        """ARC: how many variants of a task voted, at most, in the runs behind the numbers."""
        return tuple(sorted({run.votes for row in self.rows for run in row.runs if run.votes is not None}))

    @property
    def has_shortest_paths(self) -> bool:
        """Whether any row says how many of its mazes were answered by a shortest path."""
        return any(row.shortest_path is not None for row in self.rows)


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

    ordered = sorted(records, key=lambda record: (record.key in asked, _utc(record.started), record.run_id))
    newest_set = {drawn_from(record): record.data for record in ordered}  # the last one wins
    taken = [record for record in ordered if record.data == newest_set[drawn_from(record)]]
    by_row: dict[str, dict[Seeds, RunRecord]] = {}
    for record in taken:
        row, seeds = place(record)
        by_row.setdefault(row, {})[seeds] = record

    left = dict(others or {})
    if len(taken) < len(ordered):
        left["other puzzles"] = len(ordered) - len(taken)
    leak = _leak(campaign.study, by_row)
    own = {record.tags[OWN_FILES] for records in by_row.values() for record in records.values() if _is_own(record.tags)}
    warning = _warning(campaign, leaks=bool(leak), own_files=sorted(own))
    rows = tuple(_row(campaign, row, by_row.get(row.name, {}), comparable=not warning) for row in campaign.study.rows)
    pools = _pools(rows)
    rows = _judged(campaign.study, rows, pools, comparable=not warning)
    return Table(
        campaign=campaign,
        warning=warning,
        rows=rows,
        grid=_grid(rows),
        facts=_facts(campaign, rows),
        notes=_not_the_published_set(rows, comparable=not warning and campaign.study.has_paper_numbers)
        + _why_paths_differ(rows)
        + _spreads(rows, pools)
        + _notes(campaign, rows)
        + _not_in_this_table(left, unreadable),
        leak=leak,
        pools=pools,
        claims=judge_claims(
            campaign.study.claims,
            pools,
            {row.name: row.paper / 100 for row in rows if isinstance(row.paper, float)},
        ),
    )


def _pools(rows: Sequence[TableRow]) -> tuple[Pool, ...]:
    """The numbers of the rows that share a test set, for each such set."""
    sets: dict[object, dict[str, tuple[float, ...]]] = {}
    for row in rows:
        if row.values:
            sets.setdefault(_test_set(row), {})[row.name] = stats.units(_by_seeds(row))
    return tuple(Pool(of) for of in sets.values())


def _by_seeds(row: TableRow) -> dict[tuple[int, int], float]:
    return {(run.data_seed, run.seed): run.accuracy for run in row.runs if run.accuracy is not None}


def _judged(study: Study, rows: Sequence[TableRow], pools: Sequence[Pool], *, comparable: bool) -> tuple[TableRow, ...]:
    """The rows with what their seeds say: the interval of each mean, the verdict, the baseline and the best."""
    found = {row.name: replace(row, verdict=_no_number(row)) for row in rows}
    for pool in pools:
        baseline = next((name for name in study.baseline if name in pool.rows), None)
        against = {one.row: one for one in (() if baseline is None else pool.against(baseline))}
        best = pool.among_the_best() if len(pool.rows) > 1 else frozenset()
        for name in pool.rows:
            found[name] = replace(
                found[name],
                seed_interval=pool.interval(name),
                verdict=_verdict(found[name], pool, comparable=comparable and study.layout != "losses"),
                against=against.get(name),
                is_best=name in best,
            )
    return tuple(found[row.name] for row in rows)


def _no_number(row: TableRow) -> Verdict:
    if not row.runs:
        return Verdict("not run", "" if row.status == DID_NOT_RUN else row.status)
    first = _first(row.runs)
    return Verdict("not comparable" if first.status == "finished" else first.status, first.reason)


def _verdict(row: TableRow, pool: Pool, *, comparable: bool) -> Verdict:
    if not comparable:
        return Verdict("not comparable")
    if not isinstance(row.paper, float):
        why = "the paper prints no number" if row.paper is None else f"{row.paper} in the paper"
        return Verdict("not comparable", why)
    published = None if row.settings is None else paper.published_test(row.settings.data)
    mean = stats.mean(pool.rows[row.name])
    ours = mean * (1 - mean) / row.puzzles if row.puzzles is not None and row.puzzles != published else 0.0
    found = judge(pool, row.name, row.paper / 100, test_variance=ours)
    lost = [run.status for run in row.runs if run.accuracy is None and run.status != "running"]
    if not lost:
        return found
    of = f"of {len(row.runs)} runs {len(lost)} without a number ({', '.join(dict.fromkeys(lost))})"
    return replace(found, why="; ".join(part for part in (found.why, of) if part))


def _spreads(rows: Sequence[TableRow], pools: Sequence[Pool]) -> tuple[str, ...]:
    """The notes on how far runs of a row lie apart: by what rule, and which of the two seeds does it."""
    notes = []
    for pool in pools:
        if pool.df == 0 or len(pool.rows) < 2:
            continue
        named = next(iter(_columns(rows, pool)), "")
        spread = (
            ""
            if (sd := pool.sd(next(iter(pool.rows)))) is None or pool.scale != "points"
            else f", {100 * sd:.1f} points"
        )
        levene = "" if pool.homogeneity is None else f"; Levene's test of one variance: p = {pool.homogeneity:.2g}"
        notes.append(f"Spread over seeds{f' ({named})' if named else ''}: {stats.SCALES[pool.scale]}{spread}{levene}.")
    apart = stats.spread_apart([_by_seeds(row) for row in rows])
    if apart.data is not None:
        train = "not known" if apart.train is None else f"{100 * apart.train:.1f} points"
        notes.append(
            f"Runs of a row on the same puzzles differ by their training seeds: {train}; draws of the puzzles differ by"
            f" {100 * apart.data:.1f} points beside (standard deviations)."
        )
    return tuple(notes)


def _columns(rows: Sequence[TableRow], pool: Pool) -> list[str]:
    """The name of the pool's test set, where the table has several."""
    if not have_test_sets_of_their_own(rows):
        return []
    return [row.place.get("model", row.puzzle) for row in rows if row.name in pool.rows]


def with_selection(table: Table, curves: Mapping[tuple[str, str], Sequence[tuple[int, float]]]) -> Table:
    """The table with the last checkpoint beside the best on validation and the best on test.

    curves: (run id, metric) → (step, value), steps ascending; of exact accuracy, on test and on validation.
    """
    if table.study.layout == "losses":
        return table
    rows = (
        (row.name, [found for run in row.runs if (found := _checkpoints(run, curves)) is not None])
        for row in table.rows
    )
    return replace(table, selected=tuple(_selected(name, runs) for name, runs in rows if runs))


def _checkpoints(
    run: SeedRun, curves: Mapping[tuple[str, str], Sequence[tuple[int, float]]]
) -> tuple[float, float | None, float] | None:
    """Of a finished run that was tested more than once: last, at its best on validation, best on test."""
    test = {step: value for step, value in curves.get((run.run_id, EXACT), ()) if _is_fraction(value)}
    if run.accuracy is None or len(test) < 2:
        return None
    validation = {
        step: value for step, value in curves.get((run.run_id, VALIDATION), ()) if math.isfinite(value) and step in test
    }
    picked = test[max(validation, key=lambda step: (validation[step], -step))] if validation else None
    return test[max(test)], picked, max(test.values())


def _selected(name: str, runs: Sequence[tuple[float, float | None, float]]) -> Selected:
    last, by_test = stats.mean([one[0] for one in runs]), stats.mean([one[2] for one in runs])
    by_validation = _mean_of_all([one[1] for one in runs])
    return Selected(name, len(runs), last, by_validation, by_test, declines(last, by_validation, by_test))


def with_losses(table: Table, curves: Mapping[tuple[str, str], Sequence[tuple[int, float]]]) -> Table:
    """The table with the first, last and least training loss of each finished seed that has a curve.

    curves: (run id, metric) → (step, value), steps ascending. What is not finite is no loss.
    """

    def of(run: SeedRun) -> Losses | None:
        values = [value for _, value in curves.get((run.run_id, loss_metric(table.study)), ()) if math.isfinite(value)]
        if run.status != "finished" or not values:
            return None
        return Losses(initial=values[0], final=values[-1], minimum=min(values))

    rows = [
        replace(row, losses=tuple(found for run in row.runs if (found := of(run)) is not None)) for row in table.rows
    ]
    pool = Pool({row.name: tuple(one.final for one in row.losses) for row in rows if row.losses}, are_fractions=False)
    return replace(table, rows=tuple(_judged_by_loss(row, pool, comparable=table.comparable) for row in rows))


def _judged_by_loss(row: TableRow, pool: Pool, *, comparable: bool) -> TableRow:
    """The verdict on a row's final loss."""
    if row.name not in pool.rows:
        return row
    if row.paper_losses is None or not comparable:
        why = "the source prints no number" if comparable else ""
        return replace(row, verdict=Verdict("not comparable", why))
    within = verdicts.WITHIN * row.paper_losses.final
    return replace(row, verdict=judge(pool, row.name, row.paper_losses.final, within=within, printed=LAST_DIGIT))


def with_votes(table: Table, found: Mapping[str, Sequence[Sequence[float]]]) -> Table:
    """The table with ARC's accuracy against the number of votes, and a note on the runs of which none is known.

    found: run id → (variants that vote, pass@1, pass@2), ascending.
    """
    curves, lacking = [], []
    for row in table.rows:
        runs = [run for run in row.runs if run.accuracy is not None and row.puzzle == "arc"]
        lacking += [f"{row.name}, {run.seeds}" for run in runs if run.run_id not in found]
        by_seed = [{int(votes): scores for votes, *scores in found[run.run_id]} for run in runs if run.run_id in found]
        if by_seed and (common := sorted(set.intersection(*(set(seed) for seed in by_seed)))):
            pass_at = {
                k: tuple(stats.mean([seed[votes][at] for seed in by_seed]) for votes in common)
                for at, k in enumerate((1, 2))
            }
            curves.append(VoteCurve(row.name, len(by_seed), tuple(common), pass_at))
    notes: tuple[str, ...] = ()
    if lacking:
        notes = (f"Accuracy against the number of votes is not known of {'; '.join(lacking)}: {NO_VOTES}.",)
    return replace(table, vote_curves=tuple(curves), notes=table.notes + notes)


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_own(tags: Mapping[str, str]) -> bool:
    """Whether a run's puzzles are of files that are not the published ones."""
    return bool(tags.get(OWN_FILES))


def _warning(campaign: Campaign, *, leaks: bool, own_files: Sequence[str]) -> str:
    """Why ours cannot stand beside the paper's; empty where it can."""
    reasons = [] if campaign.comparable else [f"{campaign.profile} profile ({SMALL})"]
    reasons += [f"settings changed ({', '.join(campaign.changes)})"] if campaign.changes else []
    reasons += ["leaking tasks"] if leaks else []
    reasons += own_files
    with_what = NOT_COMPARABLE if campaign.study.has_paper_numbers else NO_COLUMN
    if campaign.study.layout == "losses":
        with_what = NOT_ITS_LOSSES
    return f"{' and '.join(reasons)}: {with_what}" if reasons else ""


def leaked(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The tasks that a run's tags name as tested although learnt from."""
    return tuple(task.strip() for task in tags.get("leaks", "").split(",") if task.strip())


def _leak(study: Study, by_row: Mapping[str, Mapping[Seeds, RunRecord]]) -> str:
    """Which tasks leak in which rows, the first few by name; empty where none does."""
    tasks: dict[str, list[str]] = {}  # rows by task
    for row in study.rows:
        for record in by_row.get(row.name, {}).values():
            for task in leaked(record.tags):
                tasks.setdefault(task, []).append(row.name)
    if not tasks:
        return ""
    rows = dict.fromkeys(name for row in study.rows for names in tasks.values() for name in names if name == row.name)
    ids = sorted(tasks)
    more = f" and {len(ids) - LEAKS_NAMED:,} more" if len(ids) > LEAKS_NAMED else ""
    count = "1 test task was" if len(ids) == 1 else f"{len(ids):,} test tasks were"
    everyone = len(rows) == sum(1 for records in by_row.values() if records)
    where = "" if everyone else f" in {'; '.join(rows)}"
    return f"leak: {count} learnt from{where} (data.allow_leak): {', '.join(ids[:LEAKS_NAMED])}{more}"


def setting_text(value: object) -> str:
    """A setting as `--set` takes it."""
    return "none" if value is None else str(value)


def _row(campaign: Campaign, row: Row, records: Mapping[Seeds, RunRecord], *, comparable: bool) -> TableRow:
    study, settings = campaign.study, campaign.settings(row.name)
    runs = tuple(_seed_run(records[seeds], seeds, study) for seeds in sorted(records))
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
        eval_steps=None if settings is None else settings.train.eval_N_sup or settings.model.N_sup,
        runs=runs,
        values=values,
        mean=mean,
        cell_accuracy=_mean_of_all([run.cell_accuracy for run in finished]),
        shortest_path=_mean_of_all([run.shortest_path for run in finished]),
        seed_interval=None,  # when all rows are there: _judged
        test_interval=_test_interval(accuracy_metric(study), mean, puzzles),
        puzzles=puzzles,
        paper=row.paper,
        difference=100 * mean - row.paper if comparable and mean is not None and isinstance(row.paper, float) else None,
        status="" if values else _status(campaign, row, runs),
        paper_losses=row.paper_losses,
    )


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    """Their mean; None unless there are some and all are there."""
    known = [value for value in values if value is not None]
    return stats.mean(known) if known and len(known) == len(values) else None


def _test_interval(metric: str, accuracy: float | None, puzzles: int | None) -> Interval | None:
    """Wilson's, where each test puzzle is solved or not; a task of two test inputs may be solved by half (pass@k)."""
    if accuracy is None or puzzles is None or passes(metric):
        return None
    return stats.test_set_interval(accuracy, puzzles)


def accuracy_metric(study: Study) -> str:
    """The metric of the study's accuracies; beside a table of losses stands exact accuracy."""
    return EXACT if study.layout == "losses" else study.metric


def loss_metric(study: Study) -> str:
    """The training loss of the study's curves: its metric where that is one."""
    return study.metric if study.metric.startswith("train/") else LOSS


def choosing_metric(study: Study) -> str:
    """What tells the better of two settings: the study's metric on validation, or a loss itself; never a test score.

    Votes are cast on test tasks alone, so for pass@k it is exact accuracy on validation.
    """
    if not study.metric.startswith("test/"):
        return study.metric
    return (EXACT if passes(study.metric) else study.metric).replace("test/", "validation/")


def passes(metric: str) -> int | None:
    """k of the metric pass@k, "test/pass_at_2" (MLflow takes no @ in a name); None for another metric."""
    found = re.fullmatch(r"test/pass_at_(\d+)", metric)
    return int(found[1]) if found else None


def _status(campaign: Campaign, row: Row, runs: Sequence[SeedRun]) -> str:
    """What stands in place of a number."""
    if not runs and campaign.profile not in row.profiles:
        return NOT_IN_PROFILE
    if not runs:
        why_not = next((one.why_not for one in campaign.rows if one.name == row.name), "")
        return f"{NOT_POSSIBLE}: {why_not}" if why_not else DID_NOT_RUN
    return said(_first(runs))


def _first(runs: Sequence[SeedRun]) -> SeedRun:
    """The run that speaks for a row without a number; "finished" here: finished with no number."""
    return min(runs, key=lambda run: STATUSES.index(run.status))


def said(run: SeedRun) -> str:
    """A run without a number, in words."""
    if run.status == "finished" or run.reason.startswith(run.status):  # "diverged at step 20: …"
        return run.reason
    return f"{run.status}: {run.reason}" if run.reason else run.status


def _seed_run(record: RunRecord, seeds: Seeds, study: Study) -> SeedRun:
    metric, choosing = accuracy_metric(study), choosing_metric(study)
    status: Status = record.state
    if record.status == "FAILED" and record.tags.get(STATE) == "out of memory":
        status = "out of memory"
    reason = " ".join(record.tags.get("failure", "").split()) if record.status == "FAILED" else ""
    accuracy = record.metrics.get(metric) if status == "finished" else None

    def finite(name: str) -> float | None:
        value = record.metrics.get(name, math.nan) if status == "finished" else math.nan
        return value if math.isfinite(value) else None

    def fraction(name: str) -> float | None:
        value = finite(name)
        return value if value is not None and _is_fraction(value) else None

    def count(name: str) -> int | None:
        value = record.metrics.get(name, 0.0)
        return int(value) if math.isfinite(value) and value >= 1 else None

    if status == "finished" and accuracy is None:
        reason = f"no {metric} recorded"
    elif accuracy is not None and not _is_fraction(accuracy):
        accuracy, reason = None, f"{metric} is {accuracy:g}, not a fraction"
    puzzles = count("test/puzzles")
    return SeedRun(
        seeds=seeds,
        key=record.key,
        run_id=record.run_id,
        status=status,
        reason=reason,
        accuracy=accuracy,
        chosen_by=fraction(choosing) if choosing.startswith("validation/") else finite(choosing),
        has_validation=fraction(VALIDATION) is not None,
        cell_accuracy=fraction(CELL_ACCURACY),
        shortest_path=fraction(SHORTEST_PATH),
        puzzles=puzzles,
        votes=count(VOTES),
        log_every=whole_number(record.params.get("train.log_every", "")),
        interval=_test_interval(metric, accuracy, puzzles),
        started=_utc(record.started),
        ended=None if record.ended is None else _utc(record.ended),
        tags=record.tags,
    )


def _is_fraction(value: float) -> bool:
    return math.isfinite(value) and 0 <= value <= 1


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


def have_test_sets_of_their_own(rows: Iterable[TableRow]) -> bool:
    """Whether these rows are measured on more than one test set: other puzzles, or other tasks of ARC."""
    return len({_test_set(row) for row in rows}) > 1


def _test_set(row: TableRow) -> tuple[str, str]:
    return row.puzzle, "" if row.settings is None else row.settings.data.test_subset


def _facts(campaign: Campaign, rows: Sequence[TableRow]) -> tuple[tuple[str, str], ...]:
    """What was run, as far as the runs behind the numbers tell; several values are all named."""
    ran = [row for row in rows if row.runs]
    runs = [run for row in ran for run in row.runs]
    settings = [row.settings for row in ran or rows if row.settings is not None]

    def tagged(name: str) -> str:
        return _several(run.tags[name] for run in runs if run.tags.get(name))

    commits = _several(
        run.tags["commit"][:12] + (" with uncommitted changes" if run.tags.get("dirty") == "yes" else "")
        for run in runs
        if run.tags.get("commit")
    )
    versions = sorted({name for run in runs for name in run.tags if name.startswith("version.")})
    moments = [run.started for run in runs] + [run.ended for run in runs if run.ended]
    own = {row.puzzle for row in rows if any(_is_own(run.tags) for run in row.runs)}
    puzzles = _several(_puzzles(one, own_files=one.data.puzzle in own) for one in settings)
    facts = (
        ("profile", campaign.profile),
        ("changed settings", ", ".join(campaign.changes)),
        ("seeds", _numbers({run.seed for run in runs})),
        ("data seeds", _numbers({run.data_seed for run in runs}) if any(run.data_seed for run in runs) else ""),
        ("training steps", _several(f"{one.train.steps:,}" for one in settings)),
        ("batch size", _several(str(one.train.batch_size) for one in settings)),
        ("width D", _several(str(one.model.D) for one in settings)),
        *((name, _by_base(setting, ran or rows)) for setting, name in TOLD_BY_BASE.items()),
        ("puzzles", puzzles),
        (f"test {kind(row.puzzle for row in rows)} measured", measured(ran, ", ")),
        ("data hash", tagged("data")),
        ("device", tagged("device")),
        ("commit", commits),
        ("versions", ", ".join(f"{name.removeprefix('version.')} {tagged(name)}" for name in versions)),
        ("dates", _span(moments)),
    )
    return tuple((name, text) for name, text in facts if text)


PUZZLES: dict[PuzzleName, str] = {"sudoku": "puzzles", "maze": "mazes", "arc": "inputs"}  # "test …"


def kind(puzzles: Iterable[PuzzleName]) -> str:
    """What is counted in a test set, in the plural: ARC's tasks have one test input or several."""
    words = {PUZZLES[puzzle] for puzzle in puzzles}
    return words.pop() if len(words) == 1 else "puzzles"


def measured(rows: Sequence[TableRow], between: str) -> str:
    """The numbers of test puzzles behind these rows; with their column's name where each has a test set of its own."""
    counts: dict[int, list[str]] = {}
    for row in rows:
        if row.puzzles:
            counts.setdefault(row.puzzles, []).append(row.place.get("model", ""))
    if not have_test_sets_of_their_own(rows) or any("" in names for names in counts.values()):
        return between.join(f"{count:,}" for count in sorted(counts))
    return between.join(f"{count:,} ({', '.join(dict.fromkeys(names))})" for count, names in counts.items())


def _by_base(setting: str, rows: Sequence[TableRow]) -> str:
    """A setting of each base, "HRM 0.001, TRM 0.003", where the bases differ; else nothing."""
    texts = {}
    for base in dict.fromkeys(row.base for row in rows):
        of_base = [row for row in rows if row.base == base]
        values = dict.fromkeys(
            setting_text(row.settings.flat()[setting]) for row in of_base if row.settings is not None
        )
        texts[base_name(of_base)] = " or ".join(values)
    return ", ".join(f"{name} {text}" for name, text in texts.items()) if len(set(texts.values())) > 1 else ""


def base_name(rows: Sequence[TableRow]) -> str:
    """What the paper calls the model of these rows, all of one base; else the recipe's name."""
    named = {row.place.get("method", row.place.get("model", "")) for row in rows}
    return named.pop() if len(named) == 1 and "" not in named else rows[0].base.upper().replace("_ATT", "-Att")


def _puzzles(settings: RunConfig, *, own_files: bool) -> str:
    data = settings.data
    side = math.isqrt(data.cells)
    source = "generated" if data.source == "generated" else "own" if own_files else "published"
    train, test = ("all" if count is None else f"{count:,}" for count in (data.train, data.test))
    if data.puzzle == "arc":
        subsets = f"tasks of {data.subsets.replace(',', ', ')}, tested on {data.test_subset}"
        return f"ARC, {source} {subsets}: {train} training, {data.validation:,} validation, {test} test tasks"
    name = {"sudoku": "Sudoku", "maze": "Maze"}[data.puzzle]
    return f"{side}×{side} {name}, {source}: {train} training, {data.validation:,} validation, {test} test"


def _numbers(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _several(texts: Iterable[str]) -> str:
    return " · ".join(dict.fromkeys(texts))


def _span(moments: Sequence[datetime]) -> str:
    if not moments:
        return ""
    first, last = (f"{moment:%Y-%m-%d %H:%M}" for moment in (min(moments), max(moments)))
    return f"{first} UTC" if first == last else f"{first} to {last} UTC"


def _not_the_published_set(rows: Sequence[TableRow], *, comparable: bool) -> tuple[str, ...]:
    """The note where numbers stand beside the paper's, measured on another number of test puzzles than there."""
    notes: dict[tuple[PuzzleName, int], set[int]] = {}
    for row in rows:
        published = None if row.settings is None else paper.published_test(row.settings.data)
        if comparable and row.puzzles is not None and published is not None and row.puzzles != published:
            notes.setdefault((row.puzzle, published), set()).add(row.puzzles)
    return tuple(
        f"Measured on {' or '.join(f'{count:,}' for count in sorted(counts))} test {PUZZLES[puzzle]}, not the published"
        f" test set of {published:,} {PUZZLES[puzzle]} that the paper's column is of."
        for (puzzle, published), counts in notes.items()
    )


def _why_paths_differ(rows: Sequence[TableRow]) -> tuple[str, ...]:
    """The note on the two accuracies of mazes."""
    if all(row.shortest_path is None for row in rows):
        return ()
    return (
        "Mazes: exact match, as in the paper, asks for the published path; it is one of millions of equally short paths"
        " (a median of 3.8 million at 30×30), picked by a tie-break. "
        '"A shortest path" takes any of them, checked by search.',
    )


def _notes(campaign: Campaign, rows: Sequence[TableRow]) -> tuple[str, ...]:
    notes = [note for note in (campaign.study.note, campaign.profile_note) if note]
    for declared in campaign.study.rows_of(campaign.profile):
        changed = [
            f"{section}.{name}={setting_text(value)}"
            for section, values in declared.change_in.get(campaign.profile, {}).items()
            for name, value in values.items()
        ]
        if changed:
            notes.append(f"{declared.name} has settings of its own in {campaign.profile}: {', '.join(changed)}.")
    for row in rows:
        if row.status.startswith(NOT_POSSIBLE):
            notes.append(f"{row.name}: {row.status}.")
        for run in row.runs:
            if run.accuracy is None:
                notes.append(f"{row.name}, {run.seeds}: {said(run)}" + ("; not in the mean." if row.values else "."))
    return tuple(notes)


def _not_in_this_table(left: Mapping[str, int], unreadable: Sequence[str]) -> tuple[str, ...]:
    """How many runs of this study in this profile are elsewhere, and where; and how many records are none."""
    notes = []
    if left:
        count = sum(left.values())
        runs = "1 recorded run is" if count == 1 else f"{count:,} recorded runs are"
        reasons = "; ".join(f"{why} ({of:,})" if len(left) > 1 else why for why, of in sorted(left.items()))
        notes.append(f"{runs} not in this table: {reasons}.")
    if unreadable:
        records = "1 record" if len(unreadable) == 1 else f"{len(unreadable):,} records"
        first = "" if len(unreadable) == 1 else ", the first: "
        notes.append(f"{records} in MLflow cannot be read{first or ': '}{unreadable[0]}.")
    return tuple(notes)


def elsewhere(campaign: Campaign, others: Iterable[RunRecord], labels: Mapping[str, str]) -> dict[str, int]:
    """What a note says of runs that are not the campaign's, with how many keys it says it of.

    labels: the label of each campaign, by id.
    """
    rows = {row.name for row in campaign.study.rows}
    trained_last = sorted(others, key=lambda one: (not one.is_reused, one.run_id))
    why = {record.key: _whose(record, rows, labels) for record in trained_last}
    return dict(Counter(why.values()))


def _whose(record: RunRecord, rows: Iterable[str], labels: Mapping[str, str]) -> str:
    if record.row not in rows:
        return "rows that the study no longer has"
    if record.campaign not in labels:
        return "settings of no campaign, by an older version"
    label = labels[record.campaign]
    return f"the campaign {label}" if label else "the campaign without changes"
