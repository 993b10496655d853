from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from data_prep.puzzle_set import PuzzleSet
from trm_core import meter
from trm_core.config import RunConfig
from trm_core.data import TrainingBatches
from trm_core.meter import PEAK_TFLOPS, Meter, peak_tflops
from trm_core.trainer import Trainer, train

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
TIMES = ("steps_per_second", "step_seconds", "puzzles_per_second", "tflops", "waiting_for_data")


class Clock:
    """A clock that stands still until it is told how long something took."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self._patch = monkeypatch
        monkeypatch.setattr(meter, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def takes(self, seconds: float, owner: type, name: str) -> None:
        """Every call of the method takes so many seconds more."""
        method: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            self.now += seconds
            return method(*arguments, **named)

        self._patch.setattr(owner, name, timed)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_every_report_of_a_run_tells_of_its_training_steps_and_of_nothing_else(
    clock: Clock, tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    clock.takes(1.5, Trainer, "take_step")
    clock.takes(0.5, TrainingBatches, "draw")  # which is a part of a step
    for name in ("evaluate", "save", "look_closer", "vote"):
        clock.takes(1000, Trainer, name)
    rows: list[tuple[int, dict[str, float]]] = []

    def report(step: int, metrics: Any, _: Path | None) -> None:
        clock.now += 1000
        rows.append((step, {name: value for name, value in metrics.items() if name.startswith("time/")}))

    train(tiny, puzzles, report, checkpoints=tmp_path)
    batch = tiny.train.batch_size
    expected = (0.5, 2.0, batch / 2, tiny.train_flops() * batch / 2 / 1e12, 0.25)
    assert [step for step, _ in rows] == [2, 4, 6, 8, 10, 12]
    for _, times in rows:
        assert times == pytest.approx({f"time/{name}": value for name, value in zip(TIMES, expected, strict=True)})


def test_the_first_step_of_a_process_which_compiles_is_not_counted(
    clock: Clock, tiny: RunConfig, puzzles: PuzzleSet
) -> None:
    trainer = Trainer(tiny, puzzles, CPU)

    def step(seconds: float) -> None:
        trainer.take_step()
        clock.now += seconds
        trainer.meter.step_taken(trainer.step)

    step(1000)
    assert trainer.meter.read() == {}
    step(3)
    step(5)
    assert trainer.meter.read()["time/step_seconds"] == 4
    assert trainer.meter.read() == {}  # since the last reading


def test_the_steps_before_a_cuda_graph_is_recorded_and_that_step_are_not_counted(clock: Clock, tiny: RunConfig) -> None:
    of = Meter(tiny, CPU, warm_up=4)
    for step, seconds in enumerate((100, 100, 100, 100, 3), 1):
        with of.paused():
            clock.now += 1000
        clock.now += seconds
        of.step_taken(step)
    assert of.read()["time/step_seconds"] == 3


def test_a_curriculums_shallow_steps_are_counted_as_the_operations_that_they_are(clock: Clock, tiny: RunConfig) -> None:
    run = tiny.change({"train": {"curriculum": "T=1 n=1 until 0.5", "steps": 12}})
    of = Meter(run, CPU)
    rates = []
    for step in range(1, 13):
        of.step_taken(step)
        clock.now += 1
        if step in (5, 12):
            rates.append(of.read()["time/tflops"] * 1e12)
    shallow, deep = (run.train_flops(depth) * run.train.batch_size for depth in (run.depth_at(0), run.depth_at(11)))
    assert shallow < deep
    assert rates == pytest.approx([4 * shallow / 5, (shallow + 6 * deep) / 7])


def test_a_run_that_finds_itself_at_its_end_has_no_speed(tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path) -> None:
    train(tiny, puzzles, lambda *_: None, checkpoints=tmp_path)
    again = train(tiny, puzzles, lambda *_: None, checkpoints=tmp_path)
    assert not any(name.startswith("time/") for name in again)


def test_an_evaluation_that_raises_leaves_the_clock_running(clock: Clock, tiny: RunConfig) -> None:
    def fail() -> None:
        clock.now += 1000
        raise KeyboardInterrupt

    of = Meter(tiny, CPU)
    of.step_taken(1)
    with pytest.raises(KeyboardInterrupt), of.paused():
        fail()
    clock.now += 2
    of.step_taken(2)
    assert of.read()["time/step_seconds"] == 2


@pytest.mark.parametrize("workers", [1, 4])
def test_utilisation_is_the_share_of_the_published_peak_of_all_workers_devices(
    clock: Clock, workers: int, tiny: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA L40S")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    run = tiny.change({"train": {"precision": "bf16"}})
    of = Meter(run, CUDA, workers)
    of.step_taken(1)
    clock.now += run.train_flops() * run.train.batch_size / 90.5e12
    of.step_taken(2)
    told = of.read()
    assert told["time/tflops"] == pytest.approx(90.5)
    assert told["time/utilisation"] == pytest.approx(0.25 / workers)


def test_where_no_peak_is_published_none_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert peak_tflops(CPU, "fp32") is None
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA L40S")
    assert (peak_tflops(CUDA, "bf16"), peak_tflops(CUDA, "fp32")) == (362.0, 91.6)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")  # TF32
    assert (peak_tflops(CUDA, "bf16"), peak_tflops(CUDA, "fp32")) == (362.0, None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Some GPU of 2031")
    assert peak_tflops(CUDA, "bf16") is None


def test_of_every_device_in_the_table_bf16_is_the_faster() -> None:
    assert all(peaks["bf16"] > peaks["fp32"] > 0 for peaks in PEAK_TFLOPS.values())
