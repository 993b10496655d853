"""Which run belongs to which row, and what a row says."""

from __future__ import annotations

import pytest
from scipy import stats as scipy_stats

from reports.collect import Table, TableRow, collect
from sweeps.study import ProfileName, Study
from sweeps.tracking import RunRecord
from tests.reports.records import record


def row(table: Table, name: str) -> TableRow:
    return next(row for row in table.rows if row.name == name)


def test_rows_come_in_the_studys_order_with_depth_passes_and_parameters(study: Study) -> None:
    table = collect(study, "official", [])
    assert [row.name for row in table.rows] == ["TRM k=1", "HRM k=1", "TRM k=6"]
    assert [row.depth for row in table.rows] == [6, 8, 156]
    assert [row.nfp for row in table.rows] == [1, 2, 1]
    assert [row.parameters for row in table.rows] == [5028866, 27275266, 5028866]
    assert [row.eval_steps for row in table.rows] == [16, 16, 16]


def test_the_mean_and_both_intervals_are_those_of_the_seeds_and_of_the_test_set(study: Study) -> None:
    values = [0.9, 0.92, 0.97]
    table = collect(study, "mini", [record(study, "TRM k=1", v, seed=s) for s, v in enumerate(values)])
    found = row(table, "TRM k=1")
    t = scipy_stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    wilson = scipy_stats.binomtest(465, 500).proportion_ci(0.95, method="wilson")
    assert found.values == tuple(values)
    assert found.seeds == (0, 1, 2)
    assert found.mean == pytest.approx(0.93)
    assert found.seed_interval is not None
    assert found.test_interval is not None
    assert (found.seed_interval.low, found.seed_interval.high) == pytest.approx((t.low, t.high))
    assert (found.test_interval.low, found.test_interval.high) == pytest.approx((wilson.low, wilson.high))


def test_one_seed_has_no_interval_over_seeds_but_one_of_the_test_set(study: Study) -> None:
    found = row(collect(study, "mini", [record(study, "TRM k=1", 0.5)]), "TRM k=1")
    assert found.seed_interval is None
    assert found.test_interval is not None


@pytest.mark.parametrize(
    ("status", "tags", "said"),
    [
        ("RUNNING", {}, "running"),
        ("KILLED", {}, "killed"),
        ("FAILED", {"failure": "out of\nmemory"}, "failed: out of memory"),
        ("FAILED", {}, "failed"),
        ("FINISHED", {}, "no test/exact_accuracy recorded"),
    ],
)
def test_a_row_without_a_number_says_why(study: Study, status: str, tags: dict[str, str], said: str) -> None:
    table = collect(study, "mini", [record(study, "TRM k=1", None, status=status, tags=tags)])
    assert row(table, "TRM k=1").status == said
    assert row(table, "TRM k=1").mean is None
    assert any(said in note for note in table.notes)


def test_a_row_without_a_run_did_not_run_or_is_not_in_the_profile(study: Study) -> None:
    assert [row.status for row in collect(study, "mini", []).rows] == [
        "did not run",
        "did not run",
        "not in this profile",
    ]
    assert row(collect(study, "official", []), "TRM k=6").status == "did not run"


@pytest.mark.parametrize("value", [float("nan"), 1.8e308, -0.1])
def test_a_value_that_is_no_fraction_is_no_accuracy(study: Study, value: float) -> None:
    found = row(collect(study, "mini", [record(study, "TRM k=1", value)]), "TRM k=1")
    assert found.mean is None
    assert found.status.startswith("test/exact_accuracy is ")


def test_a_failed_seed_is_left_out_of_the_mean_and_named(study: Study) -> None:
    records = [
        record(study, "TRM k=1", 0.9, seed=0),
        record(study, "TRM k=1", None, seed=1, status="FAILED", tags={"failure": "boom"}),
    ]
    table = collect(study, "mini", records)
    assert row(table, "TRM k=1").values == (0.9,)
    assert row(table, "TRM k=1").status == ""
    assert "TRM k=1, seed 1: failed: boom; not in the mean." in table.notes


@pytest.mark.parametrize(("profile", "difference"), [("mini", None), ("official", -3.2), ("paper", -3.2)])
def test_only_a_comparable_profile_has_a_difference_to_the_paper(
    study: Study, profile: ProfileName, difference: float | None
) -> None:
    table = collect(study, profile, [record(study, "TRM k=1", 0.6, profile=profile)])
    assert row(table, "TRM k=1").difference == (None if difference is None else pytest.approx(difference))
    assert table.comparable == (difference is not None)


def test_oom_is_a_cell_that_nothing_is_subtracted_from(study: Study) -> None:
    found = row(collect(study, "official", [record(study, "TRM k=6", 0.8, profile="official")]), "TRM k=6")
    assert (found.paper, found.mean, found.difference) == ("OOM", 0.8, None)


def test_runs_with_other_settings_or_puzzles_never_meet_in_one_mean(study: Study) -> None:
    records = [
        record(study, "TRM k=1", 0.9, seed=0),
        record(study, "TRM k=1", 0.1, seed=1, overrides=("train.steps=20",), minutes=60),
        record(study, "TRM k=1", 0.2, seed=2, data="another", minutes=-60),
    ]
    table = collect(study, "mini", records)
    assert row(table, "TRM k=1").values == (0.9,)
    assert table.overrides == ()
    left = next(note for note in table.notes if "not in this table" in note)
    assert left.startswith("2 recorded runs are")
    assert "train.steps=20 (1)" in left


def test_changed_runs_are_shown_when_asked_for_or_when_there_are_no_others(study: Study) -> None:
    changed = record(study, "TRM k=1", 0.1, profile="official", overrides=("train.steps=20", "optim.ema=none"))
    plain = record(study, "TRM k=1", 0.9, profile="official")
    asked = collect(study, "official", [plain, changed], overrides=["train.steps=20", "optim.ema=none"])
    alone = collect(study, "official", [changed])
    for table in (asked, alone):
        assert row(table, "TRM k=1").values == (0.1,)
        assert set(table.overrides) == {"train.steps=20", "optim.ema=none"}
        assert not table.comparable, "a changed official run cannot stand beside the paper's"
        assert "train.steps=20" in table.warning


def test_parameters_are_those_that_the_finished_run_recorded(study: Study) -> None:
    run = record(study, "TRM k=1", 0.9)
    counted = RunRecord(**{**vars(run), "params": run.params | {"parameters": "12345"}})
    assert row(collect(study, "mini", [counted]), "TRM k=1").parameters == 12345
    assert row(collect(study, "mini", [run]), "TRM k=1").parameters == int(run.params["parameters"])


def test_the_grid_is_the_papers_hrm_beside_trm_and_a_place_may_be_empty(study: Study) -> None:
    grid = collect(study, "mini", []).grid
    assert grid is not None
    assert (grid.labels, grid.columns, grid.by_puzzle) == (("k", "T"), ("HRM", "TRM"), False)
    names = [(at, [row and row.name for row in rows]) for at, rows in grid.lines]
    assert names == [(("1", "1"), ["HRM k=1", "TRM k=1"]), (("6", "6"), [None, "TRM k=6"])]


def test_a_study_whose_rows_have_no_place_has_no_grid(study: Study) -> None:
    rows = tuple(one.model_copy(update={"place": {}}) for one in study.rows)
    assert collect(study.model_copy(update={"rows": rows}), "mini", []).grid is None


def test_runs_of_a_row_that_is_gone_are_counted_not_shown(study: Study) -> None:
    run = record(study, "TRM k=1", 0.9)
    gone = RunRecord(**{**vars(run), "row": "TRM k=9"})
    table = collect(study, "mini", [gone])
    assert all(row.mean is None for row in table.rows)
    assert "1 recorded run is not in this table: rows that the study no longer has." in table.notes


def test_the_table_does_not_depend_on_the_order_of_the_records(study: Study) -> None:
    records = [record(study, name, 0.5, seed=seed) for name in ("TRM k=1", "HRM k=1") for seed in (0, 1)]
    assert collect(study, "mini", records) == collect(study, "mini", records[::-1])


def test_cell_accuracy_is_the_mean_over_the_same_seeds_and_needs_all_of_them(study: Study) -> None:
    def of(*cells: float | None) -> float | None:
        records = [record(study, "TRM k=1", 0.0, seed=seed, cells=value) for seed, value in enumerate(cells)]
        return row(collect(study, "mini", records), "TRM k=1").cell_accuracy

    assert of(0.5, 0.7) == pytest.approx(0.6)
    assert of(0.5, None) is None
    assert of(0.5, float("nan")) is None


def test_a_setting_that_differs_between_bases_is_told_by_base(study: Study) -> None:
    records = [record(study, name, 0.5) for name in ("TRM k=1", "HRM k=1")]
    facts = dict(collect(study, "mini", records).facts)
    settings = {row.place["model"]: row.settings for row in collect(study, "mini", records).rows}
    lr = {model: settings[model].optim.lr for model in ("TRM", "HRM")}
    assert lr["TRM"] != lr["HRM"], "mini gives each its own"
    assert facts["learning rate"] == f"TRM {lr['TRM']}, HRM {lr['HRM']}"
    assert facts["EMA"] == "TRM 0.95, HRM none"
    same = collect(study, "mini", [record(study, "TRM k=1", 0.5, overrides=("optim.lr=0.01",))])
    assert "learning rate" not in dict(same.facts)


@pytest.mark.parametrize(
    ("profile", "puzzles", "noted"),
    [("official", 1000, True), ("official", 422_786, False), ("mini", 1000, False)],
)
def test_a_comparable_table_says_that_it_was_not_measured_on_the_published_test_set(
    study: Study, profile: ProfileName, puzzles: int, noted: bool
) -> None:
    table = collect(study, profile, [record(study, "TRM k=1", 0.6, profile=profile, puzzles=puzzles)])
    note = "Measured on 1,000 test puzzles, not the published test set of 422,786 puzzles"
    assert any(text.startswith(note) for text in table.notes) == noted
    assert (row(table, "TRM k=1").difference is not None) == (profile == "official")


def test_a_row_with_settings_of_its_own_in_the_profile_is_named_under_the_table(study: Study) -> None:
    own = study.rows[0].model_copy(update={"change_in": {"mini": {"optim": {"lr": 0.006, "ema": None}}}})
    changed = study.model_copy(update={"rows": (own, *study.rows[1:])})
    note = "TRM k=1 has settings of its own in mini: optim.lr=0.006, optim.ema=none."
    assert note in collect(changed, "mini", []).notes
    assert not any("settings of its own" in text for text in collect(changed, "official", []).notes)
