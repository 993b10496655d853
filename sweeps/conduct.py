"""From what was asked to what is recorded: everything that is left of some campaigns, top to bottom in `conduct`.

Nothing starts before everything that can be wrong was looked at, in this order: settings, MLflow's address, machines,
puzzles, the plan, a person's consent, Ray. Torch, Ray and MLflow are imported where they are needed.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sweeps import campaign as campaigns_of
from sweeps.budget import Spending, refuse_too_small
from sweeps.campaign import MOST_RUNS, Campaign, Job
from sweeps.means import Means, ask, check_place, leave_document, plan_of, refuse_cpus, results_in
from sweeps.packing import arrange
from sweeps.plan import Plan, part_of
from sweeps.power import in_words, seed_sd
from sweeps.puzzles import BuiltSet, assumed, build_all, check_sources, look_up, origins, set_of
from sweeps.screen import paragraph, say_what_is_left, say_what_was_not_begun
from sweeps.study import Row
from trm_core.command_line import BadCommand, is_for_the_user
from trm_core.settings import DataSettings

if TYPE_CHECKING:
    from sweeps.launch import Outcome
    from sweeps.records.types import RunRecord, Status
    from sweeps.records.write import Tracker

T = TypeVar("T")
REPORTED_WITHIN_S = 60.0  # how long the end waits, all in all, for an MLflow that is silent
LAST_WORDS_S = 5.0  # what each campaign has of it at least
ASK_AGAIN_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Asked(Means):
    """What was asked for, checked as far as it can be without looking at anything."""

    campaigns: tuple[Campaign, ...]  # of one study, without runs; several where settings are gridded
    rows: tuple[Row, ...]  # to be run now
    seeds: tuple[int, ...]
    data_seeds: tuple[int, ...]

    @property
    def study(self) -> str:
        """The study's name."""
        return self.campaigns[0].study.name

    @property
    def profile(self) -> str:
        """The profile's name."""
        return self.campaigns[0].profile

    @property
    def n_runs(self) -> int:
        """Of all campaigns."""
        return len(self.campaigns) * len(self.rows) * len(self.seeds) * len(self.data_seeds)

    @property
    def name(self) -> str:
        """For a person: "recursion_depth in mini", and the changes or how many there are."""
        if len(self.campaigns) == 1:
            return self.campaigns[0].name
        return f"{self.study} in {self.profile} at {len(self.campaigns)} settings"


@dataclass(frozen=True)
class Ended:
    """What came of it, for a person and for the exit code."""

    campaigns: tuple[Campaign, ...]  # as MLflow has them
    failed: Mapping[str, str]  # key → reason, of all runs asked for that have failed, now or earlier
    bad_disk: frozenset[str]  # keys of those whose disk was full or gone
    problems: tuple[str, ...]  # what was not recorded or written, a line each


Reporter = Callable[[Campaign], Path]  # writes a campaign's report, says what is to be said, and returns its folder


def conduct(asked: Asked, report: Reporter) -> Ended:
    """All that is left of the campaigns, and their reports. Raises what a person can mend, and KeyboardInterrupt."""
    from sweeps.records.read import finished

    settings = check(asked)
    refuse_cpus(asked, asked.profile)
    check_place(asked)
    with results_in(asked.out):
        sets = build_all(settings, asked.data, asked.out)
        campaigns = with_runs(asked, lambda data: sets[set_of(data)].content_hash)
        jobs = part_of(_jobs(campaigns), asked.shard)
        undocumented = [campaign for campaign in campaigns if not _is_documented(campaign, asked.out)]
        there = _recorded(campaigns)
        done = finished(jobs)
        failed = {} if asked.retry_failed else _failed(jobs, there, done)
        of_files = origins(sets.values())
        plan = plan_of(
            asked, list(jobs.values()), [*done, *failed], there, lambda data: sets[set_of(data)].n_test, of_files
        )
        if asked.budget is not None:
            refuse_too_small(asked.budget, plan)
        say_what_is_left(plan, asked.name, asked.budget, n_failed=len(failed))
        ask(asked, plan)
        of = {key: sets[set_of(job.run.data)] for key, job in jobs.items()}
        for campaign in campaigns:
            leave_document(campaign, asked.out)
        if not plan.todo and not undocumented and not _lacking(campaigns, there, done):
            return _only_report(campaigns, failed, report)
        return _launch(asked, campaigns, plan, of, done, failed, report)


def check(asked: Asked, *, may_lack_files: bool = False) -> list[DataSettings]:
    """What the puzzle sets are built from, after everything was checked that needs no puzzles.

    may_lack_files: the published puzzles need not be given. Raises BadSetting, BadCommand, NoPuzzles,
    NotEnoughMachines.
    """
    if asked.n_runs > MOST_RUNS and not asked.yes:
        raise BadCommand(
            f"{asked.n_runs:,} runs ({len(asked.campaigns)} settings x {len(asked.rows)} rows x"
            f" {len(asked.seeds) * len(asked.data_seeds):,} seeds), more than {MOST_RUNS:,}; add --yes to mean it"
        )
    jobs = [job for campaign in with_runs(asked, lambda _: "") for job in campaign.jobs()]
    for batch in sorted({job.run.train.batch_size for job in jobs}):
        if batch % asked.workers:
            raise BadCommand(f"--workers {asked.workers}: they share train.batch_size={batch}, and it does not divide")
    settings = [job.run.data for job in jobs]
    check_sources(settings, asked.data, may_be_missing=may_lack_files)
    if asked.found.cluster is not None or asked.workers > 1:  # else it fits anywhere
        arrange(asked.found.machines, jobs=1, launcher=asked.launcher, workers=asked.workers)
    return settings


def with_runs(asked: Asked, data_hash: Callable[[DataSettings], str]) -> tuple[Campaign, ...]:
    """The campaigns with the runs that were asked for. Raises BadSetting."""
    return tuple(
        campaign.asked(asked.rows, asked.seeds, asked.data_seeds, data_hash, asked.command)
        for campaign in asked.campaigns
    )


def plan_only(asked: Asked) -> tuple[Plan, str]:
    """`--plan`: the plan, and what its seeds separate. Writes and starts nothing, and needs no puzzles.

    Where a set is not built, its hash is that of the recorded campaign.
    """
    from sweeps.records.read import finished

    settings = check(asked, may_lack_files=True)
    sets = look_up(settings, asked.data, asked.out, may_be_missing=True)
    unhashed = with_runs(asked, lambda _: "")
    recorded = _recorded(unhashed)
    known = {(run.row, run.data_seed): run.data for run in recorded}
    of_set = {
        set_of(job.run.data): known[job.row, job.data_seed]
        for job in _jobs(unhashed).values()
        if (job.row, job.data_seed) in known
    }

    def data_hash(data: DataSettings) -> str:
        of = set_of(data)
        return sets[of].content_hash if of in sets else of_set.get(of, "")

    jobs = part_of(_jobs(with_runs(asked, data_hash)), asked.shard)
    done = finished(jobs)
    failed = {} if asked.retry_failed else _failed(jobs, recorded, done)

    def n_test(data: DataSettings) -> int | None:
        of = set_of(data)
        return sets[of].n_test if of in sets else None

    notes = (*origins(sets.values()), *assumed(settings, asked.data, sets))
    plan = plan_of(asked, list(jobs.values()), [*done, *failed], recorded, n_test, notes)
    if asked.budget is not None:
        refuse_too_small(asked.budget, plan)
    metric = asked.campaigns[0].study.metric
    if not metric.startswith("test/"):
        return plan, ""
    sd, source = seed_sd(recorded, metric)
    return plan, in_words(len(asked.rows), len(asked.seeds) * len(asked.data_seeds), sd, source)


# --- what is there ---------------------------------------------------------------------------------------------------


def _jobs(campaigns: Sequence[Campaign]) -> dict[str, Job]:
    """The runs of all campaigns, by key, each once; the first seed of every row before the second of any."""
    by_round: dict[tuple[int, int], dict[str, Job]] = {}
    for campaign in campaigns:
        label = (campaign.label or "no change") if len(campaigns) > 1 else ""
        for job in campaign.jobs():
            job = replace(job, label=label)
            by_round.setdefault((job.data_seed, job.seed), {}).setdefault(job.key, job)
    return {key: job for of_round in by_round.values() for key, job in of_round.items()}


def _recorded(campaigns: Sequence[Campaign]) -> list[RunRecord]:
    """What the study has recorded in this profile, every run."""
    from sweeps.records.read import read_runs

    return read_runs(campaigns[0].study.name, campaigns[0].profile)


def _failed(jobs: Mapping[str, Job], there: Sequence[RunRecord], done: Collection[str]) -> dict[str, str]:
    """Runs that have failed before, and why: they are not tried again unless somebody says so."""
    return {
        run.key: run.tags.get("failure", "no reason recorded")
        for run in there
        if run.key in jobs and run.key not in done and run.state in ("failed", "diverged")
    }


def _is_documented(campaign: Campaign, out: Path) -> bool:
    """Whether MLflow has the campaign's document. Raises NewerCampaign, of that one and of the report folder's."""
    from sweeps.records.read import document_of

    try:
        campaigns_of.read_file(campaign.folder(out) / campaigns_of.FILE)
    except campaigns_of.NewerCampaign:
        raise
    except campaigns_of.BadCampaign:
        pass  # it is written anew
    try:
        return document_of(campaign) is not None
    except campaigns_of.NewerCampaign:
        raise
    except campaigns_of.BadCampaign:
        return False


def _lacking(campaigns: Sequence[Campaign], there: Sequence[RunRecord], done: Mapping[str, RunRecord]) -> bool:
    """Whether any campaign has no record yet, in MLflow, of a run of its that is finished."""
    own = {(run.campaign, run.key) for run in there}
    return any((campaign.id, key) not in own and key in done for campaign in campaigns for key in campaign.keys)


# --- the runs --------------------------------------------------------------------------------------------------------


def _launch(
    asked: Asked,
    campaigns: Sequence[Campaign],
    plan: Plan,
    of: Mapping[str, BuiltSet],
    done: Mapping[str, RunRecord],
    failed: Mapping[str, str],
    report: Reporter,
) -> Ended:
    from sweeps.launch import Outcome, launch
    from sweeps.progress import Progress
    from sweeps.records.write import Tracker
    from sweeps.refresh import Refresher

    say: list[Callable[[str], None]] = [lambda text: print(text, file=sys.stderr)]  # the last one is in use
    with contextlib.ExitStack() as stack:
        trackers = [
            stack.enter_context(Tracker.open(campaign, say=lambda text: say[-1](text))) for campaign in campaigns
        ]
        for campaign, tracker in zip(campaigns, trackers, strict=True):
            _refer(campaign, tracker, of, done)
            tracker.show(campaign.folder(asked.out))
        todo = [planned.job for planned in plan.todo]
        outcome = Outcome()
        if todo:
            home: dict[str, Tracker] = {}
            for campaign, tracker in zip(campaigns, trackers, strict=True):
                for key in campaign.keys:
                    home.setdefault(key, tracker)
            work = sum(job.run.train_work() for job in todo)
            with Progress(runs=len(plan.runs), done=plan.n_done - len(failed), work=work) as progress:
                say.append(progress.say)
                with Refresher(asked.out, left_s=progress.all_left_s, say=progress.say) as refresher:
                    outcome = launch(
                        todo,
                        sets=of,
                        out=asked.out,
                        trackers=home,
                        launcher=asked.launcher,
                        workers=asked.workers,
                        share=plan.share,
                        progress=progress,
                        wanted=asked.wanted,
                        may_begin=Spending.of(asked.budget, plan).may_begin if asked.budget else lambda _: True,
                        on_end=lambda job: refresher.ended(home[job.key].campaign),
                    )
                say.pop()
        return _end(asked, campaigns, plan, trackers, of, outcome, failed, report)


def _refer(
    campaign: Campaign, tracker: Tracker, of: Mapping[str, BuiltSet], done: Mapping[str, RunRecord], *, say: bool = True
) -> None:
    """A finished child in this campaign for each of its runs that another campaign has finished."""
    for job in campaign.jobs(done.keys()):
        record = done[job.key]
        if record.campaign == campaign.id:
            continue
        made = tracker.refer(job, of[job.key].content_hash, record, tags=of[job.key].tags)
        if made and say:
            print(paragraph(f"{job.name}: taken from {record.study}, where the same run is finished"))


def _end(
    asked: Asked,
    campaigns: Sequence[Campaign],
    plan: Plan,
    trackers: Sequence[Tracker],
    of: Mapping[str, BuiltSet],
    outcome: Outcome,
    failed_earlier: Mapping[str, str],
    report: Reporter,
) -> Ended:
    """Every campaign's report, and its run in MLflow ended with it."""
    from sweeps.records.read import finished

    if outcome.interrupted:
        for tracker in trackers:
            for problem in tracker.close("KILLED"):
                print(problem, file=sys.stderr)
        raise KeyboardInterrupt
    failed = {**failed_earlier, **outcome.failed}
    problems: list[str] = []
    deadline = time.monotonic() + REPORTED_WITHIN_S
    for tracker in trackers:
        tracker.settle(deadline - time.monotonic())
    if len(campaigns) > 1 and outcome.finished:  # one has trained what another of them needs too

        def refer() -> None:
            done = finished(outcome.finished)
            for campaign, tracker in zip(campaigns, trackers, strict=True):
                _refer(campaign, tracker, of, done, say=False)

        problems += _patiently(refer, deadline, "not every run stands in each of these campaigns")[1]
    for campaign, tracker in zip(campaigns, trackers, strict=True):
        folder, said = _reported(tracker.campaign, report, deadline)
        problems += said
        failing = bool(campaign.keys & failed.keys())
        left = bool(campaign.keys & set(outcome.not_begun)) or (asked.shard is not None and not _is_whole(campaign))
        patience_s = max(LAST_WORDS_S, deadline - time.monotonic())
        status: Status = "FAILED" if failing else "KILLED" if left else "FINISHED"
        problems += tracker.close(status, folder, patience_s=patience_s)
    if asked.budget is not None:
        say_what_was_not_begun(plan, outcome.not_begun, asked.budget)
    there = tuple(tracker.campaign for tracker in trackers)
    return Ended(there, failed, frozenset(outcome.bad_disk), tuple(problems))


def _is_whole(campaign: Campaign) -> bool:
    """Whether all its runs are finished, those of other parts of the work too, as far as MLflow says."""
    from sweeps.records.address import TrackingUnavailable
    from sweeps.records.read import finished

    try:
        return campaign.keys <= finished(campaign.keys).keys()
    except TrackingUnavailable:
        return False


def _only_report(campaigns: Sequence[Campaign], failed: Mapping[str, str], report: Reporter) -> Ended:
    """Where nothing is left to do, MLflow is only read: the document there knows what others have asked for too."""
    from sweeps.records.read import document_of

    there = [document_of(campaign) or campaign for campaign in campaigns]
    deadline = time.monotonic() + REPORTED_WITHIN_S
    problems = [line for campaign in there for line in _reported(campaign, report, deadline)[1]]
    return Ended(tuple(there), failed, frozenset(), tuple(problems))


def _reported(campaign: Campaign, report: Reporter, deadline: float) -> tuple[Path | None, list[str]]:
    """The folder of a campaign's report; without one, why."""
    return _patiently(lambda: report(campaign), deadline, f"no report was made of {campaign.name}")


def _patiently(act: Callable[[], T], deadline: float, otherwise: str) -> tuple[T | None, list[str]]:
    """What comes of it, else why nothing does. An MLflow that is silent is asked again until the deadline."""
    from sweeps.records.address import TrackingUnavailable

    while True:
        try:
            return act(), []
        except TrackingUnavailable as error:
            if time.monotonic() > deadline:
                return None, [f"{otherwise}: {error}"]
            time.sleep(ASK_AGAIN_S)
        except OSError as error:
            return None, [f"{otherwise}: {error}"]
        except ValueError as error:
            if not is_for_the_user(error):
                raise
            return None, [f"{otherwise}: {error}"]
