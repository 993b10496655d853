"""What a study has left to do and what it costs: pure functions from settings and records to a plan."""

from __future__ import annotations

import enum
import heapq
import re
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sweeps.campaign import Job
from sweeps.prices import CARDS, L40S_FLOPS_PER_S, Card, Price
from sweeps.puzzles import PUBLISHED_TESTS
from sweeps.records.types import RunRecord
from sweeps.study import EVERY_PROFILE, ProfileName, Row, Study
from sweeps.words import whole_number
from trm_core.config import RunConfig
from trm_core.memory import networks_on_a_gpu, peak_bytes, settled
from trm_core.settings import BadSetting, DataSettings

RAY_START_S = 10.0  # once: Ray comes up, and the first processes import torch
TRAIN_START_S = 15.0  # of each run on Ray Train workers; 11 to 18 s were measured
INLINE_START_S = 1.0  # of each run in a Tune trial whose process stays

# A run so many times shorter than another of its row is mostly start and evaluations, and says little of its speed.
MANY_TIMES = 10

ASK_ABOVE_GPU_HOURS = 1.0


class NoSuchRow(ValueError):
    """An `--only` pattern that matches no row."""


class BadShard(ValueError):
    """A `--shard` that is no part of anything."""


class Work(NamedTuple):
    """Operations of a run, as RunConfig counts them."""

    training: float
    evaluation: float

    @property
    def flops(self) -> float:
        """All of them."""
        return self.training + self.evaluation


@dataclass(frozen=True)
class Rate:
    """How fast one worker trains, in operations per second as RunConfig counts them, and where that is known from."""

    flops_per_s: float
    source: str
    evaluation_flops_per_s: float | None = None  # None: as in training

    def seconds(self, work: Work) -> float:
        """What the work takes."""
        return work.training / self.flops_per_s + work.evaluation / (self.evaluation_flops_per_s or self.flops_per_s)


@dataclass(frozen=True)
class PlannedRun:
    """A job, whether it is done already, and what it costs or has cost."""

    job: Job
    done: bool
    work: Work
    rate: Rate
    memory: int  # bytes at the peak, per worker, by formula
    recomputes: bool = False  # in the backward, as asked for or as decided where that was left to "auto"
    workers: int = 1  # that share it; assumed to lose nothing by that
    start_s: float = 0.0  # before its first step
    share: float = 1.0  # that it has of a GPU, and of the GPU's speed

    @property
    def seconds(self) -> float:
        """Estimated time of the whole run."""
        return self.start_s + self.rate.seconds(self.work) / self.workers / self.share

    @property
    def hours(self) -> float:
        """Of GPUs, or of cores: all its workers together."""
        return self.seconds * self.workers * self.share / 3600


@dataclass(frozen=True)
class Plan:
    """All runs of a campaign, in the order in which they were asked for."""

    runs: tuple[PlannedRun, ...]
    at_once: int = 1  # runs beside each other
    workers: int = 1  # of each
    share: float = 1.0  # of a GPU that each has
    start_s: float = 0.0  # of Ray, once
    price: Price | None = None  # of a GPU, or of a core
    unit: str = "GPU"  # what one worker has: "GPU" or "core"
    memory: int | None = None  # bytes that it has; None: not known
    notes: tuple[str, ...] = ()  # what the estimate assumes beside its rates, a sentence each

    @property
    def todo(self) -> tuple[PlannedRun, ...]:
        """The runs that are not done, in the order in which they are to be begun.

        First seeds first, so that a table is whole as early as can be; the longest of them first, so that none is left
        running alone.
        """
        left = [run for run in self.runs if not run.done]
        return tuple(sorted(left, key=lambda run: (run.job.data_seed, run.job.seed, -run.seconds)))

    @property
    def n_done(self) -> int:
        """How many runs are done already."""
        return sum(run.done for run in self.runs)

    @property
    def flops(self) -> float:
        """Of what is left to do."""
        return sum(run.work.flops for run in self.todo)

    @property
    def run_seconds(self) -> float:
        """Estimated, of what is left to do, one run after the other."""
        return sum(run.seconds for run in self.todo)

    @property
    def seconds(self) -> float:
        """Estimated until all is done, with Ray's start: each run begins as soon as there is room for it."""
        todo = self.todo
        return self.start_s + makespan([run.seconds for run in todo], self.at_once) if todo else 0.0

    @property
    def hours(self) -> float:
        """GPU-hours, or core-hours, of what is left to do."""
        return self.run_seconds * self.workers * self.share / 3600

    @property
    def dollars(self) -> float | None:
        """What those hours cost; None without a price."""
        return None if self.price is None else self.price.dollars_per_hour * self.hours

    @property
    def rented_dollars(self) -> float | None:
        """What all places cost from Ray's start to the end of the last run, at work or not; None without a price."""
        rented = self.seconds * self.at_once * self.workers * self.share / 3600
        return None if self.price is None else self.price.dollars_per_hour * rented

    @property
    def too_large(self) -> tuple[PlannedRun, ...]:
        """What is left to do and does not fit into the memory there is."""
        return tuple(run for run in self.todo if self.memory is not None and run.memory > self.memory)

    @property
    def recomputing(self) -> tuple[PlannedRun, ...]:
        """What is left to do and, left to decide, recomputes in the backward to fit into the memory there is."""
        return tuple(
            run
            for run in self.todo
            if run.recomputes
            and run.job.run.train.activation_checkpointing == "auto"
            and run.memory <= (self.memory or 0)
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """Where the estimates come from, each once."""
        return tuple(dict.fromkeys(run.rate.source for run in self.todo or self.runs))


def makespan(seconds: Iterable[float], at_once: int) -> float:
    """When the last of these runs ends, in seconds, if each begins in its turn as soon as one of the places is free."""
    free_at = [0.0] * at_once
    for each in seconds:
        heapq.heapreplace(free_at, free_at[0] + each)
    return max(free_at)


class Consent(enum.Enum):
    """Whether a plan may start."""

    NOT_NEEDED = "not needed"
    GIVEN = "given with --yes"
    ASK = "ask at the terminal"
    MISSING = "needs --yes: nobody to ask"


# --- which runs ------------------------------------------------------------------------------------------------------


def read_shard(text: str | None) -> tuple[int, int] | None:
    """ "2/8" → (2, 8). Raises BadShard."""
    if text is None:
        return None
    part, _, of = text.partition("/")
    i, n = whole_number(part), whole_number(of)
    if i is None or n is None or not 1 <= i <= n:
        raise BadShard(f"--shard {text}: expected a part and of how many, as 2/8; parts count from 1")
    return i, n


def part_of(jobs: Mapping[str, Job], shard: tuple[int, int] | None) -> dict[str, Job]:
    """One part of n of the jobs, by key: of each n that follow each other one, in turn, so that no part has all the
    deepest rows. All of them without a shard.
    """
    i, n = shard or (1, 1)
    return {key: job for at, (key, job) in enumerate(jobs.items()) if (at + at // n) % n == i - 1}


def select_rows(study: Study, profile: ProfileName, patterns: Sequence[str] = ()) -> tuple[Row, ...]:
    """The profile's rows whose name matches any of the patterns, anywhere in it; all without a pattern.

    Raises NoSuchRow for a pattern that matches none.
    """
    rows = study.rows_of(profile)
    if not rows:
        able = " or ".join(one for one in EVERY_PROFILE if study.rows_of(one))
        raise NoSuchRow(f"{study.name} has no row in profile {profile}; use {able}")
    for pattern in patterns:
        if not any(row.matches(pattern) for row in rows):
            names = "; ".join(row.name for row in rows)
            elsewhere = [row for row in study.rows if row.matches(pattern)]
            other = f" ({elsewhere[0].name} is in {', '.join(elsewhere[0].profiles)} only)" if elsewhere else ""
            raise NoSuchRow(f"--only {pattern!r} matches no row of {study.name} in {profile}{other}; rows are: {names}")
    return tuple(row for row in rows if not patterns or any(row.matches(pattern) for pattern in patterns))


# --- what they cost --------------------------------------------------------------------------------------------------


def run_work(run: RunConfig, test_puzzles: int | None = None, *, after: int = 0) -> Work:
    """One run: its training steps, the evaluations on the way and the last one on all held-out puzzles.

    test_puzzles: how many there are (None: not known, then as many as were published). after: steps that are taken
    already, with their evaluations.
    """
    train = run.train
    n_test = (test_puzzles or run.data.test or PUBLISHED_TESTS[run.data.puzzle]) if run.looks_at_test else 0
    held_out = (run.data.validation, n_test)
    limit = train.eval_puzzles or max(held_out)
    n_midway = (train.steps - 1) // train.eval_every - min(after, train.steps - 1) // train.eval_every
    evaluated = n_midway * sum(min(limit, n) for n in held_out) + sum(held_out)
    if run.data.puzzle == "arc":  # and every variant of a test task votes
        n_variants = run.data.augmentations + 1
        evaluated += n_test * (n_variants if train.votes is None else min(train.votes, n_variants))
    return Work(
        training=run.train_work() - run.train_work(after),
        evaluation=float(evaluated) * run.evaluation_steps * run.forward_flops(),
    )


def recorded_rates(records: Iterable[RunRecord], device: str, workers: int = 1) -> dict[str, Rate]:
    """What finished runs on this device say: a rate per row, and under "" the median of all.

    A row's is that of its newest run, but for those than which another had more than MANY_TIMES the steps.
    device: "cpu", a GPU's name or a part of it ("H100"), or "" for any GPU. workers: taken to have shared a run whose
    record does not say how many did. A run that had a share of a GPU is taken to have had that share of its speed.
    """
    found: dict[str, list[tuple[int, float]]] = {}  # by row, (steps, rate), the newest last
    for record in sorted(records, key=lambda record: record.started.timestamp()):
        there = record.tags.get("device", "")
        here = device in there if device else there not in ("", "cpu")
        if record.status == "FINISHED" and here and (told := _recorded_rate(record)) is not None:
            steps, rate = told
            said, share = record.tags.get("workers", ""), record.tags.get("gpus_per_run", "")
            rate /= int(said) if re.fullmatch(r"[1-9][0-9]{0,3}", said) else workers
            if re.fullmatch(r"0\.[0-9]{0,5}[1-9][0-9]{0,5}", share):
                rate /= float(share)
            found.setdefault(record.row, []).append((steps, rate))
    if not found:
        return {}
    rates = {row: _newest_that_counts(runs) for row, runs in found.items()}
    known = {row: Rate(rate, "finished runs of the same row on this device") for row, rate in rates.items()}
    return known | {"": Rate(statistics.median(rates.values()), "finished runs of other rows on this device")}


def _newest_that_counts(runs: Sequence[tuple[int, float]]) -> float:
    """Of (steps, rate), the newest last: the rate of the newest that another is not MANY_TIMES longer than."""
    most = max(steps for steps, _ in runs)
    return [rate for steps, rate in runs if MANY_TIMES * steps >= most][-1]


def _recorded_rate(record: RunRecord) -> tuple[int, float] | None:
    """A finished run's steps and operations per second, evaluations among them; None where its record does not say.

    By how long it was made, where its last steps' speed bears that out: one that was resumed in an older version, or
    taken from another study, lasted longer or shorter than it took.
    """
    run, speed = recorded_settings(record.params), record.metrics.get("time/steps_per_second", 0.0)
    if run is None or not speed > 0:
        return None
    by_speed = speed * run.train.batch_size * run.train_flops()
    if record.ended is None or record.seconds is None:
        return run.train.steps, by_speed
    work = run_work(run, int(record.metrics.get("test/puzzles", 0)) or None)
    start_s = INLINE_START_S if record.tags.get("device") == "cpu" else TRAIN_START_S
    lasted_s = record.seconds - start_s
    took_s = work.flops / by_speed
    return run.train.steps, work.flops / lasted_s if 0.5 * took_s < lasted_s < 3 * took_s else by_speed


def recorded_settings(params: Mapping[str, str]) -> RunConfig | None:
    """A run's settings as they were recorded; None where this version does not know one of them."""
    known = RunConfig().flat()
    try:
        return RunConfig().set(f"{name}={text}" for name, text in params.items() if name in known)
    except BadSetting:
        return None


def card_rate(card: Card) -> Rate:
    """What the table of cards says."""
    return Rate(card.flops_per_s, card.source)


def gpu_rate(name: str = "") -> Rate:
    """A GPU of which no run is recorded, by torch's name of it, as the table of cards has it, else as an L40S."""
    for card in CARDS:
        if card.device != "cpu" and card.device in name:
            return card_rate(card)
    said = (
        f"an assumption for a GPU without records: {L40S_FLOPS_PER_S / 1e12:.0f} TFLOP/s, the released code on an L40S"
    )
    return Rate(L40S_FLOPS_PER_S, said)


def make_plan(
    jobs: Sequence[Job],
    done: Collection[str],
    rates: Mapping[str, Rate],
    fallback: Rate,
    *,
    measured: Mapping[RunConfig, Rate] | None = None,
    at_once: int = 1,
    workers: int = 1,
    share: float = 1.0,
    inline: bool = False,
    price: Price | None = None,
    unit: str = "GPU",
    memory: int | None = None,
    notes: Sequence[str] = (),
    test_puzzles: Callable[[DataSettings], int | None] = lambda _: None,
    reached: Callable[[Job], int] = lambda _: 0,
) -> Plan:
    """The plan: `done` are the keys of finished runs.

    A run's rate is its row's in `rates`, what recorded_rates found; else its own in `measured`; else the other rows';
    else `fallback`. workers: so many share a run's batch. share: of a GPU that each run has. inline: runs start without
    Ray Train. test_puzzles: how many the set of these data settings has. reached: the
    step that a run goes on from. The rest is the plan's own.
    """
    measured = measured or {}
    after = {job.key: reached(job) for job in jobs if job.key not in done}

    def planned(job: Job) -> PlannedRun:
        rate = rates.get(job.row) or measured.get(job.run) or rates.get("", fallback)
        work = run_work(job.run, test_puzzles(job.run.data), after=after.get(job.key, 0))
        networks = networks_on_a_gpu(job.run)
        if unit != "GPU":
            networks = "plain"  # at most: compiled it is less
        run = settled(job.run, memory, workers=workers, networks=networks)
        peak = peak_bytes(run, workers=workers, networks=networks)
        start_s = INLINE_START_S if inline else TRAIN_START_S
        return PlannedRun(job, job.key in done, work, rate, peak, run.train.recomputes, workers, start_s, share)

    if begun := sum(step > 0 for step in after.values()):
        which = "One run goes on from its checkpoint" if begun == 1 else f"{begun} runs go on from their checkpoints"
        notes = (*notes, f"{which}: only what is left is counted.")
    return Plan(tuple(map(planned, jobs)), at_once, workers, share, RAY_START_S, price, unit, memory, tuple(notes))


# --- whether it may start --------------------------------------------------------------------------------------------


def gpu_hours(plan: Plan, gpus: int) -> float:
    """GPU-hours of what is left to do; without a GPU, what the same work would take on an L40S."""
    return plan.hours if gpus else plan.flops / L40S_FLOPS_PER_S / 3600


def needs_consent(plan: Plan, gpus: int, yes: bool, is_terminal: bool) -> Consent:
    """More than one GPU-hour of work starts only when a person has said yes."""
    if gpu_hours(plan, gpus) <= ASK_ABOVE_GPU_HOURS:
        return Consent.NOT_NEEDED
    if yes:
        return Consent.GIVEN
    return Consent.ASK if is_terminal else Consent.MISSING
