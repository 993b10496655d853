"""The same cells in four forms."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from pathlib import Path

import pytest

from reports import tables
from reports.collect import Table, collect
from reports.page import page
from sweeps.profiles import PROFILES
from sweeps.study import ProfileName, Study
from tests.reports.records import record

WARNING = "not comparable with the paper's column"


@pytest.fixture
def table(study: Study) -> Table:
    records = [record(study, "TRM k=1", value, seed=seed, cells=0.98) for seed, value in enumerate((0.9, 0.92))]
    failed = record(study, "HRM k=1", None, status="FAILED", tags={"failure": "out of memory | 20 MiB & more_words"})
    return collect(study, "mini", [*records, failed])


def test_the_markdown_is_this(table: Table) -> None:
    trm, hrm = (f"{row.parameters:>10,}" for row in table.rows[:2])
    expected = f"""\
# Small depth

Table 0. Profile `mini`.

> **Mini profile (small puzzles, small model, few steps): not comparable with the paper's column.**

Exact accuracy on the test puzzles in %, mean over 2 seeds, evaluated with 4 supervision steps. \
± is the 95 % interval of the mean over seeds (Student t). Brackets: the 95 % interval that 500 test puzzles leave to \
one run of that accuracy (Wilson); it does not hold the spread over seeds.

|   k |   T | HRM depth | HRM paper | HRM ours | TRM depth | TRM paper |            TRM ours |
|----:|----:|----------:|----------:|---------:|----------:|----------:|--------------------:|
|   1 |   1 |         8 |      46.4 |   failed |        6† |      63.2 |         91.0 ± 12.7 |
|   6 |   6 |         – |         – |        – |       156 |       OOM | not in this profile |

## Every row

| Row     | Depth | NFP | Parameters | Seeds |                Ours | Over seeds |     Test set | Cells right | Paper |
|---------|------:|----:|-----------:|------:|--------------------:|-----------:|-------------:|------------:|------:|
| TRM k=1 |    6† |   1 | {trm} |     2 |                91.0 |     ± 12.7 | [88.2, 93.2] |        98.0 |  63.2 |
| HRM k=1 |     8 |   2 | {hrm} |     0 |              failed |          – |            – |           – |  46.4 |
| TRM k=6 |   156 |   1 | {trm} |     0 | not in this profile |          – |            – |           – |   OOM |

- † Depth is T(n+1)·n_layers; the paper prints 7 here.
- A note.
- {PROFILES["mini"].note}
- HRM k=1, seed 0: failed: out of memory \\| 20 MiB & more_words.

## What was run
"""
    assert tables.markdown(table).startswith(expected)


def test_a_mini_table_says_in_every_form_that_it_is_not_comparable(table: Table) -> None:
    forms = {
        "md": tables.markdown(table),
        "tex": tables.latex(table).replace(r"\textquotesingle{}", "'"),
        "html": page(table, []).replace("&#39;", "'"),
        "terminal": tables.terminal(table),
    }
    assert [name for name, text in forms.items() if WARNING not in text] == []
    assert "Difference" not in forms["md"]
    assert "no" in {line["comparable_with_paper"] for line in csv.DictReader(io.StringIO(tables.rows_csv(table)))}


def test_an_official_table_has_the_difference_and_no_warning(study: Study) -> None:
    table = collect(study, "official", [record(study, "TRM k=1", 0.6, profile="official")])
    text = tables.markdown(table)
    assert WARNING not in text
    assert "−3.2" in text


def test_numbers_of_seeds_that_differ_stand_in_the_cells(study: Study) -> None:
    records = [record(study, "TRM k=1", 0.9, seed=seed) for seed in (0, 1, 2)] + [record(study, "HRM k=1", 0.5)]
    table = collect(study, "mini", records)
    text = tables.markdown(table)
    assert "90.0 ± 0.0 (3)" in text
    assert "50.0 (1)" in text
    assert "the number of seeds in parentheses" in text


def test_the_caption_names_the_supervision_steps_of_the_evaluation(study: Study) -> None:
    table = collect(study, "mini", [record(study, "TRM k=1", 0.9, overrides=("train.eval_N_sup=64",))])
    assert "evaluated with 64 supervision steps" in tables.caption(table)


def test_the_csv_holds_every_number_in_full(table: Table) -> None:
    lines = list(csv.DictReader(io.StringIO(tables.rows_csv(table))))
    assert [line["row"] for line in lines] == ["TRM k=1", "HRM k=1", "TRM k=6"]
    first = table.rows[0]
    assert first.seed_interval is not None
    assert first.test_interval is not None
    assert float(lines[0]["accuracy_mean"]) == first.mean
    assert float(lines[0]["seed_interval_t95_low"]) == first.seed_interval.low
    assert float(lines[0]["test_set_wilson95_high"]) == first.test_interval.high
    assert lines[0]["cell_accuracy_mean"] == "0.98"
    assert lines[0]["paper_accuracy"] == "0.632"
    assert (lines[0]["depth"], lines[0]["depth_printed_in_paper"]) == ("6", "7")
    assert lines[1]["status"] == "failed: out of memory | 20 MiB & more_words"
    assert lines[2]["paper_accuracy"] == "OOM"


def test_the_runs_have_a_line_per_seed(table: Table) -> None:
    lines = list(csv.DictReader(io.StringIO(tables.runs_csv(table))))
    assert [(line["row"], line["seed"], line["accuracy"], line["status"]) for line in lines] == [
        ("TRM k=1", "0", "0.9", "finished"),
        ("TRM k=1", "1", "0.92", "finished"),
        ("HRM k=1", "0", "", "failed"),
    ]
    assert [line["cell_accuracy"] for line in lines] == ["0.98", "0.98", ""]
    assert {line["seconds"] for line in lines} == {"72.0"}


def test_latex_prints_its_special_characters_as_text() -> None:
    assert tables.tex("50 % & #1_a {x} $y$ ~^\\") == (
        r"50 \% \& \#1\_a \{x\} \$y\$ \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert tables.tex("± − † 🙂\x07") == r"$\pm$ $-$ \textsuperscript{\dag} ?"


def test_the_latex_uses_booktabs_and_balances_its_braces(table: Table) -> None:
    text = tables.latex(table)
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\cmidrule(lr){3-5}", r"\bottomrule"))
    assert r"more\_words" in text
    cells = [line for line in text.splitlines() if line.startswith("    ") and line.endswith(r"\\")]
    grid, rows = cells[:3], cells[3:]
    assert {line.count(" & ") for line in grid} == {7}
    assert {line.count(" & ") for line in rows} == {9}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex on this machine")
def test_the_latex_compiles(table: Table, tmp_path: Path) -> None:
    nasty = collect(
        table.study,
        "mini",
        [
            record(
                table.study,
                "TRM k=1",
                None,
                status="FAILED",
                tags={"failure": "é ~ ^ \\x {%$#&_} <a> \"q\" 'r' `s` 数"},
            )
        ],
    )
    packages = r"\usepackage[T1]{fontenc}\usepackage{textcomp}\usepackage{booktabs}\usepackage{graphicx}"
    body = tables.latex(table) + tables.latex(nasty).replace("tab:", "tab:nasty-")
    document = f"\\documentclass{{article}}{packages}\\begin{{document}}{body}\\end{{document}}"
    (tmp_path / "table.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout, "wider than the page"


@pytest.mark.parametrize("with_grid", [True, False])
def test_the_terminal_table_fits_its_width_and_names_every_row(study: Study, with_grid: bool) -> None:
    if not with_grid:
        rows = tuple(one.model_copy(update={"place": {}}) for one in study.rows)
        study = study.model_copy(update={"rows": rows})
    long = "CUDA out of memory " * 30
    records = [record(study, "TRM k=1", 0.9), record(study, "HRM k=1", None, status="FAILED", tags={"failure": long})]
    text = tables.terminal(collect(study, "mini", records))
    assert max(len(line) for line in text.splitlines()) <= tables.TERMINAL_WIDTH
    assert "[87.1, 92.3]" in text
    assert "not in this profile" in text
    assert "failed" in text


def test_markdown_cells_cannot_break_the_table_or_carry_html(study: Study) -> None:
    rows = (study.rows[0].model_copy(update={"name": "a|b <script> *x* `y` [z](w) f_H"}),)
    text = tables.markdown(collect(study.model_copy(update={"rows": rows}), "mini", []))
    assert r"a\|b \<script> \*x\* \`y\` \[z\](w) f_H" in text


@pytest.fixture
def no_numbers(study: Study) -> Study:
    """The study as if the paper printed nothing for it, without places."""
    rows = tuple(row.model_copy(update={"paper": None, "paper_depth": None, "place": {}}) for row in study.rows)
    return study.model_copy(update={"rows": rows})


@pytest.mark.parametrize("profile", ["mini", "official"])
def test_a_study_without_numbers_of_the_papers_has_no_column_for_them_in_any_form(
    no_numbers: Study, profile: ProfileName
) -> None:
    table = collect(no_numbers, profile, [record(no_numbers, "TRM k=1", 0.9, profile=profile)])
    forms = [tables.terminal(table), tables.markdown(table), tables.latex(table), page(table, [])]
    for text in forms:
        assert "TRM k=1" in text
        assert "90.0" in text
        assert "Paper" not in text.replace("of the paper", "")
        assert "Difference" not in text
        assert "paper's column" not in text
        assert ("ot comparable with runs at full size" in text) == (profile == "mini")
    assert tables.rows_csv(table).splitlines()[1].count(",") == tables.rows_csv(table).splitlines()[0].count(",")
    header = next(line for line in forms[1].splitlines() if line.startswith("| Row"))
    assert [cell.strip() for cell in header.split("|")[1:-1]] == list(tables.ROW_HEADER[:-2])
