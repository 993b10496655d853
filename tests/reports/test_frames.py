"""Runs and curves for whoever works on with them: the same columns and values in CSV and Parquet."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from reports.types import Table
from reports.write import frames
from reports.write.frames import Frame
from sweeps.study import Study
from tests.reports.records import record, table_of

CURVE = "test/exact_accuracy"


@pytest.fixture
def drawn(study: Study) -> Table:
    records = [
        record(study, "TRM k=1", 0.123456789012345678, seed=1, data_seed=1, data="1" * 16),
        record(study, "HRM k=1", None, status="FAILED", tags={"failure": "=1+1\x1b[31m\nlost"}),
    ]
    return table_of(study, "mini", records)


def points(table: Table) -> dict[tuple[str, str], list[tuple[int, float]]]:
    return {(run.run_id, CURVE): [(10, 0.1), (20, 1 / 3)] for row in table.rows for run in row.runs if run.seed}


def both(frame: Frame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_csv(io.StringIO(frame.csv())), pd.read_parquet(io.BytesIO(frame.parquet()))


@pytest.mark.parametrize("which", ["runs", "curves"])
def test_both_forms_have_the_same_columns_and_values(drawn: Table, which: str) -> None:
    frame = frames.runs(drawn) if which == "runs" else frames.curves(drawn, points(drawn))
    text, binary = both(frame)
    assert list(text) == list(binary) == list(frame.columns)
    assert len(text) == len(binary) == 2
    for name in frame.columns:
        for ours, other in zip(text[name], binary[name], strict=True):
            assert (pd.isna(ours) and (pd.isna(other) or other == "")) or ours == other, name


def test_numbers_are_numbers_in_full_precision_also_where_some_or_all_are_missing(drawn: Table) -> None:
    _, found = both(frames.runs(drawn))
    kinds = {name: str(kind).lower() for name, kind in found.dtypes.items()}
    assert kinds["seed"] == kinds["data_seed"] == kinds["test_puzzles"] == "int64"
    assert kinds["accuracy"] == kinds["seconds"] == kinds["cell_accuracy"] == "float64", "none was recorded of cells"
    assert found["accuracy"][0] == 0.123456789012345678
    assert pd.isna(found["accuracy"][1])


def test_a_curve_leads_to_its_run_by_the_key(drawn: Table) -> None:
    _, lines = both(frames.curves(drawn, points(drawn)))
    _, of_runs = both(frames.runs(drawn))
    joined = lines.merge(of_runs, on="key")
    assert list(joined["row_x"]) == list(joined["row_y"]) == ["TRM k=1"] * 2
    assert list(zip(lines["step"], lines["value"], strict=True)) == [(10, 0.1), (20, 1 / 3)]


def test_a_report_without_runs_has_empty_frames_with_all_their_columns(study: Study) -> None:
    empty = table_of(study, "mini")
    for frame in (frames.runs(empty), frames.curves(empty, {})):
        text, binary = both(frame)
        assert list(text) == list(binary) == list(frame.columns)
        assert len(binary) == 0


def test_strangers_text_is_no_formula_and_steers_no_terminal_in_either_form(drawn: Table) -> None:
    for found in both(frames.runs(drawn)):
        reason = found["reason"][1]
        assert reason.startswith("'=1+1")
        assert reason.isprintable()


def test_the_same_runs_give_the_same_bytes(drawn: Table) -> None:
    assert frames.curves(drawn, points(drawn)).parquet() == frames.curves(drawn, points(drawn)).parquet()


def test_a_count_beyond_all_numbers_of_parquet_does_not_take_the_report_down(study: Study) -> None:
    found = frames.runs(table_of(study, "mini", [record(study, "TRM k=1", 0.5, more={"test/puzzles": 1e100})]))
    _, binary = both(found)
    assert pd.isna(binary["test_puzzles"][0])
