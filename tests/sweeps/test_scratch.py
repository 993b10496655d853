from pathlib import Path

import pytest

from sweeps.run import main
from sweeps.scratch import is_scratch

STUDY = ("--study", "recursion_depth", "--profile", "mini")
SEARCH = ("--search", "mini", "--profile", "mini")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a job, as Ray lays it out."""
    folder = tmp_path / "session" / "runtime_resources" / "working_dir_files" / "_ray_pkg_0123456789abcdef"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


@pytest.mark.parametrize("asked", [STUDY, SEARCH, (*STUDY, "--plan"), (*STUDY, "--tune", "mini"), ("--check",)])
def test_a_job_whose_results_would_lie_in_rays_scratch_is_refused(
    scratch: Path, asked: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: --out results: {scratch}/results lies where Ray unpacks")
    assert "--out /shared/results" in said
    assert list(scratch.iterdir()) == []


def test_a_job_whose_mlflow_file_would_lie_in_rays_scratch_is_refused(
    scratch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*STUDY, "--out", str(tmp_path / "out")]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"error: MLFLOW_TRACKING_URI: {scratch}/mlflow.db lies where Ray unpacks")
    assert f"sqlite:///{tmp_path}/out/mlflow.db" in said
    assert list(scratch.iterdir()) == []


def test_a_job_whose_optuna_file_would_lie_in_rays_scratch_is_refused(
    scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    given = (*SEARCH, "--out", str(tmp_path / "out"), "--optuna-storage", "sqlite:///optuna.db")
    assert main(given) == 2
    assert capsys.readouterr().err.startswith(f"error: --optuna-storage: {scratch}/optuna.db lies where")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert main(given[:-2]) == 2  # beside no file of MLflow's: in the current folder
    assert capsys.readouterr().err.startswith(f"error: --optuna-storage: {scratch}/optuna.db lies where")


def test_a_link_into_scratch_is_seen_and_another_folder_is_not_it(scratch: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(scratch)
    assert is_scratch(tmp_path / "link" / "results")
    assert not is_scratch(tmp_path / "session" / "results")
    assert not is_scratch(tmp_path / "working_dir_files" / "runtime_resources")
