"""Fair ablations, top to bottom in `tune`: every row of a study at its own best settings, beside the published ones.

Each row is the base row of the same search: the same space, the same number of trials, proposals that start alike. Its
trials are chosen on validation, at seeds of their own; the best one is made again at the asked seeds, those of the
published rows, and evaluated on test. So both tables have the same seeds, and none of them has chosen anything.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.budget import may_begin as ends_within
from sweeps.budget import refuse_too_small
from sweeps.campaign import Campaign, Job
from sweeps.conduct import Ended, Reporter, conduct, with_runs
from sweeps.machines import cluster
from sweeps.means import ask, check_place, leave_document, plan_of, refuse_cpus, results_in
from sweeps.packing import largest
from sweeps.plan import Plan
from sweeps.proposed import TOLD_WITHIN_S, Runs, Sets
from sweeps.puzzles import BuiltSet
from sweeps.screen import say_what_is_left
from sweeps.seek import Unfinished, is_recorded, make, n_ended
from sweeps.snapshot import Snapshot
from sweeps.sought import record_of
from sweeps.tune_record import TunedRow, TuningRecord
from sweeps.tuning import FIRST_SEED, Tuning, check

if TYPE_CHECKING:
    from sweeps.failures import Failure
    from sweeps.launch import Outcome
    from sweeps.records.types import Measurement
    from sweeps.records.write import Tracker


@dataclass(frozen=True)
class Tuned:
    """What came of it."""

    campaign: Campaign  # of trials, and of the best again
    published: Ended
    record: TuningRecord
    failed: Mapping[str, str]  # key → reason, of runs of this launch
    n_left: int  # runs that the budget was not enough for
    storage: str


def plan_tuning(tuning: Tuning) -> Plan:
    """What all of it costs as if nothing were done: the study as published, the trials, and the best of them again."""
    (published,) = with_runs(tuning.asked, lambda _: "")
    n = tuning.trials * tuning.search.seeds + len(tuning.asked.seeds)
    return _plan(tuning, {row.name: n for row in tuning.asked.rows}, published.jobs())


def _plan(tuning: Tuning, n_runs: Mapping[str, int], besides: Sequence[Job] = ()) -> Plan:
    """So many runs like each row's, since nobody knows yet what its search will propose."""
    from sweeps.records.read import read_runs

    asked, study = tuning.asked, tuning.study
    jobs, done = list(besides), []
    for row in asked.rows:
        base = tuning.of(row).base
        seeds = range(FIRST_SEED, FIRST_SEED + max(1, n_runs[row.name]))
        like = [Job(f"{row.name} {at}", study.name, row.name, row.base, asked.profile, at, base) for at in seeds]
        jobs += like
        done += [] if n_runs[row.name] else [like[0].key]
    hungry = [largest(tuning.of(row).base, tuning.search.space) for row in asked.rows]
    records = read_runs(study.name, asked.profile)
    return plan_of(asked, jobs, done, records, lambda data: data.test, largest=hungry)


def _check_budget(tuning: Tuning) -> None:
    """Raises BudgetTooSmall where trials are left, and the budget is not enough for one run of the cheapest row."""
    budget = tuning.asked.budget
    if budget is None:
        return
    left = {row.name: int(n_ended(tuning.of(row)) < tuning.trials) for row in tuning.asked.rows}
    if any(left.values()):
        refuse_too_small(budget, _plan(tuning, left))


# --- the runs --------------------------------------------------------------------------------------------------------


class Turns:
    """The searches of all rows as one source of runs: the next trial is that of the row that has begun the fewest."""

    def __init__(self, rows: Sequence[Runs]) -> None:
        """rows: each with its ledger."""
        self.rows = rows
        self.sets: dict[str, BuiltSet] = {}
        self.trackers: dict[str, Tracker] = {}
        self._begun = [sum(trial.state != "running" for trial in one.ledger.trials()) for one in rows]
        self._of: dict[str, int] = {}  # key → row
        self.tags: dict[str, dict[str, str]] = {}
        for one in rows:
            one.sets_by_key, one.trackers, one.tags = self.sets, self.trackers, self.tags

    @property
    def campaign(self) -> Campaign:
        """Of all rows together."""
        return reduce(Campaign.extended, (one.campaign for one in self.rows))

    @property
    def n_left(self) -> dict[str, int]:
        """Runs left to make, by row."""
        return {one.search.row.name: one.n_left for one in self.rows}

    def left(self) -> bool:
        """Whether any row has trials left."""
        return any(one.ledger.left() or one.open for one in self.rows)

    def record_with(self, tracker: Tracker) -> None:
        """From now on runs are recorded there."""
        for one in self.rows:
            one.tracker = tracker

    def row_of(self, job: Job) -> Runs:
        """The search that a run is of."""
        return self.rows[self._of[job.key]]

    def confirm(self) -> tuple[Job, ...]:
        """Each row's best again, at the asked seeds, with the test set; the first seed of every row before others."""
        jobs: list[Job] = []
        for at, one in enumerate(self.rows):
            of_row = one.confirm()
            self._of |= {job.key: at for job in of_row}
            jobs += of_row
        return tuple(sorted(jobs, key=lambda job: job.seed))

    def more(self) -> Sequence[Job] | None:
        """The runs of the next trial of the row whose turn it is, or of the first that need not wait."""
        waits = False
        for at in sorted(range(len(self.rows)), key=self._begun.__getitem__):
            jobs = self.rows[at].more()
            if jobs:
                self._begun[at] += 1
                self._of |= {job.key: at for job in jobs}
                return jobs
            waits |= jobs is not None
        return () if waits else None

    def ended(self, job: Job, failure: Failure | None) -> None:
        """A run has ended; its row hears of it."""
        self.row_of(job).ended(job, failure)

    def hear_out(self) -> None:
        """Every row has the last ends told, by which its best is chosen."""
        for one in self.rows:
            one.hear_out()

    def tell(self) -> None:
        """Every row passes on what it has heard."""
        for one in self.rows:
            one.tell()

    def gives_up(self, job: Job, rows: Sequence[Measurement]) -> bool:
        """Whether a run that has just reported these rows is to end now: within its row's search alone."""
        return self.row_of(job).gives_up(job, rows)


def tune(tuning: Tuning, report_published: Reporter, report: Callable[[Tuned], Path | None]) -> Tuned:
    """All that is left of it: the study as published, the searches of its rows, the best of each again.

    Raises what a person can mend, and KeyboardInterrupt.
    """
    from sweeps.records.write import Tracker
    from sweeps.search_storage import check_storage, default_storage

    check(tuning)
    refuse_cpus(tuning.asked, tuning.asked.profile)
    check_place(tuning.asked)
    check_storage(tuning.storage or default_storage())
    _check_budget(tuning)
    asked = tuning.asked
    with results_in(asked.out), contextlib.ExitStack() as stack:
        sets = Sets(asked)
        storage = tuning.storage or default_storage()
        rows = [Runs(sought, sought.base, sets) for sought in map(tuning.of, asked.rows)]
        for runs in rows:
            stack.enter_context(runs.opened(storage))
        turns = Turns(rows)
        plan = _plan(tuning, turns.n_left)
        if any(turns.n_left.values()):
            name = f"{tuning.study.name} tuned by {tuning.search.name}, trials and then the best again"
            say_what_is_left(plan, name, asked.budget)
        if asked.budget is not None:
            refuse_too_small(asked.budget, plan)
        ask(asked, plan)
        may_begin = _spending(tuning, turns, plan)
        if any(turns.n_left.values()):
            print("starting Ray")  # one for all: a second one in a process does not end well
            stack.enter_context(cluster(ship_code=asked.wanted.ship_code))
        published = conduct(asked, report_published)
        leave_document(turns.campaign, asked.out, tuning.folder)
        say: list[Callable[[str], None]] = [lambda text: print(text, file=sys.stderr)]
        tracker = None
        if any(turns.n_left.values()) or turns.confirm() or not is_recorded(turns.campaign):
            tracker = stack.enter_context(Tracker.open(turns.campaign, say=lambda text: say[-1](text)))
            turns.record_with(tracker)
        outcomes = []
        if turns.left():
            outcomes.append(_make(tuning, turns, (), plan.share, may_begin, say, published.campaigns[0], source=turns))
        if not any(outcome.interrupted for outcome in outcomes):
            turns.hear_out()
        if not any(outcome.interrupted for outcome in outcomes) and not turns.left():
            outcomes.append(_make(tuning, turns, turns.confirm(), plan.share, may_begin, say, published.campaigns[0]))
        if any(outcome.interrupted for outcome in outcomes):
            for problem in tracker.close("KILLED") if tracker else ():
                print(problem, file=sys.stderr)
            raise KeyboardInterrupt
        if tracker:
            tracker.settle(TOLD_WITHIN_S)
        tuned = Tuned(
            campaign=tracker.campaign if tracker else turns.campaign,
            published=published,
            record=record_of_tuning(tuning, rows, published.campaigns[0]),
            failed={key: reason for outcome in outcomes for key, reason in outcome.failed.items()},
            n_left=sum(turns.n_left.values()) - (0 if turns.left() else len(outcomes[-1].failed)),
            storage=storage,
        )
        leave_document(tuned.campaign, asked.out, tuning.folder)
        folder = report(tuned)
        for problem in tracker.close("KILLED" if tuned.n_left else "FINISHED", folder) if tracker else ():
            print(problem, file=sys.stderr)
        return tuned


def _make(
    tuning: Tuning,
    turns: Turns,
    jobs: Sequence[Job],
    share: float,
    may_begin: Callable[[Job], bool],
    say: list[Callable[[str], None]],
    published: Campaign,
    source: Turns | None = None,
) -> Outcome:
    """These jobs, or all trials that are left, as they are proposed."""

    def unfinished() -> Unfinished:
        ended = [sum(trial.state != "running" for trial in one.ledger.trials()) for one in turns.rows]
        snapshot = Snapshot(
            record=record_of_tuning(tuning, turns.rows, published),
            headline=f"{sum(ended)} of {len(ended) * tuning.trials} trials have ended",
            written_ms=round(1000 * time.time()),
            anew=tuning.asked.command,
        )
        return Unfinished(turns.campaign, tuning.folder, snapshot)

    work = sum(job.run.train_work() for job in jobs)
    if source is not None:
        work = sum(one.n_left * one.base.train_work() for one in source.rows)
    return make(
        tuning.asked,
        jobs,
        sets=turns.sets,
        trackers=turns.trackers,
        n=len(jobs) or sum(turns.n_left.values()),
        work=work,
        share=share,
        may_begin=may_begin,
        say=say,
        unfinished=unfinished,
        source=source,
        tags=turns.tags,
    )


def _spending(tuning: Tuning, turns: Turns, plan: Plan) -> Callable[[Job], bool]:
    """Whether a run may begin within the budget, which begins now: it costs what its settings say beside its row's."""
    budget, began = tuning.asked.budget, time.monotonic()
    if budget is None:
        return lambda _: True
    second = {run.job.row: run.seconds / run.job.run.train_work() for run in plan.runs}

    def may(job: Job) -> bool:
        seconds = second[turns.row_of(job).search.row.name] * job.run.train_work()
        return ends_within(budget, seconds, time.monotonic() - began)

    return may


# --- what came of it -------------------------------------------------------------------------------------------------


def record_of_tuning(tuning: Tuning, rows: Sequence[Runs], published: Campaign) -> TuningRecord:
    """What is known of a tuned study, as its report reads it."""
    from sweeps.records.read import finished

    asked, study = tuning.asked, tuning.study
    wanted = {(run.row, run.seed): run.key for run in published.runs if not run.data_seed and run.seed in asked.seeds}
    done = finished(wanted.values())
    metric = study.metric

    def tuned_row(runs: Runs) -> TunedRow:
        name, confirmed = runs.search.row.name, runs.confirmed()
        trials = replace(record_of(runs.sought, runs.ledger.trials(), confirmed), name=runs.sought.name)
        again = confirmed.get(trials.front[0].number, ()) if trials.front else ()
        settings = runs.base.flat()
        return TunedRow(
            name,
            trials,
            {one.setting: settings[one.setting] for one in tuning.search.space},
            {
                seed: done[key].metrics[metric]
                for (row, seed), key in wanted.items()
                if row == name and key in done and metric in done[key].metrics
            },
            {run.seed: run.metrics[metric] for run in again if metric in run.metrics},
            runs.base.train_work(),
        )

    return TuningRecord(
        study=study.name,
        search=tuning.search.name,
        title=study.title,
        profile=asked.profile,
        metric=metric,
        objective=tuning.search.objectives[0].metric,
        trials=tuning.trials,
        seeds=asked.seeds,
        rows=tuple(map(tuned_row, rows)),
        changes=tuning.campaign.changes,
        notes=tuple(note for note in (study.note, tuning.campaign.profile_note, tuning.search.note) if note),
    )
