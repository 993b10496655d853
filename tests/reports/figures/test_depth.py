"""Accuracy against depth: numbers, then the picture."""

from __future__ import annotations

import numpy as np
import pytest

from reports.figures import depth
from reports.figures.picture import Facts, NotDrawn, Picture
from reports.types import Table
from sweeps.study import Study
from tests.reports.records import record, table_of


def test_the_depth_figure_holds_ours_and_the_papers_by_depth(table: Table) -> None:
    trm, hrm = depth.accuracy_against_depth(table)
    assert (trm.name, hrm.name) == ("TRM", "HRM")
    assert [mark.depth for mark in trm.ours] == [6]
    assert trm.ours[0].accuracy == pytest.approx(0.85)
    assert trm.ours[0].interval == table.rows[0].seed_interval
    assert [(mark.depth, mark.accuracy, mark.word) for mark in trm.paper] == [(6, 0.632, ""), (156, None, "OOM")]
    assert hrm.ours == ()


def test_labels_leave_out_what_all_names_of_a_base_share(table: Table) -> None:
    trm, hrm = depth.accuracy_against_depth(table)
    assert [mark.label for mark in trm.paper] == ["k=1", "k=6"]
    assert [mark.label for mark in hrm.paper] == ["HRM k=1"]


def test_no_line_goes_through_a_row_that_ran_out_of_memory(study: Study) -> None:
    """The paper's TRM at k=4 is "OOM" in Table 3, between two rows that have numbers."""
    rows = [row for row in study.rows if row.base == "trm"]
    middle = rows[0].model_copy(
        update={
            "name": "TRM k=2",
            "change": {"model": {"n": 4, "T": 2}},
            "paper": "OOM",
            "paper_depth": None,
            "place": {"k": "2", "T": "2", "model": "TRM"},
        }
    )
    last = rows[1].model_copy(update={"paper": 80.0, "profiles": middle.profiles})
    three = study.model_copy(update={"rows": (rows[0], middle, last)})
    records = [
        record(three, "TRM k=1", 0.6, profile="official"),
        record(three, "TRM k=2", None, profile="official", status="FAILED", tags={"state": "out of memory"}),
        record(three, "TRM k=6", 0.8, profile="official"),
    ]
    (series,) = depth.accuracy_against_depth(table_of(three, "official", records))
    assert [(mark.accuracy, mark.word) for mark in series.ours] == [(0.6, ""), (None, "out of memory"), (0.8, "")]
    figure = depth.draw_accuracy_against_depth([series], comparable=True, profile="official")
    assert figure is not None
    curves = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]  # type: ignore[arg-type]
    assert len(curves) == 2, "ours and the paper's"
    for line in curves:
        assert np.isnan(np.asarray(line.get_ydata(), dtype=float)).tolist() == [False, True, False]
    assert sorted(text.get_text() for text in figure.axes[0].texts)[:2] == ["OOM", "TRM"]
    assert "ours OOM" in [text.get_text() for text in figure.axes[0].texts]


def test_the_depth_figure_is_of_ladders_and_says_when_no_run_has_finished(study: Study, table: Table) -> None:
    drawn = depth.picture(Facts(table))
    assert isinstance(drawn, Picture)
    header, lines = drawn.numbers.header, drawn.numbers.lines
    assert dict(zip(header, lines[0], strict=True))["accuracy"] == pytest.approx(0.85)
    assert [line[-1] for line in lines] == ["", "", "OOM", ""]
    assert isinstance(depth.picture(Facts(table_of(study, "mini"))), NotDrawn)
    flat = study.model_copy(update={"rows": tuple(row.model_copy(update={"place": {}}) for row in study.rows)})
    assert depth.picture(Facts(table_of(flat, "mini"))) is None
