"""A run's evaluated weights as a logged model of MLflow, which mlflow.pyfunc.load_model loads (trm_core.pyfunc)."""

from __future__ import annotations

import contextlib
import math
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_prep.puzzle_set import PuzzleSet
from sweeps.campaign import Job
from sweeps.records.types import Measurement
from trm_core import pyfunc
from trm_core.config import RunConfig

if TYPE_CHECKING:
    from mlflow import MlflowClient

NAME = "model"  # so that runs:/RUN_ID/model names it too
LARGEST = 128 * 2**20  # bytes of a checkpoint that is sent: 32 million parameters
PACKAGE = "trm-ablations"


class ModelTooLarge(ValueError):
    """A model that is not sent to MLflow."""


@dataclass(frozen=True)
class Trained:
    """What a run leaves of its model: the folder of the checkpoint that was evaluated."""

    checkpoint: Path
    data: Path  # of its puzzle set, which has an example


def trained(run_folder: Path, data: Path) -> Trained | None:
    """The model in a finished run's folder; None where there is none any more."""
    found = sorted((run_folder / "checkpoints").glob("step_*"))
    return Trained(found[-1], data) if found else None


def log_model(
    client: MlflowClient, run_id: str, experiment_id: str, job: Job, of: Trained, final: Sequence[Measurement]
) -> str:
    """Log it with its run, its scores beside it, and return its id. Raises ModelTooLarge, and what the stores raise.

    final: measurements that MLflow has of the run's last step; the evaluations among them are the model's as well.
    """
    from mlflow.entities import LoggedModelOutput, Metric

    if (size := sum(path.stat().st_size for path in of.checkpoint.iterdir())) > LARGEST:
        raise ModelTooLarge(
            f"{size >> 20} MB, more than the {LARGEST >> 20} that are sent; it stays in {of.checkpoint}"
        )
    with _folder(of, job.run) as (folder, about):
        model_id = str(
            client.create_logged_model(
                experiment_id, name=NAME, source_run_id=run_id, tags={"key": job.key, "row": job.row}, params=about
            ).model_id
        )
        try:
            client.log_model_artifacts(model_id, str(folder))
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to be heard
                client.finalize_logged_model(model_id, "FAILED")
            raise
    client.finalize_logged_model(model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model_id, job.run.train.steps)])
    points = [
        Metric(name, value, one.time_ms, one.step, model_id=model_id)
        for one in final
        for name, value in one.metrics.items()
        if name.startswith(("test/", "validation/")) and math.isfinite(value)
    ]
    if points:
        client.log_batch(run_id, metrics=points)
    return model_id


@contextlib.contextmanager
def _folder(of: Trained, run: RunConfig) -> Iterator[tuple[Path, dict[str, str]]]:
    """The model as MLflow lays it out, in a folder that goes again, and its settings in short."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred", UserWarning)  # MLflow's, about its own classes
        import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def tokens(columns: int) -> Schema:
        return Schema([TensorSpec(np.dtype(pyfunc.TOKENS), (-1, columns))])

    splits = PuzzleSet.open(of.data, verify=False).splits
    examples = (pyfunc.example(run, splits[name]) for name in ("test", "validation", "train"))
    with tempfile.TemporaryDirectory(prefix="trm-model-") as parent:
        folder = Path(parent) / NAME
        mlflow.pyfunc.save_model(
            str(folder),
            loader_module=pyfunc.LOADER,
            data_path=str(of.checkpoint),
            signature=ModelSignature(inputs=tokens(pyfunc.columns(run)), outputs=tokens(run.data.cells)),
            input_example=next((one for one in examples if one is not None), None),
            pip_requirements=[PACKAGE + _version()],
        )
        yield folder, {"parameters": str(run.parameters()), "step": str(run.train.steps), "puzzle": run.data.puzzle}


def _version() -> str:
    try:
        return f"=={version(PACKAGE)}"
    except PackageNotFoundError:  # a checkout that was not installed
        return ""
