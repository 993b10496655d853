"""How runs lie on machines: which launcher, how many at once, what each has. Pure functions."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sweeps.machines import Machines
from sweeps.search_spec import Dimension
from trm_core.config import RunConfig
from trm_core.memory import peak_bytes
from trm_core.settings import BadSetting
from trm_core.settings_as_text import setting_text

LauncherName = Literal["train", "inline"]
AUTO: Literal["auto"] = "auto"
GpusPerRun = float | Literal["auto"]

# Of what a process takes on a GPU beside its tensors: its context, and what torch's allocator cannot use again. Assumed
# with room to spare, not measured.
CONTEXT_BYTES = 1_000_000_000
SLACK = 1.2
MOST_ON_A_GPU = 8  # by "auto": they take turns on it, and more of them only wait longer
SMALLEST_SHARE = 0.01
GRAIN = 10_000  # Ray counts a GPU in ten-thousandths


class NotEnoughMachines(ValueError):
    """A run asks for more than there is."""


class BadShare(ValueError):
    """A --gpus-per-run that is no share of a GPU, or that does not go with the rest."""


@dataclass(frozen=True)
class Arrangement:
    """How runs are started: by which launcher, how many at once, and what each has."""

    launcher: LauncherName
    at_once: int
    workers: int  # processes per run
    use_gpu: bool  # each worker has one, or its share of one
    share: float = 1.0  # of a GPU


def read_gpus_per_run(text: str, *, workers: int, gpus: int) -> GpusPerRun:
    """ "auto", or a share of a GPU in (0, 1]. gpus: that there are. Raises BadShare."""
    said = f"--gpus-per-run {text}"
    expected = "expected auto, or a share of a GPU, as 0.25"
    if text == AUTO:
        return AUTO
    try:
        share = float(text)
    except ValueError:
        raise BadShare(f"{said}: no number; {expected}") from None
    if share > 1 and share.is_integer():
        raise BadShare(f"{said}: a run on several GPUs has a worker on each; set --workers {int(share)} instead")
    if not SMALLEST_SHARE <= share <= 1:
        raise BadShare(f"{said}: {expected}, from {SMALLEST_SHARE:g} to 1")
    if share < 1 and workers > 1:
        raise BadShare(f"{said} with --workers {workers}: each worker has a whole GPU; leave one of them out")
    if share < 1 and not gpus:
        raise BadShare(f"{said}: there is no GPU here, and on CPUs each run has a core; leave it out")
    return share


def share_of_a_gpu(
    asked: GpusPerRun, *, peak: int, free: int | None, runs: int, gpus: int, cpus: int, workers: int = 1
) -> float:
    """What each run has of a GPU: 1, or a share that lets several lie on one.

    peak: bytes of the largest run, by formula (trm_core/memory.py). free: bytes on the fullest of the GPUs; None: not
    known. By "auto" so many share a GPU as fit into what is free, but no GPU is shared while another has nothing to do,
    and no run lacks a CPU.
    """
    if asked != AUTO:
        return asked
    if workers > 1 or not gpus or free is None:
        return 1.0
    fit = int(free // (SLACK * peak + CONTEXT_BYTES))
    needed = math.ceil(min(runs, cpus) / gpus)
    on_one = min(fit, needed, MOST_ON_A_GPU)
    return 1.0 if on_one <= 1 else math.floor(GRAIN / on_one) / GRAIN


def on_one_gpu(share: float) -> int:
    """How many runs of this share lie on a GPU."""
    return int(1 / share + 1e-9)


def arrange(
    machines: Machines, jobs: int, launcher: LauncherName | None = None, workers: int = 1, share: float = 1.0
) -> Arrangement:
    """Which launcher, and how many runs at once. share: of a GPU, where there are any.

    Train where a run has GPUs of its own or several workers: its start-up of 11-18 s is nothing beside those. Inline
    elsewhere. On CPUs a run has one: as many at once as there are CPUs, so that threads never outnumber them and a run
    computes the same bits whatever runs beside it. Raises NotEnoughMachines.
    """
    if workers < 1:
        raise NotEnoughMachines(f"--workers {workers}: a run needs at least one; set it to 1 or more")
    shares = machines.gpus > 0 and share < 1
    chosen: LauncherName = launcher or ("train" if workers > 1 or (machines.gpus and not shares) else "inline")
    if chosen == "inline" and workers > 1:
        raise NotEnoughMachines(
            f"--workers {workers} with --launcher inline: inline trains a run in one process;"
            " set --launcher train or --workers 1"
        )
    if shares and workers > 1:
        raise NotEnoughMachines(
            f"--gpus-per-run {share:g} with --workers {workers}: each worker has a whole GPU; leave one of them out"
        )
    places, kind = (machines.gpus, "GPUs") if machines.gpus else (machines.cpus, "CPUs")
    if workers > min(places, machines.cpus):
        raise NotEnoughMachines(
            f"--workers {workers}: {machines.where} has {machines.gpus} GPUs and {machines.cpus} CPUs, and each worker"
            f" needs a CPU and, where there are GPUs, a GPU; set --workers to at most {min(places, machines.cpus)}"
            if places and machines.cpus
            else f"{machines.where} has no {kind}; add a machine to the cluster"
        )
    found = Arrangement(chosen, 0, workers, use_gpu=machines.gpus > 0, share=share if shares else 1.0)
    return replace(found, at_once=max(1, min(room(found, machines), jobs)))


def room(arrangement: Arrangement, machines: Machines) -> int:
    """How many runs so arranged go on at once on machines that may have come or gone since; 0 where none does."""
    places = machines.gpus * on_one_gpu(arrangement.share) if arrangement.use_gpu else machines.cpus
    return min(places, machines.cpus) // arrangement.workers


def largest(base: RunConfig, space: Sequence[Dimension]) -> RunConfig:
    """The base run with every dimension at that of its ends that needs the most memory, as far as they go together."""
    for dimension in space:
        for value in dimension.range.ends:
            with contextlib.suppress(BadSetting):
                other = base.set([f"{dimension.setting}={setting_text(value)}"])
                base = max(base, other, key=peak_bytes)
    return base
