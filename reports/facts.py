"""What was run, in words that stand above and beside every form of the table. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from reports.types import Seeds, TableRow, leaked
from sweeps.campaign import Campaign
from sweeps.changes import moves_numbers
from sweeps.puzzles import OWN_FILES
from sweeps.records.types import RunRecord
from sweeps.study import ProfileName, PuzzleName, Study
from trm_core.config import RunConfig

NOT_COMPARABLE = "not comparable with the paper's column"
NO_COLUMN = "not comparable with runs at full size"  # the same where the paper prints no numbers
NOT_ITS_LOSSES = "not comparable with the source's losses"  # and of a table of losses
SMALL = "small puzzles, small model, few steps"  # what a profile that is not comparable means
OTHER_RECIPE = "another recipe of training than the paper's"
APART: dict[ProfileName, str] = {"fast": OTHER_RECIPE}  # else SMALL
LEAKS_NAMED = 5  # task ids of a leak, before "and N more"
TOLD_BY_BASE = {"optim.lr": "learning rate", "optim.ema": "EMA"}  # a profile may set them for one base alone
PUZZLES: dict[PuzzleName, str] = {"sudoku": "puzzles", "maze": "mazes", "arc": "inputs"}  # "test …"


def is_own(tags: Mapping[str, str]) -> bool:
    """Whether a run's puzzles are of files that are not the published ones."""
    return bool(tags.get(OWN_FILES))


def warning_of(campaign: Campaign, *, leaks: bool, own_files: Sequence[str]) -> str:
    """Why ours cannot stand beside the paper's; empty where it can."""
    reasons = [] if campaign.comparable else [f"{campaign.profile} profile ({APART.get(campaign.profile, SMALL)})"]
    changes = [change for change in campaign.changes if moves_numbers(change)]
    reasons += [f"settings changed ({', '.join(changes)})"] if changes else []
    reasons += ["leaking tasks"] if leaks else []
    reasons += own_files
    with_what = NOT_COMPARABLE if campaign.study.has_paper_numbers else NO_COLUMN
    if campaign.study.layout == "losses":
        with_what = NOT_ITS_LOSSES
    return f"{' and '.join(reasons)}: {with_what}" if reasons else ""


def leak_of(study: Study, by_row: Mapping[str, Mapping[Seeds, RunRecord]]) -> str:
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


def have_test_sets_of_their_own(rows: Iterable[TableRow]) -> bool:
    """Whether these rows are measured on more than one test set: other puzzles, or other tasks of ARC."""
    return len({tested_on(row) for row in rows}) > 1


def tested_on(row: TableRow) -> tuple[str, str]:
    """What a row is measured on: rows of one test set can be compared."""
    return row.puzzle, "" if row.settings is None else row.settings.data.test_subset


def facts_of(campaign: Campaign, rows: Sequence[TableRow]) -> tuple[tuple[str, str], ...]:
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
    own = {row.puzzle for row in rows if any(is_own(run.tags) for run in row.runs)}
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
