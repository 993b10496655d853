from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.memory_truth import DEEPEST, main
from trm_core import devices

SMALL = ["--device", "cpu", "--D", "16", "--batch-size", "4", "--compile", "off"]


def test_predicted_and_measured_stand_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--runs", "hrm", DEEPEST, "--steps", "2", "--out", str(tmp_path / "o.json")]) == 0
    facts = json.loads((tmp_path / "o.json").read_text())
    assert {"date", "device", "versions", "settings"} <= facts.keys()
    assert [(row["run"], row["checkpointing"]) for row in facts["rows"]] == [
        ("hrm", "false"), ("hrm", "true"), (DEEPEST, "false"), (DEEPEST, "true")
    ]  # fmt: skip
    for row in facts["rows"]:
        assert row["ratio"] == row["predicted_bytes"] / row["measured_bytes"] > 0
    assert capsys.readouterr().out.count(" measured  ") == 4


def test_what_does_not_fit_is_a_line_and_the_next_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free = iter([1, None])
    monkeypatch.setattr(devices, "free_on", lambda _: next(free))
    assert main([*SMALL, "--runs", "hrm", "--steps", "1", "--out", str(tmp_path / "o.json")]) == 0
    lost, found = json.loads((tmp_path / "o.json").read_text())["rows"]
    assert "1 worker(s) needs" in lost["does_not_fit"]
    assert found["ratio"] > 0
    assert "does not fit: depth " in capsys.readouterr().out


def test_what_there_is_no_time_for_is_named_and_a_bad_option_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter(range(0, 10_000, 50))
    assert main([*SMALL, "--runs", "hrm", "--steps", "1", "--minutes", "2"], now=lambda: float(next(seconds))) == 0
    assert "memory: left out, no time: hrm bf16 off true" in capsys.readouterr().out
    assert main(["--runs", "trn"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
