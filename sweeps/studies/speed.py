"""What makes training fast: the released code's recipe, and one change after the other up to the `fast` profile's.

A ladder: a row that begins with "and" has all changes of the rows above it, and its last is TRM in `fast`. Below it
stand changes to that row that are not in `fast`: curricula save a quarter of the operations and more, but name depths
of one model and would not do for studies of depth; others are believed to help. The table says what each takes until it
solves 80 % of the validation puzzles: steps, operations and seconds. Puzzles and test set are the same in all rows, and
so is the architecture but for the puzzle prefix, of which the paper has one position.

In mini the rows stand for those at full size: the released recipe with a rate, a warm-up and an EMA for a narrow model
and a thousand steps in place of sixty-five thousand, on 6x6 puzzles of 22 clues. What changes there changes in
proportion; 16 supervision steps are many for so small a puzzle, and only there are they fewer. A cosine comes too early
for a run as short as that: the rate falls before the puzzles are understood (docs/LOG.md).

    python sweeps/run.py --study speed --seeds 3                              # mini without a GPU
    python sweeps/run.py --study speed --profile official --data DIR --plan   # the real puzzles
"""

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, NamedTuple

from sweeps.study import ProfileName, Row, Study

Change = Mapping[str, Mapping[str, Any]]


class Recipe(NamedTuple):
    """Changes to the released code's recipe, at full size and in mini; it is run where the last of them is one."""

    name: str
    full: Change
    mini: Change
    profiles: tuple[ProfileName, ...]

    def then(self, one: "Recipe") -> "Recipe":
        """One more change, named after it."""
        return Recipe(one.name, _over(self.full, one.full), _over(self.mini, one.mini), one.profiles)


def _over(first: Change, then: Change) -> dict[str, dict[str, Any]]:
    """Both changes, the second winning."""
    return {section: {**first.get(section, {}), **then.get(section, {})} for section in {**first, **then}}


def _change(name: str, *, full: Change | None = None, mini: Change | None = None) -> Recipe:
    """A change at both sizes, or at one of them."""
    at_mini: tuple[ProfileName, ...] = ("mini",) if mini is not None else ()
    at_full: tuple[ProfileName, ...] = ("official",) if full is not None else ()
    return Recipe(name, full or {}, mini or {}, at_mini + at_full)


RELEASED = _change(
    "official",
    full={},
    mini={
        "data": {"source": "generated", "clues": 22, "train": 1000, "test": 400},
        "model": {"N_sup": 16, "exploration": 0.1, "puzzle_prefix": 16},
        "optim": {
            "lr": 1e-3,
            "beta2": 0.95,
            "warmup_steps": 100,
            "schedule": "constant",
            "ema": 0.99,
            "ema_covers": "network",
            "embedding_lr": 1e-3,
            "embedding_weight_decay": 1.0,
        },
        # a look costs 70 steps; no run is compiled, for auto would compile the long ones alone
        "train": {"steps": 900, "eval_every": 50, "eval_puzzles": 60, "eval_N_sup": 16, "compile": "off"},
    },
)
LADDER = tuple(
    accumulate(
        (
            RELEASED,
            _change(
                "and one prefix position",
                full={"model": {"puzzle_prefix": 1}},
                mini={"model": {"puzzle_prefix": 1}},
            ),
            _change(
                "and three times the rate",
                full={"optim": {"lr": 3e-4, "beta2": 0.99, "weight_decay": 0.3, "warmup_steps": 200}},
                mini={
                    "optim": {"lr": 3e-3, "beta2": 0.99, "weight_decay": 0.1, "warmup_steps": 20},
                    "train": {"steps": 700},
                },
            ),
            _change("and faster EMA", full={"optim": {"ema": 0.99}}, mini={"optim": {"ema": 0.95}}),
            _change("and 4 supervision steps", mini={"model": {"N_sup": 4}, "train": {"steps": 500}}),
            _change("and half the batch", full={"train": {"batch_size": 384}}),
            _change("and cosine", full={"optim": {"schedule": "cosine", "final_lr": 0.1}, "train": {"steps": 8000}}),
        ),
        Recipe.then,
    )
)
BESIDE = (
    _change(
        "fast with a depth curriculum",
        full={"train": {"curriculum": "T=1 n=2 until 0.2; T=2 n=4 until 0.4"}},
        mini={"train": {"curriculum": "T=1 n=2 until 0.2; T=2 n=4 until 0.4"}},
    ),
    _change(
        "fast, one deep recursion at first",
        full={"train": {"curriculum": "T=1 n=6 until 0.8"}},
        mini={"train": {"curriculum": "T=1 n=6 until 0.8"}},
    ),
    _change("fast with a cosine", mini={"optim": {"schedule": "cosine"}, "train": {"steps": 400}}),
    _change(
        "fast with Muon",
        full={"optim": {"name": "muon", "lr": 1e-3, "beta2": 0.95, "weight_decay": 0.1}},
        mini={"optim": {"name": "muon", "lr": 5e-3, "weight_decay": 0.06}},
    ),
)


def _row(recipe: Recipe) -> Row:
    return Row(
        name=recipe.name,
        base="trm",
        change_in={"official": dict(recipe.full), "mini": dict(recipe.mini)},
        profiles=recipe.profiles,
        named_for=("optim.ema",) if "EMA" in recipe.name else (),
    )


study = Study(
    name="speed",
    title="Speed",
    puzzle="sudoku",
    source="The released code's recipe, changed step by step",
    layout="speed",
    reach=0.8,
    rows=tuple(map(_row, (*LADDER, *map(LADDER[-1].then, BESIDE)))),
    note='A row that begins with "and" has the changes of all rows above it; the last of them is fast.',
    baseline=("official",),
)
