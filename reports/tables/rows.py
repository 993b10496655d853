"""Every row of a study with all that is known of it: the long table."""

from __future__ import annotations

from reports.plain import one_line
from reports.table import NOTHING, Cell, Sheet, cells, plain_sheet
from reports.types import Table, TableRow
from reports.words import common_seeds, depth, difference, number, ours, papers, percent, to_baseline

A_SHORTEST_PATH = "A shortest path"
COLUMNS = (
    "Row", "Depth", "NFP", "Parameters", "Seeds", "Ours", "Cells right", A_SHORTEST_PATH, "Paper", "Difference",
    "To baseline", "Verdict", "Verdict on the loss",
)  # fmt: skip
VERDICTS = COLUMNS[-2:]  # of a table of losses the numbers beside it are accuracies


def row_header(table: Table) -> tuple[str, ...]:
    """The columns of the long table: the paper's where it prints numbers, the difference where there may be one."""
    left_out = set() if table.has_shortest_paths else {A_SHORTEST_PATH}
    left_out |= set() if table.study.has_paper_numbers else {"Paper", "Difference"}
    left_out |= set() if table.comparable else {"Difference"}
    left_out |= set() if any(row.against for row in table.rows) else {"To baseline"}
    judged = table.comparable and (table.study.has_paper_numbers or table.study.layout == "losses")
    left_out |= set(VERDICTS) - ({VERDICTS[table.study.layout == "losses"]} if judged else set())
    return tuple(name for name in COLUMNS if name not in left_out)


def row_cells(table: Table, row: TableRow, *, reasons: bool = True) -> tuple[Cell, ...]:
    """One row of the long table, in the order of row_header. reasons: the verdict's why, which may be a run's words."""
    shown = ours(row, common_seeds(table) or len(row.values))
    of, seeds = row.name, str(len(row.values))
    found = {
        "Row": Cell(one_line(row.name)),
        "Depth": Cell(depth(row)),
        "NFP": Cell(number(row.nfp)),
        "Parameters": Cell(number(row.parameters)),
        "Seeds": Cell(seeds, row=of),
        "Ours": Cell(shown.text, row=of) if table.study.layout == "losses" else shown,
        "Cells right": Cell(NOTHING if row.cell_accuracy is None else percent(row.cell_accuracy), row=of),
        A_SHORTEST_PATH: Cell(NOTHING if row.shortest_path is None else percent(row.shortest_path), row=of),
        "Paper": Cell(papers(row)),
        "Difference": Cell(difference(row), row=of),
        "To baseline": Cell(to_baseline(row), row=of),
        **dict.fromkeys(VERDICTS, Cell(one_line(row.verdict.text if reasons else row.verdict.word))),
    }
    return tuple(found[name] for name in row_header(table))


def every_row(table: Table, *, reasons: bool = True) -> Sheet:
    """The long table."""
    header = row_header(table)
    lines = [row_cells(table, row, reasons=reasons) for row in table.rows]
    return plain_sheet(header, lines, last_is_text=header[-1] in VERDICTS)


def votes(table: Table) -> Sheet:
    """pass@2 by the number of variants that vote: a line per row that has a curve."""
    counts = sorted({count for curve in table.vote_curves for count in curve.votes})
    lines: list[tuple[Cell | str, ...]] = []
    for curve in table.vote_curves:
        by_votes = dict(zip(curve.votes, curve.pass_at[2], strict=True))
        shown = [percent(by_votes[count]) if count in by_votes else NOTHING for count in counts]
        lines.append((one_line(curve.row), *cells(shown, curve.row)))
    return plain_sheet(("Row", *(f"{count:,}" for count in counts)), lines)


def claims(table: Table) -> Sheet:
    """Each claim of the paper's and what our runs say of it."""
    lines = [(one_line(claim.says), one_line(claim.text)) for claim in table.claims]
    return plain_sheet(("The paper says", "Our runs"), lines, text_columns=2)


def checkpoints(table: Table) -> Sheet:
    """The last checkpoint beside the best on validation and the best on test."""
    lines = [
        (
            one_line(one.row),
            *cells(
                [
                    str(one.seeds),
                    percent(one.last),
                    NOTHING if one.by_validation is None else percent(one.by_validation),
                    percent(one.by_test),
                ],
                one.row,
            ),
            "late decline" if one.declined else "",
        )
        for one in table.selected
    ]
    return plain_sheet(
        ("Row", "Seeds", "Last", "Best on validation", "Best on test (peeking)", "Flag"), lines, last_is_text=True
    )
