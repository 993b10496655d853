from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from data_prep.sudoku import build_sudoku
from sweeps.campaign import Campaign, Job, declare
from sweeps.study import Row, Study
from trm_core.config import RunConfig

TINY: dict[str, dict[str, Any]] = {
    "data": {
        "source": "generated", "box_rows": 2, "box_cols": 2, "train": 64, "validation": 16, "test": 32, "clues": 7
    },
    "model": {"D": 16, "n_heads": 2, "N_sup": 2, "T": 1, "n": 1, "puzzle_prefix": 1},
    "optim": {"warmup_steps": 2},
    "train": {
        "steps": 12, "batch_size": 16, "precision": "fp32", "eval_every": 6, "log_every": 2, "checkpoint_every": 4
    },
}  # fmt: skip

THIRD_PARTY = (  # warnings that others give about others; each is narrow, all else stays an error
    "ignore:.*Any type hint is inferred as AnyType:UserWarning",  # mlflow 3.17, about its own classes
    "ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning",  # mlflow 3.17 with SQLAlchemy 2.1
)


if "PYTEST_XDIST_WORKER" in os.environ:  # a core for each process, before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves runs beside the other process of the suite


if "PYTEST_XDIST_WORKER" not in os.environ:  # a folder of caches that begins empty and is every process's of the suite
    os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="caches-of-tests-")
    atexit.register(shutil.rmtree, os.environ["XDG_CACHE_HOME"], ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    for line in THIRD_PARTY:
        config.addinivalue_line("filterwarnings", line)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where tests run in several processes, those that start Ray share one, and so one Ray."""
    if config.pluginmanager.has_plugin("xdist"):
        for item in items:
            if item.get_closest_marker("ray"):
                item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(scope="session")
def puzzles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 4x4 Sudoku."""
    folder = tmp_path_factory.mktemp("data") / "puzzles"
    build_sudoku(folder, source="generate", box=(2, 2), train=64, validation=16, test=32, clues=7)
    return folder


@pytest.fixture(scope="session")
def tiny_run() -> RunConfig:
    """A run of a second, on `puzzles`."""
    return RunConfig.parse(TINY)


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's tables in it: making one takes seconds, copying one nothing."""
    from sweeps.records.address import connect

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def mlflow_here(empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An MLflow of this test's own, in a SQLite file."""
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_mlflow, path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def one_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The one Ray of all tests; whatever starts runs finds it."""
    from sweeps.machines import cluster

    if "PYTEST_XDIST_WORKER" in os.environ:  # all processes of a run have this parent folder in common
        (tmp_path_factory.getbasetemp().parent / "ray_is_up").mkdir()  # fails where the tests of Ray are not one group
    with contextlib.ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RAY_ADDRESS", "local")  # whatever Ray somebody has running on this machine
            stack.enter_context(cluster())
        yield


@pytest.fixture
def ray_here(one_ray: None) -> Iterator[None]:
    """The one Ray, with nothing reserved in it.

    Tune, interrupted, may leave what it has reserved for a run that it did not begin any more. A command ends then, and
    what is its own in Ray with it; a process of tests goes on, and its next launch would wait for that for ever.
    """
    yield
    import ray
    from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group

    for name, group in placement_group_table().items():
        if group["state"] != "REMOVED":
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(name))))


def job(run: RunConfig, seed: int = 0, *, row: str = "TRM k=1, T=1", study: str = "a_study", data: str = "") -> Job:
    """A job for a run at a seed."""
    run = run.change({"train": {"seed": seed}})
    return Job(run.key(data), study, row, "trm", "mini", seed, run)


def a_study(*rows: str, name: str = "a_study") -> Study:
    """A study of small runs: each row has another D, so that no two are the same."""
    return Study(
        name=name,
        title="A study",
        puzzle="sudoku",
        source="the tests",
        rows=tuple(
            Row(name=row, base="trm", change=TINY | {"model": TINY["model"] | {"D": 16 + 4 * at}})
            for at, row in enumerate(rows or ("TRM k=1, T=1",))
        ),
    )


def campaign(
    study: Study | None = None,
    *,
    seeds: Sequence[int] = (0,),
    data_seeds: Sequence[int] = (0,),
    changes: Sequence[str] = (),
    data: str = "hash",
    command: str = "",
) -> Campaign:
    """What a command would ask for: a study, in mini, at these seeds. Its runs are `.jobs()`."""
    study = study or a_study()
    return declare(study, "mini", changes).asked(study.rows, seeds, data_seeds, lambda _: data, command)
