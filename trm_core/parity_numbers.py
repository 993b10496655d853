"""What our code computes where the reference computed: training steps, the state after them, an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from trm_core.data import Batch
from trm_core.ema import EMA
from trm_core.metrics import TRAIN_SUMS
from trm_core.model import Model
from trm_core.official import to_ours, to_theirs
from trm_core.optim import lr_factor, make_optimiser
from trm_core.parity_reference import Reference
from trm_core.supervision import Slots, Step, empty_slots, refill, supervision_step

Quantities = dict[str, Tensor]  # under the file's own names: "out0/logits"

# Their metrics are sums over the slots that halted, and so are these of ours.
METRICS = {"count": "halted", "exact_accuracy": "exact", "accuracy": "cell", "steps": "steps", "lm_loss": "lm_loss"}


NO_PARAMETERS = ("_init", "puzzle_emb.weights")  # of their tensors: what no EMA follows there


@dataclass(frozen=True)
class Rounding:
    """Another program's rounding, drawn at random: how much of it, and which draw."""

    share: float = 1.0  # of the weights, moved to the next float32 before every step
    gradient: float = 0.0  # moved by up to so much of each tensor's largest
    seed: int = 0


def our_numbers(
    reference: Reference,
    *,
    steps: int | None = None,
    device: str = "cpu",
    precision: str = "fp32",
    step: Callable[..., Step] = supervision_step,
    rounding: Rounding | None = None,
) -> Quantities:
    """What our code computes from a reference's weights and batches, under the file's names, on the CPU.

    steps: of training; None: all, and then also the state after them and the evaluation. That is from the *reference's*
    own weights, where it has them all, so that training's differences do not reach it.
    step: supervision_step, or that compiled. rounding: every step's weights and gradients moved.
    """
    arrays, home = reference.arrays, torch.device(device)
    run, m = reference.run, reference.run.model
    noise = _Noise(rounding)
    model = model_of(reference, precision, home)
    parameters = dict(model.named_parameters())
    optimiser = make_optimiser(parameters.values(), run.optim, model.matrices())
    ema = None if run.optim.ema is None else EMA(model, run.optim.ema, puzzle_embedding=False)
    slots: Slots | None = None
    found: Quantities = {}
    for i in range(reference.steps if steps is None else steps):
        noise.move_weights(parameters.values())
        batch = _batch(reference, f"in{i}", home)
        slots = refill(model, slots or empty_slots(model, batch), batch)
        result = step(model, slots, torch.zeros(run.train.batch_size, dtype=torch.int64, device=home))
        optimiser.zero_grad(set_to_none=True)
        (result.loss / run.train.batch_size).backward()  # type: ignore[no-untyped-call]
        found |= _step_quantities(f"out{i}", result, halting=m.halting)
        vectors = None if result.puzzle_vectors is None else result.puzzle_vectors.grad
        if i == 0:
            gradients = {key: p.grad for key, p in parameters.items() if p.grad is not None}
            theirs = to_theirs({**model.state_dict(), **gradients}, m)
            found |= {f"grad0/{key}": tensor.clone() for key, tensor in theirs.items() if f"grad0/{key}" in arrays}
            if vectors is not None:
                found["grad0/puzzle_emb_local"] = vectors.clone()
        noise.move_gradients([*(p.grad for p in parameters.values()), vectors])
        factor = lr_factor(run.optim, i + 1, reference.steps)
        for group in optimiser.param_groups:
            group["lr"] = run.optim.lr * factor
        optimiser.step()
        if model.puzzle_embedding is not None:
            assert vectors is not None
            o = run.optim
            model.puzzle_embedding.sign_sgd(
                slots.puzzle_ids, vectors, o.embedding_lr * factor, o.embedding_weight_decay
            )
        if ema is not None:
            ema.update(model)
        slots = result.slots
    if steps is None:
        found |= {f"after/{key}": tensor.clone() for key, tensor in to_theirs(model.state_dict(), m).items()}
        if ema is not None:
            found |= {f"ema/{key}": tensor for key, tensor in to_theirs(ema.model.state_dict(), m).items()}
            found |= share_of_the_way(reference, found)
        found |= _evaluation(model, reference, home, noise)
    return {key: tensor.detach().to("cpu", copy=True) for key, tensor in found.items()}


def model_of(reference: Reference, precision: str = "fp32", device: torch.device | None = None) -> Model:
    """Our model with the reference's initial weights, in its dtype; in float64 everything is."""
    weights = to_ours(reference.weights("sd"), reference.run.model)
    rows = weights.get("puzzle_embedding.weights")
    train = reference.run.train.model_copy(update={"precision": precision})
    model = Model(reference.run.model_copy(update={"train": train}), 1 if rows is None else len(rows))
    if reference.dtype == torch.float64:
        model.double()
        model.dtype = torch.float64
    model.load_state_dict(weights)
    return model if device is None else model.to(device)


def _step_quantities(prefix: str, result: Step, *, halting: str) -> Quantities:
    sums = dict(zip(TRAIN_SUMS, result.sums, strict=True))
    found = {
        "logits": result.logits,
        "q_halt_logits": result.q[:, 0],
        "q_continue_logits": result.q[:, 1],
        "loss": result.loss,
        "preds": result.logits.argmax(-1),
        "halted": result.slots.halted,
        "steps": result.slots.steps,
        **{f"metric/{theirs}": sums[ours] for theirs, ours in METRICS.items()},
    }
    if halting == "bce":
        found["metric/q_halt_loss"] = sums["halt_loss"]
    return {f"{prefix}/{key}": tensor for key, tensor in found.items()}


@torch.inference_mode()
def _evaluation(model: Model, reference: Reference, device: torch.device, noise: _Noise) -> Quantities:
    """As many supervision steps as the file has of them."""
    if "eval_in/inputs" not in reference.arrays:
        return {}
    theirs = reference.weights("after")
    if theirs.keys() == reference.weights("sd").keys():
        model.load_state_dict(to_ours(theirs, model.settings))
        noise.move_weights(model.parameters())
    batch = _batch(reference, "eval_in", device)
    features, vectors = model.initial_features(len(batch.inputs)), model.puzzle_vectors(batch.puzzle_ids)
    found: Quantities = {}
    steps = [s for s in range(model.settings.N_sup) if f"eval{s}/logits" in reference.arrays]
    for s in range(max(steps, default=-1) + 1):
        features, logits, q = model(batch.inputs, vectors, features)
        found |= {f"eval{s}/logits": logits, f"eval{s}/q": q[:, 0]}
    return found


class _Noise:
    """Moves weights and gradients as a Rounding says; without one, nothing."""

    def __init__(self, rounding: Rounding | None) -> None:
        self.rounding = rounding
        self.draw = torch.Generator().manual_seed(0 if rounding is None else rounding.seed)

    @torch.no_grad()
    def move_weights(self, weights: Iterable[Tensor]) -> None:
        """A random share of them to the next number, up or down."""
        if self.rounding is not None and self.rounding.share:
            for tensor in weights:
                chance = torch.rand(tensor.shape, generator=self.draw)
                there = torch.where(chance < self.rounding.share / 2, torch.inf, -torch.inf).to(tensor.dtype)
                tensor.copy_(torch.where(chance < self.rounding.share, torch.nextafter(tensor, there), tensor))

    @torch.no_grad()
    def move_gradients(self, gradients: Iterable[Tensor | None]) -> None:
        """Each by a random part of what Rounding allows."""
        if self.rounding is not None:
            for tensor in gradients:
                if tensor is not None:
                    draw = 2 * torch.rand(tensor.shape, generator=self.draw) - 1
                    tensor.add_(draw.to(tensor.dtype) * tensor.abs().max() * self.rounding.gradient)


def share_of_the_way(reference: Reference, numbers: Quantities) -> Quantities:
    """How far the EMA has come from the initial weights towards those after training, 0 to 1; of the network's alone.

    One number of very many weights, which says the EMA's rate where the weights themselves are lost to rounding.
    """
    along = length = torch.zeros((), dtype=torch.float64)
    for name, start in reference.weights("sd").items():
        after, ema = f"after/{name}", f"ema/{name}"
        if {after, ema} <= reference.arrays.keys() & numbers.keys() and not name.endswith(NO_PARAMETERS):
            way = numbers[after].double().cpu() - start.double()
            along = along + (way * (numbers[ema].double().cpu() - start.double())).sum()
            length = length + way.square().sum()
    return {"ema/share of the way": along / length} if float(length) > 0 else {}


def _batch(reference: Reference, prefix: str, device: torch.device) -> Batch:
    return Batch(*(tensor.to(device) for tensor in reference.batch(prefix)))
