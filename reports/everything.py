"""Every campaign that there is, read study by study: a study's runs by one search, their curves in bulk.

A campaign that cannot be read is told in a line and keeps no other from its report. A server that goes away in between
is asked again to a deadline; after that nothing more is read, and what was read stands.
"""

from __future__ import annotations

import contextlib
import gc
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from reports.choose import Found, NoSuchCampaign, check_profile, in_folder
from reports.report import Gathered, gather
from sweeps.campaign import FILE, FOLDER_NAME, BadCampaign, Campaign
from sweeps.records.address import TrackingUnavailable, address, connect, looked
from sweeps.records.read import look_for_campaigns, lost, of_study, runs_of
from sweeps.records.types import Recorded, RunRecord
from sweeps.study import study_names

T = TypeVar("T")
SEARCHES = ("search_", "tune_")  # what the studies that hold a search's runs are named by
PATIENCE_S = 30.0  # with a server that was there, and answers no more
ASK_AGAIN_S = 1.0


@dataclass(frozen=True)
class There:
    """The campaigns that there are, by study, newest first, and a line for each record or document that is none."""

    campaigns: Mapping[str, Sequence[Found]]
    said: tuple[str, ...]


@dataclass(frozen=True)
class One:
    """A campaign, as far as it could be read. `said`: what is to be said of it, a line each."""

    study: str
    found: Found
    campaign: Campaign | None = None
    recorded: Recorded | None = None  # its runs, one per key
    records: tuple[RunRecord, ...] = ()  # all of these keys that its study has
    gathered: Gathered | None = None  # None, too, of a search: its report is its own
    said: tuple[str, ...] = ()


def look(out: Path, profile: str | None = None) -> There:
    """What there is in MLflow and in the results folder. Raises NoSuchCampaign where that is nothing,
    TrackingUnavailable."""
    check_profile(profile)
    records, bad = look_for_campaigns(None, profile)
    declared = study_names()
    in_out = {path.relative_to(out).parts[1] for path in [*out.glob(f"*/*/{FILE}"), *out.glob(f"*/*/*/{FILE}")]}
    others = sorted({one.study for one in records} | in_out - {*declared})
    said = [f"a record that is no campaign's, left out: {line}" for line in bad]
    said += lost(sorted({*declared, *others}))
    campaigns: dict[str, list[Found]] = {}
    for study in dict.fromkeys([*declared, *others]):
        if not re.fullmatch(FOLDER_NAME, study):  # it names a folder
            said.append(f"an experiment is named {study!r}, which is no study's name; its campaigns are left out")
            continue
        files, torn = in_folder(study, out)
        of = [
            Found(one.id, one.label, one.profile, one, files.get(one.id, (None, None))[1])
            for one in records
            if one.study == study
        ]
        known = {one.id for one in of}
        of += [
            Found(one.id, one.label, one.profile, None, file)
            for one, file in files.values()
            if one.id not in known and profile in (None, one.profile)
        ]
        folders = {campaign.folder(out) for campaign, _ in files.values()}
        said += [line for path, line in torn.items() if path.parent not in folders]
        if of:
            campaigns[study] = of
    if not campaigns:
        where = f"{looked(out)}, nor below {out}"
        scale = f" in profile {profile}" if profile else ""
        more = f"; {said[0]}" if said else ""
        raise NoSuchCampaign(
            f"no campaign{scale} in {where}{more}; make one with `python sweeps/run.py --study recursion_depth`"
        )
    return There(campaigns, tuple(said))


@dataclass
class Reader:
    """Reads campaigns, each study's runs once."""

    out: Path
    patience_s: float = PATIENCE_S
    keeps: bool = True  # the curves that it reads
    gone: TrackingUnavailable | None = None  # why nothing more is read
    _runs: dict[tuple[str, str], Recorded] = field(default_factory=dict)

    def read(self, there: There) -> Iterator[One]:
        """Each campaign, study by study; a study's runs are forgotten when its campaigns are read."""
        for study, found in there.campaigns.items():
            for one in found:
                yield self.one(study, one)
            self._runs = {}

    def one(self, study: str, found: Found) -> One:
        """A campaign, or why it cannot be read."""
        if self.gone is not None:
            return One(study, found, said=(f"not read: {self.gone}",))
        with no_collector():
            return self._read(study, found)

    def _read(self, study: str, found: Found) -> One:
        campaign = None
        try:
            campaign, said = self._patiently(found.read)
            runs = self._of_study(study, found.profile)
            is_search = study.startswith(SEARCHES)
            gathered = (
                None if is_search else self._patiently(lambda: gather(campaign, self.out, runs, keeps=self.keeps))
            )
        except (BadCampaign, TrackingUnavailable) as error:
            return One(study, found, campaign, said=(str(error),))
        recorded = runs_of(campaign, runs)[0] if gathered is None else gathered.recorded
        lines = [said, *(f"a record that cannot be read: {line}" for line in runs.unreadable)]
        records = tuple(run for run in runs.runs if run.key in campaign.keys)
        return One(study, found, campaign, recorded, records, gathered, tuple(line for line in lines if line))

    def _of_study(self, study: str, profile: str) -> Recorded:
        if (study, profile) not in self._runs:
            self._runs[study, profile] = self._patiently(lambda: of_study(study, profile))
        return self._runs[study, profile]

    def _patiently(self, act: Callable[[], T]) -> T:
        """What comes of it. Raises TrackingUnavailable where it cannot be; where MLflow stays silent, `gone` is set."""
        deadline, refused = time.monotonic() + self.patience_s, False
        while True:
            try:
                return act()
            except TrackingUnavailable as error:
                answers = _answers()
                if answers and refused:
                    raise  # MLflow is there: it is this that cannot be read
                if not answers and time.monotonic() >= deadline:
                    self.gone = error
                    raise
                refused = answers
                time.sleep(0.0 if answers else ASK_AGAIN_S)


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """Python's collector of cycles looks through all objects again and again while MLflow makes a hundred for each run,
    and a figure some thousands: a fifth of what reading takes, a tenth of what drawing does. statsmodels calls it by
    name, so what is already there, most of it modules, is put out of its sight too."""
    was = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        if was:
            gc.enable()


def _answers() -> bool:
    try:
        connect(address())
    except TrackingUnavailable:
        return False
    return True
