"""The evaluation benchmark, on a model of four training steps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks import evaluation
from data_prep.puzzle_set import PuzzleSet
from data_prep.sudoku import generate
from trm_core.config import RunConfig
from trm_core.trainer import train

SMALL = RunConfig.parse(
    {
        "data": {
            "source": "generated",
            "box_rows": 2,
            "box_cols": 2,
            "train": 32,
            "validation": 9,
            "test": 20,
            "clues": 7,
        },
        "model": {"D": 16, "T": 1, "n": 1, "N_sup": 4, "puzzle_prefix": 1, "inner_multiple": 8},
        "train": {"steps": 4, "batch_size": 6, "precision": "fp32", "evaluate_on": "validation"},
    }
)


@pytest.fixture(scope="module")
def puzzles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("puzzles") / "set"
    generate(2, 2, train=32, validation=9, test=20, seed=0, clues=7).save(folder)
    return folder


@pytest.fixture(scope="module")
def checkpoints(puzzles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(SMALL, PuzzleSet.open(puzzles), lambda *_: None, checkpoints=folder)
    return folder


def test_it_prints_and_writes_both_ways_of_all_parts_together(
    checkpoints: Path, puzzles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "numbers.json"
    asked = [checkpoints, puzzles, "--device", "cpu", "--parts", "3", "--out", out]
    assert evaluation.main([str(argument) for argument in asked]) == 0
    said = capsys.readouterr().out
    found = json.loads(out.read_text())
    never, settled = found["test"]["never"], found["test"]["settled"]
    assert never["puzzles"] == settled["puzzles"] == 20
    assert 2 <= settled["steps_used"] <= 4
    assert found["points_lost"] == pytest.approx(100 * (never["exact_accuracy"] - settled["exact_accuracy"]))
    assert found["unchanged"] == found["validation"]["measured"][-1]["unchanged"]
    assert len(found["times_faster_by_part"]) == 3
    assert "points lost" in said
    assert "9 validation puzzles" in said


def test_parts_together_weigh_by_their_puzzles() -> None:
    parts = [
        {"exact_accuracy": 1.0, "cell_accuracy": 1.0, "puzzles": 1.0, "seconds": 2.0},
        {"exact_accuracy": 0.0, "cell_accuracy": 0.5, "puzzles": 3.0, "seconds": 1.0},
    ]
    assert evaluation.together(parts) == {
        "exact_accuracy": 0.25,
        "cell_accuracy": 0.625,
        "puzzles": 4.0,
        "seconds": 3.0,
    }


def test_the_fewest_steps_within_the_bound_are_chosen(monkeypatch: pytest.MonkeyPatch, puzzles: Path) -> None:
    lost = {1: 0.5, 2: 0.0005, 3: 0.0}

    def ask(_: object, __: object, ___: object, halt: str, unchanged: int = 1) -> dict[str, float]:
        return {"exact_accuracy": 0.9 - (lost[unchanged] if halt == "settled" else 0), "steps_used": 2.0 + unchanged}

    monkeypatch.setattr(evaluation.Asker, "ask", ask)
    asker = evaluation.Asker(*[None] * 4)  # type: ignore[arg-type]
    unchanged, measured = evaluation.choose(asker, PuzzleSet.open(puzzles).validation, None)
    assert unchanged == 2
    assert np.allclose([row["points_lost"] for row in measured], [50, 0.05])


@pytest.mark.parametrize("wrong", [["--parts", "21"], ["--parts", "0"], ["--limit", "-1"]])
def test_counts_that_make_no_sense_are_refused_in_a_line(
    wrong: list[str], checkpoints: Path, puzzles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluation.main([str(checkpoints), str(puzzles), "--device", "cpu", *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1
