"""How runs lie on machines: which launcher, how many at once, what each has. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sweeps.machines import Machines

LauncherName = Literal["train", "inline"]


class NotEnoughMachines(ValueError):
    """A run asks for more than there is."""


@dataclass(frozen=True)
class Arrangement:
    """How runs are started: by which launcher, how many at once, and what each has."""

    launcher: LauncherName
    at_once: int
    workers: int  # processes per run
    use_gpu: bool  # one per worker


def arrange(machines: Machines, jobs: int, launcher: LauncherName | None = None, workers: int = 1) -> Arrangement:
    """Which launcher, and how many runs at once.

    Train where there are GPUs or a run has several workers: its start-up of 11-18 s is nothing beside those. Inline
    elsewhere, each run on one CPU: as many at once as there are CPUs, so that threads never outnumber them and a run
    computes the same bits whatever runs beside it. Raises NotEnoughMachines.
    """
    if workers < 1:
        raise NotEnoughMachines(f"--workers {workers}: a run needs at least one; set it to 1 or more")
    chosen: LauncherName = launcher or ("train" if machines.gpus or workers > 1 else "inline")
    if chosen == "inline" and workers > 1:
        raise NotEnoughMachines(
            f"--workers {workers} with --launcher inline: inline trains a run in one process;"
            " set --launcher train or --workers 1"
        )
    places, kind = (machines.gpus, "GPUs") if machines.gpus else (machines.cpus, "CPUs")
    if workers > min(places, machines.cpus):
        raise NotEnoughMachines(
            f"--workers {workers}: {machines.where} has {machines.gpus} GPUs and {machines.cpus} CPUs, and each worker"
            f" needs a CPU and, where there are GPUs, a GPU; set --workers to at most {min(places, machines.cpus)}"
            if places and machines.cpus
            else f"{machines.where} has no {kind}; add a machine to the cluster"
        )
    at_once = min(places, machines.cpus) // workers
    return Arrangement(chosen, max(1, min(at_once, jobs)), workers, use_gpu=machines.gpus > 0)
