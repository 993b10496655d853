"""What recorded curves say of rungs, as text and CSV, and how the curves are read."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping

import pytest

from reports import pruning_report
from reports.pruning_report import NoCurves, curves_of, read_pruning_report, rungs_csv, rungs_in, text, thresholds_csv
from sweeps.pruning import report_on
from sweeps.records.types import RunRecord
from sweeps.study import Study
from tests.reports.records import record
from tests.sweeps.test_pruning import ends_of, late_transition, steady

CELLS, EXACT = "validation/cell_accuracy", "validation/exact_accuracy"


@pytest.mark.parametrize("width", [80, 60, 40])
def test_the_report_fits_the_terminal_and_says_which_rungs_are_of_no_use(width: int) -> None:
    found = {f"{key:016x}": curve for key, curve in late_transition().items()}
    ends = {key: curve[4000] for key, curve in found.items()}
    flops = dict.fromkeys(found, 1.0)
    said = text(report_on(found, ends, (300, 3500), (0.75, 0.25), plateau=0.5, flops=flops), "lr_wd", CELLS, width)
    assert max(map(len, said.splitlines())) <= width
    words = " ".join(said.split())
    assert re.search(r"300 24 24 .* no ", words)
    assert re.search(r"3,500 24 0 .* yes ", words)
    assert "0.5: 3,500." in words
    assert "#1 0000000000000010" in words


def test_no_rung_that_foretells_is_said_too() -> None:
    found = late_transition()
    assert "here at none" in text(report_on(found, ends_of(found), (300,), (0.5,)), "lr_wd", CELLS, 200)


def test_the_tables_hold_every_rung_and_every_threshold_in_full_precision() -> None:
    found = steady()
    report = report_on(found, ends_of(found), (1000, 2000), (0.5, 0.25))
    rungs, thresholds = (list(csv.DictReader(io.StringIO(of(report)))) for of in (rungs_csv, thresholds_csv))
    assert [(line["step"], line["foretells"]) for line in rungs] == [("1000", "yes"), ("2000", "yes")]
    assert [(line["keep"], line["steps"]) for line in thresholds[:3]] == [
        ("0.5", "1000"),
        ("0.5", "2000"),
        ("0.5", "1000 2000"),
    ]
    assert float(thresholds[0]["steps_saved"]) == pytest.approx(0.375)
    assert thresholds[0]["winners_killed"] == ""


def test_rungs_are_tried_at_halvings_of_the_end() -> None:
    curve = dict.fromkeys(range(500, 10_001, 500), 0.0)
    assert rungs_in([curve, curve, {250: 0.0, 500: 0.0, 700: 0.0}]) == (500, 1000, 2500, 5000)
    assert rungs_in([]) == rungs_in([{100: 0.5}]) == ()


# --- read ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(study: Study) -> list[RunRecord]:
    return [
        record(study, "TRM k=1", 0.9, seed=seed, more={EXACT: seed / 10}, status="FINISHED" if seed else "KILLED")
        for seed in range(8)
    ]


def recorded(monkeypatch: pytest.MonkeyPatch, curves: Mapping[str, list[tuple[int, float]]]) -> None:
    def read_curve(run_id: str, metric: str) -> list[tuple[int, float]]:
        return curves.get(run_id, []) if metric == CELLS else []

    monkeypatch.setattr(pruning_report, "read_curve", read_curve)


def test_curves_are_read_by_key_and_runs_without_one_are_left_out(
    runs: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(monkeypatch, {runs[1].run_id: [(100, 0.5), (200, 0.6)]})
    assert curves_of(runs, CELLS) == {runs[1].key: {100: 0.5, 200: 0.6}}
    assert curves_of(runs, "validation/loss") == {}


def test_a_search_is_reported_on_from_its_runs_and_only_finished_ones_have_an_end(
    runs: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(monkeypatch, {run.run_id: [(100, run.seed / 20), (200, run.seed / 15)] for run in runs})
    report = read_pruning_report(
        runs,
        metric=CELLS,
        direction="maximize",
        objective=EXACT,
        objective_direction="maximize",
        flops=lambda run: 2.0,
    )
    assert (report.trials, report.left_out) == (7, 1)
    assert report.winners[0] == runs[7].key
    assert [rung.step for rung in report.rungs] == [100]
    assert report.replays[0].flops_saved is not None


def test_runs_without_a_curve_or_an_end_are_named_in_one_line(
    runs: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(monkeypatch, {})
    with pytest.raises(NoCurves, match=r"8 runs, 0 with a curve of validation/cell_accuracy, 7 that ended"):
        read_pruning_report(runs, metric=CELLS, direction="maximize", objective=EXACT, objective_direction="maximize")
