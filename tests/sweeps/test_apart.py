"""Evaluations beside the training: the same curves as of a run that evaluates itself, whatever becomes of them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_prep.puzzle_set import PuzzleSet
from sweeps import apart
from sweeps.apart import FOLDER, is_scored
from sweeps.failures import Preempted
from sweeps.folder import Task
from sweeps.journal import read_journal
from sweeps.records.types import Measurement
from sweeps.worker import train_run
from trm_core import checkpoint
from trm_core.checkpoint import Checkpoint
from trm_core.config import RunConfig
from trm_core.model import Model

ROOT = Path(__file__).parents[2]

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


@pytest.mark.parametrize("then", ["evaluate_apart=true", "evaluate_apart=false"])
@pytest.mark.parametrize("diagnoses", ["diagnostics=false", "diagnostics=true"])
def test_a_run_that_goes_on_behind_steps_without_scores_makes_up_for_them(
    diagnoses: str, then: str, task: Task, tmp_path: Path
) -> None:
    task = replace(task, run=task.run.set([f"train.{diagnoses}"]))
    alone = replace(task, run=task.run.set(["train.evaluate_apart=false"]), folder=tmp_path / "usual")
    train_run(alone, lambda *_: None)
    journal = task.folder / "metrics.jsonl"

    def noticed() -> str:
        return "told to end" * any(row.step >= 5 for row in read_journal(journal))

    nobody_has_that = replace(task, gpu=1.0)
    with pytest.raises(Preempted):
        train_run(nobody_has_that, lambda *_: None, noticed=noticed)
    assert [row.step for row in read_journal(journal) if not is_scored(row) and row.step % 2 == 0] == [2, 4]
    told(replace(task, run=task.run.set([f"train.{then}"])))
    assert curves(task) == curves(alone)
    assert not (task.folder / FOLDER).exists()


def test_what_a_run_asked_for_takes_no_device_once_it_has_ended_there(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    cancelled: list[object] = []
    usual = ray.cancel

    def cancel(asked: object, **how: bool) -> None:
        cancelled.append(asked)
        usual(asked, **how)

    monkeypatch.setattr(ray, "cancel", cancel)
    nobody_has_that = replace(task, gpu=1.0)
    with pytest.raises(Preempted):
        train_run(nobody_has_that, lambda *_: None, noticed=lambda: "told" * (task.folder / FOLDER).exists())
    assert len(cancelled) == 1


# --- what else may lie there -----------------------------------------------------------------------------------------


def _leave(task: Task, step: int, run: RunConfig, data_hash: str, *, named: int) -> None:
    """Weights of this run at this step, under the name of another."""
    weights = dict(Model(run, PuzzleSet.open(task.data).n_puzzle_ids).state_dict())
    saved = Checkpoint(step, run.model_dump(mode="json"), data_hash, weights, {})
    where = checkpoint.save(saved, task.folder / FOLDER)
    if step != named:
        where.rename(checkpoint.at_step(task.folder / FOLDER, named))


def test_what_is_none_of_the_runs_is_neither_scored_nor_in_its_way(
    task: Task, usual: list[tuple[int, dict[str, float]]], tmp_path: Path
) -> None:
    data_hash = PuzzleSet.open(task.data).content_hash
    journal = task.folder / "metrics.jsonl"
    with pytest.raises(Preempted):
        train_run(task, lambda *_: None, noticed=lambda: "told" * any(row.step >= 5 for row in read_journal(journal)))
    rows = [row._replace(metrics={"train/loss": row.metrics["train/loss"]}) for row in read_journal(journal)]
    shutil.rmtree(task.folder / FOLDER, ignore_errors=True)
    journal.write_text("".join(json.dumps(row._asdict()) + "\n" for row in rows))  # scores of 2 and 4 are lost
    _leave(task, 777, task.run, data_hash, named=2)
    _leave(task, 4, task.run.set(["train.seed=77"]), data_hash, named=4)
    there = task.folder / FOLDER
    (there / "step_99999999").write_text("somebody's")
    os.mkfifo(there / "step_00000006")
    (tmp_path / "elsewhere").mkdir()
    (there / "step_00000008").symlink_to(tmp_path / "elsewhere")
    told(task)
    found = dict(curves(task))
    assert not any(name.startswith("test/") for step in (2, 4) for name in found[step])
    assert {step: found[step] for step in found if step > 5} == {step: row for step, row in usual if step > 5}
    assert (tmp_path / "elsewhere").is_dir()
    assert not there.exists()


def test_a_link_in_the_place_of_the_folder_leads_nobody_to_what_lies_behind_it(
    task: Task, usual: list[tuple[int, dict[str, float]]], tmp_path: Path
) -> None:
    behind = tmp_path / "behind"
    (behind / "step_00000002").mkdir(parents=True)
    (behind / "thesis.txt").write_text("years of work")
    task.folder.mkdir()
    (task.folder / FOLDER).symlink_to(behind)
    told(task)
    assert curves(task) == usual
    assert sorted(path.name for path in behind.iterdir()) == ["step_00000002", "thesis.txt"]


def test_what_has_no_name_of_ours_is_left_there(task: Task) -> None:
    (task.folder / FOLDER).mkdir(parents=True)
    (task.folder / FOLDER / "notes.txt").write_text("a person's")
    told(task)
    assert [path.name for path in (task.folder / FOLDER).iterdir()] == ["notes.txt"]


def test_weights_of_another_version_are_named_and_left(task: Task) -> None:
    journal = task.folder / "metrics.jsonl"
    task.folder.mkdir()
    journal.write_text('{"step": 2, "time_ms": 1, "metrics": {"train/loss": 1.0}}\n')
    _leave(task, 2, task.run, PuzzleSet.open(task.data).content_hash, named=2)
    manifest = task.folder / FOLDER / "step_00000002" / "checkpoint.json"
    manifest.write_text(manifest.read_text().replace('"eval_every"', '"a_setting_of_then"'))
    _, said = told(task)
    assert any("the scores of step 2 are lost" in line and "a_setting_of_then" in line for line in said)


@pytest.mark.slow
def test_the_first_of_two_workers_makes_up_for_scores_alone(task: Task, tmp_path: Path) -> None:
    """The others know nothing of it: a collective in it would wait for ever, or count half of the puzzles."""
    task.folder.mkdir()
    (task.folder / "metrics.jsonl").write_text('{"step": 2, "time_ms": 1, "metrics": {"train/loss": 1.0}}\n')
    off = task.run.set(["train.evaluate_apart=false"])
    _leave(task, 2, off, PuzzleSet.open(task.data).content_hash, named=2)
    with pytest.MonkeyPatch.context() as patched:  # what was left is of step 2, and no checkpoint lies there
        patched.setenv("OMP_NUM_THREADS", "1")
        program = (
            "import json, sys; from pathlib import Path; import torch.distributed as dist\n"
            "import sweeps.worker as worker; from trm_core.config import RunConfig\n"
            "rank, puzzles, folder, here = int(sys.argv[1]), *map(Path, sys.argv[2:5])\n"
            "dist.init_process_group('gloo', init_method=f'file://{here}/meeting', rank=rank, world_size=2)\n"
            "run = RunConfig.parse(json.loads(sys.argv[5]))\n"
            "task = worker.Task('a_key', run, puzzles, folder, 1, 'a launch', 'cpu')\n"
            "worker.train = lambda *_, **__: None\n"
            "try:\n"
            "    worker.train_run(task, lambda rows, _: None, rank=rank, workers=2)\n"
            "except Exception as error:\n"
            "    print(type(error).__name__)\n"
        )
        settings = json.dumps(off.model_dump(mode="json"))
        words = [str(task.data), str(task.folder), str(tmp_path), settings]
        workers = [
            subprocess.Popen([sys.executable, "-c", program, str(rank), *words], cwd=ROOT, stdout=subprocess.PIPE)
            for rank in range(2)
        ]
        said = [worker.communicate()[0] for worker in workers]
    assert said == [b"BadCheckpoint\n", b""], "there is no checkpoint to keep, since nothing was trained"
    (row,) = read_journal(task.folder / "metrics.jsonl")
    assert row.metrics["validation/puzzles"] == off.data.validation
