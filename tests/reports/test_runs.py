"""Which of a record's metrics count, and what a run without a number says."""

from __future__ import annotations

import pytest

from reports.runs import choosing_metric
from sweeps.study import Study
from tests.reports.records import record, row_of, table_of


def test_what_a_comparison_chooses_by_is_the_score_on_validation_or_a_loss_itself(
    study: Study, arc_study: Study, losses_study: Study
) -> None:
    assert choosing_metric(study) == "validation/exact_accuracy"
    assert choosing_metric(arc_study) == "validation/exact_accuracy", "votes are cast on test tasks alone"
    assert choosing_metric(losses_study) == "train/lm_loss"
    run = record(study, "TRM k=1", 0.9, more={"validation/exact_accuracy": 0.7})
    assert row_of(table_of(study, "mini", [run]), "TRM k=1").runs[0].chosen_by == 0.7
    none = record(study, "TRM k=1", 0.9)
    assert row_of(table_of(study, "mini", [none]), "TRM k=1").runs[0].chosen_by is None


@pytest.mark.parametrize("value", [float("nan"), 1.8e308, -0.1])
def test_a_value_that_is_no_fraction_is_no_accuracy(study: Study, value: float) -> None:
    found = row_of(table_of(study, "mini", [record(study, "TRM k=1", value)]), "TRM k=1")
    assert found.mean is None
    assert found.status.startswith("test/exact_accuracy is ")


def test_a_task_may_be_solved_by_half_so_pass_at_2_has_no_interval_of_the_test_set(arc_study: Study) -> None:
    name = "TRM-Att, ARC-AGI-1"
    run = record(arc_study, name, 0.4, profile="official", puzzles=419, more={"test/votes": 1000.0})
    table = table_of(arc_study, "official", [run])
    found = row_of(table, name)
    assert (found.mean, found.puzzles, found.test_interval, found.runs[0].interval) == (0.4, 419, None, None)
    assert found.difference == pytest.approx(-4.6)
    assert table.voters == (1000,)


def test_cell_accuracy_is_the_mean_over_the_same_seeds_and_needs_all_of_them(study: Study) -> None:
    def of(*cells: float | None) -> float | None:
        records = [record(study, "TRM k=1", 0.0, seed=seed, cells=value) for seed, value in enumerate(cells)]
        return row_of(table_of(study, "mini", records), "TRM k=1").cell_accuracy

    assert of(0.5, 0.7) == pytest.approx(0.6)
    assert of(0.5, None) is None
    assert of(0.5, float("nan")) is None


@pytest.mark.parametrize(
    ("status", "tags", "said"),
    [
        ("RUNNING", {}, "running"),
        ("KILLED", {}, "interrupted"),
        ("KILLED", {"state": "disk full", "failure": "OSError: no space left"}, "interrupted: OSError: no space left"),
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
    assert row_of(table, "TRM k=1").status == said
    assert row_of(table, "TRM k=1").mean is None
    assert any(said in note for note in table.notes)
