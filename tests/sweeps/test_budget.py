"""What a budget is, and which runs are begun within it. The clock is handed in."""

import re
from dataclasses import replace

import pytest

from sweeps.budget import BadBudget, Budget, BudgetTooSmall, Spending, may_begin, read_budget, refuse_too_small, within
from sweeps.campaign import Job, declare
from sweeps.plan import Plan, PlannedRun, Rate, Work
from sweeps.prices import Price
from sweeps.study import find_study

PRICE = Price(2.0, "a test")
STUDY = find_study("recursion_depth")
JOBS = declare(STUDY, "mini").asked(STUDY.rows_of("mini"), (0,), (0,), lambda _: "h").jobs()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90m", 5400), ("90min", 5400), ("2h", 7200), ("1.5d", 129_600), ("30s", 30), (" 2H ", 7200)],
)
def test_a_time_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert read_budget(text).seconds == seconds


def test_money_pays_all_places_for_a_while() -> None:
    assert read_budget("$50", PRICE).seconds == 25 * 3600
    assert read_budget("$50", PRICE, places=8).seconds == pytest.approx(25 * 3600 / 8)
    assert read_budget("$0.50", PRICE).seconds == 900


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no budget; expected a time as 90m, 2h or 1.5d, or money as $50"),
        ("soon", "no budget"),
        ("-2h", "no budget"),
        ("nan", "no budget"),
        ("nanh", "no budget"),
        ("infh", "no budget"),
        ("1e3h", "no unit 'e3h'"),
        ("1..5h", "no budget"),
        ("0h", "nothing can be done with that"),
        ("0.0d", "nothing can be done with that"),
        ("$0", "nothing can be done with that"),
        ("2", "without a unit"),
        ("2w", "no unit 'w'"),
        ("$", "no budget"),
        ("$-5", "no budget"),
        ("$5h", "money has no unit 'h'"),
        ("50$", "no budget"),
    ],
)
def test_a_budget_that_is_none_is_refused_with_what_one_is(text: str, said: str) -> None:
    with pytest.raises(BadBudget, match=re.escape(said)):
        read_budget(text, PRICE)


def test_money_without_a_price_says_how_to_give_one() -> None:
    with pytest.raises(BadBudget, match=r"--budget \$50: dollars without a price; add --price"):
        read_budget("$50")


@pytest.mark.parametrize(("seconds", "elapsed_s", "begins"), [(10, 50, True), (10, 51, False), (61, 0, False)])
def test_a_run_begins_only_if_it_ends_within_the_budget(seconds: float, elapsed_s: float, begins: bool) -> None:
    assert may_begin(Budget("60s", 60), seconds, elapsed_s) is begins


def _plan(*seconds: float, at_once: int = 1, start_s: float = 0) -> Plan:
    runs = [PlannedRun(job, False, Work(each, 0), Rate(1, "a test"), 0) for job, each in zip(JOBS, seconds)]  # noqa: B905
    return Plan(tuple(runs), at_once, start_s=start_s)


@pytest.mark.parametrize(
    ("budget_s", "at_once", "begun"),
    [
        (60, 1, [30, 20, 10]),
        (59, 1, [30, 20]),
        (40, 1, [30, 10]),  # 20 would not end in time, 10 does
        (29, 1, [20]),
        (30, 2, [30, 20, 10]),
        (9, 1, []),
    ],
)
def test_a_plan_knows_which_runs_a_budget_is_enough_for(budget_s: float, at_once: int, begun: list[float]) -> None:
    plan = _plan(10, 20, 30, at_once=at_once)
    assert [run.seconds for run in within(Budget("b", budget_s), plan)] == begun


def test_a_budget_too_small_for_any_run_is_refused_with_the_least_that_would_do() -> None:
    plan = _plan(10, 20, start_s=10)
    with pytest.raises(BudgetTooSmall, match=r"--budget 19s: the shortest run, HRM k=1, T=1 seed 0, .* expected 20s"):
        refuse_too_small(read_budget("19s"), plan)
    with pytest.raises(BudgetTooSmall, match=r"--budget \$0\.01, 18 s of 2\.00 \$/h: .* expected \$0\.02 or more"):
        refuse_too_small(read_budget("$0.01", PRICE), plan)
    refuse_too_small(read_budget("20s"), plan)
    refuse_too_small(read_budget("$0.02", PRICE), plan)
    done = replace(plan, runs=tuple(replace(run, done=True) for run in plan.runs))
    refuse_too_small(read_budget("1s"), done)


def test_time_runs_from_the_start_of_the_spending_and_each_run_is_asked_by_its_own_estimate() -> None:
    now = [100.0]
    spending = Spending.of(Budget("60s", 60), _plan(10, 50), clock=lambda: now[0])
    short, long = JOBS[:2]

    def asked(job: Job) -> bool:
        return spending.may_begin(job)

    assert (asked(short), asked(long)) == (True, True)
    now[0] = 111
    assert (asked(short), asked(long)) == (True, False)
    now[0] = 151
    assert (asked(short), asked(long)) == (False, False)
    assert spending.elapsed_s == 51
