"""Which run belongs to which row, and what a row says."""

from __future__ import annotations

import pytest
from scipy import stats as scipy_stats

from reports.collect import Table, TableRow, choosing_metric, collect, elsewhere, with_losses, with_votes
from sweeps.campaign import declare
from sweeps.records.types import RunRecord
from sweeps.study import Losses, ProfileName, Study
from tests.reports.records import campaign_of, record, table_of


def row(table: Table, name: str) -> TableRow:
    return next(row for row in table.rows if row.name == name)


def test_rows_come_in_the_studys_order_with_depth_passes_and_parameters(study: Study) -> None:
    table = table_of(study, "official", [])
    assert [row.name for row in table.rows] == ["TRM k=1", "HRM k=1", "TRM k=6"]
    assert [row.depth for row in table.rows] == [6, 8, 156]
    assert [row.nfp for row in table.rows] == [1, 2, 1]
    assert [row.parameters for row in table.rows] == [5028866, 27275266, 5028866]
    assert [row.eval_steps for row in table.rows] == [16, 16, 16]


def test_the_mean_and_both_intervals_are_those_of_the_seeds_and_of_the_test_set(study: Study) -> None:
    values = [0.6, 0.62, 0.67]
    table = table_of(study, "mini", [record(study, "TRM k=1", v, seed=s) for s, v in enumerate(values)])
    found = row(table, "TRM k=1")
    t = scipy_stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    wilson = scipy_stats.binomtest(315, 500).proportion_ci(0.95, method="wilson")
    assert found.values == tuple(values)
    assert [seeds.train for seeds in found.seeds] == [0, 1, 2]
    assert found.mean == pytest.approx(0.63)
    assert found.seed_interval is not None
    assert found.test_interval is not None
    assert (found.seed_interval.low, found.seed_interval.high) == pytest.approx((t.low, t.high))
    assert (found.test_interval.low, found.test_interval.high) == pytest.approx((wilson.low, wilson.high))


def test_one_seed_has_no_interval_over_seeds_but_one_of_the_test_set(study: Study) -> None:
    found = row(table_of(study, "mini", [record(study, "TRM k=1", 0.5)]), "TRM k=1")
    assert found.seed_interval is None
    assert found.test_interval is not None


@pytest.mark.parametrize(
    ("status", "tags", "said"),
    [
        ("RUNNING", {}, "running"),
        ("KILLED", {}, "killed"),
        ("FAILED", {"failure": "lost a\nworker"}, "failed: lost a worker"),
        (
            "FAILED",
            {"state": "diverged", "failure": "diverged at step 20: loss is nan"},
            "diverged at step 20: loss is nan",
        ),
        (
            "FAILED",
            {"state": "out of memory", "failure": "NotEnoughMemory: 2 GB"},
            "out of memory: NotEnoughMemory: 2 GB",
        ),
        ("FAILED", {}, "failed"),
        ("FINISHED", {}, "no test/exact_accuracy recorded"),
    ],
)
def test_a_row_without_a_number_says_why(study: Study, status: str, tags: dict[str, str], said: str) -> None:
    table = table_of(study, "mini", [record(study, "TRM k=1", None, status=status, tags=tags)])
    assert row(table, "TRM k=1").status == said
    assert row(table, "TRM k=1").mean is None
    assert any(said in note for note in table.notes)


def test_a_row_without_a_run_did_not_run_or_is_not_in_the_profile(study: Study) -> None:
    assert [row.status for row in table_of(study, "mini", []).rows] == [
        "did not run",
        "did not run",
        "not in this profile",
    ]
    assert row(table_of(study, "official", []), "TRM k=6").status == "did not run"


@pytest.mark.parametrize("value", [float("nan"), 1.8e308, -0.1])
def test_a_value_that_is_no_fraction_is_no_accuracy(study: Study, value: float) -> None:
    found = row(table_of(study, "mini", [record(study, "TRM k=1", value)]), "TRM k=1")
    assert found.mean is None
    assert found.status.startswith("test/exact_accuracy is ")


def test_a_failed_seed_is_left_out_of_the_mean_and_named(study: Study) -> None:
    records = [
        record(study, "TRM k=1", 0.9, seed=0),
        record(study, "TRM k=1", None, seed=1, status="FAILED", tags={"failure": "boom"}),
    ]
    table = table_of(study, "mini", records)
    assert row(table, "TRM k=1").values == (0.9,)
    assert row(table, "TRM k=1").status == ""
    assert "TRM k=1, seed 1: failed: boom; not in the mean." in table.notes


@pytest.mark.parametrize(("profile", "difference"), [("mini", None), ("official", -3.2), ("paper", -3.2)])
def test_only_a_comparable_profile_has_a_difference_to_the_paper(
    study: Study, profile: ProfileName, difference: float | None
) -> None:
    table = table_of(study, profile, [record(study, "TRM k=1", 0.6, profile=profile)])
    assert row(table, "TRM k=1").difference == (None if difference is None else pytest.approx(difference))
    assert table.comparable == (difference is not None)


def test_oom_is_a_cell_that_nothing_is_subtracted_from(study: Study) -> None:
    found = row(table_of(study, "official", [record(study, "TRM k=6", 0.8, profile="official")]), "TRM k=6")
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
    assert row(table, "TRM k=1").values == (0.9,)
    assert table.overrides == ()
    changed = declare(study, "mini", changes)
    ours, others = [records[0], records[2]], [records[1], records[3]]
    table = collect(table.campaign, ours, others=elsewhere(table.campaign, others, {changed.id: changed.label}))
    assert row(table, "TRM k=1").values == (0.9,)
    assert table.notes[-1] == (
        "3 recorded runs are not in this table: other puzzles (1); settings of no campaign, by an older version (1);"
        " the campaign steps=20 (1)."
    )


def test_a_campaign_with_changes_shows_its_own_runs_and_says_what_was_changed(study: Study) -> None:
    changes = ("train.steps=20", "optim.ema=none")
    changed = record(study, "TRM k=1", 0.1, profile="official", overrides=changes)
    plain = record(study, "TRM k=1", 0.9, profile="official")
    table = table_of(study, "official", [plain, changed], changes)
    assert row(table, "TRM k=1").values == (0.1,)
    assert set(table.overrides) == set(changes)
    assert not table.comparable, "a changed official run cannot stand beside the paper's"
    assert "train.steps=20" in table.warning


def test_a_row_that_the_changes_cannot_be_for_says_why_and_has_no_numbers(study: Study) -> None:
    direct = study.rows[1].model_copy(update={"name": "direct", "base": "direct", "change": {}, "place": {}})
    with_direct = study.model_copy(update={"rows": (*study.rows, direct)})
    run = record(study, "TRM k=1", 0.5, profile="official", overrides=("model.n=3",))
    table = table_of(with_direct, "official", [run], ["model.n=3"])
    found = row(table, "direct")
    assert (found.settings, found.depth, found.nfp, found.parameters, found.eval_steps) == (None,) * 5
    assert found.status.startswith('not possible: model.features="y" with model.n=3')
    assert any(note.startswith("direct: not possible: ") for note in table.notes)


def test_runs_are_joined_to_rows_by_key_so_a_row_may_be_renamed(study: Study) -> None:
    run = record(study, "TRM k=1", 0.9)
    campaign = campaign_of(study, "mini", [run])
    renamed = RunRecord(**{**vars(run), "row": "TRM, one recursion", "seed": 7})
    table = collect(campaign, [renamed])
    assert row(table, "TRM k=1").values == (0.9,)
    assert row(table, "TRM k=1").seeds == ((0, 0),)


def test_records_that_cannot_be_read_are_counted(study: Study) -> None:
    campaign = campaign_of(study, "mini")
    one = collect(campaign, [], unreadable=["run 0a: its seed 'x' is no number"])
    assert one.notes[-1] == "1 record in MLflow cannot be read: run 0a: its seed 'x' is no number."
    two = collect(campaign, [], unreadable=["run 0a: torn", "run 0b: torn"])
    assert two.notes[-1] == "2 records in MLflow cannot be read, the first: run 0a: torn."


@pytest.mark.parametrize(
    ("seeds", "over"),
    [
        ([(0, 0), (0, 1)], "seeds"),
        ([(1, 0), (1, 1)], "training seeds"),
        ([(0, 0), (1, 0)], "draws of the puzzles"),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], "draws of the puzzles and training seeds"),
    ],
)
def test_a_spread_says_which_of_the_two_seeds_varied(study: Study, seeds: list[tuple[int, int]], over: str) -> None:
    records = [
        record(study, "TRM k=1", 0.8 + at / 100, seed=seed, data_seed=data_seed, data=f"{data_seed:x}" * 16)
        for at, (data_seed, seed) in enumerate(seeds)
    ]
    table = table_of(study, "mini", records)
    assert row(table, "TRM k=1").seeds == tuple(seeds), "other draws are other puzzles, and all of them are shown"
    assert table.over == over
    assert dict(table.facts).get("data seeds", "0") == ", ".join(map(str, sorted({data for data, _ in seeds})))


def test_parameters_are_those_that_the_finished_run_recorded(study: Study) -> None:
    run = record(study, "TRM k=1", 0.9)
    counted = RunRecord(**{**vars(run), "params": run.params | {"parameters": "12345"}})
    assert row(table_of(study, "mini", [counted]), "TRM k=1").parameters == 12345
    assert row(table_of(study, "mini", [run]), "TRM k=1").parameters == int(run.params["parameters"])


def test_the_grid_is_the_papers_hrm_beside_trm_and_a_place_may_be_empty(study: Study) -> None:
    grid = table_of(study, "mini", []).grid
    assert grid is not None
    assert (grid.labels, grid.columns, grid.by_puzzle) == (("k", "T"), ("HRM", "TRM"), False)
    names = [(at, [row and row.name for row in rows]) for at, rows in grid.lines]
    assert names == [(("1", "1"), ["HRM k=1", "TRM k=1"]), (("6", "6"), [None, "TRM k=6"])]


def test_a_study_whose_rows_have_no_place_has_no_grid(study: Study) -> None:
    rows = tuple(one.model_copy(update={"place": {}}) for one in study.rows)
    assert table_of(study.model_copy(update={"rows": rows}), "mini", []).grid is None


def test_what_a_comparison_chooses_by_is_the_score_on_validation_or_a_loss_itself(
    study: Study, arc_study: Study, losses_study: Study
) -> None:
    assert choosing_metric(study) == "validation/exact_accuracy"
    assert choosing_metric(arc_study) == "validation/exact_accuracy", "votes are cast on test tasks alone"
    assert choosing_metric(losses_study) == "train/lm_loss"
    run = record(study, "TRM k=1", 0.9, more={"validation/exact_accuracy": 0.7})
    assert row(table_of(study, "mini", [run]), "TRM k=1").runs[0].chosen_by == 0.7
    none = record(study, "TRM k=1", 0.9)
    assert row(table_of(study, "mini", [none]), "TRM k=1").runs[0].chosen_by is None


def test_runs_of_a_row_that_is_gone_are_counted_not_shown(study: Study) -> None:
    run = record(study, "TRM k=1", 0.9)
    gone = RunRecord(**{**vars(run), "row": "TRM k=9"})
    table = table_of(study, "mini", [gone])
    assert all(row.mean is None for row in table.rows)
    assert "1 recorded run is not in this table: rows that the study no longer has." in table.notes


def test_the_table_does_not_depend_on_the_order_of_the_records(study: Study) -> None:
    records = [record(study, name, 0.5, seed=seed) for name in ("TRM k=1", "HRM k=1") for seed in (0, 1)]
    assert table_of(study, "mini", records) == table_of(study, "mini", records[::-1])


def test_cell_accuracy_is_the_mean_over_the_same_seeds_and_needs_all_of_them(study: Study) -> None:
    def of(*cells: float | None) -> float | None:
        records = [record(study, "TRM k=1", 0.0, seed=seed, cells=value) for seed, value in enumerate(cells)]
        return row(table_of(study, "mini", records), "TRM k=1").cell_accuracy

    assert of(0.5, 0.7) == pytest.approx(0.6)
    assert of(0.5, None) is None
    assert of(0.5, float("nan")) is None


def test_a_setting_that_differs_between_bases_is_told_by_base(study: Study) -> None:
    records = [record(study, name, 0.5) for name in ("TRM k=1", "HRM k=1")]
    facts = dict(table_of(study, "mini", records).facts)
    assert facts["EMA"] == "TRM 0.95, HRM none"
    assert "learning rate" not in facts, "all rows have mini's"
    same = table_of(study, "mini", [record(study, "TRM k=1", 0.5, overrides=("optim.ema=0.5",))], ["optim.ema=0.5"])
    assert "EMA" not in dict(same.facts)


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
    assert (row(table, "TRM k=1").difference is not None) == (profile == "official")


def test_a_row_with_settings_of_its_own_in_the_profile_is_named_under_the_table(study: Study) -> None:
    own = study.rows[0].model_copy(update={"change_in": {"mini": {"optim": {"lr": 0.006, "ema": None}}}})
    changed = study.model_copy(update={"rows": (own, *study.rows[1:])})
    note = "TRM k=1 has settings of its own in mini: optim.lr=0.006, optim.ema=none."
    assert note in table_of(changed, "mini", []).notes
    assert not any("settings of its own" in text for text in table_of(changed, "official", []).notes)


# --- several puzzles, ARC, losses -------------------------------------------------------------------------------------

SUDOKU, MAZE = "TRM-Att, Sudoku-Extreme", "TRM-Att, Maze-Hard"


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
    assert (row(table, SUDOKU).values, row(table, MAZE).values) == ((0.8,), (0.6,))
    assert sum("not in this table" in note for note in table.notes) == 1


def test_rows_that_differ_in_augmentation_alone_share_a_set(study: Study) -> None:
    rows = (study.rows[0], study.rows[1].model_copy(update={"change": {"data": {"augmentations": 5}}}))
    changed = study.model_copy(update={"rows": rows})
    records = [
        record(changed, "TRM k=1", 0.7, data="old", minutes=0),
        record(changed, "HRM k=1", 0.8, data="new", minutes=1),
    ]
    assert row(table_of(changed, "mini", records), "TRM k=1").values == (), "its puzzles are not those of the newest"


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


def test_facts_tell_the_puzzles_of_every_kind(puzzles_study: Study, arc_study: Study) -> None:
    facts = dict(table_of(puzzles_study, "official", []).facts)
    assert facts["puzzles"].startswith("9×9 Sudoku, published: 1,000 training")
    assert "30×30 Maze, published: 1,000 training" in facts["puzzles"]
    assert "learning rate" not in facts
    facts = dict(table_of(arc_study, "official", []).facts)
    assert "tasks of training2, evaluation2, tested on evaluation2" in facts["puzzles"]


def test_mazes_have_the_share_of_shortest_paths_and_the_reason_why_it_differs(puzzles_study: Study) -> None:
    paths = {"test/shortest_path_accuracy": 0.7}
    one = record(puzzles_study, MAZE, 0.6, profile="official", more=paths)
    other = record(puzzles_study, MAZE, 0.6, seed=1, profile="official")
    table = table_of(puzzles_study, "official", [one])
    assert row(table, MAZE).shortest_path == 0.7
    assert any("one of millions of equally short paths" in note for note in table.notes)
    table = table_of(puzzles_study, "official", [one, other])
    assert row(table, MAZE).shortest_path is None, "not all seeds have it"
    assert not any("equally short" in note for note in table.notes)


def test_a_task_may_be_solved_by_half_so_pass_at_2_has_no_interval_of_the_test_set(arc_study: Study) -> None:
    name = "TRM-Att, ARC-AGI-1"
    run = record(arc_study, name, 0.4, profile="official", puzzles=419, more={"test/votes": 1000.0})
    table = table_of(arc_study, "official", [run])
    found = row(table, name)
    assert (found.mean, found.puzzles, found.test_interval, found.runs[0].interval) == (0.4, 419, None, None)
    assert found.difference == pytest.approx(-4.6)
    assert table.voters == (1000,)


def test_a_leak_is_named_with_its_first_tasks_and_its_rows_and_nothing_is_compared(arc_study: Study) -> None:
    tasks = ",".join(f"task{number}" for number in range(7))
    leaking = record(arc_study, "TRM-Att, ARC-AGI-1", 0.9, profile="official", tags={"leaks": tasks})
    sound = record(arc_study, "TRM-MLP, ARC-AGI-1", 0.3, profile="official")
    table = table_of(arc_study, "official", [leaking, sound])
    assert table.leak == (
        "leak: 7 test tasks were learnt from in TRM-Att, ARC-AGI-1 (data.allow_leak):"
        " task0, task1, task2, task3, task4 and 2 more"
    )
    assert table.warnings == (table.leak, "leaking tasks: not comparable with the paper's column")
    assert all(row.difference is None for row in table.rows)
    one = record(arc_study, "TRM-Att, ARC-AGI-1", 0.9, profile="official", tags={"leaks": "task0"})
    assert table_of(arc_study, "official", [one]).leak == "leak: 1 test task was learnt from (data.allow_leak): task0"
    assert table_of(arc_study, "official", [sound]).warnings == ()


def test_losses_are_the_first_the_last_and_the_least_of_a_finished_run(losses_study: Study) -> None:
    done = record(losses_study, "No EMA", 0.0, profile="official")
    running = record(losses_study, "Bigger brain", None, profile="official", status="RUNNING")
    table = table_of(losses_study, "official", [done, running])
    curve = [(10, 2.0), (20, float("nan")), (30, 0.5), (40, 1.0)]
    table = with_losses(table, {(run.run_id, "train/lm_loss"): curve for run in (done, running)})
    assert row(table, "No EMA").losses == (Losses(initial=2.0, final=1.0, minimum=0.5),)
    assert row(table, "Bigger brain").losses == ()
    assert row(table, "Baseline TRM").paper_losses == Losses(initial=1.789, final=1.062, minimum=1.045)


def test_accuracy_by_votes_is_the_mean_over_seeds_where_all_have_it_and_a_lack_is_noted(arc_study: Study) -> None:
    name = "TRM-Att, ARC-AGI-1"
    records = [record(arc_study, name, 0.4, seed=seed, profile="official") for seed in (0, 1, 2)]
    table = table_of(arc_study, "official", records)
    found = {
        records[0].run_id: [(1, 0.1, 0.2), (10, 0.3, 0.4), (12, 0.3, 0.5)],
        records[1].run_id: [(1, 0.3, 0.4), (10, 0.3, 0.6)],
    }
    table = with_votes(table, found)
    (curve,) = table.vote_curves
    assert (curve.row, curve.seeds, curve.votes) == (name, 2, (1, 10))
    assert curve.pass_at[1] == pytest.approx((0.2, 0.3))
    assert curve.pass_at[2] == pytest.approx((0.3, 0.5))
    assert any(f"not known of {name}, seed 2" in note for note in table.notes)


def test_a_run_on_own_files_is_never_put_beside_the_papers_column(arc_study: Study) -> None:
    origin = "own files for evaluation (3 tasks, hash 0123456789ab), not ARC-AGI-1's evaluation tasks"
    own = record(arc_study, "TRM-Att, ARC-AGI-1", 0.9, profile="official", tags={"own_files": origin})
    sound = record(arc_study, "TRM-Att, ARC-AGI-2", 0.2, profile="official")
    table = table_of(arc_study, "official", [own, sound])
    assert table.warning == f"{origin}: not comparable with the paper's column"
    assert all(row.difference is None for row in table.rows)
    assert "ARC, own tasks of training" in dict(table.facts)["puzzles"]
    table = table_of(arc_study, "official", [sound])
    assert table.comparable
    assert "ARC, published tasks of" in dict(table.facts)["puzzles"]
