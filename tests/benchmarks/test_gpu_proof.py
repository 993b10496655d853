from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks import curve, equality, gpu_proof, memory_truth, parts, train_step
from benchmarks.gpu_proof import main
from benchmarks.timed_training import time_to, wilson
from data_prep.sudoku import build_sudoku
from reports.stats import test_set_interval as interval_of_the_reports
from sweeps.study import BaseName
from tests.compiler import know_this_machine
from trm_core import compiled, devices, trainer
from trm_core.memory import peak_bytes
from trm_core.parity import relative_error
from trm_core.parity_reference import load

ROOT = Path(__file__).resolve().parents[2]
PUZZLES = ROOT / "tests" / "fixtures" / "sudoku-extreme"
SMALL = [
    *("--device", "cpu", "--test-puzzles", "8"),
    *("--minutes", "1e6", "--evaluate-every", "1e9", "--checkpoint-every", "1e9"),  # nothing here waits for a clock
    *("--set", "data.train=40", "data.validation=10", "model.D=16", "model.n_heads=2", "model.T=1", "model.n=1"),
    *("--set", "model.N_sup=2", "model.inner_multiple=8", "train.batch_size=8", "train.precision=fp32"),
    *("--set", "optim.warmup_steps=2", "train.compile=off"),
]


def proof(out: Path, *more: str) -> int:
    return main(["--data", str(PUZZLES), "--out", str(out), *SMALL, *more])


def result(out: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((out / "result.json").read_text())
    return facts


def tensors(out: Path, work: Path) -> dict[str, torch.Tensor]:
    """Everything in the one checkpoint of a run."""
    (folder,) = out.glob("checkpoint_*")
    parts.join(folder, work)
    whole: dict[str, torch.Tensor] = load_file(work / "training.safetensors")
    whole.update(load_file(work / "weights.safetensors"))
    return whole


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps of training."""
    out = tmp_path_factory.mktemp("proof") / "six"
    assert proof(out, "--sections", "training", "--stop-at", "6") == 0
    return out


def test_it_runs_where_only_torch_numpy_pydantic_and_safetensors_are(tmp_path: Path) -> None:
    blocked = "ray mlflow rich numba matplotlib scipy pandas optuna jinja2"
    code = (
        "import sys\n"
        f"for name in {blocked.split()!r}: sys.modules[name] = None\n"
        f"sys.argv = ['gpu_proof.py', *{['--data', str(PUZZLES), '--out', str(tmp_path), *SMALL]!r},"
        " '--sections', 'training', '--stop-at', '2']\n"
        "import runpy; runpy.run_path('benchmarks/gpu_proof.py', run_name='__main__')\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, env=environment
    )
    assert ran.returncode == 0, ran.stderr
    assert result(tmp_path)["training"]["points"][-1]["step"] == 2


def test_a_run_leaves_a_result_a_figure_and_a_checkpoint(trained: Path) -> None:
    facts = result(trained)
    first, last = facts["training"]["points"]
    assert (first["step"], last["step"], last["puzzles"]) == (0, 6, 8)
    assert last["low"] <= last["exact_accuracy"] <= last["high"]
    settled = facts["training"]["settled"]
    assert settled["puzzles"] == 8
    assert 1 < settled["steps_used"] <= 2  # an answer has settled after its second step at the earliest, N_sup here
    assert settled["times_as_fast"] > 0
    assert {"date", "device", "versions", "settings", "key", "data"} <= facts.keys()
    assert ElementTree.parse(trained / "accuracy.svg").getroot().tag.endswith("svg")
    assert [path.name for path in trained.glob("checkpoint_*")] == ["checkpoint_00000006"]


def test_six_steps_are_three_steps_resumed_for_three_more_bit_for_bit(trained: Path, tmp_path: Path) -> None:
    assert proof(tmp_path / "a", "--sections", "training", "--stop-at", "3") == 0
    assert proof(tmp_path / "b", "--resume", str(tmp_path / "a"), "--stop-at", "6") == 0
    whole, resumed = tensors(trained, tmp_path / "whole"), tensors(tmp_path / "b", tmp_path / "resumed")
    assert whole.keys() == resumed.keys()
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    assert [point["step"] for point in result(tmp_path / "b")["training"]["points"]] == [0, 3, 6]


def test_a_set_that_is_built_already_is_trained_on_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = build_sudoku(tmp_path / "set", source=PUZZLES, train=40, validation=10, test=20, seed=3)
    assert proof(tmp_path / "out", "--data", str(tmp_path / "set"), "--sections", "training", "--stop-at", "1") == 0
    facts = result(tmp_path / "out")
    assert facts["data"]["content_hash"] == built.content_hash
    assert {name: facts["settings"]["data"][name] for name in ("train", "test", "seed")} == {
        "train": 40, "test": 20, "seed": 3
    }  # fmt: skip
    assert facts["training"]["points"][-1]["puzzles"] == 8, "--test-puzzles"
    other = ["--data", str(tmp_path / "set"), "--set", "data.train=30"]
    assert proof(tmp_path / "out", *other, "--sections", "training") == 2
    assert "built with data.train=40, these runs ask for 30" in capsys.readouterr().err


def test_a_small_checkpoint_holds_the_weights_alone_and_goes_on(trained: Path, tmp_path: Path) -> None:
    assert proof(tmp_path / "a", "--sections", "training", "--stop-at", "6", "--checkpoint", "small") == 0
    kept, whole = tensors(tmp_path / "a", tmp_path / "kept"), tensors(trained, tmp_path / "whole")
    assert all(torch.equal(whole[name], tensor) for name, tensor in kept.items())
    assert not any(name.startswith(("slots/", "optim/")) for name in kept)
    assert proof(tmp_path / "b", "--resume", str(tmp_path / "a"), "--stop-at", "9") == 0
    assert result(tmp_path / "b")["training"]["points"][-1]["step"] == 9


def test_parts_are_of_the_size_asked_for_and_join_to_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, size in (("a", 2500), ("b", 0), ("c", 1700)):
        (tmp_path / "in" / name).write_bytes(os.urandom(size))
    parts.split(tmp_path / "in", tmp_path / "parts", size=1000)
    assert [path.stat().st_size for path in sorted((tmp_path / "parts").glob("part_*"))] == [1000] * 4 + [200]
    parts.join(tmp_path / "parts", tmp_path / "out")
    for path in (tmp_path / "in").iterdir():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


@pytest.mark.parametrize("harm", ["torn", "missing"])
def test_a_torn_or_missing_part_is_named(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    part = next((tmp_path / "copy").glob("checkpoint_*/part_000"))
    if harm == "torn":
        part.write_bytes(part.read_bytes()[:-1])
    else:
        part.unlink()
    assert proof(tmp_path / "b", "--resume", str(tmp_path / "copy")) == 2
    assert f"part_000: {harm}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--data", str(ROOT)], "train.csv: missing, expected a file of"),
        (["--set", "data.train=4000"], "puzzles that no other split holds, expected 4000 for train"),
        (["--test-puzzles", "4000"], "120 puzzles, expected 4000"),
        (["--set", "modle.D=96"], "modle.D: no such setting"),
        (["--resume", str(ROOT)], "no checkpoint_* here"),
        (["--minutes", "0"], "--minutes 0"),
        (["--sections", "parity", "--golden", "nowhere"], "nowhere: no reference file (.npz) here"),
        (["--sections", "parity", "--variants", "trm_mpl"], "trm_mpl.npz: no such file"),
        (["--mintues", "5"], "unrecognized arguments"),
        (["--out", "/dev/null/out"], "Not a directory; name a path that can be read and written"),
        *([] if torch.cuda.is_available() else [(["--device", "cuda"], "torch finds no GPU here")]),
    ],
)
def test_what_a_user_can_mend_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], told: str
) -> None:
    assert proof(tmp_path / "out", "--stop-at", "1", *more) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_another_run_is_not_resumed_and_what_differs_is_named(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert proof(tmp_path / "b", "--resume", str(trained), "--set", "optim.lr=0.5") == 2
    assert "optim.lr=0.0001 there, 0.5 here" in capsys.readouterr().err


def test_the_time_to_an_accuracy_is_that_of_the_first_evaluation_that_reached_it() -> None:
    scores = [(10, 0.1), (20, 0.82), (30, 0.79), (40, 0.86)]
    points = [{"step": s, "training_s": 2 * s, "wall_s": 3 * s, "exact_accuracy": a, "loss": 1.0} for s, a in scores]
    assert time_to(points) == {
        "80%": {"step": 20, "training_s": 40, "wall_s": 60},
        "85%": {"step": 40, "training_s": 80, "wall_s": 120},
        "87%": None,
    }


def test_training_time_leaves_evaluations_and_checkpoints_out_and_goes_on_when_resumed(tmp_path: Path) -> None:
    assert proof(tmp_path / "a", "--sections", "training", "--stop-at", "2") == 0
    first = result(tmp_path / "a")["training"]
    assert 0 < first["training_s"] < first["wall_s"]
    assert proof(tmp_path / "b", "--resume", str(tmp_path / "a"), "--stop-at", "3") == 0
    second = result(tmp_path / "b")["training"]
    assert second["training_s"] > first["training_s"]
    assert second["wall_s"] > first["wall_s"]
    assert second["time_to"] == {"80%": None, "85%": None, "87%": None}


def test_the_interval_is_that_of_the_reports() -> None:
    for accuracy, puzzles in ((0.0, 10), (0.5, 1000), (0.874, 1000), (1.0, 7)):
        known = interval_of_the_reports(accuracy, puzzles)
        assert wilson(accuracy, puzzles) == pytest.approx((known.low, known.high), abs=1e-12)


def test_the_figure_draws_every_point_inside_its_frame() -> None:
    points = [
        {"step": s, "minutes": s / 9, "exact_accuracy": a, "low": a / 2, "high": a, "cell_accuracy": 0.9}
        for s, a in ((0, 0.0), (40, 0.5), (97, 1.0))
    ]
    root = ElementTree.fromstring(curve.draw(points, "a < b", "c"))
    for line in [node for node in root.iter() if "points" in node.attrib]:
        for pair in line.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert curve.LEFT <= x <= curve.WIDTH - curve.RIGHT
            assert curve.TOP <= y <= curve.HEIGHT - curve.BOTTOM


# --- rows, memory and time -------------------------------------------------------------------------------------------

STEPS = [*("--sections", "steps", "--sizes", "mini", "--precisions", "fp32"), *("--ways", "eager", "--rounds", "1")]
TRM = ("--bases", "trm")


class Card:
    """A GPU's memory as torch tells it, and its caching allocator, which keeps what a run gave back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, total: int) -> None:
        self.total, self.reserved, self.allocated = total, 0, 0
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (self.total - self.reserved, self.total))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: self.reserved)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda *_: self.allocated)
        measured = devices.free_on
        monkeypatch.setattr(devices, "free_on", lambda _: measured(torch.device("cuda")))


def _needs(base: BaseName) -> int:
    return peak_bytes(train_step.run_of("mini", base, "fp32", None, torch.device("cpu")))


def test_what_the_allocator_keeps_of_one_row_is_free_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = Card(monkeypatch, total=2 * max(_needs("trm"), _needs("trm_att")))
    made = train_step.made

    def and_keep(*arguments: Any) -> Any:
        steps = made(*arguments)
        card.reserved = card.total - 1  # it is soon over, and nothing of it is given back
        return steps

    monkeypatch.setattr(train_step, "made", and_keep)
    assert proof(tmp_path, *STEPS, "--bases", "trm", "trm_att") == 0
    rows = result(tmp_path)["steps"]
    assert [(row["base"], "ms_per_step" in row) for row in rows] == [("trm", True), ("trm_att", True)]
    card.allocated = card.reserved  # now it is a run that lives
    assert proof(tmp_path / "b", *STEPS, *TRM) == 1
    assert "eager             NotEnoughMemory: " in capsys.readouterr().out


def test_a_row_that_does_not_fit_and_one_that_fails_are_lines_and_the_next_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free = iter([1, None, None])
    monkeypatch.setattr(devices, "free_on", lambda _: next(free))
    take_step = trainer.Trainer.take_step

    def fails_once(made: trainer.Trainer) -> None:
        if made.run.model.mixer == "attention" and made.run.model.networks == "one":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate 3 GiB")
        take_step(made)

    monkeypatch.setattr(trainer.Trainer, "take_step", fails_once)
    assert proof(tmp_path, *STEPS) == 1
    first, second, third = result(tmp_path)["steps"]
    assert first["failed"].startswith("NotEnoughMemory: depth 42")
    assert second["failed"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 3 GiB"
    assert third["ms_per_step"] > 0
    printed = capsys.readouterr().out
    assert printed.index("trm, mini") < printed.index("trm_att, mini") < printed.index("hrm, mini")


def test_a_training_that_does_not_fit_is_a_line_behind_what_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free = iter([1, None])
    monkeypatch.setattr(devices, "free_on", lambda _: next(free))
    assert proof(tmp_path, *STEPS, *TRM, "--sections", "steps", "training") == 1
    assert result(tmp_path)["steps"][0]["ms_per_step"] > 0
    assert "1 worker(s) needs" in result(tmp_path)["training"]["failed"]
    assert "\ntraining     depth 4" in capsys.readouterr().out


def test_a_section_ends_on_time_for_the_next_and_says_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 1,000 s parity leaves 550 to the sections behind it; a variant takes 200 by this clock."""
    seconds = 0.0

    def variant(reference: Any, device: str) -> list[dict[str, Any]]:
        nonlocal seconds
        seconds += 200
        return [{"variant": reference.name, "check": "c", "quantity": "q", "error": 0, "bound": 1, "holds": True}]

    monkeypatch.setattr(gpu_proof, "check_variant", lambda *of: [row | {"decides": True} for row in variant(*of)])
    options = [*SMALL, "--minutes", str(1000 / 60), *STEPS, *TRM]
    more = ["--sections", "parity", "steps", "training", "--stop-at", "1"]
    assert main(["--data", str(PUZZLES), "--out", str(tmp_path), *options, *more], now=lambda: seconds) == 0
    facts = result(tmp_path)
    assert [("holds" in row, row.get("skipped")) for row in facts["parity"]] == [
        *[(True, None)] * 2,
        *[(False, "no time left")] * 4,
    ]
    assert "parity: left out, no time: trm_att, trm_hier6, trm_mlp, trm_singlez\n" in capsys.readouterr().out
    assert "ms_per_step" in facts["steps"][0]  # the time that was left to it
    assert facts["training"]["points"][-1]["step"] == 1


def test_the_memory_that_a_step_takes_stands_beside_what_was_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiled, "is_compiled", lambda *_: False)
    monkeypatch.setattr(memory_truth, "RUNS", ("trm",))
    monkeypatch.setattr(memory_truth, "STEPS", 1)
    run_of = memory_truth.run_of
    monkeypatch.setattr(memory_truth, "run_of", lambda name, D, *rest: run_of(name, 32, *rest))
    assert proof(tmp_path, "--sections", "memory", "--batch-size", "2") == 0
    rows = result(tmp_path)["memory"]
    assert [row["checkpointing"] for row in rows] == ["false", "true"]
    assert all(row["predicted_bytes"] > 0 and row["measured_bytes"] > 0 for row in rows)
    assert capsys.readouterr().out.count("measured") == 2


def test_where_no_time_is_left_the_training_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls = iter(range(10**6))
    options = [*SMALL, "--minutes", str(1 / 60), "--sections", "training"]
    assert main(["--data", str(PUZZLES), "--out", str(tmp_path), *options], now=lambda: float(next(calls))) == 0
    assert "training: left out, no time" in capsys.readouterr().out
    assert result(tmp_path)["training"] == {"skipped": "no time left"}


COMPILES = (  # and waits for a compiler, which on a loaded machine takes what it takes
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
)


def compiles(test: Callable[..., None]) -> Callable[..., None]:
    """A test with all the marks of COMPILES."""
    return functools.reduce(lambda marked, mark: mark(marked), COMPILES, test)


@compiles
@pytest.mark.kills
def test_parity_runs_end_to_end_eager_and_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(know_this_machine(tmp_path / "code")))
    assert proof(tmp_path, "--sections", "parity", "--variants", "direct") == 0
    rows = result(tmp_path)["parity"]
    assert {row["variant"] for row in rows} == {"direct"}
    assert {row["check"] for row in rows} == {
        "fp32 = reference", "bf16 ~ reference", "fp32, compiled = eager", "bf16, compiled = eager"
    }  # fmt: skip
    assert all(row["holds"] for row in rows)


@compiles
@pytest.mark.kills
def test_the_steps_are_measured_compiled_and_where_their_time_goes_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(know_this_machine(tmp_path / "code")))
    run_of = train_step.run_of
    shallow = {"model": {"T": 1, "n": 1, "n_layers": 1}}
    monkeypatch.setattr(train_step, "run_of", lambda *of: run_of(*of).change(shallow))  # compiled in less time
    ways = ("--ways", "compiled", "released compiled")
    assert proof(tmp_path, *STEPS, *TRM, *ways, "--operations", "--set", "data.train=40") == 0
    assert [row["way"] for row in result(tmp_path)["steps"]] == ["compiled", "released compiled"]
    assert all(row["utilisation"] is None for row in result(tmp_path)["steps"])  # a CPU's peak is not known
    assert {path.name for path in (tmp_path / "operations").iterdir() if path.stat().st_size} == {
        "mini_trm_fp32_compiled.txt", "mini_trm_fp32_released_compiled.txt"
    }  # fmt: skip


def test_a_captured_step_is_compared_in_slots_and_weights_with_one_that_is_launched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a CPU nothing is captured; a step more of one of the two stands in for a graph that is wrong."""
    monkeypatch.setattr(compiled, "is_compiled", lambda *_: False)  # quicker, and the comparison is the same
    run = train_step.run_of("mini", "trm", "fp32", None, torch.device("cpu")).change({"model": {"T": 1, "n": 1}})
    rows = list(equality.check_capture("trm", run, torch.device("cpu")))
    assert [(row["quantity"], row["holds"]) for row in rows] == [("slots", True), ("weights", True)]
    made = iter([0, 1])

    def one_is_ahead(*of: Any, capture: bool) -> trainer.Trainer:
        one = trainer.Trainer(*of, capture=capture)
        for _ in range(next(made)):
            one.take_step()
        return one

    monkeypatch.setattr(equality, "Trainer", one_is_ahead)
    assert not any(row["holds"] for row in equality.check_capture("trm", run, torch.device("cpu")))


def test_wrong_weights_break_equality_in_both_precisions() -> None:
    """Off by half in one weight matrix: the first check fails, and so does the one network call in bfloat16."""
    right = load(ROOT / "tests" / "fixtures" / "golden" / "trm_mlp.npz")
    key = next(name for name in right.arrays if name.startswith("sd/") and "down_proj" in name)
    wrong = replace(right, arrays={**right.arrays, key: right.arrays[key] * np.float32(1.5)})
    call = equality._one_call(right)
    moved = max(relative_error(equality._one_call(equality._moved(right, seed)), call) for seed in range(3))
    bound = max(equality.FLOOR, equality.UNITS * moved)
    assert relative_error(equality._one_call(wrong, precision="bf16"), call) > bound
    assert relative_error(equality._one_call(right, precision="bf16"), call) <= bound
