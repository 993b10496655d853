"""Tables and prose of any width, in whole words."""

from __future__ import annotations

import re

import pytest

from reports.layout import lay_out, prose

HEADER = ["Row", "lr=0.001", "lr=0.003", "lr=0.01", "test of *"]
LINES = [
    ["TRM k=3, T=3", "88.0 ± 1.2", "91.2 ± 0.4", "diverged at step 20", "87.4 ± 1.2"],
    ["w/ separate f_H, f_L", "12.5", "out of memory", "did not run", "–"],
]


@pytest.mark.parametrize("width", [200, 80, 60, 48, 40])
def test_a_table_fits_its_width_and_breaks_no_word_and_no_number(width: int) -> None:
    text = lay_out(HEADER, LINES, width=width)
    assert max(map(len, text.splitlines())) <= width
    for cell in (cell for line in (HEADER, *LINES) for cell in line):
        for whole in [cell] if not re.search("[a-z]", cell) else cell.split():
            assert whole in text, whole


def test_a_name_longer_than_half_the_width_is_cut_and_its_table_fits() -> None:
    text = lay_out(["Row", "validation/exact_accuracy %", "flops"], [["TRM", "88.0", "1e+14"]], width=40)
    assert max(map(len, text.splitlines())) <= 40
    assert "validation/exact_ac…" in text


def test_what_is_too_wide_goes_on_below_and_repeats_its_labels() -> None:
    assert lay_out(HEADER, LINES, width=40).count("separate") > 1
    assert lay_out(HEADER, LINES, width=200).count("\n") == 3


def test_columns_of_a_group_stay_together_under_its_name() -> None:
    groups = [("HRM", 2), ("a longer name than its columns", 2)]
    wide = lay_out(HEADER, LINES, width=120, groups=groups)
    assert re.search(r"HRM +a longer name than its columns", wide.splitlines()[0])
    narrow = lay_out(HEADER, LINES, width=50, groups=groups).split("\n\n")
    assert ["HRM" in part for part in narrow] == [True, False]
    assert "lr=0.003" in narrow[0]


def test_texts_and_rules_go_across_all_columns() -> None:
    text = lay_out(HEADER, [LINES[0], None, "Quoted from the paper, not run here:", LINES[1]], width=80)
    lines = text.splitlines()
    assert " Quoted from the paper, not run here:" in lines
    assert sum(line.strip("─ ") == "" for line in lines) == 2


def test_prose_is_wrapped_between_words_and_a_word_that_does_not_fit_is_cut() -> None:
    text = prose(f"the run /{'folder/' * 30} has failed, out-of-memory", 30)
    assert max(map(len, text.splitlines())) <= 30
    assert "…" in text
    assert "out-of-memory" in text


def test_a_number_is_not_parted_from_its_sign_or_its_per_cent() -> None:
    text = "no wider than ± 5 points of 95 % and more words about ± 7 points"
    for width in range(12, 60):
        lines = prose(text, width).splitlines()
        assert not [line for line in lines if line.endswith("±") or line.startswith("%")], width
        assert max(map(len, lines)) <= width
    assert " ".join(prose(text, 30).split()) == text
