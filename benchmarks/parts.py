"""A checkpoint in parts under 16 MiB, and back, every byte verified.

checkpoint_00000100/
    part_000 part_001 …    the files of a checkpoint (trm_core/checkpoint.py), one after the other
    parts.json             their names and sizes, and the size and SHA-256 of every part; written last
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from trm_core.checkpoint import BadCheckpoint

PART = 15 * 2**20  # bytes


def split(folder: Path, out: Path, size: int = PART) -> None:
    """The files of a folder → parts in `out`, which appears whole or not at all."""
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    files = sorted(folder.iterdir())
    parts = []
    for number, chunk in enumerate(_chunks(files, size)):
        path = partial / f"part_{number:03d}"
        path.write_bytes(chunk)
        parts.append({"name": path.name, "bytes": len(chunk), "sha256": hashlib.sha256(chunk).hexdigest()})
    listing = {"files": [{"name": file.name, "bytes": file.stat().st_size} for file in files], "parts": parts}
    (partial / "parts.json").write_text(json.dumps(listing, indent=1) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)


def join(parts: Path, folder: Path) -> None:
    """Parts → the files they were made of, in `folder`. Raises BadCheckpoint naming the part."""
    try:
        listing = json.loads((parts / "parts.json").read_text())
        entries = [(str(e["name"]), int(e["bytes"]), str(e["sha256"])) for e in listing["parts"]]
        files = [(Path(e["name"]).name, int(e["bytes"])) for e in listing["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"{parts}/parts.json: missing or unreadable ({error!r}); copy the folder again") from None
    whole = bytearray()
    for name, size, sha256 in entries:
        path = parts / Path(name).name
        if not path.is_file():
            raise BadCheckpoint(f"{path}: missing, one of {len(entries)} parts; copy it here again")
        chunk = path.read_bytes()
        if hashlib.sha256(chunk).hexdigest() != sha256:
            raise BadCheckpoint(
                f"{path}: torn or changed, {len(chunk)} bytes of {size} and another SHA-256; copy it here again"
            )
        whole += chunk
    folder.mkdir(parents=True)
    start = 0
    for name, size in files:
        (folder / name).write_bytes(whole[start : start + size])
        start += size


def _chunks(files: list[Path], size: int) -> Iterator[bytes]:
    """The bytes of all files, `size` at a time."""
    waiting = b""
    for file in files:
        waiting += file.read_bytes()
        while len(waiting) >= size:
            yield waiting[:size]
            waiting = waiting[size:]
    if waiting:
        yield waiting
