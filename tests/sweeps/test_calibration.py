"""The rate of this CPU: what is measured, what shares a measurement, and what is said where it fails."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweeps import calibration
from sweeps.calibration import LARGEST_STEP_FLOPS, matrix_rate, measure_cpu, rate_of, shape
from sweeps.profiles import configure
from sweeps.study import find_study
from trm_core.config import RunConfig

STUDY = find_study("recursion_depth")
RUNS = [configure(STUDY, row, "mini", 0) for row in STUDY.rows_of("mini")]
TINY = RunConfig.parse(
    {
        "data": {"source": "generated", "box_rows": 2, "box_cols": 2, "validation": 1, "test": 1},
        "model": {"D": 8, "n_heads": 2, "inner_multiple": 8, "N_sup": 2, "puzzle_prefix": 1},
        "train": {"batch_size": 4, "precision": "fp32", "steps": 1},
    }
)


@pytest.fixture(autouse=True)
def nothing_is_remembered_and_nobody_waits_for_a_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr(calibration, "GIVE_UP_AFTER_S", 1e6)


def test_rows_that_differ_in_depth_and_seed_alone_share_a_measurement() -> None:
    assert len({shape(run) for run in RUNS}) == 2  # HRM and TRM
    assert shape(TINY) == shape(TINY.change({"model": {"T": 2, "n": 9}, "train": {"seed": 3, "steps": 7}}))
    for section, change in (
        ("train", {"batch_size": 2}), ("model", {"n_heads": 1, "head_channels": 4}), ("model", {"positions": "learned"})
    ):  # fmt: skip
        assert shape(TINY) != shape(TINY.change({section: change}))
    assert shape(TINY.change({"model": {"n_heads": 2, "head_channels": 6}})) != shape(TINY)


def test_every_run_gets_the_rate_of_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def measured(runs: list[RunConfig], at_once: int) -> list[tuple[float, float]]:
        asked.append((runs, at_once))
        return [(0.1, 0.01) for _ in runs]

    monkeypatch.setattr(calibration, "_measure", measured)
    rates = measure_cpu([*RUNS, *RUNS], at_once=2)
    ((runs, at_once),) = asked
    assert (len(runs), at_once) == (2, 2)
    assert {run.model.n_layers for run in runs} == {2, 4}  # one of each base, of its middle rows
    assert [rates[run] for run in RUNS[::2]] == [rates[RUNS[0]]] * 3
    assert rates[RUNS[0]] != rates[RUNS[1]]
    assert measure_cpu([]) == {}


def test_a_rate_is_the_settings_operations_over_the_seconds_they_took() -> None:
    rate = rate_of(TINY, step_s=2, puzzle_s=4, source="a test")
    assert rate.flops_per_s == 4 * TINY.train_flops() / 2
    assert rate.evaluation_flops_per_s == 2 * TINY.forward_flops() / 4


def test_of_a_large_run_a_part_of_the_batch_is_measured() -> None:
    official = configure(STUDY, STUDY.rows[0], "official", 0)
    small = calibration._to_measure([official])
    assert small.train.batch_size == 1
    assert small.train_flops() < official.train_flops() * official.train.batch_size / 100
    assert calibration._to_measure([TINY]) == TINY
    assert TINY.train.batch_size * TINY.train_flops() < LARGEST_STEP_FLOPS


def test_processes_beside_each_other_measure_real_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MEASURING_S", 0.1)
    other = TINY.change({"train": {"batch_size": 2}})
    rates = measure_cpu([TINY, other], at_once=2)
    for rate in rates.values():
        assert 1e5 < rate.flops_per_s < 1e13
        assert "2 kind(s) of run, 2 at once" in rate.source


def test_a_run_that_cannot_be_measured_leaves_the_rate_of_matrix_products_and_says_why() -> None:
    too_large = TINY.change({"model": {"D": 2**20}})
    (rate,) = measure_cpu([too_large]).values()
    assert "small matrix products" in rate.source
    assert "no steps measured: depth" in rate.source


def test_a_process_that_dies_or_takes_too_long_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.calibration.sys.executable", str(tmp_path / "no such python"))
    assert "no measuring process" in measure_cpu([TINY])[TINY].source
    monkeypatch.undo()
    (tmp_path / "slow.sh").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "slow.sh").chmod(0o755)
    monkeypatch.setattr("sweeps.calibration.sys.executable", str(tmp_path / "slow.sh"))
    monkeypatch.setattr(calibration, "GIVE_UP_AFTER_S", 0.2)
    assert "ended without an answer, or took more than" in measure_cpu([TINY])[TINY].source


def test_matrix_products_find_a_rate_that_a_computer_can_have() -> None:
    rate = matrix_rate("a test", for_s=0.01)
    assert 1e7 < rate.flops_per_s < 1e13
    assert "a test" in rate.source


def test_neither_plan_nor_calibration_nor_screen_loads_torch() -> None:
    asked = (
        "import sys, sweeps.plan, sweeps.calibration, sweeps.screen, sweeps.budget, sweeps.power;"
        " print(*sorted({'torch', 'ray', 'mlflow', 'scipy'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ""
