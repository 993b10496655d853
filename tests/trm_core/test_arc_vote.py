"""ARC's vote: predictions to the disk and back, the released rule, what is kept of it."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
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
    CURVE_VOTES,
    EMPTY,
    KS,
    About,
    BadPredictions,
    BadSubmission,
    PartWriter,
    Vote,
    about,
    check_submission,
    make_room,
    parts,
    predict,
    questions,
    ranking,
    vote,
    write_outcome,
)
from trm_core.checkpoint import Checkpoint, save
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
    model = Oracle(run, known, data.n_puzzle_ids)
    limit = options.get("limit")
    given = {"step": 1, "votes": None, "batch_size": 8, "N_sup": 1, "device": CPU, **options}
    predict(model, data, folder, **given)
    return vote([folder], data, limit=limit)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """All rows of all parts."""
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


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


def test_pass_at_k_and_the_curve_are_those_of_the_released_rule(arc: PuzzleSet, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    asked = questions(arc)
    assert len(asked) > len({one.task for one in asked}) == 4
    rows = []
    for one in asked:
        choices = [one.answer, *(pack(np.full((2, 2), colour, dtype=np.uint8)) for colour in range(4))]
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
    assert 0 < found.pass_at[1] < found.pass_at[5] == 1
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
    asked = [(one.task, one.test, variant) for one in questions(arc) for variant in range(7)]
    assert [(row["task"], row["test"], row["variant"]) for row in rows] == asked
    assert {row["halt"] for row in rows} == {0.5}  # of a logit of 0


def test_as_many_variants_vote_as_are_asked_for(arc: PuzzleSet, tiny_arc: RunConfig, tmp_path: Path) -> None:
    assert arc.groups is not None
    beyond = {key: answer for key, answer in answers(arc).items() if key[1] - arc.groups.starts[arc.groups.of(key[1:])] >= 3}  # type: ignore[arg-type]  # fmt: skip
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
    source = tmp_path_of_tasks(arc)
    assert submission.keys() == source.keys()
    for task, outputs in source.items():
        assert submission[task] == [{"attempt_1": output, "attempt_2": output} for output in outputs]
    with (tmp_path / "votes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["votes"] for row in rows] == ["1", "2", "5", "7"]
    assert {float(row[name]) for row in rows for name in ("pass@1", "pass@2")} == {1.0}


def tmp_path_of_tasks(arc: PuzzleSet) -> dict[str, list[list[list[int]]]]:
    """The answers of the test split, read off its canvas."""
    found: dict[str, list[list[list[int]]]] = {}
    for one, canvas in zip(questions(arc), np.asarray(arc.test.labels).reshape(-1, 6, 6), strict=True):
        rows, columns = int((canvas[:, 0] > 1).sum()), int((canvas[0] > 1).sum())
        found.setdefault(one.task, []).append((canvas[:rows, :columns].astype(int) - 2).tolist())
    return found
