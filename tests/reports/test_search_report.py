"""A search's report: what it chose, what fresh seeds held of it, and figures that fit a page."""

from __future__ import annotations

import csv
import io
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from reports.search_figures import pictures
from reports.search_page import page
from reports.search_report import NothingSearched, write_search_report
from reports.search_tables import (
    confirmed_csv,
    markdown,
    promise_text,
    settings_line,
    terminal,
    trials_csv,
    value_text,
)
from sweeps.search_record import Axis, Confirmed, Objective, SearchRecord
from sweeps.words import clean
from tests.reports.test_page import EVIL, Balance
from tests.sweeps.searches import EXACT, FLOPS, LOSS, search, small, trial


@pytest.fixture
def over_promising() -> SearchRecord:
    """The best as searched holds least: 90 were promised, 50 are held, and its test is the best."""
    confirmed = (Confirmed(0, (1, 2), (0.5, 0.5), (0.77, 0.77)), Confirmed(1, (1, 2), (0.6, 0.7), (0.33, 0.33)))
    return small(trial(0, 0.9), trial(1, 0.8, lr=0.0023456789), trial(2, 0.1), confirmed=confirmed)


def test_every_form_shows_what_was_searched_what_holds_and_what_the_test_set_says(over_promising: SearchRecord) -> None:
    for form in (markdown(over_promising), terminal(over_promising, 80), page(over_promising, [])):
        words = " ".join(re.sub(r"<[^>]+>|[|*]", " ", form).split())
        assert "90.0 50.0 ± 0.0 +40.0 [+40.0, +40.0] 77.0 ± 0.0" in words
        assert "80.0 65.0 ± 63.5 +15.0" in words
        assert "Chosen: trial 1, the best on validation with fresh seeds." in words
        assert "promised 27.5 points too much for the 2 confirmed trials" in words
        assert "optim.lr=0.0023456789" in words


def test_before_anything_is_confirmed_the_report_says_so() -> None:
    record = small(trial(0, 0.9), trial(1, 0.8))
    assert "not confirmed with fresh seeds yet" in markdown(record)
    assert promise_text(record) == ""
    assert "Fresh seeds" not in terminal(record, 80)
    assert "nothing to choose from" in markdown(small(trial(0, state="RUNNING")))


@pytest.mark.parametrize("width", [120, 80, 60, 40])
@pytest.mark.parametrize("objectives", [(EXACT,), (EXACT, FLOPS)])
def test_the_terminal_has_the_best_trials_in_its_width(width: int, objectives: tuple[Objective, ...]) -> None:
    text = terminal(search(objectives=objectives), width)
    assert max(map(len, text.splitlines())) <= width
    assert "and 10 more" in " ".join(text.split())


def test_several_objectives_have_a_front_and_choose_nobody() -> None:
    record = small(trial(0, 0.9, 3e14), trial(1, 0.8, 1e14), trial(2, 0.7, 2e14), objectives=(EXACT, FLOPS))
    text = terminal(record, 100)
    assert "The Pareto front: trials 0, 1." in text
    assert re.search(r"^ 1\* +80\.0 +1e\+14", text, re.MULTILINE)
    assert re.search(r"^ 2 +70\.0", text, re.MULTILINE)
    assert "--set" not in text
    assert [line["best"] for line in read(trials_csv(record))] == ["yes", "yes", "no"]


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_csv_files_have_every_trial_and_every_seed_in_full_precision() -> None:
    record = search()
    trials, confirmed = read(trials_csv(record)), read(confirmed_csv(record))
    assert len(trials) == 20
    assert float(trials[0]["validation/exact_accuracy"]) == record.ranked[0].values[0]
    assert {line["state"] for line in trials} == {"complete", "pruned", "failed", "running"}
    pruned = next(line for line in trials if line["state"] == "pruned")
    assert (pruned["validation/exact_accuracy"], pruned["reached_step"]) == ("", "400")
    assert [line["chosen"] for line in confirmed].count("yes") == 1
    assert [float(value) for value in confirmed[0]["fresh_values"].split()] == list(record.confirmed[0].validation)


def test_the_chosen_settings_can_be_given_to_a_run_again() -> None:
    record = replace(small(trial(0, 0.5)), space=(Axis("lr of AdamW", 0, 1, setting="optim.lr"),))
    found = replace(
        record.trials[0], params={"lr of AdamW": 0.1 + 0.2, "model.features": "single z", "optim.ema": None}
    )
    assert settings_line(record, found) == "optim.lr=0.30000000000000004 'model.features=single z' optim.ema=none"


def test_accuracies_are_in_per_cent_and_other_values_in_four_digits() -> None:
    assert value_text("validation/exact_accuracy", 0.71234) == "71.2"
    assert value_text("train/loss", 0.43123) == "0.4312"
    assert value_text("flops", 2.13456e14) == "2.135e+14"


def test_no_name_becomes_markup_and_the_page_asks_nothing_of_anyone() -> None:
    record = replace(search(), title=EVIL, name=EVIL, notes=(EVIL,), facts=((EVIL, EVIL),))
    trials = tuple(replace(one, reason=EVIL, params={EVIL: EVIL}) for one in record.trials)
    text = page(replace(record, trials=trials, space=()), [(EVIL, "<svg><text>drawn</text></svg>")])
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert "script" not in parser.seen
    assert "<svg><text>drawn</text></svg>" in text
    assert not re.search(r"https?:|//\w|@import|\bsrc=|<link|url\((?!#)", text)
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


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


@pytest.mark.parametrize("objectives", [(EXACT,), (EXACT, FLOPS), (EXACT, FLOPS, LOSS)])
def test_nothing_in_a_figure_is_cut_at_its_edge(objectives: tuple[Objective, ...]) -> None:
    for name, _, figure in pictures(search(objectives=objectives)).drawn:
        held = figure.get_tightbbox()
        assert held is not None
        assert held.x0 > -0.02, name
        assert held.y0 > -0.02, name
        assert held.x1 < figure.get_figwidth() + 0.02, name
        assert held.y1 < figure.get_figheight() + 0.02, name


def test_one_setting_has_its_slice_drawn_too(tmp_path: Path) -> None:
    only = small(*(trial(number, 0.0, lr=0.001 * (number + 1)) for number in range(4)))
    assert "figures/slices.png" in write_search_report(only, tmp_path).files
