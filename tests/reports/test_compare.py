"""A comparison as files."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.__main__ import main
from reports.compare import write_comparison
from tests.reports.test_report import COMMAND, ROWS, STUDY, files_below, run


def test_two_campaigns_are_compared_from_mlflow_alone_with_the_same_bytes(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = [run(STUDY, "mini", [f"optim.lr={lr}"], {(ROWS[0], 0): score}) for lr, score in ((0.02, 0.7), (0.01, 0.8))]
    written = write_comparison(grid, store)
    assert written.folder.parent == store / "mini" / "recursion_depth"
    first = files_below(written.folder)
    assert set(first) == set(written.files)
    assert main([*COMMAND, str(tmp_path / "b"), "--compare", "all"]) == 0
    assert written.text in capsys.readouterr().out
    assert files_below(tmp_path / "b" / written.folder.relative_to(store)) == first
    assert main([*COMMAND, str(tmp_path / "c"), "--compare", "lr=0.01", "lr=0.02"]) == 0
    assert files_below(tmp_path / "c" / written.folder.relative_to(store)) == first
