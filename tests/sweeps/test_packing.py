"""How many runs at once, by which launcher."""

from __future__ import annotations

import pytest

from sweeps.machines import Machines
from sweeps.packing import Arrangement, LauncherName, NotEnoughMachines, arrange


@pytest.mark.parametrize(
    ("cpus", "gpus", "jobs", "launcher", "workers", "expected"),
    [
        (2, 0, 6, None, 1, Arrangement("inline", 2, 1, use_gpu=False)),
        (16, 0, 6, None, 1, Arrangement("inline", 6, 1, use_gpu=False)),  # never more than there are jobs
        (2, 0, 6, "train", 1, Arrangement("train", 2, 1, use_gpu=False)),
        (8, 0, 6, None, 2, Arrangement("train", 4, 2, use_gpu=False)),  # several workers need Train
        (16, 1, 6, None, 1, Arrangement("train", 1, 1, use_gpu=True)),
        (64, 8, 42, None, 4, Arrangement("train", 2, 4, use_gpu=True)),
        (64, 8, 42, "inline", 1, Arrangement("inline", 8, 1, use_gpu=True)),
        (4, 8, 42, None, 1, Arrangement("train", 4, 1, use_gpu=True)),  # each worker also needs a CPU
    ],
)
def test_what_there_is_decides_by_which_launcher_and_how_many_at_once(
    cpus: int, gpus: int, jobs: int, launcher: LauncherName | None, workers: int, expected: Arrangement
) -> None:
    assert arrange(Machines(cpus, gpus, "here"), jobs, launcher, workers) == expected


@pytest.mark.parametrize(
    ("cpus", "gpus", "launcher", "workers", "found"),
    [
        (2, 0, None, 4, "--workers to at most 2"),
        (16, 2, None, 4, "--workers to at most 2"),
        (2, 0, "inline", 2, "--launcher train"),
        (2, 0, None, 0, "at least one"),
        (0, 0, None, 1, "has no CPUs"),
    ],
)
def test_a_run_that_fits_nowhere_is_refused(
    cpus: int, gpus: int, launcher: LauncherName | None, workers: int, found: str
) -> None:
    with pytest.raises(NotEnoughMachines, match=found):
        arrange(Machines(cpus, gpus, "here"), 6, launcher, workers)
