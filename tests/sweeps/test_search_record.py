"""Which trials are best, which is chosen, and that the test set has no say in it."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeps.search_record import Axis, Confirmed, Objective
from tests.sweeps.searches import EXACT, FLOPS, SPACE, search, small, trial


def test_trials_are_ranked_by_the_objective_then_by_how_far_they_came() -> None:
    record = small(
        trial(0, state="RUNNING", reached=300),
        trial(1, 0.5),
        trial(2, state="PRUNED", reached=200),
        trial(3, 0.7),
        trial(4, state="FAIL"),
        trial(5, state="PRUNED", reached=400),
        trial(6, 0.7),
    )
    assert [one.number for one in record.ranked] == [3, 6, 1, 5, 2, 4, 0]
    assert [one.number for one in record.front] == [3, 6]
    less = replace(record, objectives=(Objective("train/loss", "minimize"),))
    assert [one.number for one in less.ranked][:3] == [1, 3, 6]


@given(st.lists(st.tuples(st.floats(0, 1, width=16), st.floats(0, 1, width=16)), min_size=1, max_size=12))
def test_the_front_is_what_no_trial_dominates_and_everything_else_is_dominated_by_it(
    points: list[tuple[float, float]],
) -> None:
    record = small(*(trial(at, *point) for at, point in enumerate(points)), objectives=(EXACT, FLOPS))

    def dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return one != other and one[0] >= other[0] and one[1] <= other[1]

    front = {one.number for one in record.front}
    assert front
    for at, point in enumerate(points):
        by_front = any(dominates(points[other], point) for other in front)
        assert by_front == (at not in front)
    assert record.chosen is None, "a front chooses nobody"


def test_a_front_goes_from_the_best_in_the_first_objective_to_the_best_in_the_last() -> None:
    record = small(trial(0, 0.7, 1.0), trial(1, 0.9, 3.0), trial(2, 0.8, 2.0), objectives=(EXACT, FLOPS))
    assert [one.number for one in record.front] == [1, 2, 0]


def test_before_it_is_confirmed_the_best_as_searched_is_chosen_and_then_the_best_with_fresh_seeds() -> None:
    record = small(trial(0, 0.9), trial(1, 0.8))
    assert record.chosen is record.trial(0)
    confirmed = (Confirmed(0, (1, 2), (0.5, 0.6)), Confirmed(1, (1, 2), (0.7, 0.7)))
    assert replace(record, confirmed=confirmed).chosen == record.trial(1)
    equal = (Confirmed(1, (1,), (0.5,)), Confirmed(0, (1,), (0.5,)))
    assert replace(record, confirmed=equal).chosen == record.trial(0), "of equal ones the better as searched"


def test_the_test_set_chooses_nothing() -> None:
    record = search()
    worst = replace(record, confirmed=tuple(replace(one, test=(0.0,) * 3) for one in record.confirmed))
    best = replace(record, confirmed=tuple(replace(one, test=(1.0,) * 3) for one in record.confirmed))
    assert record.chosen == worst.chosen == best.chosen
    assert [one.number for one in worst.ranked] == [one.number for one in best.ranked]


def test_a_promise_is_too_much_where_fresh_seeds_hold_less_whichever_way_the_metric_goes() -> None:
    confirmed = Confirmed(0, (1, 2, 3), (0.5, 0.6, 0.7))
    over = small(trial(0, 0.9), confirmed=(confirmed,)).over_promise(confirmed)
    assert over is not None
    assert over.mean == pytest.approx(0.3)
    assert over.low == pytest.approx(0.3 - 4.302653 * 0.1 / math.sqrt(3))
    loss = small(trial(0, 0.4), objectives=(Objective("train/loss", "minimize"),))
    over = loss.over_promise(confirmed)
    assert over is not None
    assert over.mean == pytest.approx(0.2)
    assert loss.over_promise(Confirmed(0, (), ())) is None
    assert loss.over_promise(Confirmed(9, (1,), (0.5,))) is None


def test_columns_are_named_by_the_last_part_where_that_is_clear() -> None:
    record = replace(small(trial(0, 0.5)), space=(*SPACE[:1], Axis("train.steps", 1, 9), Axis("other.steps", 1, 9)))
    assert list(record.labels.values()) == ["lr", "train.steps", "other.steps"]
    two = replace(record, space=(Axis("lr of AdamW", 0, 1, setting="optim.lr"),))
    assert two.setting("lr of AdamW") == "optim.lr"


def test_two_objectives_that_end_alike_keep_their_whole_names() -> None:
    train = Objective("train/exact_accuracy", "maximize")
    record = small(trial(0, 0.5, 0.6), objectives=(EXACT, train))
    assert record.metrics == ("validation/exact_accuracy", "train/exact_accuracy")
    assert small(trial(0, 0.5)).metrics == ("exact_accuracy",)
