"""A study's reports, back from the cluster: tables, pages, figures; never checkpoints. What comes is not trusted.

The head's `tar` packs them, ssh carries them, and each file is looked at before it is written: its name, its kind, its
size, and that it lies where reports lie.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from data_prep.files import whole
from sweeps.cluster.login import Login, last_words
from sweeps.study import EVERY_PROFILE

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")  # of a study or a search
PART = re.compile(r"[^/\0-\x1f\x7f-\x9f]{1,200}")  # of a path
KINDS = frozenset(
    [".csv", ".css", ".html", ".js", ".json", ".md", ".npz", ".parquet", ".pdf", ".png", ".svg", ".tex", ".txt"]
)
MOST_BYTES, MOST_FILES = 500 * 1024**2, 5000
DEEPEST = 6  # profile/study/label/figures/file.png


class NotBrought(ValueError):
    """The report could not be brought back."""


@dataclass(frozen=True)
class Brought:
    """What was written, relative to the folder, and how many files were none of a report's."""

    files: tuple[str, ...]
    n_left_out: int


def bring(login: Login, out: str, name: str, profiles: Iterable[str], into: Path) -> Brought:
    """Reports of this study or search below `out` on the head → below `into` here. Raises NotBrought."""
    if not PurePosixPath(out).is_absolute() or not NAME.fullmatch(name):
        raise NotBrought(f"{out[:100]!r}, {name[:100]!r}: no folder and study that a report could be brought from")
    wanted = [profile for profile in profiles if profile in EVERY_PROFILE] or list(EVERY_PROFILE)
    there = " ".join(shlex.quote(f"{profile}/{name}") for profile in wanted)
    script = (
        f"cd -- {shlex.quote(out)} || exit 3; set --; for one in {there}; do"
        ' if [ -d "$one" ]; then set -- "$@" "$one"; fi; done; [ $# -gt 0 ] || exit 4; exec tar -cf - -- "$@"'
    )
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            login.command(script=script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=words
        )
        assert process.stdout is not None
        try:
            brought = unpack(process.stdout, {f"{profile}/{name}" for profile in wanted}, into)
            while process.stdout.read(2**16):  # what fills tar's last block
                pass
            code = process.wait()
        except tarfile.TarError:
            process.kill()
            code = process.wait()
            brought = Brought((), 0)
        finally:
            process.stdout.close()
            if process.poll() is None:
                process.kill()
                process.wait()
        if code == 4:
            raise NotBrought(f"{login.given}: no report of {name} in {out} there")
        if code or not brought.files:
            said = last_words(words) or "no archive came"
            raise NotBrought(f"{login.given}: the report in {out} there was not brought ({said})")
    return brought


def unpack(stream: IO[bytes], homes: Iterable[str], into: Path) -> Brought:
    """Take from a tar archive what belongs into a report. homes: folders that may be written, as "mini/components".

    Raises TarError for what is none, NotBrought for one without end.
    """
    homes, left_out, n_bytes = set(homes), 0, 0
    written: list[str] = []
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if member.isdir():
                continue
            n_bytes += member.size
            if n_bytes > MOST_BYTES or len(written) + left_out >= MOST_FILES:
                raise NotBrought(
                    f"more than {MOST_FILES:,} files or {MOST_BYTES / 1e6:.0f} MB came, and a report has fewer; copy"
                    " what you want by hand"
                )
            path = PurePosixPath(member.name)
            content = archive.extractfile(member) if member.isreg() and _belongs(path, homes) else None
            if content is None or not _write(into, path, content.read()):
                left_out += 1
            else:
                written.append(str(path))
    return Brought(tuple(written), left_out)


def _belongs(path: PurePosixPath, homes: set[str]) -> bool:
    parts = path.parts
    return (
        3 <= len(parts) <= DEEPEST
        and "/".join(parts[:2]) in homes
        and all(PART.fullmatch(part) and not part.startswith(".") for part in parts)
        and path.suffix in KINDS
    )


def _write(into: Path, path: PurePosixPath, content: bytes) -> bool:
    """Write a file whole. False where a link leads out of the folder, or the name is taken by another kind of thing."""
    file = into / path
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        return False
    if not file.parent.resolve().is_relative_to(into.resolve()) or file.is_dir():
        return False
    with whole(file) as new:
        new.write_bytes(content)
    return True
