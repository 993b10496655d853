"""What a page says while its runs go on."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

import pytest

from reports.live import QUIET_S, Live, anew, live
from reports.page import page
from sweeps.campaign import declare
from sweeps.records.types import Owner
from sweeps.status import RunStatus
from sweeps.study import Study
from tests.reports.records import campaign_of, record, table_of

WRITTEN = datetime(2026, 11, 26, 19, 30, 15, tzinfo=UTC)
WRITTEN_MS = round(WRITTEN.timestamp() * 1000)


def page_of(*left_s: float | None) -> Live:
    """A page on which these runs go on, each with so long to go."""
    runs = (RunStatus("A row", f"seed {at}", "running", 100, left_s=one) for at, one in enumerate(left_s))
    return Live("some running", tuple(("", run) for run in runs), WRITTEN_MS, "python -m reports a")


@pytest.mark.parametrize(
    ("left_s", "quiet_s"),
    [((None,), QUIET_S), ((20.0, None), QUIET_S), ((3600.0, 9000.0), 7200.0), ((), QUIET_S)],
)
def test_a_page_is_believed_until_the_first_of_its_runs_must_have_ended(
    left_s: tuple[float | None, ...], quiet_s: float
) -> None:
    assert page_of(*left_s).quiet_s == quiet_s


def test_a_page_is_live_while_a_launch_makes_one_of_its_runs_and_says_when_it_was_written(study: Study) -> None:
    done, going = record(study, "TRM k=1", 0.5), record(study, "HRM k=1", None, status="RUNNING")
    beats = Owner(launch="a", pid=1, host="", beat_ms=WRITTEN_MS, step=50, left_s=None)
    beating = type(going)(**{**vars(going), "owners": (beats,)})
    of = campaign_of(study, "mini", [done, going])
    assert live(of, [done, going], WRITTEN_MS) is None, "nobody's heart beats"
    found = live(of, [done, beating], WRITTEN_MS)
    assert found is not None
    assert found.written == "2026-11-26 19:30 UTC"
    text = page(table_of(study, "mini", [done, going]), [], live=found)
    assert f'data-written="{WRITTEN_MS}"' in text
    assert "Last refreshed on 2026-11-26 19:30 UTC." in text, "without a script too"
    assert "http-equiv" not in text, "the script alone asks, since it alone can stop"
    assert found.anew in text


def test_the_command_that_writes_a_page_anew_names_its_campaign(study: Study) -> None:
    assert anew(declare(study, "mini")) == f"python -m reports {study.name} --profile mini"
    changed = declare(study, "mini", ["train.steps=20"])
    assert shlex.split(anew(changed))[-2:] == ["--label", changed.id[:8]]
