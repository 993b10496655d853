"""ARC's votes."""

from __future__ import annotations

from reports.curves import with_votes
from reports.figures.files import svg
from reports.figures.picture import Facts, NotDrawn, Picture
from reports.figures.votes import draw_accuracy_against_votes, picture
from sweeps.study import Study
from tests.reports.records import record, table_of


def test_accuracy_against_votes_has_a_panel_per_task_set_and_draws_the_same_twice(arc_study: Study) -> None:
    records = [record(arc_study, row.name, 0.4, profile="official") for row in arc_study.rows]
    table = table_of(arc_study, "official", records)
    assert draw_accuracy_against_votes(table) is None, "no curve is known"
    lacking = picture(Facts(table))
    assert isinstance(lacking, NotDrawn)
    assert "python -m trm_core vote" in lacking.why
    curve = [(1, 0.1, 0.2), (10, 0.2, 0.3), (100, 0.3, 0.4)]
    table = with_votes(table, {run.run_id: curve for run in records})
    drawn = picture(Facts(table))
    assert isinstance(drawn, Picture)
    assert drawn.numbers.lines[0] == (arc_study.rows[0].name, 1, 1, 1, 0.1)
    assert drawn.numbers.lines[-1] == (arc_study.rows[-1].name, 1, 2, 100, 0.4)
    images = []
    for _ in range(2):
        figure = draw_accuracy_against_votes(table)
        assert figure is not None
        assert [axes.get_title(loc="left") for axes in figure.axes] == [
            "ARC-AGI-1: profile official",
            "ARC-AGI-2: profile official",
        ]
        first, second = figure.axes[0].lines[:2]
        assert (list(first.get_xdata()), list(first.get_ydata())) == ([1, 10, 100], [0.1, 0.2, 0.3])  # type: ignore[arg-type]
        assert list(second.get_ydata()) == [0.2, 0.3, 0.4]  # type: ignore[arg-type]
        images.append(svg(figure))
    assert images[0] == images[1]
    assert ("TRM-Att" in images[0], "two attempts (pass@2)" in images[0]) == (True, True)
