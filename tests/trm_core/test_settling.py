"""Puzzles that leave an evaluation once their answers have settled, on a model whose answers are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import trm_core.evaluate as evaluate_module
from data_prep.puzzle_set import PuzzleSet, Split
from tests.trm_core.oracle import Oracle
from tests.trm_core.scripted import Scripted
from trm_core.config import RunConfig
from trm_core.data import evaluation_batches
from trm_core.evaluate import evaluate, evaluate_at
from trm_core.evaluate_outcomes import Watch
from trm_core.losses import mean_over_cells, stablemax_cross_entropy
from trm_core.metrics import score
from trm_core.model import Model
from trm_core.outcomes import read_outcomes
from trm_core.settling import Halt, Seen, places_of, think
from trm_core.trainer import train

CPU = torch.device("cpu")
N_SUP = 7
HALTING = ("bce", "q_learning", "none")


def _scripted(puzzles: PuzzleSet, run: RunConfig, halting: str = "bce") -> Scripted:
    """24 puzzles: random answers, half of them right, that stay in two steps of three; random halting logits."""
    random = np.random.default_rng(1)
    labels = np.asarray(puzzles.test.labels)
    answers = np.repeat(labels[None], N_SUP, axis=0)
    wrong = random.random(answers.shape[:2]) < 0.5
    answers[wrong, 3] = random.integers(2, 6, wrong.sum())
    stays = random.random((N_SUP, len(labels))) < 0.67
    for step in range(1, N_SUP):
        answers[step, stays[step]] = answers[step - 1, stays[step]]
    q = random.normal(0, 1, (N_SUP, len(labels), 2)).astype(np.float32)
    return Scripted(run.change({"model": {"halting": halting}}), puzzles.test, answers, q)


def _stops(model: Scripted, enough: int) -> list[int]:
    """The supervision step at which each puzzle should leave, by the rule in words."""

    def asks(step: int, i: int) -> bool:
        halt, go_on = model.q[step, i]
        return bool({"none": True, "bce": halt > 0, "q_learning": halt > go_on}[model.settings.halting])

    def stayed(step: int, i: int) -> bool:
        return step >= enough and all(
            (model.answers[step - k, i] == model.answers[step, i]).all() for k in range(enough + 1)
        )

    found = []
    for i in range(model.q.shape[1]):
        settled = [step + 1 for step in range(N_SUP) if stayed(step, i) and asks(step, i)]
        found.append(settled[0] if settled else N_SUP)
    return found


def _think(
    model: Model,
    split: Split,
    batch_size: int,
    places: Sequence[int] | None = None,
    halt: Halt = "settled",
    **asked: Any,
) -> list[Seen]:
    there = np.arange(len(split)) if places is None else np.array(places, dtype=np.int64)
    return list(think(model, split, there, batch_size=batch_size, device=CPU, halt=halt, **{"N_sup": N_SUP} | asked))


@pytest.mark.parametrize("halting", HALTING)
@pytest.mark.parametrize("enough", [1, 2])
@pytest.mark.parametrize("batch_size", [1, 5, 24, 100])
def test_a_puzzle_leaves_where_its_answer_has_stayed_and_the_head_asks(
    halting: str, enough: int, batch_size: int, puzzles: PuzzleSet, tiny: RunConfig
) -> None:
    model = _scripted(puzzles, tiny, halting)
    wanted = _stops(model, enough)
    assert len(set(wanted)) >= 3
    taken: dict[int, list[int]] = {}
    for seen in _think(model, puzzles.test, batch_size, unchanged=enough):
        assert len(set(seen.places.tolist())) == len(seen.places) <= batch_size
        for place, step, leaves, answer in zip(seen.places, seen.steps, seen.leaves, seen.answer, strict=True):
            taken.setdefault(int(place), []).append(int(step))
            assert leaves == (step == wanted[place])
            assert (answer.numpy() == model.answers[step - 1, place]).all()
    assert [taken[i] for i in range(24)] == [list(range(1, stop + 1)) for stop in wanted]


@pytest.mark.parametrize("features", ["y,z", "single z", "multi-scale z"])
def test_a_refilled_slot_knows_nothing_of_its_last_puzzle_nor_of_its_neighbours(
    features: str, puzzles: PuzzleSet, tiny: RunConfig
) -> None:
    model = Model(tiny.change({"model": {"features": features}}), n_puzzle_ids=24)
    model.halting_head.weight.data.normal_(generator=torch.Generator().manual_seed(2))
    torch.nn.init.constant_(model.halting_head.bias, -1)  # type: ignore[arg-type]
    model.double()
    model.dtype = torch.float64
    assert model.puzzle_embedding is not None
    model.puzzle_embedding.weights.normal_(generator=torch.Generator().manual_seed(3))
    test = puzzles.test
    split = Split(test.inputs, test.labels, np.arange(24, dtype=np.int32), test.ratings)
    alone = {i: _think(model, split, 1, [i], halt="never") for i in range(24)}
    stops = set()
    for seen in _think(model, split, 5, unchanged=0):  # the head alone decides: untrained answers never stay
        for row, (place, step) in enumerate(zip(seen.places.tolist(), seen.steps.tolist(), strict=True)):
            one = alone[place][step - 1]
            assert torch.allclose(seen.logits[row], one.logits[0], rtol=0, atol=1e-9)
            assert torch.allclose(seen.q[row], one.q[0], rtol=0, atol=1e-9)
            assert (seen.before[row] == one.before[0]).all()
            assert (seen.batch.inputs[row] == one.batch.inputs[0]).all()
        stops |= set(seen.steps[seen.leaves].tolist())
    assert len(stops) > 2  # so slots were refilled one by one


def test_never_is_the_plain_loop_bit_for_bit(puzzles: PuzzleSet, tiny: RunConfig) -> None:
    model, split = Model(tiny), puzzles.test
    found = evaluate(model, split, limit=19, batch_size=8, N_sup=N_SUP, device=CPU, loss=True)
    sums = torch.zeros(3, dtype=torch.float64)
    with torch.inference_mode():
        for batch in evaluation_batches(split, 19, 8, 0, 1, CPU):
            features = model.initial_features(len(batch.inputs))
            for _ in range(N_SUP):
                features, logits, _ = model(batch.inputs, model.puzzle_vectors(batch.puzzle_ids), features)
            scores = [*score(logits, batch.labels)]
            scores += [mean_over_cells(stablemax_cross_entropy(logits, batch.labels), batch.labels)]
            sums += torch.stack([one.double().sum() for one in scores])
    exact, cells, loss = (sums / 19).tolist()
    assert found == {"exact_accuracy": exact, "cell_accuracy": cells, "lm_loss": loss, "puzzles": 19}


def test_the_batch_is_full_to_the_end_and_then_halved_as_it_empties(puzzles: PuzzleSet, tiny: RunConfig) -> None:
    model = _scripted(puzzles, tiny)
    sizes: list[int] = []
    model.register_forward_pre_hook(lambda _, arguments: sizes.append(len(arguments[0])))
    entered, waiting = 8, []
    for seen in _think(model, puzzles.test, 8):
        waiting.append(24 - entered)
        entered = min(24, entered + int(seen.leaves.sum()))
    assert all(size == 8 for size, n in zip(sizes, waiting, strict=True) if n)
    assert sizes == sorted(sizes, reverse=True)
    assert set(sizes) == {8, 4, 2, 1}


def test_settled_scores_are_those_at_each_puzzles_stop(puzzles: PuzzleSet, tiny: RunConfig) -> None:
    model = _scripted(puzzles, tiny)
    labels = np.asarray(puzzles.test.labels)
    for limit in (None, 17, 3):
        n = limit or 24
        found = evaluate_at(
            model, puzzles.test, limit=limit, batch_size=8, steps=(1, 3, N_SUP), device=CPU, halt="settled"
        )
        for depth, scores in found.items():
            stops = np.minimum(_stops(model, 1)[:n], depth)
            right = [(model.answers[stop - 1, i] == labels[i]).all() for i, stop in enumerate(stops)]
            assert scores["exact_accuracy"] == np.mean(right)
            assert scores["steps_used"] == stops.mean()
            assert scores["puzzles"] == n
    assert found[N_SUP]["steps_used"] < N_SUP


def test_workers_share_the_puzzles_batch_by_batch() -> None:
    for n in (0, 3, 8, 29):
        parts = [places_of(n, 4, rank, 3).tolist() for rank in range(3)]
        assert sorted(place for part in parts for place in part) == list(range(n))
        assert all(len(part) <= 12 for part in parts)
    assert places_of(29, 4, 1, 3).tolist() == [4, 5, 6, 7, 16, 17, 18, 19, 28]


@pytest.mark.parametrize("halt", ["never", "settled"])
def test_a_split_without_puzzles_is_no_step_of_anything(halt: Halt, puzzles: PuzzleSet, tiny: RunConfig) -> None:
    none = Split(**{name: array[:0] for name, array in puzzles.test.arrays().items()})
    model = _scripted(puzzles, tiny)
    assert evaluate(model, none, limit=None, batch_size=5, N_sup=3, device=CPU, halt=halt) == {"puzzles": 0}


@pytest.mark.parametrize("halting", HALTING)
def test_outcomes_are_as_of_the_stop_and_those_of_halting_as_ever(
    halting: str, puzzles: PuzzleSet, tiny: RunConfig
) -> None:
    model = _scripted(puzzles, tiny, halting)
    labels = np.asarray(puzzles.test.labels)
    found = {}
    halts: tuple[Halt, Halt] = ("never", "settled")
    for halt in halts:
        watch = Watch(24, N_SUP, model.settings, CPU)
        evaluate(model, puzzles.test, limit=None, batch_size=5, N_sup=N_SUP, device=CPU, halt=halt, watch=watch)
        found[halt] = watch.outcomes(puzzles, 3, halt=halt)
    never, settled = found["never"], found["settled"]
    assert (never.halt, settled.halt) == ("never", "settled")
    for i, stop in enumerate(_stops(model, 1)):
        assert settled.solved[i] == (model.answers[stop - 1, i] == labels[i]).all()
        since = next(s for s in range(stop) if (model.answers[s:stop, i] == model.answers[stop - 1, i]).all())
        assert settled.settled_at[i] == since + 1
    assert (settled.halted_at == never.halted_at).all()
    if halting != "none":
        assert (settled.solved_when_halted == never.solved_when_halted).all()
    assert settled.reliability[:, 0].sum() == never.reliability[:, 0].sum() == 24
    assert not np.array_equal(settled.reliability, never.reliability)


def test_a_run_with_eval_halt_settled_says_the_steps_it_used_and_trains_as_ever(
    puzzles: PuzzleSet, tiny: RunConfig, tmp_path: Path
) -> None:
    plain = tiny.change({"model": {"halting": "none"}})  # nothing trains the head in 12 steps
    run = plain.set(["train.eval_halt=settled"])
    assert run.key("h") != plain.key("h")
    rows: dict[str, list[dict[str, float]]] = {"never": [], "settled": []}
    for kind, one in (("never", plain), ("settled", run)):

        def report(
            _: int, metrics: Mapping[str, float], __: Path | None, to: list[dict[str, float]] = rows[kind]
        ) -> None:
            to.append(dict(metrics))

        train(one, puzzles, report, outcomes=tmp_path / kind)
    for never, settled in zip(rows["never"], rows["settled"], strict=True):
        assert {k: v for k, v in never.items() if k.startswith("train/")} == {
            k: v for k, v in settled.items() if k.startswith("train/")
        }
        for name in ("validation", "test"):
            assert f"{name}/steps_used" not in never
            assert (f"{name}/puzzles" in settled) == (f"{name}/steps_used" in settled)
    last = rows["settled"][-1]
    assert 2 <= last["test/steps_used"] <= 3
    assert read_outcomes(tmp_path / "settled" / "outcomes.npz").halt == "settled"
    assert read_outcomes(tmp_path / "never" / "outcomes.npz").halt == "never"


def test_two_workers_together_see_what_one_sees(
    puzzles: PuzzleSet, tiny: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _scripted(puzzles, tiny)
    asked: dict[str, Any] = {"limit": None, "batch_size": 3, "N_sup": N_SUP, "device": CPU, "halt": "settled"}
    whole = Watch(24, N_SUP, model.settings, CPU)
    wanted = evaluate(model, puzzles.test, **asked, watch=whole)
    parts, table = [], torch.zeros_like(whole.table)
    for rank in range(2):
        monkeypatch.setattr(evaluate_module, "world", lambda rank=rank: (rank, 2))
        watch = Watch(24, N_SUP, model.settings, CPU)
        parts.append(evaluate(model, puzzles.test, **asked, watch=watch))
        table += watch.table
    assert [part["puzzles"] for part in parts] == [12, 12]
    for name in ("exact_accuracy", "cell_accuracy", "steps_used"):
        assert sum(part[name] for part in parts) / 2 == pytest.approx(wanted[name], rel=1e-12)
    assert torch.equal(table, whole.table)


@pytest.mark.parametrize(("halt", "steps"), [(1.0, 2), (-1.0, 5)])
def test_an_answer_that_never_changes_leaves_after_two_steps_if_the_head_asks(
    halt: float, steps: int, mazes: PuzzleSet, tiny_maze: RunConfig
) -> None:
    inputs, labels = np.asarray(mazes.test.inputs), np.asarray(mazes.test.labels).copy()
    labels[:4] = inputs[:4]  # no path at all
    model = Oracle(tiny_maze, {(row.tobytes(), 0): a for row, a in zip(inputs, labels, strict=True)}, halt=halt)
    asked: dict[str, Any] = {"limit": None, "batch_size": 5, "N_sup": 5, "device": CPU, "shortest_paths": True}
    found = evaluate(model, mazes.test, **asked, halt="settled")
    assert found.pop("steps_used") == steps
    assert found == evaluate(model, mazes.test, **asked)
    assert found["shortest_path_accuracy"] == 12 / 16


def test_a_run_on_arc_may_settle_and_votes_after_all_steps_as_ever(
    arc: PuzzleSet, tiny_arc: RunConfig, tmp_path: Path
) -> None:
    plain = tiny_arc.change({"model": {"halting": "none"}})
    never = train(plain, arc, lambda *_: None)
    settled = train(plain.set(["train.eval_halt=settled"]), arc, lambda *_: None, outcomes=tmp_path)
    assert "test/steps_used" in settled
    assert {k: v for k, v in settled.items() if "pass_at" in k} == {k: v for k, v in never.items() if "pass_at" in k}
    assert len(read_outcomes(tmp_path / "outcomes.npz").places) == len(arc.test)
