"""Against the released code's own numbers (tests/fixtures/golden and golden64 say what they are)."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trm_core import parity
from trm_core.model import Model
from trm_core.official import to_theirs
from trm_core.parity import (
    AMPLIFIED,
    BOUND_32,
    BOUND_64,
    Comparison,
    check,
    compare,
    effect_for,
    numbers,
    relative_error,
)
from trm_core.parity_arithmetic import SequentialMatmul, sequential_product
from trm_core.parity_numbers import Rounding, our_numbers
from trm_core.parity_reference import BadReference, Reference, ReferenceData, load

FIXTURES = Path(__file__).parents[1] / "fixtures"
GOLDEN, GOLDEN_64 = FIXTURES / "golden", FIXTURES / "golden64"
VARIANTS = ("trm_att", "trm_mlp", "trm_singlez", "trm_hier6", "hrm", "direct")
STEADY = ("trm_att", "hrm", "direct")  # six steps of training do not amplify rounding beyond BOUND_32

ITS_EXP = torch.backends.cpu.get_cpu_capability() == "AVX512"  # then exp and softmax are the reference's, bit for bit


def _by_quantity(results: tuple[Comparison, ...]) -> dict[str, Comparison]:
    return {result.quantity: result for result in results}


def _effect_of_a_last_bit(reference: Reference) -> dict[str, float]:
    """How far the first step's quantities are off where every weight is the next float32."""
    plain, moved = (our_numbers(reference, steps=1, rounding=rounding) for rounding in (None, Rounding()))
    return {key: relative_error(moved[key], plain[key]) for key in plain}


def _with_optim(reference: Reference, **changes: Any) -> Reference:
    """The reference, checked with other settings of the optimiser than it was computed with."""
    optim = reference.run.optim.model_copy(update=changes)
    return replace(reference, run=reference.run.model_copy(update={"optim": optim}))


# --- float64: rounding explains nothing ------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_in_float64_all_six_steps_the_state_after_them_and_the_evaluation_are_the_references(variant: str) -> None:
    reference = load(GOLDEN_64 / f"{variant}.npz")
    results = check(reference)
    assert (reference.dtype, reference.steps) == (torch.float64, 6)
    assert {result.quantity for result in results} >= {
        "logits, first step", "gradients, first step", "logits, steps 2 to 6", "loss, steps 2 to 6",
        "halted, steps 2 to 6", "weights after", "after, puzzle embedding", "EMA after", "evaluation, logits",
    }  # fmt: skip
    assert max(result.error for result in results) <= BOUND_64
    assert parity.left_out(reference, numbers(reference)) == []


def test_the_float64_fixture_is_under_3_mb() -> None:
    assert sum(path.stat().st_size for path in GOLDEN_64.iterdir()) < 3_000_000


def test_in_float64_nothing_is_excused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arrays = dict(np.load(GOLDEN_64 / "direct.npz"))
    arrays["out5/loss"] = arrays["out5/loss"] * (1 + 2e-7)
    np.savez(tmp_path / "direct.npz", **arrays)
    assert parity.main([str(tmp_path), "--rounding"]) == 1
    printed = capsys.readouterr().out
    assert "! direct       loss, steps 2 to 6                2.0e-07  above 1e-07\n" in printed
    assert "1 above it for another reason" in printed


# --- float32 ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "trm_mlp"])
def test_the_first_step_is_the_references_when_additions_are_in_its_order(variant: str) -> None:
    reference = load(GOLDEN / f"{variant}.npz")
    last_bit = _effect_of_a_last_bit(reference)
    results = _by_quantity(tuple(compare(reference, numbers(reference, steps=1), lambda _: last_bit)))
    names = ("logits", "q_halt_logits", "q_continue_logits", "loss", "preds", "halted", "steps", "gradients")
    assert set(results) >= {f"{name}, first step" for name in names}
    assert all(result.within if ITS_EXP else result.holds for result in results.values())
    assert results["logits, first step"].error <= (1e-6 if ITS_EXP else max(1e-6, AMPLIFIED * last_bit["out0/logits"]))


@pytest.mark.parametrize("variant", STEADY)
def test_six_steps_of_training_on_any_blas_end_where_the_reference_ended(variant: str) -> None:
    results = check(load(GOLDEN / f"{variant}.npz"), sequential=False)
    assert {result.quantity for result in results} >= {
        "logits, steps 2 to 6", "halted, steps 2 to 6", "weights after", "after, puzzle embedding", "EMA after"
    }  # fmt: skip
    assert all(result.holds for result in results)
    assert max(result.error for result in results) <= (1 if ITS_EXP else 2) * BOUND_32


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in STEADY])
def test_what_float32_cannot_hold_to_the_bound_stays_within_amplified_rounding_and_a_fault_does_not(
    variant: str,
) -> None:
    reference = load(GOLDEN / f"{variant}.npz")
    measured: dict[tuple[float, ...], dict[str, float]] = {}

    def effect(errors: dict[str, float]) -> dict[str, float]:
        first = tuple(error for key, error in errors.items() if key.startswith(("out0/", "grad0/")))
        if first not in measured:  # it follows from the first step, which no fault of the optimiser's has touched
            of_rounding = effect_for(reference)
            assert of_rounding is not None
            measured[first] = of_rounding(errors)
        return measured[first]

    results = tuple(compare(reference, numbers(reference), effect))
    assert all(result.holds for result in results)
    if ITS_EXP and variant != "trm_mlp":  # its norms and its silu run over the memory in another order than there
        assert all(result.within for result in results if "first step" in result.quantity)
    faults: list[dict[str, Any]] = [{"ema": 0.91}, {"warmup_steps": 5}]
    if ITS_EXP and variant not in ("trm_hier6", "trm_mlp"):  # else they are as small as rounding; float64 sees them
        faults += [{"beta2": 0.9}, {"weight_decay": 0.0}]
    for fault in faults:
        wrong = numbers(_with_optim(reference, **fault))
        assert not all(result.holds for result in compare(reference, wrong, effect)), fault
    assert len(measured) == 1


def test_a_wrong_weight_is_seen() -> None:
    right = load(GOLDEN / "direct.npz")
    name = "sd/model.inner.lm_head.weight"
    wrong = replace(right, arrays={**right.arrays, name: right.arrays[name] * np.float32(1.001)})
    assert not _by_quantity(check(wrong, steps=1))["logits, first step"].holds


def test_a_number_that_is_none_is_never_within_a_bound() -> None:
    numbers = torch.tensor([1.0, 2.0])
    for broken in (torch.tensor([1.0, torch.nan]), torch.tensor([1.0, torch.inf])):
        assert relative_error(broken, numbers) == relative_error(numbers, broken) == float("inf")


# --- the arithmetic --------------------------------------------------------------------------------------------------


def test_the_sequential_product_rounds_once_per_product_and_adds_equal_blocks() -> None:
    draw = torch.Generator().manual_seed(0)
    for K, blocks in ((5, [5]), (385, [193, 192])):
        a, b = torch.randn(1, K, generator=draw), torch.randn(1, K, generator=draw)
        total, start = np.float32(0), 0
        for size in blocks:
            part = np.float32(0)
            for k in range(start, start + size):
                exact = Fraction(float(a[0, k])) * Fraction(float(b[0, k])) + Fraction(float(part))
                part = np.float32(float(exact))
            total, start = np.float32(total + part), start + size
        assert sequential_product(a, b).item() == total


def test_sequential_matmul_changes_the_order_of_additions_and_nothing_else() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, 500, generator=draw, requires_grad=True)
    w, b = torch.randn(6, 500, generator=draw, requires_grad=True), torch.randn(6, generator=draw)
    results: list[tuple[torch.Tensor, ...]] = []
    for mode in (False, True):
        x.grad = w.grad = None
        if mode:
            with SequentialMatmul():
                y = torch.nn.functional.linear(x, w, b)
        else:
            y = torch.nn.functional.linear(x, w, b)
        y.square().sum().backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        assert w.grad is not None
        results.append((y.detach(), x.grad, w.grad))
    for plain, sequential in zip(*results, strict=True):
        torch.testing.assert_close(plain, sequential, rtol=1e-4, atol=1e-3)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_prints_a_line_per_quantity_of_every_file_and_names_the_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("direct", "hrm"):
        (tmp_path / f"like {name}.npz").write_bytes((GOLDEN_64 / f"{name}.npz").read_bytes())
    (tmp_path / "notes.txt").touch()
    assert parity.main([str(tmp_path)]) == 0
    first, *lines, last = capsys.readouterr().out.splitlines()
    assert first == "not looked at, no .npz: notes.txt"
    assert {line[2:14].strip() for line in lines} == {"like direct", "like hrm"}
    assert last.startswith(f"{len(lines)} of {len(lines)} within 1e-07")


@pytest.mark.slow
def test_what_amplified_rounding_explains_is_marked_and_accepted_only_when_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert parity.main([str(GOLDEN), "trm_hier6", "--own-blas"]) == 1
    printed = capsys.readouterr().out
    assert "\n~ trm_hier6" in printed
    assert "they fail; --rounding accepts them" in printed
    assert parity.main([str(GOLDEN), "trm_hier6", "--own-blas", "--rounding"]) == 0


def test_a_file_that_is_none_is_named_and_the_others_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "direct.npz").write_bytes((GOLDEN_64 / "direct.npz").read_bytes())
    (tmp_path / "torn.npz").write_bytes(b"torn")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    assert parity.main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.err.count("error: ") == printed.err.count("\n") == 2
    assert "torn.npz: not a readable .npz file" in printed.err
    assert "other.npz: lacks cfg, in0/inputs, out0/logits" in printed.err
    assert "  direct       logits, first step" in printed.out
    assert printed.out.endswith("2 not read, named above\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "expected a folder of .npz files"),
        (["."], "no reference file (.npz) here"),
        ([".", "trm_mlp"], "trm_mlp.npz: no such file"),
        ([".", "x" * 300], "File name too long"),
        ([".", "--roundings"], "unrecognized arguments: --roundings"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_folder_without_reference_numbers_is_refused(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parity.main(arguments) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


# --- what a file says ------------------------------------------------------------------------------------------------


def _rewritten(path: Path, tmp_path: Path, **changes: Any) -> Path:
    """A copy with options of cfg and optim, and arrays, replaced; None: left out."""
    arrays: dict[str, Any] = dict(np.load(path))
    for name, value in changes.items():
        section, _, option = name.partition("__")
        if option:
            options = json.loads(str(arrays[section])) | {option: value}
            arrays[section] = json.dumps({key: value for key, value in options.items() if value is not None})
        else:
            arrays[name] = value
    np.savez(tmp_path / "copy.npz", **{key: value for key, value in arrays.items() if value is not None})
    return tmp_path / "copy.npz"


@pytest.mark.parametrize(
    ("option", "value", "setting"),
    [
        ("optim__beta2", 0.9, "optim.beta2"), ("optim__ema", None, "optim.ema"), ("optim__lr", 0.01, "optim.lr"),
        ("optim__warmup_steps", 9, "optim.warmup_steps"), ("cfg__halt_max_steps", 5, "model.N_sup"),
        ("cfg__H_cycles", 2, "model.T"), ("cfg__L_cycles", 3, "model.n"), ("cfg__num_heads", 2, "model.n_heads"),
        ("cfg__no_ACT_continue", False, "model.halting"),
    ],
)  # fmt: skip
def test_settings_are_read_from_the_file(option: str, value: Any, setting: str, tmp_path: Path) -> None:
    run = load(_rewritten(GOLDEN_64 / "trm_att.npz", tmp_path, **{option: value})).run
    expected = {"optim.ema": 0.9, "model.halting": "q_learning"}.get(setting, value)  # 0.9: as the float32 files'
    assert run.flat()[setting] == expected


def test_another_setting_than_the_files_is_a_number_that_does_not_hold(tmp_path: Path) -> None:
    results = check(load(_rewritten(GOLDEN_64 / "direct.npz", tmp_path, optim__beta2=0.9)))
    assert not _by_quantity(results)["weights after"].holds


@pytest.mark.parametrize("variant", ["trm_att", "trm_mlp", "hrm", "direct"])
def test_a_reference_of_another_shape_with_learnt_positions_is_read_by_what_it_says(
    variant: str, tmp_path: Path
) -> None:
    """Our own numbers, written as a reference would be; the formula itself is held to tests/trm_core/plain.py."""
    like = load(GOLDEN_64 / f"{variant}.npz")
    run = like.run.change({"model": {"D": 28, "n_heads": 3, "head_channels": 9, "positions": "learned", "N_sup": 2}})
    run = run.model_copy(update={"data": ReferenceData(n_cells=9, n_tokens=5)})
    draw = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for prefix in ("in0", "in1", "in2", "eval_in"):
        arrays |= {f"{prefix}/{name}": draw.integers(0, 5, (6, 9)) for name in ("inputs", "labels")}
        arrays[f"{prefix}/puzzle_identifiers"] = draw.integers(0, 4, 6)
    theirs = to_theirs(Model(run, 4).double().state_dict(), run.model)
    arrays |= {f"sd/{name}": tensor.numpy() for name, tensor in theirs.items()}
    arrays |= {f"eval{s}/logits": np.zeros(()) for s in range(2)}  # the evaluation that is asked for
    arrays |= numbers(Reference("", arrays, run, torch.float64, steps=3))
    arrays = {name: np.asarray(value) for name, value in arrays.items() if name != "ema/share of the way"}
    options = json.loads(str(like.arrays["cfg"]))
    options |= {"seq_len": 9, "vocab_size": 5, "hidden_size": 28, "puzzle_emb_ndim": 28, "halt_max_steps": 2}
    options |= {"num_heads": 3, "pos_encodings": "learned"}  # 3 heads of 9: the released code rounds down
    np.savez(tmp_path / "a.npz", cfg=json.dumps(options), optim=str(like.arrays["optim"]), **arrays)

    reference = load(tmp_path / "a.npz")
    assert (reference.run.model, reference.run.optim, reference.run.data) == (run.model, run.optim, run.data)
    results = check(reference)
    assert {"logits, steps 2 to 3", "EMA after", "evaluation, logits"} <= {result.quantity for result in results}
    assert max(result.error for result in results) == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cfg": "{"}, "cfg: not JSON"),
        ({"cfg": "[]"}, "cfg: list found, expected options by name"),
        ({"cfg": "[" * 100_000}, "cfg: not JSON"),
        ({"cfg__hidden_size": None}, "lacks cfg.hidden_size"),
        ({"cfg__hidden_size": 10**9}, "cfg.hidden_size=1000000000 channels here"),
        ({"cfg__H_cycles": 10**9}, "expected 10000 or less"),
        ({"cfg__H_cycles": 3.5}, "model.T=3.5: input should be a valid integer"),
        ({"cfg__seq_len": 24}, "in0/inputs: int64 [6, 25], expected integers [6, 24]"),
        ({"cfg__vocab_size": 8}, "model.inner.embed_tokens.embedding_weight: [7, 48], expected [8, 48]"),
        ({"cfg__pos_encodings": "learned"}, "cfg.pos_encodings=learned contradicts the tensors"),
        ({"cfg__pos_encodings": "none"}, "cfg.pos_encodings=none: self-attention has rope or learned positions"),
        ({"cfg__mlp_t": True}, "cfg.mlp_t=True contradicts the tensors"),
        ({"cfg__rope_theta": 5.0}, "cfg.rope_theta=5.0: 10000.0 is the only one here"),
        ({"cfg__halt_exploration_prob": 0.1}, "what was drawn is not in the file; expected 0"),
        ({"optim__lr": -1}, "optim.lr=-1: input should be greater than 0"),
        ({"in2/labels": None}, "lacks in2/labels"),
        ({"in0/inputs": np.full((6, 25), 7)}, "in0/inputs: 7 to 7, expected 0 to 6"),
        ({"in0/puzzle_identifiers": np.full(6, -1)}, "in0/puzzle_identifiers: -1 to -1, expected 0 to 4"),
        ({"out0/logits": np.zeros((6, 25, 7), dtype=np.int64)}, "out0/logits is int64; expected float32 or float64"),
        ({"sd/model.inner.lm_head.weight": np.full((7, 48), np.nan)}, "expected finite numbers"),
        ({"sd/model.inner.lm_head.weight": None}, "model.inner.lm_head.weight: missing"),
        ({"out0/q": np.zeros(3, dtype=np.complex64)}, "out0/q: complex64, expected float32, float64"),
        ({"out0/loss": np.array("much")}, "out0/loss: a text, expected numbers"),
    ],
    ids=str,
)  # fmt: skip
def test_what_a_file_lacks_or_contradicts_is_one_line(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(BadReference) as told:
        load(_rewritten(GOLDEN_64 / "trm_att.npz", tmp_path, **changes))
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_an_array_of_another_shape_than_ours_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _rewritten(GOLDEN_64 / "direct.npz", tmp_path, **{"out3/loss": np.zeros(2)})
    assert parity.main([str(tmp_path)]) == 2
    assert "shapes () here and (2,) there" in capsys.readouterr().err


def test_options_and_numbers_that_mean_nothing_here_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = {"cfg__mamba": True, "out0/metric/mood": np.zeros(())}
    _rewritten(GOLDEN_64 / "direct.npz", tmp_path, **extra)
    assert parity.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "options that mean nothing here: cfg.mamba" in printed
    assert "compared with nothing: out0/metric/mood" in printed
