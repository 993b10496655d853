"""python -m trm_core evaluate."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from data_prep.puzzle_set import PuzzleSet, Split
from data_prep.released import open_released
from data_prep.sudoku import generate
from trm_core.__main__ import exact_interval, main, table, what_stopping_does
from trm_core.checkpoint import Checkpoint, open_at, save
from trm_core.config import RunConfig
from trm_core.evaluate import evaluate, evaluate_at
from trm_core.model import Model
from trm_core.official import import_state_dict, to_theirs
from trm_core.opening import open_model
from trm_core.outcomes import read_outcomes
from trm_core.puzzles import build
from trm_core.settings import BadSetting
from trm_core.trainer import train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def checkpoints(tiny: RunConfig, puzzles: PuzzleSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of a run of 12 steps: at 9 and 12."""
    folder = tmp_path_factory.mktemp("run")
    train(tiny, puzzles, lambda *_: None, checkpoints=folder)
    return folder


@pytest.fixture(scope="module")
def released_folder(puzzles: PuzzleSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same puzzles as the released builders lay them down."""
    folder = tmp_path_factory.mktemp("released")
    for name in ("train", "test"):
        split = puzzles.splits[name]
        n = len(split)
        (folder / name).mkdir()
        arrays: dict[str, NDArray[Any]] = {
            "inputs": split.inputs.astype(np.int64),
            "labels": split.labels,
            "puzzle_identifiers": np.zeros(n, dtype=np.int32),
            "puzzle_indices": np.arange(n + 1, dtype=np.int32),
            "group_indices": np.arange(n + 1, dtype=np.int32),
        }
        for array_name, array in arrays.items():
            np.save(folder / name / f"all__{array_name}.npy", array)
        described = {"pad_id": 0, "ignore_label_id": 0, "blank_identifier_id": 0, "vocab_size": 6, "seq_len": 16}
        described |= {"num_puzzle_identifiers": 1, "total_groups": n, "mean_puzzle_examples": 1, "total_puzzles": n}
        (folder / name / "dataset.json").write_text(json.dumps(described | {"sets": ["all"]}))
    (folder / "identifiers.json").write_text('["<blank>"]')
    return folder


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = main(["evaluate", *map(str, arguments)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_one_pass_scores_at_each_depth_what_a_pass_of_its_own_scores(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    model = Model(tiny)
    depths = (1, 2, 5)
    together = evaluate_at(model, puzzles.test, limit=20, batch_size=8, steps=depths, device=CPU)
    apart = {d: evaluate(model, puzzles.test, limit=20, batch_size=8, N_sup=d, device=CPU) for d in depths}
    assert together == apart
    assert len({scores["cell_accuracy"] for scores in apart.values()}) > 1


def test_a_folder_of_files_is_built_as_the_checkpoints_run_would_have_it(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("train", "test"):
        split = puzzles.splits[name]
        boards = (
            ["".join("?.1234"[token] for token in board) for board in part] for part in (split.inputs, split.labels)
        )
        lines = [f"made up,{question},{answer},1" for question, answer in zip(*boards, strict=True)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["source,question,answer,rating", *lines]) + "\n")
    run = tiny.change({"data": {"source": "files", "clues": None, "train": 30, "validation": 5, "test": 10}})
    weights = Model(run).state_dict()
    save(Checkpoint(1, run.model_dump(mode="json"), "", weights, {}), tmp_path / "run")
    code, by_files, err = command(capsys, tmp_path / "run", tmp_path)
    assert (code, err) == (0, "")
    build(tmp_path / "set", tmp_path, run.data)
    assert command(capsys, tmp_path / "run", tmp_path / "set") == (0, by_files, "")
    (tmp_path / "test.csv").unlink()
    code, _, err = command(capsys, tmp_path / "run", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert "test.csv: missing" in err


def test_one_pass_goes_no_deeper_than_the_largest_depth(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    model, calls = Model(tiny), []
    model.halting_head.register_forward_hook(lambda *_: calls.append(1))
    evaluate_at(model, puzzles.test, limit=8, batch_size=8, steps=(4, 1), device=CPU)
    assert len(calls) == 4


def test_the_interval_is_wilsons() -> None:
    p, n, z = 7 / 20, 20, 1.959963984540054
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = tuple((centre + sign * half) / (1 + z * z / n) for sign in (-1, 1))
    assert exact_interval({"exact_accuracy": p, "puzzles": n}) == pytest.approx(expected, abs=1e-12)


def test_the_command_prints_and_writes_the_scores_at_each_depth(
    checkpoints: Path, puzzle_folder: Path, puzzles: PuzzleSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = command(
        capsys, checkpoints, puzzle_folder, "--steps", "4,1", "--limit", "20", "--json", tmp_path / "numbers.json"
    )
    assert (code, err) == (0, "")
    _, model = open_model(open_at(checkpoints))
    expected = evaluate_at(model, puzzles.test, limit=20, batch_size=8, steps=(1, 4), device=CPU)
    where = tmp_path / "numbers.json"
    assert out == f"step 12 on sudoku, test, fp32 on cpu\n{table(expected)}\nthe numbers are in {where}\n"
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert numbers["data_hash"] == puzzles.content_hash
    for depth, scores in expected.items():
        written = numbers["steps"][str(depth)]
        assert tuple(written.pop("exact_interval_95")) == exact_interval(scores)
        assert written == scores


def test_diagnostics_add_a_line_per_supervision_step_and_per_recursion(
    checkpoints: Path, puzzle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "numbers.json"
    assert main(["evaluate", str(checkpoints), str(puzzle_folder), "--diagnostics", "--json", str(out)]) == 0
    found = json.loads(out.read_text())["diagnostics"]
    accuracy = found["exact_accuracy/step_03"]
    assert accuracy == json.loads(out.read_text())["steps"]["3"]["exact_accuracy"]
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if "residual y" in line)
    assert head.split()[:4] == ["exact", "%", "cells", "%"]
    third = next(line for line in lines if line.strip().startswith("step 03")).split()
    expected = [f"{100 * found[name]:.2f}" for name in ("exact_accuracy/step_03", "cell_accuracy/step_03")]
    assert third[2:4] == expected  # the unit of the table above
    assert lines[2].split()[1] == expected[0]
    assert sum(line.strip().startswith("step 0") for line in lines) == 4  # 1, 2, 3 and 2·N_sup; 4·N_sup is step 12
    assert sum(line.strip().startswith("recursion") for line in lines) == 2 * (2 + 1)  # T(n+1)


def test_both_ways_of_halting_stand_below_one_another_with_what_it_cost(
    checkpoints: Path, puzzle_folder: Path, puzzles: PuzzleSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (checkpoints, puzzle_folder, "--steps", "2,3", "--json", tmp_path / "numbers.json")
    code, out, err = command(capsys, *asked, "--halt", "both", "--unchanged", "2")
    assert (code, err) == (0, "")
    _, model = open_model(open_at(checkpoints))
    ways: tuple[dict[str, Any], ...] = ({}, {"halt": "settled", "unchanged": 2})
    never, settled = (
        evaluate_at(model, puzzles.test, limit=None, batch_size=8, steps=(2, 3), device=CPU, **way) for way in ways
    )
    assert table(never, settled, halts=("never", "settled")) in out
    assert [line.split()[:2] for line in out.splitlines()[2:6]] == [
        [step, way] for step in "23" for way in ("never", "settled")
    ]
    assert "points at 3 steps" in out
    numbers = json.loads((tmp_path / "numbers.json").read_text())
    assert (numbers["halt"], numbers["unchanged"]) == ("both", 2)
    assert numbers["steps"]["3"]["exact_accuracy"] == never[3]["exact_accuracy"]
    assert numbers["settled"]["3"]["steps_used"] == settled[3]["steps_used"]
    assert set(numbers["seconds"]) == {"never", "settled"}
    code, out, _ = command(capsys, *asked, "--halt", "settled")
    assert (
        table(evaluate_at(model, puzzles.test, limit=None, batch_size=8, steps=(2, 3), device=CPU, halt="settled"))
        in out
    )


def test_clocks_of_both_ways_of_halting_start_when_each_has_had_a_batch(
    checkpoints: Path, puzzle_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[Any] = []

    def seen(*given: Any, **asked: Any) -> dict[int, dict[str, float]]:
        events.append((asked["halt"], asked["limit"]))
        return evaluate_at(*given, **asked)

    def clock() -> float:
        events.append("clock")
        return len(events)

    monkeypatch.setattr("trm_core.__main__.evaluate_at", seen)
    monkeypatch.setattr("trm_core.__main__.time", SimpleNamespace(perf_counter=clock))
    code, _, _ = command(capsys, checkpoints, puzzle_folder, "--halt", "both", "--batch-size", "4", "--limit", "12")
    assert code == 0
    timed = [["clock", (way, 12), "clock"] for way in ("never", "settled")]
    assert events == [("never", 4), ("settled", 4), *timed[0], *timed[1]]
    events.clear()
    assert command(capsys, checkpoints, puzzle_folder)[0] == 0
    assert events == ["clock", ("never", None), "clock"]


@pytest.mark.parametrize(("used", "saved"), [(16.0, False), (15.5, True)])
def test_where_every_puzzle_took_all_steps_no_time_is_said_to_be_saved(used: float, saved: bool) -> None:
    scores = {"exact_accuracy": 0.5, "puzzles": 10.0}
    said = what_stopping_does({16: scores}, {16: {**scores, "steps_used": used}}, {"never": 3.0, "settled": 2.0})
    assert f"+0.00 points at 16 steps, {used:.2f} steps used a puzzle" in said
    assert max(map(len, said.splitlines())) <= 80
    assert ("2.0 s instead of 3.0, 1.5 times as fast" in said) is saved
    assert ("no time is saved" in said) is not saved


def test_outcomes_that_are_written_are_said_to_be(
    checkpoints: Path, puzzle_folder: Path, puzzles: PuzzleSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "o.npz"
    code, out, _ = command(capsys, checkpoints, puzzle_folder, "--outcomes", file)
    assert (code, out.splitlines()[-1]) == (0, f"which puzzles are solved, and when, is in {file}")
    assert len(read_outcomes(file)) == len(puzzles.test)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--unchanged", "2"), "--unchanged: says when an answer has settled"),
        (("--halt", "both", "--outcomes", "o.npz"), "--outcomes: of one evaluation"),
        (("--halt", "sometimes"), "invalid choice"),
    ],
)
def test_ways_of_halting_that_make_no_sense_are_refused_in_a_line(
    options: tuple[str, ...], told: str, checkpoints: Path, puzzle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = command(capsys, checkpoints, puzzle_folder, *options)
    assert code == 2
    assert told in err


def test_the_table_is_aligned_and_in_per_cent() -> None:
    scores = {"exact_accuracy": 0.874, "cell_accuracy": 0.9512, "puzzles": 422786.0}
    lines = table({16: scores, 128: scores}).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[1].split() == ["16", "87.40", "87.30", "to", "87.50", "95.12", "422,786"]
    lines = table({16: scores}, {16: {**scores, "steps_used": 3.25}}).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert [line.split()[:3] for line in lines[1:]] == [["16", "16.00", "87.40"], ["16", "3.25", "87.40"]]
    maze = {**scores, "exact_accuracy": 0.9995, "shortest_path_accuracy": 1.0, "cell_accuracy": 1.0}
    ways = {128: maze}, {128: {**maze, "steps_used": 127.25}}
    lines = table(*ways, halts=("never", "settled")).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert len(lines[0]) <= 80
    assert [line.split()[:4] for line in lines[1:]] == [
        ["128", "never", "128.00", "99.95"],
        ["128", "settled", "127.25", "99.95"],
    ]


def test_without_steps_it_is_as_deep_as_in_training_and_a_step_folder_is_that_step(
    checkpoints: Path, puzzle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = command(capsys, checkpoints / "step_00000009", puzzle_folder, "--split", "validation")
    assert code == 0
    assert out.startswith("step 9 on sudoku, validation")
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["3"]
    assert out.rstrip().endswith(" 16")


def test_a_released_checkpoint_on_a_released_dataset_scores_what_ours_scores_on_ours(
    tiny: RunConfig, checkpoints: Path, puzzle_folder: Path, released_folder: Path, tmp_path: Path
) -> None:
    theirs = to_theirs(open_at(checkpoints).weights, tiny.model)
    torch.save({f"_orig_mod.{name}": t.clone() for name, t in theirs.items()}, tmp_path / "step_12")
    import_state_dict(tmp_path / "step_12", tmp_path / "imported", tiny.model_dump(mode="json"))
    ended = [
        subprocess.run(
            [sys.executable, "-m", "trm_core", "evaluate", str(checkpoint), str(data), "--steps", "1,3"],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        for checkpoint, data in ((checkpoints, puzzle_folder), (tmp_path / "imported", released_folder))
    ]
    assert [(one.returncode, one.stderr) for one in ended] == [(0, ""), (0, "")]
    assert ended[0].stdout == ended[1].stdout
    assert len(ended[0].stdout.splitlines()) == 4


def test_a_model_trains_on_a_released_dataset_without_a_validation_split(
    tiny: RunConfig, released_folder: Path
) -> None:
    run = tiny.change({"data": {"augmentations": 0}, "train": {"steps": 1}})
    metrics = train(run, open_released(released_folder), lambda *_: None)
    assert "test/exact_accuracy" in metrics
    assert not any(name.startswith("validation/") for name in metrics)


# --- what is refused --------------------------------------------------------------------------------------------------


def test_diagnostics_of_a_training_without_a_validation_split_are_refused(
    tiny: RunConfig, released_folder: Path
) -> None:
    run = tiny.change({"train": {"diagnostics": True}})
    with pytest.raises(BadSetting, match="measured on the validation split"):
        train(run, open_released(released_folder), lambda *_: None)


def test_puzzles_of_another_size_are_refused_by_name(
    checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(2, 3, train=2, validation=1, test=2, seed=0, clues=20).save(tmp_path / "6x6")
    code, out, err = command(capsys, checkpoints, tmp_path / "6x6")
    assert (code, out) == (2, "")
    assert "puzzles of 36 cells and 8 tokens, but the checkpoint's model reads 16 cells and 6 tokens (sudoku)" in err
    assert err.count("\n") == 1


def test_identifiers_that_the_model_has_no_row_for_are_refused(
    checkpoints: Path, puzzles: PuzzleSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test = puzzles.test
    more = Split(test.inputs, test.labels, test.puzzle_ids + 7, test.ratings)
    given = puzzles.manifest.model_dump(exclude={"counts", "arrays", "content_hash", "format"})
    PuzzleSet.build({**puzzles.splits, "test": more}, **{**given, "n_puzzle_ids": 8}).save(tmp_path / "more")
    code, _, err = command(capsys, checkpoints, tmp_path / "more")
    assert code == 2
    assert "puzzle identifier 7, but the checkpoint's model has 1" in err


def test_an_empty_split_names_those_that_are_not(
    checkpoints: Path, released_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = command(capsys, checkpoints, released_folder, "--split", "validation")
    assert code == 2
    assert "split validation is empty; give --split one of train, test" in err


def test_weights_that_do_not_fit_their_settings_are_refused(
    tiny: RunConfig, checkpoints: Path, puzzle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = open_at(checkpoints)
    weights = {name: tensor for name, tensor in good.weights.items() if name != "embed_tokens"}
    save(Checkpoint(3, good.settings, "", weights, {}), tmp_path)
    code, _, err = command(capsys, tmp_path, puzzle_folder)
    assert code == 2
    assert "step 3: its weights do not fit its settings: 9,970 numbers, a model of those has 10,066" in err
    weights["tokens"] = good.weights["embed_tokens"]
    save(Checkpoint(4, good.settings, "", weights, {}), tmp_path)
    code, _, err = command(capsys, tmp_path, puzzle_folder)
    assert (code, err.count("\n")) == (2, 1)
    assert "step 4: its weights do not fit its settings" in err
    assert "embed_tokens" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--steps", "16,x"], "'x' found, expected a number of 1 or more"),
        (["--limit", "0"], "'0' found, expected a number of 1 or more"),
        (["--split", "dev"], "invalid choice: 'dev'"),
        (["--json", "no folder/numbers.json"], "no folder/numbers.json: not written"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(
    checkpoints: Path, puzzle_folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    code, _, err = command(capsys, checkpoints, puzzle_folder, *arguments)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1


def test_folders_without_a_checkpoint_or_without_puzzles_are_named(
    checkpoints: Path, puzzle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = command(capsys, tmp_path / "nowhere", puzzle_folder)
    assert (code, "nowhere: no checkpoint there; expected a step_… folder" in err) == (2, True)
    code, _, err = command(capsys, checkpoints, tmp_path)
    assert (code, "no manifest.json there, expected a puzzle set" in err) == (2, True)


def test_a_changed_checkpoint_is_refused(
    checkpoints: Path, puzzle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = open_at(checkpoints)
    folder = save(Checkpoint(3, good.settings, "", good.weights, {}), tmp_path)
    weights = load_file(folder / "weights.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, folder / "weights.safetensors")
    code, _, err = command(capsys, folder, puzzle_folder)
    assert code == 2
    assert "its SHA-256 is not the recorded one" in err


def test_the_torn_weights_of_a_finished_run_are_one_line_that_says_where_else_they_are(
    checkpoints: Path,
    puzzle_folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = save(open_at(checkpoints), tmp_path / "checkpoints")
    (tmp_path / "metrics.jsonl").touch()
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, out, err = command(capsys, tmp_path, puzzle_folder)
    assert (code, out, caplog.text) == (2, "", "")
    (line,) = err.splitlines()
    assert "no good checkpoint" in line
    assert "its weights are also in MLflow, as its model: `mlflow artifacts download -u runs:/RUN_ID/model" in line
