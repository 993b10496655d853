"""The forest plot."""

from __future__ import annotations

import pytest

from reports.figures import differences
from reports.figures.files import svg
from reports.figures.picture import Facts, NotDrawn, Picture
from sweeps.study import Study
from tests.reports.records import record, table_of


@pytest.fixture
def against_trm(plain_study: Study) -> Study:
    return plain_study.model_copy(update={"baseline": ("TRM",)})


def test_each_row_less_the_baseline_is_as_it_was_tested(against_trm: Study) -> None:
    scores = {"TRM": (0.8, 0.82, 0.81), "HRM": (0.5, 0.52, 0.51)}
    records = [record(against_trm, row, of, seed=s) for row, all_of in scores.items() for s, of in enumerate(all_of)]
    records.append(record(against_trm, "w/ ACT", None, status="FAILED", tags={"state": "diverged"}))
    table = table_of(against_trm, "mini", records)
    act, hrm = differences.differences(table)
    assert (act.row, act.found, act.word) == ("w/ ACT", None, "diverged")
    assert hrm.found == table.rows[2].against
    assert hrm.found is not None
    drawn = differences.picture(Facts(table))
    assert isinstance(drawn, Picture)
    line = dict(zip(drawn.numbers.header, drawn.numbers.lines[1], strict=True))
    assert line["difference"] == pytest.approx(-0.3)
    assert hrm.found.interval is not None
    assert (line["simultaneous95_low"], line["simultaneous95_high"]) == (
        hrm.found.interval.low,
        hrm.found.interval.high,
    )
    (panel,) = drawn.figure.axes
    bar = next(one for one in panel.lines if one.get_marker() == "|")
    assert list(bar.get_xdata()) == [100 * hrm.found.interval.low, 100 * hrm.found.interval.high]  # type: ignore[arg-type]
    image = svg(drawn.figure)
    assert "−30.0   p &lt; 0.001" in image
    assert "diverged" in image


def test_one_seed_tells_no_difference_and_more_are_asked_for(against_trm: Study, plain_study: Study) -> None:
    records = [record(against_trm, "TRM", 0.8), record(against_trm, "HRM", 0.5)]
    lacking = differences.picture(Facts(table_of(against_trm, "mini", records)))
    assert isinstance(lacking, NotDrawn)
    assert "--seeds 3" in lacking.why
    assert differences.picture(Facts(table_of(plain_study, "mini"))) is None, "a study without a baseline"
