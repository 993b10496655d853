"""Equality of every variant with the reference numbers on a device, in float32, bfloat16 and under torch.compile.

**float32.** The first step's logits, halting logits, loss and gradients are within FLOAT32 of the reference's, and the
halting decisions equal; under torch.compile, one and two steps are as close to eager. Where a recursion amplifies
rounding, no further off than AMPLIFIED times what one unit in the last place of the weights does.

**bfloat16.** It keeps 8 bits, and the recursion amplifies their rounding: on a CPU, a correct program is off by 2 % in
HRM's logits and by half in the MLP mixer's. So the bound is measured, per variant and quantity: UNITS times the largest
effect that moving the weights by up to one bfloat16 unit (2⁻⁸ of each, at random, three times) has on the float32 CPU
run, and at least FLOOR. On a CPU, correct bfloat16 stayed within 2.1 times that effect of the reference, and compiled
within 2.4 times of eager. A bound above 1 decides nothing, and such lines say so; what decides there is
`one call of the network`, which amplifies nothing.

**As a CUDA graph.** The kernels are the same, so slots and weights after two replayed steps are within FLOAT32 of those
that were launched, in either precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trm_core.capture import WARM_UP
from trm_core.compiled import compile_model
from trm_core.config import RunConfig
from trm_core.model import Model
from trm_core.parity import AMPLIFIED, relative_error
from trm_core.parity_numbers import Quantities, Rounding, model_of, our_numbers
from trm_core.parity_reference import Reference
from trm_core.speed import random_puzzles
from trm_core.supervision import Slots, Step, supervision_step
from trm_core.trainer import Trainer

FLOAT32 = 1e-4  # relative error
UNITS = 4.0  # times the effect of one bfloat16 unit of the weights
FLOOR = 2.0**-6  # of the bfloat16 bound
BF16_UNIT = 2.0**-8

Errors = dict[str, float]  # the largest relative error of each kind of quantity


def compiled_step(model: Model, slots: Slots, min_steps: Tensor) -> Step:
    """supervision_step of a model that is compiled as train.compile="on" compiles it."""
    if not (model.compiled_recursions or model.compiled_networks):
        compile_model(model, (len(slots.halted),))
    return supervision_step(model, slots, min_steps)


def check_variant(reference: Reference, device: str) -> Iterator[dict[str, Any]]:
    """Every check of one float32 reference, as rows: variant, check, quantity, error, bound, holds, decides."""
    numbers = partial(our_numbers, steps=2)
    plain = numbers(reference)
    ulp = _errors(numbers(reference, rounding=Rounding()), plain)
    units: Errors = {}
    for seed in range(3):
        moved = _moved(reference, seed)
        effect = _errors(numbers(moved), plain)
        effect["one call of the network"] = relative_error(_one_call(moved), _one_call(reference))
        units = {kind: max(effect[kind], units.get(kind, 0.0)) for kind in effect}

    def exact(kind: str) -> float:
        return max(FLOAT32, AMPLIFIED * ulp.get(kind, 0.0))

    def coarse(kind: str) -> float:
        return max(FLOOR, UNITS * units[kind])

    def rows(check: str, errors: Errors, bound: Callable[[str], float]) -> Iterator[dict[str, Any]]:
        for kind, error in errors.items():
            limit = bound(kind)
            row = {"variant": reference.name, "check": check, "quantity": kind, "error": error, "bound": limit}
            yield row | {"holds": error <= limit, "decides": limit < 1}

    first = {
        key: torch.from_numpy(np.asarray(value))
        for key, value in reference.arrays.items()
        if key.startswith(("out0/", "grad0/"))
    }
    eager = {precision: numbers(reference, device=device, precision=precision) for precision in ("fp32", "bf16")}
    yield from rows("fp32 = reference", _errors(eager["fp32"], first), exact)
    differ = any(relative_error(eager["fp32"][key], first[key]) for key in ("out0/halted", "out0/steps"))
    yield from rows("fp32 = reference", {"halting decisions": float(differ)}, lambda _: 0.0)
    call = relative_error(_one_call(reference, device, "bf16"), _one_call(reference))
    yield from rows("bf16 ~ reference", _errors(eager["bf16"], first) | {"one call of the network": call}, coarse)
    for precision, bound in (("fp32", exact), ("bf16", coarse)):
        torch._dynamo.reset()
        compiled = numbers(reference, device=device, precision=precision, step=compiled_step)
        yield from rows(f"{precision}, compiled = eager", _errors(compiled, eager[precision]), bound)


def check_capture(name: str, run: RunConfig, device: torch.device) -> Iterator[dict[str, Any]]:
    """Two steps replayed from a CUDA graph, beside the same two that are launched: rows as check_variant's."""
    torch._dynamo.reset()
    compiled = run.change({"train": {"compile": "on"}})
    puzzles = random_puzzles(compiled)
    captured, launched = (Trainer(compiled, puzzles, device, capture=capture) for capture in (True, False))
    for _ in range(WARM_UP + 2):
        captured.take_step()
        launched.take_step()
    assert captured.slots is not None
    assert launched.slots is not None
    ours, theirs = captured.slots.tensors(), launched.slots.tensors()
    theirs |= launched.model.state_dict()
    ours |= captured.model.state_dict()
    for quantity, kinds in (("slots", captured.slots.tensors()), ("weights", captured.model.state_dict())):
        error = max(relative_error(ours[key].cpu(), theirs[key].cpu()) for key in kinds)
        row = {"variant": name, "check": f"{run.train.precision}, captured = compiled", "quantity": quantity}
        yield row | {"error": error, "bound": FLOAT32, "holds": error <= FLOAT32, "decides": True}


def _errors(ours: Quantities, theirs: Quantities) -> Errors:
    """The largest relative error of each kind, first step and second apart; decisions and metrics are not errors."""
    found: Errors = {}
    for key in ours.keys() & theirs.keys():
        prefix, _, name = key.partition("/")
        if theirs[key].is_floating_point() and not name.startswith("metric/"):
            kind = "gradients, step 1" if prefix == "grad0" else f"{name}, step {int(prefix[-1]) + 1}"
            found[kind] = max(found.get(kind, 0.0), relative_error(ours[key], theirs[key]))
    return dict(sorted(found.items()))


def _moved(reference: Reference, seed: int) -> Reference:
    """The same reference with each initial weight moved by up to one bfloat16 unit."""
    random = np.random.default_rng(seed)
    arrays = {
        key: (value * (1 + BF16_UNIT * random.uniform(-1, 1, value.shape))).astype(value.dtype)
        if key.startswith("sd/")
        else value
        for key, value in reference.arrays.items()
    }
    return replace(reference, arrays=arrays)


@torch.inference_mode()
def _one_call(reference: Reference, device: str = "cpu", precision: str = "fp32") -> Tensor:
    """f_z(y_init + x), float32 on the CPU."""
    model = model_of(reference, precision, torch.device(device))
    inputs, _, ids = (tensor.to(device) for tensor in reference.batch("in0"))
    x = model.embed(inputs, model.puzzle_vectors(ids))
    return model.f_z(model.initial_features(len(inputs))[0] + x).float().cpu()  # type: ignore[no-any-return]
