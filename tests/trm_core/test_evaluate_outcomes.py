"""What becomes of each test puzzle while it is evaluated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data_prep.puzzle_set import PuzzleSet
from tests.trm_core.scripted import Scripted
from trm_core.config import RunConfig
from trm_core.data import Batch
from trm_core.evaluate import evaluate, evaluate_at
from trm_core.evaluate_outcomes import Watch, depths, puzzles_at_depth
from trm_core.outcomes import Outcomes, halting_scores, read_outcomes
from trm_core.settling import NO_ANSWER, Seen
from trm_core.solving.thought_file import read_thought
from trm_core.trainer import Trainer, train

CPU = torch.device("cpu")
N_SUP = 4


@pytest.fixture(scope="module")
def scripted(puzzles: PuzzleSet, tiny: RunConfig) -> Scripted:
    """24 puzzles, 4 steps: random answers, about half of them right, that often stay; random halting logits."""
    random = np.random.default_rng(0)
    labels = np.asarray(puzzles.test.labels)
    answers = np.repeat(labels[None], N_SUP, axis=0)
    wrong = random.random(answers.shape[:2]) < 0.5
    answers[wrong, 3] = random.integers(2, 6, wrong.sum())
    stays = random.random((N_SUP, len(labels))) < 0.5
    for step in range(1, N_SUP):
        answers[step, stays[step]] = answers[step - 1, stays[step]]
    return Scripted(tiny, puzzles.test, answers, random.normal(-0.5, 1, (N_SUP, len(labels), 2)).astype(np.float32))


def _watched(model: Scripted, puzzles: PuzzleSet, batch_size: int) -> tuple[Outcomes, dict[str, float]]:
    watch = Watch(len(puzzles.test), N_SUP, model.settings, CPU)
    scores = evaluate(model, puzzles.test, limit=None, batch_size=batch_size, N_sup=N_SUP, device=CPU, watch=watch)
    return watch.outcomes(puzzles, 12), scores


def test_each_puzzle_is_solved_settles_and_halts_where_the_script_says(scripted: Scripted, puzzles: PuzzleSet) -> None:
    found, _ = _watched(scripted, puzzles, 7)
    labels, answers, q = np.asarray(puzzles.test.labels), scripted.answers, scripted.q
    for i in range(24):
        last = answers[-1, i]
        settled = next(s for s in range(N_SUP) if all((answers[later, i] == last).all() for later in range(s, N_SUP)))
        asked = [s + 1 for s in range(N_SUP) if q[s, i, 0] > 0]
        halted = asked[0] if asked else 0
        assert found.solved[i] == (last == labels[i]).all()
        assert found.settled_at[i] == settled + 1
        assert found.halted_at[i] == halted
        assert found.solved_when_halted[i] == (answers[(halted or N_SUP) - 1, i] == labels[i]).all()
    assert {0, 1, 2} <= set(found.halted_at.tolist())
    assert len(set(found.settled_at.tolist())) == N_SUP
    assert (found.solved != found.solved_when_halted).any()


def test_watching_moves_no_number_and_does_not_depend_on_the_batches(scripted: Scripted, puzzles: PuzzleSet) -> None:
    found, scores = _watched(scripted, puzzles, 7)
    again, _ = _watched(scripted, puzzles, 24)
    plain = evaluate(scripted, puzzles.test, limit=None, batch_size=7, N_sup=N_SUP, device=CPU)
    assert scores == plain
    assert plain["exact_accuracy"] == found.solved.mean()
    for name in ("solved", "settled_at", "halted_at", "solved_when_halted"):
        assert (getattr(found, name) == getattr(again, name)).all()
    assert np.allclose(found.reliability, again.reliability, rtol=1e-12)


def test_the_halting_head_is_scored_as_a_plain_count_scores_it(scripted: Scripted, puzzles: PuzzleSet) -> None:
    found, _ = _watched(scripted, puzzles, 24)
    p = 1 / (1 + np.exp(-scripted.q[-1, :, 0].astype(np.float64)))
    error = sum(
        abs(found.solved[inside].sum() - p[inside].sum())
        for i in range(10)
        if (inside := (p >= i / 10) & (p < (i + 1) / 10)).any()
    )
    scores = halting_scores(found)
    assert scores["q_halt_accuracy"] == pytest.approx(((p >= 0.5) == found.solved).mean())
    assert scores["q_halt_calibration_error"] == pytest.approx(error / 24)
    assert scores["exact_accuracy_when_halting"] == found.solved_when_halted.mean()
    assert scores["steps_when_halting"] == np.where(found.halted_at == 0, N_SUP, found.halted_at).mean()


def test_only_cells_that_count_settle(mazes: PuzzleSet, tiny_maze: RunConfig) -> None:
    labels = torch.tensor([[2, 3, -100]])
    watch = Watch(1, 2, tiny_maze.model, CPU)
    batch = Batch(torch.zeros_like(labels), labels, torch.zeros(1))
    before = torch.full_like(labels, NO_ANSWER)
    for step, beside in ((1, 4), (2, 5)):
        answer = torch.tensor([[2, 3, beside]])
        logits, q = torch.nn.functional.one_hot(answer, 6).float(), torch.zeros(1, 2)
        watch.see(Seen(np.array([0]), np.array([step]), np.array([step == 2]), batch, before, answer, logits, q))
        before = answer
    assert watch.table[1].tolist() == [1]


def test_a_head_that_nothing_trains_halts_nowhere_and_has_no_score(puzzles: PuzzleSet, tiny: RunConfig) -> None:
    run = tiny.change({"model": {"halting": "none"}, "train": {"steps": 40}})
    final = train(run, puzzles, lambda *_: None)
    assert not any("halt" in name for name in final if name.startswith("test/"))
    assert "test/exact_accuracy/step_03" in final


def test_a_run_ends_with_its_outcomes_and_the_numbers_it_always_had(
    puzzles: PuzzleSet, tiny: RunConfig, tmp_path: Path
) -> None:
    run = tiny.change({"train": {"steps": 40}})
    final = train(run, puzzles, lambda *_: None, checkpoints=tmp_path / "c", outcomes=tmp_path)
    found = read_outcomes(tmp_path / "outcomes.npz")
    assert (found.step, found.N_sup, len(found)) == (40, 3, 24)
    assert final["test/exact_accuracy"] == found.solved.mean()
    assert np.array_equal(found.ratings, puzzles.test.ratings)  # type: ignore[arg-type]
    thought = read_thought(tmp_path / "thought.npz")
    i = int(thought.name.removeprefix("test "))
    assert (thought.solved, thought.steps, thought.settled_at) == (found.solved[i], 3, found.settled_at[i])
    assert not found.solved.any() or found.settled_at[found.solved].max() == found.settled_at[i]
    trainer = Trainer(run, puzzles, CPU)
    trainer.resume(tmp_path / "c")
    asked: dict[str, Any] = {"batch_size": 8, "device": CPU}
    plain = evaluate(trainer.evaluated_model, puzzles.test, limit=None, N_sup=3, **asked)
    assert {f"test/{name}": value for name, value in plain.items()}.items() <= final.items()
    n = int(final["test/puzzles_at_depth"])
    deep = evaluate_at(trainer.evaluated_model, puzzles.test, limit=n, steps=depths(3), **asked)
    for step, scores in deep.items():
        assert final[f"test/exact_accuracy/step_{step:02d}"] == scores["exact_accuracy"]


def test_a_run_that_does_not_look_at_test_has_no_outcomes(puzzles: PuzzleSet, tiny: RunConfig, tmp_path: Path) -> None:
    run = tiny.change({"train": {"evaluate_on": "validation"}})
    final = train(run, puzzles, lambda *_: None, outcomes=tmp_path)
    assert not any(name.startswith("test/") for name in final)
    assert not (tmp_path / "outcomes.npz").exists()


def test_arcs_outcomes_say_which_attempt_is_right(arc: PuzzleSet, tiny_arc: RunConfig, tmp_path: Path) -> None:
    final = train(tiny_arc, arc, lambda *_: None, outcomes=tmp_path)
    found = read_outcomes(tmp_path / "outcomes.npz")
    assert len(found.places) == len(found) == len(arc.test)
    by_task: dict[str, list[bool]] = {}
    for task, _, place in found.places:
        by_task.setdefault(task, []).append(1 <= place <= 2)
    assert final["test/pass_at_2"] == pytest.approx(np.mean([np.mean(solved) for solved in by_task.values()]))


def test_depth_doubles_up_to_eight_times_N_sup() -> None:
    assert depths(16) == (1, 2, 4, 8, 16, 32, 64, 128)
    assert depths(3) == (1, 2, 3, 6, 12, 24)
    assert depths(1) == (1, 2, 4, 8)


def test_depth_is_asked_of_as_many_puzzles_as_a_twentieth_of_the_training_pays_for(tiny: RunConfig) -> None:
    official = RunConfig()
    assert puzzles_at_depth(official, 16, 422_786) == 2000
    assert puzzles_at_depth(official, 16, 300) == 300
    short = tiny.change({"train": {"steps": 60}})
    few = puzzles_at_depth(short, 3, 10_000)
    spent = few * 24 * short.forward_flops() / short.train_work()
    assert 0 < few < 16
    assert spent <= 0.05 < spent * (few + 1) / few
