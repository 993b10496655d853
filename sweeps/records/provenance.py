"""What made a run: the commit, the versions, the host. Tags that are the same for all runs of a launch."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

VERSIONS_OF = ("torch", "ray", "numpy", "mlflow")


def tags() -> dict[str, str]:
    """Commit, whether the tree was changed, versions, host."""
    found = {"version.python": sys.version.split()[0], "host": socket.gethostname()}
    for package in VERSIONS_OF:
        with contextlib.suppress(PackageNotFoundError):
            found[f"version.{package}"] = version(package)
    here = Path(__file__).resolve().parent
    found["commit"] = _git(here, "rev-parse", "HEAD") or "unknown"
    changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    found["dirty"] = "unknown" if changed is None else "yes" if changed else "no"
    return found


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says, or None where there is no git or no repository (an installed package)."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
