"""What every verb that makes runs is given, and does before any starts: the means, the plan, a person's consent.

Nothing here starts a run; torch, Ray and MLflow are not imported.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_prep.files import whole
from sweeps import campaign as campaigns_of
from sweeps import joining
from sweeps.budget import Budget
from sweeps.calibration import matrix_rate, measure_cpu
from sweeps.campaign import Campaign, Job
from sweeps.folder import last_checkpoint
from sweeps.machines import ALL_THERE_IS, Found, Wanted
from sweeps.packing import AUTO, GpusPerRun, LauncherName, on_one_gpu, share_of_a_gpu
from sweeps.plan import Consent, Plan, card_rate, gpu_rate, make_plan, needs_consent, recorded_rates
from sweeps.prices import Card, Price, find_card
from sweeps.puzzles import CannotWrite, Sources
from sweeps.records import address
from sweeps.records.types import RunRecord
from sweeps.screen import print_plan
from trm_core.command_line import BadCommand
from trm_core.config import RunConfig
from trm_core.memory import free_memory, peak_bytes, settled
from trm_core.settings import DataSettings

MEASURED_ABOVE_S = 600.0  # of runs; measuring a CPU takes some 8 s, and the matrix products err by a factor of two


class NeedsYes(ValueError):
    """More than one GPU-hour of work, and nobody to ask."""


@dataclass(frozen=True, kw_only=True)
class Means:
    """On what runs are made, where they lie, and what was said about it."""

    out: Path
    data: Sources
    launcher: LauncherName | None
    workers: int
    gpus_per_run: GpusPerRun = 1.0
    yes: bool
    retry_failed: bool
    on: Card | None  # what the plan is for, where it is not for this machine
    price: Price | None  # of one place, where it was given
    budget: Budget | None
    found: Found
    command: str  # as it was typed, for the record
    only_plan: bool = False  # nothing is to be started
    wanted: Wanted = ALL_THERE_IS
    shard: tuple[int, int] | None = None  # the second of 8: (2, 8)

    @property
    def places(self) -> int:
        """GPUs, or CPU cores where there are none."""
        return len(self.found.gpus) or (self.found.cluster.cpus if self.found.cluster else os.cpu_count() or 1)

    @property
    def device(self) -> str:
        """As runs record it: "cpu", a GPU's name, or "" for any GPU."""
        return self.found.gpus[0] if self.found.gpus else "cpu"


def plan_of(
    means: Means,
    jobs: Sequence[Job],
    over: Collection[str],
    records: Sequence[RunRecord],
    test_puzzles: Callable[[DataSettings], int | None],
    notes: Sequence[str] = (),
    largest: Sequence[RunConfig] = (),
) -> Plan:
    """What is left and what it costs: by finished runs on this device, else measured (CPU) or assumed (GPU).

    over: keys of runs that are not to be made, since they are finished or have failed. With --on it is another device.
    largest: runs that may come and need more memory than these.
    A CPU is not measured for little work, unless the plan is all that was asked for or a budget depends on it.
    """
    here, card = means.found.gpus, means.on
    on_cpu = card.device == "cpu" if card else not here
    rates = recorded_rates(records, card.device if card else means.device, means.workers)
    todo = [job.run for job in jobs if job.key not in over]
    share = 1.0 if card or not todo else _share(means, [*todo, *largest], len(todo))
    if share < 1:
        notes = (*notes, f"{on_one_gpu(share)} runs share a GPU; all together are taken to be as fast as one alone.")
    elif means.gpus_per_run == AUTO and here and means.found.free is None:
        notes = (*notes, "No GPU here says what it has free, so each run has one of its own.")
    at_once = max(1, min(means.places * on_one_gpu(share) // means.workers, len(jobs)))
    if card is not None and (card.device == "cpu") == bool(here):  # not what is here: how many there are is not known
        at_once = 1
        notes = (*notes, f"On one {card.name}: one run at a time.")
    fallback = card_rate(card) if card else card_rate(find_card("cpu")) if on_cpu else gpu_rate(here[0])
    make = partial(
        make_plan,
        jobs,
        over,
        rates,
        at_once=at_once,
        workers=means.workers,
        share=share,
        inline=(on_cpu or share < 1) and means.workers == 1 and means.launcher != "train",
        price=means.price or (card.price if card else None),
        unit="core" if on_cpu else "GPU",
        memory=_memory(means, share),
        notes=notes,
        test_puzzles=test_puzzles,
        reached=lambda job: min(last_checkpoint(means.out / "runs" / job.key) or 0, job.run.train.steps),
    )
    unknown = [job.run for job in jobs if job.key not in over and job.row not in rates] if on_cpu else []
    if not unknown:
        return make(fallback)
    roughly = make(matrix_rate("so little work begins sooner without; --plan measures them"))
    if not means.only_plan and means.budget is None and roughly.seconds < MEASURED_ABOVE_S:
        return roughly
    return make(fallback, measured=measure_cpu(unknown, at_once))


def refuse_cpus(means: Means, profile: str) -> None:
    """A profile of full size is for GPUs, and never falls back to CPUs unless somebody means it. Raises BadCommand."""
    if profile == "mini" or means.found.gpus or means.wanted.gpus == 0:
        return
    where = means.found.cluster.where if means.found.cluster else "this machine"
    raise BadCommand(
        f"{profile} is for GPUs and {where} has none; --profile mini is for CPUs, --gpus 0 means CPUs all the same, and"
        " --gpus 8 --wait 20 waits for a cluster to bring some"
    )


def _memory(means: Means, share: float) -> int | None:
    """Bytes that each run has where it is to be made; None where that is not known."""
    if means.on is not None:
        return None if means.on.gigabytes is None else means.on.gigabytes * 10**9
    if means.found.gpus:
        return None if means.found.free is None else means.found.free // on_one_gpu(share)
    return None if means.found.cluster else free_memory()


def _share(means: Means, runs: Sequence[RunConfig], n: int) -> float:
    """What each of n runs has of a GPU, none of them larger than these."""
    cluster = means.found.cluster
    return share_of_a_gpu(
        means.gpus_per_run,
        peak=max(peak_bytes(settled(run, means.found.free)) for run in runs),
        free=means.found.free,
        runs=n,
        gpus=len(means.found.gpus),
        cpus=cluster.cpus if cluster else os.cpu_count() or 1,
        workers=means.workers,
    )


def ask(means: Means, plan: Plan) -> None:
    """A person's consent where it is needed. Raises NeedsYes, also for a no, for Ctrl-D and where nobody can answer."""
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    consent = needs_consent(plan, len(means.found.gpus), means.yes, is_terminal)
    if consent in (Consent.ASK, Consent.MISSING):
        print_plan(plan)
    if consent is Consent.MISSING:
        raise NeedsYes(
            "this is more than one GPU-hour of work and there is no terminal to ask at; add --yes to start it"
        )
    if consent is Consent.ASK:
        try:
            answer = input("More than one GPU-hour of work. Start? [y/N] ")
        except EOFError:  # Ctrl-D
            print()
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            raise NeedsYes("not started; --only, --set and --seeds make it smaller")


def check_place(means: Means) -> None:
    """That runs can be recorded, and a Ray can start here, before anything is written.

    Raises TrackingUnavailable, RayNotStarted.
    """
    address.check_address()
    if means.found.cluster is None:
        joining.check_machine()


@contextlib.contextmanager
def results_in(out: Path) -> Iterator[None]:
    """A folder for results; what ends before anything was written leaves no empty one behind. Raises CannotWrite."""
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise CannotWrite(f"{out}: cannot be written ({error.strerror}); choose another --out") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()


def leave_document(campaign: Campaign, out: Path, folder: Path | None = None) -> None:
    """Extend the campaign's document in its report folder, and note where its runs are recorded. Raises CannotWrite.

    folder: the report's, where that is another one than the campaign's own.
    """
    folder = folder or campaign.folder(out)
    path = folder / campaigns_of.FILE
    try:
        campaign = campaigns_of.read_file(path).extended(campaign)
    except campaigns_of.NewerCampaign:
        raise
    except campaigns_of.BadCampaign:
        pass  # torn, or not there: it is written anew
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole(path) as new:
            new.write_text(campaign.text(), encoding="utf-8")
    except OSError as error:
        raise CannotWrite(f"{path}: cannot be written ({error.strerror}); choose another --out") from None
    address.note(out)
