"""What a search proposes, what it keeps, and that it can be killed."""

from __future__ import annotations

import json
import logging
import math
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from sweeps.search import Ledger, propose, read_trials
from sweeps.search_spec import Choices, Dimension, Floats, Integers, Objective
from sweeps.search_storage import StorageUnavailable
from sweeps.trials import Result, Trial, known_to, mean_of
from tests.sweeps.toy_search import BASE, FEW, KILLED_TRIALS, NAME, drive, facts, first, keys_of, ledger, run, toy
from trm_core.settings import BadSetting

ROOT = Path(__file__).parents[2]


def _one_step_each(of: Ledger, end: Result) -> None:
    while (proposal := of.next()) is not None:
        for key in proposal.to_run:
            of.end(key, end)


# --- proposals -------------------------------------------------------------------------------------------------------


def test_the_same_seed_proposes_the_same_first_ten_also_in_another_process() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.sweeps.toy_search", "first", "10"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(told.stdout) == first(10)
    assert told.stderr == ""
    assert len({json.dumps(params) for params in first(10)}) == 10


def test_another_seed_proposes_others() -> None:
    assert propose(toy(seed=1), BASE.flat(), 0, ()) != propose(toy(), BASE.flat(), 0, ())


def test_the_order_in_which_runs_end_moves_no_proposal(storage: str, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "optuna.db", tmp_path / "other.db")
    with ledger(storage) as one:
        drive(one, places=1)
    with ledger(f"sqlite:///{tmp_path / 'other.db'}") as other:
        drive(other, places=6, order=random.Random(5))
        assert facts(one.trials()) == facts(other.trials())
        assert {trial.state for trial in other.trials()} == {"complete", "pruned", "failed"}


def test_a_search_learns_from_what_has_ended(storage: str) -> None:
    space = (Dimension(setting="optim.lr", range=Floats(low=1e-4, high=1e-1, log=True)),)

    def distance(key: str) -> float:
        lr: float = json.loads(key.rsplit(" ", 1)[0])["optim.lr"]
        return abs(math.log10(lr) + 2.5)

    with ledger(storage, toy(space=space, trials=30, seeds=1)) as of:
        drive(of, end=lambda key: Result("complete", (-distance(key),)))
        far = [distance(trial.keys[0]) for trial in of.trials()]
    assert sum(far[15:]) < sum(far[:15]) / 2


def test_a_trial_may_know_results_up_to_its_lag_and_of_later_ones_that_they_are_under_way() -> None:
    there = [Trial(number, {}, (str(number),), "complete", (1.0,), {1: 1.0}) for number in range(6)]
    known = known_to(5, there, lag=3)
    assert [trial.number for trial in known] == [0, 1, 2, 3, 4]
    assert [trial.state for trial in known] == ["complete"] * 3 + ["running"] * 2
    assert not any(trial.values or trial.curve for trial in known[3:])


def test_nothing_is_proposed_before_what_it_may_know_has_ended(storage: str) -> None:
    with ledger(storage, toy(lag=2, seeds=1)) as of:
        proposals = [of.next(), of.next()]
        assert of.next() is None
        assert of.left()
        assert proposals[1] is not None
        of.end(proposals[1].to_run[0], run(proposals[1].to_run[0]))
        assert of.next() is None  # trial 0 is slow, and trial 2 waits for it alone
        assert proposals[0] is not None
        of.end(proposals[0].to_run[0], run(proposals[0].to_run[0]))
        third = of.next()
        assert third is not None
        assert third.number == 2
        assert [trial.number for trial in of.known_to(third.number)] == [0]


def test_a_dimension_is_there_only_where_its_conditions_hold(storage: str) -> None:
    with ledger(storage) as of:
        drive(of)
        for trial in of.trials():
            assert ("model.n_heads" in trial.params) == (trial.params["model.mixer"] == "attention")
        assert len({trial.params["model.mixer"] for trial in of.trials()}) == 2


def test_a_condition_on_a_setting_that_is_not_varied_looks_at_the_base_row() -> None:
    space = (
        Dimension(setting="model.n_heads", range=Integers(low=1, high=4), when={"model.mixer": ("attention",)}),
        Dimension(setting="optim.lr", range=Floats(low=1e-4, high=1e-1)),
    )
    assert set(propose(toy(space=space), BASE.flat(), 0, ())) == {"optim.lr"}
    attention = BASE.change({"model": {"mixer": "attention"}}).flat()
    assert set(propose(toy(space=space), attention, 0, ())) == {"optim.lr", "model.n_heads"}


def test_whole_numbers_stay_whole_and_values_keep_their_type(storage: str) -> None:
    space = (
        Dimension(setting="model.T", range=Integers(low=1, high=8, log=True)),
        Dimension(setting="model.D", range=Integers(low=16, high=64, step=16)),
        Dimension(setting="optim.ema", range=Choices(values=(None, 0.9, 0.99))),
        Dimension(setting="data.allow_leak", range=Choices(values=(True, False))),
    )
    with ledger(storage, toy(space=space, trials=20)) as of:
        _one_step_each(of, Result("complete", (0.5,)))
        for trial in read_trials(NAME, storage):
            assert type(trial.params["model.T"]) is int
            assert trial.params["model.D"] in (16, 32, 48, 64)
            assert type(trial.params["data.allow_leak"]) is bool
        assert {trial.params["optim.ema"] for trial in of.trials()} == {None, 0.9, 0.99}


# --- results ---------------------------------------------------------------------------------------------------------


def test_a_trial_is_the_mean_of_its_runs_step_by_step() -> None:
    one = Result("complete", (0.5, 8.0), {1: 0.1, 2: 0.5}, {1: 3.0})
    other = Result("complete", (0.7, 4.0), {1: 0.3, 2: 0.7}, {1: 1.0, 2: 0.5})
    assert mean_of([one, other]) == Result("complete", (0.6, 6.0), {1: 0.2, 2: 0.6}, {1: 2.0})
    assert mean_of([one, Result("pruned", curve={1: 0.3})]) == Result("pruned", (), {1: 0.2}, {})
    assert mean_of([Result("pruned"), Result("failed", why="it died")]) == Result("failed", why="it died")


def test_a_trial_ends_with_the_last_of_its_runs(storage: str) -> None:
    with ledger(storage) as of:
        proposal = of.next()
        assert proposal is not None
        assert proposal.to_run == proposal.keys == keys_of(proposal.params)
        assert of.end(proposal.keys[1], Result("complete", (0.25,), {1: 0.25})) == ()
        assert of.trials()[0].state == "running"
        assert of.end(proposal.keys[0], Result("complete", (0.75,), {1: 0.5})) == (0,)
        (trial,) = of.trials()
        assert (trial.state, trial.values, trial.curve) == ("complete", (0.5,), {1: 0.375})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_fails_its_trial(storage: str, value: float) -> None:
    with ledger(storage, toy(seeds=1, trials=1)) as of:
        _one_step_each(of, Result("complete", (value,), {1: 0.5, 2: value}))
        (trial,) = of.trials()
        assert (trial.state, trial.values, trial.curve) == ("failed", (), {1: 0.5})
        assert trial.why == f"no finite value of every objective: {value}"


def test_a_pruned_trial_keeps_its_curve_and_a_failed_one_says_why(storage: str) -> None:
    with ledger(storage, toy(seeds=1, trials=2)) as of:
        for result in (
            Result("pruned", curve={50: 0.1, 100: 0.2}, pruning_curve={50: 2.0, 100: math.nan}),
            Result("failed", curve={50: 0.3}, why="diverged"),
        ):
            proposal = of.next()
            assert proposal is not None
            of.end(proposal.to_run[0], result)
        pruned, failed = read_trials(NAME, storage)
    assert (pruned.state, pruned.values, pruned.curve) == ("pruned", (0.2,), {50: 0.1, 100: 0.2})
    assert pruned.pruning_curve[50] == 2.0
    assert math.isnan(pruned.pruning_curve[100])
    assert (failed.state, failed.curve, failed.why) == ("failed", {50: 0.3}, "diverged")
    assert failed.ended is not None
    assert failed.began is not None
    assert failed.ended >= failed.began


def test_a_search_with_two_objectives_has_a_pareto_front(storage: str) -> None:
    import optuna

    objectives = (
        Objective(metric="validation/exact_accuracy", direction="maximize"),
        Objective(metric="flops", direction="minimize"),
    )
    with ledger(storage, toy(objectives=objectives, seeds=1, trials=3)) as of:
        for values in ((0.5, 10.0), (0.6, 20.0), (0.4, 30.0)):
            proposal = of.next()
            assert proposal is not None
            of.end(proposal.to_run[0], Result("complete", values, {1: 0.1}))
        front = optuna.load_study(study_name=NAME, storage=storage).best_trials
        assert [trial.number for trial in front] == [0, 1]
        assert [trial.values for trial in of.trials()] == [(0.5, 10.0), (0.6, 20.0), (0.4, 30.0)]


def test_a_search_with_two_objectives_goes_on_past_its_random_start(storage: str) -> None:
    objectives = (
        Objective(metric="validation/exact_accuracy", direction="maximize"),
        Objective(metric="flops", direction="minimize"),
    )
    with ledger(storage, toy(objectives=objectives, seeds=1, trials=15)) as of:
        drive(of, end=lambda key: Result("complete", (len(key) / 100, float(len(key) ** 2))))
        assert Counter(trial.state for trial in of.trials()) == {"complete": 15}


# --- proposals that are known ----------------------------------------------------------------------------------------


def test_a_proposal_whose_runs_are_known_is_told_without_being_run(storage: str) -> None:
    known = {key: Result("complete", (0.1 * T,), {1: 0.1}) for T in (1, 2) for key in keys_of({"model.T": T})}
    with ledger(storage, toy(space=FEW, trials=8), known=known.get) as of:
        made = []
        while (proposal := of.next()) is not None:
            made.append(proposal.params["model.T"])
            for key in proposal.to_run:
                of.end(key, Result("complete", (0.5,)))
        assert made == [3]  # once; its like is told what it came to
        values = {1: (0.1,), 2: (0.2,), 3: (0.5,)}
        assert [trial.values for trial in of.trials()] == [values[int(str(t.params["model.T"]))] for t in of.trials()]


def test_of_a_proposal_of_which_one_run_is_known_the_other_is_run(storage: str) -> None:
    with ledger(storage, known=lambda key: Result("complete", (1.0,)) if key.endswith(" 0") else None) as of:
        proposal = of.next()
        assert proposal is not None
        assert proposal.to_run == proposal.keys[1:]
        of.end(proposal.to_run[0], Result("complete", (0.0,)))
        assert of.trials()[0].values == (0.5,)


def test_twins_under_way_are_told_together(storage: str) -> None:
    with ledger(storage, toy(space=FEW, trials=8, lag=8, seeds=1)) as of:
        proposals = []
        while (proposal := of.next()) is not None:
            proposals.append(proposal)
        assert len(of.trials()) == 8
        assert len(proposals) == len({trial.params["model.T"] for trial in of.trials()}) < 8
        told = [number for proposal in proposals for number in of.end(proposal.to_run[0], Result("complete", (0.5,)))]
        assert sorted(told) == list(range(8))
        assert not of.left()


def test_a_proposal_whose_settings_contradict_each_other_has_failed_and_the_search_goes_on(storage: str) -> None:
    def key_of(params: object) -> tuple[str, ...]:
        raise BadSetting("model.D=48 with model.n_heads=5: each head needs an even number of channels")

    with ledger(storage, toy(trials=2), key_of=key_of) as of:
        assert of.next() is None
        assert not of.left()
        assert [trial.state for trial in of.trials()] == ["failed", "failed"]
        assert of.trials()[0].why.startswith("model.D=48")
    with ledger(storage, toy(trials=2), key_of=key_of, retry_failed=True) as of:
        assert not of.left()  # another try would end alike


# --- going on --------------------------------------------------------------------------------------------------------


def test_what_was_under_way_is_handed_out_again_first_under_its_number(storage: str) -> None:
    with ledger(storage) as of:
        there = [of.next(), of.next()]
    with ledger(storage) as of:
        assert [of.next(), of.next()] == there


def test_more_trials_later_go_on_with_the_same_search(storage: str, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "optuna.db", tmp_path / "whole.db")
    with ledger(storage, trials=8) as of:
        drive(of)
        before = facts(of.trials())
    with ledger(storage, trials=20) as of:
        drive(of)
        assert facts(of.trials())[:8] == before
    with ledger(f"sqlite:///{tmp_path / 'whole.db'}", trials=20) as whole:
        drive(whole)
        assert facts(whole.trials()) == facts(read_trials(NAME, storage))


def test_fewer_trials_than_there_are_leave_nothing_to_do(storage: str) -> None:
    with ledger(storage, trials=3) as of:
        while of.next() is not None:
            pass
    with ledger(storage, trials=1) as of:
        assert of.left()
        proposal = of.next()
        assert proposal is not None
        assert proposal.number == 0
        assert of.next() is None
        assert not of.left()


def test_a_failed_trial_uses_up_a_number_and_is_run_again_under_it_where_that_is_asked_for(storage: str) -> None:
    with ledger(storage, toy(trials=3, seeds=1)) as of:
        for state in ("complete", "failed", "complete"):
            proposal = of.next()
            assert proposal is not None
            values = (0.5,) if state == "complete" else ()
            of.end(proposal.to_run[0], Result(state, values, {1: 0.1, 2: 0.2}, why="" if values else "it died"))
        before = facts(of.trials())
    with ledger(storage, toy(trials=3, seeds=1)) as of:
        assert of.next() is None
        assert not of.left()
        assert facts(of.trials()) == before
    with ledger(storage, toy(trials=3, seeds=1), retry_failed=True) as of:
        proposal = of.next()
        assert proposal is not None
        assert proposal.number == 1
        of.end(proposal.to_run[0], Result("complete", (0.75,), {1: 0.3}))
        assert of.next() is None
        again = facts(of.trials())
    assert again[0] == before[0]
    assert again[2] == before[2]
    assert again[1][:3] == before[1][:3]
    assert again[1][3:] == ("complete", (0.75,), {1: 0.3}, {}, "")


@pytest.mark.kills
def test_a_search_killed_again_and_again_ends_as_an_undisturbed_one_does(tmp_path: Path, storage: str) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    told = subprocess.run(
        [sys.executable, "-m", "tests.sweeps.toy_search", "drive", str(folder), "10"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(told.stdout) >= 4
    assert told.stderr == ""
    with ledger(storage, trials=KILLED_TRIALS) as whole:
        drive(whole)
        assert facts(read_trials(NAME, f"sqlite:///{folder / 'optuna.db'}")) == facts(whole.trials())
    made = (folder / "made.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(made) == len(set(made)) == 2 * KILLED_TRIALS


def test_where_the_memory_of_finished_runs_is_silent_nothing_is_lost(storage: str) -> None:
    silent = [True]

    def known(_: str) -> None:
        if silent[0]:
            raise TimeoutError

    with ledger(storage, known=known) as of:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                of.next()
        assert len(of.trials()) == 1
        silent[0] = False
        proposal = of.next()
        assert proposal is not None
        assert proposal.number == 0


def test_where_the_storage_is_silent_an_ending_can_be_told_again(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.search_storage.ANSWERS_WITHIN_S", 0.1)
    with ledger(storage, toy(seeds=1)) as of:
        proposal = of.next()
        assert proposal is not None
        with sqlite3.connect(tmp_path / "optuna.db") as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable, match=r"could not end trial 0 \(.*database is locked"):
                of.end(proposal.to_run[0], Result("complete", (0.5,)))
        other.close()
        assert of.trials()[0].state == "running"
        assert of.next() is not None
        assert of.trials()[0].values == (0.5,)


def test_optuna_says_nothing_on_the_screen(storage: str, capfd: pytest.CaptureFixture[str]) -> None:
    with ledger(storage) as of:
        drive(of)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("optuna").level >= logging.ERROR
