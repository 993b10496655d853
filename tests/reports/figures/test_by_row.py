"""Accuracy row by row: numbers, then the picture."""

from __future__ import annotations

import pytest

from reports.figures import by_row
from reports.figures.files import svg
from sweeps.study import Study
from tests.reports.records import record, table_of


def test_the_figure_of_rows_holds_ours_and_the_papers_in_the_tables_order(plain_study: Study) -> None:
    table = table_of(plain_study, "mini", [record(plain_study, "TRM", 0.9, seed=s) for s in (0, 1)])
    trm, act, hrm = by_row.accuracy_by_row(table)
    assert (trm.row, trm.ours, trm.interval) == ("TRM", 0.9, table.rows[0].seed_interval)
    assert trm.paper == pytest.approx(0.874)
    assert (act.ours, act.word, act.paper, act.paper_word) == (None, "did not run", None, "OOM")
    assert (hrm.base, hrm.paper) == ("hrm", 0.55)


@pytest.mark.parametrize("comparable", [True, False])
def test_the_figure_of_rows_names_each_row_once_with_its_numbers(plain_study: Study, comparable: bool) -> None:
    dots = by_row.accuracy_by_row(table_of(plain_study, "mini", [record(plain_study, "TRM", 0.943)]))
    figure = by_row.draw_accuracy_by_row(dots, comparable=comparable, profile="mini")
    assert figure is not None
    image = svg(figure)
    assert [image.count(f">{name}<") for name in ("TRM", "w/ ACT", "HRM", "94.3", "did not run")] == [1, 1, 1, 1, 2]
    assert (">87.4<" in image and ">OOM<" in image and "not comparable" in image) == (not comparable)
    assert by_row.draw_accuracy_by_row(dots[1:], comparable=comparable, profile="mini") is None, "no number of ours"


def test_without_numbers_of_the_papers_the_figure_of_rows_is_ours_alone(plain_study: Study) -> None:
    rows = tuple(row.model_copy(update={"paper": None}) for row in plain_study.rows)
    study = plain_study.model_copy(update={"rows": rows})
    dots = by_row.accuracy_by_row(table_of(study, "mini", [record(study, "TRM", 0.9)]))
    figure = by_row.draw_accuracy_by_row(dots, comparable=False, profile="mini")
    assert figure is not None
    assert len(figure.axes) == 1
    assert "paper" not in svg(figure).lower()


def test_the_figure_of_rows_goes_puzzle_by_puzzle_and_names_its_metric(arc_study: Study) -> None:
    table = table_of(arc_study, "official", [record(arc_study, "TRM-MLP, ARC-AGI-1", 0.4, profile="official")])
    dots = by_row.accuracy_by_row(table)
    assert [dot.row for dot in dots] == [
        *("TRM-Att, ARC-AGI-1", "TRM-MLP, ARC-AGI-1"),
        *("TRM-Att, ARC-AGI-2", "TRM-MLP, ARC-AGI-2"),
    ]
    figure = by_row.draw_accuracy_by_row(dots, comparable=True, profile="official", metric="pass@2, test")
    assert figure is not None
    assert figure.axes[0].get_title(loc="left") == "pass@2, test: profile official and the paper"
