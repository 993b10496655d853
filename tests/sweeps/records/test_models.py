"""A finished run's weights as a logged model, loaded as anybody would."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch

from data_prep.puzzle_set import PuzzleSet
from sweeps.campaign import Job
from sweeps.records import models
from sweeps.records.models import Trained, trained
from sweeps.records.read import read_runs
from sweeps.records.types import Measurement
from sweeps.records.write import Tracker
from tests.conftest import TINY, campaign, job
from tests.sweeps.records.stores import query
from trm_core import checkpoint
from trm_core.config import RunConfig
from trm_core.trainer import train

LEARNS: dict[str, dict[str, Any]] = {
    "model": {"D": 32, "n": 2, "N_sup": 4},
    "optim": {"lr": 4e-3, "warmup_steps": 10, "weight_decay": 0.1, "ema": 0.95},
    "train": {"steps": 100, "batch_size": 32, "eval_every": 100, "checkpoint_every": 100},
}


class Done(NamedTuple):
    job: Job
    rows: list[Measurement]
    model: Trained


@pytest.fixture(scope="module")
def done(puzzles: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """A run that has learnt to solve most 4x4 Sudokus, in its folder."""
    torch.set_num_threads(1)
    run = RunConfig.parse(TINY).change(LEARNS)
    folder, rows = tmp_path_factory.mktemp("run"), list[Measurement]()
    train(
        run,
        PuzzleSet.open(puzzles),
        lambda step, metrics, _: rows.append(Measurement(step, 1_700_000_000_000 + step, dict(metrics))),
        checkpoints=folder / "checkpoints",
    )
    checkpoint.keep_weights(checkpoint.at_step(folder / "checkpoints", run.train.steps))
    model = trained(folder, puzzles)
    assert model is not None
    return Done(job(run), rows, model)


def record(done: Done, said: list[str]) -> None:
    with Tracker.open(campaign(), say=said.append) as tracker:
        tracker.begin(done.job, "hash")
        tracker.log(done.job.key, done.rows)
        tracker.finish(done.job.key, "FINISHED", model=done.model)
        assert tracker.close("FINISHED") == []


def test_the_model_of_a_finished_run_is_loaded_by_its_name_and_solves_puzzles(done: Done, mlflow_here: Path) -> None:
    import mlflow.pyfunc

    said: list[str] = []
    record(done, said)
    assert said == []
    (run,) = read_runs("a_study", "mini")
    solver = mlflow.pyfunc.load_model(f"runs:/{run.run_id}/model")
    test = PuzzleSet.open(done.model.data).test
    asked, labels = np.asarray(test.inputs, dtype=np.int64), np.asarray(test.labels)
    answers = solver.predict(asked)
    share = float((answers == labels).all(axis=1).mean())
    assert share == run.metrics["test/exact_accuracy"] > 0.6, "as it was evaluated"
    assert (solver.predict(pd.DataFrame(asked)) == answers).all()
    signature = solver.metadata.signature
    assert [tuple(part.inputs[0].shape) for part in (signature.inputs, signature.outputs)] == [(-1, 16), (-1, 16)]
    example = solver.input_example
    assert (np.asarray(example) == asked[:1]).all()
    assert "trm-ablations" in Path(mlflow.pyfunc.get_model_dependencies(f"runs:/{run.run_id}/model")).read_text()


def test_its_scores_stand_beside_it_and_none_of_the_runs_points_is_there_twice(done: Done, mlflow_here: Path) -> None:
    from mlflow import MlflowClient

    record(done, [])
    (run,) = read_runs("a_study", "mini")
    (logged,) = MlflowClient().search_logged_models(["1"])
    assert (logged.source_run_id, str(logged.status), logged.name) == (run.run_id, "READY", "model")
    assert logged.params == {"parameters": str(done.job.run.parameters()), "step": "100", "puzzle": "sudoku"}
    scores = {metric.key: metric.value for metric in logged.metrics or ()}
    assert scores["test/exact_accuracy"] == run.metrics["test/exact_accuracy"]
    assert not any(name.startswith("train/") for name in scores)
    sent = sum(len(row.metrics) for row in done.rows)
    assert query(mlflow_here, f"SELECT COUNT(*) FROM metrics WHERE run_uuid = '{run.run_id}'") == [(sent,)]


def test_a_model_that_is_too_large_stays_where_it_is_and_that_is_said(
    done: Done, mlflow_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "LARGEST", 1000)
    said: list[str] = []
    record(done, said)
    assert len(said) == 1
    assert f"it stays in {done.model.checkpoint}" in said[0]
    assert query(mlflow_here, "SELECT * FROM logged_models") == []
    assert [run.status for run in read_runs("a_study", "mini")] == ["FINISHED"]


def test_a_store_that_takes_no_models_costs_a_line_and_not_the_run(done: Done, mlflow_here: Path) -> None:
    query(mlflow_here, "CREATE TRIGGER no BEFORE INSERT ON logged_models BEGIN SELECT RAISE(ABORT, 'no models'); END")
    said: list[str] = []
    record(done, said)
    assert len(said) == 1
    assert "the model of TRM k=1, T=1 seed 0 was not stored" in said[0]
    assert "no models" in said[0]
    assert "\n" not in said[0]
    (run,) = read_runs("a_study", "mini")
    assert (run.status, run.metrics["test/puzzles"]) == ("FINISHED", 32)


def test_a_checkpoint_that_is_gone_costs_a_line_and_not_the_run(done: Done, mlflow_here: Path, tmp_path: Path) -> None:
    assert trained(tmp_path, done.model.data) is None
    said: list[str] = []
    record(done._replace(model=Trained(tmp_path / "gone", done.model.data)), said)
    assert len(said) == 1
    assert [run.status for run in read_runs("a_study", "mini")] == ["FINISHED"]
