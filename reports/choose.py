"""Which campaigns a report is wanted of: found in MLflow, else in the results folder; named by label or by changes."""

from __future__ import annotations

import difflib
import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweeps import campaign as documents
from sweeps.campaign import BadCampaign, Campaign
from sweeps.changes import normal
from sweeps.records.address import looked
from sweeps.records.door import CampaignRecord
from sweeps.records.read import artefact, campaigns, document, lost
from sweeps.study import EVERY_PROFILE, find_study
from trm_core.settings import BadSetting

ALL = "all"
ID_DIGITS = 8  # of an id that stand for it
NAMED = 3  # campaigns, before "and N more"
PLAIN = "the one without changes"


class NoSuchCampaign(ValueError):
    """No campaign of this study, none of this name, or several profiles to choose from."""


@dataclass(frozen=True)
class Found:
    """A campaign that there is, and where its document lies."""

    id: str
    label: str
    profile: str
    record: CampaignRecord | None = None  # in MLflow
    file: Path | None = None  # in the results folder

    def read(self) -> tuple[Campaign, str]:
        """Its document, and what is to be said of where it was found. Raises BadCampaign, TrackingUnavailable."""
        if self.record is not None:
            try:
                return document(self.record), ""
            except BadCampaign as error:
                if self.file is None:
                    raise
                if artefact(self.record.run_id, documents.FILE) is not None:
                    return documents.read_file(
                        self.file
                    ), f"the campaign's document is {self.file}: not MLflow's; {error}"
        assert self.file is not None, f"campaign {self.id} was found nowhere"
        return documents.read_file(self.file), f"the campaign's document is {self.file}: MLflow has none"


def check_profile(profile: str | None) -> None:
    """Raises NoSuchCampaign where that is no profile's name."""
    if profile is not None and profile not in EVERY_PROFILE:
        close = difflib.get_close_matches(profile, EVERY_PROFILE, n=1, cutoff=0.4)
        hint = f"did you mean {close[0]}?" if close else f"profiles are {', '.join(EVERY_PROFILE)}"
        raise NoSuchCampaign(f"{profile!r}: no such profile; {hint}")


def find(study: str, out: Path, profile: str | None = None) -> tuple[Found, ...]:
    """The study's campaigns in this profile, newest first, those that only the results folder knows last.

    profile: None: the only one that there is. Raises NoSuchCampaign, UnknownStudy, TrackingUnavailable.
    """
    check_profile(profile)
    files, torn = in_folder(study, out)
    records = campaigns(study)
    found = [Found(one.id, one.label, one.profile, one, files.get(one.id, (None, None))[1]) for one in records]
    known = {one.id for one in found}
    found += [Found(one.id, one.label, one.profile, None, file) for one, file in files.values() if one.id not in known]
    if not found:
        if away := lost([study]):
            raise NoSuchCampaign(f"{study}: {away[0]}")
        find_study(study)  # perhaps there is none of this name
        if torn:
            raise NoSuchCampaign(f"{study}: no campaign in {looked(out)}, and {'; '.join(torn.values())}")
        raise NoSuchCampaign(
            f"{study}: no campaign in {looked(out)}, nor below {out}; make one with"
            f" `python sweeps/run.py --study {study}` (what has been trained before is not trained again)"
        )
    profiles = {one.profile: sum(other.profile == one.profile for other in found) for one in found}
    counted = ", ".join(f"{name} ({count})" for name, count in sorted(profiles.items()))
    if profile is None and len(profiles) > 1:
        raise NoSuchCampaign(f"{study}: campaigns in {counted}; say which with --profile")
    wanted = tuple(one for one in found if one.profile == (profile or found[0].profile))
    if not wanted:
        raise NoSuchCampaign(f"{study}: nothing recorded in profile {profile}; there are campaigns in {counted}")
    return wanted


def choose(
    found: Sequence[Found], labels: Sequence[str] | None = None, changes: Sequence[str] | None = None
) -> tuple[Found, ...]:
    """Those with these labels ("all": every one; the start of an id will do too), or the one with these changes.

    Neither named: the one without changes if there is one, else the newest. Of several with one label (the study was
    edited), the label means the newest.
    Raises NoSuchCampaign, and BadSetting for a change that is none.
    """
    by_label = {one.label: one for one in reversed(found)}
    if changes is not None:
        wanted = normal(change.strip() for change in changes)
        same = next((one for one in found if _is_of(one, wanted)), None)
        if same is None:
            raise NoSuchCampaign(f"no campaign with --set {' '.join(changes)}; there is {named(found)}")
        return (same,)
    if labels is None:
        return (by_label.get("", found[0]),)
    if ALL in labels:
        return tuple(by_label[label] for label in sorted(by_label))
    by_name = {one.id[:ID_DIGITS]: one for one in found} | by_label
    for label in labels:
        if label not in by_name:
            close = difflib.get_close_matches(label, [name for name in by_name if name], n=1, cutoff=0.4)
            hint = f"did you mean --label {close[0]}? " if close else ""
            raise NoSuchCampaign(f"no campaign labelled {label!r}; {hint}there is {named(found)}")
    return tuple(by_name[label] for label in dict.fromkeys(labels))


def _is_of(found: Found, wanted: tuple[str, ...]) -> bool:
    """Whether these changes make this campaign, also where some of them change nothing; none that cannot be read."""
    try:
        campaign = found.read()[0]
        if normal(campaign.changes) == wanted:
            return True
        return documents.declare(campaign.study, campaign.profile, wanted).changes == campaign.changes
    except (BadCampaign, BadSetting):
        return False


def named(found: Sequence[Found], but: Found | None = None) -> str:
    """How to name each but one: "--label lr=0.003, --label lr=0.01"; an older one with the same label by its id.

    Where there are many, the first of them and how many more.
    """
    names: dict[str, Found] = {}
    for one in found:
        name = f"--label {one.label}" if one.label else f"--label '' ({PLAIN})"
        names[f"--label {one.id[:ID_DIGITS]} (older, {one.label or PLAIN})" if name in names else name] = one
    wanted = [name for name, one in names.items() if one is not but]
    more = len(wanted) - NAMED
    return ", ".join(wanted[:NAMED]) + (f" and {more} more" if more > 0 else "")


def in_folder(study: str, out: Path) -> tuple[dict[str, tuple[Campaign, Path]], dict[Path, str]]:
    """The campaigns whose documents lie in the results folder, by id; and what is said of each file that is none."""
    name = glob.escape(study)
    found, torn = {}, {}
    for path in sorted([*out.glob(f"*/{name}/{documents.FILE}"), *out.glob(f"*/{name}/*/{documents.FILE}")]):
        try:
            one = documents.read_file(path)
        except BadCampaign as error:
            torn[path] = str(error)
            continue
        if one.study.name == study:
            found[one.id] = one, path
    return found, torn
