"""Runs to a table: pure. Which run belongs to which row, what its numbers are, what a row without one says.

A run belongs to a row if its key is the key of that row's settings in this profile. So runs of the same row with other
settings (`--set`) or other puzzles never meet in one mean; they are counted in a note instead.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from reports import paper, stats
from reports.stats import Interval
from sweeps.profiles import PROFILES
from sweeps.profiles import configure as configure_row
from sweeps.puzzles import set_of
from sweeps.study import Losses, ProfileName, PuzzleName, Quoted, Row, Study
from sweeps.tracking import RunRecord
from trm_core.config import NOT_IN_THE_KEY, BadSetting, RunConfig

Configure = Callable[[Study, Row, ProfileName, int, list[str]], RunConfig]
Status = Literal["finished", "running", "failed", "killed"]

NOT_COMPARABLE = "not comparable with the paper's column"
NO_COLUMN = "not comparable with runs at full size"  # the same where the paper prints no numbers
NOT_ITS_LOSSES = "not comparable with the source's losses"  # and of a table of losses
SMALL = "small puzzles, small model, few steps"  # what a profile that is not comparable means
EXACT = "test/exact_accuracy"
CELL_ACCURACY = "test/cell_accuracy"
SHORTEST_PATH = "test/shortest_path_accuracy"  # of mazes
VOTES = "test/votes"  # of ARC: the most variants of a task that voted
LOSS = "train/loss"
NO_VOTES = "no runs/KEY/predictions/votes.csv that can be read is in the folder of results"
LEAKS_NAMED = 5  # task ids of a leak, before "and N more"
TOLD_BY_BASE = {"optim.lr": "learning rate", "optim.ema": "EMA"}  # a profile may set them for one base alone
NOT_IN_THE_NUMBER = ("train.seed", *(f"train.{name}" for name in NOT_IN_THE_KEY))  # what may differ within one row


@dataclass(frozen=True)
class SeedRun:
    """One recorded run of a row."""

    seed: int
    key: str
    run_id: str
    status: Status
    reason: str  # why there is no number; empty where there is one
    accuracy: float | None  # [0..1]
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
    settings: RunConfig
    depth: int  # T(n+1)·n_layers
    paper_depth: int | None  # where the paper prints another
    nfp: int
    parameters: int
    eval_steps: int  # supervision steps at test
    runs: tuple[SeedRun, ...]  # by seed
    values: tuple[float, ...]  # of the finished seeds
    mean: float | None
    cell_accuracy: float | None  # mean over the same seeds; None unless all of them recorded it
    shortest_path: float | None  # the same
    seed_interval: Interval | None  # Student t over seeds; None below two seeds
    test_interval: Interval | None  # Wilson, one run at the mean accuracy
    puzzles: int | None
    paper: float | str | None
    difference: float | None  # ours minus paper, percentage points; None where they cannot be compared
    status: str  # why there is no number; empty where there is one
    paper_losses: Losses | None = None
    losses: tuple[Losses, ...] = ()  # of each finished seed that has a curve (with_losses)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds behind the mean."""
        return tuple(run.seed for run in self.runs if run.accuracy is not None)


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
    """A study in a profile, ready to be rendered."""

    study: Study
    profile: ProfileName
    overrides: tuple[str, ...]
    warning: str  # why it cannot stand beside the paper's column; empty where it can
    rows: tuple[TableRow, ...]
    grid: Grid | None
    facts: tuple[tuple[str, str], ...]  # what was run: (name, text)
    notes: tuple[str, ...]
    leak: str = ""  # which tasks were tested although learnt from; empty where none was
    vote_curves: tuple[VoteCurve, ...] = ()  # ARC's accuracy against the number of votes (with_votes)

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
        return tuple(sorted({row.eval_steps for row in self.rows}))

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
    study: Study,
    profile: ProfileName,
    records: Sequence[RunRecord],
    *,
    overrides: Sequence[str] | None = None,
    configure: Configure = configure_row,
) -> Table:
    """The study's table from what is recorded.

    overrides: the `--set` assignments whose runs are wanted; None: the profile as it stands or, where only changed
    runs are recorded, the settings of the newest. Raises BadSetting for an override that cannot be.
    """
    rows = {row.name: row for row in study.rows}
    known = [record for record in records if record.row in rows]

    def belongs(record: RunRecord, assignments: Sequence[str]) -> bool:
        settings = configure(study, rows[record.row], profile, record.seed, list(assignments))
        return settings.key(record.tags.get("data", "")) == record.key

    if overrides is None:
        overrides = _overrides_of_the_newest(study, profile, known, rows, configure, belongs)
    overrides = tuple(overrides)

    matching = sorted((record for record in known if belongs(record, overrides)), key=_recency)
    drawn_from = {
        record.run_id: set_of(configure(study, rows[record.row], profile, record.seed, list(overrides)).data)
        for record in matching
    }
    newest_set = {drawn_from[record.run_id]: record.tags.get("data", "") for record in matching}  # the last one wins
    taken = [record for record in matching if record.tags.get("data", "") == newest_set[drawn_from[record.run_id]]]
    by_row: dict[str, dict[int, RunRecord]] = {}
    for record in taken:
        by_row.setdefault(record.row, {})[record.seed] = record

    leak = _leak(study, by_row)
    warning = _warning(study, profile, overrides, leaks=bool(leak))
    table_rows = tuple(
        _row(study, row, profile, overrides, by_row.get(row.name, {}), configure, comparable=not warning)
        for row in study.rows
    )
    return Table(
        study=study,
        profile=profile,
        overrides=overrides,
        warning=warning,
        rows=table_rows,
        grid=_grid(table_rows),
        facts=_facts(profile, overrides, table_rows),
        notes=_not_the_published_set(table_rows, comparable=not warning and study.has_paper_numbers)
        + _why_paths_differ(table_rows)
        + _notes(study, profile, table_rows, records, taken, rows, configure),
        leak=leak,
    )


def with_losses(table: Table, curves: Mapping[tuple[str, str], Sequence[tuple[int, float]]]) -> Table:
    """The table with the first, last and least training loss of each finished seed that has a curve.

    curves: (run id, metric) → (step, value), steps ascending. What is not finite is no loss.
    """

    def of(run: SeedRun) -> Losses | None:
        values = [value for _, value in curves.get((run.run_id, loss_metric(table.study)), ()) if math.isfinite(value)]
        if run.status != "finished" or not values:
            return None
        return Losses(initial=values[0], final=values[-1], minimum=min(values))

    rows = (
        replace(row, losses=tuple(found for run in row.runs if (found := of(run)) is not None)) for row in table.rows
    )
    return replace(table, rows=tuple(rows))


def with_votes(table: Table, found: Mapping[str, Sequence[Sequence[float]]]) -> Table:
    """The table with ARC's accuracy against the number of votes, and a note on the runs of which none is known.

    found: run id → (variants that vote, pass@1, pass@2), ascending.
    """
    curves, lacking = [], []
    for row in table.rows:
        runs = [run for run in row.runs if run.accuracy is not None and row.puzzle == "arc"]
        lacking += [f"{row.name}, seed {run.seed}" for run in runs if run.run_id not in found]
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


def _overrides_of_the_newest(
    study: Study,
    profile: ProfileName,
    known: Sequence[RunRecord],
    rows: Mapping[str, Row],
    configure: Configure,
    belongs: Callable[[RunRecord, Sequence[str]], bool],
) -> tuple[str, ...]:
    """None where any run is the profile's own; else what the newest was run with. Of each puzzle of the study apart."""
    found: dict[PuzzleName, tuple[str, ...]] = {}
    for puzzle in dict.fromkeys(study.puzzle_of(row) for row in study.rows):
        of_puzzle = [record for record in known if study.puzzle_of(rows[record.row]) == puzzle]
        if not of_puzzle:
            continue
        newest = max(of_puzzle, key=_recency)
        found[puzzle] = ()
        if not any(belongs(record, ()) for record in of_puzzle):
            changed = _changes(newest, configure(study, rows[newest.row], profile, newest.seed, []))
            if changed is not None and belongs(newest, changed):
                found[puzzle] = changed
    if len(set(found.values())) == 1:
        return next(iter(found.values()))
    return tuple(f"{puzzle}:{assignment}" for puzzle, changed in found.items() for assignment in changed)


def _recency(record: RunRecord) -> tuple[datetime, str]:
    return _utc(record.started), record.run_id


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _warning(study: Study, profile: ProfileName, overrides: Sequence[str], *, leaks: bool) -> str:
    """Why ours cannot stand beside the paper's; empty where it can."""
    reasons = [] if PROFILES[profile].comparable else [f"{profile} profile ({SMALL})"]
    reasons += [f"settings changed ({', '.join(overrides)})"] if overrides else []
    reasons += ["leaking tasks"] if leaks else []
    with_what = NOT_COMPARABLE if study.has_paper_numbers else NO_COLUMN
    if study.layout == "losses":
        with_what = NOT_ITS_LOSSES
    return f"{' and '.join(reasons)}: {with_what}" if reasons else ""


def leaked(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The tasks that a run's tags name as tested although learnt from."""
    return tuple(task.strip() for task in tags.get("leaks", "").split(",") if task.strip())


def _leak(study: Study, by_row: Mapping[str, Mapping[int, RunRecord]]) -> str:
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


def _changes(record: RunRecord, expected: RunConfig) -> tuple[str, ...] | None:
    """The assignments that lead from the profile's settings to the run's; None where its settings cannot be read."""
    names = [name for name in expected.flat() if name in record.params and name not in NOT_IN_THE_NUMBER]
    texts = {name: record.params[name] for name in names}
    try:
        recorded = expected.set(f"{name}={text}" for name, text in texts.items())
    except BadSetting:
        return None
    before, after = expected.flat(), recorded.flat()
    return tuple(f"{name}={setting_text(after[name])}" for name in after if before[name] != after[name])


def setting_text(value: object) -> str:
    """A setting as `--set` takes it."""
    return "none" if value is None else str(value)


def _row(
    study: Study,
    row: Row,
    profile: ProfileName,
    overrides: Sequence[str],
    records: Mapping[int, RunRecord],
    configure: Configure,
    *,
    comparable: bool,
) -> TableRow:
    settings = configure(study, row, profile, min(records, default=0), list(overrides))
    runs = tuple(_seed_run(record, accuracy_metric(study)) for _, record in sorted(records.items()))
    finished = [run for run in runs if run.accuracy is not None]
    values = tuple(run.accuracy for run in finished if run.accuracy is not None)
    counts = [run.puzzles for run in finished if run.puzzles]
    puzzles = min(counts) if counts and len(counts) == len(finished) else None
    mean = stats.mean(values) if values else None
    recorded = [records[run.seed].params.get("parameters", "") for run in finished]
    parameters = next((int(text) for text in recorded if text.isdigit()), settings.parameters())
    paper_cell = row.paper
    return TableRow(
        name=row.name,
        base=row.base,
        puzzle=settings.data.puzzle,
        place=row.place,
        settings=settings,
        depth=settings.model.depth,
        paper_depth=row.paper_depth,
        nfp=settings.model.nfp,
        parameters=parameters,
        eval_steps=settings.train.eval_N_sup or settings.model.N_sup,
        runs=runs,
        values=values,
        mean=mean,
        cell_accuracy=_mean_of_all([run.cell_accuracy for run in finished]),
        shortest_path=_mean_of_all([run.shortest_path for run in finished]),
        seed_interval=stats.seed_interval(values),
        test_interval=_test_interval(accuracy_metric(study), mean, puzzles),
        puzzles=puzzles,
        paper=paper_cell,
        difference=100 * mean - paper_cell
        if comparable and mean is not None and isinstance(paper_cell, float)
        else None,
        status="" if values else _status(row, profile, runs),
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


def passes(metric: str) -> int | None:
    """k of the metric pass@k, "test/pass_at_2" (MLflow takes no @ in a name); None for another metric."""
    found = re.fullmatch(r"test/pass_at_(\d+)", metric)
    return int(found[1]) if found else None


def _status(row: Row, profile: ProfileName, runs: Sequence[SeedRun]) -> str:
    """What stands in place of a number."""
    if not runs:
        return "did not run" if profile in row.profiles else "not in this profile"
    for status in ("finished", "running", "failed", "killed"):  # "finished" here: finished with no number
        for run in runs:
            if run.status == status:
                return _said(run)
    raise AssertionError(runs)


def _said(run: SeedRun) -> str:
    """A run without a number, in words."""
    if run.status == "finished":
        return run.reason
    return f"{run.status}: {run.reason}" if run.reason else run.status


def _seed_run(record: RunRecord, metric: str) -> SeedRun:
    status: Status = {"FINISHED": "finished", "RUNNING": "running", "FAILED": "failed"}.get(record.status, "killed")  # type: ignore[assignment]
    reason = " ".join(record.tags.get("failure", "").split()) if status == "failed" else ""
    accuracy = record.metrics.get(metric) if status == "finished" else None

    def fraction(name: str) -> float | None:
        value = record.metrics.get(name) if status == "finished" else None
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
        seed=record.seed,
        key=record.key,
        run_id=record.run_id,
        status=status,
        reason=reason,
        accuracy=accuracy,
        cell_accuracy=fraction(CELL_ACCURACY),
        shortest_path=fraction(SHORTEST_PATH),
        puzzles=puzzles,
        votes=count(VOTES),
        log_every=int(text) if (text := record.params.get("train.log_every", "")).isdigit() else None,
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
    return len({(row.puzzle, row.settings.data.test_subset) for row in rows}) > 1


def _facts(profile: str, overrides: Sequence[str], rows: Sequence[TableRow]) -> tuple[tuple[str, str], ...]:
    """What was run, as far as the runs behind the numbers tell; several values are all named."""
    ran = [row for row in rows if row.runs]
    runs = [run for row in ran for run in row.runs]
    settings = [row.settings for row in ran] or [row.settings for row in rows]

    def tagged(name: str) -> str:
        return _several(run.tags[name] for run in runs if run.tags.get(name))

    commits = _several(
        run.tags["commit"][:12] + (" with uncommitted changes" if run.tags.get("dirty") == "yes" else "")
        for run in runs
        if run.tags.get("commit")
    )
    versions = sorted({name for run in runs for name in run.tags if name.startswith("version.")})
    moments = [run.started for run in runs] + [run.ended for run in runs if run.ended]
    puzzles = _several(_puzzles(one) for one in settings)
    facts = (
        ("profile", profile),
        ("changed settings", ", ".join(overrides)),
        ("seeds", ", ".join(str(seed) for seed in sorted({run.seed for run in runs}))),
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
        values = dict.fromkeys(setting_text(row.settings.flat()[setting]) for row in of_base)
        texts[base_name(of_base)] = " or ".join(values)
    return ", ".join(f"{name} {text}" for name, text in texts.items()) if len(set(texts.values())) > 1 else ""


def base_name(rows: Sequence[TableRow]) -> str:
    """What the paper calls the model of these rows, all of one base; else the recipe's name."""
    named = {row.place.get("method", row.place.get("model", "")) for row in rows}
    return named.pop() if len(named) == 1 and "" not in named else rows[0].base.upper().replace("_ATT", "-Att")


def _puzzles(settings: RunConfig) -> str:
    data = settings.data
    side = math.isqrt(data.cells)
    source = "generated" if data.source == "generated" else "published"
    train, test = ("all" if count is None else f"{count:,}" for count in (data.train, data.test))
    if data.puzzle == "arc":
        subsets = f"tasks of {data.subsets.replace(',', ', ')}, tested on {data.test_subset}"
        return f"ARC, {source} {subsets}: {train} training, {data.validation:,} validation, {test} test tasks"
    name = {"sudoku": "Sudoku", "maze": "Maze"}[data.puzzle]
    return f"{side}×{side} {name}, {source}: {train} training, {data.validation:,} validation, {test} test"


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
        published = paper.published_test(row.settings.data)
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


def _notes(
    study: Study,
    profile: ProfileName,
    rows: Sequence[TableRow],
    records: Sequence[RunRecord],
    taken: Sequence[RunRecord],
    by_name: Mapping[str, Row],
    configure: Configure,
) -> tuple[str, ...]:
    notes = [note for note in (study.note, PROFILES[profile].note) if note]
    for declared in study.rows_of(profile):
        changed = [
            f"{section}.{name}={setting_text(value)}"
            for section, values in declared.change_in.get(profile, {}).items()
            for name, value in values.items()
        ]
        if changed:
            notes.append(f"{declared.name} has settings of its own in {profile}: {', '.join(changed)}.")
    for row in rows:
        for run in row.runs:
            if run.accuracy is None:
                notes.append(
                    f"{row.name}, seed {run.seed}: {_said(run)}" + ("; not in the mean." if row.values else ".")
                )
    left = [record for record in records if record not in taken]
    why: Counter[str] = Counter()
    for record in left:
        if record.row not in by_name:
            why["rows that the study no longer has"] += 1
            continue
        differs = _changes(record, configure(study, by_name[record.row], profile, record.seed, []))
        if differs is None:
            why["settings that no longer exist"] += 1
        else:
            why[", ".join(differs) or "the profile's settings on other puzzles or of an older version"] += 1
    if why:
        runs = "1 recorded run is" if len(left) == 1 else f"{len(left)} recorded runs are"
        reasons = "; ".join(f"{text} ({count})" if len(why) > 1 else text for text, count in sorted(why.items()))
        notes.append(f"{runs} not in this table: {reasons}.")
    return tuple(notes)
