from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import train_step
from benchmarks.products import BareProducts, products
from benchmarks.train_step import BASES, made, main, run_of, table
from benchmarks.turns import Way
from sweeps.study import BaseName
from tests.compiler import know_this_machine
from trm_core.compiled import can_compile
from trm_core.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(train_step.STEPS, "mini", {"cpu": 2})


SMALL = ["--device", "cpu", "--sizes", "mini", "--bases", "trm", "--precisions", "fp32"]
UNCOMPILED = ["--ways", "products", "released", "eager"]


class Ticks:
    """A clock that goes on by one second each time it is looked at."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 1
        return self.seconds


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("size", ["mini", "512"])
def test_the_products_are_the_operations_of_a_step(size: str, base: BaseName) -> None:
    run = run_of(size, base, "fp32", 8, CPU)
    assert sum(product.flops for product in products(run)) == run.train_flops() * run.train.batch_size


def test_the_bare_products_are_all_computed_and_as_large_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = 0
    multiply = torch.matmul

    def counts(a: torch.Tensor, b: torch.Tensor, *, out: torch.Tensor) -> torch.Tensor:
        nonlocal counted
        counted += 2 * out.numel() * a.shape[-1]
        return multiply(a, b, out=out)

    run = run_of("mini", "trm_att", "bf16", 8, CPU)
    bare = BareProducts(run, CPU)
    monkeypatch.setattr(torch, "matmul", counts)
    bare.take_step()
    assert counted == run.train_flops() * run.train.batch_size


@pytest.mark.parametrize("base", ["trm", "trm_att"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_operands_are_read_and_written_where_they_are_their_rows_padded(base: BaseName, precision: str) -> None:
    bare = BareProducts(run_of("mini", base, precision, 8, CPU), CPU)
    places = {tensor.data_ptr() for of in bare.operands.values() for tensor in of}
    bare.take_step()
    assert {tensor.data_ptr() for of in bare.operands.values() for tensor in of} == places
    for product, (x, w, y, dx, dw) in bare.operands.items():
        assert all(tensor.stride(-2) % 8 == 0 for tensor in (x, w, y, dx, dw)), product.name
        near = 2e-2 if precision == "bf16" else 1e-4
        torch.testing.assert_close(y, x @ w.mT, rtol=near, atol=near)
        if product.backward:
            torch.testing.assert_close(dx, y @ w, rtol=near, atol=near)
            torch.testing.assert_close(dw, y.mT @ x, rtol=near, atol=near)


def test_every_way_takes_its_turn_in_every_round_and_ratios_are_those_of_the_rounds(tmp_path: Path) -> None:
    assert main([*SMALL, *UNCOMPILED, "--rounds", "3", "--out", str(tmp_path / "o.json")], now=Ticks()) == 0
    facts = json.loads((tmp_path / "o.json").read_text())
    assert {"date", "device", "versions", "threads", "allow_tf32"} <= facts.keys()
    rows = {row["way"]: row for row in facts["rows"]}
    assert list(rows) == ["products", "released", "eager"]
    # By this clock a turn of two steps takes a second, whatever the way.
    assert all(row["rounds_s"] == [0.5] * 3 for row in rows.values())
    assert rows["eager"]["times_as_fast_as"] == {"products": [1.0] * 3, "released": [1.0] * 3}
    assert rows["eager"]["puzzles_per_s"] == pytest.approx(16 / 0.5)


def test_the_table_fits_80_columns_and_names_every_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *UNCOMPILED, "--rounds", "1"], now=Ticks()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "trm, mini, fp32: D=48, 37 positions, batch 16" in lines
    assert [line.split()[0] for line in lines if "1.00 (1.00-1.00)" in line] == ["products", "released", "eager"]


def test_a_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    def took(*rounds: float) -> Way:
        way = Way("eager", lambda: BareProducts(run, CPU), run, CPU, Ticks())
        way.rounds = list(rounds)
        return way

    run = run_of("mini", "trm", "fp32", None, CPU)
    assert took(1, 2, 4).as_fast_as(took(2, 2, 2)) == [1, 0.5, 2]
    assert took(1, 2).as_fast_as(took()) is None


def test_a_way_that_fails_is_a_line_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = train_step.made

    def fails(way: str, *rest: Any) -> Any:
        if way == "released":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate 3 GiB")
        return made(way, *rest)

    monkeypatch.setattr(train_step, "made", fails)
    assert main([*SMALL, *UNCOMPILED, "--rounds", "1", "--out", str(tmp_path / "o.json")], now=Ticks()) == 1
    rows = {row["way"]: row for row in json.loads((tmp_path / "o.json").read_text())["rows"]}
    assert rows["released"]["failed"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate 3 GiB"
    assert rows["eager"]["ms_per_step"] > 0
    assert "released          OutOfMemoryError: CUDA" in capsys.readouterr().out


def test_what_there_is_no_time_for_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By this clock a way takes some five seconds to begin."""
    asked = ["--bases", "trm", "hrm", "--minutes", str(14 / 60), "--rounds", "9", "--out", str(tmp_path / "o.json")]
    assert main([*SMALL, *UNCOMPILED, *asked], now=Ticks()) == 0
    rows = json.loads((tmp_path / "o.json").read_text())["rows"]
    assert [row.get("way") for row in rows if row["base"] == "trm"] == ["products", "released", "eager"]
    assert "not measured: left out, no time: mini hrm fp32\n" in capsys.readouterr().out
    assert [row.get("skipped") for row in rows if row["base"] == "hrm"] == ["no time left"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--rounds", "0"], "--rounds 0: expected more than 0"),
        (["--minutes", "-1"], "--minutes -1: expected more than 0"),
        (["--bases", "trn"], "invalid choice: 'trn'"),
        (["--out", "/dev/null/o.json"], "Not a directory; name a path that can be read and written"),
        *([] if torch.cuda.is_available() else [(["--device", "cuda"], "torch finds no GPU here")]),
    ],
)
def test_what_a_user_can_mend_is_one_line(more: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, *more]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


@pytest.mark.kills
@pytest.mark.timeout(1800)  # a compiler takes what it takes where others work too
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning")
@pytest.mark.skipif(not can_compile(CPU), reason="no C++ compiler here")
def test_recursions_are_compiled_whole_where_a_run_would_compile_a_call_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(know_this_machine(tmp_path / "code")))
    monkeypatch.setattr("trm_core.compiled.MOST_LAYERS", 0)
    run = run_of("mini", "trm_att", "fp32", None, CPU).change({"model": {"T": 1, "n": 1, "n_layers": 1, "D": 16}})
    eager, recursions = (made(way, run, CPU) for way in ("eager", "recursions"))
    assert isinstance(eager, Trainer)
    assert isinstance(recursions, Trainer)
    assert recursions.model.compiled_recursions
    assert not recursions.model.compiled_networks
    for trainer in (eager, recursions):
        trainer.take_step()
    assert recursions.window_metrics() == pytest.approx(eager.window_metrics(), rel=1e-4)


def test_a_card_too_small_for_the_batch_gets_half_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (80 * 10**9, 85 * 10**9))
    assert run_of("512", "trm", "bf16", None, cuda).train.batch_size == 768
    assert run_of("512", "trm", "fp32", None, cuda).train.batch_size == 384


def test_a_group_that_was_left_out_is_a_line() -> None:
    row = {"size": "512", "base": "hrm", "precision": "bf16", "skipped": "no time left"}
    assert table([row]) == "hrm, 512, bf16: no time left"
