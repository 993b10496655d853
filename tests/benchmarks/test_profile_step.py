"""Where a step's time goes: every operation is of one kind, and the kinds are shares of a step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import profile_step
from benchmarks.profile_step import BETWEEN, by_kind, kind_of


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::_scaled_dot_product_flash_attention_for_cpu", "attention"),
        ("aten::addmm", "products"),
        ("nvjet_hsh_128x256_64x4_2x1_v_bz_coopA_TNT", "products"),
        ("triton_poi_fused_add_mul_0", "fused kernels"),
        ("Torch-Compiled Region: 0/1", "fused kernels"),
        ("aten::_softmax", "norms and sums"),
        ("Memcpy DtoD (Device -> Device)", "copies"),
        ("aten::silu_backward", "elementwise"),
        ("aten::slice", "other operations"),
    ],
)
def test_an_operation_is_of_one_kind_by_its_name(operation: str, kind: str) -> None:
    assert kind_of(operation) == kind


def test_the_kinds_share_all_of_the_time_and_those_without_any_are_left_out() -> None:
    assert by_kind([("aten::mm", 2.0), ("aten::bmm", 1.0), ("aten::view", 0.5), ("aten::add", 0.0)]) == {
        "products": 3.0,
        "other operations": 0.5,
    }


def test_a_step_is_profiled_printed_kept_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, out = tmp_path / "step.png", tmp_path / "step.json"
    words = ["--device", "cpu", "--bases", "trm_att", "--ways", "eager", "--picture", str(picture), "--out", str(out)]
    assert profile_step.main(words) == 0
    said = capsys.readouterr().out
    assert "trm_att, mini, fp32, eager:" in said
    assert BETWEEN in said
    assert max(map(len, said.splitlines())) <= 80 + len(str(tmp_path))
    (row,) = json.loads(out.read_text())["rows"]
    assert 0 < row["of_kind"]["attention"] < row["of_kind"]["products"] + row["of_kind"]["elementwise"]
    assert sum(row["of_kind"].values()) <= row["ms"] * 1.001
    with Image.open(picture) as drawn:
        assert drawn.width > 1000


def test_a_picture_where_there_is_no_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert profile_step.main(["--device", "cpu", "--picture", str(tmp_path / "no" / "step.png")]) == 2
    assert "no such folder" in capsys.readouterr().err
