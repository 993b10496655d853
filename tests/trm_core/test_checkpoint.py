from __future__ import annotations

import hashlib
import json
import logging
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from trm_core import checkpoint as checkpoints
from trm_core.checkpoint import (
    BadCheckpoint,
    Checkpoint,
    CheckpointNotWritten,
    keep_weights,
    load,
    newest,
    open_at,
    run_of,
    save,
)
from trm_core.config import RunConfig
from trm_core.model import Model


def _checkpoint(step: int = 3, numbers: int = 4) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    weights = {"f_z.weight": torch.randn(numbers, 2, generator=generator)}
    training = {
        "model/f_z.weight": torch.randn(numbers, 2, generator=generator),
        "slots/halted": torch.tensor([True, False]),
        "slots/features.0": torch.randn(2, 3, generator=generator).bfloat16(),
        "optim/f_z.weight/step": torch.tensor(float(step)),
    }
    return Checkpoint(step, {"model": {"D": 2}}, "hash", weights, training)


def test_what_was_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    saved = _checkpoint()
    again = load(save(saved, tmp_path))
    assert (again.step, again.settings, again.data_hash) == (saved.step, saved.settings, saved.data_hash)
    for ours, theirs in ((saved.weights, again.weights), (saved.training, again.training)):
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            assert tensor.dtype == theirs[name].dtype
            assert torch.equal(tensor, theirs[name])


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    for step in (2, 4, 10):
        save(_checkpoint(step), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000004", "step_00000010"]
    found = newest(tmp_path)
    assert found is not None
    assert found.step == 10


def test_no_checkpoint_is_not_an_error(tmp_path: Path) -> None:
    assert newest(tmp_path) is None
    assert newest(tmp_path / "never made") is None


def test_a_checkpoint_is_named_by_its_folder_by_the_folder_of_them_and_by_its_run(tmp_path: Path) -> None:
    for step in (2, 4):
        save(_checkpoint(step), tmp_path / "checkpoints")
    steps = [open_at(tmp_path / at).step for at in ("checkpoints/step_00000002", "checkpoints", ".")]
    assert steps == [2, 4, 4]
    with pytest.raises(BadCheckpoint, match="expected a step_… folder, a folder of them, or a run's"):
        open_at(tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["weights.safetensors", "training.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("harm", ["cut short", "one bit turned", "gone"])
def test_a_torn_checkpoint_is_named_and_the_one_before_it_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, harm: str
) -> None:
    save(_checkpoint(2), tmp_path)
    file = save(_checkpoint(4), tmp_path) / name
    content = bytearray(file.read_bytes())
    if harm == "gone":
        file.unlink()
    elif harm == "cut short":
        file.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2 if name.endswith("safetensors") else content.index(b"sha256")] ^= 1
        file.write_bytes(content)
    with pytest.raises(BadCheckpoint, match="step_00000004"):
        load(file.parent)
    with caplog.at_level(logging.WARNING):
        found = newest(tmp_path)
    assert found is not None
    assert found.step == 2
    assert "step_00000004" in caplog.text
    assert "using the one before it" in caplog.text


@pytest.mark.parametrize("steps", [(2,), (2, 4)])
def test_where_all_are_bad_it_says_so_instead_of_starting_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, steps: tuple[int, ...]
) -> None:
    for step in steps:
        (save(_checkpoint(step), tmp_path) / "weights.safetensors").write_bytes(b"")
    with pytest.raises(BadCheckpoint, match="no good checkpoint.*delete"), caplog.at_level(logging.WARNING):
        newest(tmp_path)
    assert caplog.text == ""  # no one before it is good


@pytest.mark.parametrize("harm", ["torn", "gone"])
@pytest.mark.parametrize("place", ["checkpoints/step_00000002", "checkpoints", "."])
def test_weights_lost_from_a_runs_folder_are_looked_for_in_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(_checkpoint(2), tmp_path / "checkpoints")
    if harm == "torn":
        (path / "weights.safetensors").write_bytes(b"")
    else:
        shutil.rmtree(path)
    with pytest.raises(BadCheckpoint) as error:
        open_at(Path(place))
    assert "MLflow" not in str(error.value)  # a folder of weights that is no run's
    (tmp_path / "metrics.jsonl").touch()
    with pytest.raises(BadCheckpoint) as in_a_run:
        open_at(Path(place))
    assert str(in_a_run.value).startswith(f"{error.value}; if the run has ended, its weights are also in MLflow")
    assert "runs:/RUN_ID/model" in str(in_a_run.value)


def test_a_checkpoint_of_another_format_is_refused(tmp_path: Path) -> None:
    path = save(_checkpoint(), tmp_path)
    manifest = json.loads((path / "checkpoint.json").read_text())
    (path / "checkpoint.json").write_text(json.dumps(manifest | {"format": 99}))
    with pytest.raises(BadCheckpoint, match="format 99, this version reads 1"):
        load(path)


def test_a_pickle_in_the_place_of_the_weights_is_refused_and_not_run(tmp_path: Path) -> None:
    import hashlib
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "was run",))

    path = save(_checkpoint(), tmp_path)
    (path / "weights.safetensors").write_bytes(pickle.dumps(Evil()))
    manifest = json.loads((path / "checkpoint.json").read_text())
    manifest["sha256"]["weights.safetensors"] = hashlib.sha256((path / "weights.safetensors").read_bytes()).hexdigest()
    (path / "checkpoint.json").write_text(json.dumps(manifest))
    with pytest.raises(BadCheckpoint, match="not safetensors"):
        load(path)
    assert not (tmp_path / "was run").exists()


@pytest.fixture
def _files_of_at_most_64_kb() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("_files_of_at_most_64_kb")
def test_a_disk_that_refuses_to_take_more_leaves_the_previous_checkpoint_intact(tmp_path: Path) -> None:
    save(_checkpoint(2), tmp_path)
    with pytest.raises(CheckpointNotWritten, match="step_00000004: not written.*intact"):
        save(_checkpoint(4, numbers=50_000), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000002"]
    found = newest(tmp_path)
    assert found is not None
    assert found.step == 2


def test_what_a_killed_save_left_behind_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    (tmp_path / ".step_00000004.partial").mkdir()
    (tmp_path / ".step_00000004.partial" / "weights.safetensors").write_bytes(b"half")
    assert newest(tmp_path) is None
    assert load(save(_checkpoint(4), tmp_path)).step == 4
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000004"]


def test_of_a_run_that_has_ended_the_evaluated_weights_stay_and_nothing_else(tmp_path: Path) -> None:
    save(_checkpoint(2), tmp_path)
    (tmp_path / ".step_00000003.partial").mkdir()
    path = save(_checkpoint(4, numbers=10_000), tmp_path)
    before = load(path)
    for _ in range(2):  # twice is as once
        keep_weights(path)
        after = load(path)
        assert (after.step, after.settings, after.data_hash) == (before.step, before.settings, before.data_hash)
        assert torch.equal(after.weights["f_z.weight"], before.weights["f_z.weight"])
        assert after.weights_only
        assert [each.name for each in tmp_path.iterdir()] == ["step_00000004"]
        assert {each.name for each in path.iterdir()} == {
            "weights.safetensors",
            "training.safetensors",
            "checkpoint.json",
        }
        assert sum(each.stat().st_size for each in path.iterdir()) < 4 * 2 * 10_000 + 1_000


def test_a_torn_checkpoint_is_not_trimmed_and_what_is_beside_it_stays(tmp_path: Path) -> None:
    save(_checkpoint(2), tmp_path)
    path = save(_checkpoint(4), tmp_path)
    (path / "training.safetensors").write_bytes(b"torn")
    with pytest.raises(BadCheckpoint, match="step_00000004"):
        keep_weights(path)
    found = newest(tmp_path)
    assert found is not None
    assert found.step == 2


def test_weights_alone_take_the_place_of_whatever_lies_where_the_training_state_did(tmp_path: Path) -> None:
    path = save(_checkpoint(4), tmp_path)
    before = load(path)
    keep_weights(path)
    (path / "training.safetensors").unlink()
    (path / "training.safetensors" / "of somebody").mkdir(parents=True)
    keep_weights(path)
    after = load(path)
    assert after.weights_only
    assert all(torch.equal(after.weights[name], tensor) for name, tensor in before.weights.items())
    assert sorted(one.name for one in path.iterdir()) == [
        "checkpoint.json",
        "training.safetensors",
        "weights.safetensors",
    ]


def test_weights_that_cannot_be_kept_alone_leave_nothing_half_written(tmp_path: Path) -> None:
    path = save(_checkpoint(4), tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))  # enough for one of the two files
    try:
        with pytest.raises(CheckpointNotWritten, match="intact, but its training state could not be dropped"):
            keep_weights(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(path.glob(".*"))
    assert not load(path).weights_only


def test_killed_before_any_step_of_the_trimming_the_weights_open_and_it_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = 0

    def killed_when_none_is_left(act: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            nonlocal left
            if not left:
                raise KeyboardInterrupt  # as a kill: nothing is cleaned up
            left -= 1
            return act(*args, **options)

        return step

    for steps in range(20):
        folder = tmp_path / str(steps)
        save(_checkpoint(2), folder)
        path = save(_checkpoint(4), folder)
        left = steps
        with monkeypatch.context() as patched:
            for owner, name in (
                (shutil, "rmtree"),
                (checkpoints, "save_file"),
                (checkpoints, "_to_disk"),
                (Path, "write_text"),
                (Path, "replace"),
            ):
                patched.setattr(owner, name, killed_when_none_is_left(getattr(owner, name)))
            try:
                keep_weights(path)
                break
            except KeyboardInterrupt:
                pass
        found = newest(folder)
        assert found is not None
        assert found.step == 4
        assert torch.equal(found.weights["f_z.weight"], _checkpoint(4).weights["f_z.weight"])
        keep_weights(path)
        assert load(path).weights_only
        assert len(list(folder.iterdir())) == 1
    assert steps == 9, "remove, write two files, and bring both to the disk and to their place"


# --- what somebody else may have written ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"format": 1, "step": Infinity}', "Infinity is no number"),
        ('{"format": 1, "step": 1e999, "sha256": {}, "settings": {}, "data_hash": ""}', "step inf, expected 0 or more"),
        ('{"format": 1, "step": -1, "sha256": {}, "settings": {}, "data_hash": ""}', "step -1, expected 0 or more"),
        ('{"format": 1, "step": ' + "9" * 4000 + ', "sha256": {}, "settings": {}, "data_hash": ""}', "step 99"),
        ('{"format": 1, "step": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ('{"format": "' + "x" * 5000 + '", "step": 1, "sha256": {}, "settings": {}, "data_hash": ""}', "format xx"),
        ('{"format": 1, "step": 1, "sha256": 3, "settings": {}, "data_hash": ""}', "unreadable"),
        ("7", "unreadable"),
        ("[]", "unreadable"),
        ("\0", "unreadable"),
    ],
)
def test_a_record_that_nobody_should_read_is_a_bad_checkpoint_of_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = save(_checkpoint(), tmp_path)
    (path / "checkpoint.json").write_text(text)
    with pytest.raises(BadCheckpoint, match=told) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["weights.safetensors", "checkpoint.json"])
def test_a_pipe_in_a_checkpoint_is_not_waited_for(tmp_path: Path, name: str) -> None:
    path = save(_checkpoint(), tmp_path)
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(BadCheckpoint, match=r"a pipe, not a file|missing"):
        load(path)


def test_safetensors_of_another_making_are_no_traceback_even_with_the_recorded_sum(tmp_path: Path) -> None:
    path = save(_checkpoint(), tmp_path)
    record = json.loads((path / "checkpoint.json").read_text())
    for content in (b"", b"\xff" * 8, (2**60).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]"):
        (path / "weights.safetensors").write_bytes(content)
        record["sha256"]["weights.safetensors"] = hashlib.sha256(content).hexdigest()
        (path / "checkpoint.json").write_text(json.dumps(record))
        with pytest.raises(BadCheckpoint, match="not safetensors") as caught:
            load(path)
        assert "\n" not in str(caught.value)


TINY: dict[str, dict[str, Any]] = {
    "data": {"box_rows": 2, "box_cols": 2},
    "model": {"D": 8, "n_heads": 2, "n_layers": 1, "puzzle_prefix": 0, "inner_multiple": 8},
}


def _of_settings(change: dict[str, dict[str, Any]]) -> Checkpoint:
    """A model's weights with other settings beside them."""
    run = RunConfig.parse(TINY)
    settings = run.model_dump(mode="json")
    for section, fields in change.items():
        settings[section] |= fields
    return Checkpoint(1, settings, "", dict(Model(run).state_dict()), {})


def test_settings_that_fit_their_weights_are_those_of_the_run() -> None:
    assert run_of(_of_settings({})) == RunConfig.parse(TINY)
    for name in ("multi-scale z", "single z"):
        run = RunConfig.parse(TINY).change({"model": {"features": name, "puzzle_prefix": 2}})
        assert run_of(Checkpoint(1, run.model_dump(mode="json"), "", dict(Model(run, 5).state_dict()), {})) == run


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model": {"D": 10**9}}, "numbers, a model of those has more than 10\\^18"),
        ({"model": {"D": 10**300}}, "has more than 10\\^18|gives no width"),
        ({"model": {"n_layers": 10**9}}, "its weights do not fit its settings"),
        ({"model": {"features": "multi-scale z", "n": 10**9}}, "its weights do not fit its settings"),
        ({"model": {"channel_mlp": "mixture of experts", "n_experts": 10**9}}, "its weights do not fit its settings"),
        ({"model": {"expansion": 1e308}}, "gives no width"),
        ({"model": {"T": 10**12}}, "network passes for an answer, expected at most 1,000,000"),
        ({"model": {"N_sup": 10**12}}, "network passes for an answer, expected at most 1,000,000"),
    ],
)
def test_settings_are_held_against_the_weights_before_a_model_is_made_of_them(
    change: dict[str, dict[str, Any]], told: str
) -> None:
    with pytest.raises(BadCheckpoint, match=told) as caught:
        run_of(_of_settings(change))
    assert len(str(caught.value)) < 300


def test_positions_beyond_all_puzzles_are_refused_where_no_weight_counts_them() -> None:
    attention = {"mixer": "attention", "puzzle_prefix": 1}
    run = RunConfig.parse(TINY).change({"model": attention})
    settings = run.change({"model": {"puzzle_prefix": 10**9}}).model_dump(mode="json")
    with pytest.raises(BadCheckpoint, match="its settings mean 1,000,000,016 positions, expected at most 65,536"):
        run_of(Checkpoint(1, settings, "", dict(Model(run).state_dict()), {}))


def test_weights_that_are_no_numbers_with_a_fraction_are_refused() -> None:
    saved = _of_settings({})
    saved.weights["embed_tokens"] = saved.weights["embed_tokens"].to(torch.complex64)
    with pytest.raises(BadCheckpoint, match="embed_tokens is no matrix of numbers"):
        run_of(saved)
