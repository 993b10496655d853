"""How any file that is not our own is opened: a regular one, of a size that makes sense, read whole or not at all; and
how one is written, whole or not at all.

Whatever a byte in a file can do there ends as an OSError or a ValueError with a reason of a few words: a pipe that
nobody writes to, brackets nested a million deep, a number of 5,000 digits, an array whose header promises more than the
file holds. Who asked for the file says which it was and what to do.
"""

import contextlib
import errno
import json
import os
import stat
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from data_prep.unfinished import partial_of, remove_unfinished

# What numpy raises at a header that is none of its own; the last from Python 3.12 on.
HEADER_ERRORS = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError)
MOST_JSON_BYTES = 1 << 30  # ARC's largest file has 4 MB, the released identifiers.json 40


def check_regular(path: Path) -> Path:
    """The path itself, if a regular file lies there (or at the end of a link). Raises OSError."""
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a NUL in it
        raise OSError(errno.EINVAL, "no path can have a NUL in it", repr(str(path))) from error
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
        kind = next((name for is_one, name in kinds if is_one(mode)), "a device")
        raise OSError(errno.EINVAL, f"{kind}, not a file", str(path))
    return path


def read_bytes(path: Path) -> bytes:
    """All of a regular file. Raises OSError."""
    return check_regular(path).read_bytes()


def read_text(path: Path, most_bytes: int = MOST_JSON_BYTES) -> str:
    """All of a UTF-8 file of at most so many bytes. Raises OSError; ValueError says in a few words what it is."""
    size = check_regular(path).stat().st_size
    if size > most_bytes:
        raise ValueError(f"{size:,} bytes, expected at most {most_bytes:,}")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from error


def read_json(path: Path, most_bytes: int = MOST_JSON_BYTES) -> Any:
    """What a JSON file holds. Raises OSError; ValueError says in a few words why it is none."""
    return parse_json(read_text(path, most_bytes))


def parse_json(text: str) -> Any:
    """What a JSON text holds. Raises ValueError, also where the text is JSON by its letter, but for nobody to read."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("brackets nested too deeply") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise ValueError(str(error).split(";")[0]) from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON's")


def load_array(path: Path) -> NDArray[Any]:
    """The array of an .npy file, memory-mapped and read-only; one without elements in memory. No object is unpickled.

    Its header is held against the file before anything is made of it. Raises OSError; ValueError says in a few words
    what is wrong.
    """
    with check_regular(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        magic = file.read(len(npy.MAGIC_PREFIX))
        if magic[:2] == b"PK":
            raise ValueError("a zip file (.npz), expected a single array (.npy)")
        if magic != npy.MAGIC_PREFIX:
            raise ValueError("no .npy file by its first bytes" if magic else "an empty file")
        file.seek(0)
        try:
            version = npy.read_magic(file)
            read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
            shape, _, dtype = read_header(file)
        except KeyError as error:
            raise ValueError(f"version {'.'.join(map(str, version))} of the format, expected 1.0 or 2.0") from error
        except HEADER_ERRORS as error:
            raise ValueError(f"its header cannot be read ({' '.join(str(error).split())[:100]})") from error
        if dtype.hasobject:
            raise ValueError("holds Python objects, expected numbers")
        if any(not isinstance(n, int) or n < 0 for n in shape):
            raise ValueError(f"shape {list(shape)}, expected numbers of 0 or more")
        expected = file.tell() + dtype.itemsize * int(np.prod([int(n) for n in shape], dtype=object))
        if size != expected:
            raise ValueError(f"{size:,} bytes, expected {expected:,} by its header")
    array: NDArray[Any] = np.load(path, mmap_mode=None if 0 in shape else "r", allow_pickle=False)
    array.flags.writeable = False
    return array


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """A compressed .npz, there whole or not at all, its folder made where it lacks. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its stub takes a flag for a name
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write what has its name once it is whole, replacing what was there; what goes wrong leaves nothing.

    What a killed process left of this file is removed. Raises OSError.
    """
    remove_unfinished(path)
    partial = partial_of(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
