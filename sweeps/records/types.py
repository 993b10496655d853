"""What travels between MLflow and the rest: a run's record, a measurement, who owns a run. Data alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from sweeps.words import whole_number

Status = Literal["FINISHED", "FAILED", "KILLED"]
State = Literal["finished", "running", "failed", "diverged", "interrupted"]

# Tags by which a run of MLflow is told from others; the roles of those that are no training runs.
ROLE, CAMPAIGN, ROW, KEY, LAUNCH = "role", "campaign", "row", "key", "launch"
CAMPAIGN_ROLE, ROW_ROLE = "campaign", "row"
ROW_ORDER = "row_order"  # where a run stands in its table: by row, then by seeds
REUSED_FROM = "reused_from"  # a child that stands for a run which another campaign has trained
STATE = "state"  # what MLflow has no status for: "diverged"
PRUNED = "pruned"  # a state: KILLED by the search that made it; of nothing else is it an end
FAILURE = "failure"
STEP = "step"  # that a run had reached when it ended
AT_WORK = "at_work_ms"  # for so long launches have made a run, all together; renewed with each heartbeat


def seconds_at_work(tags: Mapping[str, str], started: datetime, ended: datetime | None) -> float | None:
    """For how long a run was made, without the time between a launch that ended or died and the one that went on.

    Records of older versions do not say: from the first start to the end then, None where there is none.
    """
    at_work = whole_number(tags.get(AT_WORK, ""))
    if at_work is not None:
        return at_work / 1000
    return None if ended is None else max(0.0, (ended - started).total_seconds())


class Measurement(NamedTuple):
    """What was measured at one step, and when. Sent twice with the same time, MLflow stores it once."""

    step: int
    time_ms: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Owner:
    """The launch that makes a run, as it says itself; what is not known is empty or 0."""

    launch: str
    host: str = ""
    machine: str = ""  # where its process id means anything (guard.this_machine)
    pid: int = 0
    user: str = ""
    beat_ms: int = 0  # by its own clock
    step: int = 0  # of the run
    left_s: float | None = None  # seconds to the run's end, as the launch reckons


@dataclass(frozen=True)
class RunRecord:
    """One child run as MLflow has it; metrics are the last values, fractions inside."""

    key: str
    study: str
    row: str
    base: str
    profile: str
    seed: int
    status: str  # "FINISHED", "RUNNING", "FAILED" or "KILLED"
    run_id: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    started: datetime
    ended: datetime | None
    data_seed: int = 0
    owners: tuple[Owner, ...] = ()  # launches that claim it, dead ones too

    @property
    def data(self) -> str:
        """The content hash of its puzzles."""
        return self.tags.get("data", "")

    @property
    def campaign(self) -> str:
        """The id of the campaign it stands in; empty for records of older versions."""
        return self.tags.get(CAMPAIGN, "")

    @property
    def seconds(self) -> float | None:
        """For how long it was made (seconds_at_work); None where that is not known."""
        return seconds_at_work(self.tags, self.started, self.ended)

    @property
    def is_reused(self) -> bool:
        """Whether it stands for a run that another campaign has trained."""
        return REUSED_FROM in self.tags

    @property
    def state(self) -> State:
        """What became of it, in words."""
        if self.status == "FAILED" and self.tags.get(STATE) == "diverged":
            return "diverged"
        known: dict[str, State] = {"FINISHED": "finished", "RUNNING": "running", "FAILED": "failed"}
        return known.get(self.status, "interrupted")


@dataclass(frozen=True)
class Recorded:
    """What MLflow holds of a campaign or a study: its runs, and how many records could not be read."""

    runs: tuple[RunRecord, ...]
    unreadable: tuple[str, ...] = ()  # "run 0a1b…: seed 'x' is no number"
