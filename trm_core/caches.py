"""This user's folder of caches. What lies there is executed or believed, so it is never one where others can write."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


def own_folder(*below: str) -> Path | None:
    """~/.cache/trm-ablations, or a folder below it, made where it is not there, for this user alone.

    XDG_CACHE_HOME is heeded. None where there is no home, where it cannot be written, or where others could write.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    if not home.is_absolute():
        return None
    folder = home / "trm-ablations"
    with contextlib.suppress(OSError):
        for each in (folder, *(folder.joinpath(*below[: depth + 1]) for depth in range(len(below)))):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_ours_alone(each):
                return None
            folder = each
        (folder / ".writable").touch()
        return folder
    return None


def _is_ours_alone(folder: Path) -> bool:
    """A folder, no link to one, that belongs to this user and that nobody else may write to."""
    found = os.lstat(folder)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
