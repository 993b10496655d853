"""The map of T and n."""

from __future__ import annotations

from reports.figures import cycles
from reports.figures.files import svg
from reports.figures.picture import Facts, NotDrawn, Picture
from sweeps.study import Study, find_study
from tests.reports.records import record, table_of


def test_the_map_has_a_square_per_row_at_its_T_and_n() -> None:
    study = find_study("cycles")
    records = [record(study, "T=3, n=6", 0.87), record(study, "T=1, n=2", 0.5)]
    records.append(record(study, "T=4, n=8", None, status="FAILED", tags={"state": "out of memory"}))
    found = cycles.accuracy_by_cycles(table_of(study, "mini", records))
    assert len(found) == 16
    at = {(one.T, one.n): one for one in found}
    assert (at[3, 6].accuracy, at[3, 6].depth) == (0.87, 42)
    assert (at[4, 8].accuracy, at[4, 8].word) == (None, "out of memory")
    assert at[2, 2].word == "did not run"
    drawn = cycles.picture(Facts(table_of(study, "mini", records)))
    assert isinstance(drawn, Picture)
    image = svg(drawn.figure)
    assert (image.count(">87.0<"), image.count(">not run<")) == (1, 13)
    assert drawn.numbers.lines[0][:5] == ("T=1, n=2", 1, 2, 6, 0.5)
    assert isinstance(cycles.picture(Facts(table_of(study, "mini"))), NotDrawn)


def test_a_diagonal_and_rows_that_differ_in_more_are_no_map(study: Study) -> None:
    """Table 3 goes along n=2T; components change one thing each."""
    for other in (study, find_study("recursion_depth"), find_study("components")):
        assert cycles.accuracy_by_cycles(table_of(other, "official")) == ()
        assert cycles.picture(Facts(table_of(other, "official"))) is None
