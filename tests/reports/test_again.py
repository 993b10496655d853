"""The command of a table and of a row, as somebody pastes it into a shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import pytest

from reports.again import again
from sweeps.campaign import Campaign, declare
from sweeps.plan import select_rows
from sweeps.study import find_study

STUDY = find_study("components")


def campaign(
    rows: Sequence[str] = (), seeds: Sequence[int] = (0,), draws: Sequence[int] = (0,), *changes: str, command: str = ""
) -> Campaign:
    chosen = [row for row in STUDY.rows_of("mini") if not rows or row.name in rows]
    return declare(STUDY, "mini", changes).asked(chosen, seeds, draws, lambda _: "d" * 16, command)


START = "python sweeps/run.py --study components --profile mini"


@pytest.mark.parametrize(
    ("asked", "command"),
    [
        (campaign(), START),
        (campaign(seeds=(0, 1, 2)), f"{START} --seeds 3"),
        (campaign(seeds=(5,), draws=(0, 1)), f"{START} --seeds 5-5 --data-seeds 2"),
        (campaign(["HRM", "w/ ACT"], (0, 4)), f"{START} --only HRM 'w/ ACT' --seeds 0,4"),
        (campaign([], (0,), (0,), "optim.lr=0.01"), f"{START} --set optim.lr=0.01"),
    ],
)
def test_it_asks_for_the_rows_settings_and_seeds_that_the_campaign_has(asked: Campaign, command: str) -> None:
    assert again(asked) == command


def test_a_rows_command_finds_that_row() -> None:
    asked = campaign(seeds=(0, 1))
    for row in STUDY.rows_of("mini"):
        words = shlex.split(again(asked, row.name))
        assert words[-2:] == ["--seeds", "2"]
        (pattern,) = words[words.index("--only") + 1 : -2]
        assert row in select_rows(STUDY, "mini", [pattern])


def test_a_row_without_runs_has_none() -> None:
    assert again(campaign(["HRM"]), "no EMA") == ""


def test_a_studys_own_file_and_the_folder_of_the_puzzles_are_as_they_were_given_last() -> None:
    given = "python sweeps/run.py --study my/components.py --data sudoku=a maze=b --seeds 9 --set-anyway --yes"
    words = shlex.split(again(campaign(command=given)))
    assert words[words.index("--study") + 1] == "my/components.py"
    assert words[-4:] == ["--data", "sudoku=a", "maze=b", "--set-anyway"]
    assert "9" not in words


@pytest.mark.parametrize("command", ["rm -rf ~; python sweeps/run.py --data x", "python sweeps/run.py --data 'torn"])
def test_a_command_that_nobody_here_wrote_is_not_passed_on(command: str) -> None:
    assert again(campaign(command=command)) == START


def test_no_word_of_a_document_is_read_by_the_shell() -> None:
    row = STUDY.rows[0].model_copy(update={"name": "$(touch x); [a]*\x1b[0m\n`b`"})
    study = STUDY.model_copy(update={"rows": (row, *STUDY.rows[1:]), "claims": (), "baseline": ()})
    asked = declare(study, "mini").asked(study.rows[:1], [0], [0], lambda _: "d" * 16)
    text = again(asked)
    assert text.isprintable()
    assert shlex.split(text)[-1] == "$(touch x); [[]a][*] [[]0m `b`"
