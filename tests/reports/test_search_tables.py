"""A search in words and tables: what it chose, and what fresh seeds held of it."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import pytest

from reports.search_page import page
from reports.search_tables import confirmed_csv, markdown, promise_text, settings_line, terminal, trials_csv, value_text
from sweeps.search_record import Axis, Confirmed, Objective, SearchRecord
from tests.sweeps.searches import EXACT, FLOPS, search, small, trial


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


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (0.9, "promised what fresh seeds held for the confirmed trial"),
        (0.9004, "promised what fresh seeds held for the confirmed trial"),  # 0.0 points as it is printed
        (0.902, "promised 0.2 points too little for the confirmed trial"),
        (0.898, "promised 0.2 points too much for the confirmed trial"),
    ],
)
def test_a_promise_that_was_kept_is_no_zero_points_too_little(held: float, said: str) -> None:
    record = small(trial(0, 0.9), confirmed=(Confirmed(0, (1, 2), (held, held), (0.7, 0.7)),))
    assert promise_text(record) == f"On average the search {said}."


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
