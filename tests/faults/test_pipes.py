"""A pipe where a file of ours belongs keeps nobody waiting, whoever reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.report import _text
from sweeps import snapshot
from sweeps.campaign import BadCampaign, id_in, read_file
from sweeps.folder import noted_failure
from sweeps.journal import BadJournal, read_journal
from sweeps.records.address import _noted
from trm_core.outcomes import BadOutcomes, read_outcomes
from trm_core.solving.thought_file import BadThought, read_thought


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("tracking.json", lambda path: _noted(path.parent)),
        ("campaign.json", lambda path: id_in(path.parent)),
        ("failure.txt", lambda path: noted_failure(path.parent, "a launch")),
        ("votes.csv", _text),
    ],
)
def test_what_is_a_help_is_passed_over(name: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    assert read(tmp_path / name) is None


@pytest.mark.parametrize(
    ("name", "read", "error"),
    [
        ("campaign.json", read_file, BadCampaign),
        ("metrics.jsonl", read_journal, BadJournal),
        ("outcomes.npz", read_outcomes, BadOutcomes),
        ("thought.npz", read_thought, BadThought),
        (snapshot.NAME, snapshot.take, snapshot.BadSnapshot),
    ],
)
def test_what_is_needed_is_named(
    name: str, read: Callable[[Path], object], error: type[Exception], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(error, match=name) as said:
        read(tmp_path / name)
    assert "\n" not in str(said.value)


def test_a_note_that_names_a_pipe_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a pipe")
    (tmp_path / "tracking.json").write_text(f'{{"sqlite": "{tmp_path}/a pipe"}}')
    assert _noted(tmp_path) is None
