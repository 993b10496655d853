"""What follows from a table's values alone."""

from __future__ import annotations

import pytest

from sweeps.study import Study
from tests.reports.records import record, row_of, table_of


@pytest.mark.parametrize(
    ("seeds", "over"),
    [
        ([(0, 0), (0, 1)], "seeds"),
        ([(1, 0), (1, 1)], "training seeds"),
        ([(0, 0), (1, 0)], "draws of the puzzles"),
        ([(0, 0), (0, 1), (1, 0), (1, 1)], "draws of the puzzles and training seeds"),
    ],
)
def test_a_spread_says_which_of_the_two_seeds_varied(study: Study, seeds: list[tuple[int, int]], over: str) -> None:
    records = [
        record(study, "TRM k=1", 0.8 + at / 100, seed=seed, data_seed=data_seed, data=f"{data_seed:x}" * 16)
        for at, (data_seed, seed) in enumerate(seeds)
    ]
    table = table_of(study, "mini", records)
    assert row_of(table, "TRM k=1").seeds == tuple(seeds), "other draws are other puzzles, and all of them are shown"
    assert table.over == over
    assert dict(table.facts).get("data seeds", "0") == ", ".join(map(str, sorted({data for data, _ in seeds})))
