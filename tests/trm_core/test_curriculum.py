"""The depth curriculum: its text, its stages, its cost, and a run that stops in the middle of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data_prep.puzzle_set import PuzzleSet
from trm_core.config import RunConfig
from trm_core.curriculum import Depth, read_curriculum, spelt
from trm_core.model import Model
from trm_core.settings import BadSetting
from trm_core.trainer import Trainer

GROWING = "train.curriculum=T=1 n=2 until 0.3; T=2 n=4 until 0.6"
CPU = torch.device("cpu")


def test_a_curriculum_says_the_depth_of_every_step_and_ends_with_the_models_own() -> None:
    run = RunConfig().set([GROWING, "train.steps=10"])
    assert [run.depth_at(step) for step in range(12)] == [*[Depth(1, 2)] * 3, *[Depth(2, 4)] * 3, *[Depth(3, 6)] * 6]


def test_without_a_curriculum_every_step_has_the_models_own_depth_and_the_key_is_as_it_was() -> None:
    run = RunConfig()
    assert {run.depth_at(0), run.depth_at(65103)} == {Depth(3, 6)}
    assert run.set(["train.curriculum=none"]).key("puzzles") == run.key("puzzles")


def test_spaces_and_zeros_in_a_curriculum_are_no_part_of_the_key() -> None:
    spaced = RunConfig().set(["train.curriculum= T=1  n=2 until .300;T=2 n=4 until 0.60 "])
    assert spaced == RunConfig().set([GROWING])
    assert read_curriculum(spelt(read_curriculum(spaced.train.curriculum))) == read_curriculum(GROWING[17:])


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["train.curriculum=1x2"], "found '1x2', expected stages like"),
        (["train.curriculum=T=1 n=2 until 0.6; T=2 n=4 until 0.6"], "until 0.6 after 0.6; fractions rise"),
        (["train.curriculum=T=1 n=2 until 1.0"], "fractions rise and lie within 0 and 1"),
        (["train.curriculum=T=1 n=0 until 0.5"], "a T and an n of 1 or more"),
        (["train.curriculum=T=4 n=2 until 0.5"], "grows up to the model's own depth"),
        (["train.curriculum=T=1 n=7 until 0.5"], "grows up to the model's own depth"),
        ([GROWING, "model.features=multi-scale z"], "another n would be another number of features"),
        ([GROWING, "model.gradient=last k", "model.gradient_k=4"], "as many recursions as carry a gradient"),
    ],
)
def test_a_curriculum_that_cannot_be_is_refused_in_one_line(assignments: list[str], said: str) -> None:
    with pytest.raises(BadSetting, match=said) as refused:
        RunConfig().set(assignments)
    assert "\n" not in str(refused.value)


def test_the_training_work_is_that_of_each_step_at_its_depth() -> None:
    run = RunConfig().set([GROWING, "train.steps=10", "train.batch_size=2"])

    def fixed(T: int, n: int) -> int:
        return RunConfig().set([f"model.T={T}", f"model.n={n}"]).train_flops()

    by_step = [2 * flops for flops in [*[fixed(1, 2)] * 3, *[fixed(2, 4)] * 3, *[fixed(3, 6)] * 4]]
    assert run.train_work() == sum(by_step)
    assert [run.train_work(steps) for steps in (0, 4, 99)] == [0, sum(by_step[:4]), sum(by_step)]


def test_a_model_at_a_curriculums_depth_computes_what_a_model_of_that_depth_computes(
    tiny: RunConfig, puzzles: PuzzleSet
) -> None:
    deep, shallow = tiny.set(["model.T=3", "model.n=4"]), tiny.set(["model.T=1", "model.n=2"])
    inputs = torch.from_numpy(puzzles.train.inputs[:4].astype("int64"))
    found = []
    for run, depth in ((deep, Depth(1, 2)), (shallow, None)):
        model = Model(run)
        vectors = model.puzzle_vectors(torch.zeros(4, dtype=torch.int64))
        _, logits, _ = model(inputs, vectors, model.initial_features(4), depth)
        logits.sum().backward()
        assert model.embed_tokens.grad is not None
        found.append((logits, model.embed_tokens.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_a_run_stopped_within_its_curriculum_goes_on_as_if_it_had_not_been(
    tiny: RunConfig, puzzles: PuzzleSet, tmp_path: Path
) -> None:
    run = tiny.set(
        ["model.T=2", "model.n=3", "train.steps=6", "train.curriculum=T=1 n=1 until 0.34; T=1 n=3 until 0.7"]
    )
    whole, first = Trainer(run, puzzles, CPU), Trainer(run, puzzles, CPU)
    for _ in range(6):
        whole.take_step()
    for _ in range(3):
        first.take_step()
    first.save(tmp_path)
    resumed = Trainer(run, puzzles, CPU)
    resumed.resume(tmp_path)
    for _ in range(3):
        resumed.take_step()
    for (name, ours), theirs in zip(whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name


def test_the_first_steps_of_a_curriculum_are_those_of_a_run_of_that_depth(tiny: RunConfig, puzzles: PuzzleSet) -> None:
    growing = tiny.set(["model.T=2", "model.n=3", "train.steps=4", "train.curriculum=T=1 n=1 until 0.5"])
    shallow = tiny.set(["model.T=1", "model.n=1", "train.steps=4"])
    one, other = Trainer(growing, puzzles, CPU), Trainer(shallow, puzzles, CPU)
    for same in (True, True, False):
        one.take_step()
        other.take_step()
        assert torch.equal(one.model.embed_tokens, other.model.embed_tokens) is same
