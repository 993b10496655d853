"""The files that are shipped, filled in as a user would."""

from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FILLED = {  # what is shipped, and what a user writes there
    "cluster.yaml": {
        '"<SecurityGroup>"': "sg-0123456789abcdef0",
        '"<InstanceProfile>"': "trm-head",
        "<SharedFolder>": "172.31.0.9",
    },
    "cluster/onprem.yaml": {
        '"<head\'s address>"': "192.0.2.1",
        '"<other\'s address>"': "192.0.2.2",
        "~/.ssh/id_ed25519": "~/key",
    },
    "cluster/kuberay.yaml": {'"<storage class>"': "nfs", "<registry>": "registry.example"},
    "cluster/skypilot.yaml": {'"<bucket>"': "trm-results"},
    "cluster/slurm.sbatch": {"<partition>": "gpu", "<folder>": "/shared"},
}

Written = Callable[..., Path]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """A shipped file, filled in, with `changes` made in it, in a home that has the token and the key."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    token = tmp_path / "home" / ".ray" / "auth_token"
    token.parent.mkdir(parents=True)
    token.touch(mode=0o600)
    token.write_text("0" * 64, encoding="ascii")
    (tmp_path / "home" / "key").touch(mode=0o600)

    def write(name: str, *changes: tuple[str, str]) -> Path:
        text = (ROOT / name).read_text(encoding="utf-8")
        for old, new in (*FILLED[name].items(), *changes):
            assert old in text, f"{name} has no {old!r}"
            text = text.replace(old, new)
        path = tmp_path / Path(name).name
        path.write_text(text, encoding="utf-8")
        return path

    return write
