"""ARC's vote: predictions to the disk and back, the released rule, what is kept of it."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_prep.arc import draw_arc, n_variants, pack
from data_prep.puzzle_set import PuzzleSet
from tests.trm_core.oracle import Oracle
from trm_core.__main__ import main
from trm_core.arc_vote import (
    EMPTY,
    KS,
    About,
    BadPredictions,
    BadSubmission,
    PartWriter,
    Vote,
    about,
    check_submission,
    parts,
    predict,
    questions,
    ranking,
    vote,
    write_outcome,
)
from trm_core.config import RunConfig
from trm_core.model import Model
from trm_core.trainer import train

CPU = torch.device("cpu")
PROCESS = Path(__file__).with_name("train_in_a_process.py")
ROOT = Path(__file__).parents[2]
Answers = dict[tuple[bytes, int], NDArray[np.uint8]]


def answers(data: PuzzleSet, split: str = "test") -> Answers:
    """The right answer to each variant of each puzzle of a split, by its question and its identifier."""
    assert data.groups is not None
    puzzles = data.splits[split]
    counts = n_variants(data.groups, np.asarray(puzzles.puzzle_ids))
    examples = np.repeat(np.arange(len(puzzles)), counts)
    variants = np.concatenate([np.arange(count) for count in counts])
    drawn = draw_arc(puzzles, data.groups, examples, variants, side=6, seed=0, translate=False)
    return {(asked.tobytes(), int(i)): answer for asked, answer, i in zip(*drawn, strict=True)}


def solve(data: PuzzleSet, run: RunConfig, folder: Path, known: Answers, **options: Any) -> Vote:
    """The vote of a model that knows these answers."""
    model = Oracle(run, known, data.n_puzzle_ids, options.pop("halt", 0.0))
    limit = options.get("limit")
    given = {"step": 1, "votes": None, "batch_size": 8, "N_sup": 1, "device": CPU, **options}
    predict(model, data, folder, **given)
    return vote([folder], data, limit=limit)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """All rows of all parts."""
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def outputs_of_tests(data: PuzzleSet) -> dict[str, list[list[list[int]]]]:
    """The answers of the test split by task, read off its canvas."""
    found: dict[str, list[list[list[int]]]] = {}
    for one, canvas in zip(questions(data, "test"), np.asarray(data.test.labels).reshape(-1, 6, 6), strict=True):
        rows, columns = int((canvas[:, 0] > 1).sum()), int((canvas[0] > 1).sum())
        found.setdefault(one.task, []).append((canvas[:rows, :columns].astype(int) - 2).tolist())
    return found


# --- the rule ---------------------------------------------------------------------------------------------------------

grids = st.sampled_from([pack(np.full((1, 1 + i % 2), i, dtype=np.uint8)) for i in range(6)])
ballots = st.lists(st.tuples(grids, st.sampled_from([0.125, 0.25, 0.5, 0.75])), max_size=24)


def released_rule(rows: list[tuple[bytes, float]]) -> list[tuple[bytes, list[float]]]:
    """The released evaluator's, as its source reads."""
    found: dict[bytes, list[float]] = {}
    for grid, halt in rows:
        found.setdefault(grid, [0, 0])
        found[grid][0] += 1
        found[grid][1] += halt
    for stats in found.values():
        stats[1] /= stats[0]
    return sorted(found.items(), key=lambda item: item[1], reverse=True)


@given(ballots, st.randoms(use_true_random=False))
def test_grids_are_ranked_by_the_released_rule_whatever_the_order_of_the_rows(
    rows: list[tuple[bytes, float]], random: Any
) -> None:
    expected = released_rule(rows)
    ranked = ranking(rows)
    worth = dict(expected)
    assert [worth[grid] for grid in ranked] == [stats for _, stats in expected]
    for a, b in itertools.pairwise(ranked):
        assert worth[a] > worth[b] or (worth[a] == worth[b] and a < b)
    random.shuffle(rows)
    assert ranking(rows) == ranked


def test_a_grid_whose_halting_probability_is_no_number_comes_last_among_equals() -> None:
    rows = [(bytes((1, 1, colour)), halt) for colour, halt in enumerate((math.nan, 0.0, 0.5))]
    for order in itertools.permutations(rows):
        assert [grid[2] for grid in ranking(order)] == [2, 1, 0]


def test_pass_at_k_and_the_curve_are_those_of_the_released_rule(arc: PuzzleSet, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    asked = questions(arc, "test")
    assert len(asked) > len({one.task for one in asked}) == 4
    rows = []
    for one in asked:
        choices = [one.answer] * 2 + [pack(np.full((2, 2), colour, dtype=np.uint8)) for colour in range(6)]
        for variant in range(7):
            rows.append((one, variant, choices[random.integers(len(choices))], float(random.random())))
    with PartWriter(tmp_path, About(arc.content_hash, "test", 1, False)) as part:
        for one, variant, grid, halt in rows:
            part.add(task=[one.task], test=[one.test], variant=[variant], grid=[grid], halt=[halt])

    def expected(k: int, votes: int) -> float:
        tasks: dict[str, list[bool]] = {}
        for one in asked:
            theirs = [(grid, float(np.float32(h))) for o, v, grid, h in rows if o == one and v < votes]
            tasks.setdefault(one.task, []).append(one.answer in [grid for grid, _ in released_rule(theirs)[:k]])
        return float(np.mean([np.mean(solved) for solved in tasks.values()]))

    found = vote([tmp_path], arc)
    assert found.pass_at == pytest.approx({k: expected(k, 7) for k in KS})
    assert 0 < found.pass_at[1] < found.pass_at[5]
    assert [votes for votes, *_ in found.curve] == [1, 2, 5, 7]
    for votes, *at in found.curve:
        assert at == pytest.approx([expected(1, votes), expected(2, votes)])
    assert found.votes == 7


# --- from a model -----------------------------------------------------------------------------------------------------


def test_the_right_answer_to_every_variant_is_turned_back_into_the_right_answer_to_the_task(
    arc: PuzzleSet, tiny_arc: RunConfig, tmp_path: Path
) -> None:
    found = solve(arc, tiny_arc, tmp_path, answers(arc))
    assert found.pass_at == dict.fromkeys(KS, 1.0)
    assert found.curve == ((1, 1, 1), (2, 1, 1), (5, 1, 1), (7, 1, 1))
    assert (found.votes, found.n_tasks, found.n_inputs, found.warnings()) == (7, 4, 5, [])
    rows = rows_of(tmp_path)
    asked = [(one.task, one.test, variant) for one in questions(arc, "test") for variant in range(7)]
    assert [(row["task"], row["test"], row["variant"]) for row in rows] == asked
    assert {row["halt"] for row in rows} == {0.5}  # of a logit of 0


def test_as_many_variants_vote_as_are_asked_for(arc: PuzzleSet, tiny_arc: RunConfig, tmp_path: Path) -> None:
    assert arc.groups is not None
    first = set(np.add.outer(arc.groups.starts, range(3)).flat)  # identifiers of the first three variants
    beyond = {key: answer for key, answer in answers(arc).items() if key[1] not in first}
    assert solve(arc, tiny_arc, tmp_path, beyond).pass_at[1] == 1
    few = solve(arc, tiny_arc, tmp_path, beyond, votes=3)
    assert (few.votes, few.pass_at[1000]) == (3, 0)
    assert few.empty == 2 * few.n_inputs  # it answers with pads
    assert few.submission["evaluation_0"][0] == {"attempt_1": [[0]], "attempt_2": [[0]]}
    assert "10 of 10 attempts have no cell" in few.warnings()[0]


def test_with_blank_identifiers_every_variant_is_asked_under_identifier_0(
    arc: PuzzleSet, tiny_arc: RunConfig, tmp_path: Path
) -> None:
    known = answers(arc)
    assert solve(arc, tiny_arc, tmp_path, known, blank_identifiers=True).pass_at[1] == 0
    nameless = {(asked, 0): answer for (asked, _), answer in known.items()}
    assert solve(arc, tiny_arc, tmp_path, nameless, blank_identifiers=True).pass_at[1] == 1
    assert about(tmp_path).blank_identifiers


def test_attempts_are_the_first_two_grids_in_the_order_of_the_tasks_inputs(
    arc: PuzzleSet, tiny_arc: RunConfig, tmp_path: Path
) -> None:
    found = solve(arc, tiny_arc, tmp_path, answers(arc))
    write_outcome(found, tmp_path)
    submission = json.loads((tmp_path / "submission.json").read_text())
    source = outputs_of_tests(arc)
    assert submission.keys() == source.keys()
    for task, outputs in source.items():
        assert submission[task] == [{"attempt_1": output, "attempt_2": output} for output in outputs]
    with (tmp_path / "votes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["votes"] for row in rows] == ["1", "2", "5", "7"]
    assert {float(row[name]) for row in rows for name in ("pass@1", "pass@2")} == {1.0}


def test_a_submission_is_checked_before_it_is_written(tmp_path: Path) -> None:
    good: dict[str, Any] = {"a": [{"attempt_1": [[0, 9]], "attempt_2": [[1]]}]}
    check_submission(good)
    for grid, offence in (
        ([[0, 10]], "a, 0, attempt_1, 0, 1: Input should be less than or equal to 9"),
        ([[0, 1], [2]], "rows of [1, 2] cells"),
        ([], "at least 1 item"),
        ([[0] * 31], "at most 30 items"),
        ([[0.5]], "valid integer"),
        (None, "valid list"),
    ):
        with pytest.raises(BadSubmission, match=re.escape(offence)):
            check_submission({"a": [{**good["a"][0], "attempt_1": grid}]})
    with pytest.raises(BadSubmission, match="attempt_2: Field required"):
        check_submission({"a": [{"attempt_1": [[0]]}]})
    wrong = Vote({1: 0.0}, 1, 1, 1, (), {"a": [{"attempt_1": [[10]], "attempt_2": [[1]]}]}, (), 0)
    with pytest.raises(BadSubmission):
        write_outcome(wrong, tmp_path)
    assert not list(tmp_path.iterdir())


# --- several files, several checkpoints -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one_part(arc: PuzzleSet, tiny_arc: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an untrained model predicts."""
    folder = tmp_path_factory.mktemp("one part")
    predict(Model(tiny_arc, arc.n_puzzle_ids), arc, folder, **ASKED)
    return folder


ASKED: dict[str, Any] = {"step": 1, "votes": None, "batch_size": 8, "N_sup": 1, "device": CPU}


def test_the_parts_of_two_workers_vote_as_one(arc: PuzzleSet, one_part: Path, tmp_path: Path) -> None:
    rows = rows_of(one_part)
    for rank in (0, 1):
        with PartWriter(tmp_path, about(one_part), rank, 2) as part:
            for start in range(rank * 4, len(rows), 8):
                part.add(**{name: [row[name] for row in rows[start : start + 4]] for name in rows[0]})
    assert vote([tmp_path], arc) == vote([one_part], arc)
    (tmp_path / "part-1-of-2.parquet").unlink()
    with pytest.raises(BadPredictions, match="part-0-of-2.parquet, expected all of part-0-of-2 to part-1-of-2"):
        vote([tmp_path], arc)


def test_two_checkpoints_pooled_vote_by_all_their_predictions(
    arc: PuzzleSet, tiny_arc: RunConfig, tmp_path: Path
) -> None:
    known = answers(arc)
    few = dict(list(known.items())[:5])  # of the first input's seven variants
    assert solve(arc, tiny_arc, tmp_path / "a", few, halt=1.0).pass_at[1] == 0.25
    assert solve(arc, tiny_arc, tmp_path / "b", {}).pass_at[1] == 0
    pooled = vote([tmp_path / "a", tmp_path / "b"], arc)  # 5 for the answer, 2 + 7 for the empty grid
    assert (pooled.pass_at[1], pooled.pass_at[2], pooled.votes) == (0, 0.25, 7)
    assert vote([tmp_path / "b", tmp_path / "a"], arc) == pooled


def test_predictions_that_were_cut_short_are_replaced_never_mixed(
    arc: PuzzleSet, tiny_arc: RunConfig, one_part: Path, tmp_path: Path
) -> None:
    model, calls = Model(tiny_arc, arc.n_puzzle_ids), itertools.count(1)

    def stop(*_: object) -> None:
        if next(calls) == 3:
            raise KeyboardInterrupt

    for name in ("part-0-of-2.parquet", "part-1-of-2.parquet", ".part-1-of-2.parquet.partial", "votes.csv"):
        (tmp_path / name).write_text("of the attempt before")
    hook = model.register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        predict(model, arc, tmp_path, **ASKED)
    assert not list(tmp_path.iterdir())
    hook.remove()
    predict(model, arc, tmp_path, **ASKED)
    assert [path.name for path in tmp_path.iterdir()] == ["part-0-of-1.parquet"]
    assert rows_of(tmp_path) == rows_of(one_part)


def test_a_test_input_without_predictions_is_not_solved_and_told(
    arc: PuzzleSet, tiny_arc: RunConfig, tmp_path: Path
) -> None:
    assert solve(arc, tiny_arc, tmp_path, answers(arc), limit=2).pass_at[1] == 1
    whole = vote([tmp_path], arc)
    assert whole.pass_at[1] == pytest.approx((1 + 1 / 2) / 4)
    assert [task for task, _ in whole.unpredicted] == ["evaluation_1", "evaluation_2", "evaluation_3"]
    assert "3 test inputs have no predictions and count as not solved: evaluation_1, input 1; " in whole.warnings()[0]
    assert whole.submission["evaluation_3"] == [{"attempt_1": [[0]], "attempt_2": [[0]]}]


def test_predictions_of_other_puzzles_or_torn_ones_are_refused(arc: PuzzleSet, one_part: Path, tmp_path: Path) -> None:
    with pytest.raises(BadPredictions, match="no predictions there, expected part-…-of-….parquet"):
        vote([tmp_path], arc)
    path = tmp_path / "part-0-of-1.parquet"
    path.write_bytes((one_part / path.name).read_bytes()[:-9])
    with pytest.raises(BadPredictions, match="part-0-of-1.parquet: cannot be read"):
        vote([tmp_path], arc)
    pq.write_table(pa.table({"task": ["a"]}), path)
    with pytest.raises(BadPredictions, match="columns task, expected task, test, variant, grid, halt"):
        vote([tmp_path], arc)
    with PartWriter(tmp_path, About("f" * 64, "test", 1, False)) as part:
        part.add(task=["a"], test=[0], variant=[0], grid=[EMPTY], halt=[0.5])
    with pytest.raises(BadPredictions, match="split test of puzzles ffffffffffff…, expected split test of"):
        vote([tmp_path], arc)
    with PartWriter(tmp_path, about(one_part)) as part:
        part.add(task=["a"], test=[0], variant=[0], grid=[EMPTY], halt=[0.5])
    with pytest.raises(BadPredictions, match="test input 0 of a is not of these puzzles"):
        vote([tmp_path], arc)
    for spoilt in ({"grid": b"\2"}, {"grid": b"\2\2\0"}, {"grid": None}, {"halt": None}, {"variant": -1}):
        with PartWriter(tmp_path, about(one_part)) as part:
            row = {"task": "evaluation_0", "test": 0, "variant": 0, "grid": EMPTY, "halt": 0.5, **spoilt}
            part.add(**{name: [value] for name, value in row.items()})
        with pytest.raises(BadPredictions, match="of evaluation_0, input 0: expected a packed grid and a halting"):
            vote([tmp_path], arc)


def test_predictions_lie_where_they_were_asked_for_whatever_the_folder_is_called(
    one_part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("~").mkdir()
    with PartWriter(Path("~"), about(one_part)) as part:
        part.add(task=["a"], test=[0], variant=[0], grid=[EMPTY], halt=[0.5])
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")] == ["~/part-0-of-1.parquet"]
    assert about(Path("~")) == about(one_part)


# --- at the end of a run, and by command ------------------------------------------------------------------------------

NAMES = {*(f"test/pass_at_{k}" for k in KS), "test/votes"}


def test_a_run_on_arc_ends_with_its_votes_and_two_workers_come_to_those_of_one(
    arc: PuzzleSet, arc_folder: Path, tiny_arc: RunConfig, tmp_path: Path
) -> None:
    rows: list[dict[str, float]] = []
    run = tiny_arc.change({"train": {"steps": 4, "eval_every": 2, "votes": 5}})
    final = train(
        run, arc, lambda _, row, __: rows.append(dict(row)), checkpoints=tmp_path / "1", predictions=tmp_path / "p"
    )
    assert final.keys() >= NAMES | {"test/exact_accuracy", "validation/exact_accuracy"}
    assert all(math.isfinite(value) for value in final.values())
    assert (final["test/votes"], final["test/puzzles"]) == (5, 5)
    assert not any(NAMES & row.keys() for row in rows[:-1])  # at the end only
    assert {path.name for path in (tmp_path / "p").iterdir()} == {"part-0-of-1.parquet", "votes.csv", "submission.json"}

    two = tmp_path / "two"
    two.mkdir()
    (two / "settings.json").write_text(run.model_dump_json())
    shutil.copytree(tmp_path / "1", two, dirs_exist_ok=True)  # trained to the end: all that is left is to evaluate
    given: list[str | Path] = [sys.executable, PROCESS, two / "settings.json", arc_folder, two, two / "reports"]
    group = [
        subprocess.Popen([*given, str(rank), "2", tmp_path / "meet"], env=os.environ | {"PYTHONPATH": str(ROOT)})
        for rank in (0, 1)
    ]
    assert [process.wait() for process in group] == [0, 0]
    for rank in (0, 1):
        told = json.loads((two / f"reports.{rank}").read_text())["metrics"]
        assert {name: told[name] for name in NAMES} == {name: final[name] for name in NAMES}
    assert [path.name for path in parts(two)] == ["part-0-of-2.parquet", "part-1-of-2.parquet"]
    assert vote([two], arc) == vote([tmp_path / "p"], arc)

    again = train(run, arc, lambda *_: None, checkpoints=tmp_path / "1")  # and keeps nothing
    assert {name: again[name] for name in NAMES} == {name: final[name] for name in NAMES}


def test_the_commands_print_each_checkpoints_vote_and_the_pooled_one_apart(
    arc: PuzzleSet,
    arc_folder: Path,
    tiny_arc: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def command(*arguments: str | Path) -> list[str]:
        code = main([*map(str, arguments)])
        told = capsys.readouterr()
        assert (code, told.err) == (0, "")
        return told.out.splitlines()

    monkeypatch.chdir(tmp_path)
    train(tiny_arc.change({"train": {"steps": 2}}), arc, lambda *_: None, checkpoints=tmp_path / "run")
    lines = command("evaluate", "run", arc_folder, "--json", "one.json")
    assert lines[0] == "step 2 on arc, test, fp32 on cpu"
    assert lines[3].split() == ["tasks", "inputs", "variants", *itertools.chain(*((f"pass@{k}", "%") for k in KS))]
    assert lines[4].split()[:7] == ["vote", "after", "3", "steps", "4", "5", "7"]
    folder = Path("predictions/step_00000002")
    assert lines[-2:] == [f"predictions, votes.csv and submission.json are in {folder}", "the numbers are in one.json"]
    assert json.loads(Path("one.json").read_text())["vote"] == vote([folder], arc).metrics()

    lines = command("evaluate", "run", arc_folder, "--votes", "2", "--blank-identifiers", "--split", "validation")
    assert lines[0].endswith("validation, fp32 on cpu, blank identifiers")
    assert about(Path("predictions/step_00000002_blank")).split == "validation"
    command("evaluate", "run", arc_folder, "--votes", "2", "--blank-identifiers", "--out", "blank")

    lines = command("vote", folder, "--data", arc_folder)
    assert len([line for line in lines if "(step 2" in line and "have no cell" not in line]) == 1
    assert "pooled" not in "".join(lines)
    lines = command("vote", folder, "blank", "--data", arc_folder, "--out", "pooled", "--json", "votes.json")
    assert lines[1].startswith(f"{folder} (step 2)  ")
    assert lines[2].startswith("blank (step 2, blank identifiers)  ")
    assert lines[3].startswith("pooled: an ensemble of 2 checkpoints  ")
    assert (
        json.loads((tmp_path / "pooled" / "submission.json").read_text())
        == vote([folder, Path("blank")], arc).submission
    )
    assert len(json.loads(Path("votes.json").read_text())["votes"]) == 3

    for arguments, told in (
        (["vote", folder, f"./{folder}", "--data", arc_folder], "a folder is given twice"),
        (["vote", folder, "predictions/step_00000002_blank", "--data", arc_folder], "expected split test"),
        (["evaluate", "run", arc_folder], "holds predictions; give another folder by --out"),
    ):
        assert main([*map(str, arguments)]) == 2
        assert told in capsys.readouterr().err
    assert main(["evaluate", "n" * 5000, str(arc_folder)]) == 2
    assert "File name too long; name a path that can be read and written" in capsys.readouterr().err
    Path("file").touch()
    assert main(["evaluate", "run", str(arc_folder), "--out", "file"]) == 2
    said = capsys.readouterr()
    assert said.out == "", "no work is done for predictions that cannot be kept"
    assert "file: not written" in said.err


def test_a_model_is_asked_no_task_that_it_has_learnt_from_and_none_by_another_tasks_identifier(
    arc: PuzzleSet,
    arc_folder: Path,
    tiny_arc: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    train(tiny_arc.change({"train": {"steps": 1}}), arc, lambda *_: None, checkpoints=tmp_path / "run")
    path = next((tmp_path / "run").glob("step_*/checkpoint.json"))
    content = json.loads(path.read_text())
    content["data_hash"] = "0" * 64
    path.write_text(json.dumps(content))
    assert main(["evaluate", "run", str(arc_folder)]) == 2
    assert "tasks of another set" in capsys.readouterr().err
    assert main(["evaluate", "run", str(arc_folder), "--blank-identifiers"]) == 0
    assert "LEAK" not in capsys.readouterr().out
    assert len(arc.validation)
    assert main(["evaluate", "run", str(arc_folder), "--blank-identifiers", "--split", "validation"]) == 2
    assert "of the tasks it is asked are among them" in capsys.readouterr().err, "it may not have held out the same"

    content["settings"]["data"] |= {"subsets": "training,evaluation,evaluation2", "test_subset": "evaluation2"}
    path.write_text(json.dumps(content))
    leaking = ["evaluate", "run", str(arc_folder), "--blank-identifiers", "--out", "leaking", "--json", "l.json"]
    assert main(leaking) == 2
    n = len(set(arc.test.puzzle_ids.tolist()))
    assert f"{n} of the tasks it is asked are among them" in capsys.readouterr().err
    assert main([*leaking, "--allow-leak"]) == 0
    assert f"LEAK: the model has learnt from {n} of these tasks" in capsys.readouterr().out
    assert len(json.loads(Path("l.json").read_text())["leaks"]) == n


def test_votes_are_refused_where_nothing_can_vote(
    puzzle_folder: Path, puzzles: PuzzleSet, tiny: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny.change({"train": {"steps": 1}}), puzzles, lambda *_: None, checkpoints=tmp_path)
    assert main(["evaluate", str(tmp_path), str(puzzle_folder), "--votes", "3"]) == 2
    assert "has no groups of variants that could vote" in capsys.readouterr().err
    assert main(["vote", str(tmp_path), "--data", str(puzzle_folder)]) == 2
    assert "no groups of variants that could vote" in capsys.readouterr().err
