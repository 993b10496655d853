"""The released code's state_dicts, made from models of ours and, once, by hand in its own names."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from data_prep.puzzle_set import PuzzleSet
from trm_core.checkpoint import BadCheckpoint, load
from trm_core.config import RunConfig
from trm_core.model import Model
from trm_core.official import (
    BadStateDict,
    CannotExport,
    SettingsNeeded,
    check,
    expected_shapes,
    export_checkpoint,
    import_state_dict,
    main,
    read_settings,
    read_state_dict,
    settings_of,
    to_theirs,
)
from trm_core.settings import BadSetting
from trm_core.trainer import Trainer, train

VARIANTS: dict[str, dict[str, Any]] = {
    "TRM-Att": {"mixer": "attention"},
    "TRM-MLP": {"mixer": "mlp"},
    "single z": {"mixer": "attention", "features": "single z"},
    "multi-scale z": {"mixer": "attention", "features": "multi-scale z", "n": 6},
    "HRM": {"mixer": "attention", "networks": "separate", "gradient": "one step", "halting": "q_learning"},
    "direct prediction": {"mixer": "attention", "features": "y", "n": 0, "T": 1},
    "direct prediction, 3 heads of 4": {"features": "y", "n": 0, "T": 1, "mixer": "attention", "n_heads": 3, "D": 14}
    | {"head_channels": 4},
    "TRM-Att with learnt positions": {"mixer": "attention", "positions": "learned"},
    "TRM-MLP without a puzzle prefix": {"mixer": "mlp", "puzzle_prefix": 0},
}


@pytest.fixture(params=VARIANTS)
def run(request: pytest.FixtureRequest, tiny: RunConfig) -> RunConfig:
    return tiny.change({"model": VARIANTS[request.param]})


def state_dict(run: RunConfig, n_puzzle_ids: int = 5) -> dict[str, Tensor]:
    """What the released trainer would have saved of such a run: y_init and z_init are bfloat16 there."""
    model = Model(run, n_puzzle_ids)
    if model.puzzle_embedding is not None:
        nn.init.normal_(model.puzzle_embedding.weights, generator=torch.Generator().manual_seed(3))
    theirs = to_theirs(model.state_dict(), run.model)
    return {name: (t.bfloat16() if name.endswith("_init") else t).clone() for name, t in theirs.items()}


def whole(run: RunConfig) -> dict[str, dict[str, Any]]:
    return run.model_dump(mode="json")


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype
        and torch.equal(a[name].view(torch.uint8).flatten(), b[name].view(torch.uint8).flatten())
        for name in a
    )


@pytest.mark.parametrize("compiled", [False, True])
def test_a_round_trip_gives_the_same_names_and_the_same_bits(run: RunConfig, tmp_path: Path, compiled: bool) -> None:
    theirs = state_dict(run)
    if compiled:
        theirs = {f"_orig_mod.{name}": tensor for name, tensor in theirs.items()}
    torch.save(theirs, tmp_path / "step_65104")
    folder, _ = import_state_dict(tmp_path / "step_65104", tmp_path / "ours", whole(run))
    export_checkpoint(folder, tmp_path / "theirs", compiled=compiled)
    assert folder.name == "step_00065104"
    assert same_bits(torch.load(tmp_path / "theirs", weights_only=True), theirs)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_imported_weights_compute_what_the_model_computed(run: RunConfig, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = state_dict(run)
    torch.save(theirs, tmp_path / "step_7")
    folder, imported = import_state_dict(tmp_path / "step_7", tmp_path / "ours", whole(run))
    model, again = Model(run, 5), Model(imported.change({"train": {"seed": 9}}), 5)
    again.load_state_dict(load(folder).weights)
    if model.puzzle_embedding is not None:
        model.puzzle_embedding.weights.copy_(theirs["model.inner.puzzle_emb.weights"])
    model.initial.copy_(model.initial.bfloat16())
    inputs = torch.randint(1, 6, (3, 16))
    outcomes = []
    for each in (model, again):
        vectors = each.puzzle_vectors(torch.tensor([0, 4, 2]))
        outcomes.append(each(inputs, vectors, each.initial_features(3)))
    for one, other in zip(outcomes[0][1:], outcomes[1][1:], strict=True):
        assert torch.equal(one, other)


def test_the_expected_shapes_are_those_of_the_model(run: RunConfig) -> None:
    theirs = to_theirs(Model(run, 5).state_dict(), run.model)
    assert expected_shapes(run, 5) == {name: tuple(tensor.shape) for name, tensor in theirs.items()}


def test_the_tensors_tell_what_they_can_and_the_rest_is_asked_for_and_nothing_else(run: RunConfig) -> None:
    theirs = state_dict(run)
    with pytest.raises(SettingsNeeded) as told:
        settings_of(theirs, {"model": {"expansion": 4.0, "inner_multiple": 8}})
    asked = {
        word.removeprefix("--set ").removesuffix("=…")
        for word in str(told.value).split("; add ")[1].split(", ")[0].split(" --set ")
    }
    m, expected = run.model, {"model.N_sup", "model.halting", "train.precision"}
    if m.mixer == "attention":
        expected |= {"model.n_heads", "model.puzzle_prefix", "data.puzzle"}  # 6 tokens: a maze, or a 4x4 Sudoku
    if m.features != "y":
        expected |= {"model.T"}
    if m.features in ("y,z", "single z"):
        expected |= {"model.n"}
    if m.features == "y,z":
        expected |= {"model.gradient"}
    assert asked == expected

    given: dict[str, dict[str, Any]] = {"model": {"inner_multiple": 8}}
    for name in asked:
        section, field = name.split(".")
        given.setdefault(section, {})[field] = run.flat()[name]
    found = settings_of(theirs, given)
    if m.mixer == "mlp":
        m = m.model_copy(update={"n_heads": found.model.n_heads})  # nothing reads it there
    assert found.model == m
    assert (found.data.cells, found.data.vocabulary) == (16, 6)


def released_sudoku(prefix: str = "") -> dict[str, Tensor]:
    """TRM-MLP on Sudoku as released (but for the width, 512), every name and shape written out."""
    names: dict[str, tuple[int, ...]] = {
        "model.inner.H_init": (64,),
        "model.inner.L_init": (64,),
        "model.inner.embed_tokens.embedding_weight": (11, 64),
        "model.inner.lm_head.weight": (11, 64),
        "model.inner.q_head.weight": (2, 64),
        "model.inner.q_head.bias": (2,),
        "model.inner.puzzle_emb.weights": (1, 64),
        "model.inner.L_level.layers.0.mlp_t.gate_up_proj.weight": (1024, 97),
        "model.inner.L_level.layers.0.mlp_t.down_proj.weight": (97, 512),
        "model.inner.L_level.layers.0.mlp.gate_up_proj.weight": (512, 64),
        "model.inner.L_level.layers.0.mlp.down_proj.weight": (64, 256),
        "model.inner.L_level.layers.1.mlp_t.gate_up_proj.weight": (1024, 97),
        "model.inner.L_level.layers.1.mlp_t.down_proj.weight": (97, 512),
        "model.inner.L_level.layers.1.mlp.gate_up_proj.weight": (512, 64),
        "model.inner.L_level.layers.1.mlp.down_proj.weight": (64, 256),
    }
    generator = torch.Generator().manual_seed(1)
    return {prefix + name: torch.randn(shape, generator=generator) for name, shape in names.items()}


ASKED: dict[str, dict[str, Any]] = {
    "model": {"T": 3, "n": 6, "N_sup": 16, "halting": "bce", "gradient": "full recursion"},
    "train": {"precision": "bf16"},
}


def test_a_state_dict_written_by_hand_is_read_as_the_paper_s_sudoku_model(tmp_path: Path) -> None:
    theirs = released_sudoku("_orig_mod.")
    torch.save({"model": OrderedDict(theirs)}, tmp_path / "step_100.pt")
    folder, run = import_state_dict(tmp_path / "step_100.pt", tmp_path / "ours", ASKED)
    assert run == RunConfig().change({"model": {"D": 64}})
    weights = load(folder).weights
    assert torch.equal(weights["initial"][1], theirs["_orig_mod.model.inner.L_init"])
    assert torch.equal(
        weights["f_z.layers.1.mix.down.weight"],
        theirs["_orig_mod.model.inner.L_level.layers.1.mlp_t.down_proj.weight"],
    )


def test_a_state_dict_as_torch_itself_makes_it_with_its_metadata_is_read(tmp_path: Path) -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = nn.ModuleDict({"inner": nn.ModuleDict({"lm_head": nn.Linear(64, 11, bias=False)})})

    outer = Outer()
    torch.save(outer.state_dict(), tmp_path / "file")
    theirs = read_state_dict(tmp_path / "file")
    assert list(theirs) == ["model.inner.lm_head.weight"]


def test_safetensors_give_the_same_as_torch_save(tmp_path: Path) -> None:
    save_file(released_sudoku(), tmp_path / "model.safetensors")
    torch.save(released_sudoku(), tmp_path / "model.pt")
    assert same_bits(read_state_dict(tmp_path / "model.safetensors"), read_state_dict(tmp_path / "model.pt"))


# --- what is refused --------------------------------------------------------------------------------------------------


class RunsCode:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("how", ["torch.save", "torch.save, legacy", "pickle"])
def test_a_file_that_would_run_code_is_refused_and_runs_nothing(
    tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mark, path = tmp_path / "was run", tmp_path / "step_1"
    content = {**released_sudoku(), "evil": RunsCode(mark)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content["evil"]))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch.save")
    assert main(["import", str(path), str(tmp_path / "ours")]) == 2
    told = capsys.readouterr().err
    assert "would have to run code" in told
    assert told.count("\n") == 1
    assert not mark.exists()
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "torn, or not written by torch.save"),
        (b"no checkpoint at all", "not opened|torn, or not written"),
        ({"a": 3}, "expected plain tensors.*found a: int"),
        ({"model.inner.H_init": torch.ones(3, dtype=torch.int64)}, "found model.inner.H_init: Tensor"),
        ([torch.ones(2)], "list found, expected a mapping"),
        ({}, "dict found, expected a mapping"),
        ({"conv1.weight": torch.ones(2)}, r"no model.inner.L_level.layers.*among its 1 tensors \(conv1.weight"),
    ],
)
def test_what_is_no_checkpoint_of_theirs_is_named(tmp_path: Path, content: object, told: str) -> None:
    path = tmp_path / "file"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(BadStateDict, match=told):
        import_state_dict(path, tmp_path / "ours", ASKED)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_file_damaged_anywhere_is_a_named_error_or_read_never_something_else(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "step_1"
    torch.save({"model.inner.H_init": torch.ones(3)}, path, _use_new_zipfile_serialization=not legacy)
    whole_file, random, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(200):
        damaged = bytearray(whole_file)
        damaged[random.integers(len(damaged))] = random.integers(256)
        path.write_bytes(damaged[: random.integers(1, 2 * len(damaged))])
        try:
            read_state_dict(path)
        except BadStateDict:
            refused += 1
    assert refused > 50


def test_half_a_file_is_named_as_torn(tmp_path: Path) -> None:
    path = tmp_path / "step_1"
    torch.save(released_sudoku(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadStateDict, match="torn"):
        read_state_dict(path)
    with pytest.raises(BadStateDict, match="no such file"):
        read_state_dict(tmp_path / "step_2")


def test_missing_surplus_and_misshapen_tensors_are_each_named_in_one_error(tmp_path: Path) -> None:
    theirs = released_sudoku()
    del theirs["model.inner.L_level.layers.1.mlp.down_proj.weight"], theirs["model.inner.q_head.bias"]
    theirs["model.inner.q_head.weight"] = torch.ones(3, 64)
    theirs["model.inner.extra"] = torch.ones(2, 2)
    theirs["ema"] = torch.ones(1)
    torch.save(theirs, tmp_path / "step_1")
    with pytest.raises(BadStateDict) as told:
        import_state_dict(tmp_path / "step_1", tmp_path / "ours", ASKED)
    assert str(told.value).split(": ", 1)[1] == (
        "5 tensors are wrong: model.inner.L_level.layers.1.mlp.down_proj.weight: missing, expected [64, 256];"
        " model.inner.q_head.bias: missing, expected [2]; model.inner.extra: surplus, [2, 2]; ema: surplus, [1];"
        " model.inner.q_head.weight: [3, 64], expected [2, 64]"
    )
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("name", [*released_sudoku(), "all layers of the mixer"])
def test_whichever_tensor_is_missing_it_is_an_error_of_the_file(name: str) -> None:
    theirs = {other: t for other, t in released_sudoku().items() if other != name}
    if name not in released_sudoku():
        theirs = {other: t for other, t in theirs.items() if "mlp_t.down" not in other}
    if name.endswith("H_init"):
        check(theirs, settings_of(theirs, ASKED))  # a whole checkpoint of another model
        assert settings_of(theirs, ASKED).model.features == "single z"
        return
    if name.endswith("puzzle_emb.weights"):
        with pytest.raises(BadStateDict, match="11 tokens and 97 positions without .*puzzle_emb.weights"):
            settings_of(theirs, ASKED)
        return
    with pytest.raises(BadStateDict, match=r"mlp_t.down_proj" if name.startswith("all") else name):
        check(theirs, settings_of(theirs, ASKED))


def test_given_settings_that_contradict_the_tensors_are_named() -> None:
    given = {**ASKED, "model": {**ASKED["model"], "D": 512, "mixer": "attention", "puzzle_prefix": 1}}
    with pytest.raises(BadSetting) as told:
        settings_of(released_sudoku(), given)
    for part in (
        "model.D=512 given, 64 by",
        "model.mixer=attention given, mlp by",
        "model.puzzle_prefix=1 given, 16 by",
    ):
        assert part in str(told.value)
    with pytest.raises(BadSetting, match="data.puzzle=maze given, but 11 tokens and 97 positions mean sudoku 3 3"):
        settings_of(released_sudoku(), {**ASKED, "data": {"puzzle": "maze"}})


def test_a_swiglu_of_another_width_asks_for_the_setting_that_makes_it(tiny: RunConfig) -> None:
    theirs = state_dict(tiny)
    with pytest.raises(BadSetting, match=r"mlp is 48 wide inside, but .*model.inner_multiple=256 mean 256 .* 16; set"):
        check(theirs, settings_of(theirs, ASKED))


@pytest.mark.parametrize(
    ("tokens", "positions", "puzzle"),
    [(11, 97, "sudoku"), (6, 916, "maze"), (12, 916, "arc"), (12, 116, "sudoku"), (6, 32, "sudoku"), (8, 40, "")],
)
def test_tokens_and_positions_tell_the_puzzle(tokens: int, positions: int, puzzle: str) -> None:
    theirs = released_sudoku()
    theirs["model.inner.embed_tokens.embedding_weight"] = torch.ones(tokens, 64)
    for layer in range(2):
        theirs[f"model.inner.L_level.layers.{layer}.mlp_t.down_proj.weight"] = torch.ones(positions, 512)
    if puzzle and (tokens, positions) != (12, 116):
        run = settings_of(theirs, ASKED)
        assert run.data.puzzle == puzzle
        assert run.sequence == positions
    elif tokens == 8:  # boxes of 2x3 or of 3x2
        with pytest.raises(
            SettingsNeeded, match=r"tell data.box_rows .*add --set data.box_rows=… --set data.box_cols=…"
        ):
            settings_of(theirs, ASKED)
        assert settings_of(theirs, {**ASKED, "data": {"box_rows": 3, "box_cols": 2}}).data.box_rows == 3
    else:
        with pytest.raises(SettingsNeeded, match="box_rows"):
            settings_of(theirs, ASKED)


def test_a_folder_that_holds_something_is_not_written_into(tmp_path: Path) -> None:
    torch.save(released_sudoku(), tmp_path / "step_1")
    for step in range(3):
        (tmp_path / "run" / f"step_0000000{step}").mkdir(parents=True)
    with pytest.raises(BadCheckpoint, match="exists and is not an empty folder"):
        import_state_dict(tmp_path / "step_1", tmp_path / "run", ASKED)
    assert len(list((tmp_path / "run").iterdir())) == 3


def test_an_imported_checkpoint_has_weights_only_says_so_and_is_not_resumed(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    torch.save(state_dict(tiny), tmp_path / "step_6")
    folder, run = import_state_dict(tmp_path / "step_6", tmp_path / "ours", whole(tiny))
    assert load(folder).weights_only
    assert json.loads((folder / "checkpoint.json").read_text())["weights_only"] is True
    with pytest.raises(BadCheckpoint, match="step 6 has weights only .*imported"):
        Trainer(run, puzzles, torch.device("cpu")).resume(tmp_path / "ours")


def test_a_checkpoint_of_a_run_is_exported_averaged_or_raw(tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path) -> None:
    train(tiny, puzzles, lambda *_: None, checkpoints=tmp_path / "run")
    export_checkpoint(tmp_path / "run", tmp_path / "ema")
    export_checkpoint(tmp_path / "run" / "step_00000012", tmp_path / "raw", raw=True)
    saved = load(tmp_path / "run" / "step_00000012")
    raw = {name.removeprefix("model/"): t for name, t in saved.training.items() if name.startswith("model/")}
    assert same_bits(read_state_dict(tmp_path / "ema"), to_theirs(saved.weights, tiny.model))
    assert same_bits(read_state_dict(tmp_path / "raw"), to_theirs(raw, tiny.model))
    assert not same_bits(read_state_dict(tmp_path / "ema"), read_state_dict(tmp_path / "raw"))
    with pytest.raises(CannotExport, match="exists; choose another name"):
        export_checkpoint(tmp_path / "run", tmp_path / "ema")
    with pytest.raises(CannotExport, match=r"not written .*choose another place"):
        export_checkpoint(tmp_path / "run", tmp_path / "no folder" / "file")

    assert not saved.weights_only
    step = tmp_path / "run" / "step_00000012"
    _, run = import_state_dict(tmp_path / "ema", tmp_path / "again", read_settings(step / "checkpoint.json"))
    assert run == tiny.change({"train": {"activation_checkpointing": "false"}})  # "auto", as it was decided
    assert same_bits(load(tmp_path / "again" / "step_00000000").weights, saved.weights)


@pytest.mark.parametrize(
    "model",
    [
        {"channel_mlp": "mixture of experts"},
        {"output_head": "tied"},
        {"single_z": "figure 4", "features": "single z"},
    ],
)
def test_what_the_released_code_does_not_have_is_not_exported(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path, model: dict[str, str]
) -> None:
    run = tiny.change({"model": model, "train": {"steps": 1}})
    train(run, puzzles, lambda *_: None, checkpoints=tmp_path)
    with pytest.raises(CannotExport, match=f'"{next(iter(model.values()))}".*the released code has only'):
        export_checkpoint(tmp_path, tmp_path / "file")


def test_heads_that_have_not_d_channels_are_told_by_their_number(tiny: RunConfig) -> None:
    run = tiny.change({"model": VARIANTS["direct prediction, 3 heads of 4"]})
    given = whole(run)
    del given["model"]["head_channels"]
    assert settings_of(state_dict(run), given).model.head_channels == 4
    given["model"]["n_heads"] = 5
    with pytest.raises(BadSetting, match="model.n_heads=5 given, but the 36 rows of qkv_proj"):
        settings_of(state_dict(run), given)


def test_only_weights_means_no_raw_ones(tmp_path: Path) -> None:
    torch.save(released_sudoku(), tmp_path / "step_1")
    import_state_dict(tmp_path / "step_1", tmp_path / "ours", ASKED)
    with pytest.raises(CannotExport, match="no raw weights"):
        export_checkpoint(tmp_path / "ours", tmp_path / "raw", raw=True)


def test_the_command_imports_and_exports_and_tells_what_it_saw(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(released_sudoku(), tmp_path / "step_9")
    (tmp_path / "run.json").write_text(json.dumps(ASKED))
    arguments = ["import", str(tmp_path / "step_9"), str(tmp_path / "ours"), "--settings", str(tmp_path / "run.json")]
    assert main([*arguments, "--set", "model.T=2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == str(tmp_path / "ours" / "step_00000009")
    assert (
        "sudoku, mixer mlp, networks one, features y,z, T=2, n=6, N_sup=16, 2 layers, D=64, puzzle prefix 16" in out[1]
    )
    assert main(["export", str(tmp_path / "ours"), str(tmp_path / "theirs"), "--compiled"]) == 0
    assert same_bits(torch.load(tmp_path / "theirs", weights_only=True), released_sudoku("_orig_mod."))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            [],
            "tensors do not tell model.T (H_cycles), model.n (L_cycles), model.N_sup (halt_max_steps), model.gradient",
        ),
        (["--set", "model.Q=3"], "model.Q: no such setting"),
        (["--set", "model.T"], "expected NAME=VALUE"),
        (["--settings", "nowhere.json"], "nowhere.json: cannot be read as JSON"),
        (["--sett", "x"], "unrecognized arguments: --sett x"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    torch.save(released_sudoku(), tmp_path / "step_9")
    assert main(["import", str(tmp_path / "step_9"), str(tmp_path / "ours"), *arguments]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("text", ["[1]", '{"model": 3}', "{"])
def test_a_settings_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadSetting, match=r"run.json: .*such as"):
        read_settings(tmp_path / "run.json")
