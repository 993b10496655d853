"""All campaigns on one page: verdicts, how much has run, what it cost, what is missing and the command that makes it.

Pure: what is known of a campaign → its entry → index.html and index.md.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args
from urllib.parse import quote

from reports.again import PROGRAM, again
from reports.everything import SEARCHES, One
from reports.live import INDEX, Live
from reports.page import COLOURS, template
from reports.plain import one_line, plain
from reports.table import NOTHING
from reports.types import Table
from reports.verdicts import MARKS, CellWord
from reports.write.markdown import markdown_code, markdown_table, markdown_text
from sweeps.campaign import Campaign, CampaignRun
from sweeps.plan import run_work
from sweeps.progress import duration, percent
from sweeps.records.types import STEP, RunRecord
from sweeps.screen import hours_words
from sweeps.status import ORDER, RunStatus, in_short, status_of
from sweeps.study import EVERY_PROFILE, Study, all_studies
from sweeps.words import whole_number

NAME = "index"
TO_RETRY = ("failed", "diverged", "out of memory")
CLAIM_WORDS = ("holds", "contradicted", "undecided", "not run")


@dataclass(frozen=True)
class Spent:
    """What a run has cost so far: hours of its devices, as long as a launch made it, and operations by formula."""

    unit: str  # "GPU" or "core"
    hours: float
    flops: float


@dataclass(frozen=True)
class Entry:
    """What the index says of a campaign."""

    study: str
    profile: str
    label: str = ""
    title: str = ""
    verdicts: Mapping[str, int] | None = None  # rows by word; None: not read, or no table of rows
    claims: Mapping[str, int] | None = None
    runs: tuple[RunStatus, ...] = ()  # that were asked for
    rows_lacking: tuple[str, ...] = ()  # rows of the profile without a number
    spent: Mapping[str, Spent] | None = None  # by run id
    command: str = ""  # that makes what is missing; empty where nothing is
    page: str = ""  # relative to the index; empty where there is none
    said: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """For a person: "recursion_depth in mini with lr=0.003"."""
        return f"{self.study} in {self.profile}" + (f" with {self.label}" if self.label else "")

    @property
    def n_done(self) -> int:
        """Runs that are finished."""
        return sum(run.became == "done" for run in self.runs)

    @property
    def running(self) -> tuple[RunStatus, ...]:
        """Runs that some launch makes now."""
        return tuple(run for run in self.runs if run.became == "running")

    @property
    def missing(self) -> str:
        """ "2 of 6 runs (1 failed, 1 waiting); 3 rows have no number"; empty where nothing is."""
        left = Counter(run.became for run in self.runs if run.became not in ("done", "pruned"))
        parts = []
        if left:
            each = ", ".join(f"{left[word]} {word}" for word in ORDER if left[word])
            parts.append(f"{sum(left.values())} of {len(self.runs)} runs ({each})")
        if n := len(self.rows_lacking):
            parts.append(f"{n} row{'' if n == 1 else 's'} without a number")
        return "; ".join(parts)


def entry_of(one: One, out: Path, now_ms: int) -> Entry:
    """What is to be said of a campaign; now_ms: this clock's."""
    found, campaign = one.found, one.campaign
    said = tuple(map(one_line, one.said))
    if campaign is None:
        return Entry(one.study, found.profile, found.label, said=said)
    page = campaign.folder(out) / "page.html"
    link = quote(page.relative_to(out).as_posix()) if page.is_file() else ""
    if one.recorded is None:
        return Entry(one.study, found.profile, found.label, campaign.study.title, page=link, said=said)
    runs = status_of(campaign, one.records, now_ms)
    table = None if one.gathered is None else one.gathered.table
    lacking = () if table is None else rows_lacking(table)
    return Entry(
        study=one.study,
        profile=found.profile,
        label=found.label,
        title=campaign.study.title,
        verdicts=None if table is None else _verdicts(table),
        claims=None if table is None else _claims(table),
        runs=runs,
        rows_lacking=lacking,
        spent=_spent(campaign, one.recorded.runs),
        command=command_for(campaign, one.records, runs, lacking),
        page=link,
        said=said,
    )


def rows_lacking(table: Table) -> tuple[str, ...]:
    """The rows that the study has in this profile, that can be, and that have no number."""
    declared = {row.name for row in table.study.rows_of(table.profile)}
    return tuple(
        row.name for row in table.rows if row.name in declared and row.settings is not None and row.mean is None
    )


def _verdicts(table: Table) -> Mapping[str, int]:
    declared = {row.name for row in table.study.rows_of(table.profile)}
    counted = Counter(row.verdict.word for row in table.rows if row.name in declared)
    return {word: counted[word] for word in get_args(CellWord) if counted[word]}


def _claims(table: Table) -> Mapping[str, int]:
    counted = Counter[str](claim.word for claim in table.claims)
    return {word: counted[word] for word in CLAIM_WORDS if counted[word]}


def _spent(campaign: Campaign, records: Iterable[RunRecord]) -> Mapping[str, Spent]:
    """Of the runs that were trained for this table, not taken from another campaign's."""
    found = {}
    for run in records:
        settings = campaign.settings(run.row)
        if run.is_reused or settings is None:
            continue
        seconds = run.seconds
        if seconds is None:  # under way, begun by an older version: up to the last sign of life
            beats = [owner.beat_ms / 1000 - run.started.timestamp() for owner in run.owners]
            seconds = max([0.0, *beats])
        devices = (whole_number(run.tags.get("workers", "")) or 1) * _share(run)
        unit = "core" if run.tags.get("device", "cpu") == "cpu" else "GPU"
        n_test = run.metrics.get("test/puzzles", 0)
        if run.status == "FINISHED":
            flops = run_work(settings, int(n_test) or None).flops
        else:
            at = run.owners[0].step if run.owners else whole_number(run.tags.get(STEP, "")) or 0
            flops = settings.train_work(min(at, settings.train.steps))
        found[run.run_id] = Spent(unit, seconds * devices / 3600, flops)
    return found


def _share(run: RunRecord) -> float:
    try:
        share = float(run.tags.get("gpus_per_run", "1"))
    except ValueError:
        return 1.0
    return share if 0 < share <= 1 else 1.0


def spent_words(spent: Iterable[Spent]) -> str:
    """ "0.42 core-hours, 1.3e+15 FLOPs"; a dash where nothing was spent."""
    spent = list(spent)
    hours = {unit: sum(one.hours for one in spent if one.unit == unit) for unit in ("GPU", "core")}
    parts = [f"{hours_words(of) if of >= 0.005 else '<0.01'} {unit}-hours" for unit, of in hours.items() if of]
    return ", ".join([*parts, f"{sum(one.flops for one in spent):.1e} FLOPs"]) if spent else NOTHING


def all_spent(entries: Iterable[Entry]) -> list[Spent]:
    """Of all runs, each once, in however many tables it stands."""
    return list({run_id: one for entry in entries for run_id, one in (entry.spent or {}).items()}.values())


def counts_words(counts: Mapping[str, int] | None) -> str:
    """ "≈ 3 reproduced, ↓ 1 lower, 5 not run"."""
    if not counts:
        return NOTHING
    return ", ".join(f"{MARKS.get(word, '')} {count} {word}".strip() for word, count in counts.items())


# --- the command that makes what is missing --------------------------------------------------------------------------


def command_for(
    campaign: Campaign, records: Iterable[RunRecord], runs: Sequence[RunStatus], lacking: Sequence[str]
) -> str:
    """What makes the runs that are missing; empty where none is, or all are under way.

    Of a search the command that asked last, quoted again word by word: it is anybody's text.
    """
    finished = {run.key for run in records if run.status == "FINISHED"}
    left = [run for run in campaign.runs if run.key not in finished]
    asked = {run.row for run in campaign.runs}
    never = [
        CampaignRun(row=row, seed=seed, data_seed=data_seed, data="", key=f"{row} {seed} {data_seed}")
        for row in lacking
        if row not in asked
        for seed in campaign.seeds or (0,)
        for data_seed in campaign.data_seeds or (0,)
    ]
    if not never and (not left or all(run.became in ("done", "pruned", "running") for run in runs)):
        return ""
    if campaign.study.name.startswith(SEARCHES):
        return _quoted_again(campaign.command)
    command = again(campaign.model_copy(update={"runs": (*left, *never)}))
    return f"{command} --retry-failed" if any(run.became in TO_RETRY for run in runs) else command


def _quoted_again(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    return shlex.join(map(one_line, words)) if tuple(words[: len(PROGRAM)]) == PROGRAM else ""


def not_asked(entries: Iterable[Entry], profiles: Iterable[str]) -> list[tuple[Study, str, str]]:
    """The studies without a campaign in a profile that others have one in, and the command that makes each."""
    there = {(entry.study, entry.profile) for entry in entries}
    return [
        (study, profile, shlex.join([*PROGRAM, "--study", study.name, "--profile", profile]))
        for profile in EVERY_PROFILE
        if profile in set(profiles)
        for study in all_studies()
        if study.rows_of(profile) and (study.name, profile) not in there
    ]


# --- the forms -------------------------------------------------------------------------------------------------------


def in_total(entries: Sequence[Entry]) -> str:
    """The whole store in a sentence."""
    asked, done = sum(len(entry.runs) for entry in entries), sum(entry.n_done for entry in entries)
    going = sum(len(entry.running) for entry in entries)
    studies = len({entry.study for entry in entries})
    what = (
        f"{studies} {'study' if studies == 1 else 'studies'}, {len(entries)} campaign{'' if len(entries) == 1 else 's'}"
    )
    now = f", {going:,} running" if going else ""
    return f"{what}: {done:,} of {asked:,} runs finished{now}; {spent_words(all_spent(entries))}"


def _live(entries: Sequence[Entry], now_ms: int) -> Live | None:
    going = tuple((entry.name, run) for entry in entries for run in entry.running)
    headline = in_short([run for entry in entries for run in entry.runs])
    return Live(headline, going, now_ms, INDEX) if going else None


def html(entries: Sequence[Entry], said: Sequence[str], now_ms: int) -> str:
    """The page. It asks for itself anew as long as any run goes on; now_ms: this clock's."""
    text = template("index.html.jinja").render(
        entries=entries,
        said=said,
        total=in_total(entries),
        absent=not_asked(entries, {entry.profile for entry in entries}),
        live=_live(entries, now_ms),
        marks=MARKS,
        spent_words=spent_words,
        duration=duration,
        percent=percent,
        colours=COLOURS,
    )
    return plain(text)


def markdown(entries: Sequence[Entry], said: Sequence[str] = ()) -> str:
    """The same as GitHub Markdown."""
    lines = [
        [
            f"[{markdown_text(entry.study)}]({entry.page})" if entry.page else markdown_text(entry.study),
            entry.profile,
            markdown_text(entry.label) or NOTHING,
            f"{entry.n_done} of {len(entry.runs)}",
            counts_words(entry.verdicts),
            counts_words(entry.claims),
            spent_words((entry.spent or {}).values()),
        ]
        for entry in entries
    ]
    header = ("Study", "Profile", "Changes", "Runs finished", "Verdicts (rows)", "Claims", "Cost")
    parts = ["# Reports", f"{in_total(entries)}.", markdown_table(header, lines, text_columns=7, is_markdown=True)]
    lacking = [
        f"- {markdown_text(entry.name)}: {entry.missing}"
        + (f": {markdown_code(entry.command)}" if entry.command else "")
        for entry in entries
        if entry.missing
    ]
    lacking += [
        f"- {study.name} in {profile}: not asked for: {markdown_code(command)}"
        for study, profile, command in not_asked(entries, {entry.profile for entry in entries})
    ]
    if lacking:
        parts += ["## What is missing, and the command that makes it", "\n".join(lacking)]
    notes = [f"- {markdown_text(line)}" for line in said]
    notes += [f"- {markdown_text(entry.name)}: {markdown_text(line)}" for entry in entries for line in entry.said]
    if notes:
        parts += ["## What could not be read", "\n".join(notes)]
    return plain("\n\n".join(parts) + "\n")
