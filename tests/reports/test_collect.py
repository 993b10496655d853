"""Which run belongs to which row, and what a row says."""

from __future__ import annotations

import pytest

from reports.collect import collect
from reports.notes import elsewhere
from sweeps.campaign import declare
from sweeps.records.types import RunRecord
from sweeps.study import ProfileName, Study
from tests.reports.records import campaign_of, record, row_of, table_of

SUDOKU, MAZE = "TRM-Att, Sudoku-Extreme", "TRM-Att, Maze-Hard"


def test_rows_come_in_the_studys_order_with_depth_passes_and_parameters(study: Study) -> None:
    table = table_of(study, "official", [])
    assert [row.name for row in table.rows] == ["TRM k=1", "HRM k=1", "TRM k=6"]
    assert [row.depth for row in table.rows] == [6, 8, 156]
    assert [row.nfp for row in table.rows] == [1, 2, 1]
    assert [row.parameters for row in table.rows] == [5028866, 27275266, 5028866]
    assert [row.eval_steps for row in table.rows] == [16, 16, 16]


def test_a_row_without_a_run_did_not_run_or_is_not_in_the_profile(study: Study) -> None:
    assert [row.status for row in table_of(study, "mini", []).rows] == [
        "did not run",
        "did not run",
        "not in this profile",
    ]
    assert row_of(table_of(study, "official", []), "TRM k=6").status == "did not run"


@pytest.mark.parametrize(("profile", "difference"), [("mini", None), ("official", -3.2), ("paper", -3.2)])
def test_only_a_comparable_profile_has_a_difference_to_the_paper(
    study: Study, profile: ProfileName, difference: float | None
) -> None:
    table = table_of(study, profile, [record(study, "TRM k=1", 0.6, profile=profile)])
    assert row_of(table, "TRM k=1").difference == (None if difference is None else pytest.approx(difference))
    assert table.comparable == (difference is not None)


def test_oom_is_a_cell_that_nothing_is_subtracted_from(study: Study) -> None:
    found = row_of(table_of(study, "official", [record(study, "TRM k=6", 0.8, profile="official")]), "TRM k=6")
    assert (found.paper, found.mean, found.difference) == ("OOM", 0.8, None)


def test_runs_with_other_settings_or_puzzles_never_meet_in_one_mean(study: Study) -> None:
    changes = ["train.steps=20"]
    records = [
        record(study, "TRM k=1", 0.9, seed=0),
        record(study, "TRM k=1", 0.1, seed=1, overrides=("train.steps=20",), minutes=60),
        record(study, "TRM k=1", 0.2, seed=2, data="another", minutes=-60),
        record(study, "TRM k=1", 0.3, seed=3, overrides=("train.steps=30",), tags={"campaign": ""}),
    ]
    table = table_of(study, "mini", records)
    assert row_of(table, "TRM k=1").values == (0.9,)
    assert table.overrides == ()
    changed = declare(study, "mini", changes)
    ours, others = [records[0], records[2]], [records[1], records[3]]
    table = collect(table.campaign, ours, others=elsewhere(table.campaign, others, {changed.id: changed.label}))
    assert row_of(table, "TRM k=1").values == (0.9,)
    assert table.notes[-1] == (
        "3 recorded runs are not in this table: other puzzles (1); settings of no campaign, by an older version (1);"
        " the campaign steps=20 (1)."
    )


def test_a_campaign_with_changes_shows_its_own_runs_and_says_what_was_changed(study: Study) -> None:
    changes = ("train.steps=20", "optim.ema=none")
    changed = record(study, "TRM k=1", 0.1, profile="official", overrides=changes)
    plain = record(study, "TRM k=1", 0.9, profile="official")
    table = table_of(study, "official", [plain, changed], changes)
    assert row_of(table, "TRM k=1").values == (0.1,)
    assert set(table.overrides) == set(changes)
    assert not table.comparable, "a changed official run cannot stand beside the paper's"
    assert "train.steps=20" in table.warning


def test_a_row_that_the_changes_cannot_be_for_says_why_and_has_no_numbers(study: Study) -> None:
    direct = study.rows[1].model_copy(update={"name": "direct", "base": "direct", "change": {}, "place": {}})
    with_direct = study.model_copy(update={"rows": (*study.rows, direct)})
    run = record(study, "TRM k=1", 0.5, profile="official", overrides=("model.n=3",))
    table = table_of(with_direct, "official", [run], ["model.n=3"])
    found = row_of(table, "direct")
    assert (found.settings, found.depth, found.nfp, found.parameters, found.eval_steps) == (None,) * 5
    assert found.status.startswith('not possible: model.features="y" with model.n=3')
    assert any(note.startswith("direct: not possible: ") for note in table.notes)


def test_runs_are_joined_to_rows_by_key_so_a_row_may_be_renamed(study: Study) -> None:
    run = record(study, "TRM k=1", 0.9)
    campaign = campaign_of(study, "mini", [run])
    renamed = RunRecord(**{**vars(run), "row": "TRM, one recursion", "seed": 7})
    table = collect(campaign, [renamed])
    assert row_of(table, "TRM k=1").values == (0.9,)
    assert row_of(table, "TRM k=1").seeds == ((0, 0),)


def test_parameters_are_those_that_the_finished_run_recorded(study: Study) -> None:
    run = record(study, "TRM k=1", 0.9)
    counted = RunRecord(**{**vars(run), "params": run.params | {"parameters": "12345"}})
    assert row_of(table_of(study, "mini", [counted]), "TRM k=1").parameters == 12345
    assert row_of(table_of(study, "mini", [run]), "TRM k=1").parameters == int(run.params["parameters"])


def test_the_grid_is_the_papers_hrm_beside_trm_and_a_place_may_be_empty(study: Study) -> None:
    grid = table_of(study, "mini", []).grid
    assert grid is not None
    assert (grid.labels, grid.columns, grid.by_puzzle) == (("k", "T"), ("HRM", "TRM"), False)
    names = [(at, [row and row.name for row in rows]) for at, rows in grid.lines]
    assert names == [(("1", "1"), ["HRM k=1", "TRM k=1"]), (("6", "6"), [None, "TRM k=6"])]


def test_a_study_whose_rows_have_no_place_has_no_grid(study: Study) -> None:
    rows = tuple(one.model_copy(update={"place": {}}) for one in study.rows)
    assert table_of(study.model_copy(update={"rows": rows}), "mini", []).grid is None


def test_the_table_does_not_depend_on_the_order_of_the_records(study: Study) -> None:
    records = [record(study, name, 0.5, seed=seed) for name in ("TRM k=1", "HRM k=1") for seed in (0, 1)]
    assert table_of(study, "mini", records) == table_of(study, "mini", records[::-1])


def test_a_table_over_several_puzzles_has_a_line_per_method_and_a_column_per_puzzle(puzzles_study: Study) -> None:
    grid = table_of(puzzles_study, "official", []).grid
    assert grid is not None
    assert (grid.labels, grid.columns, grid.by_puzzle) == (("method",), ("Sudoku-Extreme", "Maze-Hard"), True)
    lines = [(at, [row and (row.puzzle, row.parameters) for row in rows]) for at, rows in grid.lines]
    assert lines == [
        (("TRM-MLP",), [("sudoku", 5_028_866), ("maze", 18_795_522)]),
        (("TRM-Att",), [("sudoku", 6_828_034), ("maze", 6_822_914)]),
        (("HRM",), [("sudoku", 27_275_266), ("maze", 27_270_146)]),
    ]


def test_the_newest_set_of_one_puzzle_does_not_put_out_runs_on_another(puzzles_study: Study) -> None:
    records = [
        record(puzzles_study, SUDOKU, 0.7, profile="official", data="old sudokus", minutes=0),
        record(puzzles_study, SUDOKU, 0.8, profile="official", data="new sudokus", minutes=1),
        record(puzzles_study, MAZE, 0.6, profile="official", data="mazes", minutes=2),
    ]
    table = table_of(puzzles_study, "official", records)
    assert (row_of(table, SUDOKU).values, row_of(table, MAZE).values) == ((0.8,), (0.6,))
    assert sum("not in this table" in note for note in table.notes) == 1


def test_rows_that_differ_in_augmentation_alone_share_a_set(study: Study) -> None:
    rows = (study.rows[0], study.rows[1].model_copy(update={"change": {"data": {"augmentations": 5}}}))
    changed = study.model_copy(update={"rows": rows})
    records = [
        record(changed, "TRM k=1", 0.7, data="old", minutes=0),
        record(changed, "HRM k=1", 0.8, data="new", minutes=1),
    ]
    assert row_of(table_of(changed, "mini", records), "TRM k=1").values == (), "its puzzles are not those of the newest"
