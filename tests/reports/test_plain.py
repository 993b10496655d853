"""Strangers' text in every form: nothing in it steers a terminal, a page, a spreadsheet or LaTeX."""

from __future__ import annotations

import csv
import io

import pytest

from reports.comparison import compare
from reports.comparison_tables import markdown, rows_csv, terminal
from reports.links import links
from reports.page import page
from reports.plain import csv_text, one_line, plain
from reports.types import Table
from reports.write import csv_files, frames
from reports.write import markdown as study_markdown
from reports.write import terminal as study_terminal
from reports.write.latex import latex
from sweeps.study import Quoted, Study
from tests.reports.records import record, table_of

NASTY = "a\x1b[31mb\u202ec\r\n\\input{/etc/passwd}\x00\u2028d\x85e"


@pytest.fixture
def nasty(study: Study) -> Table:
    rows = (study.rows[0].model_copy(update={"name": f"=cmd {NASTY}", "place": {}}),)
    bad = study.model_copy(
        update={
            "title": NASTY,
            "source": f"@{NASTY}",
            "note": NASTY,
            "rows": rows,
            "quoted": (Quoted(name=f"+{NASTY}", cells={f"-{NASTY}": 1.5}),),
        }
    )
    return table_of(bad, "mini", [record(bad, rows[0].name, None, status="FAILED", tags={"failure": NASTY})])


def lines_of(text: str) -> list[str]:
    """Its lines as a file has them: by line feeds alone."""
    return text.split("\n")


def test_no_control_character_of_a_document_or_a_record_is_in_any_form(nasty: Table) -> None:
    forms = {
        "md": study_markdown.markdown(nasty),
        **latex(nasty),
        "html": page(nasty, [("a caption", f"<svg>{NASTY}</svg>")], links("http://tracker", "1", "", 2)),
        "terminal": study_terminal.terminal(nasty, 80),
        "rows": csv_files.rows_csv(nasty),
        "runs": frames.runs(nasty).csv(),
        "curves": frames.curves(nasty, {(nasty.rows[0].runs[0].run_id, NASTY): [(1, 0.5)]}).csv(),
        "quoted": csv_files.quoted_csv(nasty),
    }
    for name, text in forms.items():
        bad = [line for line in lines_of(text) if not line.isprintable()]
        assert bad == [], name


def test_a_title_does_not_break_out_of_latexs_comment(nasty: Table) -> None:
    for text in latex(nasty).values():
        assert [line for line in lines_of(text) if r"\input" in line and not line.startswith("% ")] == []
        first, second, *_ = lines_of(text)
        assert first.startswith("% a [31mb c \\input{/etc/passwd}")
        assert second.startswith("% Mini profile")


def test_a_rows_name_makes_no_second_row_of_a_terminals_table(study: Study) -> None:
    row = study.rows[0].model_copy(update={"name": "A\nB", "place": {}})
    bad = study.model_copy(update={"rows": (row,)})
    table = table_of(bad, "mini", [record(bad, "A\nB", 0.9)])
    other = table_of(bad, "mini", [], ["optim.lr=0.01"])
    for text in (study_terminal.terminal(table, 100), terminal(compare([table, other]), 100)):
        assert [line for line in lines_of(text) if line.startswith(" A B ")]
        assert not [line for line in lines_of(text) if line.strip().startswith("B")]


def test_a_comparison_is_as_safe(nasty: Table) -> None:
    other = table_of(nasty.study, "mini", [], ["optim.lr=0.01"])
    both = compare([nasty, other])
    for text in (markdown(both), rows_csv(both), terminal(both, 80)):
        assert [line for line in lines_of(text) if not line.isprintable()] == []


def test_a_text_cell_is_no_formula_and_numbers_stay_numbers() -> None:
    cells = ["=1+1", " +x", "-x", "@x", "\t=x", "＝1+1", "-3", "+1e-3", -2.5, None, "a=b", "", 'say "a, b"']
    (line,) = list(csv.reader(io.StringIO(csv_text(["=a"] * len(cells), [cells]))))[1:]
    assert line == ["'=1+1", "'+x", "'-x", "'@x", "'=x", "'＝1+1", "-3", "+1e-3", "-2.5", "", "a=b", "", 'say "a, b"']
    assert csv_text(["=a"], []) == "'=a\n"


def test_lines_stay_lines_and_signs_stay_signs() -> None:
    assert plain("± 1\n† 数\n") == "± 1\n† 数\n"
    assert one_line(" a\r\n\tb\u202e ") == "a b"
