"""The runs of a search: trials as Optuna proposes them, what it is told of their ends, and the best of them again."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from sweeps.budget import may_begin
from sweeps.campaign import Campaign, CampaignRow, CampaignRun, Job
from sweeps.changes import normal
from sweeps.means import Means
from sweeps.plan import Plan
from sweeps.profiles import PROFILES
from sweeps.pruning import Curve, Rule, given_up_at, report_on
from sweeps.puzzles import BuiltSet, build_all, set_of
from sweeps.records.address import TrackingUnavailable
from sweeps.search_spec import Params, Pruning, Search
from sweeps.sought import Sought, record_of
from sweeps.study import Row
from trm_core.config import RunConfig
from trm_core.settings import DataSettings

if TYPE_CHECKING:
    from sweeps.failures import Failure
    from sweeps.records.types import Measurement, RunRecord
    from sweeps.records.write import Tracker
    from sweeps.search import Ledger
    from sweeps.trials import Proposal, Result, Trial

TOLD_WITHIN_S = 20.0  # MLflow has a run's end before Optuna does
EVERYTHING = "validation and test"


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
        self._to_tell: list[tuple[Job, Failure | None]] = []
        self._proposal: Proposal | None = None  # handed out, and not recorded yet: MLflow was silent
        self._rows: dict[tuple[int, bool], tuple[CampaignRow, tuple[CampaignRun, ...]]] = {}  # (trial, confirmed) →

    @contextlib.contextmanager
    def opened(self, storage: str) -> Iterator[Ledger]:
        """The search's ledger in this storage, from which trials come. Raises as open_ledger()."""
        from sweeps.search import open_ledger
        from sweeps.search_storage import StorageUnavailable

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
            try:
                yield ledger
            finally:
                with contextlib.suppress(TrackingUnavailable, StorageUnavailable):
                    self.tell()

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
            row, of_row = self._row_of(trial, confirmed=again)
            rows.append(row)
            runs += of_row
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

    def _row_of(self, trial: Trial, *, confirmed: bool) -> tuple[CampaignRow, tuple[CampaignRun, ...]]:
        """A trial's row and its runs; worked out once, since the campaign grows by every trial."""
        if (known := self._rows.get((trial.number, confirmed))) is not None:
            return known
        name = self.sought.row_name(trial.number, confirmed=confirmed)
        seeds = self.sought.confirming_seeds if confirmed else self.search.trial_seeds
        runs = []
        for seed in seeds:
            run = self.run_of(trial.params, seed, confirmed=confirmed)
            data = self.sets[run.data].content_hash
            runs.append(CampaignRun(row=name, seed=seed, data_seed=run.data.seed, data=data, key=run.key(data)))
        row = CampaignRow(name=name, settings=self.run_of(trial.params, 0, confirmed=confirmed))
        return self._rows.setdefault((trial.number, confirmed), (row, tuple(runs)))

    def _take_on(self, jobs: Sequence[Job]) -> None:
        if self.tracker is None:  # nothing is left to do, so nothing is recorded
            assert not jobs
            return
        self.tracker.extend(self.campaign)
        for job in jobs:
            self.sets_by_key[job.key] = self.sets[job.run.data]
            self.trackers[job.key] = self.tracker

    # --- what the launch asks and tells -------------------------------------------------------------------------------

    def more(self) -> Sequence[Job] | None:
        """The runs of the next trial."""
        self.tell()
        self._proposal = self._proposal or self.ledger.next()
        if self._proposal is None and self._to_tell:  # it may depend on what has ended
            self.hear_out()
            self._proposal = self.ledger.next()
        if (proposal := self._proposal) is None:
            return () if self.ledger.left() or self.open or self._to_tell else None
        self.campaign = self._campaign(self.ledger.trials())
        jobs = self.campaign.jobs(proposal.to_run)
        self._take_on(jobs)
        self._rivals |= dict.fromkeys((job.key for job in jobs), self._rivals_of(proposal))
        self.tags.update({job.key: {"trial": str(proposal.number)} for job in jobs})
        self.open |= {job.key for job in jobs}
        self._proposal = None
        return jobs

    def ended(self, job: Job, failure: Failure | None) -> None:
        """A run has ended; Optuna hears of it once MLflow has it."""
        self.open.discard(job.key)
        self._curves.pop(job.key, None)
        self._to_tell.append((job, failure))

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
        return self._given_up_at(job, _without_gaps(curve, job.run, self.search.pruning.metric)) is not None

    def _given_up_at(self, job: Job, curve: Curve) -> int | None:
        """At its last step nothing is left to save."""
        rivals = self._rivals.get(job.key)
        step = given_up_at(curve, rivals[1], rivals[0]) if rivals else None
        return step if step is not None and step < job.run.train.steps else None

    def hear_out(self) -> None:
        """Wait until MLflow has all ends, and tell Optuna of them; of those that it does not take in time, not."""
        if self._to_tell and self.tracker is not None:
            self.tracker.settle(TOLD_WITHIN_S)
        self.tell()

    def tell(self) -> None:
        """Tell Optuna of the runs whose end MLflow has by now; nobody waits for the others, training least of all."""
        for ended in tuple(self._to_tell):
            job, failure = ended
            assert self.tracker is not None
            if self.tracker.has_the_end_of(job.key):
                self.ledger.end(job.key, self._result(job, failure))
                self._to_tell.remove(ended)

    def _result(self, job: Job, failure: Failure | None) -> Result:
        """What a run says that has ended: its journal here, else its record in MLflow; a failed one, why."""
        from sweeps.journal import read_journal
        from sweeps.trials import Result

        if failure is not None:
            return Result("failed", why=failure.reason)
        rows, lost = [], "finished, and neither its journal nor MLflow has what it came to"
        try:
            rows = read_journal(self.sought.out / "runs" / job.key / "metrics.jsonl")
        except OSError as error:  # a trouble of this run alone
            lost = str(error)
        metric, pruning = self.search.objectives[0].metric, self.search.pruning
        looked_at = curve_in(rows, pruning.metric) if pruning else {}
        if (end := self._given_up_at(job, looked_at)) is not None:
            curve = curve_in([row for row in rows if row.step <= end], metric)
            return Result("pruned", (), curve, {step: value for step, value in looked_at.items() if step <= end})
        if not rows or rows[-1].step < job.run.train.steps:
            return self.known(job.key) or Result("failed", why=lost)
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


def _without_gaps(curve: Curve, run: RunConfig, metric: str) -> Curve:
    """As far as nothing is due of it: evaluations made apart do not come in the order of their steps."""
    every, steps = run.train.eval_every, run.train.steps
    if not run.train.evaluate_apart or not metric.startswith("validation/"):
        return curve
    due = next((step for step in range(every, steps, every) if step not in curve), steps)
    return {step: value for step, value in curve.items() if step < due}


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
