"""Optuna: what a search proposes next, and how its trials ended, in Optuna's own storage.

A proposal is a pure function of the search, the trial's number and what it may know: the results of trials up to
number - lag, whoever was faster. It enters the storage in one transaction, and what is RUNNING there is to be run, or
run again: so a driver may be killed at any moment, and the same command goes on as if nothing had happened. Optuna's
heartbeat, its pruners and `ask` are not used; each of them depends on timing.
"""

from __future__ import annotations

import contextlib
import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from data_prep.redaction import redacted
from sweeps.search_spec import Choices, Dimension, Floats, Params, Search, Value, decide
from sweeps.search_storage import (
    KEYS,
    PRUNING_CURVE,
    SEEDS,
    WHY,
    OtherSearch,
    check_storage,
    connected,
    create,
    default_storage,
    explained,
    hold,
    reopen_failed,
    study_of,
)
from sweeps.trials import Proposal, Result, State, Trial, known_to, mean_of
from trm_core.config import RunConfig
from trm_core.settings import BadSetting

STATES: dict[TrialState, State] = {
    TrialState.WAITING: "running",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}
TRIAL_STATES = {state: trial_state for trial_state, state in STATES.items()}


# --- what is proposed ------------------------------------------------------------------------------------------------


def propose(search: Search, base: Mapping[str, Any], number: int, known: Sequence[Trial]) -> dict[str, Value]:
    """The values of trial `number`; the same for the same arguments, whenever and wherever it is asked.

    base: every setting of the base row, as RunConfig.flat(). known: the trials before it, as known_to() shows them.
    """
    directions = [objective.direction for objective in search.objectives]
    scratch = optuna.create_study(directions=directions, sampler=_sampler(search, number))
    dimensions = {dimension.name: _distribution(dimension) for dimension in search.space}
    scratch.add_trials([_frozen(trial, dimensions) for trial in known])
    trial = scratch.ask()
    return decide(search.space, base, lambda dimension: _suggest(trial, dimension))


def _sampler(search: Search, number: int) -> TPESampler:
    """Grouped, multivariate TPE, with a seed of this trial's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(
            seed=zlib.crc32(f"{search.seed}/{number}".encode()),
            multivariate=True,
            group=True,
            constant_liar=True,  # what is under way counts
            n_startup_trials=search.startup,
        )


def _distribution(dimension: Dimension) -> BaseDistribution:
    values = dimension.range
    if isinstance(values, Choices):
        return CategoricalDistribution(values.values)
    if isinstance(values, Floats):
        return FloatDistribution(values.low, values.high, log=values.log)
    return IntDistribution(values.low, values.high, log=values.log, step=values.step)


def _suggest(trial: optuna.Trial, dimension: Dimension) -> Value:
    name, values = dimension.name, dimension.range
    if isinstance(values, Choices):
        return trial.suggest_categorical(name, values.values)
    if isinstance(values, Floats):
        return trial.suggest_float(name, values.low, values.high, log=values.log)
    return trial.suggest_int(name, values.low, values.high, log=values.log, step=values.step)


def _frozen(trial: Trial, dimensions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    return create_trial(
        state=TRIAL_STATES[trial.state],
        params=dict(trial.params),
        distributions={name: dimensions[name] for name in trial.params},
        values=trial.values or None,
        intermediate_values=dict(trial.curve),
    )


# --- what is kept ----------------------------------------------------------------------------------------------------


class Ledger:
    """A search as it stands in the storage: what to run next, and where the results are told. Made by open_ledger().

    One driver, one thread. Every method raises StorageUnavailable where the storage does not answer, and may then be
    called again: nothing that was told is lost while this object is there.
    """

    def __init__(
        self,
        search: Search,
        base: RunConfig,
        study: optuna.Study,
        storage: RDBStorage,
        *,
        trials: int,
        key_of: Callable[[Params], tuple[str, ...]],
        known: Callable[[str], Result | None],
    ) -> None:
        self.search, self.n_trials = search, trials
        self._base, self._study, self._storage = base.flat(), study, storage
        self._study_id = storage.get_study_id_from_name(study.study_name)
        self._key_of, self._known = key_of, known
        self._open: dict[int, tuple[str, ...]] = {}  # trials that have not ended, and their keys
        self._to_hand_out: list[int] = []  # of them
        self._ended: dict[str, Result] = {}  # runs whose trial has not
        self._under_way: set[str] = set()
        self._over: dict[int, Trial] = {}  # those that have ended: nothing changes them any more
        there = self.trials()
        self._told = {trial.keys: _result(trial) for trial in there if trial.state != "running" and trial.keys}
        self._take_on(there)

    def trials(self) -> tuple[Trial, ...]:
        """All trials there are, by number."""
        with explained(self._storage.url, "read its trials"):
            found = self._study.get_trials(deepcopy=False)
        new = {one.number: _trial(one) for one in found if one.number not in self._over}
        self._over |= {number: trial for number, trial in new.items() if trial.state != "running"}
        return tuple(self._over.get(one.number) or new[one.number] for one in found)

    def known_to(self, number: int) -> tuple[Trial, ...]:
        """The trials that have ended and that trial `number` may be compared with."""
        return tuple(trial for trial in known_to(number, self.trials(), self.search.lag) if trial.state != "running")

    def left(self) -> bool:
        """Whether there is anything to hand out, now or when earlier trials have ended."""
        return bool(self._to_hand_out) or len(self.trials()) < self.n_trials

    def next(self) -> Proposal | None:
        """What to run now: first what an earlier driver left behind. None: wait for a trial to end, if any is left.

        A proposal whose runs are all known is told without being run; one whose runs are under way, with its twin.
        """
        while True:
            self._tell_what_has_ended()
            there = self.trials()
            self._take_on(there)
            if not self._to_hand_out:
                number = len(there)
                if number >= self.n_trials or any(earlier <= number - self.search.lag for earlier in self._open):
                    return None
                self._add(number, there)
                continue
            number = self._to_hand_out[0]
            keys = self._open[number]
            wanted = () if keys in self._told else dict.fromkeys(keys)
            to_run = tuple(key for key in wanted if not self._is_cared_for(key))
            self._under_way.update(to_run)
            self._to_hand_out.remove(number)
            if to_run:
                return Proposal(number, there[number].params, keys, to_run)

    def end(self, key: str, result: Result) -> tuple[int, ...]:
        """A run has ended. Returns the numbers of the trials that have ended with it, each now told.

        A value that is no finite number makes its trial a failed one; of a curve, points that are none are left out.
        """
        assert result.state != "running", key
        self._under_way.discard(key)
        self._ended[key] = result
        return self._tell_what_has_ended()

    def _is_cared_for(self, key: str) -> bool:
        """Whether a run has ended or is under way."""
        if key not in self._ended and key not in self._under_way and (known := self._known(key)) is not None:
            self._ended[key] = known
        return key in self._ended or key in self._under_way

    def _take_on(self, there: Sequence[Trial]) -> None:
        """Every trial that is RUNNING and new here is open. Raises OtherSearch."""
        for trial in there:
            if trial.state != "running" or trial.number in self._open:
                continue
            if not trial.keys:
                raise OtherSearch(
                    f"{self._study.study_name}: trial {trial.number} was added by another program; remove it, or start"
                    " a search under another name"
                )
            self._open[trial.number] = trial.keys
            if trial.number < self.n_trials:
                self._to_hand_out.append(trial.number)

    def _add(self, number: int, there: Sequence[Trial]) -> None:
        """Propose trial `number` and write it down, in one transaction."""
        params = propose(self.search, self._base, number, known_to(number, there, self.search.lag))
        keys: tuple[str, ...] = ()
        why = ""
        try:
            keys = self._key_of(params)
            assert keys, params
        except BadSetting as error:
            why = str(error)
        dimensions = {dimension.name: _distribution(dimension) for dimension in self.search.space}
        trial = create_trial(
            state=TrialState.FAIL if why else TrialState.RUNNING,
            params=params,
            distributions={name: dimensions[name] for name in params},
            user_attrs={WHY: why} if why else {KEYS: list(keys), SEEDS: list(self.search.trial_seeds)},
        )
        with explained(self._storage.url, f"add trial {number}"):
            self._study.add_trial(trial)

    def _tell_what_has_ended(self) -> tuple[int, ...]:
        """Tell each open trial whose runs have all ended, and its twins."""
        told = []
        for number, keys in tuple(self._open.items()):
            if keys not in self._told and all(key in self._ended for key in keys):
                self._told[keys] = self._checked(mean_of([self._ended[key] for key in keys]))
            if keys in self._told:
                self._tell(number, self._told[keys])
                del self._open[number]
                self._to_hand_out = [other for other in self._to_hand_out if other != number]
                told.append(number)
        wanted = {key for keys in self._open.values() for key in keys}
        self._ended = {key: result for key, result in self._ended.items() if key in wanted}
        return tuple(told)

    def _checked(self, result: Result) -> Result:
        """The result as it can be told: Optuna takes an infinite value for a good one, and NaN for none."""
        n = len(self.search.objectives)
        curve = {step: value for step, value in result.curve.items() if math.isfinite(value)} if n == 1 else {}
        state, values, why = result.state, result.values, result.why
        if state == "complete" and (len(values) != n or not all(map(math.isfinite, values))):
            state, why = "failed", f"no finite value of every objective: {', '.join(map(str, values)) or 'none'}"
        return Result(state, values if state == "complete" else (), curve, result.pruning_curve, why)

    def _tell(self, number: int, result: Result) -> None:
        """Write a result down; its state last, so that a trial is RUNNING until all else is there."""
        with explained(self._storage.url, f"end trial {number}"):
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
            for step, value in result.curve.items():
                self._storage.set_trial_intermediate_value(trial_id, step, value)
            if result.pruning_curve:
                self._storage.set_trial_user_attr(trial_id, PRUNING_CURVE, list(result.pruning_curve.items()))
            if result.why:
                self._storage.set_trial_user_attr(trial_id, WHY, result.why)
            self._study.tell(number, list(result.values) or None, TRIAL_STATES[result.state])


def _trial(trial: FrozenTrial) -> Trial:
    attributes = trial.user_attrs
    return Trial(
        trial.number,
        trial.params,
        tuple(attributes.get(KEYS, ())),
        STATES[trial.state],
        tuple(trial.values or ()),
        dict(sorted(trial.intermediate_values.items())),
        dict(attributes.get(PRUNING_CURVE, ())),
        attributes.get(WHY, ""),
        trial.datetime_start,
        trial.datetime_complete,
    )


def _result(trial: Trial) -> Result:
    """What a trial's twin is told."""
    values = trial.values if trial.state == "complete" else ()
    return Result(trial.state, values, trial.curve, trial.pruning_curve, trial.why)


# --- opened and read -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def open_ledger(
    search: Search,
    base: RunConfig,
    *,
    name: str,
    key_of: Callable[[Params], tuple[str, ...]],
    known: Callable[[str], Result | None],
    storage: str | None = None,
    data: str = "",
    trials: int | None = None,
    retry_failed: bool = False,
) -> Iterator[Ledger]:
    """The search `name` in this storage, begun or gone on with, and no other driver's meanwhile.

    base: the base row at its profile with the command's changes, data: the hash of its puzzles. key_of: the keys of a
    proposal's runs, one per seed; where it raises BadSetting, the proposal has failed. known: how a run has ended that
    this search has not made, None where it is to be made. trials: more than before to go on, instead of search.trials.
    retry_failed: what has failed is run again, under its number.
    Raises StorageUnavailable within about 15 s, OtherSearch, SearchHeld.
    """
    url = storage or default_storage()
    with contextlib.ExitStack() as stack:
        check_storage(url)
        create(url)
        database = connected(url)
        stack.callback(database.engine.dispose)
        stack.enter_context(hold(database, name))
        with explained(url, f"open {name}"):
            study = study_of(database, name, search, search.identity(base, data))
            if retry_failed:
                reopen_failed(database, name)
        yield Ledger(
            search,
            base,
            study,
            database,
            trials=search.trials if trials is None else trials,
            key_of=key_of,
            known=known,
        )


def read_trials(name: str, storage: str | None = None) -> tuple[Trial, ...]:
    """The trials of a search as they stand; nothing is written. Raises StorageUnavailable, OtherSearch."""
    url = storage or default_storage()
    check_storage(url, must_be_there=True)
    database = connected(url, to_write=False)
    try:
        with explained(url, "be read"):
            names = [study.study_name for study in database.get_all_studies()]
            if name not in names:
                raise OtherSearch(f"{name}: no such search in {redacted(url)}; {_those_there(names)}")
            return tuple(map(_trial, database.get_all_trials(database.get_study_id_from_name(name))))
    finally:
        database.engine.dispose()


def _those_there(names: Sequence[str]) -> str:
    return f"there are {', '.join(names)}" if names else "it is empty"
