"""What stands below a table: what is left out of it, and why numbers are not what they seem."""

from __future__ import annotations

import pytest

from reports.collect import collect
from sweeps.records.types import RunRecord
from sweeps.study import ProfileName, Study
from tests.reports.records import campaign_of, record, row_of, table_of

SUDOKU, MAZE = "TRM-Att, Sudoku-Extreme", "TRM-Att, Maze-Hard"


def test_a_failed_seed_is_left_out_of_the_mean_and_named(study: Study) -> None:
    records = [
        record(study, "TRM k=1", 0.9, seed=0),
        record(study, "TRM k=1", None, seed=1, status="FAILED", tags={"failure": "boom"}),
    ]
    table = table_of(study, "mini", records)
    assert row_of(table, "TRM k=1").values == (0.9,)
    assert row_of(table, "TRM k=1").status == ""
    assert "TRM k=1, seed 1: failed: boom; not in the mean." in table.notes


def test_records_that_cannot_be_read_are_counted(study: Study) -> None:
    campaign = campaign_of(study, "mini")
    one = collect(campaign, [], unreadable=["run 0a: its seed 'x' is no number"])
    assert one.notes[-1] == "1 record in MLflow cannot be read: run 0a: its seed 'x' is no number."
    two = collect(campaign, [], unreadable=["run 0a: torn", "run 0b: torn"])
    assert two.notes[-1] == "2 records in MLflow cannot be read, the first: run 0a: torn."


def test_runs_of_a_row_that_is_gone_are_counted_not_shown(study: Study) -> None:
    run = record(study, "TRM k=1", 0.9)
    gone = RunRecord(**{**vars(run), "row": "TRM k=9"})
    table = table_of(study, "mini", [gone])
    assert all(row.mean is None for row in table.rows)
    assert "1 recorded run is not in this table: rows that the study no longer has." in table.notes


@pytest.mark.parametrize(
    ("profile", "puzzles", "noted"),
    [("official", 1000, True), ("official", 422_786, False), ("mini", 1000, False)],
)
def test_a_comparable_table_says_that_it_was_not_measured_on_the_published_test_set(
    study: Study, profile: ProfileName, puzzles: int, noted: bool
) -> None:
    table = table_of(study, profile, [record(study, "TRM k=1", 0.6, profile=profile, puzzles=puzzles)])
    note = "Measured on 1,000 test puzzles, not the published test set of 422,786 puzzles"
    assert any(text.startswith(note) for text in table.notes) == noted
    assert (row_of(table, "TRM k=1").difference is not None) == (profile == "official")


def test_a_row_with_settings_of_its_own_in_the_profile_is_named_under_the_table(study: Study) -> None:
    own = study.rows[0].model_copy(update={"change_in": {"mini": {"optim": {"lr": 0.006, "ema": None}}}})
    changed = study.model_copy(update={"rows": (own, *study.rows[1:])})
    note = "TRM k=1 has settings of its own in mini: optim.lr=0.006, optim.ema=none."
    assert note in table_of(changed, "mini", []).notes
    assert not any("settings of its own" in text for text in table_of(changed, "official", []).notes)


def test_each_test_set_is_held_against_the_published_one_of_its_puzzle(puzzles_study: Study) -> None:
    records = [
        record(puzzles_study, SUDOKU, 0.7, profile="official", puzzles=422_786),
        record(puzzles_study, MAZE, 0.6, profile="official", puzzles=300),
    ]
    table = table_of(puzzles_study, "official", records)
    noted = [note for note in table.notes if note.startswith("Measured on")]
    assert len(noted) == 1
    assert noted[0].startswith("Measured on 300 test mazes, not the published test set of 1,000 mazes")
    assert dict(table.facts)["test puzzles measured"] == "422,786 (Sudoku-Extreme), 300 (Maze-Hard)"


def test_mazes_have_the_share_of_shortest_paths_and_the_reason_why_it_differs(puzzles_study: Study) -> None:
    paths = {"test/shortest_path_accuracy": 0.7}
    one = record(puzzles_study, MAZE, 0.6, profile="official", more=paths)
    other = record(puzzles_study, MAZE, 0.6, seed=1, profile="official")
    table = table_of(puzzles_study, "official", [one])
    assert row_of(table, MAZE).shortest_path == 0.7
    assert any("one of millions of equally short paths" in note for note in table.notes)
    table = table_of(puzzles_study, "official", [one, other])
    assert row_of(table, MAZE).shortest_path is None, "not all seeds have it"
    assert not any("equally short" in note for note in table.notes)
