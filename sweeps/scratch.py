"""Ray's scratch: where it unpacks the code of a job, and what must not be kept there.

A job's current folder is made anew for every edit of the code, and Ray deletes it; what is given by a relative path
(results, MLflow's file, Optuna's) would lie in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

UNPACKED = ("runtime_resources", "working_dir_files")  # Ray's folders, below that of its session


class InScratch(ValueError):
    """Something that is to last would be written where Ray unpacks a job's code."""


def is_scratch(path: Path) -> bool:
    """Whether a path, of the current folder where it is relative, lies where Ray unpacks code."""
    return UNPACKED in pairwise(path.resolve().parts)


def refuse_scratch(out: Path, files: Mapping[str, Path | None]) -> None:
    """That nothing that lasts is written there. Raises InScratch.

    files: by option or variable, the SQLite file that it leads to; None: it leads to none.
    """
    there = "lies where Ray unpacks a job's code, and goes with it"
    if is_scratch(out):
        raise InScratch(
            f"--out {out}: {out.resolve()} {there}; give an absolute path on a folder that every machine sees, as in"
            " --out /shared/results"
        )
    for name, path in files.items():
        if path is not None and is_scratch(path):
            raise InScratch(
                f"{name}: {path.resolve()} {there}; set it to a server, or to a file on a folder that lasts:"
                f" sqlite:///{out.resolve() / path.name}"
            )
