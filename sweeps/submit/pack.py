"""The tree as a job's package: what git tracks, and what is new and not ignored; where there is no git, the code."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeps.cluster.launcher import commit_of

MOST_BYTES = 100 * 1024**2  # of all files; Ray keeps a package in its head's memory
CODE = ("data_prep", "trm_core", "sweeps", "reports")
NOTE = "COMMIT"
EPOCH = (1980, 1, 1, 0, 0, 0)  # equal files, equal package: what is there already is not sent again


class TooLarge(ValueError):
    """More than a job's package should hold."""


@dataclass(frozen=True)
class Package:
    """What was packed."""

    path: Path  # a zip file
    n_files: int
    n_bytes: int  # of the files, before they were packed
    digest: str  # 16 hex digits of what was packed

    @property
    def in_words(self) -> str:
        """For a person."""
        return f"{self.n_files:,} files, {self.n_bytes / 1e6:.1f} MB ({self.path.stat().st_size / 1e6:.1f} MB packed)"


def pack(root: Path, path: Path) -> Package:
    """Write the package of the tree below root. Raises TooLarge."""
    files = {name: root / name for name in sorted(set(_names(root)))}
    files = {name: file for name, file in files.items() if _is_file(file)}
    sizes = {name: file.stat().st_size for name, file in files.items()}
    if (whole := sum(sizes.values())) > MOST_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        raise TooLarge(
            f"{root}: {whole / 1e6:.0f} MB in {len(files):,} files would be sent, at most {MOST_BYTES / 1e6:.0f} MB;"
            f" let .gitignore name what is no code (the largest: {largest}, {sizes[largest] / 1e6:.0f} MB)"
        )
    digest = hashlib.sha256()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:

        def add(name: str, content: bytes, mode: int) -> None:
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (stat.S_IFREG | mode) << 16
            package.writestr(entry, content, zipfile.ZIP_DEFLATED)
            digest.update(f"{name}\0{len(content)}\0".encode(errors="surrogateescape") + content)

        for name, file in files.items():
            add(name, file.read_bytes(), file.stat().st_mode & 0o755)
        if NOTE not in files and (commit := commit_of(root)) is not None:
            add(NOTE, f"{commit}\n".encode("ascii"), 0o644)
    return Package(path, len(files), whole, digest.hexdigest()[:16])


def _names(root: Path) -> Iterator[str]:
    """Of the files, relative to root."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root, capture_output=True
        )
    except OSError:
        listed = None
    if listed is not None and listed.returncode == 0:
        yield from (name.decode(errors="surrogateescape") for name in listed.stdout.split(b"\0") if name)
        return
    for folder in CODE:
        for file in (root / folder).rglob("*"):
            if "__pycache__" not in file.parts:
                yield file.relative_to(root).as_posix()
    if (root / NOTE).exists():
        yield NOTE


def _is_file(path: Path) -> bool:
    """A file that is there (git lists deleted ones too), no link to somewhere else."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
