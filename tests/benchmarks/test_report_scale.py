from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import report_scale
from benchmarks.report_scale import PROFILE, make_store
from reports.everything import Reader, look
from sweeps.study import all_studies


def test_the_store_that_is_made_in_bulk_is_one_that_reports_read(
    mlflow_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = [study for study in all_studies() if study.rows_of(PROFILE)][:2]
    monkeypatch.setattr(report_scale, "all_studies", lambda: two)
    studies = [study.name for study in two]
    n_points = make_store(2 * len(studies), 5)
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{mlflow_here}"
    read = list(Reader(tmp_path).read(look(tmp_path)))
    assert [one.study for one in read] == studies
    assert [line for one in read for line in one.said] == []
    assert sum(len(one.gathered.recorded.runs) for one in read if one.gathered) == 2 * len(studies)
    assert 0 < sum(len(curve) for one in read if one.gathered for curve in one.gathered.curves.values()) < n_points
