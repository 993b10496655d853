"""Equality with the released code: python -m trm_core.parity FOLDER [FILE ...] [--rounding].

FOLDER holds reference numbers that the released code computed, an .npz per model: its settings (`cfg`, `optim`), its
weights, training steps (logits, halting logits, loss, halting decisions, step counters), the gradients of the first,
the weights, puzzle embedding and EMA after the last, and an evaluation. Here our model, our supervision step, our
optimisers and our EMA do the same from the same weights, and every quantity is compared.

**Float64.** Rounding explains nothing there: every quantity of every step agrees to BOUND_64, or the command fails.
The recursion of TRM-MLP is chaotic, and even so is off by 1e-8 at most after six steps.

**Float32.** Matrix products are added in the order of the reference's own (parity_arithmetic.py). The bound is
BOUND_32, and over six steps the three most sensitive variants amplify a difference in the last bit beyond it: the
square root of the reference's CPU is not ours to the last bit. The command fails on whatever is off by more, and says
beside it what rounding can do. How much there is of it the first step tells, before any optimiser has had a say: how
far its logits and gradients are off. The run is repeated DRAWS times with weights and gradients moved at random by as
much, and a deviation within AMPLIFIED times the largest effect on *that quantity in that step* is amplified rounding.
--rounding fails only on what that does not explain. A wrong optimiser is told apart where it first acts, in the second
or third step, when rounding has not grown yet.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_prep.places import local_path
from trm_core.command_line import USER_ERROR, BadCommand, Parser, refuse, settle_output
from trm_core.official import PREFIX
from trm_core.parity_arithmetic import SequentialMatmul
from trm_core.parity_numbers import Quantities, Rounding, our_numbers, share_of_the_way
from trm_core.parity_reference import BadReference, Reference, load

BOUND_64 = 1e-7  # largest relative error: |ours − theirs| over the largest |theirs| of the tensor
BOUND_32 = 1e-5
AMPLIFIED = 10.0  # times the largest effect of DRAWS draws of rounding
DRAWS = 3
UNIT = 2.0**-23  # of float32, relative

Error = dict[str, float]  # by quantity


@dataclass(frozen=True)
class Comparison:
    """One quantity of one file, or several of a kind: the worst of them."""

    file: str
    quantity: str  # "logits, first step", "gradients, first step", …
    error: float  # relative; 1 where a decision differs, infinite where a number is none
    bound: float
    identical: bool  # bit for bit
    rounding: float | None = None  # float32 above the bound: what rounding does to the worst of them; None: not known
    explained: bool = False  # each that is above the bound is so by amplified rounding

    @property
    def within(self) -> bool:
        """Not above the bound."""
        return self.error <= self.bound

    @property
    def holds(self) -> bool:
        """Within the bound, or no further off than amplified rounding."""
        return self.within or self.explained


def bound_of(reference: Reference) -> float:
    """What its numbers are held to."""
    return BOUND_64 if reference.dtype == torch.float64 else BOUND_32


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest |ours − theirs| over the largest |theirs|; for decisions and counters, 1 unless all are equal.

    Infinite where a difference is no number. Raises BadReference for other shapes.
    """
    if ours.shape != theirs.shape:
        raise BadReference(f"shapes {tuple(ours.shape)} here and {tuple(theirs.shape)} there; not the same quantity")
    if not theirs.is_floating_point():
        return float(not torch.equal(ours.to(theirs.dtype), theirs))
    if not theirs.numel():
        return 0.0
    difference, scale = float((ours.double() - theirs.double()).abs().max()), float(theirs.double().abs().max())
    if not math.isfinite(difference):
        return math.inf
    return difference / scale if scale > 0 else float(difference > 0)


def compare(
    reference: Reference, ours: Quantities, effect: Callable[[Error], Error] | None = None
) -> Iterator[Comparison]:
    """Ours against the reference, quantities of a kind together, first step and later ones apart.

    effect: what rounding does to each quantity, where something is above the bound; given all errors.
    """
    bound = bound_of(reference)
    theirs = {key: torch.from_numpy(np.asarray(value)) for key, value in reference.arrays.items() if key in ours}
    theirs |= share_of_the_way(reference, theirs)
    errors = {key: relative_error(ours[key], theirs[key]) for key in theirs}
    rounding: Error = {}
    if effect is not None and max(errors.values(), default=0.0) > bound:
        rounding = effect(errors)
    kinds: dict[str, list[str]] = {}
    for key in theirs:
        kinds.setdefault(_kind(key, reference.steps), []).append(key)
    for kind, keys in kinds.items():
        above = [key for key in keys if errors[key] > bound]
        worst = max(above or keys, key=lambda key: errors[key] / max(rounding.get(key, 0.0), UNIT / AMPLIFIED))
        yield Comparison(
            file=reference.name,
            quantity=kind,
            error=errors[worst] if above else max(errors[key] for key in keys),
            bound=bound,
            identical=all(torch.equal(ours[key].to(theirs[key].dtype), theirs[key]) for key in keys),
            rounding=rounding.get(worst) if above else None,
            explained=bool(above) and all(errors[key] <= AMPLIFIED * rounding.get(key, 0.0) for key in above),
        )


def effect_of_rounding(reference: Reference, errors: Error) -> Error:
    """What as much rounding as the first step shows does to every quantity; the largest of DRAWS draws.

    errors: of ours against the reference. Of the weights, as large a share is moved to the next float32 as it takes to
    put the first step's logits off by as much as they are; all of them, at most.
    """
    plain = our_numbers(reference)
    first = our_numbers(reference, steps=1, rounding=Rounding())
    unit = relative_error(first["out0/logits"], plain["out0/logits"])
    share = min(1.0, (errors["out0/logits"] / unit) ** 2) if unit else 0.0
    gradient = max([UNIT, *(error for key, error in errors.items() if key.startswith("grad0/"))])
    largest: Error = {}
    for seed in range(DRAWS):
        moved = our_numbers(reference, rounding=Rounding(share, min(gradient, 1.0), seed))
        for key in moved:
            largest[key] = max(largest.get(key, 0.0), relative_error(moved[key], plain[key]))
    return largest


def _kind(key: str, steps: int) -> str:
    """The line on which a quantity is printed."""
    prefix, _, name = key.partition("/")
    if prefix.startswith("out"):
        return f"{name}, first step" if prefix == "out0" else f"{name}, steps 2 to {steps}"
    if prefix.startswith("eval"):
        return f"evaluation, {name}"
    if name == f"{PREFIX}puzzle_emb.weights":
        return f"{prefix}, puzzle embedding"
    if name == "share of the way":
        return "EMA, share of the way"
    return {"grad0": "gradients, first step", "after": "weights after", "ema": "EMA after"}[prefix]


def numbers(reference: Reference, *, sequential: bool = True, steps: int | None = None) -> Quantities:
    """Ours on this CPU; in float32 with products in the reference's order of additions, unless not sequential.

    steps: the first of the training steps alone.
    """
    in_order = sequential and reference.dtype == torch.float32
    with SequentialMatmul() if in_order else nullcontext():
        return our_numbers(reference, steps=steps)


def check(reference: Reference, *, sequential: bool = True, steps: int | None = None) -> tuple[Comparison, ...]:
    """All comparisons of one reference, or of its first steps alone. Raises BadReference for arrays of other shapes."""
    return tuple(
        compare(reference, numbers(reference, sequential=sequential, steps=steps), effect_for(reference, steps))
    )


def effect_for(reference: Reference, steps: int | None = None) -> Callable[[Error], Error] | None:
    """What measures rounding, where a whole float32 reference is compared; in float64 nothing is excused."""
    may_round = reference.dtype == torch.float32 and steps is None
    return partial(effect_of_rounding, reference) if may_round else None


def left_out(reference: Reference, ours: Quantities) -> list[str]:
    """The numbers in a file that nothing of ours was held against, by name."""
    read = ("sd/", "in", "eval_in/", "cfg", "optim")
    return [key for key in reference.arrays if key not in ours and not key.startswith(read)]


# --- the command -----------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns 0; 1 where something does not hold; 2 for what a user can mend."""
    settle_output()
    parser = Parser(prog="python -m trm_core.parity", description=(__doc__ or "").split("\n\n")[0], allow_abbrev=False)
    parser.add_argument("folder", type=local_path, metavar="FOLDER", help="the reference numbers, an .npz per model")
    parser.add_argument("files", nargs="*", metavar="FILE", help="only these, without .npz (default: all in FOLDER)")
    parser.add_argument(
        "--rounding",
        action="store_true",
        help=f"of float32 files, accept what is above {BOUND_32:g} but amplified rounding explains",
    )
    parser.add_argument("--own-blas", action="store_true", help="this CPU's matrix products, not the reference's order")
    try:
        options = parser.parse_args(arguments)
        paths = _files(options.folder, options.files)
    except (BadCommand, BadReference) as error:
        return refuse(str(error))
    torch.set_num_threads(1)
    results: list[Comparison] = []
    unread = 0
    for path in paths:
        try:
            reference = load(path)
            ours = numbers(reference, sequential=not options.own_blas)
            found = tuple(compare(reference, ours, effect_for(reference)))
        except BadReference as error:
            refuse(str(error))
            unread += 1
            continue
        for result in found:
            print(_line(result), flush=True)
        for note in _notes(reference, ours):
            print(f"  {reference.name:<12} {note}", flush=True)
        results += found
    return _verdict(results, unread, accept_rounding=options.rounding)


def _files(folder: Path, names: Sequence[str]) -> list[Path]:
    """The files to check; those of a folder that are none are named. Raises BadReference."""
    if names:
        return [folder / f"{name.removesuffix('.npz')}.npz" for name in names]
    try:
        there = sorted(folder.iterdir())
    except OSError as error:
        raise BadReference(f"{folder}: {error.strerror or error}; expected a folder of .npz files") from None
    paths = [path for path in there if path.suffix == ".npz"]
    if not paths:
        raise BadReference(f"{folder}: no reference file (.npz) here, {len(there)} others")
    if others := [path.name for path in there if path.suffix != ".npz"]:
        print(f"not looked at, no .npz: {', '.join(others)}")
    return paths


def _notes(reference: Reference, ours: Quantities) -> Iterator[str]:
    if reference.notes:
        yield f"options that mean nothing here: {', '.join(reference.notes)}"
    if rest := left_out(reference, ours):
        yield f"compared with nothing: {', '.join(rest[:6])}{', …' if len(rest) > 6 else ''}"


def _verdict(results: Sequence[Comparison], unread: int, *, accept_rounding: bool) -> int:
    """The last lines, and the exit code."""
    for bound in sorted({result.bound for result in results}):
        of_it = [result for result in results if result.bound == bound]
        within, identical = (sum(r.within for r in of_it), sum(r.identical for r in of_it))
        print(f"{within} of {len(of_it)} within {bound:g}, {identical} of them bit-identical")
    explained = sum(result.holds and not result.within for result in results)
    if explained:
        then = "accepted" if accept_rounding else "they fail; --rounding accepts them"
        print(f"{explained} above it for amplified rounding, marked ~: {then}")
    if unexplained := sum(not result.holds for result in results):
        print(f"{unexplained} above it for another reason, marked !")
    if unread:
        print(f"{unread} not read, named above")
        return USER_ERROR
    return 1 if unexplained or (explained and not accept_rounding) else 0


def _line(result: Comparison) -> str:
    """One comparison as a line of the terminal."""
    mark, said = " ", "bit-identical" if result.identical else ""
    if not result.within:
        mark, said = "~" if result.holds else "!", f"above {result.bound:g}"
        if result.rounding is not None:
            said += f"; as much rounding as the first step shows moves it by {result.rounding:.1e}"
    return f"{mark} {result.file:<12} {result.quantity:<32} {result.error:8.1e}  {said}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
