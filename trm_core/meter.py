"""The meter: how fast a run trains, and what share of that time it waits for puzzles.

The clock is read where a run's losses are read, which waits for the device anyway; no step waits for it. Counted are
training steps alone: not the first of a process, which compile, record and allocate, nor evaluations, reports and
checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from trm_core.config import RunConfig

# Dense peaks that the makers publish, TFLOP/s, by torch's name of the device and the precision that it multiplies in:
# bf16 on tensor cores, summed in float32; fp32 without TF32. Not here: unknown, never a guess.
PEAK_TFLOPS: Mapping[str, Mapping[str, float]] = {
    "NVIDIA H200": {"bf16": 989.0, "fp32": 67.0},
    "NVIDIA H100 80GB HBM3": {"bf16": 989.0, "fp32": 67.0},
    "NVIDIA H100 PCIe": {"bf16": 756.0, "fp32": 51.0},
    "NVIDIA A100-SXM4-80GB": {"bf16": 312.0, "fp32": 19.5},
    "NVIDIA A100-SXM4-40GB": {"bf16": 312.0, "fp32": 19.5},
    "NVIDIA A100 80GB PCIe": {"bf16": 312.0, "fp32": 19.5},
    "NVIDIA A100-PCIE-40GB": {"bf16": 312.0, "fp32": 19.5},
    "NVIDIA L40S": {"bf16": 362.0, "fp32": 91.6},
    "NVIDIA GeForce RTX 4090": {"bf16": 165.2, "fp32": 82.6},
    "NVIDIA GeForce RTX 5090": {"bf16": 209.5, "fp32": 104.8},
}


class Meter:
    """Of one worker: the steps since the last reading, and the seconds that they took."""

    def __init__(self, run: RunConfig, device: torch.device, workers: int = 1, warm_up: int = 1) -> None:
        """warm_up: so many first steps are not counted, one at least."""
        self._run, self._device, self._workers = run, device, workers
        self._step = self._read_at = 0  # the training step it has come to, and at the last reading
        self._seconds, self._waited = 0.0, 0.0
        self._warm_up = warm_up  # steps that are left of it
        self._since: float | None = None  # it runs; None: it has not begun, or pauses

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what fetches a step's puzzles: this thread's time in it."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._waited += time.perf_counter() - began

    def step_taken(self, step: int) -> None:
        """After each step, its number, from 1; the last one of the warm-up starts the clock."""
        self._step = step
        if not self._warm_up:
            return
        self._warm_up -= 1
        self._read_at = step
        if not self._warm_up:
            self._waited = 0.0
            self._start()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Around what is no training step."""
        runs = self._since is not None
        self._stop()
        try:
            yield
        finally:
            if runs:
                self._start()

    def read(self) -> dict[str, float]:
        """time/* of the steps since the last reading (metrics.py); nothing where no step was counted.

        Work that the device still has to do is waited for. Several workers: all their puzzles and operations, and the
        time that this one waits.
        """
        runs = self._since is not None
        self._stop()
        steps, seconds, waited = self._step - self._read_at, self._seconds, self._waited
        work = self._run.train_work(self._step) - self._run.train_work(self._read_at)  # a curriculum's steps differ
        self._read_at, self._seconds, self._waited = self._step, 0.0, 0.0
        if runs:
            self._start()
        if not steps or not seconds:
            return {}
        per_second = steps / seconds
        tflops = work / seconds / 1e12
        metrics = {
            "time/steps_per_second": per_second,
            "time/step_seconds": seconds / steps,
            "time/puzzles_per_second": self._run.train.batch_size * per_second,
            "time/tflops": tflops,
            "time/waiting_for_data": min(waited / seconds, 1.0),
        }
        peak = peak_tflops(self._device, self._run.train.precision)
        return metrics if peak is None else metrics | {"time/utilisation": tflops / peak / self._workers}

    def _start(self) -> None:
        self._wait()
        self._since = time.perf_counter()

    def _stop(self) -> None:
        if self._since is not None:
            self._wait()
            self._seconds += time.perf_counter() - self._since
            self._since = None

    def _wait(self) -> None:
        """For what the device has still to do."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def peak_tflops(device: torch.device, precision: str) -> float | None:
    """The published dense peak of one device, TFLOP/s; None: not known for this device, or for how it multiplies."""
    if device.type != "cuda":
        return None
    if precision == "fp32" and torch.get_float32_matmul_precision() != "highest":
        return None  # TF32, or products of bf16
    return PEAK_TFLOPS.get(torch.cuda.get_device_name(device), {}).get(precision)
