"""`--budget 2h` or `$50`: runs are begun only as long as they will end within it. Pure decisions, and one clock.

Nothing that has begun is ever stopped. Money is time on rented places: all of them are paid from the first moment to
the last, at work or not.
"""

from __future__ import annotations

import heapq
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sweeps.campaign import Job
from sweeps.plan import Plan, PlannedRun
from sweeps.prices import Price

UNITS_S = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
EXPECTED = "expected a time as 90m, 2h or 1.5d, or money as $50"


class BadBudget(ValueError):
    """A budget that is neither a time nor money, is nothing, or is money without a price."""


class BudgetTooSmall(ValueError):
    """A budget within which no run can end."""


@dataclass(frozen=True)
class Budget:
    """How long runs may go on, from the start of the command."""

    text: str  # as it was given
    seconds: float
    dollars_per_hour: float | None = None  # of all places together, where it was given as money


def read_budget(text: str, price: Price | None = None, places: int = 1) -> Budget:
    """ "2h", "90m", "1.5d"; or "$50", which pays so many places (GPUs, or cores) for a while. Raises BadBudget.

    price: of one place. places: runs at once times workers of each.
    """
    found = re.fullmatch(r"(\$?)([0-9]{1,9}(?:\.[0-9]{1,9})?)([a-z0-9]*)", text.strip().lower())
    if found is None:
        raise BadBudget(f"--budget {text}: no budget; {EXPECTED}")
    dollars, amount, unit = found[1], float(found[2]), found[3]
    if amount == 0:
        raise BadBudget(f"--budget {text}: nothing can be done with that; {EXPECTED}")
    if not dollars:
        if unit not in UNITS_S:
            raise BadBudget(f"--budget {text}: {f'no unit {unit!r}' if unit else 'without a unit'}; {EXPECTED}")
        return Budget(text, amount * UNITS_S[unit])
    if unit:
        raise BadBudget(f"--budget {text}: money has no unit {unit!r}; {EXPECTED}")
    if price is None:
        raise BadBudget(f"--budget {text}: dollars without a price; add --price DOLLARS_PER_HOUR, or --on CARD")
    per_hour = price.dollars_per_hour * places
    return Budget(text, amount / per_hour * 3600, per_hour)


def may_begin(budget: Budget, seconds: float, elapsed_s: float) -> bool:
    """Whether a run of so many seconds, begun now, ends within the budget."""
    return elapsed_s + seconds <= budget.seconds


def within(budget: Budget, plan: Plan) -> tuple[PlannedRun, ...]:
    """The runs that will be begun: each in its turn, when there is room, if it ends in time; else the next one."""
    waiting, begun = list(plan.todo), []
    free_at = [plan.start_s] * plan.at_once
    while waiting:
        now = free_at[0]
        first = waiting[0].job  # no second seed before every row has had its first
        of_round = [run for run in waiting if (run.job.data_seed, run.job.seed) == (first.data_seed, first.seed)]
        run = next((run for run in of_round if may_begin(budget, run.seconds, now)), None)
        if run is None:  # nor later: there is less time then
            break
        waiting.remove(run)
        begun.append(run)
        heapq.heapreplace(free_at, now + run.seconds)
    return tuple(begun)


def refuse_too_small(budget: Budget, plan: Plan) -> None:
    """Raises BudgetTooSmall where something is left to do and nothing of it would be begun."""
    if not plan.todo or within(budget, plan):
        return
    shortest = min(plan.todo, key=lambda run: run.seconds)
    needed = plan.start_s + shortest.seconds
    pays = budget.dollars_per_hour
    found = f"{budget.text}, {budget.seconds:.0f} s of {pays:.2f} $/h" if pays else budget.text
    least = f"${math.ceil(needed * pays / 36) / 100:.2f}" if pays else f"{math.ceil(needed)}s"
    raise BudgetTooSmall(
        f"--budget {found}: the shortest run, {shortest.job.name}, takes about {needed:.0f} s with Ray's start;"
        f" expected {least} or more"
    )


class Spending:
    """A budget being spent. `may_begin` is what a launch asks before each run."""

    def __init__(
        self, budget: Budget, seconds: Mapping[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """seconds: the plan's estimate of every run, by key. It begins now."""
        self.budget, self.seconds = budget, seconds
        self._clock, self._began_s = clock, clock()

    @classmethod
    def of(cls, budget: Budget, plan: Plan, clock: Callable[[], float] = time.monotonic) -> Spending:
        """The spending of a plan's runs, which begins now."""
        return cls(budget, {run.job.key: run.seconds for run in plan.runs}, clock)

    @property
    def elapsed_s(self) -> float:
        """Since it began."""
        return self._clock() - self._began_s

    def may_begin(self, job: Job) -> bool:
        """Whether this run ends within the budget if it begins now."""
        return may_begin(self.budget, self.seconds[job.key], self.elapsed_s)
