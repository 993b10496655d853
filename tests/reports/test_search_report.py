"""A search's report: what it chose, what fresh seeds held of it, and figures that fit a page."""

from __future__ import annotations

import csv
import io
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from reports.search_page import page
from reports.search_report import NothingSearched, write_search_report
from reports.search_tables import (
    confirmed_csv,
    markdown,
    settings_line,
    terminal,
    trials_csv,
)
from sweeps.search_record import SearchRecord
from sweeps.words import clean
from tests.sweeps.searches import search, small, trial

HOSTILE = (
    *("=cmd|' /C calc'!A0", "@SUM(A1)", "\x1b[31mred", "two\n```\n<script>x()</script>", "\\input{/etc/passwd}"),
    *("[x](javascript:x())", "a`<script>x()</script>", "\u202eleft", "\0", "$(touch x)", "--><script>x()</script>"),
)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_storage_that_is_a_strangers_writes_neither_markup_nor_formulas_nor_commands(text: str) -> None:
    trials = tuple(replace(one, reason=text, params={text: text}, keys=(text,)) for one in search().trials)
    record = replace(search(), name=text, title=text, notes=(text,), facts=((text, text),), trials=trials, space=())
    forms = {"md": markdown(record), "terminal": terminal(record, 80), "html": page(record, [])}
    files = {"trials": trials_csv(record), "confirmed": confirmed_csv(record)}
    for form in (*forms.values(), *files.values()):
        assert all(letter.isprintable() or letter == "\n" for letter in form)
    assert "<script>" not in forms["html"]
    outside = re.sub(r"```\n.*?\n```\n", "", forms["md"], flags=re.DOTALL)
    assert not re.search(r"(?<!\\)(<script>|\[x\]\()", outside)
    for cell in (cell for file in files.values() for row in csv.reader(io.StringIO(file)) for cell in row):
        assert not cell.startswith(("=", "@"))
    assert shlex.split(settings_line(record, record.trials[0])) == [" ".join(clean(f"{text}={text}").split())]


# --- written ---------------------------------------------------------------------------------------------------------


def written(record: SearchRecord, folder: Path) -> dict[str, bytes]:
    report = write_search_report(record, folder)
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert set(report.files) == set(found)
    return found


def test_two_reports_of_one_record_are_the_same_bytes(tmp_path: Path) -> None:
    first, second = written(search(), tmp_path / "a"), written(search(), tmp_path / "b")
    assert [name for name in first if first[name] != second[name]] == []
    assert {
        "search.md",
        "trials.csv",
        "confirmed.csv",
        "page.html",
        "figures/history.svg",
        "figures/slices.png",
    } <= set(first)


def test_figures_that_no_longer_hold_do_not_stay(tmp_path: Path) -> None:
    written(search(), tmp_path)
    files = written(small(trial(0, 0.5)), tmp_path)
    assert {name for name in files if name.startswith("figures/")} == {"figures/history.png", "figures/history.svg"}
    assert "confirmed.csv" not in files


def test_a_search_without_a_trial_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(NothingSearched, match="no trial yet"):
        write_search_report(small(), tmp_path)
