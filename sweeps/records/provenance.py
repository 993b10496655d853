"""What made a run: the commit, the versions, the host, and what MLflow's pages show as its source and user.

Tags that are the same for all runs of a launch.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

SOURCE = "sweeps/run.py"
VARIABLE = "TRM_COMMIT"
NOTED = re.compile(r"([0-9a-f]{40,64})( dirty)?\n?")
VERSIONS_OF = ("torch", "ray", "numpy", "mlflow")


def tags() -> dict[str, str]:
    """Commit, whether the tree was changed, versions, host."""
    found = {"version.python": sys.version.split()[0], "host": socket.gethostname()}
    for package in VERSIONS_OF:
        with contextlib.suppress(PackageNotFoundError):
            found[f"version.{package}"] = version(package)
    here = Path(__file__).resolve().parent
    commit = _git(here, "rev-parse", "HEAD")
    changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    found["commit"] = commit or "unknown"
    found["dirty"] = "unknown" if changed is None else "yes" if changed else "no"
    found |= _noted(here.parents[1]) if commit is None else {}
    return found | _as_mlflow_shows_it(found["commit"])


def _as_mlflow_shows_it(commit: str) -> dict[str, str]:
    """The tags behind "Source" and "Created by"; without a repository there is no version, without a name no user."""
    tags = {"mlflow.source.name": SOURCE, "mlflow.source.type": "LOCAL"}
    if commit != "unknown":
        tags["mlflow.source.git.commit"] = commit
    with contextlib.suppress(OSError, KeyError, ImportError):  # a user id without a name
        tags["mlflow.user"] = getpass.getuser()
    return tags


def _noted(root: Path) -> dict[str, str]:
    """Of code without .git: what TRM_COMMIT says, else the file COMMIT that went with it; without both, nothing."""
    said = NOTED.fullmatch(os.environ.get(VARIABLE, ""))
    if said is None:
        try:
            said = NOTED.fullmatch((root / "COMMIT").read_text(encoding="ascii"))
        except (OSError, ValueError):
            return {}
    return {"commit": said[1], "dirty": "yes" if said[2] else "no"} if said else {}


def remote() -> str:
    """The address of the repository that this code is of, as git has it; empty where there is none."""
    return _git(Path(__file__).resolve().parent, "config", "--get", "remote.origin.url") or ""


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None where there is no git or no repository (an installed package)."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
