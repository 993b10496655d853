"""What a study has left to do and what it costs: pure functions from settings and records to a plan.

Only `measure_cpu` looks at the machine; everything else is arithmetic, tested without one.
"""

from __future__ import annotations

import enum
import fnmatch
import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sweeps.campaign import Job
from sweeps.records.types import RunRecord
from sweeps.study import ProfileName, Row, Study
from trm_core.config import BadSetting, DataSettings, RunConfig
from trm_core.memory import peak_bytes

PUBLISHED_TEST_PUZZLES = 422_786  # Sudoku-Extreme's test file, where the set is not built yet
PUBLISHED_TESTS = {"sudoku": PUBLISHED_TEST_PUZZLES, "maze": 1000, "arc": 419}  # ARC-AGI-1's 400 evaluation tasks

# The released TRM-MLP run, 2.1e18 operations by our count, took about 18 h on one L40S (PAPER.md, section 3).
ASSUMED_GPU_FLOPS_PER_S = 33e12

# Training in fp32 on one thread, beside `measure_cpu`'s matrix products: about 0.5 for a run alone, half of that with a
# run on every core. Measured 2026-11-22: the mini study, two runs at once on two cores, took 5 min 50 s where 0.5 had
# promised 3 min.
TRAINING_PER_MATMUL = 0.25

ASK_ABOVE_GPU_HOURS = 1.0


class NoSuchRow(ValueError):
    """An `--only` pattern that matches no row."""


@dataclass(frozen=True)
class Rate:
    """How fast a device trains, in operations per second as RunConfig counts them, and where that is known from."""

    flops_per_s: float
    source: str


@dataclass(frozen=True)
class PlannedRun:
    """A job, whether it is done already, and what it costs or has cost."""

    job: Job
    done: bool
    flops: float
    rate: Rate
    memory: int  # bytes at the peak, per worker, by formula

    @property
    def seconds(self) -> float:
        """Estimated time of the whole run."""
        return self.flops / self.rate.flops_per_s


@dataclass(frozen=True)
class Plan:
    """All runs of a study in a profile, in the table's order, seeds inside rows."""

    runs: tuple[PlannedRun, ...]
    at_once: int = 1  # runs beside each other

    @property
    def todo(self) -> tuple[PlannedRun, ...]:
        """The runs that are not done."""
        return tuple(run for run in self.runs if not run.done)

    @property
    def n_done(self) -> int:
        """How many runs are done already."""
        return len(self.runs) - len(self.todo)

    @property
    def flops(self) -> float:
        """Of what is left to do."""
        return sum(run.flops for run in self.todo)

    @property
    def run_seconds(self) -> float:
        """Estimated, of what is left to do, one run after the other."""
        return sum(run.seconds for run in self.todo)

    @property
    def seconds(self) -> float:
        """Estimated until all is done: so many runs at once, and never less than the longest of them."""
        return max([self.run_seconds / self.at_once, *(run.seconds for run in self.todo)])

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the estimates come from, each once."""
        return tuple(dict.fromkeys(run.rate.source for run in self.runs))


class Consent(enum.Enum):
    """Whether a plan may start."""

    NOT_NEEDED = "not needed"
    GIVEN = "given with --yes"
    ASK = "ask at the terminal"
    MISSING = "needs --yes: nobody to ask"


# --- which runs ------------------------------------------------------------------------------------------------------


def select_rows(study: Study, profile: ProfileName, patterns: Sequence[str] = ()) -> tuple[Row, ...]:
    """The profile's rows whose name matches any of the patterns, anywhere in it; all without a pattern.

    Raises NoSuchRow for a pattern that matches none.
    """
    rows = study.rows_of(profile)
    for pattern in patterns:
        if not any(_matches(row, pattern) for row in rows):
            names = "; ".join(row.name for row in rows)
            elsewhere = [row for row in study.rows if _matches(row, pattern)]
            other = f" ({elsewhere[0].name} is in {', '.join(elsewhere[0].profiles)} only)" if elsewhere else ""
            raise NoSuchRow(f"--only {pattern!r} matches no row of {study.name} in {profile}{other}; rows are: {names}")
    return tuple(row for row in rows if not patterns or any(_matches(row, pattern) for pattern in patterns))


def _matches(row: Row, pattern: str) -> bool:
    return fnmatch.fnmatchcase(row.name.lower(), f"*{pattern.lower()}*")


# --- what they cost --------------------------------------------------------------------------------------------------


def run_flops(run: RunConfig, test_puzzles: int | None = None) -> float:
    """Operations of one run: its training steps, the evaluations on the way and the last one on all held-out puzzles.

    test_puzzles: how many there are (None: not known, the set is not built yet).
    """
    train, model = run.train, run.model
    n_test = test_puzzles or run.data.test or PUBLISHED_TESTS[run.data.puzzle]
    held_out = (run.data.validation, n_test)
    limit = train.eval_puzzles or max(held_out)
    n_midway = (train.steps - 1) // train.eval_every
    evaluated = n_midway * sum(min(limit, n) for n in held_out) + sum(held_out)
    if run.data.puzzle == "arc":  # and every variant of a test task votes
        n_variants = run.data.augmentations + 1
        evaluated += n_test * (n_variants if train.votes is None else min(train.votes, n_variants))
    evaluation = float(evaluated) * (train.eval_N_sup or model.N_sup) * run.forward_flops()
    return float(train.steps) * train.batch_size * run.train_flops() + evaluation


def recorded_rates(records: Sequence[RunRecord], device: str) -> dict[str, Rate]:
    """What finished runs on this device say: a rate per row (its newest run), and under "" the median of all.

    device: "cpu", a GPU's name, or "" for any GPU.
    """
    rates: dict[str, float] = {}
    for record in sorted(records, key=lambda record: record.started.timestamp()):
        speed = record.metrics.get("time/steps_per_second", 0.0)
        there = record.tags.get("device", "")
        here = there == device or (not device and there not in ("", "cpu"))
        if record.status == "FINISHED" and here and speed > 0:
            run = recorded_settings(record.params)
            if run is not None:
                rates[record.row] = speed * run.train.batch_size * run.train_flops()
    if not rates:
        return {}
    known = {row: Rate(rate, "finished runs of the same row on this device") for row, rate in rates.items()}
    return known | {"": Rate(statistics.median(rates.values()), "finished runs of other rows on this device")}


def recorded_settings(params: Mapping[str, str]) -> RunConfig | None:
    """A run's settings as they were recorded; None where this version does not know one of them."""
    known = RunConfig().flat()
    try:
        return RunConfig().set(f"{name}={text}" for name, text in params.items() if name in known)
    except BadSetting:
        return None


def assumed_gpu() -> Rate:
    """A GPU of which nothing is known yet."""
    rate = ASSUMED_GPU_FLOPS_PER_S
    return Rate(rate, f"assumption for a GPU without records: {rate / 1e12:.0f} TFLOP/s, the released code on one L40S")


def measure_cpu(for_s: float = 0.2) -> Rate:
    """A run on one thread of this CPU: the best time of small matrix products, times TRAINING_PER_MATMUL.

    64x64 is as large as OpenBLAS leaves to one thread; the best, since other work on the machine only slows them down.
    """
    squares = np.ones((50, 64, 64), dtype=np.float32)
    operations = 2 * squares.size * 64
    best, ends_at = math.inf, time.perf_counter() + for_s
    while (began := time.perf_counter()) < ends_at or best == math.inf:
        squares @ squares
        best = min(best, time.perf_counter() - began)
    source = f"a {for_s:g} s calibration on this CPU, good to a factor of about two"
    return Rate(TRAINING_PER_MATMUL * operations / best, source)


def make_plan(
    jobs: Sequence[Job],
    done: Collection[str],
    rates: Mapping[str, Rate],
    fallback: Rate,
    *,
    at_once: int = 1,
    workers: int = 1,
    test_puzzles: Callable[[DataSettings], int | None] = lambda _: None,
) -> Plan:
    """The plan: `done` are the keys of finished runs, `rates` what recorded_rates found, `fallback` for the rest.

    workers: so many share a run's batch. test_puzzles: how many the set of these data settings has.
    """
    return Plan(
        tuple(
            PlannedRun(
                job,
                job.key in done,
                run_flops(job.run, test_puzzles(job.run.data)),
                rates.get(job.row, rates.get("", fallback)),
                peak_bytes(job.run, workers=workers),
            )
            for job in jobs
        ),
        at_once,
    )


# --- whether it may start --------------------------------------------------------------------------------------------


def gpu_hours(plan: Plan, gpus: int) -> float:
    """GPU-hours of what is left to do; without a GPU, what the same work would take on the assumed one."""
    return (plan.run_seconds if gpus else plan.flops / ASSUMED_GPU_FLOPS_PER_S) / 3600


def needs_consent(plan: Plan, gpus: int, yes: bool, is_terminal: bool) -> Consent:
    """More than one GPU-hour of work starts only when a person has said yes."""
    if gpu_hours(plan, gpus) <= ASK_ABOVE_GPU_HOURS:
        return Consent.NOT_NEEDED
    if yes:
        return Consent.GIVEN
    return Consent.ASK if is_terminal else Consent.MISSING
