"""A comparison's words and forms: the test set chooses nothing in any of them."""

from __future__ import annotations

import csv
import io

from reports import comparison_tables as comparing
from reports.comparison import Comparison, compare
from reports.comparison_figure import draw
from reports.figures.files import svg
from sweeps.study import Study
from tests.reports.compared import LR, tables
from tests.reports.records import record, table_of


def test_the_markdown_is_this(by_lr: Comparison) -> None:
    assert comparing.markdown(by_lr).startswith("""\
# Small depth: lr compared, profile mini

Exact accuracy on the validation puzzles in % at the end, mean over the finished runs; bold: each row's best. The last \
column is its accuracy on the test set, shown for it alone: the test set never selects.

| Row     | lr=0.003 |  lr=0.01 |     lr=0.02 | Test |
|---------|---------:|---------:|------------:|-----:|
| TRM k=1 |     50.0 | **75.0** |        25.0 | 11.1 |
| HRM k=1 | **50.0** |     50.0 | did not run | 44.4 |

- 1 cell has no number; what is marked is the best of those that have one.
- Where several settings are equally good, the first of them is marked (rows: HRM k=1).
- Rows that none of these campaigns runs are left out: TRM k=6.

## Campaigns
""")


def test_every_form_says_of_which_rows_several_settings_are_equally_good(study: Study, by_lr: Comparison) -> None:
    said = forms(by_lr)
    words = "Where several settings are equally good, the first of them is marked (rows: HRM k=1)."
    assert words in said["md"]
    assert words in " ".join(said["terminal"].split())
    assert "Equally good, the first framed: HRM k=1" in said["svg"]
    lines = list(csv.DictReader(io.StringIO(said["csv"])))
    assert [(line["chosen"], line["as_good_as_chosen"]) for line in lines] == [
        ("no", "no"),
        ("yes", "yes"),
        ("no", "no"),
        ("yes", "yes"),
        ("no", "yes"),
        ("no", "no"),
    ]
    alone = compare(
        tables(study, {change: {"TRM k=1": (score, 0.1)} for change, score in zip(LR, (0.5, 0.6, 0.7), strict=True)})
    )
    assert [name for name, text in forms(alone).items() if "qually good" in text] == []


def test_the_best_on_validation_is_chosen_the_first_of_equal_ones_and_the_test_is_shown_for_it_alone(
    by_lr: Comparison,
) -> None:
    trm, hrm = by_lr.lines
    assert trm.chosen == 1
    assert hrm.chosen == 0, "equal: the first"
    for name, text in forms(by_lr).items():
        assert "11.1" in text or "0.111" in text, name
        assert "44.4" in text or "0.444" in text, name
        for other in ("0.222", "22.2", "0.333", "33.3", "0.555", "55.5"):
            assert other not in text, f"{name}: the test score of a setting that was not chosen"
    lines = list(csv.DictReader(io.StringIO(comparing.rows_csv(by_lr))))
    assert [(line["lr"], line["mean"], line["chosen"], line["test_mean"]) for line in lines[:3]] == [
        ("0.003", "0.5", "no", ""),
        ("0.01", "0.75", "yes", "0.111"),
        ("0.02", "0.25", "no", ""),
    ]


def test_the_order_of_the_tables_moves_nothing(study: Study) -> None:
    made = tables(study, {changes: {"TRM k=1": (0.5, 0.5)} for changes in LR})
    assert forms(compare(made)) == forms(compare(made[::-1]))


def test_rows_without_validation_puzzles_say_so_and_nothing_is_chosen(arc_study: Study) -> None:
    name = "TRM-Att, ARC-AGI-1"
    made = [
        table_of(arc_study, "mini", [record(arc_study, name, 0.4, overrides=(change,))], [change]) for change in LR[:2]
    ]
    found = compare(made)
    assert [cell.word for cell in found.lines[0].cells] == ["no validation puzzles"] * 2
    assert found.lines[0].chosen is None
    assert found.notes[0].startswith(f"{name}: no validation puzzles are held out, and the test set selects nothing")
    assert draw(found) is None
    assert "0.4" not in comparing.rows_csv(found)


def test_a_training_loss_chooses_itself_the_least_and_there_is_no_test(losses_study: Study) -> None:
    made = [
        table_of(
            losses_study,
            "mini",
            [record(losses_study, "No EMA", 0.987, overrides=(change,), more={"train/lm_loss": loss})],
            [change],
        )
        for change, loss in zip(LR[:2], (1.25, 1.5), strict=True)
    ]
    found = compare(made)
    assert [(line.row, [cell.chosen for cell in line.cells]) for line in found.lines] == [("No EMA", [False, True])]
    for name, text in forms(found).items():
        assert "1.25" in text, name
        assert "98.7" not in text, name
        assert "0.987" not in text, name
    assert "The training loss itself chooses here" in comparing.markdown(found)
    assert "| Test |" not in comparing.markdown(found)


def forms(comparison: Comparison) -> dict[str, str]:
    figure = draw(comparison)
    assert figure is not None
    return {
        "md": comparing.markdown(comparison),
        "csv": comparing.rows_csv(comparison),
        "terminal": comparing.terminal(comparison, 80),
        "svg": svg(figure),
    }
