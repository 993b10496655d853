"""The same cells in four forms."""

from __future__ import annotations

import csv
import io
import re

import pytest

from reports import words as wording
from reports.page import page
from reports.table import Cell, Part, Sheet
from reports.tables import rows
from reports.tables.laid_out import sheet
from reports.types import Table
from reports.write import csv_files, frames, latex
from reports.write.markdown import markdown
from reports.write.terminal import terminal, terminal_sheet
from sweeps.profiles import PROFILES
from sweeps.study import ProfileName, Study
from tests.reports.records import record, table_of


def tex_of(table: Table) -> str:
    """All files of LaTeX, one below the other."""
    return "\n".join(latex.latex(table).values())


WARNING = "not comparable with the paper's column"


def test_the_markdown_is_this(table: Table) -> None:
    trm, hrm = (f"{row.parameters:>10,}" for row in table.rows[:2])
    expected = f"""\
# Small depth

Table 0. Profile `mini`.

> **Mini profile (small puzzles, small model, few steps): not comparable with the paper's column.**

Exact accuracy on the 500 test puzzles in %, mean over 2 seeds, evaluated with 4 supervision steps. \
± is the 95 % interval of the mean over seeds (Student t).

|   k |   T | HRM Depth | HRM paper | HRM ours | TRM Depth | TRM paper |            TRM ours |
|----:|----:|----------:|----------:|---------:|----------:|----------:|--------------------:|
|   1 |   1 |         8 |      46.4 |   failed |        6† |      63.2 |         71.0 ± 12.7 |
|   6 |   6 |         – |         – |        – |       156 |       OOM | not in this profile |

- † Depth is T(n+1)·n_layers; the paper prints 7 here.
- A note.
- {PROFILES["mini"].note}
- HRM k=1, seed 0: failed: out of memory \\| 20 MiB & more_words.

## Every row

| Row     | Depth | NFP | Parameters | Seeds |                Ours | Cells right | Paper |
|---------|------:|----:|-----------:|------:|--------------------:|------------:|------:|
| TRM k=1 |    6† |   1 | {trm} |     2 |         71.0 ± 12.7 |        98.0 |  63.2 |
| HRM k=1 |     8 |   2 | {hrm} |     0 |              failed |           – |  46.4 |
| TRM k=6 |   156 |   1 | {trm} |     0 | not in this profile |           – |   OOM |

## What was run
"""
    assert markdown(table).startswith(expected)


def test_a_mini_table_says_in_every_form_that_it_is_not_comparable(table: Table) -> None:
    forms = {
        "md": markdown(table),
        "tex": tex_of(table).replace(r"\textquotesingle{}", "'"),
        "html": page(table, []).replace("&#39;", "'"),
        "terminal": " ".join(terminal(table).split()),
    }
    assert [name for name, text in forms.items() if WARNING not in text] == []
    assert "Difference" not in forms["md"]
    assert "no" in {line["comparable_with_paper"] for line in csv.DictReader(io.StringIO(csv_files.rows_csv(table)))}


def test_an_official_table_has_the_difference_and_no_warning(study: Study) -> None:
    table = table_of(study, "official", [record(study, "TRM k=1", 0.6, profile="official")])
    text = markdown(table)
    assert WARNING not in text
    assert "−3.2" in text


def test_numbers_of_seeds_that_differ_stand_in_the_cells(study: Study) -> None:
    records = [record(study, "TRM k=1", 0.9, seed=seed) for seed in (0, 1, 2)] + [record(study, "HRM k=1", 0.5)]
    table = table_of(study, "mini", records)
    text = markdown(table)
    assert "**90.0 ± 0.0 (3)**" in text
    assert "50.0 ± 0.0 (1)" in text, "the spread is pooled"
    assert "the number of seeds in parentheses" in text


def test_the_caption_names_the_supervision_steps_of_the_evaluation(study: Study) -> None:
    run = record(study, "TRM k=1", 0.9, overrides=("train.eval_N_sup=64",))
    table = table_of(study, "mini", [run], ["train.eval_N_sup=64"])
    assert "evaluated with 64 supervision steps" in wording.caption(table)


def test_the_csv_holds_every_number_in_full(table: Table) -> None:
    lines = list(csv.DictReader(io.StringIO(csv_files.rows_csv(table))))
    assert [line["row"] for line in lines] == ["TRM k=1", "HRM k=1", "TRM k=6"]
    first = table.rows[0]
    assert first.seed_interval is not None
    assert first.test_interval is not None
    assert float(lines[0]["accuracy_mean"]) == first.mean
    assert float(lines[0]["seed_interval_95_low"]) == first.seed_interval.low
    assert float(lines[0]["test_set_wilson95_high"]) == first.test_interval.high
    assert lines[0]["cell_accuracy_mean"] == "0.98"
    assert lines[0]["paper_accuracy"] == "0.632"
    assert (lines[0]["depth"], lines[0]["depth_printed_in_paper"]) == ("6", "7")
    assert lines[1]["status"] == "failed: out of memory | 20 MiB & more_words"
    assert lines[2]["paper_accuracy"] == "OOM"


def test_the_runs_have_a_line_per_seed(table: Table) -> None:
    lines = list(csv.DictReader(io.StringIO(frames.runs(table).csv())))
    assert [(line["row"], line["seed"], line["accuracy"], line["status"]) for line in lines] == [
        ("TRM k=1", "0", "0.7", "finished"),
        ("TRM k=1", "1", "0.72", "finished"),
        ("HRM k=1", "0", "", "failed"),
    ]
    assert [line["cell_accuracy"] for line in lines] == ["0.98", "0.98", ""]
    assert {line["seconds"] for line in lines} == {"72.0"}


@pytest.mark.parametrize("with_grid", [True, False])
def test_the_terminal_table_fits_its_width_and_names_every_row(study: Study, with_grid: bool) -> None:
    if not with_grid:
        rows = tuple(one.model_copy(update={"place": {}}) for one in study.rows)
        study = study.model_copy(update={"rows": rows})
    long = "CUDA out of memory " * 30
    records = [record(study, "TRM k=1", 0.9), record(study, "HRM k=1", None, status="FAILED", tags={"failure": long})]
    text = terminal(table_of(study, "mini", records), 80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "90.0" in text
    assert "not in this profile" in text
    assert "failed" in text


def test_a_row_that_is_not_possible_has_dashes_in_every_form(study: Study) -> None:
    direct = study.rows[0].model_copy(
        update={"name": "direct", "base": "direct", "change": {}, "place": {"k": "9", "T": "9", "model": "TRM"}}
    )
    study = study.model_copy(update={"rows": (*study.rows, direct)})
    table = table_of(study, "mini", [record(study, "TRM k=1", 0.9, overrides=("model.n=3",))], ["model.n=3"])
    for name, text in forms(table).items():
        assert "not possible" in text, name
    assert "| direct  |     – |   – |          – |     0 |        not possible |" in markdown(table)
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(csv_files.rows_csv(table)))}
    assert lines["direct"]["depth"] == ""
    assert lines["direct"]["status"].startswith('not possible: model.features="y" with model.n=3')


def test_where_other_puzzles_were_drawn_every_form_says_over_what_the_spread_is(study: Study) -> None:
    records = [
        record(study, "TRM k=1", 0.9 + 0.01 * data_seed, seed=seed, data_seed=data_seed, data=str(data_seed) * 16)
        for data_seed in (0, 1)
        for seed in (0, 1)
    ]
    killed = record(study, "HRM k=1", None, data_seed=1, data="1" * 16, status="KILLED")
    table = table_of(study, "mini", [*records, killed])
    for name, text in forms(table).items():
        words = " ".join(text.split())
        assert "mean over draws of the puzzles and training seeds (Student t), where the mean of a draw" in words, name
        assert ("HRM k=1, seed 0, data seed 1: interrupted." in words) == (name != "tex"), name
    lines = list(csv.DictReader(io.StringIO(frames.runs(table).csv())))
    assert [(line["seed"], line["data_seed"]) for line in lines[:4]] == [("0", "0"), ("1", "0"), ("0", "1"), ("1", "1")]
    assert "<td>1</td><td>1</td>" in page(table, []), "seed and data seed"
    assert "data.seed" not in page(table, []), "it is the runs' own"


def test_markdown_cells_cannot_break_the_table_or_carry_html(study: Study) -> None:
    rows = (study.rows[0].model_copy(update={"name": "a|b <script> *x* `y` [z](w) f_H"}),)
    text = markdown(table_of(study.model_copy(update={"rows": rows}), "mini", []))
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
    table = table_of(no_numbers, profile, [record(no_numbers, "TRM k=1", 0.9, profile=profile)])
    forms = [terminal(table, 200), markdown(table), tex_of(table), page(table, [])]
    for text in forms:
        assert "TRM k=1" in text
        assert "90.0" in text
        assert not re.search(r"[Pp]aper *(\||& |</th>)", text), "no column of the paper's"
        assert "The paper" not in text
        assert "Difference" not in text
        assert "paper's column" not in text
        assert ("ot comparable with runs at full size" in text) == (profile == "mini")
    assert csv_files.rows_csv(table).splitlines()[1].count(",") == csv_files.rows_csv(table).splitlines()[0].count(",")
    header = next(line for line in forms[1].splitlines() if line.startswith("| Row"))
    assert [cell.strip() for cell in header.split("|")[1:-1]] == [
        "Row",
        "Depth",
        "NFP",
        "Parameters",
        "Seeds",
        "Ours",
        "Cells right",
    ]


# --- several puzzles, ARC, losses -------------------------------------------------------------------------------------


def forms(table: Table) -> dict[str, str]:
    """Every form that a person reads, with quotes as they are printed."""
    return {
        "md": markdown(table),
        "tex": tex_of(table).replace(r"\textquotesingle{}", "'"),
        "html": page(table, []).replace("&#39;", "'"),
        "terminal": terminal(table),
    }


def test_the_table_of_puzzles_is_the_papers_with_parameters_per_cell_and_quotes_apart(two_puzzles: Table) -> None:
    found = sheet(two_puzzles)
    assert found.header == (
        *("Method", "# Params"),
        *("Sudoku-Extreme paper", "Sudoku-Extreme ours", "Maze-Hard paper", "Maze-Hard ours"),
    )
    assert [part.title for part in found.parts] == [wording.QUOTED, ""]
    assert [[cell.marked for cell in line] for line in found.lines] == [
        ["DeepSeek R1", "671B", "0.0", "", "0.5", ""],
        ["o3-mini-high", "–", "0.1", "", "–", ""],
        ["TRM-MLP", "5M/19M", "87.4", "87.4 ?", "0.0", "did not run"],
        ["TRM-Att", "7M", "74.7", "did not run", "85.3", "80.0 ?"],
        ["HRM", "27M", "55.0", "did not run", "74.5", "did not run"],
    ]
    assert "| *Quoted from the paper, not run here* |" in markdown(two_puzzles)


def test_what_is_quoted_is_in_every_form_under_its_label_and_in_no_file_of_ours(two_puzzles: Table) -> None:
    for name, text in forms(two_puzzles).items():
        words = " ".join(text.split())
        label = "Quoted from" if name == "terminal" else wording.QUOTED
        assert label in words, name
        assert words.index(label) < words.index("DeepSeek R1") < words.index("TRM-Att"), name
        assert words.count("DeepSeek") == 1, name
    assert r"\midrule" + "\n  \\multicolumn{8}{@{}l}{\\emph{Quoted" in tex_of(two_puzzles)
    lines = terminal(two_puzzles).splitlines()
    assert "───" in lines[next(at for at, line in enumerate(lines) if "Quoted" in line) - 1]
    assert "DeepSeek" not in csv_files.rows_csv(two_puzzles) + frames.runs(two_puzzles).csv()
    quoted = list(csv.DictReader(io.StringIO(csv_files.quoted_csv(two_puzzles))))
    assert [(line["quoted"], line["column"], float(line["accuracy"])) for line in quoted] == [
        ("DeepSeek R1", "Sudoku-Extreme", 0.0),
        ("DeepSeek R1", "Maze-Hard", 0.005),
        ("o3-mini-high", "Sudoku-Extreme", 0.001),
    ]


def test_what_is_quoted_is_printed_too_where_it_has_no_column_in_the_papers_layout(puzzles_study: Study) -> None:
    rows = tuple(one.model_copy(update={"place": {}}) for one in puzzles_study.rows)
    for study in (puzzles_study.model_copy(update={"rows": rows}), puzzles_study.model_copy(update={"rows": rows[:1]})):
        for name, text in forms(table_of(study, "official", [])).items():
            words = " ".join(text.split())
            assert words.index(wording.QUOTED) < words.index("DeepSeek R1"), name


def test_the_column_of_shortest_paths_is_there_with_mazes_alone(two_puzzles: Table, arc: Table, table: Table) -> None:
    header = rows.row_header(two_puzzles)
    assert header[header.index("Cells right") + 1] == "A shortest path"
    cells = {row.name: dict(zip(header, rows.row_cells(two_puzzles, row), strict=True)) for row in two_puzzles.rows}
    assert cells["TRM-Att, Maze-Hard"]["A shortest path"].text == "90.0"
    assert cells["TRM-MLP, Sudoku-Extreme"]["A shortest path"].text == "–"
    shown = {name: " ".join(text.split()) for name, text in forms(two_puzzles).items() if name != "tex"}
    assert all("one of millions of equally" in text for text in shown.values())
    assert "TRM-Att, Maze-Hard 90.0" in terminal(two_puzzles)
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(csv_files.rows_csv(two_puzzles)))}
    assert lines["TRM-Att, Maze-Hard"]["shortest_path_accuracy_mean"] == "0.9"
    for other in (arc, table):
        assert "A shortest path" not in rows.row_header(other)
        assert "shortest_path" not in csv_files.rows_csv(other) + frames.runs(other).csv()


def test_the_caption_speaks_of_what_was_measured(two_puzzles: Table, arc: Table, losses: Table) -> None:
    both = wording.caption(two_puzzles)
    assert both.startswith("Exact accuracy on the 422,786 (Sudoku-Extreme) or 1,000 (Maze-Hard) test puzzles in %")
    assert wording.caption(losses).startswith("Exact accuracy on the 500 test mazes in %")
    said = wording.caption(arc)
    assert said.startswith("Test tasks solved in two attempts (pass@2) in %, one seed per row")
    assert "the 2 answers with the most votes among its variants (at most 1,000), cast by the run's last" in said
    assert "no Wilson interval of the test set" in said
    assert "Brackets" not in said
    assert "Test set" not in rows.row_header(arc)
    assert "puzzles" not in said
    assert "test inputs measured: 419" in markdown(arc)


def test_a_leak_stands_above_every_form(arc_study: Study) -> None:
    tags = {"leaks": "0934a4d8,136b0064"}
    table = table_of(
        arc_study, "official", [record(arc_study, "TRM-Att, ARC-AGI-1", 0.9, profile="official", tags=tags)]
    )
    for name, text in forms(table).items():
        words = " ".join(text.split()).replace("\\_", "_")
        leak = words.index("Leak: 2 test tasks were learnt from (data.allow_leak): 0934a4d8, 136b0064.")
        assert leak < words.index("44.6"), name
        assert "eaking tasks: not comparable with the paper's column" in words, name
    assert "% Leak: 2 test tasks were learnt from (data.allow_leak)" in tex_of(table)
    (line, *_) = csv.DictReader(io.StringIO(csv_files.rows_csv(table)))
    assert (line["leaked_test_tasks"], line["comparable_with_paper"]) == ("0934a4d8 136b0064", "no")
    (run,) = csv.DictReader(io.StringIO(frames.runs(table).csv()))
    assert run["leaked_test_tasks"] == "0934a4d8 136b0064"


def test_a_table_of_losses_is_ours_beside_the_sources(losses: Table) -> None:
    lines = [re.split(r"\s*\|\s*", line)[1:-1] for line in markdown(losses).splitlines() if line[:1] == "|"]
    named = {line[0]: line[1:] for line in lines[:6]}
    assert lines[0][:6] == ["Configuration", "layers", "T", "n", "EMA", "depth"]
    assert lines[0][6:10] == ["Ours initial", "Ours final", "Ours minimum", "Ours improvement %"]
    assert named["Baseline TRM"][:5] == ["2", "3", "4", "yes", "30"]
    assert named["Baseline TRM"][5:] == ["did not run", "–", "–", "–", "1.789", "1.062", "1.045", "40.6"]
    assert [cell.split(" ± ")[0] for cell in named["No EMA"][5:]] == [
        *("1.900", "1.050", "0.950", "44.4"),
        *("1.789", "1.042", "1.041", "41.7"),
    ]
    assert named["Bigger brain"][:4] == ["4", "3", "4", "yes"]
    assert named["Bigger brain"][5:] == ["1.500", "1.500", "1.500", "0.0", "–", "–", "–", "–"]
    said = wording.losses_caption(losses)
    assert said.startswith("Training loss in nats (the mean over a puzzle's cells, without the halting loss)")
    assert "each a mean over 10 training steps" in said
    csv_lines = {line["row"]: line for line in csv.DictReader(io.StringIO(csv_files.rows_csv(losses)))}
    assert float(csv_lines["No EMA"]["loss_ours_final"]) == pytest.approx(1.05)
    assert float(csv_lines["No EMA"]["loss_source_improvement"]) == pytest.approx(0.417), "as printed: 41.7, not 41.8"
    assert csv_lines["Baseline TRM"]["loss_ours_final"] == ""
    for name, text in forms(losses).items():
        assert "1.042" in text, name
        assert "41.7" in text, name


def test_accuracy_by_votes_is_a_small_table_of_one_checkpoints_votes(arc: Table) -> None:
    assert [cell.text for cell in rows.votes(arc).lines[0]] == ["TRM-Att, ARC-AGI-1", "20.0", "40.0"]
    assert rows.votes(arc).header == ("Row", "1", "1,000")
    for name, text in forms(arc).items():
        if name != "terminal":
            assert "votes pooled over checkpoints are never in these numbers" in text, name
    lines = list(csv.DictReader(io.StringIO(csv_files.votes_csv(arc))))
    assert [(line["votes"], line["pass@1"], line["pass@2"]) for line in lines] == [
        ("1", "0.1", "0.2"),
        ("1000", "0.3", "0.4"),
    ]


@pytest.mark.parametrize("which", ["two_puzzles", "arc", "losses"])
def test_the_terminal_tables_of_the_other_studies_fit_too(which: str, request: pytest.FixtureRequest) -> None:
    text = terminal(request.getfixturevalue(which), 80)
    assert max(len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize(
    ("parameters", "printed"),
    [(27_275_266, "27M"), (5_028_866, "5M"), (18_795_522, "19M"), (45_300, "45k"), (90, "90")],
)
def test_parameters_are_printed_as_the_paper_prints_them(parameters: int, printed: str) -> None:
    assert wording.size(parameters) == printed


@pytest.mark.parametrize("width", [48, 80, 200])
def test_in_a_terminal_numbers_stand_below_each_other_whether_they_are_marked_or_not(width: int) -> None:
    line = ("TRM", *["0"] * 8)
    cells = [Cell("59.4 ± 1.3"), Cell("8.4 ± 1.3", "≈"), Cell("87.5 ± 1.3", "↓", is_best=True), Cell("failed")]
    of = Sheet(line[:1], (("", line[1:]), ("", ("ours",))), (Part(tuple((*map(Cell, line), cell) for cell in cells)),))
    shown = terminal_sheet(of, width).splitlines()
    assert len({at for text in shown if (at := text.find("± 1.3")) >= 0}) == 1
    assert len({text.find(".") for text in shown if "." in text}) == 1
    assert ("59.4 ± 1.3" in "\n".join(shown)) == (width > 48), "stacked where it is too wide"


# --- the paper's tables, as it prints them ----------------------------------------------------------------------------
