"""RunConfig: what it refuses, what it is called, what it costs."""

import re

import pytest

from trm_core.config import RunConfig
from trm_core.settings import NOT_IN_THE_KEY, BadSetting, DataSettings

SEPARATE = {"model": {"networks": "separate"}}


@pytest.mark.parametrize(
    ("assignment", "meant"),
    [
        ("model.d=96", "model.D"),
        ("modle.D=96", "model.D"),
        ("D=96", "model.D"),
        ("train.D=96", "model.D"),
        ("n_sup=4", "model.N_sup"),
        ("model.layers=4", "model.n_layers"),
        ("optim.steps=9", "train.steps"),
        ("stesp=9", "train.steps"),
        ("seed=1", "data.seed or train.seed"),
    ],
)
def test_a_misspelt_setting_is_refused_and_the_one_meant_is_named(assignment: str, meant: str) -> None:
    name = assignment.partition("=")[0]
    with pytest.raises(BadSetting, match=re.escape(f"{name}: no such setting; did you mean {meant}?")):
        RunConfig().set([assignment])


def test_a_setting_like_no_other_is_refused_with_the_list_of_all() -> None:
    with pytest.raises(BadSetting, match=r"xyzzy: no such setting; settings are data\.allow_leak, .*train\.steps"):
        RunConfig().set(["xyzzy=1"])


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("model.D=ninety", "model.D='ninety': input should be a valid integer"),
        ("model.T=2.5", "model.T=2.5: input should be a valid integer"),
        ("train.seed=true", "train.seed='true': input should be a valid integer"),
        ("model.D=none", "model.D='none': input should be a valid integer"),
        ("model.n=-1", "model.n=-1: input should be greater than or equal to 0"),
        ("optim.lr=-1", "optim.lr=-1: input should be greater than 0"),
        ("optim.lr=nan", "optim.lr='nan': input should be a finite number"),
        ("optim.lr=NaN", "optim.lr=nan: input should be a finite number"),
        ("optim.ema=1", "optim.ema=1: input should be less than 1"),
        ("model.mixer=mpl", "model.mixer='mpl': input should be 'mlp' or 'attention'"),
        ("data.box_rows=9", "data.box_rows=9: input should be less than or equal to 6"),
        ("model.D", "--set model.D: expected NAME=VALUE"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_named_with_what_was_expected(assignment: str, said: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(said)) as error:
        RunConfig().set([assignment])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {"features": "single z", "networks": "separate"}}, "set model.features"),
        ({"model": {"features": "multi-scale z", "gradient": "one step"}}, "set model.features"),
        (
            {"model": {"features": "single z", "gradient": "last k", "gradient_k": 3}},
            "cuts the gradient short for y and z",
        ),
        ({"model": {"features": "y"}}, "model.n=6: direct prediction"),
        ({"model": {"n": 0}}, 'model.features="y,z" with model.n=0'),
        ({"model": {"features": "y", "n": 0, "T": 2}}, "direct prediction is one pass; set model.T=1"),
        ({"model": {"features": "y", "n": 0, "T": 1, "networks": "separate"}}, "separate networks for y and z only"),
        ({"model": {"gradient": "last k"}}, '"last k" needs the number'),
        ({"model": {"gradient_k": 4}}, '"last k" needs the number'),
        ({"model": {"gradient": "last k", "gradient_k": 8}}, "only n+1 = 7 recursions"),
        ({"model": {"gradient": "last k", "gradient_k": 1}}, "greater than or equal to 2"),
        ({"model": {"experts_per_token": 5}}, "cannot take more experts than there are"),
        ({"model": {"mixer": "attention", "D": 100}}, "even multiple of model.n_heads"),
        ({"model": {"mixer": "attention", "D": 24, "n_heads": 8}}, "even multiple of model.n_heads"),
        ({"model": {"mixer": "attention", "head_channels": 41}}, "a head has 41 channels"),
        ({"model": {"single_z": "figure 4"}}, "only a single z can do without x in"),
        ({"data": {"source": "generated"}}, "set data.test"),
        ({"data": {"clues": 20}}, "data.clues"),
        ({"modle": {"D": 96}}, "modle: no such section; sections are data, model, optim, train"),
    ],
)
def test_what_cannot_go_together_is_refused_by_name(change: dict[str, dict[str, object]], said: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(said)):
        RunConfig().change(change)


def test_all_offences_are_told_at_once() -> None:
    with pytest.raises(BadSetting) as error:
        RunConfig.parse({"model": {"D": 1, "TT": 3}, "train": {"steps": 0}})
    for name in ("model.D=1", "model.TT: no such setting; did you mean", "train.steps=0"):
        assert name in str(error.value)


def test_a_section_that_is_no_section_of_settings_is_refused() -> None:
    with pytest.raises(BadSetting, match="model=3"):
        RunConfig.parse({"model": 3})


def test_assignments_apply_in_order_and_leave_the_run_they_start_from_alone() -> None:
    run = RunConfig()
    changed = run.set(["model.D=96", "optim.ema=none", "model.D=128", "model.features=single z"])
    assert (changed.model.D, changed.optim.ema, changed.model.features) == (128, None, "single z")
    assert run == RunConfig()


# --- the key ---------------------------------------------------------------------------------------------------------


def test_published_defaults_keep_their_key_for_ever() -> None:
    # Golden: if one of these changes, every run recorded under the old defaults is orphaned.
    assert RunConfig().key("") == "6ab8b5a6588f029e"
    assert RunConfig().key("0" * 64) == "471c4c8704c36538"
    assert RunConfig().set(["model.n=2", "model.T=1"]).key("") == "c5bcbe23d95398cd"


def test_equal_settings_have_equal_keys_however_they_were_written() -> None:
    plain = RunConfig()
    assert plain.set(["model.D=512", "optim.lr=0.0001", "model.T=3.0"]).key("h") == plain.key("h")
    assert plain.set(["optim.weight_decay=2"]).key("h") == plain.change({"optim": {"weight_decay": 2.0}}).key("h")
    assert plain.set(["model.n=2", "model.T=1"]).key("h") == plain.set(["model.T=1", "model.n=2"]).key("h")


def test_activation_checkpointing_is_read_from_records_of_when_it_was_a_truth() -> None:
    for said, word in ((True, "true"), (False, "false"), ("True", "true"), ("auto", "auto")):
        run = RunConfig.parse({"train": {"activation_checkpointing": said}})
        assert run.train.activation_checkpointing == word
        assert run == RunConfig().set([f"train.activation_checkpointing={said}"])
        assert run.train.recomputes == (word == "true")
    with pytest.raises(BadSetting, match="activation_checkpointing=1: input should be 'auto', 'true' or 'false'"):
        RunConfig.parse({"train": {"activation_checkpointing": 1}})


def test_what_moves_no_number_is_no_part_of_the_key() -> None:
    changes = {
        "log_every": 3, "checkpoint_every": 7, "activation_checkpointing": "true", "compile": "off",
        "evaluate_apart": "true", "diagnostics": "true",
    }  # fmt: skip
    assert set(changes) == set(NOT_IN_THE_KEY)
    for name, value in changes.items():
        changed = RunConfig().set([f"train.{name}={value}"])
        assert changed != RunConfig()
        assert changed.key("h") == RunConfig().key("h")


def test_every_other_setting_and_the_puzzles_change_the_key() -> None:
    other: dict[str, object] = {
        "data.source": "generated", "data.test": 77, "data.clues": 30, "model.mixer": "attention",
        "model.networks": "separate", "model.features": "single z", "model.gradient": "one step",
        "model.halting": "q_learning", "model.loss": "softmax", "optim.name": "adamw", "optim.schedule": "cosine",
        "optim.ema_covers": "network", "optim.final_lr": 0.5, "train.precision": "fp32", "train.eval_N_sup": 5,
        "model.channel_mlp": "mixture of experts", "model.output_head": "tied", "data.puzzle": "maze",
        "model.gradient_k": 4, "data.least_path": 18, "data.subsets": "training2,evaluation2",
        "data.test_subset": "evaluation2", "data.allow_leak": "true", "data.maze_augmentation": "recomputed",
        "model.positions": "learned", "model.head_channels": 42, "model.single_z": "figure 4",
        "data.side": 10, "train.votes": 8, "train.evaluate_on": "validation", "train.curriculum": "T=1 n=2 until 0.5",
        "train.eval_halt": "settled",
    }  # fmt: skip
    base = RunConfig().set(["data.source=generated", "data.test=10"])
    left_out = {"data.source", *(f"train.{name}" for name in NOT_IN_THE_KEY)}
    names = [name for name in base.flat() if name not in left_out]
    keys = {base.key("h"), base.key("other puzzles"), RunConfig().key("h")}
    for name in names:
        value = other.get(name)
        if value is None:
            now = base.flat()[name]
            value = now / 2 if isinstance(now, float) else 4 if name.startswith("data.box") else now + 1
        alone_without_sense = {
            "model.gradient_k": "model.gradient=last k",
            "model.single_z": "model.features=single z",
        }
        together = [alone_without_sense[name]] if name in alone_without_sense else []
        keys.add(base.set([f"{name}={value}", *together]).key("h"))
    assert len(keys) == len(names) + 3


def test_a_run_that_looks_at_validation_alone_needs_validation_puzzles() -> None:
    alone = RunConfig().set(["train.evaluate_on=validation"])
    assert (RunConfig().looks_at_test, alone.looks_at_test) == (True, False)
    with pytest.raises(
        BadSetting, match=r'^train.evaluate_on="validation" with data.validation=0: no puzzles are held'
    ):
        alone.set(["data.validation=0"])


# --- depth and cost --------------------------------------------------------------------------------------------------


class _Maze(DataSettings):
    """30x30 mazes, six tokens: only their size matters here."""

    @property
    def cells(self) -> int:
        return 900

    @property
    def vocabulary(self) -> int:
        return 6


@pytest.mark.parametrize(
    ("name", "change", "maze", "count"),
    [
        ("TRM-MLP, Sudoku", {}, False, 5_028_866),
        ("TRM-Att, Sudoku", {"mixer": "attention"}, False, 6_828_034),
        ("TRM-Att, Maze", {"mixer": "attention"}, True, 6_822_914),
        ("TRM-MLP, Maze", {}, True, 18_795_522),
        ("4-layer MLP", {"n_layers": 4}, False, 10_045_442),
        ("HRM", {"mixer": "attention", "networks": "separate", "n_layers": 4}, False, 27_275_266),
        ("direct prediction", {"mixer": "attention", "n_layers": 8}, False, 27_275_266),
    ],
)
def test_parameters_are_those_of_the_released_models(
    name: str, change: dict[str, object], maze: bool, count: int
) -> None:
    run = RunConfig(data=_Maze() if maze else DataSettings(), model=RunConfig().change({"model": change}).model)
    assert run.parameters() == count


@pytest.mark.parametrize(
    ("row", "change", "depth", "nfp"),
    [
        ("HRM", {"n": 2, "T": 2, "n_layers": 4, "halting": "q_learning", **SEPARATE["model"]}, 24, 2),
        ("TRM", {}, 42, 1),
        ("w/ ACT", {"halting": "q_learning"}, 42, 2),
        ("w/ separate f_H, f_L", SEPARATE["model"], 42, 1),
        ("w/ 4 layers, n=3", {"n_layers": 4, "n": 3}, 48, 1),
        ("w/ self-attention", {"mixer": "attention"}, 42, 1),
        ("w/ T=2, n=2", {"T": 2, "n": 2}, 12, 1),
        ("w/ 1-step gradient", {"gradient": "one step"}, 42, 1),
    ],
)
def test_depth_and_forward_passes_are_those_of_table_1(
    row: str, change: dict[str, object], depth: int, nfp: int
) -> None:
    model = RunConfig().change({"model": change}).model
    assert (model.depth, model.nfp) == (depth, nfp)


def test_forward_operations_are_two_per_weight_and_position_they_are_applied_at() -> None:
    # Counted by hand for one layer: D=2, L=16, inner width 256 both ways, V=6, attention absent.
    run = RunConfig().set(
        ["data.box_rows=2", "data.box_cols=2", "model.puzzle_prefix=0", "model.D=2", "model.n_heads=1"]
    )
    run = run.set(["model.T=1", "model.n=1", "model.n_layers=1"])
    channel_mlp = 16 * (2 * 2 * 512 + 2 * 256 * 2)
    position_mlp = 2 * (2 * 16 * 512 + 2 * 256 * 16)
    assert run.forward_flops() == 2 * (channel_mlp + position_mlp) + 16 * 2 * 2 * 6


def test_training_costs_more_with_full_recursion_than_with_one_step_and_doubles_its_forward_with_act() -> None:
    full, one = RunConfig(), RunConfig().set(["model.gradient=one step"])
    act = RunConfig().set(["model.halting=q_learning"])
    assert full.forward_flops() == one.forward_flops() < one.train_flops() < full.train_flops()
    assert act.train_flops() - full.train_flops() == full.forward_flops()
