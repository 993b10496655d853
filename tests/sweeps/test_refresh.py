from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from sweeps import refresh
from sweeps.campaign import Campaign
from sweeps.refresh import AT_MOST_EVERY_S, NEAR_THE_END_S, SHARE, Refresher, command_of, waits_s
from tests.conftest import campaign


def test_a_report_waits_for_the_last_one_and_for_a_small_share_of_the_time() -> None:
    assert waits_s(now=100.0, began=-float("inf"), took=0.0, left_s=None) == 0.0
    assert waits_s(now=100.0, began=90.0, took=1.0, left_s=None) == AT_MOST_EVERY_S - 10
    assert waits_s(now=100.0, began=90.0, took=100.0, left_s=9000.0) == 100 / SHARE - 10
    assert waits_s(now=100.0, began=0.0, took=1.0, left_s=9000.0) == 0.0


def test_where_the_end_is_near_its_own_report_is_enough() -> None:
    assert waits_s(now=100.0, began=-float("inf"), took=0.0, left_s=NEAR_THE_END_S - 1) is None


class Written:
    """A stand-in for the reports' command: a process that does what it is told, and is waited for."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.of: list[str] = []

    def __call__(self, of: Campaign, out: Path) -> Sequence[str]:
        self.of.append(of.id)
        return [sys.executable, "-c", self.program, str(out)]


def until(there: Callable[[], object]) -> None:
    while not there():
        time.sleep(0.01)


def test_a_run_that_ends_has_the_report_written_at_the_lowest_priority(tmp_path: Path) -> None:
    written = Written(
        "import os, sys; from pathlib import Path\n"
        "at = Path(sys.argv[1]) / 'new'; at.write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))\n"
        "at.rename(at.with_name('priority'))"
    )
    said: list[str] = []
    with Refresher(tmp_path, left_s=lambda: None, say=said.append, command=written) as refresher:
        refresher.ended(of := campaign())
        refresher.ended(of)
        until((tmp_path / "priority").exists)
    assert written.of == [of.id]
    assert said == []
    assert int((tmp_path / "priority").read_text()) in (os.getpriority(os.PRIO_PROCESS, 0), refresh.LOWEST)


def test_a_report_that_goes_wrong_is_one_line_and_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "AT_MOST_EVERY_S", 0.0)
    monkeypatch.setattr(refresh, "SHARE", 1e9)
    said: list[str] = []
    written = Written("import sys; print('what it did\\nerror: no \\x1b[31mdisk', file=sys.stderr); sys.exit(2)")
    with Refresher(tmp_path, left_s=lambda: None, say=said.append, command=written) as refresher:
        refresher.ended(of := campaign())
        until(lambda: said)
        refresher.ended(of)
        until(lambda: len(written.of) == 2)
    assert said == [f"no report of {of.name} while its runs go on: no  [31mdisk"]


def test_a_command_that_is_not_there_is_a_line_too(tmp_path: Path) -> None:
    said: list[str] = []
    nobody = [str(tmp_path / "nobody")]
    with Refresher(tmp_path, left_s=lambda: None, say=said.append, command=lambda *_: nobody) as refresher:
        refresher.ended(campaign())
        until(lambda: said)
    assert len(said) == 1
    assert "nobody" in said[0]


def test_the_end_of_the_runs_ends_the_process(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    written = Written(f"import time; open({str(begun)!r}, 'w').write('x'); time.sleep(1000)")
    with Refresher(tmp_path, left_s=lambda: None, say=lambda _: None, command=written) as refresher:
        refresher.ended(campaign())
        until(begun.exists)
        process = refresher._process
    assert process is not None
    assert process.poll() is not None


def test_what_ends_near_the_end_starts_nothing(tmp_path: Path) -> None:
    asked = threading.Event()

    def left_s() -> float:
        asked.set()
        return 1.0

    written = Written("")
    with Refresher(tmp_path, left_s=left_s, say=lambda _: None, command=written) as refresher:
        refresher.ended(campaign())
        until(asked.is_set)
    assert written.of == []


def test_the_command_names_the_campaign_by_its_id(tmp_path: Path) -> None:
    of = campaign()
    python, *words = command_of(of, tmp_path)
    assert python == sys.executable
    assert words == ["-m", "reports", "a_study", "--profile", "mini", "--label", of.id[:8], "--out", str(tmp_path)]
