from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.data_path import SMALL_SUDOKU, main

TINY = ["--variants", "10", "--batch-size", "16", "--seconds", "0.01"]
RATES = [
    f"{what}, {n}" for what in ("Sudoku", "mazes, released", "mazes, recomputed") for n in ("1 thread", "2 threads")
]
BUILD = ("build", "the build's memory", "process memory", "disk")


def test_small_sets_are_built_and_drawn_from_every_line_is_printed_and_no_target_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*TINY, "--out", str(tmp_path / "out.json")]) == 0
    said = capsys.readouterr().out
    result = json.loads((tmp_path / "out.json").read_text())
    lines = {line["name"]: line for line in result["figures"]}
    assert list(lines) == [
        *(f"Sudoku, {what}" for what in BUILD),
        *RATES,
        *(f"ARC-AGI-1, {what}" for what in (*BUILD, "identifiers", "train examples", "test examples")),
        *("ARC, shifted, 1 thread", "ARC, shifted, 2 threads"),
    ]
    assert all(f" {name} " in said for name in lines)
    assert all(lines[name]["value"] > 0 for name in lines if name.endswith(("build", "disk", "thread", "threads")))
    assert {line["met"] for line in lines.values()} == {None}
    assert "Without --sudoku and --arc the sets are small: their targets are not judged." in said
    assert lines["ARC-AGI-1, identifiers"]["released"] == 876_406
    assert lines["ARC-AGI-1, test examples"]["value"] > 20


def test_a_folder_with_too_few_puzzles_is_named_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TINY, "--sudoku", str(SMALL_SUDOKU)]) == 2
    said = capsys.readouterr()
    assert "300 puzzles that no other split holds, expected 1000 for train" in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
