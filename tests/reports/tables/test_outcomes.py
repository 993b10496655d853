"""What halting is worth, and accuracy by supervision steps."""

from __future__ import annotations

import csv

import pytest

from reports.tables import outcomes as sheets
from reports.write.outcomes_csv import depths_csv, halting_csv
from tests.reports.records import record, table_of
from tests.reports.test_outcomes import STUDY


def test_what_halting_is_worth_and_accuracy_by_steps_are_means_over_the_seeds_that_all_tell() -> None:
    def more(first: float) -> dict[str, float]:
        by_step = {f"test/exact_accuracy/step_{step:02d}": first + 0.1 * at for at, step in enumerate((1, 2, 4))}
        halting = dict(zip(sheets.HALTING.values(), (0.9, 0.05, 0.6, 2.5), strict=True))
        return by_step | halting | {sheets.AT_DEPTH: 200.0}

    runs = [record(STUDY, "a", 0.5, seed=seed, more=more(0.2 + 0.2 * seed)) for seed in (0, 1)]
    table = table_of(STUDY, "mini", [*runs, record(STUDY, "b", 0.5, more=more(0.4)), record(STUDY, "b", 0.5, seed=1)])
    assert sheets.has_halting(table)
    assert [[cell.text for cell in line] for line in sheets.halting(table).lines] == [
        ["a", "90.0", "5.0", "60.0", "2.5"]
    ]
    depths = sheets.depths(table)
    assert depths.columns == ("Row", "1", "2", "4")
    assert [[cell.text for cell in line] for line in depths.lines] == [["a", "30.0", "40.0", "50.0"]]
    assert "of the same 200 test puzzles. Of 200 an accuracy of 50 % is known to ± 6.9" in sheets.depths_caption(table)
    told = list(csv.DictReader(depths_csv(table).splitlines()))
    assert [(line["row"], line["supervision_steps"]) for line in told] == [("a", "1"), ("a", "2"), ("a", "4")]
    assert [float(line["accuracy"]) for line in told] == pytest.approx([0.3, 0.4, 0.5])
    first, second = csv.DictReader(halting_csv(table).splitlines())
    assert (first["q_halt_accuracy"], second["q_halt_accuracy"]) == ("0.9", "")
    assert not sheets.has_halting(table_of(STUDY, "mini", [record(STUDY, "a", 0.5)]))
