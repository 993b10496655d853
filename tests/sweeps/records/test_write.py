"""One launch of a campaign: how it ends, and what lies with the campaign's run."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sweeps.records.claims import OWNER
from sweeps.records.write import Tracker
from tests.conftest import campaign
from tests.sweeps.records.stores import Server, finish, only, query, roles


def test_whatever_ends_the_command_no_run_is_left_running(mlflow_here: Path) -> None:
    def command() -> None:
        with Tracker.open(campaign()) as tracker:
            tracker.begin(only(campaign()), "hash")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command()
    assert roles(mlflow_here) == [("campaign", "FAILED"), ("row", "KILLED"), ("run", "KILLED")]
    assert query(mlflow_here, f"SELECT * FROM tags WHERE key LIKE '{OWNER}%'") == []


def test_the_report_lies_with_the_campaign(mlflow_here: Path, tmp_path: Path) -> None:
    report = tmp_path / "report"
    report.mkdir()
    (report / "table.md").write_text("| a |")
    with Tracker.open(campaign()) as tracker:
        assert tracker.close("FINISHED", report) == []
    assert [path.read_text() for path in (tmp_path / "mlruns").rglob("table.md")] == ["| a |"]


def test_a_report_that_cannot_be_stored_is_said_and_the_launch_ends_all_the_same(
    mlflow_here: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report"
    report.mkdir()
    (report / "table.md").write_text("| a |")
    with Tracker.open(campaign()) as tracker:
        (tmp_path / "mlruns").rename(tmp_path / "was")
        (tmp_path / "mlruns").write_text("a file where the artefacts' folder should be")
        (problem,) = tracker.close("FINISHED", report)
    assert f"{report} was not stored" in problem
    assert "\n" not in problem
    assert roles(mlflow_here) == [("campaign", "FINISHED")]


@pytest.mark.kills
@pytest.mark.slow
def test_a_server_that_is_away_at_the_very_end_is_waited_for(server: Server) -> None:
    of = campaign()
    with Tracker.open(of) as tracker:
        finish(tracker, only(of))
        server.kill()
        back = threading.Timer(1, server.start)
        back.start()
        problems = tracker.close("FINISHED", patience_s=300)
        back.join()
    assert problems == []
    assert roles(server.store) == [("campaign", "FINISHED"), ("row", "FINISHED"), ("run", "FINISHED")]
