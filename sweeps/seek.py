"""A search, top to bottom in `seek`: Optuna proposes, runs are made like any other, the best are confirmed.

Selection never sees the test set: a trial's runs look at validation alone (train.evaluate_on). When the trials have
ended, the best of them are made again with fresh seeds, and only these are evaluated on the test set, once.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from sweeps.budget import refuse_too_small
from sweeps.campaign import BadCampaign, Campaign, Job
from sweeps.machines import cluster
from sweeps.means import Means, ask, check_place, leave_document, plan_of, refuse_cpus, results_in
from sweeps.packing import arrange, largest
from sweeps.plan import Plan
from sweeps.proposed import TOLD_WITHIN_S, Runs, Sets
from sweeps.puzzles import BuiltSet, check_sources
from sweeps.screen import paragraph, say_what_is_left
from sweeps.snapshot import NAME, Snapshot
from sweeps.sought import Sought, record_of
from trm_core.command_line import BadCommand
from trm_core.config import RunConfig

if TYPE_CHECKING:
    from sweeps.launch import Outcome
    from sweeps.records.types import RunRecord
    from sweeps.records.write import Tracker
    from sweeps.trials import Trial
    from sweeps.under_way import Source


@dataclass(frozen=True)
class Found:
    """What came of a search."""

    campaign: Campaign
    trials: tuple[Trial, ...]
    best: tuple[Trial, ...]  # those that were confirmed, or are to be
    confirmed: Mapping[int, tuple[RunRecord, ...]]  # trial number → its runs with fresh seeds, where they are finished
    failed: Mapping[str, str]  # key → reason, of runs of this launch
    n_left: int  # trials that the budget was not enough for
    storage: str


def check(sought: Sought, *, may_lack_files: bool = False) -> RunConfig:
    """The base run, after everything was checked that needs no puzzles.

    Raises BadSetting, BadCommand, NoPuzzles, NotEnoughMachines.
    """
    base = sought.base
    if sought.trials < 1:
        raise BadCommand(f"--trials {sought.trials}: expected 1 or more")
    if base.train.batch_size % sought.workers:
        raise BadCommand(
            f"--workers {sought.workers}: they share train.batch_size={base.train.batch_size}, and it does not divide"
        )
    check_sources([base.data], sought.data, may_be_missing=may_lack_files)
    if sought.found.cluster is not None or sought.workers > 1:  # else it fits anywhere
        arrange(sought.found.machines, jobs=1, launcher=sought.launcher, workers=sought.workers)
    return base


def plan_search(sought: Sought, n_runs: int, records: Sequence[RunRecord]) -> Plan:
    """So many runs like the base row's: what a search costs, since nobody knows yet what it will propose."""
    base = sought.base
    row = sought.search.row
    jobs = [
        Job(f"run-{at}", sought.study.name, row.name, row.base, sought.profile, at, base)
        for at in range(max(1, n_runs))
    ]
    done = [] if n_runs else [jobs[0].key]
    return plan_of(sought, jobs, done, records, lambda data: data.test, largest=[largest(base, sought.search.space)])


def n_ended(sought: Sought) -> int:
    """How many of its trials have ended, as far as that can be seen without opening it."""
    from sweeps.search import read_trials
    from sweeps.search_storage import OtherSearch, StorageUnavailable, default_storage

    with contextlib.suppress(OtherSearch, StorageUnavailable):  # it is new; or open_ledger() says what is wrong
        trials = read_trials(sought.name, sought.storage or default_storage())
        return sum(trial.state != "running" for trial in trials)
    return 0


def _check_budget(sought: Sought, records: Sequence[RunRecord]) -> None:
    """Raises BudgetTooSmall where trials are left, and the budget is not enough for a run like the base row's."""
    if sought.budget is not None and n_ended(sought) < sought.trials:
        refuse_too_small(sought.budget, plan_search(sought, 1, records))


def seek(sought: Sought, report: Callable[[Found], Path | None]) -> Found:
    """All that is left of a search. Raises what a person can mend, and KeyboardInterrupt."""
    from sweeps.records.read import read_runs
    from sweeps.records.write import Tracker
    from sweeps.search_storage import check_storage, default_storage

    base = check(sought)
    refuse_cpus(sought, sought.profile)
    check_place(sought)
    storage = sought.storage or default_storage()
    check_storage(storage)
    records = read_runs(sought.study.name, sought.profile)
    _check_budget(sought, records)
    with results_in(sought.out), contextlib.ExitStack() as stack:
        sets = Sets(sought)
        sets[base.data]  # the base row's, now: a fault in the files is told before anything begins
        runs = Runs(sought, base, sets)
        ledger = stack.enter_context(runs.opened(storage))
        plan = plan_search(sought, runs.n_left, records)
        _say(sought, plan)
        ask(sought, plan)
        leave_document(runs.campaign, sought.out)
        say: list[Callable[[str], None]] = [lambda text: print(text, file=sys.stderr)]
        if plan.todo or runs.confirm() or not is_recorded(runs.campaign):
            runs.tracker = stack.enter_context(Tracker.open(runs.campaign, say=lambda text: say[-1](text)))
        tracker = runs.tracker
        if plan.todo:
            print("starting Ray")  # one for all: a second one in a process does not end well
        with cluster(ship_code=sought.wanted.ship_code) if plan.todo else contextlib.nullcontext():
            outcomes = [_launch(sought, runs, plan, (), say, source=runs)] if ledger.left() or runs.open else []
            if not any(outcome.interrupted for outcome in outcomes):
                runs.hear_out()  # the last ends, by which the best are chosen
            if not any(outcome.interrupted for outcome in outcomes) and not ledger.left():
                outcomes.append(_launch(sought, runs, plan, runs.confirm(), say, source=None))
        if any(outcome.interrupted for outcome in outcomes):
            for problem in tracker.close("KILLED") if tracker else ():
                print(problem, file=sys.stderr)
            raise KeyboardInterrupt
        if tracker:
            tracker.settle(TOLD_WITHIN_S)
        failed = {key: reason for outcome in outcomes for key, reason in outcome.failed.items()}
        trials = ledger.trials()
        n_left = sought.trials - sum(trial.state != "running" for trial in trials)
        campaign = tracker.campaign if tracker else runs.campaign
        leave_document(campaign, sought.out)  # with the runs that it has by now; it goes to MLflow with the report
        found = Found(campaign, trials, runs.best(), runs.confirmed(), failed, max(0, n_left), storage)
        folder = report(found)
        for problem in tracker.close("KILLED" if n_left > 0 else "FINISHED", folder) if tracker else ():
            print(problem, file=sys.stderr)
        return found


def is_recorded(campaign: Campaign) -> bool:
    """Whether MLflow's document of this campaign has all of its runs; then a command that makes none opens no run."""
    from sweeps.records.read import document_of

    try:
        found = document_of(campaign)
    except BadCampaign:  # Tracker.open() says what is wrong with it, or writes it anew
        return False
    return found is not None and campaign.keys <= found.keys


def _say(sought: Sought, plan: Plan) -> None:
    """What is left to do, or that nothing is."""
    if plan.todo:
        say_what_is_left(plan, f"search {sought.name}, trials and then the best again", sought.budget)
    else:
        done = f"{sought.trials} of {sought.trials} trials are done already, and the best are confirmed"
        print(paragraph(f"search {sought.name}: {done}"))


@dataclass(frozen=True)
class Unfinished:
    """What the report of a search is made of while its runs go on, and where that lies."""

    campaign: Campaign
    folder: Path
    snapshot: Snapshot

    def leave(self) -> list[str]:
        """Leave the snapshot there. Returns what writes the report. Raises OSError."""
        return self.snapshot.leave(self.folder)

    def forget(self) -> None:
        """Nothing is to be written of it any more."""
        with contextlib.suppress(OSError):
            (self.folder / NAME).unlink(missing_ok=True)


def unfinished(sought: Sought, runs: Runs, *, confirming: bool) -> Unfinished:
    """A search as it stands. Raises TrackingUnavailable, StorageUnavailable."""
    trials = runs.ledger.trials()
    n_ended = sum(trial.state != "running" for trial in trials)
    snapshot = Snapshot(
        record=record_of(sought, trials, runs.confirmed() if confirming else None),
        headline=f"{n_ended} of {sought.trials} trials have ended" + (", the best run again" if confirming else ""),
        written_ms=round(1000 * time.time()),
        anew=sought.command,
    )
    return Unfinished(runs.campaign, runs.campaign.folder(sought.out), snapshot)


def make(
    means: Means,
    jobs: Sequence[Job],
    *,
    sets: Mapping[str, BuiltSet],
    trackers: Mapping[str, Tracker],
    n: int,
    work: float,
    share: float,
    may_begin: Callable[[Job], bool],
    say: list[Callable[[str], None]],
    unfinished: Callable[[], Unfinished],
    source: Source | None = None,
    tags: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> Outcome:
    """Launch these jobs, or those of a source, n runs of so much work in all, with their progress on the screen.

    share: of a GPU that each has. unfinished: what its report is made of, which is written again as runs end.
    """
    from sweeps.launch import Outcome, launch
    from sweeps.progress import Progress
    from sweeps.records.address import TrackingUnavailable
    from sweeps.refresh import Refresher
    from sweeps.search_storage import StorageUnavailable

    if not jobs and source is None:
        return Outcome()
    newest: dict[str, Unfinished] = {}

    def hear(_: Job) -> None:
        with contextlib.suppress(TrackingUnavailable, StorageUnavailable):  # the next one will do
            one = unfinished()
            newest[one.campaign.id] = one
            refresher.ended(one.campaign)

    with (
        Progress(runs=n, done=0, work=work) as progress,
        Refresher(
            means.out,
            left_s=progress.all_left_s,
            say=progress.say,
            command=lambda campaign, _: newest[campaign.id].leave(),
        ) as refresher,
    ):
        say.append(progress.say)
        try:
            return launch(
                jobs,
                sets=sets,
                out=means.out,
                trackers=trackers,
                tags=tags,
                progress=progress,
                launcher=means.launcher,
                workers=means.workers,
                share=share,
                may_begin=may_begin,
                source=source,
                expected=n,
                wanted=means.wanted,
                on_end=hear,
            )
        finally:
            say.pop()
            for one in newest.values():
                one.forget()


def _launch(
    sought: Sought,
    runs: Runs,
    plan: Plan,
    jobs: Sequence[Job],
    say: list[Callable[[str], None]],
    source: Runs | None,
) -> Outcome:
    n = len(jobs) or runs.n_left
    return make(
        sought,
        jobs,
        sets=runs.sets_by_key,
        trackers=runs.trackers,
        n=n,
        work=n * runs.base.train_work(),
        share=plan.share,
        may_begin=runs.spending(plan),
        say=say,
        unfinished=lambda: unfinished(sought, runs, confirming=source is None),
        source=source,
        tags=runs.tags,
    )
