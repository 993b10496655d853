"""What it took to come to an accuracy, as a table."""

from __future__ import annotations

from reports.tables.laid_out import sheet
from reports.words import about
from tests.reports.test_reach import LOOKS, mean_work, reached_table


def test_the_table_shows_what_it_took_and_how_many_times_fewer_and_says_not_reached() -> None:
    table = reached_table(LOOKS)
    header, lines = sheet(table).header, [[cell.text for cell in line] for line in sheet(table).lines]
    assert header[1:] == (
        *(f"To 80 % {what}" for what in ("seeds", "steps", "FLOPs", "seconds")),
        *("Times fewer FLOPs", "Times fewer seconds", "Acc (%)"),
    )
    assert [line[1:5] for line in lines[1:]] == [
        ["2 of 2", "25", f"{mean_work(1, (30, 20)):.2e}", "10"],
        ["1 of 2", "not reached", "–", "–"],
        ["did not run", "–", "–", "–"],
    ]
    assert lines[0][5:7] == ["1.00", "1.00"]
    assert lines[1][5] == f"{mean_work(0, (100, 50)) / mean_work(1, (30, 20)):.2f}"
    assert lines[1][6] == "3.12"  # 31.25 s against 15 s and 5 s
    assert lines[2][5:7] == ["–", "–"]
    assert "until 80 % of the validation puzzles" in about(table)
