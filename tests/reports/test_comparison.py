"""Settings side by side: what differs, which is chosen, and of which runs."""

from __future__ import annotations

import pytest

from reports import comparison_tables as comparing
from reports.comparison import Comparison, NothingToCompare, compare
from sweeps.study import Study
from tests.reports.compared import LR, scored, tables
from tests.reports.records import table_of


def test_columns_are_named_by_what_differs_and_stand_in_the_order_of_their_values(by_lr: Comparison) -> None:
    assert by_lr.names == ("lr",)
    assert [by_lr.label(one) for one in by_lr.settings] == ["lr=0.003", "lr=0.01", "lr=0.02"]
    assert by_lr.name.startswith("grid-lr-")


def test_two_settings_are_labelled_by_what_differs_and_what_all_share_is_said_once(study: Study) -> None:
    shared = "train.steps=20"
    grid: dict[str, dict[str, tuple[float | None, float]]] = {
        f"{shared} optim.lr={lr} optim.weight_decay={decay}": {"TRM k=1": (lr * 10 + decay / 10, 0.5)}
        for lr in (0.01, 0.02)
        for decay in (0.2, 1)
    }
    found = compare(tables(study, grid))
    assert found.names == ("lr", "weight_decay")
    assert [found.label(one) for one in found.settings] == [
        f"lr={lr}, weight_decay={decay}" for lr in ("0.01", "0.02") for decay in ("0.2", "1")
    ]
    assert found.shared == (shared,)
    assert f"All with {shared}." in comparing.markdown(found)
    assert "steps" not in found.name


def test_a_setting_that_a_campaign_leaves_alone_is_named_by_the_value_it_has(study: Study) -> None:
    found = compare(tables(study, {"model.D=32": {"TRM k=1": (0.5, 0.5)}, "": {"TRM k=1": (0.5, 0.5)}}))
    assert [found.label(one) for one in found.settings] == ["D=32", "D=48"]
    found = compare(tables(study, {"optim.ema=0.5": {"TRM k=1": (0.5, 0.5)}, "": {"TRM k=1": (0.5, 0.5)}}))
    assert [found.label(one) for one in found.settings] == ["ema as it is", "ema=0.5"], "HRM has none, TRM has one"


def test_a_setting_for_some_rows_keeps_its_scope(puzzles_study: Study) -> None:
    scores: dict[str, tuple[float | None, float]] = {"HRM, Maze-Hard": (0.5, 0.5)}
    found = compare(tables(puzzles_study, {f"maze:hrm:optim.lr={lr}": scores for lr in (0.02, 0.03)}))
    assert [found.label(one) for one in found.settings] == ["maze:hrm:lr=0.02", "maze:hrm:lr=0.03"]
    assert found.name.startswith("grid-maze-hrm-lr-")


def test_means_are_over_finished_runs_and_say_how_many_were_asked_for(study: Study) -> None:
    first = [scored(study, "TRM k=1", 0.5 + seed / 10, 0.4, [LR[0]], seed=seed) for seed in (0, 1)]
    first.append(scored(study, "TRM k=1", 0.9, 0.9, [LR[0]], seed=2, status="FAILED"))
    second = [scored(study, "TRM k=1", 0.7, 0.6, [LR[1]], status="RUNNING")]
    found = compare([table_of(study, "mini", first, [LR[0]]), table_of(study, "mini", second, [LR[1]])])
    cells = found.lines[0].cells
    assert cells[1].score is not None
    assert (cells[1].score.n, cells[1].asked, cells[1].chosen) == (2, 3, True)
    assert cells[1].score.mean == pytest.approx(0.55)
    assert comparing.text_of(study, cells[1]) == "55.0 ± 63.5 (2 of 3)"
    assert comparing.text_of(study, cells[0]) == "running"
    assert any("the setting looks better than it is" in note for note in found.notes)


def test_one_campaign_or_two_profiles_are_no_comparison(study: Study) -> None:
    mini, official = table_of(study, "mini"), table_of(study, "official")
    with pytest.raises(NothingToCompare, match="1 campaign to compare; expected two or more"):
        compare([mini])
    with pytest.raises(NothingToCompare, match="small_depth in mini and small_depth in official: expected one study"):
        compare([mini, official])
