"""Small ARC-like tasks of our own, for tests and small runs: a rule a task, shown on grids of random cells.

Every family of rules is closed under the moves and the permutations of colours, so a rule that is asked in evaluation
is a variant of one that is learnt from. Equal settings and seed, equal tasks, anywhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from data_prep.arc_tasks import N_COLOURS, Pair, Task
from data_prep.counter_hash import draws, shuffled, states
from data_prep.sudoku import BadSettings, TooFewPuzzles, named

U8 = NDArray[np.uint8]
N_DEMONSTRATIONS = 3
ATTEMPTS = 1000  # for one task; then there are no more
LEAST_SIDE = 3  # of a grid; the largest is two less than the canvas
PURPOSE_RULES, PURPOSE_RULE, PURPOSE_GRIDS = 5, 6, 7


def _recolour(grid: U8, old: int, new: int) -> U8:
    return np.where(grid == old, np.uint8(new), grid)


def _swap(grid: U8, one: int, other: int) -> U8:
    return np.where(grid == one, np.uint8(other), np.where(grid == other, np.uint8(one), grid))


def _keep(grid: U8, colour: int) -> U8:
    return np.where(grid == colour, grid, np.uint8(0))


def _border(grid: U8, colour: int) -> U8:
    new = np.full_like(grid, colour)
    new[1:-1, 1:-1] = grid[1:-1, 1:-1]
    return new


def _turned(rule: Callable[[U8], U8], grid: U8, turns: int) -> U8:
    """A rule for the left edge, at the edge that so many quarter turns to the left make of it."""
    return np.rot90(rule(np.rot90(grid, -turns)), turns)


def _shift(grid: U8) -> U8:
    """One cell to the left; what falls off comes back at the right."""
    return np.roll(grid, -1, axis=1)


def _fall(grid: U8) -> U8:
    """Every cell that is not 0 moves left until it meets another."""
    return np.take_along_axis(grid, np.argsort(grid == 0, axis=1, kind="stable"), axis=1)


@dataclass(frozen=True)
class Rule:
    """What a task asks for, and the colours that must be on the grids for it to show."""

    change: Callable[[U8], U8]
    colours: tuple[int, ...] = ()

    def __call__(self, grid: U8) -> U8:
        """What the rule makes of a grid [rows, columns], as an array of its own."""
        return np.ascontiguousarray(self.change(grid), dtype=np.uint8)


COLOURS = range(1, N_COLOURS)
FAMILIES = {
    "recolour": tuple(Rule(partial(_recolour, old=a, new=b), (a, b)) for a in COLOURS for b in COLOURS if a != b),
    "swap": tuple(Rule(partial(_swap, one=a, other=b), (a, b)) for a in COLOURS for b in COLOURS if a < b),
    "fill": tuple(Rule(partial(_recolour, old=0, new=a), (a,)) for a in COLOURS),
    "keep": tuple(Rule(partial(_keep, colour=a), (a,)) for a in COLOURS),
    "border": tuple(Rule(partial(_border, colour=a), (a,)) for a in COLOURS),
    "mirror": (Rule(np.fliplr), Rule(np.flipud)),
    "diagonal": (Rule(np.transpose), Rule(lambda grid: np.fliplr(np.rot90(grid)))),
    "turn": (Rule(np.rot90), Rule(partial(np.rot90, k=3))),
    "shift": tuple(Rule(partial(_turned, _shift, turns=turns)) for turns in range(4)),
    "gravity": tuple(Rule(partial(_turned, _fall, turns=turns)) for turns in range(4)),
}
RULES = tuple(rule for rules in FAMILIES.values() for rule in rules)


def generate(*, train: int, test: int, subsets: Sequence[str], test_subset: str, seed: int, side: int) -> list[Task]:
    """Training tasks, dealt over the subsets other than test_subset, and test tasks with rules of their own.

    The families take turns. A quarter of a family's rules, one at least, is kept for test_subset. A task shows its rule
    on three pairs, all of which it changes, and asks for one more; every rule there is that agrees with the three gives
    the same answer. Grids have 3 to side - 2 rows and columns; no pair is in two tasks.
    """
    others = [subset for subset in subsets if subset != test_subset]
    if train and not others:
        raise BadSettings(
            f"subsets {', '.join(subsets)}: none for the {train} training tasks, expected one beside {test_subset} "
            "(data.subsets; --subsets)"
        )
    seen: set[tuple[bytes, bytes]] = set()
    tasks = [
        _generate_task(others[i % len(others)] if learnt else test_subset, i, learnt, seed, side, seen)
        for learnt, n in ((False, test), (True, train))
        for i in range(n)
    ]
    return sorted(tasks, key=lambda task: (list(subsets).index(task.subset), task.name))


def _generate_task(
    subset: str, number: int, learnt: bool, seed: int, side: int, seen: set[tuple[bytes, bytes]]
) -> Task:
    family = list(FAMILIES)[number % len(FAMILIES)]
    rules = FAMILIES[family]
    order = shuffled(len(rules), seed, PURPOSE_RULES)
    n_kept = max(1, len(rules) // 4)
    candidates = order[n_kept:] if learnt else order[:n_kept]
    purpose, counter = np.array([PURPOSE_RULE]), np.array([2 * number + learnt])
    rule = rules[candidates[int(draws(states(seed, purpose, counter), 1)[0, 0] % np.uint64(len(candidates)))]]
    for attempt in range(ATTEMPTS):
        pairs = _draw_pairs(rule, states(seed, np.array([PURPOSE_GRIDS]), counter, np.array([attempt])), side)
        keys = [(question.tobytes() + bytes(question.shape), answer.tobytes()) for question, answer in pairs]
        if len({*keys} - seen) == len(keys) and _is_determined(pairs):
            seen.update(keys)
            name = f"{subset}-{number:05d}-{family}"
            return Task(subset, name, pairs[:N_DEMONSTRATIONS], pairs[N_DEMONSTRATIONS:])
    raise TooFewPuzzles(
        f"generate: {len(seen) // (N_DEMONSTRATIONS + 1)} different tasks on grids of up to {side}x{side} cells found, "
        f"expected more; ask for fewer {named('train', 'test')} or a larger canvas (--side)"
    )


def _draw_pairs(rule: Rule, state: NDArray[np.uint64], side: int) -> tuple[Pair, ...]:
    """Grids of random cells, half of them 0, in the rule's colours and two more, and what the rule makes of them."""
    size = max(side - 2, LEAST_SIDE)
    numbers = draws(state, 2 + (N_DEMONSTRATIONS + 1) * (2 + 2 * size * size))[0] >> np.uint64(32)
    palette = np.array([*rule.colours, *(1 + numbers[:2] % np.uint64(N_COLOURS - 1)).tolist()], dtype=np.uint8)
    pairs = []
    for part in numbers[2:].reshape(N_DEMONSTRATIONS + 1, -1):
        rows, columns = (LEAST_SIDE + part[:2] % np.uint64(size - LEAST_SIDE + 1)).astype(np.int64).tolist()
        filled, which = part[2:].reshape(2, size, size)[:, :rows, :columns]
        grid = np.where(filled % np.uint64(2), palette[which % np.uint64(len(palette))], np.uint8(0))
        pairs.append((grid, rule(grid)))
    return tuple(pairs)


def _is_determined(pairs: Sequence[Pair]) -> bool:
    """Whether every pair changes, and every rule that agrees with the demonstrations agrees with the test."""
    if any(np.array_equal(question, answer) for question, answer in pairs):
        return False
    *demonstrations, (question, answer) = pairs
    agreeing = [rule for rule in RULES if all(np.array_equal(rule(shown), made) for shown, made in demonstrations)]
    return all(np.array_equal(rule(question), answer) for rule in agreeing)
