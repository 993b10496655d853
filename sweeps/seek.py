"""A search, top to bottom in `seek`: Optuna proposes, runs are made like any other, the best are confirmed.

Selection never sees the test set: a trial's runs look at validation alone (train.evaluate_on). When the trials have
ended, the best of them are made again with fresh seeds, and only these are evaluated on the test set, once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from sweeps.budget import may_begin, refuse_too_small
from sweeps.campaign import Campaign, CampaignRow, CampaignRun, Job
from sweeps.changes import label, normal
from sweeps.machines import cluster
from sweeps.means import Means, ask, leave_document, plan_of, results_in
from sweeps.packing import arrange, largest
from sweeps.plan import Plan
from sweeps.profiles import PROFILES, configure
from sweeps.pruning import Curve, Rule, given_up_at, report_on
from sweeps.puzzles import BuiltSet, build_all, check_sources, set_of
from sweeps.screen import paragraph, say_what_is_left
from sweeps.search_record import Axis, Confirmed, Objective, SearchRecord
from sweeps.search_record import State as Word
from sweeps.search_record import Trial as Seen
from sweeps.search_spec import Choices, Dimension, Floats, Params, Pruning, Search
from sweeps.study import ProfileName, Row, Study
from trm_core.command_line import BadCommand
from trm_core.config import DataSettings, RunConfig

if TYPE_CHECKING:
    from sweeps.failures import Failure
    from sweeps.launch import Outcome, Source
    from sweeps.records.types import Measurement, RunRecord
    from sweeps.records.write import Tracker
    from sweeps.search import Ledger
    from sweeps.trials import Proposal, Result, Trial

VALIDATION_ALONE = "train.evaluate_on=validation"
TOLD_WITHIN_S = 20.0  # MLflow has a run's end before Optuna does
EVERYTHING = "validation and test"
EXACT = "test/exact_accuracy"
STATES: dict[str, Word] = {"running": "RUNNING", "complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


@dataclass(frozen=True, kw_only=True)
class Sought(Means):
    """A search as it was asked for."""

    search: Search
    profile: ProfileName
    changes: tuple[str, ...]
    trials: int
    storage: str | None  # Optuna's; None: beside MLflow's

    @property
    def study(self) -> Study:
        """The search as a study of one row, which a profile can configure."""
        return study_of(self.search)

    @property
    def base(self) -> RunConfig:
        """The base row at its scale, looking at validation alone. Raises BadSetting."""
        changes = [*self.changes, VALIDATION_ALONE]
        return configure(self.study, self.search.row, self.profile, 0, changes)

    @property
    def name(self) -> str:
        """In Optuna's storage: "lr_wd/mini", "lr_wd/mini/D=96"."""
        return "/".join(part for part in (self.search.name, self.profile, self.label) if part)

    @property
    def label(self) -> str:
        """Of its campaign."""
        return label(self.changes)

    @property
    def confirming_seeds(self) -> tuple[int, ...]:
        """Those at which the best are made again."""
        return self.search.confirming_seeds

    def campaign_id(self, data: str) -> str:
        """Of the campaign that holds its runs. data: the hash of its puzzles."""
        return id_of(self.name, self.search.identity(self.base, data))

    def row_name(self, number: int, *, confirmed: bool = False) -> str:
        """A trial's row in its campaign."""
        return f"trial {number}, confirmed" if confirmed else f"trial {number}"


def id_of(*identity: object) -> str:
    """A campaign's id: 16 hex digits of what makes it this one."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def study_of(search: Search) -> Study:
    """A search as a study of one row."""
    return Study(
        name=f"search_{search.name}",
        title=search.title,
        puzzle=search.puzzle,
        source="a search of this project",
        rows=(search.row,),
        metric=search.objectives[0].metric,
        note=search.note,
    )


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


def _check_budget(sought: Sought, records: Sequence[RunRecord]) -> None:
    """Raises BudgetTooSmall where trials are left, and the budget is not enough for a run like the base row's."""
    from sweeps.search import OtherSearch, StorageUnavailable, default_storage, read_trials

    if sought.budget is None:
        return
    ended = 0
    with contextlib.suppress(OtherSearch, StorageUnavailable):  # it is new; or open_ledger() says what is wrong
        trials = read_trials(sought.name, sought.storage or default_storage())
        ended = sum(trial.state != "running" for trial in trials)
    if ended < sought.trials:
        refuse_too_small(sought.budget, plan_search(sought, 1, records))


def seek(sought: Sought, report: Callable[[Found], Path | None]) -> Found:
    """All that is left of a search. Raises what a person can mend, and KeyboardInterrupt."""
    from sweeps.records import address
    from sweeps.records.read import read_runs
    from sweeps.records.write import Tracker
    from sweeps.search import check_storage, default_storage

    base = check(sought)
    address.check_address()
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
        tracker = stack.enter_context(Tracker.open(runs.campaign, say=lambda text: say[-1](text)))
        runs.tracker = tracker
        with cluster() if plan.todo else contextlib.nullcontext():  # one Ray: a second in a process does not end well
            outcomes = [_launch(sought, runs, plan, (), say, source=runs)] if ledger.left() or runs.open else []
            if not any(outcome.interrupted for outcome in outcomes) and not ledger.left():
                outcomes.append(_launch(sought, runs, plan, runs.confirm(), say, source=None))
        if any(outcome.interrupted for outcome in outcomes):
            for problem in tracker.close("KILLED"):
                print(problem, file=sys.stderr)
            raise KeyboardInterrupt
        tracker.settle(TOLD_WITHIN_S)
        failed = {key: reason for outcome in outcomes for key, reason in outcome.failed.items()}
        trials = ledger.trials()
        n_left = sought.trials - sum(trial.state != "running" for trial in trials)
        found = Found(tracker.campaign, trials, runs.best(), runs.confirmed(), failed, max(0, n_left), storage)
        folder = report(found)
        for problem in tracker.close("KILLED" if n_left > 0 else "FINISHED", folder):
            print(problem, file=sys.stderr)
        return found


def _say(sought: Sought, plan: Plan) -> None:
    """What is left to do, or that nothing is."""
    if plan.todo:
        say_what_is_left(plan, f"search {sought.name}, trials and then the best again", sought.budget)
    else:
        done = f"{sought.trials} of {sought.trials} trials are done already, and the best are confirmed"
        print(paragraph(f"search {sought.name}: {done}"))


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
    source: Source | None = None,
    tags: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> Outcome:
    """Launch these jobs, or those of a source, n runs of so much work in all, with their progress on the screen.

    share: of a GPU that each has.
    """
    from sweeps.launch import Outcome, launch
    from sweeps.progress import Progress

    if not jobs and source is None:
        return Outcome()
    with Progress(runs=n, done=0, work=work) as progress:
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
            )
        finally:
            say.pop()


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
        source=source,
        tags=runs.tags,
    )


class Sets(dict[DataSettings, BuiltSet]):
    """The puzzle set of each data settings, built when it is first asked for."""

    def __init__(self, means: Means) -> None:
        super().__init__()
        self._means = means

    def __missing__(self, data: DataSettings) -> BuiltSet:
        self[data] = build_all([data], self._means.data, self._means.out)[set_of(data)]
        return self[data]


class Runs:
    """The runs of a search: trials as Optuna proposes them, and what it is told of their ends."""

    def __init__(self, sought: Sought, base: RunConfig, sets: Sets) -> None:
        self.sought, self.base, self.sets = sought, base, sets
        self.search = sought.search
        self.sets_by_key: dict[str, BuiltSet] = {}
        self.trackers: dict[str, Tracker] = {}
        self.tracker: Tracker | None = None
        self.tags: dict[str, dict[str, str]] = {}  # key → of its run, beside the usual ones
        self._curves: dict[str, dict[int, float]] = {}  # key → what pruning looks at, of runs under way
        self._rivals: dict[str, tuple[Rule, tuple[Curve, ...]] | None] = {}  # key → what it is held against
        self.open: set[str] = set()  # keys under way
        self._to_tell: list[tuple[str, Result]] = []

    @contextlib.contextmanager
    def opened(self, storage: str) -> Iterator[Ledger]:
        """The search's ledger in this storage, from which trials come. Raises as open_ledger()."""
        from sweeps.search import open_ledger

        with open_ledger(
            self.search,
            self.base,
            name=self.sought.name,
            key_of=self.keys_of,
            known=self.known,
            storage=storage,
            data=self.sets[self.base.data].content_hash,
            trials=self.sought.trials,
            retry_failed=self.sought.retry_failed,
        ) as ledger:
            self.ledger = ledger
            self.campaign = self._campaign(ledger.trials())
            yield ledger

    @property
    def n_left(self) -> int:
        """Runs of trials that have not ended, and of what is to be confirmed."""
        ended = sum(trial.state != "running" for trial in self.ledger.trials())
        trials = max(0, self.sought.trials - ended) * self.search.seeds
        confirming = self.search.confirmation.best * self.search.confirmation.seeds
        return trials + (confirming if trials else len(self._unconfirmed()))

    # --- trials as runs ----------------------------------------------------------------------------------------------

    def run_of(self, params: Params, seed: int, *, confirmed: bool = False) -> RunConfig:
        """The run of a proposal at a seed. Raises BadSetting."""
        change = {section: dict(values) for section, values in self.search.change_of(params).items()}
        train = {"seed": seed, **({"evaluate_on": EVERYTHING} if confirmed else {})}
        return self.base.change(change).change({"train": train})

    def _key(self, run: RunConfig) -> str:
        return run.key(self.sets[run.data].content_hash)

    def keys_of(self, params: Params) -> tuple[str, ...]:
        """The keys of a proposal's runs, one per seed. Raises BadSetting."""
        return tuple(self._key(self.run_of(params, seed)) for seed in self.search.trial_seeds)

    def _campaign(self, trials: Sequence[Trial], confirmed: Sequence[Trial] = ()) -> Campaign:
        """The campaign of these trials: a row of each, and one of each that is confirmed."""
        rows: list[CampaignRow] = []
        runs: list[CampaignRun] = []
        for trial, again in (*((trial, False) for trial in trials if trial.keys), *((one, True) for one in confirmed)):
            name = self.sought.row_name(trial.number, confirmed=again)
            rows.append(CampaignRow(name=name, settings=self.run_of(trial.params, 0, confirmed=again)))
            for seed in self.sought.confirming_seeds if again else self.search.trial_seeds:
                run = self.run_of(trial.params, seed, confirmed=again)
                data = self.sets[run.data].content_hash
                runs.append(CampaignRun(row=name, seed=seed, data_seed=run.data.seed, data=data, key=run.key(data)))
        study = self.sought.study
        declared = [Row(name=row.name, base=self.search.row.base, puzzle=self.search.on) for row in rows]
        return Campaign(
            id=self.sought.campaign_id(self.sets[self.base.data].content_hash),
            label=self.sought.label,
            study=study.model_copy(update={"rows": tuple(declared) or study.rows}),
            profile=self.sought.profile,
            comparable=False,
            profile_note=PROFILES[self.sought.profile].note,
            changes=normal(self.sought.changes),
            rows=tuple(rows) or (CampaignRow(name=self.search.row.name, settings=self.base),),
            runs=tuple(runs),
            command=self.sought.command,
        )

    def _take_on(self, jobs: Sequence[Job]) -> None:
        assert self.tracker is not None
        self.tracker.extend(self.campaign)
        for job in jobs:
            self.sets_by_key[job.key] = self.sets[job.run.data]
            self.trackers[job.key] = self.tracker

    # --- what the launch asks and tells -------------------------------------------------------------------------------

    def more(self) -> Sequence[Job] | None:
        """The runs of the next trial."""
        if not self._tell():
            return ()
        proposal = self.ledger.next()
        if proposal is None:
            return () if self.ledger.left() or self.open else None
        self.campaign = self._campaign(self.ledger.trials())
        jobs = self.campaign.jobs(proposal.to_run)
        self._take_on(jobs)
        self._rivals |= dict.fromkeys((job.key for job in jobs), self._rivals_of(proposal))
        self.tags.update({job.key: {"trial": str(proposal.number)} for job in jobs})
        self.open |= {job.key for job in jobs}
        return jobs

    def ended(self, job: Job, failure: Failure | None) -> None:
        """A run has ended; Optuna hears of it once MLflow has it."""
        from sweeps.trials import Result

        self.open.discard(job.key)
        result = Result("failed", why=failure.reason) if failure is not None else self._result(job)
        self._curves.pop(job.key, None)
        self._to_tell.append((job.key, result))
        self._tell()

    def _rivals_of(self, proposal: Proposal) -> tuple[Rule, tuple[Curve, ...]] | None:
        """By which rule, and against which curves: they are settled when a trial begins, so no one's speed counts."""
        if self.search.pruning is None:
            return None
        known = self.ledger.known_to(proposal.number)
        rule = rule_of(self.search, self.run_of(proposal.params, 0).train.steps, known)
        if rule.protects(proposal.params):
            return None
        return rule, tuple(trial.pruning_curve for trial in known if trial.state != "failed")

    def gives_up(self, job: Job, rows: Sequence[Measurement]) -> bool:
        """Whether the search prunes a run that has just reported these rows."""
        if self.search.pruning is None:
            return False
        curve = self._curves.setdefault(job.key, {})
        curve |= curve_in(rows, self.search.pruning.metric)
        return self._given_up_at(job, curve) is not None

    def _given_up_at(self, job: Job, curve: Curve) -> int | None:
        """At its last step nothing is left to save."""
        rivals = self._rivals.get(job.key)
        step = given_up_at(curve, rivals[1], rivals[0]) if rivals else None
        return step if step is not None and step < job.run.train.steps else None

    def _tell(self) -> bool:
        """Whether Optuna knows all that is known."""
        assert self.tracker is not None
        if self._to_tell and not self.tracker.settle(TOLD_WITHIN_S):
            return False
        while self._to_tell:
            key, result = self._to_tell[0]
            self.ledger.end(key, result)
            self._to_tell.pop(0)
        return True

    def _result(self, job: Job) -> Result:
        """What a finished run says: its journal here, else its record in MLflow."""
        from sweeps.trials import Result
        from sweeps.worker import read_journal

        rows = read_journal(self.sought.out / "runs" / job.key / "metrics.jsonl")
        metric, pruning = self.search.objectives[0].metric, self.search.pruning
        looked_at = curve_in(rows, pruning.metric) if pruning else {}
        if (end := self._given_up_at(job, looked_at)) is not None:
            curve = curve_in([row for row in rows if row.step <= end], metric)
            return Result("pruned", (), curve, {step: value for step, value in looked_at.items() if step <= end})
        if not rows or rows[-1].step < job.run.train.steps:
            return self.known(job.key) or Result("failed", why="finished elsewhere, and its record is gone")
        last = {name: value for row in rows for name, value in row.metrics.items()}
        return Result("complete", self.search.values(job.run, last), curve_in(rows, metric), looked_at)

    def known(self, key: str) -> Result | None:
        """How a run has ended that this search has not made, as MLflow has it; None where it is to be made."""
        from sweeps.plan import recorded_settings
        from sweeps.records.read import finished, read_curve
        from sweeps.trials import Result

        record = finished([key]).get(key)
        if record is None or (run := recorded_settings(record.params)) is None:
            return None
        curve = dict(read_curve(record.run_id, self.search.objectives[0].metric))
        pruning = self.search.pruning
        looked_at = dict(read_curve(record.run_id, pruning.metric)) if pruning else {}
        return Result("complete", self.search.values(run, record.metrics), curve, looked_at)

    def spending(self, plan: Plan) -> Callable[[Job], bool]:
        """Whether a run may begin: one that costs what its settings say beside the base row's."""
        import time

        budget, began = self.sought.budget, time.monotonic()
        if budget is None:
            return lambda _: True
        second = plan.runs[0].seconds / self.base.train_work()
        return lambda job: may_begin(budget, second * job.run.train_work(), time.monotonic() - began)

    # --- confirmation -------------------------------------------------------------------------------------------------

    def best(self) -> tuple[Trial, ...]:
        """The trials to be confirmed: the best by validation, each settings once; of several objectives the front's."""
        trials = {trial.number: trial for trial in self.ledger.trials()}
        record = record_of(self.sought, tuple(trials.values()))
        ranked = [trials[one.number] for one in record.ranked if one in record.complete]
        distinct = {trial.keys: trial for trial in reversed(ranked)}
        return tuple(sorted(distinct.values(), key=ranked.index))[: self.search.confirmation.best]

    def _unconfirmed(self) -> list[str]:
        from sweeps.records.read import finished

        keys = [self._key(run) for trial in self.best() for run in self._confirming(trial)]
        done = finished(keys)
        return [key for key in keys if key not in done]

    def _confirming(self, trial: Trial) -> list[RunConfig]:
        return [self.run_of(trial.params, seed, confirmed=True) for seed in self.sought.confirming_seeds]

    def confirm(self) -> tuple[Job, ...]:
        """The best trials again, with fresh seeds, and with the test set; the first seed of each before the second."""
        best = self.best()
        self.campaign = self._campaign(self.ledger.trials(), best)
        jobs = self.campaign.jobs(self._unconfirmed())
        self.tags |= {
            self._key(run): {"confirms": str(trial.number)} for trial in best for run in self._confirming(trial)
        }
        self._take_on(jobs)
        return tuple(sorted(jobs, key=lambda job: job.seed))

    def confirmed(self) -> dict[int, tuple[RunRecord, ...]]:
        """The finished runs with fresh seeds, by trial."""
        from sweeps.records.read import finished

        keys = {trial.number: [self._key(run) for run in self._confirming(trial)] for trial in self.best()}
        done = finished([key for of_trial in keys.values() for key in of_trial])
        found = {number: tuple(done[key] for key in of_trial if key in done) for number, of_trial in keys.items()}
        return {number: records for number, records in found.items() if records}


def curve_in(rows: Sequence[Measurement], metric: str) -> dict[int, float]:
    """A metric of a journal's rows: step → value, those that are numbers."""
    return {row.step: value for row in rows if math.isfinite(value := row.metrics.get(metric, math.nan))}


def rule_of(search: Search, steps: int, known: Sequence[Trial]) -> Rule:
    """By what a trial of so many steps is pruned. A rung that was not measured decides nothing.

    Measured is what the search declares; without that, what the complete ones of these trials say. Those that were
    pruned have no end and vouch for nothing.
    """
    pruning = search.pruning
    assert pruning is not None
    rungs = rungs_of(pruning, steps)
    declared = dict(zip(rungs, pruning.measured, strict=False))  # a short run: two rungs at one step
    complete = {trial.number: trial for trial in known if trial.state == "complete"}
    measured = (
        declared
        or report_on(
            {number: trial.pruning_curve for number, trial in complete.items()},
            {number: trial.values[0] for number, trial in complete.items()},
            rungs,
            (),
            direction=pruning.direction,
            finals_direction=search.objectives[0].direction,
        ).measured
    )
    return Rule(
        metric=pruning.metric,
        direction=pruning.direction,
        rungs=rungs,
        keep=pruning.keep,
        measured=measured,
        plateau=pruning.plateau,
        startup=pruning.startup,
        protect=pruning.protect,
    )


def rungs_of(pruning: Pruning, steps: int) -> tuple[int, ...]:
    """The rungs of a run of so many steps."""
    return tuple(sorted({max(1, round(rung * steps)) for rung in pruning.rungs}))


def record_of(
    sought: Sought, trials: Sequence[Trial], confirmed: Mapping[int, Sequence[RunRecord]] | None = None
) -> SearchRecord:
    """What is known of a search, as its report reads it."""
    objectives = tuple(Objective(one.metric, one.direction) for one in sought.search.objectives)
    metric = sought.search.objectives[0].metric
    test_metric = metric.replace("validation/", "test/") if metric.startswith("validation/") else EXACT
    return SearchRecord(
        name=sought.search.name,
        profile=sought.profile,
        objectives=objectives,
        space=tuple(map(_axis, sought.search.space)),
        trials=tuple(
            Seen(
                trial.number,
                STATES[trial.state],
                trial.params,
                trial.values if trial.state == "complete" else (),
                trial.pruning_curve or trial.curve,
                trial.keys,
                trial.began,
                trial.ended,
                trial.why,
            )
            for trial in trials
        ),
        confirmed=tuple(
            Confirmed(
                number,
                tuple(run.seed for run in runs),
                tuple(run.metrics[metric] for run in runs if metric in run.metrics),
                tuple(run.metrics[test_metric] for run in runs if test_metric in run.metrics),
            )
            for number, runs in (confirmed or {}).items()
        ),
        test_metric=test_metric,
        curve_metric=sought.search.pruning.metric if sought.search.pruning else metric,
        title=sought.search.title,
        facts=(
            ("Base row", sought.search.row.name),
            ("Profile", sought.profile),
            *([("Changes", ", ".join(sought.changes))] if sought.changes else []),
        ),
        notes=(sought.search.note,) if sought.search.note else (),
    )


def _axis(dimension: Dimension) -> Axis:
    """A dimension as the report reads it."""
    name, setting, values = dimension.name, dimension.setting, dimension.range
    if isinstance(values, Choices):
        return Axis(name, choices=values.values, setting=setting)
    step = 0 if isinstance(values, Floats) else values.step
    return Axis(name, values.low, values.high, values.log, step, setting=setting)
