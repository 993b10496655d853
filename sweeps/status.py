"""status: what became of every run that was asked for, from any terminal that reaches MLflow. Writes nothing.

What was asked for stands in the campaigns' documents, what became of it in the records; `status_of` joins them.
"""

from __future__ import annotations

import difflib
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from sweeps.campaign import BadCampaign, Campaign, CampaignRun
from sweeps.profiles import find_profile
from sweeps.progress import ACCURACIES, duration, percent
from sweeps.records import address, claims, read
from sweeps.records.door import CampaignRecord
from sweeps.records.types import FAILURE, PRUNED, STATE, STEP, Owner, RunRecord
from sweeps.study import UnknownStudy, study_names
from sweeps.words import shorten, whole_number, wrapped

Became = Literal["done", "running", "waiting", "pruned", "interrupted", "failed", "diverged", "out of memory"]
ORDER: tuple[Became, ...] = (
    *("done", "pruned", "running", "interrupted", "failed", "diverged", "out of memory", "waiting"),
)
STYLES: dict[Became, str] = {
    "done": "green",
    "pruned": "green",
    "running": "cyan",
    "interrupted": "yellow",
    "failed": "red",
    "diverged": "red",
    "out of memory": "red",
    "waiting": "dim",
}


@dataclass(frozen=True)
class RunStatus:
    """What became of one run; what is not known is None or empty."""

    row: str
    seeds: str
    became: Became
    steps: int  # of the run
    step: int = 0
    accuracy: float | None = None  # [0..1]
    loss: float | None = None
    left_s: float | None = None
    where: str = ""  # "process 7 on host"
    elsewhere: str = ""  # the study that makes it, or made it, where that is another campaign
    why: str = ""  # a failed one's reason, in one line

    @property
    def words(self) -> str:
        """All that is known but its name and what became of it, in one line."""
        at = f"step {self.step}/{self.steps}"
        left = "" if self.left_s is None else f"{duration(self.left_s)} left"
        loss = "" if self.loss is None else f"loss {self.loss:.3g}"
        accuracy = "" if self.accuracy is None else percent(self.accuracy)
        parts: dict[Became, tuple[str, ...]] = {
            "done": (accuracy,),
            "pruned": (f"at {at}", accuracy),
            "running": (at, loss, accuracy, left, self.where),
            "interrupted": (f"at {at}" if self.step else "", self.where, self.why),
            "waiting": (),
        }
        said = parts.get(self.became, (f"at {at}" if self.step else "", self.why))
        return ", ".join(part for part in (*said, f"by {self.elsewhere}" if self.elsewhere else "") if part)


# --- what became of the runs (pure) ----------------------------------------------------------------------------------


def status_of(campaign: Campaign, records: Iterable[RunRecord], now_ms: int) -> tuple[RunStatus, ...]:
    """The runs that the campaign asked for, row by row, each with what became of it.

    records: of these runs, from this campaign and from any other; several of a key may be there. now_ms: this clock's.
    """
    best: dict[str, RunRecord] = {}
    for record in sorted(records, key=lambda one: _weight(one, campaign, now_ms)):
        best[record.key] = record
    order = {row.name: at for at, row in enumerate(campaign.rows)}
    runs = sorted(campaign.runs, key=lambda run: (order[run.row], run.data_seed, run.seed))
    return tuple(_became(campaign, run, best.get(run.key), now_ms) for run in runs)


def _weight(record: RunRecord, campaign: Campaign, now_ms: int) -> tuple[object, ...]:
    """Which of several records of a key counts: the greatest."""
    running = record.status == "RUNNING" and _owner(record, now_ms) is not None
    own, is_finished, at = record.campaign == campaign.id, record.status == "FINISHED", record.started.timestamp()
    return (is_finished, running, own, not record.is_reused, -at if is_finished else at, record.run_id)


def _owner(record: RunRecord, now_ms: int) -> Owner | None:
    """The launch that makes a run, as far as one look can tell."""
    return next((owner for owner in record.owners if not claims.has_stopped(owner, now_ms)), None)


def _became(campaign: Campaign, run: CampaignRun, record: RunRecord | None, now_ms: int) -> RunStatus:
    settings = campaign.settings(run.row)
    steps = settings.train.steps if settings is not None else 0
    seeds = f"seed {run.seed}" + (f", data seed {run.data_seed}" if run.data_seed else "")
    if record is None:
        return RunStatus(run.row, seeds, "waiting", steps)
    owner = _owner(record, now_ms)
    names = (campaign.study.metric, *ACCURACIES)
    last = owner or next(iter(record.owners), None)
    return RunStatus(
        row=run.row,
        seeds=seeds,
        became=_in_a_word(campaign, record, owner),
        steps=steps,
        step=last.step if last is not None else whole_number(record.tags.get(STEP, "")) or 0,
        accuracy=next((record.metrics[name] for name in names if name in record.metrics), None),
        loss=record.metrics.get("train/loss"),
        left_s=owner.left_s if owner is not None else None,
        where=f"process {last.pid} on {last.host or 'an unknown host'}" if last is not None else "",
        elsewhere=_elsewhere(campaign, record),
        why=record.tags.get(FAILURE, ""),
    )


def _in_a_word(campaign: Campaign, record: RunRecord, owner: Owner | None) -> Became:
    """RUNNING counts only while its owner's heart beats; pruned is an end for the search alone that pruned it."""
    if record.status == "FINISHED":
        return "done"
    if record.status == "KILLED" and record.tags.get(STATE) == PRUNED and record.campaign == campaign.id:
        return "pruned"
    if record.status == "FAILED":
        kinds: dict[str, Became] = {"diverged": "diverged", "out of memory": "out of memory"}
        return kinds.get(record.tags.get(STATE, ""), "failed")
    return "running" if record.status == "RUNNING" and owner is not None else "interrupted"


def _elsewhere(campaign: Campaign, record: RunRecord) -> str:
    if record.is_reused:
        return record.tags.get("reused_from_study", "another study")
    if record.campaign == campaign.id:
        return ""
    return record.study if record.study != campaign.study.name else "another campaign"


def in_short(rows: Sequence[RunStatus]) -> str:
    """A campaign in one line: "3 of 14 done, 1 running, 10 waiting"."""
    counts = Counter(row.became for row in rows)
    others = [f"{counts[word]} {word}" for word in ORDER[1:] if counts[word]]
    return ", ".join([f"{counts['done']} of {len(rows)} done", *others])


# --- the command -----------------------------------------------------------------------------------------------------


def print_status(study: str | None, profile: str | None, out: Path) -> int:
    """The campaigns of a study in full, newest first; where none is named, a line for each of every study.

    Returns the exit code. Raises UnknownStudy, UnknownProfile, TrackingUnavailable.
    """
    if profile is not None:
        find_profile(profile)
    if found_there := address.locate(out):
        print(found_there, file=sys.stderr)
    everything, bad = read.look_for_campaigns()
    lost = read.lost(study_names() if study is None else [study])
    if study is not None:
        _check_name(study, everything)
    wanted = [one for one in everything if study in (None, one.study) and profile in (None, one.profile)]
    console = Console(highlight=False)
    for line in lost:
        _say(console, line)
    if bad:
        n_bad = "1 record is" if len(bad) == 1 else f"{len(bad):,} records are"
        _say(console, f"{n_bad} no campaign, and left out: {bad[0]}" + (", …" if len(bad) > 1 else ""))
    if not wanted and lost:
        return 0
    if not wanted:
        what = " ".join(word for word in ("of", study, profile and f"in {profile}") if word) if study or profile else ""
        _say(console, f"nothing recorded {what}".rstrip() + f"; looked in {address.looked(out)}")
        return 0
    for at, one in enumerate(wanted):
        if study is not None and at:
            console.print()
        _print_campaign(console, one, in_full=study is not None)
    return 0


def _check_name(study: str, everything: Sequence[CampaignRecord]) -> None:
    """That there is such a study: declared here, or recorded by somebody. Raises UnknownStudy."""
    names = sorted({*study_names(), *(name for one in everything for name in (one.study, one.named) if name)})
    if study not in names:
        close = difflib.get_close_matches(study, names, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}?" if close else f"studies are {', '.join(names)}"
        raise UnknownStudy(f"{study!r}: no such study; {hint}")


def _print_campaign(console: Console, one: CampaignRecord, *, in_full: bool) -> None:
    name = f"{one.study} in {one.profile}" + (f" with {one.label}" if one.label else "")
    try:
        campaign = read.document(one)
    except BadCampaign as error:  # one document's trouble hides no other campaign
        _say(console, f"{name}: {error}")
        return
    rows = _look(campaign)
    if not in_full:
        _say(console, f"{name}: {in_short(rows)}")
        return
    given = f"{one.updated.astimezone():%Y-%m-%d %H:%M}"
    _say(console, f"{name}: {in_short(rows)} (campaign {one.id[:8]}, last given {given})", "bold")
    for line, style in lines(rows, console.width):
        console.print(line, style=style, markup=False, soft_wrap=True)


def _look(campaign: Campaign) -> tuple[RunStatus, ...]:
    ours = [run for run in read.runs_of(campaign)[0].runs if run.key in campaign.keys]
    settled = {run.key for run in ours if run.status == "FINISHED"}
    return status_of(campaign, [*ours, *read.anywhere(campaign.keys - settled)], int(1000 * time.time()))


def lines(rows: Sequence[RunStatus], width: int) -> list[tuple[str, str]]:
    """Lines of at most `width` columns, each with its style: a run's name, what became of it, and in what words."""
    if not rows:
        return []
    state = max(len(row.became) for row in rows) + 2
    name = min(max(len(f"{row.row} {row.seeds}") for row in rows), max(12, (width - state) // 2)) + 2
    found = []
    for row in rows:
        first, *more = wrapped(row.words, max(16, width - name - state), indent="")
        start = f"{shorten(row.row, row.seeds, name - 2):<{name}}{row.became:<{state}}"
        found.append(((start + first).rstrip(), STYLES[row.became]))
        found += [(" " * (name + state) + line, STYLES[row.became]) for line in more]
    return found


def _say(console: Console, text: str, style: str = "") -> None:
    for line in wrapped(text, console.width):
        console.print(line, style=style or None, markup=False, soft_wrap=True)
