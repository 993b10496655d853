from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from rich.console import Console

from sweeps.progress import Bars, Progress, StudyState, duration, headline


def test_a_run_tells_the_time_it_has_left_from_the_steps_it_was_seen_to_take() -> None:
    study = StudyState(runs=1, done=0, work_waiting=100.0, began_s=0.0)
    study.begin("a", "row a", steps=100, work=100.0, now=0.0)
    assert study.active["a"].left_s(5.0) is None
    study.update("a", 10, {}, now=10.0)
    study.update("a", 60, {}, now=20.0)
    assert study.active["a"].left_s(20.0) == pytest.approx(40 * 10 / 50)


def test_a_resumed_run_does_not_count_the_steps_of_its_checkpoint_as_speed() -> None:
    study = StudyState(runs=2, done=0, work_waiting=200.0, began_s=0.0)
    study.begin("a", "row a", steps=100, work=100.0, now=0.0)
    study.update("a", 80, {}, now=10.0)
    study.update("a", 90, {}, now=20.0)
    # 10 units of work in 10 s; 10 left in this run, 100 in the one that waits
    assert study.left_s(20.0) == pytest.approx(110.0)


def test_a_dear_run_that_waits_counts_for_more_than_a_cheap_one() -> None:
    study = StudyState(runs=2, done=0, work_waiting=400.0, began_s=0.0)
    study.begin("cheap", "cheap", steps=100, work=100.0, now=0.0)
    study.update("cheap", 0, {}, now=0.0)
    study.update("cheap", 100, {}, now=10.0)
    study.end("cheap", failed=False)
    assert study.left_s(10.0) == pytest.approx(30.0)
    assert headline(study, 10.0) == "1 of 2 runs done, 10 s so far, about 30 s left"


def test_a_run_whose_process_died_begins_again_and_is_counted_once() -> None:
    study = StudyState(runs=1, done=0, work_waiting=100.0, began_s=0.0)
    study.begin("a", "row a", steps=100, work=100.0, now=0.0)
    study.begin("a", "row a", steps=100, work=100.0, now=5.0)
    assert study.work_waiting == 0
    study.end("a", failed=True)
    assert (study.done, study.failed, study.active) == (0, 1, {})


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.4, "0 s"), (59.4, "59 s"), (61, "1:01"), (3599, "59:59"), (7384, "2:03:04")]
)
def test_a_duration_reads_as_a_clock(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


LONG_NAMES = (
    "TRM k=1, T=1 seed 0",
    "HRM with two networks of four layers, k=1, T=1 seed 12",
    "TRM w/ self-attention and n=6 latent recursions, T=3 seed 4, data seed 3",
)


def under_way(names: Sequence[str] = LONG_NAMES) -> StudyState:
    study = StudyState(runs=12, done=3, work_waiting=1e12, began_s=0.0)
    for name in names:
        study.begin(name, name, steps=65104, work=1e9, now=0.0)
        study.update(name, 10, {"train/loss": 1.2345, "train/exact_accuracy": 0.5}, now=1.0)
        study.update(name, 20, {"train/loss": 1.2345, "train/exact_accuracy": 0.5}, now=2.0)
    return study


def drawn(study: StudyState, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(Bars(study, 3.0))
    return [line.rstrip() for line in captured.get().rstrip("\n").split("\n")]


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_every_run_takes_one_line_of_a_terminal_whatever_its_width_and_keeps_its_seeds(width: int) -> None:
    said, *lines = drawn(under_way(), width)
    assert said.startswith("3 of 12 runs done, 3 s so far, about ")
    assert len(lines) == 3
    assert all("20/65104" in line and "loss 1.23" in line and "50.0 %" in line for line in lines)
    for line, seeds in zip(lines, ("seed 0 ", "seed 12 ", "seed 4, data seed 3 "), strict=True):
        assert f" {seeds}" in line
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("TRM k=1, T=1 seed 0 ")
    assert all((name in line) != ("…" in line) for name, line in zip(LONG_NAMES, lines, strict=True))


def test_a_run_that_an_earlier_launch_began_says_from_where_it_goes_on() -> None:
    stream = io.StringIO()
    with Progress(runs=2, done=0, work=2.0, stream=stream, width=200) as progress:
        progress.begin("a", "row a", 300, 1.0, at=120)
        progress.begin("b", "row b", 300, 1.0, at=None)
    assert stream.getvalue().splitlines() == ["row a: goes on from step 120 of 300", "row b: started, 300 steps"]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_plain_lines_break_between_words(width: int) -> None:
    stream = io.StringIO()
    silent = "MLflow at http://host:5000 does not answer: training goes on, rows wait"
    reason = "OSError: [Errno 2] No such file or directory: '/a/very/long/path/" + "x" * 150 + "/puzzles.csv'"
    with Progress(runs=3, done=0, work=3.0, stream=stream, width=width) as progress:
        progress.begin("a", LONG_NAMES[2], 65104, 1.0)
        progress.end("a", failure=reason)
        progress.say(f"{silent} {silent}")
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    known = f"{LONG_NAMES[2]}: started, 65104 steps FAILED after 0 s: {reason} (0 of 3 runs done) {silent}".split()
    assert {word for line in lines for word in line.split() if "…" not in word} <= {*known}


def test_without_a_terminal_there_are_plain_lines_not_more_than_one_in_20_s_per_run() -> None:
    stream, now = io.StringIO(), [0.0]
    with Progress(runs=2, done=0, work=2.0, stream=stream, clock=lambda: now[0], width=200) as progress:
        progress.begin("a", "row a", 100, 1.0)
        for step in range(1, 60):
            now[0] = float(step)
            progress.update("a", step, {"train/loss": 1.0})
        progress.update("a", 100, {"train/loss": 0.5, "test/exact_accuracy": 0.875})
        progress.end("a")
        progress.begin("b", "row b", 100, 1.0)
        progress.end("b", failure="Diverged: the loss is nan")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "row a: started, 100 steps"
    assert [line.split(",")[0] for line in lines[1:3]] == ["row a: step 20/100", "row a: step 40/100"]
    assert lines[3] == "row a: done, 87.5 % of test puzzles, 59 s (1 of 2 runs done)"
    assert lines[5] == "row b: FAILED after 0 s: Diverged: the loss is nan (1 of 2 runs done)"
    assert len(lines) == 6
    assert "\x1b" not in stream.getvalue()
