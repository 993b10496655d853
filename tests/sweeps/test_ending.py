"""What a command says at its end."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sweeps.campaign import declare
from sweeps.ending import where_the_runs_are, where_the_trials_are
from sweeps.study import find_study


def test_the_address_of_a_server_is_printed_whole_to_open_but_for_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    of = declare(find_study("recursion_depth"), "mini")
    monkeypatch.setattr("sweeps.records.shown.page_of", lambda campaigns: f"/#/{campaigns[0].label}")
    for given, home in (
        ("http://ann:kalliope77@host:5000/lab/", "http://host:5000/lab"),
        ("https://host", "https://host"),
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
        assert where_the_runs_are([of]) == f"the runs: {home}/#/"


def test_what_opens_a_searchs_trials_can_be_pasted_has_no_password_and_says_what_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "of a venv" / "python"))
    storage = "sqlite:///optuna.db"
    assert where_the_trials_are(storage) == (f"the trials (pip install optuna-dashboard): optuna-dashboard {storage}")
    assert "secret" not in where_the_trials_are("postgresql://me:secret@host/optuna")
    for folder, program in (("of a venv", "'of a venv/optuna-dashboard'"), (".", "optuna-dashboard")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "optuna-dashboard").touch(0o755)
        monkeypatch.chdir(tmp_path)
        assert where_the_trials_are(storage) == f"the trials: {program} {storage}"
