"""Evaluations beside the training: the same curves as of a run that evaluates itself, whatever becomes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweeps import apart
from sweeps.apart import FOLDER, is_scored
from sweeps.failures import Preempted
from sweeps.folder import Task
from sweeps.journal import read_journal
from sweeps.records.types import Measurement
from sweeps.worker import train_run
from trm_core.config import RunConfig

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_here")]


@pytest.fixture
def task(puzzles: Path, tmp_path: Path, tiny_run: RunConfig) -> Task:
    """A run that is evaluated beside its training, six times."""
    run = tiny_run.set(["train.steps=14", "train.eval_every=2", "train.log_every=1", "train.evaluate_apart=true"])
    return Task("a_key", run, puzzles, tmp_path / "run", 1, "a launch", "cpu")


@pytest.fixture
def usual(task: Task, tmp_path: Path) -> list[tuple[int, dict[str, float]]]:
    """The curves of the same run, evaluated by itself."""
    alone = replace(task, run=task.run.set(["train.evaluate_apart=false"]), folder=tmp_path / "usual")
    train_run(alone, lambda *_: None)
    return curves(alone)


def curves(task: Task) -> list[tuple[int, dict[str, float]]]:
    """Of the journal, but for times."""
    rows = read_journal(task.folder / "metrics.jsonl")
    return [(row.step, {n: value for n, value in row.metrics.items() if not n.startswith("time/")}) for row in rows]


def told(task: Task) -> tuple[list[Measurement], list[str]]:
    """Train; what was passed on, and what was said."""
    rows: list[Measurement] = []
    said: list[str] = []

    def pass_on(more: list[Measurement], lines: list[str]) -> None:
        rows.extend(more)
        said.extend(lines)

    train_run(task, pass_on)
    return rows, said


@pytest.fixture
def made_here(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Steps whose weights the run's own process scored."""
    steps: list[int] = []
    usual = apart.Apart._score_here

    def score(self: apart.Apart, step: int) -> list[Measurement]:
        steps.append(step)
        return usual(self, step)

    monkeypatch.setattr(apart.Apart, "_score_here", score)
    return steps


def test_a_run_evaluated_by_tasks_has_the_curves_of_one_that_evaluates_itself(
    task: Task, usual: list[tuple[int, dict[str, float]]]
) -> None:
    rows, said = told(task)
    assert curves(task) == usual
    assert said == []
    passed_on: dict[int, dict[str, float]] = {}
    for row in rows:
        passed_on.setdefault(row.step, {}).update(row.metrics)
    assert passed_on == {row.step: row.metrics for row in read_journal(task.folder / "metrics.jsonl")}
    assert not (task.folder / FOLDER).exists()


def test_where_no_device_is_free_the_run_waits_for_none(
    task: Task, usual: list[tuple[int, dict[str, float]]], made_here: list[int]
) -> None:
    nobody_has_that = replace(task, gpu=1.0)  # the tests' Ray has no GPU
    told(nobody_has_that)
    assert curves(task) == usual
    assert made_here == [2, 4], "two wait at most; the others the run evaluates as ever"


def test_a_task_that_fails_is_made_up_for_and_said(
    task: Task, usual: list[tuple[int, dict[str, float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> dict[str, float]:
        raise RuntimeError("its card fell out")

    fails.__module__ = "__main__"  # so that it goes to the task by value
    monkeypatch.setattr(apart, "scores_elsewhere", fails)
    _, said = told(task)
    assert curves(task) == usual
    assert any("was to be scored elsewhere" in line and "its card fell out" in line for line in said)


class Killed(BaseException):
    """As by kill -9: nothing is tidied up."""


@pytest.mark.parametrize(
    "at",
    [
        "sweeps.apart.Apart._ask",  # the weights are there, the row of their step is not
        "sweeps.journal.Journal.amend",  # the scores have come, and stand nowhere yet
        "sweeps.apart.Apart.forget",  # they stand in the journal, and their weights are still there
    ],
)
def test_a_run_killed_while_scores_are_due_loses_none(
    at: str, task: Task, usual: list[tuple[int, dict[str, float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(at, killed)
        with pytest.raises(Killed):
            train_run(task, lambda *_: None)
    told(task)
    assert curves(task) == usual
    assert not (task.folder / FOLDER).exists()


@pytest.mark.parametrize("then", ["true", "false"])
def test_a_run_that_goes_on_behind_steps_without_scores_makes_up_for_them(
    then: str, task: Task, usual: list[tuple[int, dict[str, float]]]
) -> None:
    journal = task.folder / "metrics.jsonl"

    def noticed() -> str:
        return "told to end" * any(row.step >= 5 for row in read_journal(journal))

    nobody_has_that = replace(task, gpu=1.0)
    with pytest.raises(Preempted):
        train_run(nobody_has_that, lambda *_: None, noticed=noticed)
    assert [row.step for row in read_journal(journal) if not is_scored(row) and row.step % 2 == 0] == [2, 4]
    told(replace(task, run=task.run.set([f"train.evaluate_apart={then}"])))
    assert curves(task) == usual
    assert not (task.folder / FOLDER).exists()
