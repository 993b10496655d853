"""A tuned study in tables: both scores side by side, what was chosen, and whether the order changed."""

from __future__ import annotations

import csv
import re
import shlex
from dataclasses import replace
from pathlib import Path

from reports.tune_page import page
from reports.tune_report import write_tune_report
from reports.tune_tables import assignments, every_trial_csv, markdown, order_text, rows_csv, terminal
from tests.sweeps.test_tune import record, tuned_row

A, B = tuned_row("A", (0.5, 0.5), (0.5, 0.5)), tuned_row("B", (0.4, 0.4), (0.6, 0.6))
BARE = tuned_row("C", (0.1, 0.2), ())


def test_every_form_shows_both_scores_the_gain_and_what_was_chosen() -> None:
    on_page = re.sub(r"<[^>]+>", " ", page(record(A, B), ()))
    for form in (markdown(record(A, B)), terminal(record(A, B), 80), on_page):
        words = " ".join(re.sub(r"[|*]", " ", form).split())
        assert "B 40.0 ± 0.0 60.0 ± 0.0 +20.0 [+20.0, +20.0]" in words
        assert "B 0.002346 2 90.0 60.0 ± 0.0" in words, "its setting, trials, as searched, fresh seeds"
        assert "The order of the rows changed, 1 pair of 1: B now above A." in words
        assert "A note." in words
    assert "`--set optim.lr=0.0023456789`" in markdown(record(A, B))
    assert "--set optim.lr=0.0023456789" in on_page


def test_the_chosen_settings_are_one_word_each_for_a_shell_and_code_in_markdown() -> None:
    (chosen,) = (one for one in A.search.trials if A.chosen is not None and one.number == A.chosen.number)
    evil = replace(chosen, params={"model.features": "single z", "optim.lr": "$(x)`<b>"})
    row = replace(A, search=replace(A.search, trials=(evil,), confirmed=()))
    ((_, line),) = assignments(record(row))
    assert shlex.split(line) == ["model.features=single z", "optim.lr=$(x)`<b>"]
    assert f"`` --set {line} ``" in markdown(record(row))


def test_a_mean_over_fewer_seeds_than_were_asked_for_says_so() -> None:
    assert "50.0 (1 of 2)" in markdown(record(A, tuned_row("B", (0.5,), (0.4, 0.4))))


def test_it_fits_into_80_columns() -> None:
    long = tuned_row("w/ separate f_H, f_L and 4 layers", (0.5, 0.71), (0.5, 0.93))
    assert max(map(len, terminal(record(A, long, BARE), 80).splitlines())) <= 80


def test_an_order_that_stays_or_that_the_intervals_do_not_hold_is_said() -> None:
    below = tuned_row("D", (0.1, 0.1), (0.2, 0.2))
    assert order_text(record(A, below)) == "No two of the 2 rows have changed their order."
    assert order_text(record(A, A)).endswith("Equal means are in no order.")
    unsure = order_text(record(tuned_row("A", (0.5, 0.52), (0.5, 0.5)), B))
    assert "B now above A (?)" in unsure
    assert "intervals of the two overlap" in unsure
    assert order_text(record(A, BARE)).endswith("Without a number on both sides: C.")


def test_the_csv_has_every_row_and_both_ranks(tmp_path: Path) -> None:
    rows = list(csv.DictReader(rows_csv(record(A, B, BARE)).splitlines()))
    assert [(row["row"], row["rank_published"], row["rank_tuned"]) for row in rows] == [
        ("A", "1", "2"),
        ("B", "2", "1"),
        ("C", "", ""),
    ]
    assert rows[1]["tuned_values"] == "0.6 0.6"
    assert (rows[1]["published.optim.lr"], rows[1]["tuned.optim.lr"]) == ("0.003", "0.0023456789")
    assert rows[2]["tuned_mean"] == ""
    assert len(every_trial_csv(record(A, B)).splitlines()) == 1 + 2 * 2
    report = write_tune_report(record(A, B), tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} == set(report.files)
