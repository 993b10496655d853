"""How fast this CPU trains, measured: a few real steps of the runs' own settings, as many beside each other as there
will be runs.

The measuring is done by processes of their own (trm_core/speed.py), so torch is not loaded here. A run's rate in FLOP/s
hardly depends on its depth, so runs that differ in depth alone share a measurement.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sweeps import remembered
from sweeps.plan import Rate
from trm_core.config import RunConfig

MEASURING_S = 3.5  # of all shapes together, once torch is loaded
GIVE_UP_AFTER_S = 60.0
LARGEST_STEP_FLOPS = 6e9  # measured in one piece, about 0.15 s; of larger runs a part of the batch
RAY_NICENESS = 15  # of Ray's workers: beside other work on the machine they come second
MOST_PROCESSES = 16  # more beside each other tell little more

# Settings that make a step's rate what it is. Not among them: how often the networks are applied, and how long.
SHAPE = (
    *("data.puzzle", "data.box_rows", "data.box_cols", "data.side"),
    *("model.mixer", "model.networks", "model.features", "model.gradient", "model.halting"),
    *("model.D", "model.n_heads", "model.head_channels", "model.positions", "model.expansion", "model.inner_multiple"),
    *("model.channel_mlp", "model.n_experts", "model.puzzle_prefix", "model.loss"),
    *("train.batch_size", "train.precision", "train.activation_checkpointing", "optim.name"),
)

# Training in fp32 on one thread, beside `matrix_rate`'s products: about 0.5 for a run alone, half of that with a run on
# every core. Measured 2026-11-22: the mini study, two runs at once on two cores, took 5 min 50 s where 0.5 had promised
# 3 min.
TRAINING_PER_MATMUL = 0.25


class CannotMeasure(ValueError):
    """A measuring process that could not be started, did not answer in time or could not make a step."""


def measure_cpu(runs: Sequence[RunConfig], at_once: int = 1) -> dict[RunConfig, Rate]:
    """Each run's rate on one thread of this CPU with so many runs at once; some 6 s for a study, none a second time
    within the hour (remembered.py).

    Where measuring fails, all have the rate of small matrix products, whose source says why. Nothing is measured for
    no runs.
    """
    shapes: dict[tuple[Any, ...], list[RunConfig]] = {}
    for run in dict.fromkeys(runs):
        shapes.setdefault(shape(run), []).append(run)
    if not shapes:
        return {}
    at_once = min(at_once, MOST_PROCESSES)
    steps = f"a few training steps of {len(shapes)} kind(s) of run, {at_once} at once"
    if (known := remembered.recall([*shapes], at_once)) is not None:
        minutes = (time.time() - min(one.measured for one in known)) / 60
        source = f"a measurement on this CPU {minutes:.0f} min ago: {steps}"
        rates = [Rate(one.training, source, one.evaluation) for one in known]
    else:
        print("measuring how fast this CPU trains", flush=True)
        measured, began = [_to_measure(like) for like in shapes.values()], time.monotonic()
        try:
            speeds = _measure(measured, at_once)
        except CannotMeasure as error:
            return dict.fromkeys(runs, matrix_rate(str(error)))
        source = f"a measurement on this CPU: {steps}, in {time.monotonic() - began:.0f} s"
        rates = [rate_of(run, *seconds, source) for run, seconds in zip(measured, speeds, strict=True)]
        remembered.remember(dict(zip(shapes, rates, strict=True)), at_once)
    return {run: rate for like, rate in zip(shapes.values(), rates, strict=True) for run in like}


def shape(run: RunConfig) -> tuple[Any, ...]:
    """What runs of one rate have in common."""
    settings = run.flat()
    return tuple(settings[name] for name in SHAPE)


def rate_of(run: RunConfig, step_s: float, puzzle_s: float, source: str) -> Rate:
    """The rate behind seconds per training step and per evaluated puzzle."""
    evaluation = run.evaluation_steps * run.forward_flops() / puzzle_s
    return Rate(run.train.batch_size * run.train_flops() / step_s, source, evaluation)


def _to_measure(like: Sequence[RunConfig]) -> RunConfig:
    """Of runs of one shape the one of middle cost, made small enough to be measured in no time."""
    run = sorted(like, key=lambda run: run.train_flops())[len(like) // 2]
    batch = run.train.batch_size
    while batch > 1 and batch * run.train_flops() > LARGEST_STEP_FLOPS:
        batch //= 2
    if batch == run.train.batch_size:
        return run
    smaller = run.change({"train": {"batch_size": batch, "eval_N_sup": 1}})
    return smaller if batch > 1 else smaller.change({"model": {"T": 1}, "train": {"curriculum": "none"}})


def _measure(runs: Sequence[RunConfig], at_once: int) -> list[tuple[float, float]]:
    """(seconds per step, seconds per evaluated puzzle) of each, the mean over the processes. Raises CannotMeasure.

    Each process measures all, each in an order of its own, and all begin when the last is ready.
    """
    seconds = {"train_s": 0.7 * MEASURING_S / len(runs), "evaluate_s": 0.3 * MEASURING_S / len(runs)}
    questions = [json.dumps({"run": run.model_dump(mode="json"), **seconds}) + "\n" for run in runs]
    order = list(range(len(runs)))
    orders = [order[first:] + order[:first] for first in (place % len(runs) for place in range(at_once))]
    sums = [[0.0, 0.0] for _ in runs]
    with _processes(at_once) as processes:
        for process in processes:
            _line(process)  # it is ready
            with contextlib.suppress(OSError):  # it has ended since
                os.setpriority(os.PRIO_PROCESS, process.pid, RAY_NICENESS)
        for process, own in zip(processes, orders, strict=True):
            with contextlib.suppress(BrokenPipeError):  # it has died; that it does not answer says so
                process.stdin.write("".join(questions[at] for at in own))
                process.stdin.close()
        for process, own in zip(processes, orders, strict=True):
            for at in own:
                answer = json.loads(_line(process))
                if "error" in answer:
                    raise CannotMeasure(answer["error"])
                for place, name in enumerate(("step_s", "puzzle_s")):
                    sums[at][place] += answer[name] / at_once
    return [(step_s, puzzle_s) for step_s, puzzle_s in sums]


def _line(process: Any) -> str:
    """The next line that a process says. Raises CannotMeasure where it has ended."""
    line: str = process.stdout.readline()
    if not line:
        raise CannotMeasure(f"the measuring process ended without an answer, or took more than {GIVE_UP_AFTER_S:.0f} s")
    return line


@contextlib.contextmanager
def _processes(n: int) -> Iterator[list[Any]]:
    """So many measuring processes, one thread each; ended on leaving, and where they take too long."""
    home = str(Path(__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    started: list[Any] = []

    def kill() -> None:
        for process in started:
            process.kill()

    late = threading.Timer(GIVE_UP_AFTER_S, kill)
    late.daemon = True
    try:
        for _ in range(n):
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "trm_core.speed"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    env=environment,
                )
            )
        late.start()
        yield started
    except OSError as error:
        raise CannotMeasure(f"no measuring process ({error.strerror})") from None
    finally:
        late.cancel()
        kill()
        for process in started:
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    stream.close()


def matrix_rate(why: str, for_s: float = 0.2) -> Rate:
    """A run on one thread of this CPU by the best time of small matrix products, times TRAINING_PER_MATMUL.

    64x64 is as large as OpenBLAS leaves to one thread; the best, since other work on the machine only slows them down.
    """
    squares = np.ones((50, 64, 64), dtype=np.float32)
    operations = 2 * squares.size * 64
    best, ends_at = math.inf, time.perf_counter() + for_s
    while (began := time.perf_counter()) < ends_at or best == math.inf:
        squares @ squares
        best = min(best, time.perf_counter() - began)
    source = f"{for_s:g} s of small matrix products on this CPU, good to a factor of two (no steps measured: {why})"
    return Rate(TRAINING_PER_MATMUL * operations / best, source)
