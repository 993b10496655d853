"""What several tests of records stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweeps.records.stores import Server


@pytest.fixture
def server(mlflow_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An MLflow server over this test's own file."""
    with Server(mlflow_here, tmp_path).up(monkeypatch) as server:
        yield server
