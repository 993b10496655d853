"""Against the released code's own numbers (tests/fixtures/golden says what they are)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from trm_core import parity
from trm_core.config import RunConfig
from trm_core.parity import BOUND, VARIANTS, BadReference, Comparison, SequentialMatmul, check, load

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
STEADY = ("trm_att", "hrm", "direct")  # six steps of training do not amplify rounding beyond BOUND


def _by_quantity(results: tuple[Comparison, ...]) -> dict[str, Comparison]:
    return {result.quantity: result for result in results}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_first_step_is_the_references_when_additions_are_in_its_order(variant: str) -> None:
    results = _by_quantity(check(GOLDEN / f"{variant}.npz", steps=1))
    names = ("logits", "q_halt_logits", "q_continue_logits", "loss", "preds", "halted", "steps", "gradients")
    assert set(results) == {f"{name}, first step" for name in names}
    assert max(result.error for result in results.values()) <= BOUND
    assert results["logits, first step"].error <= 1e-6  # 0 where exp and softmax are the reference's to the last bit


@pytest.mark.parametrize("variant", STEADY)
def test_six_steps_of_training_on_any_blas_end_where_the_reference_ended(variant: str) -> None:
    results = check(GOLDEN / f"{variant}.npz", sequential=False)
    assert {result.quantity for result in results} >= {
        "logits, steps 2 to 6", "halted, steps 2 to 6", "weights after", "after, puzzle embedding", "EMA after"
    }  # fmt: skip
    assert max(result.error for result in results) <= BOUND


@pytest.mark.slow
@pytest.mark.parametrize("variant", [name for name in VARIANTS if name not in STEADY])
def test_what_float32_cannot_hold_to_the_bound_stays_within_amplified_rounding(variant: str) -> None:
    results = check(GOLDEN / f"{variant}.npz")
    assert all(result.holds for result in results)
    assert all(result.error <= BOUND for result in results if "first step" in result.quantity)


def test_a_wrong_weight_and_a_wrong_average_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = dict(load(GOLDEN / "direct.npz"))
    name = "sd/model.inner.lm_head.weight"
    arrays[name] = arrays[name] * np.float32(1.001)
    moved = parity.compare("direct", parity.our_numbers("direct", arrays, steps=1), arrays)
    assert not _by_quantity(tuple(moved))["logits, first step"].holds

    right = load(GOLDEN / "direct.npz")
    released = parity.settings_of

    def another_average(name: str, arrays: parity.Arrays) -> RunConfig:
        run = released(name, arrays)
        return run.model_copy(update={"optim": run.optim.model_copy(update={"ema": 0.91})})

    monkeypatch.setattr(parity, "settings_of", another_average)
    results = _by_quantity(tuple(parity.compare("direct", parity.our_numbers("direct", right), right)))
    assert not results["EMA after"].holds
    assert results["weights after"].holds


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
        assert parity.sequential_product(a, b).item() == total


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


def test_the_command_prints_a_line_per_quantity_and_strict_fails_where_the_bound_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert parity.main([str(GOLDEN), "direct", "--strict", "--own-blas"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("direct ") for line in lines[:-1])
    assert len(lines) - 1 == len(_by_quantity(check(GOLDEN / "direct.npz", sequential=False)))
    assert f"{len(lines) - 1} of {len(lines) - 1} within 1e-05" in lines[-1]
    assert parity.main([str(GOLDEN), "trm_mlp", "--strict", "--own-blas"]) == 1
    assert "FAILS" in capsys.readouterr().out


def test_a_folder_without_reference_numbers_and_a_foreign_file_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parity.main([str(tmp_path)]) == 2
    assert "no reference file here; expected trm_att" in capsys.readouterr().err
    with pytest.raises(BadReference, match="no variant of that name"):
        load(tmp_path / "other.npz")
    (tmp_path / "hrm.npz").write_bytes(b"torn")
    with pytest.raises(BadReference, match="not a readable"):
        load(tmp_path / "hrm.npz")
    np.savez(tmp_path / "trm_mlp.npz", cfg="{}")
    with pytest.raises(BadReference, match="lacks in0/inputs, out0/logits"):
        load(tmp_path / "trm_mlp.npz")
