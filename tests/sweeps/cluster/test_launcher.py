import stat
import subprocess
from pathlib import Path

import pytest

from sweeps.cluster import launcher
from sweeps.cluster.__main__ import main
from sweeps.cluster.login import of_file, tunnels
from tests.sweeps.cluster.conftest import Written


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_token_is_made_for_its_owner_alone_and_kept(tmp_path: Path) -> None:
    path = tmp_path / ".ray" / "auth_token"
    path.parent.mkdir()
    path.touch()  # empty is none
    assert "made" in launcher.make_token(path)
    token = path.read_text()
    assert (mode(path), len(token)) == (0o600, 64)
    assert launcher.make_token(path) == ""
    path.chmod(0o644)  # as Ray itself leaves it
    assert "mode 0600 now" in launcher.make_token(path)
    assert (mode(path), path.read_text()) == (0o600, token)


def test_the_commit_goes_along_and_is_neither_committed_nor_ignored(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        return subprocess.run(
            ["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    git("init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git("add", ".")
    git("commit", "-qm", "one")
    listed = tmp_path / ".git" / "info" / "exclude"
    listed.write_bytes(b"caf\xe9\n")  # a name of a file in another encoding
    launcher.note_commit(tmp_path)
    assert listed.read_bytes() == b"caf\xe9\n/COMMIT\n"
    assert (tmp_path / "COMMIT").read_text() == git("rev-parse", "HEAD")
    assert git("status", "--porcelain") == ""
    assert not (tmp_path / ".gitignore").exists()  # which would keep it from being copied to the machines
    (tmp_path / "code.py").write_text("2\n")
    assert "not committed" in launcher.note_commit(tmp_path)
    assert (tmp_path / "COMMIT").read_text().endswith(" dirty\n")


def test_without_git_there_is_no_commit_to_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert launcher.note_commit(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_another_ray_than_the_machines_will_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "constraints.txt").write_text("ray==0.0.1\n")
    with pytest.raises(launcher.CannotLaunch, match="0.0.1 on the machines"):
        launcher.compare_versions(tmp_path)


def test_the_tunnels_are_commands_to_copy(written: Written) -> None:
    said = tunnels(of_file(written("cluster/onprem.yaml"))).splitlines()
    assert len(said) == 2
    assert all("ubuntu@192.0.2.1" in line and "-i" in line for line in said)
    assert "-L 5000:127.0.0.1:5000" in said[1]


@pytest.mark.parametrize(
    ("name", "by"),
    [
        ("cluster/slurm.sbatch", "sbatch"),
        ("cluster/kuberay.yaml", "kubectl apply -f"),
        ("cluster/skypilot.yaml", "sky jobs launch"),
    ],
)
@pytest.mark.parametrize("verb", ["up", "status", "down"])
def test_a_file_for_another_launcher_is_told_whose_it_is(
    written: Written, name: str, by: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([verb, str(written(name))]) == 2
    assert by in capsys.readouterr().err
