"""What was measured of this CPU: kept for an hour, for this user, and believed only where it makes sense."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from sweeps import calibration, remembered
from sweeps.calibration import measure_cpu
from sweeps.plan import Rate
from trm_core.config import RunConfig

A, B = RunConfig(), RunConfig.parse({"model": {"D": 64}})
SHAPES = [calibration.shape(A), calibration.shape(B)]


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "trm-ablations" / remembered.FILE


@pytest.fixture
def times_measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many kinds of run each measurement was of, were it made."""
    asked: list[int] = []

    def measured(runs: list[RunConfig], at_once: int) -> list[tuple[float, float]]:
        asked.append(len(runs))
        return [(0.1, 0.01) for _ in runs]

    monkeypatch.setattr(calibration, "_measure", measured)
    return asked


def test_what_was_measured_within_the_hour_is_not_measured_again(times_measured: list[int]) -> None:
    first = measure_cpu([A, B], at_once=2)
    again = measure_cpu([B], at_once=2)
    assert times_measured == [2]
    assert again[B].flops_per_s == first[B].flops_per_s
    assert again[B].evaluation_flops_per_s == first[B].evaluation_flops_per_s
    assert "0 min ago" in again[B].source


def test_a_deeper_run_of_the_same_shape_has_the_same_rate_whichever_of_them_was_measured(
    times_measured: list[int],
) -> None:
    (rate,) = measure_cpu([A]).values()
    deeper = A.change({"model": {"n": 9}})
    assert measure_cpu([deeper])[deeper].flops_per_s == rate.flops_per_s
    assert times_measured == [1]


def test_another_number_at_once_another_shape_and_another_hour_are_measured(
    times_measured: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure_cpu([A])
    measure_cpu([A], at_once=2)
    measure_cpu([A, B])
    assert times_measured == [1, 1, 2]
    later = time.time() + 3601
    monkeypatch.setattr("time.time", lambda: later)
    measure_cpu([A])
    assert times_measured == [1, 1, 2, 1]
    monkeypatch.setattr("time.time", lambda: 0.0)  # a clock that was set back
    measure_cpu([A])
    assert times_measured == [1, 1, 2, 1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "", "no JSON", "[]", "7", "[" * 100_000, '{"a": 1}', '{"a": [1, 2]}', '{"a": [1, 2, "3"]}',
        '{"a": [1e999, 2, 3]}', '{"a": [true, 2, 3]}', '{"a": [NaN, 2, 3]}', "\udc80", "9" * 5000,
    ],
    ids=range(13),
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_measured_over(text: str, file: Path, times_measured: list[int]) -> None:
    file.parent.mkdir(mode=0o700)
    file.write_bytes(text.encode(errors="surrogateescape"))
    measure_cpu([A])
    measure_cpu([A])
    assert times_measured == [1]
    assert len(json.loads(file.read_text())) == 1


def test_a_file_that_others_could_write_is_neither_believed_nor_written(file: Path, times_measured: list[int]) -> None:
    remembered.remember(dict.fromkeys(SHAPES, Rate(1.0, "a test")), 1)
    file.parent.chmod(0o777)
    assert remembered.recall(SHAPES, 1) is None
    before = file.read_bytes()
    measure_cpu([A])
    assert times_measured == [1]
    assert file.read_bytes() == before
