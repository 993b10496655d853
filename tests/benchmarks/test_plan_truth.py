"""The estimate that the benchmark reads is the one that a plan prints."""

import pytest

from benchmarks.plan_truth import ENDS, Estimate, seconds_said
from sweeps.campaign import declare
from sweeps.plan import Rate, make_plan
from sweeps.screen import plan_lines
from sweeps.study import find_study


@pytest.mark.parametrize("flops_per_s", [1e9, 1e11, 1e14])
def test_a_printed_plan_is_read_to_within_a_tenth(flops_per_s: float) -> None:
    study = find_study("recursion_depth")
    jobs = declare(study, "mini").asked(study.rows_of("mini"), (0,), (0,), lambda _: "h").jobs()
    plan = make_plan(jobs, (), {}, Rate(flops_per_s, "a test"), at_once=2, inline=True, unit="core")
    assert seconds_said("\n".join(plan_lines(plan, "", 80))) == pytest.approx(plan.seconds, rel=0.1)


def test_an_estimate_is_off_by_a_part_of_the_truth() -> None:
    assert Estimate("a test", 130, 100).off == pytest.approx(0.3)
    assert seconds_said("left: 0 of 6") is None
    assert ENDS.search("TRM k=1, T=1 seed 0: done, 95.8 % of test puzzles, 1:31 (1 of 4 runs done)")
