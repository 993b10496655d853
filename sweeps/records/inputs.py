"""A run's puzzles as an input that MLflow's pages show: name, digest, how they were made, and what they are for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sweeps.campaign import Job
from sweeps.puzzles import OWN_FILES

if TYPE_CHECKING:
    from mlflow import MlflowClient

DIGEST = 16  # hex digits of the content hash; MLflow takes 36
CONTEXT = "train, validation, test"


def log_puzzles(client: MlflowClient, run_id: str, job: Job, content_hash: str, tags: Mapping[str, str]) -> None:
    """Say which puzzle set a run is on; again and again it is once there. Raises whatever the store raises."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    data = job.run.data
    side = math.isqrt(data.cells)
    made = "own files" if OWN_FILES in tags else data.source
    puzzles = Dataset(
        name=f"{data.puzzle} {side}x{side}, {made}",
        digest=content_hash[:DIGEST],
        source_type=data.source,
        source=json.dumps(data.model_dump(mode="json")),
        profile=json.dumps({split: getattr(data, split) for split in ("train", "validation", "test")}),
    )
    client.log_inputs(run_id, [DatasetInput(puzzles, [InputTag(MLFLOW_DATASET_CONTEXT, CONTEXT)])])
