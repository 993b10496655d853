"""What it takes to come to an accuracy: the step, its operations and seconds, and the table that shows them."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from reports.reach import SPEED, effort, with_reached
from reports.runs import VALIDATION
from reports.types import Table
from reports.write.csv_files import speed_csv
from sweeps.profiles import configure
from sweeps.study import Row, Study
from tests.reports.records import record, table_of

STUDY = Study(
    name="small_speed",
    title="Small speed",
    puzzle="sudoku",
    source="a test",
    layout="speed",
    reach=0.8,
    rows=(
        Row(name="slow", base="trm"),
        Row(name="shallow", base="trm", change={"model": {"T": 1, "n": 2}}),
        Row(name="never", base="trm", change={"optim": {"lr": 0.5}}),
        Row(name="not run", base="trm", change={"model": {"D": 32}}),
    ),
    baseline=("slow",),
)
RECORDS = [
    record(STUDY, row, accuracy, seed=seed)
    for row, accuracy in (("slow", 0.9), ("shallow", 0.85), ("never", 0.5))
    for seed in (0, 1)
]


def reached_table(looks: dict[tuple[str, int], list[tuple[int, float]]], speed: float = 2.0) -> Table:
    """With these looks at validation, by row and seed, and a report of the speed every ten steps."""
    curves = {}
    for run in RECORDS:
        curves[run.run_id, VALIDATION] = looks[run.row, run.seed]
        curves[run.run_id, SPEED] = [(step, speed * (1 + run.seed)) for step in range(10, 101, 10)]
    return with_reached(table_of(STUDY, "mini", RECORDS), curves)


LOOKS = {
    ("slow", 0): [(50, 0.1), (100, 0.8)],
    ("slow", 1): [(50, 0.9), (100, 0.7)],
    ("shallow", 0): [(20, 0.79), (30, 0.81)],
    ("shallow", 1): [(20, 0.81), (30, 0.1)],
    ("never", 0): [(50, 0.79), (100, 0.799)],
    ("never", 1): [(50, 0.8), (100, 0.1)],
}


def test_a_run_is_there_at_its_first_look_that_shows_the_accuracy_with_what_training_took_so_far() -> None:
    slow, shallow, never, not_run = reached_table(LOOKS).rows
    assert [one.step for one in slow.reached] == [100, 50]
    assert [one.step for one in shallow.reached] == [30, 20]
    assert [one.step for one in never.reached] == [None, 50]
    assert not_run.reached == ()
    settings = configure(STUDY, STUDY.rows[0], "mini", 0)
    assert [one.flops for one in slow.reached] == [settings.train_work(100), settings.train_work(50)]
    assert [one.seconds for one in slow.reached] == [50.0, 12.5]  # two steps a second, and four


def test_a_row_has_means_only_where_all_its_runs_came_there() -> None:
    slow, _, never, not_run = reached_table(LOOKS).rows
    found = effort(slow)
    assert found is not None
    assert (found.steps, found.seconds) == (75.0, 31.25)
    assert effort(never) is effort(not_run) is None


@pytest.mark.parametrize("speeds", [[], [(10, 2.0)], [(10, 2.0), (20, math.nan), (100, 2.0)], [(60, 0.0), (100, 2.0)]])
def test_seconds_are_not_said_where_the_runs_reports_do_not_say_them(speeds: list[tuple[int, float]]) -> None:
    (run,) = (one for one in RECORDS if (one.row, one.seed) == ("slow", 0))
    curves = {(run.run_id, VALIDATION): [(100, 0.9)], (run.run_id, SPEED): speeds}
    (reached,) = with_reached(table_of(STUDY, "mini", RECORDS), curves).rows[0].reached
    assert (reached.step, reached.seconds) == (100, None)


def mean_work(row: int, steps: tuple[int, ...]) -> float:
    settings = configure(STUDY, STUDY.rows[row], "mini", 0)
    return sum(map(settings.train_work, steps)) / len(steps)


def test_the_file_has_a_line_per_run_empty_where_it_never_came_there() -> None:
    lines = speed_csv(reached_table(LOOKS)).splitlines()
    assert lines[0] == "study,profile,row,seed,data_seed,reach,steps,flops,seconds"
    assert len(lines) == 1 + len(RECORDS)
    assert lines[5] == "small_speed,mini,never,0,0,0.8,,,"
    assert lines[4].startswith("small_speed,mini,shallow,1,0,0.8,20,")


def test_a_study_of_speed_without_an_accuracy_to_come_to_is_refused_and_the_other_way_round() -> None:
    for change in ({"reach": None}, {"layout": "accuracy"}):
        with pytest.raises(ValidationError, match='layout="speed" and reach go together'):
            Study(**STUDY.model_dump() | change)
