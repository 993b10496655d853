"""What is left to do, what it costs and whether it may start: no cluster, no MLflow."""

from datetime import UTC, datetime

import pytest
from sweeps.tracking import RunRecord

from sweeps.plan import (
    ASSUMED_GPU_FLOPS_PER_S,
    PUBLISHED_TEST_PUZZLES,
    Consent,
    NoSuchRow,
    Plan,
    PlannedRun,
    Rate,
    assumed_gpu,
    gpu_hours,
    make_jobs,
    make_plan,
    measure_cpu,
    needs_consent,
    recorded_rates,
    recorded_settings,
    run_flops,
    select_rows,
)
from sweeps.profiles import configure
from sweeps.study import Row, Study, find_study
from trm_core.config import BadSetting, RunConfig

STUDY = find_study("recursion_depth")
MINI = STUDY.rows_of("mini")
RATE = Rate(1e12, "a test")


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


def test_jobs_are_rows_times_seeds_and_named_by_their_settings_and_puzzles() -> None:
    jobs = make_jobs(STUDY, MINI[:2], "mini", seeds=3, overrides=["model.D=32"], data_hash=lambda _: "h")
    assert [(job.row, job.seed) for job in jobs] == [(row.name, seed) for row in MINI[:2] for seed in range(3)]
    assert all(job.run.model.D == 32 and job.run.train.seed == job.seed for job in jobs)
    assert [job.key for job in jobs] == [job.run.key("h") for job in jobs]
    assert not {job.key for job in jobs} & {job.run.key("other") for job in jobs}


@pytest.mark.parametrize(
    ("overrides", "seeds", "said"),
    [
        (["model.T=1", "model.n=2"], 1, r"'HRM k=1, T=1' and 'HRM k=2, T=2' become the same run"),
        (["train.seed=5"], 2, r"'HRM k=1, T=1' and seed 1 become the same run"),
    ],
)
def test_overrides_that_make_two_jobs_the_same_run_are_refused(overrides: list[str], seeds: int, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        make_jobs(STUDY, MINI, "mini", seeds=seeds, overrides=overrides, data_hash=lambda _: "h")


def test_a_seed_that_was_set_is_the_jobs_seed() -> None:
    (job,) = make_jobs(STUDY, MINI[:1], "mini", seeds=1, overrides=["train.seed=5"], data_hash=lambda _: "h")
    assert job.seed == 5


def test_a_job_is_named_by_the_puzzle_set_of_its_own_data_settings() -> None:
    rows = (Row(name="many", base="trm"), Row(name="few", base="trm", change={"data": {"train": 10}}))
    study = Study(name="a", title="A", puzzle="sudoku", source="", rows=rows)
    many, few = make_jobs(study, rows, "mini", seeds=1, data_hash=lambda data: f"{data.train} puzzles")
    assert (many.key, few.key) == (many.run.key("2000 puzzles"), few.run.key("10 puzzles"))


# --- what they cost --------------------------------------------------------------------------------------------------


def test_a_runs_cost_is_its_training_steps_and_its_evaluations() -> None:
    run = RunConfig().set(
        ["train.steps=10", "train.batch_size=4", "train.eval_every=4", "train.eval_puzzles=50", "model.N_sup=3"]
    )
    run = run.set(["data.validation=100", "data.test=20"])
    training = 10 * 4 * run.train_flops()
    # at steps 4 and 8 on 50 + 20 puzzles, at the end on 100 + 20; each puzzle three supervision steps
    assert run_flops(run) == training + (2 * 70 + 120) * 3 * run.forward_flops()


def test_evaluation_at_the_last_step_is_not_counted_twice_and_may_go_deeper_than_training() -> None:
    run = RunConfig().set(["train.steps=8", "train.eval_every=4", "data.test=10", "data.validation=10"])
    deeper = run.set(["train.eval_N_sup=32"])
    assert run_flops(deeper) - run_flops(run) == (2 * 20) * 16 * run.forward_flops()


def test_all_test_puzzles_are_counted_as_many_as_there_are_or_were_published() -> None:
    run = RunConfig()
    per_puzzle = 16 * run.forward_flops()
    assert run_flops(run) - run_flops(run, 1) == pytest.approx(
        (PUBLISHED_TEST_PUZZLES - 1 + 13 * 1999) * per_puzzle, rel=1e-6
    )


def test_every_variant_of_an_arc_test_task_votes_at_the_end_and_a_limit_on_votes_is_one_on_the_cost() -> None:
    run = RunConfig().set(["data.puzzle=arc", "data.validation=0", "data.augmentations=7", "train.steps=1"])
    one = run.set(["train.votes=1"])
    assert run_flops(run, 5) - run_flops(one, 5) == 5 * 7 * 16 * run.forward_flops()
    assert run_flops(run.set(["train.votes=100"]), 5) == run_flops(run, 5)


def _record(
    row: str = "TRM k=1, T=1",
    *,
    speed: float = 2.0,
    device: str = "cpu",
    status: str = "FINISHED",
    day: int = 1,
    n: str = "2",
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
        params={"model.n": n, "depth": "6"},
        metrics={"time/steps_per_second": speed},
        started=datetime(2026, 1, day, tzinfo=UTC),
        ended=None,
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


def test_a_plan_takes_each_rate_from_the_best_source_and_says_which() -> None:
    jobs = make_jobs(STUDY, MINI[:2], "mini", seeds=1, data_hash=lambda _: "h")
    own = Rate(5e9, "its own row")
    plan = make_plan(jobs, set(), {jobs[1].row: own}, RATE)
    assert [run.rate for run in plan.runs] == [RATE, own]
    assert plan.runs[1].seconds == run_flops(jobs[1].run) / 5e9
    assert plan.sources == ("a test", "its own row")
    assert make_plan(jobs, set(), {"": own}, RATE).sources == ("its own row",)


def test_what_is_done_costs_nothing_more() -> None:
    jobs = make_jobs(STUDY, MINI, "mini", seeds=1, data_hash=lambda _: "h")
    plan = make_plan(jobs, {jobs[0].key, "a key of another study"}, {}, RATE)
    assert (plan.n_done, len(plan.todo), len(plan.runs)) == (1, 5, 6)
    assert plan.flops == sum(run_flops(job.run) for job in jobs[1:])
    done = make_plan(jobs, {job.key for job in jobs}, {}, RATE)
    assert (done.n_done, done.todo, done.flops, done.seconds) == (6, (), 0, 0)


def _plan(*flops: float, at_once: int = 1) -> Plan:
    (job,) = make_jobs(STUDY, MINI[:1], "mini", seeds=1, data_hash=lambda _: "h")
    return Plan(tuple(PlannedRun(job, False, each, RATE, 0) for each in flops), at_once)


def test_runs_beside_each_other_take_less_time_but_never_less_than_the_longest() -> None:
    assert _plan(4e12, 4e12, at_once=1).seconds == 8
    assert _plan(4e12, 4e12, at_once=2).seconds == 4
    assert _plan(7e12, 1e12, at_once=2).seconds == 7


def test_the_calibration_finds_a_rate_that_a_computer_can_have() -> None:
    rate = measure_cpu(for_s=0.01)
    assert 1e7 < rate.flops_per_s < 1e13
    assert "calibration" in rate.source


def test_the_rate_of_an_unknown_gpu_is_called_an_assumption() -> None:
    assert assumed_gpu().flops_per_s == ASSUMED_GPU_FLOPS_PER_S
    assert assumed_gpu().source.startswith("assumption")


def test_the_assumed_gpu_trains_the_released_model_in_the_18_hours_it_is_known_to_take() -> None:
    run = configure(STUDY, next(row for row in STUDY.rows if row.name == "TRM k=3, T=3"), "official", 0)
    training_s = run.train_flops() * run.train.batch_size * run.train.steps / ASSUMED_GPU_FLOPS_PER_S
    assert training_s / 3600 == pytest.approx(18, rel=0.05)


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
def test_without_a_gpu_the_work_counts_as_on_the_assumed_one(hours: float, consent: Consent) -> None:
    plan = _plan(hours * 3600 * ASSUMED_GPU_FLOPS_PER_S)
    assert gpu_hours(plan, gpus=0) == pytest.approx(hours)
    assert needs_consent(plan, 0, yes=False, is_terminal=False) is consent


def test_a_mini_study_starts_unasked_and_an_official_one_does_not() -> None:
    for profile, consent in (("mini", Consent.NOT_NEEDED), ("official", Consent.MISSING)):
        jobs = make_jobs(STUDY, STUDY.rows_of(profile), profile, seeds=3, data_hash=lambda _: "h")  # type: ignore[arg-type]
        plan = make_plan(jobs, set(), {}, assumed_gpu())
        assert needs_consent(plan, 0, yes=False, is_terminal=False) is consent
