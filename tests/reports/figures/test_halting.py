"""Where answers settle and the head asks to halt."""

from __future__ import annotations

import numpy as np
import pytest

from reports.figures import halting
from reports.figures.picture import Facts, NotDrawn, Picture
from reports.types import Table
from sweeps.study import Row, Study
from tests.reports.figures.made import assert_nothing_is_cut, outcomes
from tests.reports.records import record, table_of


def test_shares_are_of_all_puzzles_by_step_right_and_wrong_and_means_over_the_runs(table: Table) -> None:
    runs = table.rows[0].runs
    kept = {
        runs[0].run_id: outcomes([1, 1, 0, 0], settled_at=[1, 2, 2, 4], halted_at=[2, 2, 0, 0]),
        runs[1].run_id: outcomes([1, 1, 1, 1], settled_at=[1, 1, 1, 1], halted_at=[1, 1, 1, 0]),
    }
    (row,) = halting.halting(table, kept)
    assert row.right == pytest.approx([0.625, 0.125, 0, 0])
    assert row.wrong == pytest.approx([0, 0.125, 0, 0.125])
    assert row.halted == pytest.approx([0.375, 0.25, 0, 0])
    assert row.never == pytest.approx(0.375)
    assert row.right.sum() + row.wrong.sum() == pytest.approx(1)
    drawn = halting.picture(Facts(table, {}, kept))
    assert isinstance(drawn, Picture)
    panel = drawn.figure.axes[0]
    assert panel.get_title(loc="left") == "TRM k=1 · never 38 %"
    assert [bar.get_height() for bar in panel.containers[0]] == pytest.approx(row.right)
    assert drawn.numbers.lines[-1] == ("TRM k=1", 2, "never", None, None, 0.375)
    assert isinstance(halting.picture(Facts(table)), NotDrawn)


def test_a_head_that_nothing_trains_asks_nowhere() -> None:
    row = Row(name="no halting", base="trm", change={"model": {"halting": "none"}})
    study = Study(name="none", title="None", puzzle="sudoku", source="Table 0", rows=(row,))
    table = table_of(study, "mini", [record(study, row.name, 0.5)])
    (found,) = halting.halting(table, {table.rows[0].runs[0].run_id: outcomes([1, 0])})
    assert found.halted is None
    figure = halting.draw([found])
    assert figure is not None
    assert figure.axes[0].get_title(loc="left") == "no halting"


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_key_is_not_cut_however_few_rows_there_are(n: int) -> None:
    one = halting.Settled(
        row="A row", base="trm", runs=1, N_sup=4, right=np.full(4, 0.1), wrong=np.full(4, 0.1), halted=np.full(4, 0.2),
        never=0.2,
    )  # fmt: skip
    figure = halting.draw([one] * n)
    assert figure is not None
    assert_nothing_is_cut(figure)
