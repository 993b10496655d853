"""What comes before and after `ray up`: a token that only its owner reads, the commit, versions, the head's address."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import secrets
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sweeps.cluster.findings import at, read_text, read_yaml
from sweeps.cluster.ray_file import TOKEN

PINNED = re.compile(r"^ray==(\S+)", re.MULTILINE)


class CannotLaunch(ValueError):
    """A file that Ray does not launch, or a machine without Ray."""


def need_ray_file(path: Path) -> dict[str, Any]:
    """The file's settings. Raises CannotLaunch for a file of another launcher, and BadFile."""
    text = read_text(path)
    if "\n#SBATCH" in text:
        raise CannotLaunch(f"{path}: SLURM's own command takes it: sbatch {path}; docs/clusters.md")
    data = read_yaml(path, text)[0].data
    if at(data, "provider", "type") is None:
        by = "kubectl apply -f" if at(data, "kind") else "sky jobs launch"
        raise CannotLaunch(f"{path}: no file of Ray's; `{by} {path}` takes it; docs/clusters.md")
    return data  # type: ignore[no-any-return]


def prepare(root: Path) -> list[str]:
    """Make the token, note the commit, compare versions. Returns what was done, a line each."""
    done = [make_token(Path(TOKEN).expanduser()), note_commit(root), *compare_versions(root)]
    return [line for line in done if line]


def make_token(path: Path) -> str:
    """A token that only its owner can read; one that is there stays, and loses what others may do with it."""
    if path.exists() and path.read_text(encoding="ascii", errors="replace").strip():
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
            return f"{path}: others could read it; mode 0600 now"
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # empty: Ray would say that there is none, on the head, after it has been set up
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    return f"{path}: made; who has it may run code on the cluster"


def note_commit(root: Path) -> str:
    """COMMIT in the root: machines get the code without .git, and their runs still say which it was."""
    noted = commit_of(root)
    if noted is None:
        return ""
    (root / "COMMIT").write_text(f"{noted}\n", encoding="ascii")
    _leave_out(root, "/COMMIT")
    commit, _, dirty = noted.partition(" ")
    return f"COMMIT: {commit[:12]}{', with changes that are not committed' if dirty else ''}"


def commit_of(root: Path) -> str | None:
    """What git says of a tree, as COMMIT holds it: the commit, and " dirty" where it was changed; None without git."""
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    return f"{commit} dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit


def compare_versions(root: Path) -> list[str]:
    """The Ray here and the one that constraints.txt puts on the machines must be the same to launch them."""
    try:
        here = version("ray")
    except PackageNotFoundError:
        raise CannotLaunch(f"{sys.executable} has no ray; run `make install`, then `make cluster-up`") from None
    found = PINNED.search((root / "constraints.txt").read_text(encoding="utf-8"))
    if found and found[1] != here:
        raise CannotLaunch(
            f"Ray {here} here, {found[1]} on the machines (constraints.txt); pip install ray=={found[1]}"
        )
    return []


def up(path: Path, root: Path) -> int:
    """`ray up`, from the repository's root. Returns its exit code."""
    own = at(need_ray_file(path), "provider", "type") == "local"
    environment = {**os.environ, "RAY_UP_enable_autoscaler_v2": "0" if own else "1"}
    code = subprocess.run([_ray(), "up", "--yes", str(path.resolve())], cwd=root, env=environment).returncode
    if code == 0:
        print(f"log in: ray attach {path}; then, in tmux: cd ~/trm-ablations and python sweeps/run.py …")
        print(f"pages:  python -m sweeps.cluster status {path}")
    return code


def status(path: Path) -> int:
    """What Ray says is up. Returns `ray`'s exit code."""
    need_ray_file(path)
    return subprocess.run([_ray(), "exec", str(path), "RAY_AUTH_MODE=token ray status"]).returncode


def head_of(path: Path, config: dict[str, Any]) -> str:
    """The head's address. Raises CannotLaunch where no head is up."""
    if at(config, "provider", "type") == "local":
        return str(at(config, "provider", "head_ip"))
    found = subprocess.run([_ray(), "get-head-ip", str(path)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if found.returncode or not found.stdout.strip():
        said = ("\n" + found.stderr.strip()).splitlines()[-1].strip()[:200] or "no answer"
        raise CannotLaunch(f"{path}: no head is up ({said}); `python -m sweeps.cluster up {path}`")
    return found.stdout.strip().splitlines()[-1]


def auth_of(config: dict[str, Any]) -> dict[str, Any]:
    """Who logs in, with which key: the file's, or of a cloud that it names none for, Ray's own."""
    auth: dict[str, Any] = at(config, "auth", default={})
    if "ssh_private_key" in auth or at(config, "provider", "type") == "local":
        return auth
    sdk = importlib.import_module("ray.autoscaler.sdk")
    with contextlib.redirect_stdout(io.StringIO()):
        found: dict[str, Any] = sdk.bootstrap_config(config)["auth"]
    return found


def down(path: Path) -> int:
    """`ray down`. Returns its exit code."""
    need_ray_file(path)
    return subprocess.run([_ray(), "down", "--yes", str(path)]).returncode


def _ray() -> str:
    """The `ray` of this interpreter, else of PATH. Raises CannotLaunch."""
    beside = Path(sys.executable).with_name("ray")
    found = str(beside) if beside.exists() else shutil.which("ray")
    if found is None:
        raise CannotLaunch("no `ray` here; run `make install`")
    return found


def _git(root: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def _leave_out(root: Path, pattern: str) -> None:
    """Into git's own list of this clone: .gitignore would keep the file from being copied along with the code."""
    where = _git(root, "rev-parse", "--git-path", "info/exclude")
    if where is None:
        return
    path = root / where
    any_bytes = {"encoding": "utf-8", "errors": "surrogateescape"}  # names of files, by whatever editor
    known = path.read_text(**any_bytes).splitlines() if path.exists() else []
    if pattern not in known:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([*known, pattern, ""]), **any_bytes)
