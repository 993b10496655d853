"""What several tests of sweeps start from."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.sweeps.toy_search import ledger


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage with Optuna's tables in it and nothing else."""
    folder = tmp_path_factory.mktemp("optuna")
    with ledger(f"sqlite:///{folder / 'optuna.db'}", trials=0):
        pass
    with sqlite3.connect(folder / "optuna.db") as database:
        for table in ("study_directions", "study_user_attributes", "studies"):
            database.execute(f"DELETE FROM {table}")
    return folder / "optuna.db"


@pytest.fixture
def storage(empty: Path, tmp_path: Path) -> str:
    shutil.copy(empty, tmp_path / "optuna.db")
    return f"sqlite:///{tmp_path / 'optuna.db'}"
