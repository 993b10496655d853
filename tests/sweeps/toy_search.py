"""A search whose runs cost nothing: what the tests of searches share, and a driver for processes that are killed.

python -m tests.sweeps.toy_search first N               the first N proposals, none of which knows a result, as JSON
python -m tests.sweeps.toy_search drive FOLDER LIVES    drives the search to its end; all lives but the last are killed
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import Any

from sweeps.recipes import recipe
from sweeps.search import Ledger, open_ledger, propose
from sweeps.search_spec import Choices, Dimension, Floats, Integers, Objective, Params, Search
from sweeps.study import Row
from sweeps.trials import Result, Trial, known_to

BASE = recipe("trm", "sudoku")
NAME = "toy in mini"
FEW = (Dimension(setting="model.T", range=Integers(low=1, high=3)),)


def toy(**changes: Any) -> Search:
    """Two numbers, and heads only for attention: conditions, ranges of every kind, two seeds a trial."""
    told: dict[str, Any] = {
        "name": "toy",
        "title": "Toy",
        "puzzle": "sudoku",
        "row": Row(name="TRM", base="trm"),
        "space": (
            Dimension(setting="model.n_heads", range=Integers(low=1, high=4), when={"model.mixer": ("attention",)}),
            Dimension(setting="model.mixer", range=Choices(values=("mlp", "attention"))),
            Dimension(setting="optim.lr", range=Floats(low=1e-4, high=1e-1, log=True)),
            Dimension(setting="optim.beta2", range=Floats(low=0.9, high=0.99)),
        ),
        "objectives": (Objective(metric="validation/exact_accuracy", direction="maximize"),),
        "trials": 20,
        "seeds": 2,
        "lag": 4,
        "startup": 5,
    }
    return Search(**told | changes)


def keys_of(params: Params, seeds: int = 2) -> tuple[str, ...]:
    return tuple(f"{json.dumps(params, sort_keys=True)} {seed}" for seed in range(seeds))


def run(key: str) -> Result:
    """How the run of this key ends, wherever it is made: most complete, some pruned, some failed."""
    text, seed = key.rsplit(" ", 1)
    params = json.loads(text)
    value = -((math.log10(params["optim.lr"]) + 2.5) ** 2) + 0.1 * params.get("model.n_heads", 0) + 0.01 * int(seed)
    curve = {step: value - 1 / step for step in (1, 2, 3)}
    digits = round(params["optim.beta2"] * 1e6)
    if digits % 7 == 0:
        return Result("failed", why="it was made to", curve={1: curve[1]})
    if digits % 3 == 0:
        return Result("pruned", curve={1: curve[1], 2: curve[2]}, pruning_curve={1: -curve[1]})
    return Result("complete", (value,), curve, {1: -curve[1], 2: -curve[2]})


def ledger(
    storage: str,
    search: Search | None = None,
    known: Callable[[str], Result | None] = lambda _: None,
    **options: Any,
) -> AbstractContextManager[Ledger]:
    search = search or toy()
    options = {"name": NAME, "key_of": lambda params: keys_of(params, search.seeds), **options}
    return open_ledger(search, BASE, storage=storage, known=known, **options)


def drive(
    of: Ledger, places: int = 3, order: random.Random | None = None, end: Callable[[str], Result] = run
) -> list[str]:
    """Run what the ledger hands out, `places` at once, ending in any order; returns the keys as they ended."""
    order = order or random.Random(0)
    waiting: list[str] = []
    under_way: list[str] = []
    ended: list[str] = []
    while True:
        while len(under_way) < places:
            if not waiting and (proposal := of.next()) is not None:
                waiting += proposal.to_run
            if not waiting:
                break
            under_way.append(waiting.pop(0))
        if not under_way:
            assert not of.left()
            return ended
        ended.append(under_way.pop(order.randrange(len(under_way))))
        of.end(ended[-1], end(ended[-1]))


def facts(trials: tuple[Trial, ...]) -> list[tuple[Any, ...]]:
    """All of each trial but the times."""
    return [(t.number, t.params, t.keys, t.state, t.values, t.curve, t.pruning_curve, t.why) for t in trials]


def first(n: int) -> list[Params]:
    """The proposals of a search that waits for no result."""
    search = toy(lag=n)
    there: list[Trial] = []
    for number in range(n):
        params = propose(search, BASE.flat(), number, known_to(number, there, search.lag))
        there.append(Trial(number, params, keys_of(params)))
    return [trial.params for trial in there]


# --- lives -----------------------------------------------------------------------------------------------------------

KILLED_TRIALS = 12
CALLS = 200_000  # of Python functions that a life has at most; all trials together call 500,000


def live(folder: Path) -> None:
    """One life of a driver. What has been made is written down before the ledger is told, as MLflow's record is."""
    made = folder / "made.jsonl"

    def known(key: str) -> Result | None:
        return run(key) if made.exists() and f"{key}\n" in made.read_text(encoding="utf-8") else None

    def end(key: str) -> Result:
        with made.open("a", encoding="utf-8") as file:
            file.write(f"{key}\n")
        return run(key)

    with ledger(f"sqlite:///{folder / 'optuna.db'}", known=known, trials=KILLED_TRIALS) as of:
        drive(of, order=random.Random(), end=end)


def lives(folder: Path, n: int) -> int:
    """So many lives, each but the last ended by SIGKILL in whatever function is called then; returns how many were."""
    killed = 0
    for number in range(n):
        child = os.fork()
        if not child:
            if number < n - 1:
                _die_after(random.Random(number).randrange(CALLS))
            live(folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL), status
        killed += status == signal.SIGKILL
    return killed


def _die_after(calls: int) -> None:
    left = calls

    def count(_: FrameType, event: str, __: Any) -> None:
        nonlocal left
        left -= event == "call"
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


if __name__ == "__main__":
    if sys.argv[1] == "first":
        print(json.dumps(first(int(sys.argv[2]))))
    else:
        print(lives(Path(sys.argv[2]), int(sys.argv[3])))
