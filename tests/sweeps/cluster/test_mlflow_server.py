"""cluster/mlflow_server.sh: what it asks MLflow for is what MLflow knows, and no password stands in a command."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.cluster.login import Login, tunnels
from tests.sweeps.cluster.conftest import ROOT

SCRIPT = ROOT / "cluster" / "mlflow_server.sh"


def script(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["bash", str(SCRIPT), *arguments], env=environment(home), capture_output=True, text=True)


def environment(home: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}"}


def test_one_word_puts_the_runs_into_postgres_and_stays_where_it_is_left_out(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    for given in (["postgresql://me@db.example.org:5433/mlflow"], []):
        assert script(tmp_path, "install", str(shared), *given).returncode == 0
        assert (shared / "database").read_text() == "postgresql+psycopg://me@db.example.org:5433/mlflow\n"
        assert stat.S_IMODE((shared / "database").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("postgresql://me:secret@db/mlflow", "a password in a command"),
        ("mysql://me@db/mlflow", "expected postgresql://user@host/name"),
        ("/shared/mlflow.db", "expected postgresql://user@host/name"),
    ],
)
def test_another_database_or_a_password_in_the_command_is_refused_and_nothing_written(
    tmp_path: Path, given: str, why: str
) -> None:
    ended = script(tmp_path, "install", str(tmp_path / "shared"), given)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert why in ended.stderr
    assert "secret" not in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_server_is_asked_with_words_that_mlflow_knows(tmp_path: Path) -> None:
    said = _asked_of_mlflow(tmp_path, "postgresql://me@db/mlflow")
    server, *words = said["arguments"].split()
    help_of_it = subprocess.run(
        [sys.executable, "-c", "from mlflow.cli import cli; cli()", server, "--help"],
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    options = [word for word in words if word.startswith("--")]
    assert len(options) == 6
    assert [option for option in options if f"{option} " not in help_of_it] == []
    assert "basic-auth" in help_of_it
    assert said["MLFLOW_BACKEND_STORE_URI"] == "postgresql+psycopg://me@db/mlflow"
    assert said["arguments"].startswith("server --host 127.0.0.1 --port 5000 --workers 1 --app-name basic-auth")


def test_without_a_database_runs_are_kept_in_a_file_beside_the_artefacts(tmp_path: Path) -> None:
    said = _asked_of_mlflow(tmp_path)
    assert said["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path}/shared/mlflow.db"
    assert said["arguments"].endswith(f"--artifacts-destination {tmp_path}/shared/artifacts")


def test_the_tunnel_to_it_is_a_command_to_copy() -> None:
    login = Login("ubuntu@192.0.2.1", ("-i", "my key"), "cluster.yaml")
    assert tunnels(login).splitlines()[1] == (
        "MLflow: ssh -i 'my key' -N -L 5000:127.0.0.1:5000 ubuntu@192.0.2.1 and http://127.0.0.1:5000"
    )


def _asked_of_mlflow(home: Path, *database: str) -> dict[str, str]:
    """What the script asks a stand-in for `mlflow`."""
    assert script(home, "install", str(home / "shared"), *database).returncode == 0
    (home / "bin").mkdir()
    (home / "bin" / "mlflow").write_text(
        '#!/usr/bin/env bash\n{ echo "arguments=$*"; env; } > ~/asked; exec sleep infinity\n', encoding="utf-8"
    )
    (home / "bin" / "mlflow").chmod(0o755)
    os.mkfifo(home / "asked")
    process = subprocess.Popen(["bash", str(SCRIPT), "serve"], env=environment(home), start_new_session=True)
    try:
        lines = (home / "asked").read_text(encoding="utf-8").splitlines()
    finally:
        process.terminate()
        process.wait()
    return dict(line.split("=", 1) for line in lines if "=" in line)
