"""Where strangers' words come in: a run of MLflow → a record of ours, or why it is none.

Whoever may write to the store may write there whatever a launch of ours may: nothing in MLflow proves who wrote.
So a record is believed only as far as this:

- Nothing in it is a path, a command, markup or a format. Its texts are cleaned here, once: one line, no control
  characters, no more than LONGEST of them. Ids of other runs are 32 hex digits.
- It is whole or it is none. What every launch of ours writes must be there (key, launch, row, profile, seed) and every
  number must be one: shares in [0..1], counts and times that can be. Whoever reads names the others and leaves them
  out, so no record ends a command, and none that is broken stands in the place of one that is not.
- A run that failed decides nothing about a run of the same key that is finished.

What is left is a forger who copies all that a launch writes, and makes up a number: a store is shared with people who
may write one's results.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sweeps.campaign import FOLDER_NAME
from sweeps.records import claims
from sweeps.records.types import CAMPAIGN, KEY, LAUNCH, REUSED_FROM, RunRecord
from sweeps.study import EVERY_PROFILE
from sweeps.words import clean, whole_number

if TYPE_CHECKING:
    from mlflow.entities import Run

LONGEST = 500  # characters of a text
LISTS = ("leaks", "changes", "command")  # tags that are longer
LONGEST_LIST = 8000  # MLflow's own limit
SHOWN = 40  # characters of what is quoted
SEEDS = 2**31
MOST = 10**12  # of whatever is counted: puzzles, votes, steps
NO_MEASUREMENT = 1e100  # MLflow keeps infinity as 1.8e308, and a mean of two such is none
DAY_MS = 86_400_000  # no two machines' clocks differ by a day
RUN_ID = r"[0-9a-f]{32}"
STATUSES = ("FINISHED", "RUNNING", "FAILED", "KILLED", "SCHEDULED")
SHARE = re.compile(r"(accuracy|pass_at_\d+)$")  # metrics that are shares: test/exact_accuracy, test/pass_at_2
COUNT = re.compile(r"(puzzles|votes)$")


class NotOurs(ValueError):
    """A run of MLflow that no launch of ours has written, or that somebody has damaged."""


@dataclass(frozen=True)
class CampaignRecord:
    """A campaign's run in MLflow: its tags. The document lies with it as an artefact."""

    id: str
    label: str
    study: str  # the experiment's name
    profile: str
    run_id: str
    experiment_id: str
    status: str
    updated: datetime  # when it was last given
    named: str = ""  # the study as the launch knew it: another one, where the experiment was renamed since
    doubles: tuple[str, ...] = ()  # other runs of the same campaign, of which any may hold the document

    @property
    def is_renamed(self) -> bool:
        """Whether the experiment has another name than the study whose runs it holds."""
        return self.named not in ("", self.study)


def run_record(run: Run, study: str) -> RunRecord:
    """A child run as we know it; study: the name of its experiment. Raises NotOurs."""
    tags, info = run.data.tags, run.info
    key = tags.get(KEY, "")
    if not re.fullmatch(r"[0-9a-zA-Z_]{1,64}", key):
        raise NotOurs(f"its key {_quoted(key)} is none")
    if lacking := [name for name in (LAUNCH, "row", "profile", "seed") if name not in tags]:
        raise NotOurs(f"its {lacking[0]} is not there")
    if info.status not in STATUSES:
        raise NotOurs(f"its status {_quoted(str(info.status))} is none")
    if REUSED_FROM in tags and not re.fullmatch(RUN_ID, tags[REUSED_FROM]):
        raise NotOurs(f"{REUSED_FROM} {_quoted(tags[REUSED_FROM])} is no run's id")
    started, ended = moment(info.start_time), moment(info.end_time)
    return RunRecord(
        key=key,
        study=_word(tags.get("study", study)),
        row=_word(tags["row"]),
        base=_word(tags.get("base", "")),
        profile=_word(tags["profile"]),
        seed=_seed(tags, "seed"),
        data_seed=_seed(tags, "data_seed"),
        status=info.status,
        run_id=info.run_id,
        tags={clean(name): _word(text, LONGEST_LIST if name in LISTS else LONGEST) for name, text in tags.items()},
        params={clean(name): _word(text) for name, text in run.data.params.items()},
        metrics=_measured(run.data.metrics, is_final=info.status == "FINISHED"),
        started=started,
        ended=ended if info.end_time and info.status != "RUNNING" else None,
        owners=claims.owners_in(tags),
    )


def campaign_record(run: Run, experiment: str) -> CampaignRecord:
    """A campaign's run as we know it; experiment: the name of its own. Raises NotOurs."""
    tags, info = run.data.tags, run.info
    if not re.fullmatch(r"[0-9a-f]{16}", tags.get(CAMPAIGN, "")):
        raise NotOurs(f"its id {_quoted(tags.get(CAMPAIGN, ''))} is no campaign's")
    if (profile := tags.get("profile", "")) not in EVERY_PROFILE:
        raise NotOurs(f"its profile {_quoted(profile)} is none")
    if not re.fullmatch(FOLDER_NAME, tags.get("label", "")):
        raise NotOurs(f"its label {_quoted(tags['label'])} is none")
    return CampaignRecord(
        id=tags[CAMPAIGN],
        label=_word(tags.get("label", "")),
        study=clean(experiment),
        profile=profile,
        run_id=info.run_id,
        experiment_id=info.experiment_id,
        status=info.status,
        updated=moment(whole_number(tags.get("updated_ms", "")) or info.start_time),
        named=_word(tags.get("study", "")),
    )


def is_measurement(value: float) -> bool:
    """Whether a value can have been measured."""
    return abs(value) < NO_MEASUREMENT  # neither NaN


def moment(ms: int | None) -> datetime:
    """Milliseconds since 1970 as a moment, which may lie up to a day ahead of this clock. Raises NotOurs."""
    if not 0 <= (ms or 0) <= 1000 * time.time() + DAY_MS:
        raise NotOurs(f"its time {ms} is none")
    return datetime.fromtimestamp((ms or 0) / 1000, UTC)


def _measured(metrics: dict[str, float], *, is_final: bool) -> dict[str, float]:
    """The measurements among them. Raises NotOurs where one of a finished run's shares and counts can be none."""
    for name, value in metrics.items():
        share, count = SHARE.search(name), COUNT.search(name)
        if is_final and not (0 <= value <= (1 if share else MOST) if share or count else True):
            raise NotOurs(f"its {_quoted(name)} is {value:g}, expected {'a share in 0 to 1' if share else 'a count'}")
    return {clean(name): value for name, value in metrics.items() if is_measurement(value)}


def _seed(tags: dict[str, str], name: str) -> int:
    seed = whole_number(tags.get(name, "0"))
    if seed is None or seed >= SEEDS:
        raise NotOurs(f"its {name} {_quoted(tags[name])} is no number from 0 to {SEEDS - 1}")
    return seed


def _word(text: str, longest: int = LONGEST) -> str:
    return clean(text[:longest])


def _quoted(text: str) -> str:
    return repr(clean(text[:SHOWN]))
