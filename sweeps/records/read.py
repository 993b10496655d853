"""MLflow → records. Others write there too: what is read is input, and a record that is none of ours is named."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps import campaign as campaigns_of
from sweeps.campaign import BadCampaign, Campaign
from sweeps.records import claims
from sweeps.records.address import address, connect, explained, sqlite_path
from sweeps.records.types import (
    CAMPAIGN,
    CAMPAIGN_ROLE,
    KEY,
    REUSED_FROM,
    ROLE,
    Recorded,
    RunRecord,
)
from sweeps.words import clean

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 1000  # runs per answer
ONE_BY_ONE = 50  # so many keys are looked up one by one; for more, all runs are read
DOCUMENT = campaigns_of.FILE
NO_MEASUREMENT = 1e100  # MLflow keeps infinity as 1.8e308, and a mean of two such is none


@dataclass(frozen=True)
class CampaignRecord:
    """A campaign's run in MLflow: its tags. The document lies with it as an artefact."""

    id: str
    label: str
    study: str
    profile: str
    run_id: str
    experiment_id: str
    status: str
    updated: datetime  # when it was last given


# --- runs ------------------------------------------------------------------------------------------------------------


def read_runs(study: str, profile: str) -> list[RunRecord]:
    """The child runs of a study in a profile, one per key: the newest, a FINISHED one before any other.

    Raises TrackingUnavailable. A SQLite file that is not there holds no runs, and is not created.
    """
    recorded = _of_study(study, profile)
    return list(one_per_key(recorded.runs).values())


def runs_of(campaign: Campaign) -> tuple[Recorded, Recorded]:
    """A campaign's runs, one per key, and the study's other runs in this profile. Raises TrackingUnavailable.

    A run belongs by its key, wherever it stands; the campaign's own record of it before another's.
    """
    found = _of_study(campaign.study.name, campaign.profile)
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
    """A metric of a run as (step, value), steps ascending, one point per step; of a reused run, its origin's."""
    client = connect(address())
    with explained(f"read {metric} of run {run_id}"):
        points = {point.step: point.value for point in client.get_metric_history(run_id, metric)}
        if len(points) <= 1 and (origin := client.get_run(run_id).data.tags.get(REUSED_FROM)):
            points = {point.step: point.value for point in client.get_metric_history(origin, metric)} or points
    return sorted(points.items())


def artefact(run_id: str, name: str) -> str | None:
    """The text of a file that was kept with a run, or with the run that it stands for; None where there is none.

    Raises TrackingUnavailable where MLflow does not know the run.
    """
    client = connect(address())
    with explained(f"read {name} of run {run_id}"):
        origin = client.get_run(run_id).data.tags.get(REUSED_FROM, "")
    found = _downloaded(client, run_id, name)
    return _downloaded(client, origin, name) if found is None and origin else found


def _downloaded(client: MlflowClient, run_id: str, name: str) -> str | None:
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as folder:
        try:
            path = client.download_artifacts(run_id, name, folder)
        except (MlflowException, OSError):
            return None
        return Path(path).read_text(encoding="utf-8", errors="replace")


def one_per_key(records: Iterable[RunRecord], campaign: str = "") -> dict[str, RunRecord]:
    """The best record of each key: FINISHED before any other, the campaign's own, trained here, the newest."""
    best: dict[str, RunRecord] = {}
    for record in sorted(
        records,
        key=lambda run: (
            run.status == "FINISHED",
            run.campaign == campaign,
            not run.is_reused,
            run.started,
            run.run_id,
        ),
    ):
        best[record.key] = record
    return best


def _of_study(study: str, profile: str) -> Recorded:
    if _nothing_there():
        return Recorded(())
    client = connect(address())
    with explained("read the runs"):
        experiment = client.get_experiment_by_name(study)
        if experiment is None:
            return Recorded(())
        wanted = f"tags.profile = '{quoted(profile)}' AND tags.{KEY} LIKE '%'"
        runs = list(search(client, [experiment.experiment_id], wanted))
    return _readable(runs, {experiment.experiment_id: study})


def _nothing_there() -> bool:
    path = sqlite_path(address())
    return path is not None and not path.exists()


def _readable(runs: Iterable[Run], studies: dict[str, str]) -> Recorded:
    """Records of runs, and a line for each that is none."""
    found, bad = [], []
    for run in runs:
        try:
            found.append(record(run, studies.get(run.info.experiment_id, "")))
        except ValueError as error:
            bad.append(f"run {run.info.run_id}: {error}")
    return Recorded(tuple(found), tuple(sorted(bad)))


def record(run: Run, study: str) -> RunRecord:
    """A child run as we know it. Raises ValueError for one that no launch of ours has written."""
    tags = run.data.tags
    if not re.fullmatch(r"[0-9a-zA-Z_]{1,64}", tags.get(KEY, "")):
        raise ValueError(f"its key {tags.get(KEY, '')[:40]!r} is none")
    ended = run.info.end_time if run.info.status != "RUNNING" else None
    return RunRecord(
        key=tags[KEY],
        study=clean(tags.get("study", study)),
        row=clean(tags.get("row", "")),
        base=clean(tags.get("base", "")),
        profile=clean(tags.get("profile", "")),
        seed=_seed(tags, "seed"),
        data_seed=_seed(tags, "data_seed"),
        status=run.info.status,
        run_id=run.info.run_id,
        tags={clean(name): clean(text) for name, text in tags.items()},
        params={clean(name): clean(text) for name, text in run.data.params.items()},
        metrics={name: value for name, value in run.data.metrics.items() if abs(value) < NO_MEASUREMENT},
        started=_moment(run.info.start_time),
        ended=_moment(ended) if ended else None,
        owners=claims.owners_in(tags),
    )


def _seed(tags: dict[str, str], name: str) -> int:
    text = tags.get(name, "0")
    if not re.fullmatch(r"[0-9]{1,10}", text):
        raise ValueError(f"its {name} {text[:40]!r} is no number")
    return int(text)


def _moment(ms: int | None) -> datetime:
    try:
        return datetime.fromtimestamp((ms or 0) / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        raise ValueError(f"its time {ms} is none") from None


# --- campaigns -------------------------------------------------------------------------------------------------------


def campaigns(study: str | None = None, profile: str | None = None) -> list[CampaignRecord]:
    """The campaigns that MLflow has of a study, newest first; of all studies where none is named.

    Where a launch was killed while it made a campaign's run, there are two of it: the one that all launches use counts.
    Raises TrackingUnavailable.
    """
    if _nothing_there():
        return []
    client = connect(address())
    with explained("look for campaigns"):
        names = experiments(client)
        chosen = [key for key, name in names.items() if study in (None, name)]
        query = f"tags.{ROLE} = '{CAMPAIGN_ROLE}'" + (f" AND tags.profile = '{quoted(profile)}'" if profile else "")
        found = [
            CampaignRecord(
                id=clean(run.data.tags.get(CAMPAIGN, "")),
                label=clean(run.data.tags.get("label", "")),
                study=names[run.info.experiment_id],
                profile=clean(run.data.tags.get("profile", "")),
                run_id=run.info.run_id,
                experiment_id=run.info.experiment_id,
                status=run.info.status,
                updated=_moment(_number(run.data.tags.get("updated_ms", "")) or run.info.start_time),
            )
            for run in sorted(search(client, chosen, query), key=lambda run: (run.info.start_time, run.info.run_id))
        ]
    once = {(one.experiment_id, one.id): one for one in reversed(found)}
    return sorted(once.values(), key=lambda one: (one.updated, one.run_id), reverse=True)


def document(of: CampaignRecord) -> Campaign:
    """The campaign's document. Raises BadCampaign, TrackingUnavailable."""
    client = connect(address())
    found = read_document(client, of.run_id)
    if found is None:
        raise BadCampaign(
            f"{of.study} in {of.profile}: its run {of.run_id} in MLflow has no {DOCUMENT} that can be reached;"
            " give the study's command again to write it anew"
        )
    if (found.id, found.study.name) != (of.id, of.study):
        raise BadCampaign(
            f"{DOCUMENT} of run {of.run_id} is that of campaign {found.id} ({found.study.name}), expected {of.id}"
        )
    return found


def document_of(campaign: Campaign) -> Campaign | None:
    """A campaign's document as MLflow has it; None where there is none. Raises BadCampaign, TrackingUnavailable."""
    of = next((one for one in campaigns(campaign.study.name, campaign.profile) if one.id == campaign.id), None)
    return None if of is None else document(of)


def read_document(client: MlflowClient, run_id: str) -> Campaign | None:
    """The document with a campaign's run; None where there is none. Raises BadCampaign."""
    text = _downloaded(client, run_id, DOCUMENT)
    return None if text is None else campaigns_of.read(text, f"{DOCUMENT} of MLflow's run {run_id}")


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else 0


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


def quoted(text: str) -> str:
    """For MLflow's filter language, which has no escape; keys, ids and profiles hold no quotes."""
    return text.replace("'", "")
