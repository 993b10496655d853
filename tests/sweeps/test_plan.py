"""What is left to do, what it costs and whether it may start: no cluster, no MLflow."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from sweeps.campaign import Job, declare
from sweeps.plan import (
    INLINE_START_S,
    RAY_START_S,
    TRAIN_START_S,
    BadShard,
    Consent,
    NoSuchRow,
    Plan,
    PlannedRun,
    Rate,
    Work,
    card_rate,
    gpu_hours,
    gpu_rate,
    make_plan,
    makespan,
    needs_consent,
    part_of,
    read_shard,
    recorded_rates,
    recorded_settings,
    run_work,
    select_rows,
)
from sweeps.prices import L40S_FLOPS_PER_S, Price, find_card
from sweeps.profiles import configure
from sweeps.puzzles import PUBLISHED_TESTS
from sweeps.records.types import RunRecord
from sweeps.study import ProfileName, find_study
from trm_core.config import RunConfig

STUDY = find_study("recursion_depth")
MINI = STUDY.rows_of("mini")
RATE = Rate(1e12, "a test")


def jobs_of(n_rows: int = len(MINI), seeds: int = 1, profile: ProfileName = "mini") -> tuple[Job, ...]:
    rows = STUDY.rows_of(profile)[:n_rows]
    return declare(STUDY, profile).asked(rows, range(seeds), (0,), lambda _: "h").jobs()


# --- which runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ((), [row.name for row in MINI]),
        (("k=3*",), ["HRM k=3, T=3", "TRM k=3, T=3"]),
        (("trm",), ["TRM k=1, T=1", "TRM k=2, T=2", "TRM k=3, T=3"]),
        (("TRM*T=1", "HRM k=2"), ["TRM k=1, T=1", "HRM k=2, T=2"]),
        (("T=[12]",), ["HRM k=1, T=1", "TRM k=1, T=1", "HRM k=2, T=2", "TRM k=2, T=2"]),
    ],
)
def test_only_keeps_the_rows_with_the_pattern_anywhere_in_their_name(
    patterns: tuple[str, ...], names: list[str]
) -> None:
    assert [row.name for row in select_rows(STUDY, "mini", patterns)] == names


def test_a_pattern_that_matches_no_row_is_refused_with_the_rows_there_are() -> None:
    with pytest.raises(
        NoSuchRow, match=r"--only 'k=9' matches no row of recursion_depth in mini; rows are: HRM k=1, T=1;"
    ):
        select_rows(STUDY, "mini", ("k=1", "k=9"))


def test_a_pattern_for_a_row_of_another_profile_says_which() -> None:
    with pytest.raises(NoSuchRow, match=r"HRM k=4, T=4 is in official, paper only"):
        select_rows(STUDY, "mini", ("k=4",))


# --- what they cost --------------------------------------------------------------------------------------------------


def test_a_runs_cost_is_its_training_steps_and_its_evaluations() -> None:
    run = RunConfig().set(
        ["train.steps=10", "train.batch_size=4", "train.eval_every=4", "train.eval_puzzles=50", "model.N_sup=3"]
    )
    run = run.set(["data.validation=100", "data.test=20"])
    training = 10 * 4 * run.train_flops()
    # at steps 4 and 8 on 50 + 20 puzzles, at the end on 100 + 20; each puzzle three supervision steps
    assert run_work(run) == Work(training, (2 * 70 + 120) * 3 * run.forward_flops())


@pytest.mark.parametrize(("after", "looks"), [(0, 2), (3, 2), (4, 1), (9, 0), (10, 0)])
def test_of_a_run_that_goes_on_only_what_is_left_is_counted(after: int, looks: int) -> None:
    run = RunConfig().set(["train.steps=10", "train.batch_size=4", "train.eval_every=4", "train.eval_puzzles=50"])
    run = run.set(["data.validation=100", "data.test=20"])
    left = Work((10 - after) * 4 * run.train_flops(), (looks * 70 + 120) * 16 * run.forward_flops())
    assert run_work(run, after=after) == left
    job = Job(run.key(""), "a_study", "a row", "trm", "official", 0, run)
    plan = make_plan([job], set(), {}, RATE, reached=lambda _: after)
    assert plan.runs[0].work == left
    assert any("goes on from its checkpoint" in note for note in plan.notes) == (after > 0)


def test_evaluation_at_the_last_step_is_not_counted_twice_and_may_go_deeper_than_training() -> None:
    run = RunConfig().set(["train.steps=8", "train.eval_every=4", "data.test=10", "data.validation=10"])
    deeper = run.set(["train.eval_N_sup=32"])
    assert run_work(deeper).evaluation - run_work(run).evaluation == (2 * 20) * 16 * run.forward_flops()


def test_a_run_on_validation_alone_costs_no_evaluation_of_a_test_puzzle_and_no_vote() -> None:
    run = RunConfig().set(["train.steps=8", "train.eval_every=4", "data.test=10", "data.validation=20"])
    arc = run.set(["data.puzzle=arc", "data.augmentations=7"])
    for each in (run, arc):
        alone = each.set(["train.evaluate_on=validation"])
        assert run_work(alone, 5).evaluation == (20 + 20) * 16 * each.forward_flops()
        assert run_work(alone).training == run_work(each).training


def test_all_test_puzzles_are_counted_as_many_as_there_are_or_were_published() -> None:
    run = RunConfig()
    per_puzzle = 16 * run.forward_flops()
    assert run_work(run).flops - run_work(run, 1).flops == pytest.approx(
        (PUBLISHED_TESTS["sudoku"] - 1 + 13 * 1999) * per_puzzle, rel=1e-6
    )


def test_every_variant_of_an_arc_test_task_votes_at_the_end_and_a_limit_on_votes_is_one_on_the_cost() -> None:
    run = RunConfig().set(["data.puzzle=arc", "data.validation=0", "data.augmentations=7", "train.steps=1"])
    one = run.set(["train.votes=1"])
    assert run_work(run, 5).evaluation - run_work(one, 5).evaluation == 5 * 7 * 16 * run.forward_flops()
    assert run_work(run.set(["train.votes=100"]), 5) == run_work(run, 5)


def _record(
    row: str = "TRM k=1, T=1",
    *,
    speed: float = 2.0,
    device: str = "cpu",
    status: str = "FINISHED",
    day: int = 1,
    n: str = "2",
    steps: int | None = None,
    lasted_s: float | None = None,
    metrics: dict[str, float] | None = None,
) -> RunRecord:
    return RunRecord(
        key=f"{row} {day}",
        study="recursion_depth",
        row=row,
        base="trm",
        profile="mini",
        seed=0,
        status=status,
        run_id="r",
        tags={"device": device},
        params={"model.n": n, "depth": "6"} | ({} if steps is None else {"train.steps": str(steps)}),
        metrics={"time/steps_per_second": speed} | (metrics or {}),
        started=(started := datetime(2026, 1, day, tzinfo=UTC)),
        ended=None if lasted_s is None else started + timedelta(seconds=lasted_s),
    )


def test_a_finished_run_on_this_device_tells_the_rate_of_its_row_and_the_median_that_of_the_others() -> None:
    per_step = 768 * RunConfig().set(["model.n=2"]).train_flops()
    records = [_record(speed=1, day=1), _record(speed=3, day=3), _record(speed=2, day=2), _record("HRM", speed=5)]
    rates = recorded_rates(records, "cpu")
    assert rates["TRM k=1, T=1"].flops_per_s == 3 * per_step  # the newest
    assert rates[""].flops_per_s == 4 * per_step
    assert "same row" in rates["HRM"].source
    assert "other rows" in rates[""].source


@pytest.mark.parametrize(
    "record",
    [
        _record(status="FAILED"),
        _record(device="NVIDIA H200"),
        _record(speed=0),
        _record(n="a value of another version"),
    ],
)
def test_runs_that_failed_or_ran_elsewhere_or_cannot_be_read_tell_no_rate(record: RunRecord) -> None:
    assert recorded_rates([record], "cpu") == {}


def test_any_gpu_stands_for_a_gpu_whose_name_is_not_known() -> None:
    assert recorded_rates([_record(device="NVIDIA H200")], "") != {}
    assert recorded_rates([_record(device="cpu")], "") == {}


def test_settings_are_read_back_from_what_is_recorded_of_a_run() -> None:
    run = configure(STUDY, MINI[0], "mini", 4)
    recorded = {name: "none" if value is None else str(value) for name, value in run.flat().items()}
    assert recorded_settings(recorded | {"depth": "8", "parameters": "1"}) == run


@pytest.mark.parametrize(
    ("steps", "speed"),
    [
        ((300, 20, 20), 1),  # two looks at the beginning after a whole run
        ((300, 30, 20), 2),
        ((20, 30, 300), 3),
        ((20, 20), 2),  # there is nothing better
    ],
)
def test_a_run_of_few_steps_says_nothing_of_a_row_that_was_trained_for_longer(
    steps: tuple[int, ...], speed: int
) -> None:
    per_step = 768 * RunConfig().set(["model.n=2"]).train_flops()
    records = [_record(speed=day, day=day, steps=n) for day, n in enumerate(steps, start=1)]
    assert recorded_rates(records, "cpu")["TRM k=1, T=1"].flops_per_s == speed * per_step


def test_how_long_a_run_lasted_says_more_than_its_last_steps_but_not_where_it_was_interrupted() -> None:
    run = RunConfig().set(["model.n=2"])
    work = run_work(run, 1000)
    last_steps = 768 * run.train_flops()  # at a step per second
    took_s = work.flops / last_steps

    def rate(lasted_s: float) -> float:
        record = _record(speed=1, lasted_s=lasted_s + INLINE_START_S, metrics={"test/puzzles": 1000})
        return recorded_rates([record], "cpu")["TRM k=1, T=1"].flops_per_s

    assert rate(1.5 * took_s) == pytest.approx(work.flops / (1.5 * took_s))
    assert rate(0.7 * took_s) == pytest.approx(work.flops / (0.7 * took_s))
    assert rate(9 * took_s) == pytest.approx(last_steps)  # killed in the evening, resumed in the morning
    assert rate(0.01 * took_s) == pytest.approx(last_steps)  # a record that stands for another study's run


def test_a_rate_of_several_workers_is_shared_out() -> None:
    one, four = (recorded_rates([_record()], "cpu", workers)[""].flops_per_s for workers in (1, 4))
    assert one == 4 * four


def test_a_rate_that_was_measured_on_a_share_of_a_gpu_is_that_share_of_the_gpus() -> None:
    alone, shared = (_record(device="NVIDIA H100"), _record(device="NVIDIA H100"))
    shared = replace(shared, tags=shared.tags | {"gpus_per_run": "0.25"})
    (whole, quarter) = (recorded_rates([record], "H100")[""].flops_per_s for record in (alone, shared))
    assert quarter == 4 * whole
    for strange in ("0", "0.0", "1", "-0.5", "nan", "many"):
        odd = replace(alone, tags=alone.tags | {"gpus_per_run": strange})
        assert recorded_rates([odd], "H100")[""].flops_per_s == whole


def test_a_card_knows_its_own_records_by_a_part_of_their_device() -> None:
    records = [_record(device="NVIDIA H100 80GB HBM3"), _record("other", device="NVIDIA L40S")]
    assert set(recorded_rates(records, find_card("h100").device)) == {"TRM k=1, T=1", ""}


def test_a_plan_takes_each_rate_from_the_best_source_and_says_which() -> None:
    jobs = jobs_of(3)
    own, measured, others = Rate(5e9, "its own row"), Rate(4e9, "measured"), Rate(3e9, "other rows")
    rates = {jobs[1].row: own, "": others}
    plan = make_plan(jobs, set(), rates, RATE, measured={jobs[2].run: measured, jobs[1].run: measured}, inline=True)
    assert [run.rate for run in plan.runs] == [others, own, measured]
    assert plan.runs[1].seconds == INLINE_START_S + run_work(jobs[1].run).flops / 5e9
    assert set(plan.sources) == {"its own row", "measured", "other rows"}
    assert make_plan(jobs, set(), {}, RATE).sources == ("a test",)


def test_evaluation_has_a_rate_of_its_own_where_it_was_measured() -> None:
    assert Rate(2.0, "", evaluation_flops_per_s=4.0).seconds(Work(8, 8)) == 4 + 2
    assert Rate(2.0, "").seconds(Work(8, 8)) == 4 + 4


def test_a_run_starts_slower_with_ray_train_and_workers_share_its_work() -> None:
    jobs = jobs_of(1)
    alone, shared = (make_plan(jobs, set(), {}, RATE, workers=n).runs[0] for n in (1, 4))
    work_s = run_work(jobs[0].run).flops / RATE.flops_per_s
    assert (alone.seconds, shared.seconds) == (TRAIN_START_S + work_s, TRAIN_START_S + work_s / 4)
    assert shared.hours == pytest.approx((4 * TRAIN_START_S + work_s) / 3600)


def test_runs_that_share_a_gpu_are_slower_each_and_as_fast_and_dear_all_together() -> None:
    jobs = jobs_of(4)
    rates = {"": Rate(1e6, "slow, so that starting is nothing beside it")}
    alone = make_plan(jobs, set(), rates, RATE, at_once=1, inline=True)
    packed = make_plan(jobs, set(), rates, RATE, at_once=4, share=0.25, inline=True)
    assert packed.runs[0].seconds == pytest.approx(4 * alone.runs[0].seconds, rel=1e-3)
    assert packed.hours == pytest.approx(alone.hours, rel=1e-3)
    assert max(run.seconds for run in packed.runs) < packed.seconds < 2 * alone.seconds


def test_what_is_done_costs_nothing_more() -> None:
    jobs = jobs_of()
    plan = make_plan(jobs, {jobs[0].key, "a key of another study"}, {}, RATE)
    assert (plan.n_done, len(plan.todo), len(plan.runs)) == (1, 5, 6)
    assert plan.flops == pytest.approx(sum(run_work(job.run).flops for job in jobs[1:]))
    done = make_plan(jobs, {job.key for job in jobs}, {}, RATE)
    assert (done.n_done, done.todo, done.flops, done.seconds, done.hours) == (6, (), 0, 0, 0)


def test_first_seeds_begin_first_and_the_longest_of_them_before_the_others() -> None:
    plan = make_plan(jobs_of(3, seeds=2), set(), {}, RATE)
    assert [run.job.seed for run in plan.todo] == [0, 0, 0, 1, 1, 1]
    assert [run.seconds for run in plan.todo[:3]] == sorted((run.seconds for run in plan.todo[:3]), reverse=True)


def _plan(*flops: float, at_once: int = 1, price: Price | None = None) -> Plan:
    (job,) = jobs_of(1)
    return Plan(tuple(PlannedRun(job, False, Work(each, 0), RATE, 0) for each in flops), at_once, price=price)


@pytest.mark.parametrize(
    ("seconds", "at_once", "ends"),
    [
        ((4, 4), 1, 8),
        ((4, 4), 2, 4),
        ((7, 1), 2, 7),
        ((4, 4, 4), 2, 8),  # two at once, and a third alone: not 6
        ((5, 3, 3, 2), 2, 7),
        ((), 3, 0),
    ],
)
def test_runs_beside_each_other_end_when_the_last_has_had_its_turn(
    seconds: tuple[float, ...], at_once: int, ends: float
) -> None:
    assert makespan(seconds, at_once) == ends


def test_rays_start_is_in_the_time_once() -> None:
    jobs = jobs_of(2)
    plan = make_plan(jobs, set(), {}, RATE, at_once=2)
    assert plan.seconds == RAY_START_S + max(run.seconds for run in plan.runs)


def test_money_is_hours_of_work_and_idle_places_cost_as_well() -> None:
    plan = _plan(3600e12, 3600e12, 3600e12, at_once=2, price=Price(2.0, "a test"))
    assert plan.hours == 3
    assert plan.dollars == 6
    assert plan.rented_dollars == 2.0 * 2 * 2  # two hours of two places
    assert _plan(1e12).dollars is None


def test_a_card_has_the_rate_of_the_table_and_an_unknown_gpu_that_of_an_l40s_as_an_assumption() -> None:
    assert gpu_rate("NVIDIA H100 80GB HBM3") == card_rate(find_card("h100"))
    assert gpu_rate("").flops_per_s == gpu_rate("NVIDIA Unheard-of").flops_per_s == L40S_FLOPS_PER_S
    assert "assumption" in gpu_rate("").source


def test_the_l40s_trains_the_released_model_in_the_18_hours_it_is_known_to_take() -> None:
    run = configure(STUDY, next(row for row in STUDY.rows if row.name == "TRM k=3, T=3"), "official", 0)
    assert run_work(run).training / find_card("l40s").flops_per_s / 3600 == pytest.approx(18, rel=0.05)


# --- whether it may start --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hours", "gpus", "yes", "is_terminal", "consent"),
    [
        (0.0, 1, False, False, Consent.NOT_NEEDED),
        (1.0, 1, False, False, Consent.NOT_NEEDED),
        (1.1, 1, False, True, Consent.ASK),
        (1.1, 1, True, True, Consent.GIVEN),
        (1.1, 1, True, False, Consent.GIVEN),
        (1.1, 1, False, False, Consent.MISSING),
        (1.1, 8, False, False, Consent.MISSING),
        (0.9, 1, True, True, Consent.NOT_NEEDED),
    ],
)
def test_more_than_one_gpu_hour_needs_a_yes(
    hours: float, gpus: int, yes: bool, is_terminal: bool, consent: Consent
) -> None:
    plan = _plan(hours * 3600 * RATE.flops_per_s / 2, hours * 3600 * RATE.flops_per_s / 2, at_once=max(1, gpus))
    assert needs_consent(plan, gpus, yes, is_terminal) is consent


@pytest.mark.parametrize(("hours", "consent"), [(0.9, Consent.NOT_NEEDED), (1.1, Consent.MISSING)])
def test_without_a_gpu_the_work_counts_as_on_an_l40s(hours: float, consent: Consent) -> None:
    plan = _plan(hours * 3600 * L40S_FLOPS_PER_S)
    assert gpu_hours(plan, gpus=0) == pytest.approx(hours)
    assert needs_consent(plan, 0, yes=False, is_terminal=False) is consent


@pytest.mark.parametrize(("profile", "consent"), [("mini", Consent.NOT_NEEDED), ("official", Consent.MISSING)])
def test_a_mini_study_starts_unasked_and_an_official_one_does_not(profile: ProfileName, consent: Consent) -> None:
    plan = make_plan(jobs_of(99, 3, profile), set(), {}, gpu_rate())
    assert needs_consent(plan, 0, yes=False, is_terminal=False) is consent


@pytest.mark.parametrize("n", [1, 2, 3, 5, 12, 40])
def test_the_parts_of_the_work_are_all_of_it_each_run_in_one_and_no_part_has_all_the_deepest(n: int) -> None:
    jobs = {f"{seed} {row}": job for seed in range(2) for row, job in enumerate(6 * [cast(Job, None)])}
    parts = [part_of(jobs, (i, n)) for i in range(1, n + 1)]
    assert sorted(key for part in parts for key in part) == sorted(jobs)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    if n in (2, 3):
        assert all(len({key.split()[1] for key in part}) == len(part) for part in parts), "a row's seeds in other parts"
    assert part_of(jobs, None) == jobs


def test_a_part_is_named_by_two_numbers() -> None:
    assert (read_shard("2/8"), read_shard(None)) == ((2, 8), None)
    for bad in ("", "2", "0/8", "9/8", "2/", "a/b", "²/8", "1/0", "-1/2", "1/2/3", "9" * 5000):
        with pytest.raises(BadShard, match="expected a part and of how many, as 2/8"):
            read_shard(bad)
