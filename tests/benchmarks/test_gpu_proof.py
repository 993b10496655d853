from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from safetensors.torch import load_file

from benchmarks import curve, parts
from benchmarks.gpu_proof import main, wilson
from reports.stats import test_set_interval as interval_of_the_reports

ROOT = Path(__file__).resolve().parents[2]
PUZZLES = ROOT / "tests" / "fixtures" / "sudoku-extreme"
SMALL = [
    *("--device", "cpu", "--minutes", "5", "--test-puzzles", "8"),
    *("--set", "data.train=40", "data.validation=10", "model.D=16", "model.n_heads=2", "model.T=1", "model.n=1"),
    *("--set", "model.N_sup=2", "model.inner_multiple=8", "train.batch_size=8", "train.precision=fp32"),
    *("--set", "optim.warmup_steps=2"),
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
        (["--data", str(ROOT)], "train.csv: No such file"),
        (["--set", "data.train=4000"], "puzzles that no other split holds, expected 4000 for train"),
        (["--test-puzzles", "4000"], "120 puzzles, expected 4000"),
        (["--set", "modle.D=96"], "modle.D: no such setting"),
        (["--resume", str(ROOT)], "no checkpoint_* here"),
        (["--minutes", "0"], "--minutes 0"),
        (["--mintues", "5"], "unrecognized arguments"),
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


@pytest.mark.slow  # compiling takes a minute
@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning"
)  # by torch's compiler
@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"
)  # and by its tracer
def test_parity_and_benchmark_run_end_to_end(tmp_path: Path) -> None:
    sizes = ["--D", "16", "--batch-size", "2", "--steps", "1", "--variants", "direct", "trm_mlp", "--profile"]
    assert proof(tmp_path, "--sections", "parity", "benchmark", *sizes) == 0
    facts = result(tmp_path)
    assert {row["variant"] for row in facts["parity"]} == {"direct", "trm_mlp"}
    assert all(row["holds"] for row in facts["parity"])
    assert [(row["base"], row["compiled"]) for row in facts["benchmark"]["rows"]] == [
        (base, compiled) for base in ("trm", "trm_att", "hrm") for compiled in (False, True)
    ]
    assert all(row["utilisation"] is None for row in facts["benchmark"]["rows"])  # a CPU's peak is not known
    assert (tmp_path / "profile_trm.txt").stat().st_size > 0


def test_wrong_weights_break_equality_in_both_precisions(tmp_path: Path) -> None:
    """Off by a tenth in one weight matrix: the first check fails, and so does the one network call in bfloat16."""
    import numpy as np

    from benchmarks import equality
    from trm_core import parity

    arrays = dict(parity.load(ROOT / "tests" / "fixtures" / "golden" / "trm_mlp.npz"))
    key = next(name for name in arrays if name.startswith("sd/") and "down_proj" in name)
    wrong = {**arrays, key: arrays[key] * np.float32(1.5)}
    one = equality._one_call("trm_mlp", wrong, precision="bf16")
    right = equality._one_call("trm_mlp", arrays)
    moved = max(
        parity.relative_error(equality._one_call("trm_mlp", equality._moved(arrays, s)), right) for s in range(3)
    )
    assert parity.relative_error(one, right) > max(equality.FLOOR, equality.UNITS * moved)
    honest = equality._one_call("trm_mlp", arrays, precision="bf16")
    assert parity.relative_error(honest, right) <= max(equality.FLOOR, equality.UNITS * moved)
