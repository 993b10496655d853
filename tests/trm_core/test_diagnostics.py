from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from data_prep.puzzle_set import PuzzleSet
from tests.trm_core.test_trainer import Reports, _end, _start
from trm_core.checkpoint import load, save
from trm_core.config import RunConfig
from trm_core.data import evaluation_batches
from trm_core.diagnostics import diagnose, diagnostic_names, ema_distance
from trm_core.ema import EMA
from trm_core.evaluate import evaluate
from trm_core.model import Model
from trm_core.trainer import Trainer, train

CPU = torch.device("cpu")
SWITCHES: list[dict[str, Any]] = [
    {},
    {"mixer": "attention", "networks": "separate", "gradient": "one step", "halting": "q_learning"},
    {"features": "single z"},
    {"features": "multi-scale z", "puzzle_prefix": 0},
    {"features": "y", "n": 0, "T": 1},
]


def _relative(old: Tensor, new: Tensor) -> float:
    """‖new − old‖ / ‖old‖ of one puzzle, number by number."""
    pairs = list(zip(old.flatten().tolist(), new.flatten().tolist(), strict=True))
    return math.sqrt(sum((b - a) ** 2 for a, b in pairs)) / math.sqrt(sum(a**2 for a, _ in pairs))


def _plainly(model: Model, puzzles: PuzzleSet, limit: int, N_sup: int) -> dict[str, float]:
    """Every residual, from the networks and the paper's pseudo-code, one puzzle after another."""
    m = model.settings
    sums: dict[str, float] = {}
    for batch in evaluation_batches(puzzles.splits["validation"], limit, 1, 0, 1, CPU):
        x = model.embed(batch.inputs, model.puzzle_vectors(batch.puzzle_ids))
        start = model.initial_features(1)
        y = start[0]
        zs = [start[0]] if m.features == "single z" else list(start[1:])
        found: dict[str, float] = {}
        for step in range(1, N_sup + 1):
            y_before, zs_before = y, list(zs)
            recursion = 0
            for _ in range(m.T):
                for i in range(m.n):
                    recursion += 1
                    old = list(zs)
                    if m.features == "single z":
                        zs = [model.f_z(zs[0] + x)]
                    else:
                        total = zs[0]
                        for z in zs[1:]:
                            total = total + z
                        zs[i % len(zs)] = model.f_z(total + (y + x))
                    found[f"residual_z/recursion_{recursion:02d}"] = _relative(torch.cat(old), torch.cat(zs))
                recursion += 1
                if m.features == "single z":
                    old, zs = zs, [model.f_y(zs[0])]
                    found[f"residual_z/recursion_{recursion:02d}"] = _relative(old[0], zs[0])
                    continue
                total = x if m.features == "y" else zs[0]
                for z in zs[1:]:
                    total = total + z
                old_y, y = y, model.f_y(y + total)
                found[f"residual_y/recursion_{recursion:02d}"] = _relative(old_y, y)
            if m.features != "single z":
                found[f"residual_y/step_{step:02d}"] = _relative(y_before, y)
            if zs:
                found[f"residual_z/step_{step:02d}"] = _relative(torch.cat(zs_before), torch.cat(zs))
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + value
    return {name: total / limit for name, total in sums.items()}


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_residuals_are_those_of_the_pseudo_code_puzzle_by_puzzle(
    tiny: RunConfig, puzzles: PuzzleSet, switches: dict[str, Any]
) -> None:
    model = Model(tiny.change({"model": switches})).requires_grad_(False)
    found = diagnose(model, puzzles.splits["validation"], limit=5, batch_size=3, N_sup=2, device=CPU)
    expected = _plainly(model, puzzles, 5, 2)
    assert {name for name in found if name.startswith("residual")} == set(expected)
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_accuracy_at_each_step_is_that_of_an_evaluation_so_deep(
    tiny: RunConfig, puzzles: PuzzleSet, switches: dict[str, Any]
) -> None:
    run = tiny.change({"model": switches | {"N_sup": 4}})
    trainer = Trainer(run, puzzles, CPU)
    for _ in range(12):
        trainer.take_step()
    model, split = trainer.evaluated_model, puzzles.splits["validation"]
    found = diagnose(model, split, limit=11, batch_size=4, N_sup=3, device=CPU)
    steps = {int(name[-2:]) for name in found if name.startswith("exact_accuracy")}
    assert steps == {1, 2, 3, 6, 12}
    for depth in steps:
        scores = evaluate(model, split, limit=11, batch_size=4, N_sup=depth, device=CPU)
        for name in ("exact_accuracy", "cell_accuracy"):
            assert found[f"{name}/step_{depth:02d}"] == pytest.approx(scores[name], rel=1e-6)
    assert list(found) == diagnostic_names(model.settings, 3)


def test_the_distance_of_the_ema_is_that_of_all_weights_in_one_vector(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    model = Model(tiny)
    ema = EMA(model, 0.9, puzzle_embedding=True)
    assert ema_distance(model, ema.model) == 0
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(torch.ones_like(weights))
    w, average = (torch.cat([p.detach().flatten() for p in each.parameters()]) for each in (model, ema.model))
    assert ema_distance(model, ema.model) == pytest.approx(_relative(w, average), rel=1e-5)


@pytest.mark.parametrize("kind", ["TRM", "HRM"])
def test_training_with_diagnostics_has_the_same_bits_and_says_all_that_it_says_without(
    kind: str, tiny: RunConfig, tiny_hrm: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    run = tiny if kind == "TRM" else tiny_hrm
    without, with_them = Reports(), Reports()
    train(run, puzzles, without, checkpoints=tmp_path / "without")
    train(run.change({"train": {"diagnostics": True}}), puzzles, with_them, checkpoints=tmp_path / "with")
    expected, found = _end(tmp_path / "without"), _end(tmp_path / "with")
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    for (step, plain), (same_step, more) in zip(without.without_times(), with_them.without_times(), strict=True):
        assert step == same_step
        assert plain.items() <= more.items()
        new = {name.rsplit("/", 1)[0] for name in set(more) - set(plain)}
        if "test/puzzles" not in plain:
            assert not new
            continue
        said = {"train/halted_at", "validation/exact_accuracy", "validation/cell_accuracy"}
        said |= {"validation/residual_y", "validation/residual_z"}
        assert new == said | ({"train"} if kind == "TRM" else set())  # HRM has no EMA
        assert ("train/ema_distance" in more) == (kind == "TRM")


def test_the_halting_histogram_counts_every_puzzle_that_halted_since_the_last_evaluation(
    tiny: RunConfig, puzzles: PuzzleSet
) -> None:
    run = tiny.change({"model": {"N_sup": 4}, "train": {"diagnostics": True, "batch_size": 16}})
    trainer = Trainer(run, puzzles, CPU)
    for _ in range(2):
        halted: list[int] = []
        for step in range(9):
            with torch.no_grad():  # by turns, no slot and every slot wants to halt
                assert trainer.model.halting_head.bias is not None
                trainer.model.halting_head.bias.fill_(5.0 if step % 2 else -5.0)
            trainer.take_step()
            assert trainer.slots is not None
            halted += trainer.slots.steps[trainer.slots.halted].tolist()
        metrics = trainer.evaluate()
        shares = {f"train/halted_at/step_{k:02d}": halted.count(k) / len(halted) for k in range(1, 5)}
        assert len(set(halted)) > 1
        assert {name: metrics[name] for name in shares} == pytest.approx(shares, rel=1e-12)


def test_a_run_stopped_and_resumed_says_the_same_diagnostics_as_one_never_stopped(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    run = tiny.change({"train": {"diagnostics": True}})
    whole = Reports()
    train(run, puzzles, whole, checkpoints=tmp_path / "whole")
    for stop_after in (4, 6, 10, 12):
        folder = tmp_path / str(stop_after)
        before, after = Reports(stop_after), Reports()
        with pytest.raises(KeyboardInterrupt):
            train(run, puzzles, before, checkpoints=folder)
        train(run, puzzles, after, checkpoints=folder)
        assert dict(before.without_times()) | dict(after.without_times()) == dict(whole.without_times())


def test_a_checkpoint_written_without_diagnostics_goes_on_with_them(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tiny, puzzles, Reports(8), checkpoints=tmp_path)
    final = train(tiny.change({"train": {"diagnostics": True}}), puzzles, Reports(), checkpoints=tmp_path)
    assert sum(value for name, value in final.items() if name.startswith("train/halted_at/")) == pytest.approx(1)
    saved = load(max(tmp_path.glob("step_*")))
    assert saved.training.pop("halted_at").shape == (3,)
    save(saved, tmp_path)
    assert "train/halted_at/step_01" not in train(
        tiny.change({"train": {"diagnostics": True}}), puzzles, Reports(), checkpoints=tmp_path
    )


def test_two_workers_say_of_their_weights_what_one_says_of_them(
    tiny: RunConfig, puzzles: PuzzleSet, puzzle_folder: Path, tmp_path: Path
) -> None:
    run = tiny.change({"train": {"steps": 4, "eval_every": 5, "diagnostics": True}})
    alone = train(run, puzzles, Reports())
    folder = tmp_path / "two"
    group = [_start(run, puzzle_folder, folder, str(rank), "2", str(tmp_path / "meet")) for rank in range(2)]
    assert [process.wait() for process in group] == [0, 0]
    model = Model(run, puzzles.n_puzzle_ids)
    model.load_state_dict(load(max(folder.glob("step_*"))).weights)
    # Not with the weights of `alone`: the recursion amplifies their rounding until cells differ at 4·N_sup steps.
    found = diagnose(model, puzzles.splits["validation"], limit=16, batch_size=8, N_sup=3, device=CPU)
    expected = {f"validation/{name}": value for name, value in found.items()}
    expected |= {name: value for name, value in alone.items() if name.startswith(("train/halted_at/", "train/ema"))}
    assert len(expected) > len(found) + 1
    for rank in range(2):
        last = json.loads((folder / f"reports.{rank}").read_text().splitlines()[-1])["metrics"]
        assert {name: last[name] for name in expected} == pytest.approx(expected, rel=1e-4)
