"""RunConfig's operations against torch's own counter, at full size: on the meta device, of shapes without numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from data_prep.puzzle_set import PuzzleSet
from sweeps.profiles import configure
from sweeps.study import ProfileName, Row, all_studies
from trm_core.config import RunConfig
from trm_core.model import Model
from trm_core.trainer import Trainer


def _at_full_size(row: Row) -> ProfileName:
    return "official" if "official" in row.profiles else row.profiles[0]


EVERY_RUN = {
    f"{study.name}: {row.name}": configure(study, row, _at_full_size(row), 0, ["train.activation_checkpointing=false"])
    for study in all_studies()
    for row in study.rows
}


def _shallow(run: RunConfig) -> RunConfig:
    """The same with two deep recursions of at most two latent ones, in which everything happens that ever does."""
    m = run.model
    n = min(m.n, 2)
    k = None if m.gradient_k is None else min(m.gradient_k, n + 1)
    shallow = {"T": min(m.T, 2), "n": n, "gradient_k": k}
    return run.change({"model": shallow, "train": {"curriculum": "none"}})


def _architecture(run: RunConfig) -> str:
    """What tells apart the networks of two runs, and how they are applied."""
    not_here = {"N_sup", "exploration", "halting_loss_weight", "loss", "halting"}
    return f"{run.data.cells} {run.data.vocabulary} {run.model.nfp} {run.model.model_dump_json(exclude=not_here)}"


ARCHITECTURES = {_architecture(run): (name, run) for name, run in ((n, _shallow(r)) for n, r in EVERY_RUN.items())}
DEPTHS = sorted({(run.model.T, run.model.n) for run in EVERY_RUN.values() if run.model.n})


def _counted(run: RunConfig, B: int = 2) -> tuple[float, float]:
    """Operations per puzzle of a forward supervision step, and of a training step, by torch's counter."""
    with torch.device("meta"):
        model = Model(run, n_puzzle_ids=1)
        inputs = torch.zeros(B, run.data.cells, dtype=torch.int64)
        vectors = model.puzzle_vectors(torch.zeros(B, dtype=torch.int64))

        def supervision_step() -> tuple[Tensor, Tensor]:
            return model(inputs, vectors, model.initial_features(B))[1:]  # type: ignore[no-any-return]

        with torch.no_grad(), FlopCounterMode(display=False) as forward:
            supervision_step()
        with FlopCounterMode(display=False) as training:
            logits, q = supervision_step()
            (logits.sum() + q.sum()).backward()  # type: ignore[no-untyped-call]
    once = forward.get_total_flops()
    return once / B, (training.get_total_flops() + (run.model.nfp - 1) * once) / B


@pytest.mark.parametrize("run", [pytest.param(run, id=name) for name, run in ARCHITECTURES.values()])
def test_operations_by_formula_are_those_that_torch_counts_within_3_per_cent(run: RunConfig) -> None:
    forward, training = _counted(run)
    assert run.forward_flops() == pytest.approx(forward, rel=0.03)
    assert run.train_flops() == pytest.approx(training, rel=0.03)


@pytest.mark.parametrize(("T", "n"), DEPTHS)
def test_so_it_is_at_every_depth_of_every_study(T: int, n: int) -> None:
    run = RunConfig().change({"model": {"T": T, "n": n, "n_layers": 1}})
    forward, training = _counted(run)
    assert run.forward_flops() == pytest.approx(forward, rel=0.03)
    assert run.train_flops() == pytest.approx(training, rel=0.03)


def test_a_whole_optimiser_step_of_trm_and_of_hrm_has_no_other_products(
    tiny: RunConfig, tiny_hrm: RunConfig, puzzles: PuzzleSet
) -> None:
    for run in (tiny, tiny.change({"model": {"mixer": "attention"}}), tiny_hrm):
        trainer = Trainer(run, puzzles, torch.device("cpu"))
        trainer.take_step()
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            trainer.take_step()  # torch does not count the CPU's fused attention, and does the plain one
        assert run.train_flops() * run.train.batch_size == pytest.approx(counter.get_total_flops(), rel=0.03)
