"""The runs of a search, and what Optuna is told of their ends: with its storage and MLflow's, and nothing trained."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from sweeps.asking import read_sought
from sweeps.campaign import Job
from sweeps.failures import Failure
from sweeps.next_run import Queue
from sweeps.options import command_parser
from sweeps.proposed import Runs, Sets
from sweeps.pruning import Rule
from sweeps.records.address import TrackingUnavailable
from sweeps.records.read import campaigns, document, finished
from sweeps.records.types import Measurement
from sweeps.records.write import Tracker
from sweeps.search import read_trials
from sweeps.search_spec import Pruning
from sweeps.under_way import UnderWay
from tests.sweeps.records.stores import query

OBJECTIVE = "validation/exact_accuracy"
TINY = [
    *("--search", "lr_wd", "--profile", "mini", "--trials", "4", "--optuna-storage", "sqlite:///optuna.db"),
    *("--set", "data.train=12", "data.validation=4", "data.test=6", "train.steps=10"),
]


@pytest.fixture
def runs(tmp_path: Path, mlflow_here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runs]:
    """Those of a search of four trials, recorded."""
    monkeypatch.chdir(tmp_path)
    sought = read_sought(command_parser().parse_args(TINY), TINY)
    of = Runs(sought, sought.base, Sets(sought))
    with of.opened("sqlite:///optuna.db"), Tracker.open(of.campaign) as of.tracker:
        yield of


def _begin(runs: Runs) -> Job:
    """The next trial's run, under way."""
    (job,) = runs.more() or ()
    assert runs.tracker
    assert runs.tracker.begin(job, runs.sets_by_key[job.key].content_hash).what == "ours"
    return job


def _train(runs: Runs, job: Job, accuracy: float) -> Path:
    """It has come to its end, and MLflow hears of it; returns its journal, which is still to be written."""
    assert runs.tracker
    runs.tracker.log(job.key, [Measurement(5, 1, {OBJECTIVE: 0.1}), Measurement(10, 2, {OBJECTIVE: accuracy})])
    runs.tracker.finish(job.key, "FINISHED")
    journal = runs.sought.out / "runs" / job.key / "metrics.jsonl"
    journal.parent.mkdir(parents=True)
    return journal


def _lines(job: Job, accuracy: float) -> str:
    return "".join(
        f'{{"step": {step}, "time_ms": 1, "metrics": {{"{OBJECTIVE}": {value}}}}}\n'
        for step, value in ((5, 0.1), (job.run.train.steps, accuracy))
    )


def test_the_trouble_of_one_trials_run_stops_that_trial_alone(runs: Runs) -> None:
    sound, unreadable, torn, failed = (_begin(runs) for _ in range(4))
    _train(runs, sound, 0.5).write_text(_lines(sound, 0.5))
    _train(runs, unreadable, 0.6).mkdir()
    _train(runs, torn, 0.7).write_text(_lines(torn, 0.7)[:-30])
    assert runs.tracker
    runs.tracker.finish(failed.key, "FAILED", reason="it was made to")
    for job in (unreadable, torn, sound):
        runs.ended(job, None)
    runs.ended(failed, Failure("failed", "it was made to"))
    assert runs.more() is None, "nothing is left"
    assert [(trial.state, trial.values, trial.why) for trial in runs.ledger.trials()] == [
        ("complete", (0.5,), ""),
        ("complete", (0.6,), ""),  # as MLflow has it
        ("complete", (0.7,), ""),
        ("failed", (), "it was made to"),
    ]
    assert [dict(trial.curve) for trial in runs.ledger.trials()[:3]] == [{5: 0.1, 10: x} for x in (0.5, 0.6, 0.7)]


def test_a_trial_of_which_neither_journal_nor_mlflow_has_the_end_has_failed_and_says_why(runs: Runs) -> None:
    lost, sound = _begin(runs), _begin(runs)
    journal = runs.sought.out / "runs" / lost.key / "metrics.jsonl"
    journal.mkdir(parents=True)
    runs.ended(lost, None)
    _train(runs, sound, 0.5).write_text(_lines(sound, 0.5))
    runs.ended(sound, None)
    assert runs.tracker
    assert runs.tracker.settle(30)
    runs.tell()
    first, second = runs.ledger.trials()
    assert (first.state, second.state) == ("failed", "complete")
    assert "no file, expected a run's journal" in first.why
    assert runs.more(), "the search goes on"


def test_a_trial_begins_while_mlflow_still_takes_in_the_end_of_another_and_optuna_hears_of_that_after_it(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = _begin(runs)
    assert runs.tracker
    with runs.tracker._sending:  # MLflow is slow
        _train(runs, ended, 0.5).write_text(_lines(ended, 0.5))
        runs.ended(ended, None)
        _begin(runs)
        runs.tell()
        assert [trial.state for trial in runs.ledger.trials()] == ["running", "running"]
        assert not finished([ended.key])
    assert runs.tracker.settle(30)
    runs.tell()
    assert [trial.state for trial in runs.ledger.trials()] == ["complete", "running"]


def test_a_proposal_that_depends_on_what_has_ended_waits_for_it(runs: Runs) -> None:
    runs.ledger.search = runs.search.model_copy(update={"lag": 1})
    ended = _begin(runs)
    _train(runs, ended, 0.5).write_text(_lines(ended, 0.5))
    runs.ended(ended, None)
    _begin(runs)
    assert [trial.state for trial in runs.ledger.trials()] == ["complete", "running"]


def test_what_has_ended_is_told_when_a_search_is_left(
    tmp_path: Path, mlflow_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sought = read_sought(command_parser().parse_args(TINY), TINY)
    runs = Runs(sought, sought.base, Sets(sought))
    with runs.opened("sqlite:///optuna.db"), Tracker.open(runs.campaign) as runs.tracker:
        ended = _begin(runs)
        _train(runs, ended, 0.5).write_text(_lines(ended, 0.5))
        runs.ended(ended, None)
    assert [trial.state for trial in read_trials(sought.name, "sqlite:///optuna.db")] == ["complete"]


def test_a_search_confirms_its_best_once_it_has_heard_of_all_even_where_the_budget_ends_it(runs: Runs) -> None:
    class Launch:  # as next_run.Queue sees it
        interrupted = silent = False
        running: frozenset[str] = frozenset()
        more = runs.more

        def room(self) -> int:
            return 1

        def take_back(self) -> list[Job]:
            return []

        def take_news(self) -> bool:
            return True

    runs.ledger.n_trials = 2
    ended = _begin(runs)
    assert runs.tracker
    queue = Queue(cast(UnderWay, Launch()), [], lambda job: job.key == ended.key)
    with runs.tracker._sending:  # MLflow is slow
        _train(runs, ended, 0.5).write_text(_lines(ended, 0.5))
        runs.ended(ended, None)
        assert queue.suggest("a trial") is None
        assert queue.suggest("a trial") == Queue.FINISHED
        assert not runs.best()
    runs.hear_out()
    assert [trial.number for trial in runs.best()] == [0]


@pytest.mark.parametrize(("late", "gives_up"), [({6: 0.4}, False), ({4: 0.6, 6: 0.4}, False), ({4: 0.4}, True)])
def test_a_run_is_pruned_by_no_evaluation_while_an_earlier_one_is_due(
    late: dict[int, float], gives_up: bool, runs: Runs
) -> None:
    """Made apart they come in any order, and a rung is the first evaluation at or after it."""
    metric = "validation/exact_accuracy"
    runs.search = runs.search.model_copy(update={"pruning": Pruning(metric=metric, rungs=(0.4,))})
    job = _begin(runs)
    job = dataclasses.replace(
        job, run=job.run.set(["train.evaluate_apart=true", "train.eval_every=2", "train.steps=10"])
    )
    rule = Rule(rungs=(4,), measured={4: 0.9}, startup=4, keep=0.5)
    runs._rivals[job.key] = rule, ({4: 0.5, 6: 0.9},) * 4
    assert not runs.gives_up(job, [Measurement(2, 1, {metric: 0.1})])
    assert runs.gives_up(job, [Measurement(step, 1, {metric: value}) for step, value in late.items()]) == gives_up


def test_a_campaigns_document_is_whole_in_the_end_however_fast_its_trials_came(
    runs: Runs, mlflow_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.records.tree.DOCUMENT_SHARE", 1e-9)  # once, and then not for years
    assert runs.tracker
    runs.tracker.tree.write_document()
    jobs = [_begin(runs) for _ in range(3)]
    (of,) = campaigns("search_lr_wd", "mini")
    assert not {job.key for job in jobs} & document(of).keys
    places = query(mlflow_here, "SELECT value FROM tags WHERE key = 'row_order' ORDER BY value")
    assert len(set(places)) == len(places), "each has its place in the table all the same"
    assert runs.tracker.close("KILLED") == []
    assert {job.key for job in jobs} <= document(of).keys
    assert not finished([job.key for job in jobs])


def test_a_proposal_that_mlflow_could_not_be_told_of_comes_again(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs.tracker
    with monkeypatch.context() as while_silent:
        while_silent.setattr(runs.tracker, "extend", _silent)
        with pytest.raises(TrackingUnavailable):
            runs.more()
    first, second = _begin(runs), _begin(runs)
    assert [runs.tags[job.key]["trial"] for job in (first, second)] == ["0", "1"]


def _silent(_: object) -> None:
    raise TrackingUnavailable("nothing answers")
