"""What was measured of this CPU within the last hour: the next command need not measure it again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from data_prep.unfinished import this_machine
from sweeps.plan import Rate
from trm_core.caches import own_folder

HOURS = 1.0  # a machine has other work to do at another time
FILE = "cpu-rates.json"
LARGEST = 2**20  # bytes that are read


class Kept(NamedTuple):
    """A rate that was measured, in operations per second (plan.Rate)."""

    training: float
    evaluation: float
    measured: float  # when, as time.time()


def recall(shapes: Sequence[tuple[Any, ...]], at_once: int) -> list[Kept] | None:
    """What was measured of each of these shapes with so many runs at once; None where one of them is not known."""
    known, now = _read(), time.time()
    found = [known.get(_name(shape, at_once)) for shape in shapes]
    recent = [one for one in found if one is not None and 0 <= now - one.measured < 3600 * HOURS]
    return recent if recent and len(recent) == len(found) else None


def remember(rates: Mapping[tuple[Any, ...], Rate], at_once: int) -> None:
    """Keep the rates of shapes. Where nothing can be kept, nothing is."""
    folder = own_folder()
    if folder is None:
        return
    now = time.time()
    kept = {name: one for name, one in _read().items() if 0 <= now - one.measured < 3600 * HOURS}
    for shape, rate in rates.items():
        kept[_name(shape, at_once)] = Kept(rate.flops_per_s, rate.evaluation_flops_per_s or rate.flops_per_s, now)
    temporary = folder / f".{FILE}.{os.getpid()}"
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(kept))
        temporary.replace(folder / FILE)


def _name(shape: tuple[Any, ...], at_once: int) -> str:
    what = [*map(str, shape), at_once, version("torch"), this_machine()]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


def _read() -> dict[str, Kept]:
    """What the file holds and makes sense; a file that makes none is written anew."""
    folder = own_folder()
    if folder is None:
        return {}
    with contextlib.suppress(OSError, ValueError, RecursionError, AttributeError):
        with Path(folder / FILE).open(encoding="utf-8") as file:
            entries = json.loads(file.read(LARGEST)).items()
        return {name: Kept(*map(float, one)) for name, one in entries if _makes_sense(one)}
    return {}


def _makes_sense(entry: object) -> bool:
    return (
        isinstance(entry, list)
        and len(entry) == len(Kept._fields)
        and all(type(number) in (int, float) and 0 < number < 1e20 for number in entry)
    )
