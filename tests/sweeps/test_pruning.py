"""A trial gives up only where it was measured that a rung foretells the end, and never the best so far."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sweeps.pruning import Curve, Direction, PruningReport, Rule, at_rung, gives_up, report_on, spearman

RUNGS = (100, 200, 400)
SURE = dict.fromkeys(RUNGS, 1.0)

values = st.floats(0, 1, width=16)
curves = st.dictionaries(st.sampled_from([50, 100, 150, 200, 300, 400, 500]), values, max_size=7)
crowds = st.lists(curves, max_size=12)
directions = st.sampled_from(["minimize", "maximize"])


def rule(**settings: object) -> Rule:
    return Rule.model_validate({"rungs": RUNGS, "measured": SURE, "startup": 1, **settings})


@given(curves, crowds, directions, st.floats(0.01, 1))
def test_the_best_so_far_never_gives_up(mine: Curve, others: list[Curve], direction: Direction, keep: float) -> None:
    best = max if direction == "maximize" else min
    reached = [rung for rung in RUNGS if at_rung(mine, rung) is not None]
    everyone = [mine, *others]
    if all(at_rung(mine, r) == best(v for c in everyone if (v := at_rung(c, r)) is not None) for r in reached):
        assert not gives_up(mine, others, rule(direction=direction, keep=keep))


@given(curves, crowds, directions, st.floats(0.01, 1), st.floats(0.01, 1))
def test_who_goes_on_among_few_goes_on_among_more(
    mine: Curve, others: list[Curve], direction: Direction, one: float, two: float
) -> None:
    fewer, more = (
        gives_up(mine, others, rule(direction=direction, keep=keep)) for keep in (min(one, two), max(one, two))
    )
    assert fewer or not more
    assert not gives_up(mine, others, rule(direction=direction, keep=1.0))


@given(curves, crowds)
def test_nothing_is_pruned_where_nothing_was_measured_or_what_was_is_not_trusted(
    mine: Curve, others: list[Curve]
) -> None:
    assert not gives_up(mine, others, rule(measured={}, keep=0.01))
    assert not gives_up(mine, others, rule(measured=dict.fromkeys(RUNGS, 0.49), keep=0.01))
    assert Rule(rungs=RUNGS).deciding == ()


@given(curves, crowds, st.integers(1, 12))
def test_a_rung_decides_only_once_enough_others_have_reached_it(mine: Curve, others: list[Curve], startup: int) -> None:
    if gives_up(mine, others, rule(keep=0.01, startup=startup)):
        assert any(sum(at_rung(other, rung) is not None for other in others) >= startup for rung in RUNGS)


@given(curves, crowds)
def test_more_measurements_never_take_a_decision_back(mine: Curve, others: list[Curve]) -> None:
    decided = [
        gives_up({step: value for step, value in mine.items() if step <= now}, others, rule()) for now in sorted(mine)
    ]
    assert decided == sorted(decided)


@given(crowds, curves, st.randoms(use_true_random=False))
def test_the_order_in_which_others_ran_decides_nothing(others: list[Curve], mine: Curve, random: object) -> None:
    shuffled = list(others)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert gives_up(mine, others, rule()) == gives_up(mine, shuffled, rule())


@given(curves, crowds)
def test_a_loss_that_falls_is_an_accuracy_that_rises(mine: Curve, others: list[Curve]) -> None:
    mirrored = [{step: -value for step, value in curve.items()} for curve in (mine, *others)]
    assert gives_up(mine, others, rule()) == gives_up(mirrored[0], mirrored[1:], rule(direction="minimize"))


def test_of_four_at_a_rung_half_go_on_and_equals_are_ahead_of_nobody() -> None:
    others = [{100: 0.2}, {100: 0.3}, {100: 0.4}]
    assert gives_up({100: 0.1}, others, rule())
    assert gives_up({100: 0.25}, others, rule())
    assert not gives_up({100: 0.3}, others, rule()), "one is better, one equal: it is second"
    assert not gives_up({100: 0.1}, [{100: 0.1}] * 9, rule())


def test_a_trial_is_asked_at_its_first_measurement_at_a_rung_or_after_it() -> None:
    assert at_rung({90: 0.1, 110: 0.2, 130: 0.3}, 100) == 0.2
    assert at_rung({90: 0.1}, 100) is None
    assert at_rung({100: math.nan, 150: 0.2}, 100) == 0.2, "what is not finite is no measurement"


def test_a_pruned_trial_counts_where_it_came_and_not_beyond() -> None:
    pruned = {100: 0.9}
    assert gives_up({100: 0.5}, [pruned, pruned], rule(measured={100: 1.0}))
    assert not gives_up({100: 0.5, 200: 0.5}, [pruned, pruned], rule(measured={200: 1.0}))


def test_a_curve_on_its_plateau_is_no_evidence_unless_the_rung_is_nearly_sure() -> None:
    unsure = {"plateau": 0.1, "measured": {100: 0.6}}
    assert gives_up({100: 0.15}, [{100: 0.5}] * 3, rule(**unsure)), "it has left its plateau and is behind"
    assert not gives_up({100: 0.04}, [{100: 0.5}] * 3, rule(**unsure)), "3.8 % at step 500 was 87 % at step 7,000"
    assert not gives_up({100: 0.04}, [{100: 0.08}] * 3, rule(**unsure)), "an order among plateaus is noise"
    assert gives_up({100: 0.04}, [{100: 0.5}] * 3, rule(plateau=0.1, measured={100: 0.85}))
    loss = {"direction": "minimize", "plateau": 1.5, "measured": {100: 0.6}}
    assert not gives_up({100: 1.6}, [{100: 0.5}] * 3, rule(**loss))
    assert gives_up({100: 1.4}, [{100: 0.5}] * 3, rule(**loss))


def test_what_a_search_protects_is_named_by_its_settings() -> None:
    protecting = rule(protect=({"mixer": "attention", "n_layers": 4}, {"ema": None}))
    assert protecting.protects({"mixer": "attention", "n_layers": 4, "lr": 0.001})
    assert protecting.protects({"ema": None})
    assert not protecting.protects({"mixer": "attention", "n_layers": 2})
    assert not protecting.protects({"lr": 0.001}), "a setting that a trial does not have is none"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"metric": "test/exact_accuracy"}, "the test set selects nothing"),
        ({"rungs": (200, 100), "measured": {}}, "ascend"),
        ({"measured": {123: 0.5}}, "no rungs"),
        ({"keep": 0.0}, "greater than 0"),
        ({"kep": 0.5}, "Extra inputs"),
    ],
)
def test_an_impossible_rule_is_refused_by_name(settings: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        rule(**settings)


def test_a_rule_survives_its_document() -> None:
    one = rule(protect=({"mixer": "attention"},))
    assert Rule.model_validate_json(one.model_dump_json()) == one


# --- what recorded curves say ----------------------------------------------------------------------------------------


def late_transition(trials: int = 24) -> dict[int, dict[int, float]]:
    """Cell accuracies that all look alike until each leaves its plateau: the one that leaves first is not the best."""
    rng = np.random.default_rng(7)
    ends, leaves = rng.uniform(0.6, 0.95, trials), rng.uniform(900, 1900, trials)
    return {
        key: {
            step: float(0.4 + rng.normal(0, 0.01) + (ends[key] - 0.4) / (1 + math.exp(-(step - leaves[key]) / 60)))
            for step in range(100, 4001, 100)
        }
        for key in range(trials)
    }


def steady(trials: int = 24) -> dict[int, dict[int, float]]:
    """Curves that never cross after step 100."""
    return {key: {step: key * step / 4000 for step in range(100, 4001, 100)} for key in range(trials)}


def ends_of(found: dict[int, dict[int, float]]) -> dict[int, float]:
    return {key: curve[max(curve)] for key, curve in found.items()}


def test_rungs_before_a_late_transition_are_reported_as_useless_and_later_ones_are_trusted() -> None:
    found = late_transition()
    report = report_on(found, ends_of(found), (300, 600, 2500, 3500), (0.5,), plateau=0.5)
    assert [rung.on_plateau for rung in report.rungs] == [24, 24, 0, 0]
    early, late = report.rungs[0], report.rungs[-1]
    assert early.spearman is not None
    assert early.spearman.low is not None
    assert early.spearman.low < 0 < 0.5
    assert late.spearman is not None
    assert late.spearman.value > 0.9
    assert report.trusted == (2500, 3500)
    killed = {replay.rungs: replay.winners for replay in report.replays}
    assert killed[(300,)], "half of all go at a rung that is noise: a winner is among them"
    assert killed[(3500,)] == killed[(2500, 3500)] == ()
    early_rule = Rule(rungs=(300, 600, 2500, 3500), measured=report.measured, startup=1)
    assert early_rule.deciding == (2500, 3500)
    best = report.winners[0]
    assert not gives_up(found[best], [curve for key, curve in found.items() if key != best], early_rule)


def test_curves_that_never_cross_save_what_is_left_after_the_rung_and_kill_no_winner() -> None:
    found = steady()
    flops = {key: 2.0 if key < 12 else 1.0 for key in found}
    report = report_on(found, ends_of(found), (1000,), (0.5, 0.25), flops=flops)
    half, quarter = report.replays
    assert report.winners == (23, 22, 21)
    assert half.pruned == tuple(range(12))
    assert half.winners == quarter.winners == ()
    assert half.steps_saved == pytest.approx(0.5 * 0.75)
    assert half.flops_saved == pytest.approx(2 / 3 * 0.75), "the pruned half costs twice as much"
    assert len(quarter.pruned) == 18
    assert report.rungs[0].kendall == pytest.approx(1.0)


def test_several_trusted_rungs_are_tried_together_too() -> None:
    found = steady()
    report = report_on(found, ends_of(found), (1000, 2000), (0.5,))
    assert [replay.rungs for replay in report.replays] == [(1000,), (2000,), (1000, 2000)]
    both = report.replays[-1]
    assert both.pruned == tuple(range(18))
    assert both.steps_saved == pytest.approx(12 / 24 * 0.75 + 6 / 24 * 0.5)


def test_a_loss_that_foretells_an_accuracy_correlates_upwards() -> None:
    found = {key: {100: 2.0 - key / 10, 1000: 1.0 - key / 10} for key in range(8)}
    report = report_on(found, {key: key / 10 for key in found}, (100,), (0.5,), direction="minimize")
    assert report.rungs[0].spearman is not None
    assert report.rungs[0].spearman.value == pytest.approx(1.0)
    assert report.replays[0].pruned == (0, 1, 2, 3)


def test_nothing_ends_at_its_own_end() -> None:
    found = steady()
    report = report_on(found, ends_of(found), (4000, 9000), (0.5,))
    assert [(replay.pruned, replay.steps_saved) for replay in report.replays] == [((), 0.0)] * 2
    assert report.rungs[1].trials == 0


def test_trials_without_an_end_are_counted_and_left_out() -> None:
    found = steady(6)
    ends = {**ends_of(found), 5: math.nan, 99: 0.5}
    del ends[4]
    report = report_on(found, ends, (1000,), (0.5,))
    assert (report.trials, report.left_out) == (4, 3)
    assert report.winners == (3, 2, 1)


def test_values_that_are_all_equal_rank_nothing() -> None:
    found = {key: {100: 0.0, 200: key / 10} for key in range(8)}
    report: PruningReport[int] = report_on(found, ends_of(found), (100,), (0.5,))
    assert report.rungs[0].spearman is None
    assert report.rungs[0].kendall is None
    assert report.measured == {}
    assert report.replays[0].pruned == ()


def test_few_trials_vouch_for_little_even_in_perfect_order() -> None:
    lows = []
    for n in (5, 6, 8, 16):
        found = spearman([(at, at) for at in range(n)])
        assert found is not None
        assert found.low is not None
        lows.append(found.low)
    assert lows == sorted(lows)
    assert lows[0] < 0.1
    assert lows[-1] > 0.9
    three = spearman([(0, 0), (1, 1), (2, 2)])
    assert three is not None
    assert three.low is None, "three trials have no interval, and no rung is trusted for them"
    assert spearman([(0, 0), (1, 1)]) is None


def test_the_interval_of_a_rank_correlation_holds_the_truth_about_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    rho, n, held = 0.7, 20, 0
    truth = 6 / math.pi * math.asin(rho / 2)  # Spearman's of a normal pair
    for _ in range(300):
        x = rng.normal(size=n)
        y = rho * x + math.sqrt(1 - rho * rho) * rng.normal(size=n)
        found = spearman(list(zip(x.tolist(), y.tolist(), strict=True)))
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= truth <= found.high
    assert 0.91 < held / 300 < 0.99


def test_no_trials_make_an_empty_report() -> None:
    report: PruningReport[int] = report_on({}, {}, (100,), (0.5,))
    assert report.trials == 0
    assert report.replays[0].steps_saved == 0
