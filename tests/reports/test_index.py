from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from reports.index import Entry, Spent, _spent, all_spent, command_for, html, in_total, markdown, spent_words
from sweeps.campaign import Campaign, declare
from sweeps.records.types import Owner
from sweeps.status import RunStatus, status_of
from sweeps.study import ProfileName, Study
from tests.reports.records import DATA, START, campaign_of, record


def asked(study: Study, seeds: tuple[int, ...], command: str, profile: ProfileName = "mini") -> Campaign:
    return declare(study, profile).asked(study.rows_of(profile), seeds, [0], lambda _: DATA, command)


def command(campaign: Campaign, study: Study, scores: Mapping[tuple[str, int], float | None]) -> list[str]:
    """The command that makes what is missing; scores: of what has ended, None: it failed."""
    records = [
        record(study, row, score, seed=seed, status="FAILED" if score is None else "FINISHED")
        for (row, seed), score in scores.items()
    ]
    rows = [row.name for row in study.rows_of("mini")]
    lacking = [row for row in rows if not any(one.row == row and one.status == "FINISHED" for one in records)]
    return shlex.split(command_for(campaign, records, status_of(campaign, records, 0), lacking))


ALL = {("TRM k=1", 0): 0.5, ("HRM k=1", 0): 0.5}


@pytest.mark.parametrize(
    ("given", "seeds", "scores", "says"),
    [
        ("--data F --seeds 1 --yes", (0,), ALL, []),
        ("--data F", (0,), {}, ["--data", "F"]),
        ("--seeds 3", (0, 1, 2), ALL, ["--seeds", "1,2"]),
        ("--seeds 2", (0, 1), {**ALL, ("TRM k=1", 1): 0.5}, ["--only", "HRM k=1", "--seeds", "1-1"]),
        ("--seeds 2", (0, 1), {("TRM k=1", 0): 0.5, ("TRM k=1", 1): 0.5, ("HRM k=1", 0): None},
         ["--only", "HRM k=1", "--seeds", "2", "--retry-failed"]),
    ],
)  # fmt: skip
def test_the_command_makes_what_is_missing_and_nothing_else(
    study: Study, given: str, seeds: tuple[int, ...], scores: Mapping[tuple[str, int], float | None], says: list[str]
) -> None:
    words = command(asked(study, seeds, f"python sweeps/run.py --study small_depth {given}"), study, scores)
    begin = ["python", "sweeps/run.py", "--study", "small_depth", "--profile", "mini"]
    assert words == ([*begin, *says] if says else [])


def test_a_row_that_was_never_asked_for_is_missing_at_the_seeds_of_the_others(study: Study) -> None:
    row = [one for one in study.rows if one.name == "HRM k=1"]
    campaign = declare(study, "mini").asked(row, [0, 1], [0], lambda _: DATA)
    words = command(campaign, study, {("HRM k=1", 0): 0.5, ("HRM k=1", 1): 0.5})
    assert words[-4:] == ["--only", "TRM k=1", "--seeds", "2"]


def test_what_a_shell_would_do_more_is_quoted_also_of_a_search(study: Study) -> None:
    search = study.model_copy(update={"name": "search_lr"})
    for given, says in (
        ("python sweeps/run.py --search lr; rm -rf ~ $(y)", "python sweeps/run.py --search 'lr;' rm -rf '~' '$(y)'"),
        ("rm -rf ~", ""),
        ("python sweeps/run.py 'torn", ""),
    ):
        campaign = asked(search, (0,), given)
        assert command_for(campaign, [], status_of(campaign, [], 0), ()) == says


def test_costs_are_of_each_run_once_and_named_by_their_device() -> None:
    shared, own = Spent("core", 1.5, 1e15), Spent("GPU", 20.0, 1e18)
    entries = [Entry("a", "mini", spent={"1": shared, "2": own}), Entry("b", "mini", spent={"1": shared})]
    assert spent_words(all_spent(entries)) == "20 GPU-hours, 1.5 core-hours, 1.0e+18 FLOPs"
    assert spent_words([]) == "–"
    assert spent_words([Spent("core", 0.001, 1e9)]) == "<0.01 core-hours, 1.0e+09 FLOPs"


def test_a_run_costs_what_launches_made_it_for_and_not_the_time_between_them(study: Study) -> None:
    """Whole; killed on Friday and closed on Monday; under way; and two of an older version, which says less."""
    whole, killed, goes_on, old, old_goes_on = (
        record(study, "TRM k=1", None, seed=seed, status=status, tags={"at_work_ms": said} if said else {})
        for seed, (status, said) in enumerate(
            [("FINISHED", "72000"), ("KILLED", "36000"), ("RUNNING", "7200"), ("FINISHED", ""), ("RUNNING", "")]
        )
    )
    killed = replace(killed, ended=START + timedelta(days=3))
    beat_ms = round(1000 * (START + timedelta(seconds=18)).timestamp())
    old_goes_on = replace(old_goes_on, owners=(Owner("a" * 32, beat_ms=beat_ms),))
    runs = [whole, killed, goes_on, old, old_goes_on]
    spent = _spent(campaign_of(study, "mini", runs), runs)
    assert [spent[run.run_id].hours * 3600 for run in runs] == pytest.approx([72, 36, 7.2, 72, 18])


def test_the_forms_hold_strangers_words_as_text() -> None:
    runs = (
        RunStatus("<b>*row*", "seed 0", "running", 100, 50, loss=1.25, left_s=90.0),
        RunStatus("B", "", "done", 100),
    )
    entry = Entry("a_study", "mini", title="<script>", runs=runs, said=("a *torn* <i> document",), command="x `y`")
    page, text = html([entry], ["a <line>"], 0), markdown([entry], ["a <line>"])
    assert in_total([entry]) == "1 study, 1 campaign: 1 of 2 runs finished, 1 running; –"
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;*row*, seed 0" in page
    assert page.count("<script>") == 1, "ours"
    assert "<script>" not in text
    assert "<i>" not in page + text.replace("\\<", "")
    assert "50 of 100" in page
    assert "`` x `y` ``" in text


def test_a_campaign_whose_row_was_dropped_from_its_profile_is_not_missing_it(study: Study) -> None:
    of = campaign_of(study, "mini", [record(study, "TRM k=1", 0.9), record(study, "HRM k=1", 0.5)])
    assert command(of, study, ALL) == []
