"""What is printed of a plan: it fits, names give way before seeds and numbers, and nothing is said twice."""

import subprocess
from dataclasses import replace

import pytest

from sweeps.budget import Budget
from sweeps.campaign import declare
from sweeps.plan import Plan, Rate, make_plan
from sweeps.prices import Price
from sweeps.screen import (
    dollars_words,
    duration_words,
    hours_words,
    plan_lines,
    print_plan,
    say_what_is_left,
    say_what_was_not_begun,
    to_copy,
)
from sweeps.study import ProfileName, find_study

RATE = Rate(30e12, "a test")


def plan_of(study: str, profile: ProfileName = "official", seeds: int = 1, n_done: int = 0) -> Plan:
    declared = find_study(study)
    jobs = declare(declared, profile).asked(declared.rows_of(profile), range(seeds), (0,), lambda _: "h").jobs()
    done = {job.key for job in jobs[:n_done]}
    return make_plan(jobs, done, {}, RATE, at_once=2, price=Price(2.5, "a test, 2026-11-26"))


@pytest.mark.parametrize("study", ["recursion_depth", "components", "arc_agi"])
@pytest.mark.parametrize(("seeds", "n_done"), [(1, 0), (1, 2), (3, 4)])
@pytest.mark.parametrize("room", [60, 80, 100, 160])
def test_a_plan_fits_its_columns_and_breaks_no_word(study: str, seeds: int, n_done: int, room: int) -> None:
    plan = plan_of(study, seeds=seeds, n_done=n_done)
    lines = plan_lines(plan, "3 seeds of each row separate 4.3 points from the baseline.", room)
    assert max(map(len, lines)) <= room
    words = set(" ".join(plan_lines(plan, "3 seeds of each row separate 4.3 points from the baseline.", 500)).split())
    said = {word for line in lines for word in line.split() if "…" not in word and set(word) != {"-"}}
    assert said <= words
    assert sum(" · seed" in line for line in lines) == len(lines[2 : lines.index("") - 2])


def test_columns_go_before_names_are_shortened_and_time_and_money_stay() -> None:
    plan = plan_of("recursion_depth")
    heads = {room: plan_lines(plan, "", room)[0].split() for room in (120, 80, 60)}
    assert heads[120] == ["run", "depth", "NFP", "parameters", "memory", "FLOPs", "time", "GPU-h", "cost"]
    assert heads[80] == ["run", "depth", "NFP", "memory", "FLOPs", "time", "GPU-h", "cost"]
    assert heads[60] == ["run", "memory", "time", "GPU-h", "cost"]
    assert all("HRM k=1, T=1 · seed 0" in "\n".join(plan_lines(plan, "", room)) for room in heads)


def test_names_that_would_be_cut_to_the_same_stand_whole_above_their_numbers() -> None:
    plan = plan_of("recursion_depth")
    labels = [f"at lr={lr},weight_decay=0.1,warmup_steps=10" for lr in ("0.001", "0.003")]
    runs = [
        replace(run, job=replace(run.job, key=f"{label} {run.job.key}", label=label))
        for label in labels
        for run in plan.runs[:2]
    ]
    lines = plan_lines(replace(plan, runs=tuple(runs)), "", 80)
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)
    for run in runs:
        at = lines.index(run.job.title)
        assert lines[at + 1].startswith("  seed 0 ")


def test_many_runs_are_a_line_per_row_whose_cost_is_that_of_all_its_seeds() -> None:
    plan = plan_of("recursion_depth", seeds=3, n_done=1)
    lines = plan_lines(plan, "", 120)
    (first,) = (line for line in lines if line.startswith("HRM k=1, T=1 · seeds 0-2"))
    assert "1 of 3" in first
    assert f"{dollars_words(2.5 * 3 * plan.runs[0].hours)}" in first
    assert lines[0].split()[-5:] == ["FLOPs", "time", "each", "GPU-h", "cost"]
    assert len(lines[2 : lines.index("") - 2]) == 14


def test_seeds_that_do_not_follow_one_another_are_named() -> None:
    declared = find_study("recursion_depth")
    campaign = declare(declared, "official")
    jobs = campaign.asked(declared.rows_of("official"), (0, 1, 2, 5), (0, 1), lambda _: "h").jobs()
    text = "\n".join(plan_lines(make_plan(jobs, (), {}, RATE), "", 120))
    assert "HRM k=1, T=1 · seeds 0-2,5 " in text
    assert "HRM k=1, T=1 · seeds 0-2,5, data seed 1" in text


def test_without_a_price_there_is_no_money_and_on_a_cpu_no_gpu_hour() -> None:
    plan = replace(plan_of("recursion_depth", "mini"), price=None, unit="core")
    text = "\n".join(plan_lines(plan, "", 120))
    assert "cost" not in text
    assert "$" not in text
    assert "GPU" not in text


def test_what_does_not_fit_into_the_memory_is_said() -> None:
    plan = replace(plan_of("arc_agi"), memory=80 * 10**9)
    assert "9 run(s) do not fit into the 80.0 GB there are" in "\n".join(plan_lines(plan, "", 200))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (90, "1.5 min"),
        (720, "12 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (3 * 86400, "3.0 days"),
        (38_481.3 * 86400, "38,481 days"),
    ],
)
def test_a_duration_is_said_as_a_person_says_it(seconds: float, said: str) -> None:
    assert duration_words(seconds) == said


def test_hours_and_dollars_have_the_digits_that_count() -> None:
    assert [hours_words(hours) for hours in (0.016, 1.42, 37.4, 1204)] == ["0.02", "1.4", "37", "1,204"]
    assert [dollars_words(each) for each in (0, 0.001, 0.31, 1204)] == ["$0.00", "<$0.01", "$0.31", "$1,204"]


def test_what_is_left_fits_the_terminal_and_says_what_a_budget_is_enough_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    plan = plan_of("recursion_depth", n_done=3)
    say_what_is_left(plan, "recursion_depth in official", Budget("3d", 3 * 86400))
    said = capsys.readouterr().out
    assert "3 of 14 runs are done already" in said
    assert "11 to do, about" in said
    assert "--budget 3d is enough for" in said
    assert max(map(len, said.splitlines())) <= 80
    say_what_was_not_begun(plan, [plan.runs[-1].job.key], Budget("3d", 3 * 86400))
    assert "1 run(s) were not begun" in capsys.readouterr().out
    say_what_was_not_begun(plan, [], Budget("3d", 3 * 86400))
    print_plan(plan)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize("columns", [40, 80, 400])
def test_a_command_to_copy_fits_and_a_shell_reads_it_as_it_was(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    long = "/a/folder that is/longer than any line has room for/" + "x" * 90
    words = ["python", "-m", "mlflow", "ui", "--backend-store-uri", "sqlite:///mlflow.db", "--set", "it's=1", long]
    lines = to_copy("the runs", words).splitlines()
    assert all(len(line) <= columns for line in lines if "xxx" not in line)
    pasted = "printf '%s\\n' " + "\n".join(lines).removeprefix("the runs:").strip()
    assert subprocess.run(["sh", "-c", pasted], capture_output=True, text=True).stdout.splitlines() == words
    assert to_copy("the runs", ["true"]) == "the runs: true"
