"""What a page says while its runs go on: how far they are, when that was, and that it is to be asked for again.

Whoever writes it may be killed, and the page would say for ever that runs go on. So it holds the time at which it was
written against the reader's clock: after a while without a newer one it says so, and asks no more (live.html.jinja).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from reports.plain import one_line
from sweeps.campaign import Campaign
from sweeps.records.types import RunRecord
from sweeps.status import RunStatus, in_short, status_of

REFRESH_S = 30  # how often a page asks for itself
QUIET_S = 600.0  # so long a page is believed in any case
ID_DIGITS = 8  # of a campaign's id, which tell it
INDEX = "python -m reports all"


@dataclass(frozen=True)
class Live:
    """A page of which some run goes on."""

    headline: str  # "3 of 14 done, 1 running, 10 waiting"
    going: tuple[tuple[str, RunStatus], ...]  # whose, where a page is of several campaigns; and the run
    written_ms: int  # when, by the clock of whoever wrote it
    anew: str  # the command that writes the page anew
    every_s: int = REFRESH_S

    @property
    def quiet_s(self) -> int:
        """For how long no newer page is expected, at most: a report follows the end of a run."""
        known = [run.left_s for _, run in self.going if run.left_s is not None]
        return round(max(QUIET_S, 2 * min(known, default=0.0)))

    @property
    def written(self) -> str:
        """ "2026-11-26 19:30 UTC"."""
        return f"{datetime.fromtimestamp(self.written_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"


def live(campaign: Campaign, records: Iterable[RunRecord], now_ms: int) -> Live | None:
    """None where no launch makes any of the campaign's runs; now_ms: this clock's."""
    runs = status_of(campaign, records, now_ms)
    going = tuple(("", run) for run in runs if run.became == "running")
    return Live(in_short(runs), going, now_ms, anew(campaign)) if going else None


def anew(campaign: Campaign) -> str:
    """The command that writes a campaign's report."""
    which = ["--profile", campaign.profile, *(["--label", campaign.id[:ID_DIGITS]] if campaign.label else [])]
    return shlex.join(map(one_line, ["python", "-m", "reports", campaign.study.name, *which]))
