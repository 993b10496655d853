from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.puzzle_set import PuzzleSet, Split
from trm_core.checkpoint import BadCheckpoint, CheckpointNotWritten, load, newest, save
from trm_core.config import RunConfig
from trm_core.data import sample
from trm_core.settings import BadSetting
from trm_core.trainer import Diverged, Trainer, train

PROCESS = Path(__file__).with_name("train_in_a_process.py")
ROOT = Path(__file__).parents[2]


class Reports:
    """A report that keeps what it is told, and stops the run after some of it."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.stop_after = stop_after

    def __call__(self, step: int, metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        self.rows.append((step, dict(metrics)))
        if step == self.stop_after:
            raise KeyboardInterrupt

    def without_times(self) -> list[tuple[int, dict[str, float]]]:
        return [(step, {k: v for k, v in row.items() if not k.startswith("time/")}) for step, row in self.rows]


def _end(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = load(max(folder.glob("step_*")))
    return {f"weights/{k}": v for k, v in checkpoint.weights.items()} | checkpoint.training


def _start(run: RunConfig, puzzles: Path, folder: Path, *group: str, **told: str) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(run.model_dump_json())
    with (folder / "stderr").open("wb") as stderr:
        return subprocess.Popen(
            [sys.executable, PROCESS, folder / "settings.json", puzzles, folder, folder / "reports", *group],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | told,
            stderr=stderr,
        )


def _assert_close(name: str, found: torch.Tensor, expected: torch.Tensor) -> None:
    """Within fp32 rounding, which the recursion amplifies in the features."""
    atol = 3e-4 if name.startswith("slots/features") else 2e-5
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=atol, msg=lambda text: f"{name}: {text}")


WITHOUT_A_COMPILER = """
import sys
from pathlib import Path
from data_prep.puzzle_set import PuzzleSet
from trm_core.config import RunConfig
from trm_core.trainer import train
settings, puzzles, checkpoints = map(Path, sys.argv[1:])
run = RunConfig.model_validate_json(settings.read_text())
train(run.change({"train": {"steps": 4, "compile": "off"}}), PuzzleSet.open(puzzles), print, checkpoints=checkpoints)
print("torch._dynamo" in sys.modules)
"""


def test_a_run_that_compiles_nothing_waits_for_no_compilers_import_begun_or_resumed(
    tiny: RunConfig, puzzle_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "settings.json").write_text(tiny.model_dump_json())
    paths = (tmp_path / "settings.json", puzzle_folder, tmp_path / "saved")
    given = [sys.executable, "-c", WITHOUT_A_COMPILER, *map(str, paths)]
    for _ in range(2):
        done = subprocess.run(given, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        assert done.stdout.endswith("\nFalse\n"), done.stderr


@pytest.fixture(params=["TRM", "HRM", "TRM with AdamW, no EMA, bf16", "TRM with an EMA of the network alone", "Muon"])
def run(request: pytest.FixtureRequest, tiny: RunConfig, tiny_hrm: RunConfig) -> RunConfig:
    changed: dict[str, dict[str, Any]] = {"optim": {"name": "adamw", "ema": None}, "train": {"precision": "bf16"}}
    network = tiny.change({"optim": {"ema_covers": "network"}})
    muon = tiny.change({"optim": {"name": "muon"}})
    known = {"TRM": tiny, "HRM": tiny_hrm, "TRM with an EMA of the network alone": network, "Muon": muon}
    return known.get(request.param, tiny.change(changed))


def test_a_run_stopped_after_any_report_and_resumed_ends_bit_for_bit_as_one_never_stopped(
    run: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    whole = Reports()
    final = train(run, puzzles, whole, checkpoints=tmp_path / "whole")
    for stop_after in (2, 6, 8, 12):
        folder = tmp_path / f"stopped after {stop_after}"
        before, after = Reports(stop_after), Reports()
        with pytest.raises(KeyboardInterrupt):
            train(run, puzzles, before, checkpoints=folder)
        again = train(run, puzzles, after, checkpoints=folder)
        expected, found = _end(tmp_path / "whole"), _end(folder)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[name], found[name]) for name in expected)
        rows = dict(before.without_times()) | dict(after.without_times())
        assert rows == dict(whole.without_times())
        assert {k: again[k] for k in again if k.startswith("test/")} == {
            k: final[k] for k in final if k.startswith("test/")
        }


def test_a_checkpoint_holds_a_puzzle_embedding_that_the_ema_shares_only_once(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    for covers, copies in (("network", 1), ("all", 2)):
        run = tiny.change({"optim": {"ema_covers": covers}, "train": {"steps": 1}})
        train(run, puzzles, Reports(), checkpoints=tmp_path / covers)
        assert sum(name.endswith("puzzle_embedding.weights") for name in _end(tmp_path / covers)) == copies


@pytest.mark.parametrize("kind", ["TRM", "HRM", "Muon"])
def test_a_run_killed_at_a_random_moment_and_resumed_ends_bit_for_bit_as_one_never_killed(
    kind: str, tiny: RunConfig, tiny_hrm: RunConfig, puzzles: PuzzleSet, puzzle_folder: Path, tmp_path: Path
) -> None:
    known = {"TRM": tiny, "HRM": tiny_hrm, "Muon": tiny.change({"optim": {"name": "muon"}})}
    run = known[kind].change({"train": {"steps": 60, "checkpoint_every": 7}})
    train(run, puzzles, Reports(), checkpoints=tmp_path / "whole")
    process = _start(run, puzzle_folder, tmp_path / "killed", HELD_AT_STEP="58")
    while not list((tmp_path / "killed").glob("step_*")):
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(0.013)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert load(max((tmp_path / "killed").glob("step_*"))).step < 60
    assert _start(run, puzzle_folder, tmp_path / "killed").wait() == 0
    expected, found = _end(tmp_path / "whole"), _end(tmp_path / "killed")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("kind", ["TRM", "HRM"])
def test_two_workers_train_the_same_weights_as_one_within_fp32_rounding(
    kind: str, tiny: RunConfig, tiny_hrm: RunConfig, puzzles: PuzzleSet, puzzle_folder: Path, tmp_path: Path
) -> None:
    run = (tiny if kind == "TRM" else tiny_hrm).change({"train": {"steps": 4, "eval_every": 2}})
    alone = Reports()
    train(run, puzzles, alone, checkpoints=tmp_path / "one")
    group = [_start(run, puzzle_folder, tmp_path / "two", str(rank), "2", str(tmp_path / "meet")) for rank in range(2)]
    assert [process.wait() for process in group] == [0, 0]
    expected, found = _end(tmp_path / "one"), _end(tmp_path / "two")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        _assert_close(name, found[name], tensor)
    for rank in range(2):  # every worker is told the same, the sums over both
        lines = (tmp_path / "two" / f"reports.{rank}").read_text().splitlines()
        for row, (step, metrics) in zip(map(json.loads, lines), alone.rows, strict=True):
            assert row["step"] == step
            for name, value in metrics.items():
                assert name.startswith("time/") or row["metrics"][name] == pytest.approx(value, rel=1e-4, abs=1e-5), (
                    name
                )


def test_a_run_of_one_worker_goes_on_with_two(
    tiny: RunConfig, puzzles: PuzzleSet, puzzle_folder: Path, tmp_path: Path
) -> None:
    run = tiny.change({"train": {"steps": 4, "checkpoint_every": 2, "log_every": 1}})
    train(run, puzzles, Reports(), checkpoints=tmp_path / "one")
    with pytest.raises(KeyboardInterrupt):
        train(run, puzzles, Reports(3), checkpoints=tmp_path / "two")
    group = [_start(run, puzzle_folder, tmp_path / "two", str(rank), "2", str(tmp_path / "meet")) for rank in range(2)]
    assert [process.wait() for process in group] == [0, 0]
    expected, found = _end(tmp_path / "one"), _end(tmp_path / "two")
    for name, tensor in expected.items():
        _assert_close(name, found[name], tensor)


def test_a_batch_that_does_not_divide_over_the_workers_is_refused(
    tiny: RunConfig, puzzles: PuzzleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    import trm_core.trainer as trainer

    monkeypatch.setattr(trainer, "world", lambda: (0, 3))
    with pytest.raises(BadSetting, match="train.batch_size=8: 3 workers"):
        train(tiny, puzzles, Reports())


def test_training_learns_its_puzzles(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    run = tiny.change(
        {
            "data": {"augmentations": 0},
            "model": {"D": 32, "inner_multiple": 32},
            "train": {"steps": 120, "batch_size": 32, "log_every": 20, "eval_every": 200},
        }
    )
    reports = Reports()
    train(run, puzzles, reports)
    losses = [row["train/lm_loss"] for _, row in reports.rows]
    assert losses[-1] < 0.5 * losses[0]


def test_reports_come_when_they_are_due_and_name_what_is_due(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    reports = Reports()
    final = train(tiny.change({"train": {"eval_every": 5}}), puzzles, reports)
    assert [step for step, _ in reports.rows] == [2, 4, 5, 6, 8, 10, 12]
    evaluated = {step: row["test/puzzles"] for step, row in reports.rows if "test/puzzles" in row}
    assert evaluated == {5: 16, 10: 16, 12: 24}  # all of them only at the end
    assert reports.rows[-1][1] == final


# --- what it looks at ------------------------------------------------------------------------------------------------


class _NotToBeRead:
    """A split that ends the test where anything of it is asked for."""

    def __getattribute__(self, name: str) -> object:
        pytest.fail(f"the test split was asked for {name}")

    def __len__(self) -> int:
        pytest.fail("the test split was asked for its length")


def _without_test(puzzles: PuzzleSet) -> PuzzleSet:
    splits: dict[str, Any] = {**puzzles.splits, "test": _NotToBeRead()}
    return dataclasses.replace(puzzles, splits=splits)


def test_a_run_on_validation_alone_reads_no_test_puzzle_and_is_otherwise_the_same_run(
    tiny: RunConfig, puzzles: PuzzleSet
) -> None:
    both, alone = Reports(), Reports()
    train(tiny, puzzles, both)
    final = train(tiny.change({"train": {"evaluate_on": "validation"}}), _without_test(puzzles), alone)
    assert final["validation/puzzles"] == 16
    assert alone.without_times() == [
        (step, {name: value for name, value in row.items() if not name.startswith("test/")})
        for step, row in both.without_times()
    ]


def test_on_validation_alone_arc_holds_no_vote(tiny_arc: RunConfig, arc: PuzzleSet, tmp_path: Path) -> None:
    run = tiny_arc.change({"train": {"evaluate_on": "validation", "steps": 2}})
    final = train(run, _without_test(arc), Reports(), predictions=tmp_path)
    assert "validation/exact_accuracy" in final
    assert not any(name.startswith("test/") for name in final)
    assert not list(tmp_path.iterdir())


def test_validation_alone_is_refused_where_the_puzzles_have_none(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    none = Split(**{name: array[:0] for name, array in puzzles.validation.arrays().items()})
    released = dataclasses.replace(puzzles, splits={**puzzles.splits, "validation": none})
    with pytest.raises(BadSetting, match='train.evaluate_on="validation": these puzzles have no validation split'):
        train(tiny.change({"train": {"evaluate_on": "validation"}}), released, Reports())


def test_a_run_that_had_ended_is_not_trained_again_and_says_its_result_again(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    final = train(tiny, puzzles, Reports(), checkpoints=tmp_path)
    reports = Reports()
    again = train(tiny, puzzles, reports, checkpoints=tmp_path)
    assert [step for step, _ in reports.rows] == [12]
    assert again["test/exact_accuracy"] == final["test/exact_accuracy"]
    assert again["test/cell_accuracy"] == final["test/cell_accuracy"]


def test_puzzles_of_another_size_than_the_settings_say_are_refused(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    with pytest.raises(BadSetting, match="puzzles of 16 cells and 6 tokens.*means 36 cells and 8 tokens"):
        train(tiny.change({"data": {"box_cols": 3}}), puzzles, Reports())


def test_a_checkpoint_that_does_not_fit_the_model_is_named(tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path) -> None:
    train(tiny, puzzles, Reports(), checkpoints=tmp_path)
    saved = load(max(tmp_path.glob("step_*")))
    del saved.training["model/output_head.weight"]
    save(saved, tmp_path)
    with pytest.raises(BadCheckpoint, match="does not fit this version.*output_head.weight"):
        train(tiny, puzzles, Reports(), checkpoints=tmp_path)


def test_workers_that_see_different_checkpoints_say_so_instead_of_mixing_steps(
    tiny: RunConfig, puzzles: PuzzleSet, puzzle_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tiny, puzzles, Reports(6), checkpoints=tmp_path / "0")
    group = [
        _start(tiny, puzzle_folder, tmp_path / str(rank), str(rank), "2", str(tmp_path / "meet")) for rank in (0, 1)
    ]
    assert [process.wait() for process in group] == [1, 1]
    for rank in (0, 1):
        said = (tmp_path / str(rank) / "stderr").read_text()
        assert "the workers found different checkpoints (steps [3, 0])" in said


def test_a_checkpoint_of_another_run_is_refused_and_the_difference_named(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    train(tiny, puzzles, Reports(), checkpoints=tmp_path)
    other = tiny.change({"optim": {"lr": 0.5}})
    with pytest.raises(BadCheckpoint, match=r"another run \(optim.lr=0.003 there, 0.5 here\)"):
        train(other, puzzles, Reports(), checkpoints=tmp_path)


def test_how_often_it_logs_and_saves_may_change_between_a_stop_and_the_next_start(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tiny, puzzles, Reports(6), checkpoints=tmp_path)
    train(tiny.change({"train": {"log_every": 5, "checkpoint_every": 12}}), puzzles, Reports(), checkpoints=tmp_path)
    assert load(max(tmp_path.glob("step_*"))).step == 12


@pytest.fixture
def diverging(tiny: RunConfig) -> RunConfig:
    """A run whose weights leave all bounds in its first step: the loss of the second is no number."""
    return tiny.change(
        {"optim": {"name": "adamw", "lr": 1e30, "warmup_steps": 0}, "train": {"log_every": 4, "checkpoint_every": 1}}
    )


def test_a_loss_that_is_no_number_ends_the_run_by_name(diverging: RunConfig, puzzles: PuzzleSet) -> None:
    reports = Reports()
    with pytest.raises(Diverged, match=r"^diverged at step 4: the training loss is nan; a lower optim.lr") as caught:
        train(diverging, puzzles, reports)
    assert caught.value.step == 4
    assert reports.rows == []
    again = pickle.loads(pickle.dumps(caught.value))  # as it comes out of another process
    assert (type(again), str(again), again.step) == (Diverged, str(caught.value), 4)


def test_a_diverged_state_is_neither_saved_over_the_last_good_one_nor_evaluated(
    diverging: RunConfig, puzzles: PuzzleSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trm_core.trainer.scores", lambda *_, **__: pytest.fail("evaluated"))
    with pytest.raises(Diverged) as caught:  # between two reports
        train(diverging.change({"train": {"eval_every": 4}}), puzzles, Reports(), checkpoints=tmp_path / "between")
    good = newest(tmp_path / "between")
    assert good is not None
    assert good.step == caught.value.step - 1
    assert all(torch.isfinite(tensor).all() for tensor in [*good.weights.values(), good.training["sums"]])
    due = {"log_every": 2, "eval_every": 2, "checkpoint_every": 2}  # all at the step at which it diverges
    with pytest.raises(Diverged, match="diverged at step 2: "):
        train(diverging.change({"train": due}), puzzles, Reports(), checkpoints=tmp_path / "due")
    assert newest(tmp_path / "due") is None


def test_a_weight_that_is_no_number_is_found_before_any_loss_tells(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    trainer = Trainer(tiny, puzzles, torch.device("cpu"))
    trainer.take_step()
    with torch.no_grad():
        trainer.model.halting_head.weight[0, 0] = torch.inf
    with pytest.raises(Diverged, match="diverged at step 1: a weight is no longer finite"):
        trainer.window_metrics()


def test_the_last_step_may_diverge_too(tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path) -> None:
    run = tiny.change({"optim": {"name": "adamw", "lr": 1e30, "warmup_steps": 0}, "train": {"steps": 2}})
    for checkpoints in (None, tmp_path):
        with pytest.raises(Diverged, match="diverged at step 2: "):
            train(run, puzzles, Reports(), checkpoints=checkpoints)
    assert newest(tmp_path) is None


def test_a_checkpoint_that_cannot_be_written_ends_the_run_by_name(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(CheckpointNotWritten):
        train(tiny, puzzles, Reports(), checkpoints=tmp_path / "a file" / "folder")


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"mixer": "attention"}},
        {"model": {"features": "single z"}},
        {"model": {"features": "multi-scale z"}},
        {"model": {"loss": "softmax", "puzzle_prefix": 0}},
        {"model": {"N_sup": 1}},
        {"optim": {"schedule": "cosine", "ema_covers": "network"}},
    ],
    ids=str,
)
def test_every_switch_trains_and_evaluates(tiny: RunConfig, puzzles: PuzzleSet, change: dict[str, Any]) -> None:
    final = train(tiny.change(change), puzzles, Reports())
    assert 0 <= final["test/cell_accuracy"] <= 1
    assert final["test/puzzles"] == 24


def test_in_mid_run_a_sample_of_puzzles_from_files_is_asked_not_those_that_stand_first(
    puzzles: PuzzleSet, tiny: RunConfig
) -> None:
    run = tiny.set(["train.eval_puzzles=10"])
    from_files = dataclasses.replace(puzzles, manifest=puzzles.manifest.model_copy(update={"source": "csv"}))
    order = sample(from_files, "test")
    assert order is not None
    of = puzzles.test
    shuffled = Split(of.inputs[order], of.labels[order], of.puzzle_ids[order], of.ratings[order])
    as_drawn = dataclasses.replace(puzzles, splits={**puzzles.splits, "test": shuffled})
    found, expected = (Trainer(run, data, torch.device("cpu")).evaluate() for data in (from_files, as_drawn))
    in_test = [name for name in found if name.startswith("test/")]
    assert found["test/puzzles"] == 10
    assert {name: found[name] for name in in_test} == {name: expected[name] for name in in_test}
    assert found["test/cell_accuracy"] != Trainer(run, puzzles, torch.device("cpu")).evaluate()["test/cell_accuracy"]
