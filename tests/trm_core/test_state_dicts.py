"""Checkpoints as people pass them on: wrapped, under other names, beside their settings, or not what they seem."""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from trm_core.config import RunConfig
from trm_core.model import Model
from trm_core.official import import_state_dict, main, to_theirs
from trm_core.state_dicts import BadStateDict, open_state_dict, read_state_dict

TRM = RunConfig.parse(
    {
        "data": {"puzzle": "maze", "side": 4, "train": None, "validation": 0},
        "model": {"D": 16, "n_heads": 2, "T": 2, "n": 3, "N_sup": 5, "mixer": "attention", "puzzle_prefix": 3},
        "train": {"precision": "fp32"},
    }
)
HRM = TRM.change(
    {
        "model": {
            "networks": "separate",
            "gradient": "one step",
            "halting": "q_learning",
            "n_layers": 1,
            "puzzle_prefix": 1,
            "n": 2,
        },
        "train": {"precision": "bf16"},
    }
)
Tensors = dict[str, Tensor]


def tensors(run: RunConfig = TRM) -> Tensors:
    return {name: tensor.clone() for name, tensor in to_theirs(Model(run, 3).state_dict(), run.model).items()}


def given(run: RunConfig) -> dict[str, Any]:
    return run.model_dump(mode="json")


def renamed(change: Callable[[str], str]) -> Callable[[Tensors], Any]:
    return lambda theirs: {change(name): tensor for name, tensor in theirs.items()}


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda theirs: {"model": theirs},
        lambda theirs: {"model_state_dict": theirs, "epoch": 3, "optimizer": {"lr": 0.1}},
        lambda theirs: {"state_dict": theirs},
        lambda theirs: {"state_dict": {"model": theirs}},
        renamed("module.{}".format),
        renamed("_orig_mod.{}".format),
        renamed("module._orig_mod.{}".format),
        renamed("_orig_mod.module.{}".format),
        renamed(lambda name: name.replace("model.", "model._orig_mod.module.", 1)),
        renamed(lambda name: name.removeprefix("model.")),
        renamed(lambda name: name.removeprefix("model.inner.")),
        lambda theirs: {"model_state_dict": renamed("module.{}".format)(theirs)},
    ],
)
def test_a_checkpoint_opens_whatever_it_is_wrapped_in(wrapped: Callable[[Tensors], Any], tmp_path: Path) -> None:
    theirs = tensors()
    torch.save(wrapped(theirs), tmp_path / "step_7")
    found = read_state_dict(tmp_path / "step_7")
    assert found.keys() == theirs.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in theirs.items())
    _, run = import_state_dict(tmp_path / "step_7", tmp_path / "ours", given(TRM))
    assert run == TRM


def test_tables_and_counters_beside_the_weights_are_passed_over_and_named(tmp_path: Path) -> None:
    theirs = tensors()
    beside = {
        "model.inner.rotary_emb.cos_cached": torch.ones(16, 8),
        "model.inner.rotary_emb.inv_freq": torch.ones(4),
        "model.inner.puzzle_emb.local_weights": torch.zeros(8, 16),
        "model.inner.puzzle_emb.local_ids": torch.zeros(8, dtype=torch.int32),
        "model.inner.steps_seen": torch.tensor(3),
    }
    torch.save({**theirs, **beside}, tmp_path / "step_7")
    found, notes = open_state_dict(tmp_path / "step_7")
    assert found.keys() == theirs.keys()
    assert notes == (
        "passed over, no weights: rotary_emb.cos_cached, rotary_emb.inv_freq, puzzle_emb.local_weights,"
        " puzzle_emb.local_ids, steps_seen",
    )


def test_averaged_weights_beside_the_trained_ones_are_taken_and_it_is_said(tmp_path: Path) -> None:
    theirs = tensors()
    head = "model.inner.lm_head.weight"
    averaged = {f"_orig_mod.{head}": theirs[head] + 1}
    torch.save({"model": theirs, "optimizers": [], "step": 7, "ema_helper": averaged}, tmp_path / "step_7")
    found, notes = open_state_dict(tmp_path / "step_7")
    assert torch.equal(found[head], theirs[head] + 1)
    assert notes == ("the averaged weights of ema_helper are taken, not the trained ones",)


# --- all_config.yaml --------------------------------------------------------------------------------------------------

ARCH: dict[str, Any] = {
    "name": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1",
    "loss": {"name": "losses@ACTLossHead", "loss_type": "stablemax_cross_entropy"},
    "halt_exploration_prob": 0.1,
    "halt_max_steps": 5,
    "H_cycles": 2,
    "L_cycles": 3,
    "hidden_size": 16,
    "num_heads": 2,
    "expansion": 4,
    "puzzle_emb_ndim": 16,
    "puzzle_emb_len": 3,
    "forward_dtype": "float32",
    "no_ACT_continue": True,
}
HRM_ARCH: dict[str, Any] = {
    **{name: value for name, value in ARCH.items() if name not in ("puzzle_emb_len", "no_ACT_continue")},
    "name": "hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1",
    "L_cycles": 2,
    "forward_dtype": "bfloat16",
}


@pytest.mark.parametrize(
    ("run", "content"),
    [
        (TRM, {"arch": ARCH, "data_paths": ["data/maze-30x30-hard-1k"]}),
        (HRM, {"arch": HRM_ARCH, "data_path": "data/maze-30x30-hard-1k-aug-1000/"}),
    ],
)
def test_what_the_tensors_do_not_tell_is_read_beside_them(
    run: RunConfig, content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(tensors(run), tmp_path / "step_7")
    (tmp_path / "all_config.yaml").write_text(yaml.dump(content))
    assert main(["import", str(tmp_path / "step_7"), str(tmp_path / "ours")]) == 0
    assert f"all_config.yaml: model.T=2, model.n={run.model.n}, model.N_sup=5" in capsys.readouterr().out
    saved = json.loads((tmp_path / "ours" / "step_00000007" / "checkpoint.json").read_text())["settings"]
    found = RunConfig.parse(saved)
    assert found.model == run.model
    assert (found.train.precision, found.data.puzzle) == (run.train.precision, "maze")


def test_what_is_said_by_hand_goes_before_what_lies_beside(tmp_path: Path) -> None:
    torch.save(tensors(), tmp_path / "step_7")
    (tmp_path / "all_config.yaml").write_text(yaml.dump({"arch": ARCH, "data_paths": ["data/maze"]}))
    _, run = import_state_dict(tmp_path / "step_7", tmp_path / "ours", {"model": {"T": 9}})
    assert (run.model.T, run.model.n) == (9, 3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("arch: [", "no YAML of plain values"),
        ("arch: !!python/object/apply:os.getpid []", "no YAML of plain values"),
        ("[" * 5000, "no YAML of plain values"),
        ("a: 1", "no arch with a name"),
        (yaml.dump({"arch": {**ARCH, "hidden_size": 512}}), "hidden_size 512, but the tensors are 16 wide"),
        (yaml.dump({"arch": {**ARCH, "H_cycles": "many"}}), r"model\.T"),
        (yaml.dump({"arch": {**ARCH, "expansion": 1e308}}), r"model\.expansion"),
        (yaml.dump({"arch": {**ARCH, "H_cycles": float("inf")}}), r"model\.T"),
        ("a: " + "x" * (1 << 20), "bytes, expected at most"),
        ("\0", "no YAML of plain values"),
    ],
)
def test_settings_that_somebody_spoilt_are_told_in_one_line(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(tensors(), tmp_path / "step_7")
    (tmp_path / "all_config.yaml").write_text(text)
    assert main(["import", str(tmp_path / "step_7"), str(tmp_path / "ours"), "--set", "data.puzzle=maze"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(told, said), said
    assert not (tmp_path / "ours").exists()


# --- what only seems to be one ----------------------------------------------------------------------------------------


def packed(path: Path) -> None:
    """The same file with its entries deflated: torch reads such, and a bomb looks like it."""
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def spread_out(path: Path) -> None:
    """Tensors of 10^9 channels behind which one number stands."""
    one = torch.ones(1)
    torch.save({name: one.expand(*tensor.shape[:-1], 10**9) for name, tensor in tensors().items()}, path)


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (packed, r"a zip file of [\d,]+ bytes that unpacks to"),
        (spread_out, r"bytes of tensors in a file of [\d,]+ bytes"),
        (a_pipe, r"\(a pipe, not a file\)"),
        (a_folder, r"Is a directory"),
        (
            lambda path: torch.save({"model": {"model": {"model": {"model": tensors()}}}}, path),
            "expected plain tensors",
        ),
        (
            lambda path: torch.save({"module.a": torch.ones(2), "_orig_mod.a": torch.ones(2)}, path),
            "two tensors are call",
        ),
        (lambda path: torch.save({"a" * 100_000: 3}, path), "expected plain tensors"),
    ],
)
def test_a_file_that_only_seems_to_be_a_checkpoint_is_told_in_one_line_at_once(
    harm: Callable[[Path], None], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "step_7"
    torch.save(tensors(), path)
    harm(path)
    with pytest.raises(BadStateDict, match=told):
        read_state_dict(path)
    assert main(["import", str(path), str(tmp_path / "ours")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert len(said) < 1000
    assert not (tmp_path / "ours").exists()
