"""MLflow → records. Others write there too: what is read is input (door.py), and what is none of ours is named."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep.redaction import redacted
from sweeps import campaign as campaigns_of
from sweeps.campaign import BadCampaign, Campaign
from sweeps.records import columns
from sweeps.records.address import TrackingUnavailable, address, connect, connected, explained, sqlite_path
from sweeps.records.door import MOST, CampaignRecord, NotOurs, campaign_record, is_measurement, run_record
from sweeps.records.types import CAMPAIGN_ROLE, KEY, REUSED_FROM, ROLE, Recorded, RunRecord
from sweeps.words import clean

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

PAGE = 1000  # runs per answer
ONE_BY_ONE = 50  # so many keys are looked up one by one; for more, all runs are read
DOCUMENT = campaigns_of.FILE
LARGEST = 64 * 2**20  # bytes of a file that is read whole


# --- runs ------------------------------------------------------------------------------------------------------------


def read_runs(study: str, profile: str) -> list[RunRecord]:
    """The child runs of a study in a profile, one per key (one_per_key).

    Raises TrackingUnavailable. A SQLite file that is not there holds no runs, and is not created.
    """
    recorded = of_study(study, profile)
    return list(one_per_key(recorded.runs).values())


def runs_of(campaign: Campaign, of_study_read: Recorded | None = None) -> tuple[Recorded, Recorded]:
    """A campaign's runs, one per key, and the study's other runs in this profile. Raises TrackingUnavailable.

    A run belongs by its key, wherever it stands; the campaign's own record of it before another's. of_study_read: what
    `of_study` has read, where several campaigns of a study are asked for.
    """
    found = of_study(campaign.study.name, campaign.profile) if of_study_read is None else of_study_read
    ours = [run for run in found.runs if belongs(campaign, run)]
    best = one_per_key(ours, campaign.id)
    others = tuple(run for run in found.runs if run.key not in best)
    return Recorded(tuple(best.values()), found.unreadable), Recorded(others)


def belongs(campaign: Campaign, run: RunRecord) -> bool:
    """Whether a recorded run is one of the campaign's."""
    return campaign.has(row=run.row, seed=run.seed, data_seed=run.data_seed, data=run.data, key=run.key)


def finished(keys: Collection[str]) -> dict[str, RunRecord]:
    """Of these keys those that any study has FINISHED. Raises TrackingUnavailable."""
    return one_per_key(run for run in anywhere(keys) if run.status == "FINISHED")


def anywhere(keys: Collection[str]) -> tuple[RunRecord, ...]:
    """All records of these keys, in any study, each once. Raises TrackingUnavailable."""
    keys = frozenset(keys)
    if not keys or _nothing_there():
        return ()
    client = connect(address())
    with explained("look for runs by their keys"):
        names = experiments(client)
        if len(keys) <= ONE_BY_ONE:
            runs = [run for key in sorted(keys) for run in with_key(client, names, key)]
        else:
            runs = list(search(client, list(names), f"tags.{KEY} LIKE '%'"))
    return tuple(run for run in _readable(runs, names).runs if run.key in keys)


def read_curve(run_id: str, metric: str) -> list[tuple[int, float]]:
    """A metric of a run as (step, value), steps ascending, one point per step; of a reused run, its origin's.

    Raises TrackingUnavailable where MLflow does not know the run; an origin may be gone.
    """
    client = connect(address())
    with explained(f"read {metric} of run {run_id}"):
        points = client.get_metric_history(run_id, metric)
        if len(points) <= 1 and (origin := _origin(client, run_id)):
            points = client.get_metric_history(origin, metric) or points
    found = {one.step: one.value for one in points if 0 <= one.step <= MOST and is_measurement(one.value)}
    return sorted(found.items())


def _origin(client: MlflowClient, run_id: str) -> str | None:
    """The run that this one stands for, where MLflow still has it."""
    from mlflow.exceptions import MlflowException

    origin = client.get_run(run_id).data.tags.get(REUSED_FROM)
    try:
        return str(client.get_run(origin).info.run_id) if origin else None
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        return None


def artefact(run_id: str, name: str) -> str | None:
    """The text of a file that was kept with a run, or with the run that it stands for; None where there is none.

    Raises TrackingUnavailable where MLflow does not know the run.
    """
    client = connected(address())
    with explained(f"read {name} of run {run_id}"):
        origin = _origin(client, run_id)
    found = _downloaded(client, run_id, name)
    return _downloaded(client, origin, name) if found is None and origin else found


def artefact_file(run_id: str, name: str, folder: Path) -> Path | None:
    """A file that was kept with a run, or with the run that it stands for, laid into this folder; None: there is none.

    Raises TrackingUnavailable where MLflow does not know the run.
    """
    client = connected(address())
    with explained(f"read {name} of run {run_id}"):
        origin = _origin(client, run_id)
    found = _laid(client, run_id, name, folder)
    return _laid(client, origin, name, folder) if found is None and origin else found


def _downloaded(client: MlflowClient, run_id: str, name: str) -> str | None:
    """The text of a run's file; None where there is none, or one that nobody can have meant."""
    with tempfile.TemporaryDirectory() as folder:
        path = _laid(client, run_id, name, Path(folder))
        return None if path is None else path.read_text(encoding="utf-8", errors="replace")


def _laid(client: MlflowClient, run_id: str, name: str, folder: Path) -> Path | None:
    from mlflow.exceptions import MlflowException

    try:
        path = Path(client.download_artifacts(run_id, name, str(folder)))
        return path if path.is_file() and path.stat().st_size <= LARGEST else None
    except (MlflowException, OSError):
        return None


def experiment_id(study: str) -> str | None:
    """Of the experiment that a study's runs are in, for an address; None where there is none yet.

    Raises TrackingUnavailable.
    """
    if _nothing_there():
        return None
    client = connect(address())
    with explained("look for an experiment"):
        experiment = client.get_experiment_by_name(study)
    return None if experiment is None else str(experiment.experiment_id)


def one_per_key(records: Iterable[RunRecord], campaign: str = "") -> dict[str, RunRecord]:
    """The best record of each key: FINISHED before any other, the campaign's own, trained here.

    Of several the one that was first, which is also the one that launches go on with (by_age): nothing that is written
    later moves a number or says how a run ended.
    """

    def rank(run: RunRecord) -> tuple[object, ...]:
        return (run.status != "FINISHED", run.campaign != campaign, run.is_reused, run.started, run.run_id)

    return {record.key: record for record in sorted(records, key=rank, reverse=True)}


def of_study(study: str, profile: str) -> Recorded:
    """All runs of a study in a profile, several of a key among them, by one search. Raises TrackingUnavailable."""
    if _nothing_there():
        return Recorded(())
    client = connect(address())
    with explained("read the runs"):
        experiment = client.get_experiment_by_name(study)
        if experiment is None:
            return Recorded(())
        check_is_active(experiment)
        try:
            runs = columns.runs(client, experiment.experiment_id, profile, KEY)
        except columns.NoColumns:
            wanted = f"tags.profile = '{quoted(profile)}' AND tags.{KEY} LIKE '%'"
            runs = list(search(client, [experiment.experiment_id], wanted))
    return _readable(runs, {experiment.experiment_id: study})


def check_is_active(experiment: Experiment) -> None:
    """Raises TrackingUnavailable, with the way back, where an experiment lies deleted."""
    if experiment.lifecycle_stage != "active":
        raise TrackingUnavailable(_deleted(experiment))


def _deleted(experiment: Experiment) -> str:
    return (
        f"{redacted(address())}: the experiment {clean(experiment.name)} is deleted; bring it back with"
        f" `mlflow experiments restore --experiment-id {experiment.experiment_id}`"
    )


def _nothing_there() -> bool:
    path = sqlite_path(address())
    return path is not None and not path.exists()


def _readable(runs: Iterable[Run], studies: dict[str, str]) -> Recorded:
    """Records of runs, and a line for each that is none."""
    found, bad = [], []
    for run in runs:
        try:
            found.append(run_record(run, studies.get(run.info.experiment_id, "")))
        except NotOurs as error:
            bad.append(f"run {run.info.run_id}: {error}")
    return Recorded(tuple(found), tuple(sorted(bad)))


# --- campaigns -------------------------------------------------------------------------------------------------------


def campaigns(study: str | None = None, profile: str | None = None) -> list[CampaignRecord]:
    """The campaigns that MLflow has of a study, newest first; of all studies where none is named.

    Raises TrackingUnavailable, also where the study's experiment is deleted.
    """
    return look_for_campaigns(study, profile)[0]


def look_for_campaigns(
    study: str | None = None, profile: str | None = None
) -> tuple[list[CampaignRecord], tuple[str, ...]]:
    """The same, and a line for each record of a campaign that cannot be read.

    Where a launch was killed while it made a campaign's run, there are two of it: the one that all launches use counts.
    """
    if _nothing_there():
        return [], ()
    client = connect(address())
    with explained("look for campaigns"):
        if study is not None and (experiment := client.get_experiment_by_name(study)) is not None:
            check_is_active(experiment)
        names = experiments(client)
        chosen = [key for key, name in names.items() if study in (None, name)]
        query = f"tags.{ROLE} = '{CAMPAIGN_ROLE}'" + (f" AND tags.profile = '{quoted(profile)}'" if profile else "")
        runs = sorted(search(client, chosen, query), key=by_age)
    of_each: dict[tuple[str, str], list[CampaignRecord]] = {}
    bad = []
    for run in runs:
        try:
            one = campaign_record(run, names[run.info.experiment_id])
        except NotOurs as error:
            bad.append(f"run {run.info.run_id}: {error}")
            continue
        of_each.setdefault((one.experiment_id, one.id), []).append(one)
    once = [replace(first, doubles=tuple(one.run_id for one in others)) for first, *others in of_each.values()]
    return sorted(once, key=lambda one: (one.updated, one.run_id), reverse=True), tuple(bad)


def lost(studies: Collection[str]) -> list[str]:
    """A line for each experiment of these studies that was renamed or lies deleted, with the way back.

    Raises TrackingUnavailable.
    """
    if _nothing_there():
        return []
    client = connect(address())
    with explained("look for experiments"):
        there = {name: one for name in studies if (one := client.get_experiment_by_name(name)) is not None}
    deleted = [_deleted(one) for one in there.values() if one.lifecycle_stage != "active"]
    moved = {one.experiment_id: one for one in campaigns() if one.named in studies and one.named not in there}
    return deleted + [_way_back(one) for one in moved.values()]


def _way_back(of: CampaignRecord) -> str:
    """What is to be done where an experiment was renamed, in one line."""
    return (
        f"the runs of {of.named} lie in the experiment {of.study!r} (it was renamed); give it its name back with"
        f" `mlflow experiments rename --experiment-id {of.experiment_id} --new-name {of.named}`"
    )


def document(of: CampaignRecord) -> Campaign:
    """The campaign's document. Raises BadCampaign, TrackingUnavailable."""
    client = connect(address())
    problem = None
    for run_id in (of.run_id, *of.doubles):
        try:
            if (found := read_document(client, run_id)) is None:
                continue
        except BadCampaign as error:
            problem = problem or error
            continue
        if (found.id, found.study.name) == (of.id, of.study):
            return found
        expected = _way_back(of) if of.is_renamed and found.id == of.id else f"expected {of.id}"
        problem = problem or BadCampaign(
            f"{DOCUMENT} of run {run_id} is that of campaign {found.id} ({found.study.name}), {expected}"
        )
    raise problem or BadCampaign(
        f"{of.study} in {of.profile}: its run {of.run_id} in MLflow has no {DOCUMENT} that can be reached;"
        " give the study's command again to write it anew"
    )


def document_of(campaign: Campaign) -> Campaign | None:
    """A campaign's document as MLflow has it; None where there is none. Raises BadCampaign, TrackingUnavailable."""
    of = next((one for one in campaigns(campaign.study.name, campaign.profile) if one.id == campaign.id), None)
    return None if of is None else document(of)


def read_document(client: MlflowClient, run_id: str) -> Campaign | None:
    """The document with a campaign's run; None where there is none. Raises BadCampaign."""
    text = _downloaded(client, run_id, DOCUMENT)
    return None if text is None else campaigns_of.read(text, f"{DOCUMENT} of MLflow's run {run_id}")


# --- the store -------------------------------------------------------------------------------------------------------


def search(client: MlflowClient, experiment_ids: Sequence[str], wanted: str) -> Iterator[Run]:
    """All runs that match, newest first, one request per page."""
    token: str | None = None
    while experiment_ids:
        page = client.search_runs(
            list(experiment_ids), wanted, max_results=PAGE, order_by=["attributes.start_time DESC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def with_key(client: MlflowClient, experiment_ids: Iterable[str], key: str) -> list[Run]:
    """The runs of a key, in any study."""
    return list(search(client, list(experiment_ids), f"tags.{KEY} = '{quoted(key)}'"))


def experiments(client: MlflowClient) -> dict[str, str]:
    """The names of all active experiments, by id."""
    found: dict[str, str] = {}
    token: Any = None
    while True:
        page = client.search_experiments(max_results=PAGE, page_token=token)
        found |= {str(one.experiment_id): one.name for one in page}
        token = page.token
        if not token:
            return found


def by_age(run: Run) -> tuple[int, str]:
    """What the oldest of several runs is found by, the same one for every launch that looks."""
    return run.info.start_time or 0, run.info.run_id


def quoted(text: str) -> str:
    """For MLflow's filter language, which has no escape; keys, ids and profiles hold no quotes."""
    return text.replace("'", "")
