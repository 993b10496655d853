"""LaTeX for a paper: numbers in siunitx's columns, every text as text, and nothing that TeX would refuse."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from reports.table import Cell, Part, Sheet
from reports.types import Table
from reports.write import latex
from sweeps.study import Study, find_study
from tests.reports import golden
from tests.reports.latex_check import faults, kinds
from tests.reports.records import record, table_of

NASTY = "é ~ ^ \\x {%$#&_} <a> \"q\" 'r' `s` 数 \\input{/etc/passwd}"


@pytest.fixture
def nasty(study: Study) -> Table:
    """Strangers' text wherever a table has some."""
    rows = (study.rows[0].model_copy(update={"name": NASTY, "place": {"method": NASTY, "what & where": NASTY}}),)
    bad = study.model_copy(update={"rows": rows, "title": NASTY, "source": NASTY, "note": NASTY})
    return table_of(bad, "mini", [record(bad, NASTY, None, status="FAILED", tags={"failure": NASTY})])


@pytest.fixture
def every_table(nasty: Table, table: Table, two_puzzles: Table, arc: Table, losses: Table) -> dict[str, str]:
    """All files of all of them, by the table's and the file's name."""
    tables = {"nasty": nasty, "table": table, "puzzles": two_puzzles, "arc": arc, "losses": losses}
    found = {f"{which} {name}": text for which, of in tables.items() for name, text in latex.latex(of).items()}
    return found | {f"golden {path.name}": path.read_text() for path in golden.FOLDER.glob("*.tex")}


def test_special_characters_are_printed_as_text() -> None:
    assert latex.tex("50 % & #1_a {x} $y$ ~^\\") == (
        r"50 \% \& \#1\_a \{x\} \$y\$ \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert latex.tex("± − † 🙂\x07") == r"$\pm$ $-$ \textsuperscript{\dag} ?"


def test_no_table_has_a_fault_that_can_be_seen_without_tex(every_table: dict[str, str]) -> None:
    assert {name: found for name, text in every_table.items() if (found := faults(text))} == {}


def test_no_table_is_shrunk_and_each_names_the_packages_it_needs(every_table: dict[str, str]) -> None:
    for name, text in every_table.items():
        assert not [word for word in ("resizebox", "scalebox", r"\small", "tabcolsep") if word in text], name
        needs = next(line for line in text.splitlines() if line.startswith("% Needs"))
        assert all(package in needs for package in ("fontenc", "textcomp", "booktabs", "siunitx")), name
        assert text.count(r"\begin{tabular}") == 1, name


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("a & b \\\\", "2 cells in 3 columns"),
        ("\\multicolumn{3}{c}{a} & b \\\\", "4 cells in 3 columns"),
        ("a & b & 50 % \\\\", "unescaped %"),
        ("a & f_H & 1 \\\\", "unescaped _"),
        ("a & {b & 1 \\\\", "closes nothing"),
        ("a & b & 1} \\\\", "closes nothing"),
        ("a & b & x \\\\", "no number for siunitx: x"),
        ("a & b & 1", "no line of a table"),
        ("a & \\input{b} & 1 \\\\", r"\input"),
        ("a & $b & 1 \\\\", "pairs"),
        ("a & 数 & 1 \\\\", "fonts"),
        ("\\end{tabular}", "tabular closes nothing"),
    ],
)
def test_the_check_finds_what_tex_would_refuse(broken: str, said: str) -> None:
    whole = "% 50 % of {\n\\begin{tabular}{@{}lrS[table-format=1.0,group-separator={,}]@{}}\n%s\n\\end{tabular}\n"
    assert faults(whole.replace("%s", "a & \\% & {words} \\\\\n  \\midrule")) == []
    assert [fault for fault in faults(whole.replace("%s", broken)) if said in fault], faults(
        whole.replace("%s", broken)
    )


def test_the_check_reads_a_preamble() -> None:
    preamble = (
        r"@{}l>{\raggedright\arraybackslash}p{0.45\linewidth}S[table-format=1.0,group-separator={,}]@{\,}c@{\,}r@{}"
    )
    assert kinds(preamble) == ["l", "p", "S", "c", "r"]


def lines_of(cells: list[Cell]) -> list[str]:
    """A tabular of one column of these, after its label."""
    lines = tuple((Cell("a"), cell) for cell in cells)
    return latex.tabular(Sheet(("Row",), (("", ("ours",)),), (Part(lines),)))


def test_numbers_stand_in_columns_of_siunitx_with_their_intervals_and_marks_behind_them() -> None:
    first, *lines = lines_of([Cell("87.1 ± 0.9", "≈", True), Cell("9.0 ± 12.5 (3)", "?"), Cell("5.0"), Cell("failed")])
    assert first == (
        r"\begin{tabular}{@{}lS[table-format=2.1,detect-weight=true]@{\,}c@{\,}"
        r"S[table-format=2.1,detect-weight=true]@{\,}l@{}}"
    )
    assert lines[1:-2] == [
        r"  {Row} & \multicolumn{4}{c}{Ours} \\",
        r"  \midrule",
        r"  a & \bfseries 87.1 & $\pm$ & \bfseries 0.9 & $\approx$ \\",
        r"  a & 9.0 & $\pm$ & 12.5 & ? (3) \\",
        r"  a & 5.0 &  &  &  \\",
        r"  a & \multicolumn{4}{c}{failed} \\",
    ]


@pytest.mark.parametrize(
    ("texts", "preamble", "cells"),
    [
        (["5,028,866", "500", "–"], "S[table-format=7.0,group-minimum-digits=4,group-separator={,}]",
         ["5028866", "500", "{--}"]),
        (["+3.2", "−12.5"], "S[table-format=+2.1,retain-explicit-plus=true]", ["+3.2", "-12.5"]),
        (["−3.2", "12.5"], "S[table-format=-2.1]", ["-3.2", "12.5"]),
        (["1.20e+14", "2.00e+05"], "S[table-format=1.2e2]", ["1.20e14", "2.00e05"]),
        (["6†", "42"], r"S[table-format=2.0]@{\,}l", [r"6 & \textsuperscript{\dag}", "42 & "]),
        (["5M/19M", "7M"], "r", ["5M/19M", "7M"]),
        (["+1.2 (p 0.03)", "–"], "r", ["+1.2 (p 0.03)", "--"]),
        (["yes", "no"], "l", ["yes", "no"]),
    ],
)  # fmt: skip
def test_a_column_takes_what_its_cells_are(texts: list[str], preamble: str, cells: list[str]) -> None:
    first, *lines = lines_of([Cell(text) for text in texts])
    assert first == f"\\begin{{tabular}}{{@{{}}l{preamble}@{{}}}}"
    assert lines[3:-2] == [f"  a & {cell} \\\\" for cell in cells]


def test_groups_of_columns_are_ruled_over_all_that_their_columns_are_made_of(table: Table) -> None:
    text = latex.latex(table)["table.tex"]
    assert r"\multicolumn{3}{c}{HRM} & \multicolumn{6}{c}{TRM} \\ \cmidrule(lr){3-5} \cmidrule(lr){6-11}" in text
    assert r"1 & 1 & 8 & 46.4 & failed & 6 & \textsuperscript{\dag} & 63.2 & 71.0 & $\pm$ & 12.7 \\" in text


def test_no_word_of_a_run_goes_into_a_paper(table: Table, losses: Table) -> None:
    assert "more" not in "".join(line for text in latex.latex(table).values() for line in tabular_of(text))
    assert "failed" in latex.latex(table)["rows.tex"]


def tabular_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("%")]


# --- with TeX ---------------------------------------------------------------------------------------------------------


def tex_has(package: str) -> bool:
    """Whether there is a pdfLaTeX, and this package."""
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    return subprocess.run(["kpsewhich", f"{package}.sty"], capture_output=True).returncode == 0


@pytest.mark.skipif(not tex_has("siunitx"), reason="no pdflatex with siunitx on this machine")
def test_pdflatex_takes_every_table_and_only_what_says_so_is_wider_than_a_column(
    every_table: dict[str, str], tmp_path: Path
) -> None:
    papers = {}
    for name in ("components", "latent_features", "recursion_depth"):
        study = find_study(name)
        official = partial(record, study, profile="official", puzzles=422_786)
        runs = [official(row.name, 0.5 + seed / 100, seed=seed) for row in study.rows for seed in (0, 1)]
        papers[f"{name} table.tex"] = latex.latex(table_of(study, "official", runs))["table.tex"]
        assert latex.WIDE not in papers[f"{name} table.tex"]
    files = every_table | papers
    body = []
    for number, text in enumerate(files.values()):
        (tmp_path / f"t{number}.tex").write_text(text, encoding="utf-8")
        of = f"\\setbox0\\hbox{{\\input{{t{number}.tex}}}}"
        body.append(f"{of}\\typeout{{WIDTH {number} \\the\\wd0}}\\noindent\\box0\\par")
    packages = r"\usepackage[T1]{fontenc}\usepackage{textcomp}\usepackage{booktabs}\usepackage{siunitx}"
    document = "\n".join([f"\\documentclass{{article}}{packages}\\begin{{document}}", *body, r"\end{document}"])
    (tmp_path / "all.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    widths = {
        int(line.split()[1]): float(line.split()[2][:-2]) for line in done.stdout.splitlines() if line[:5] == "WIDTH"
    }
    assert len(widths) == len(files)
    wide = [name for number, name in enumerate(files) if widths[number] > latex.LINE_PT]
    assert [name for name in wide if latex.WIDE not in files[name]] == []
