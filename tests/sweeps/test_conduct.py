from __future__ import annotations

import math
from pathlib import Path

import pytest

from sweeps import conduct
from sweeps.campaign import Campaign
from sweeps.conduct import _reported
from sweeps.records.address import TrackingUnavailable
from tests.conftest import campaign


def test_a_report_is_tried_again_while_mlflow_is_silent_and_only_until_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(conduct, "ASK_AGAIN_S", 0.0)
    looks: list[Campaign] = []

    def report(of: Campaign) -> Path:
        looks.append(of)
        if len(looks) < 3:
            raise TrackingUnavailable("nothing answers")
        return Path("report")

    assert _reported(campaign(), report, math.inf) == (Path("report"), [])
    looks.clear()
    folder, problems = _reported(campaign(), report, -math.inf)
    assert folder is None
    assert problems == ["no report was made of a_study in mini: nothing answers"]
    assert len(looks) == 1


def test_a_full_disk_under_the_report_is_said_at_once_and_a_mistake_of_ours_is_not_swallowed() -> None:
    def full(_: Campaign) -> Path:
        raise OSError(28, "No space left on device")

    def ours(_: Campaign) -> Path:
        raise ValueError("a bug")

    assert "No space left" in _reported(campaign(), full, math.inf)[1][0]
    with pytest.raises(ValueError, match="a bug"):
        _reported(campaign(), ours, math.inf)
