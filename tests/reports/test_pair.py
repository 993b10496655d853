"""Two checkpoints on the same puzzles: what is printed, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reports.pair import main
from tests.reports.test_outcomes import outcomes
from trm_core.outcomes import NAME, write_outcomes

FIRST = np.repeat([True, True, False, False], [794, 150, 86, 570])  # Agresti's: two surveys of 1,600
SECOND = np.repeat([True, False, True, False], [794, 150, 86, 570])


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """The first as a run's own, the second as a file."""
    (tmp_path / "runs" / ("a" * 16)).mkdir(parents=True)
    write_outcomes(outcomes(FIRST), tmp_path / "runs" / ("a" * 16) / NAME)
    write_outcomes(outcomes(SECOND), tmp_path / "other.npz")
    return "a" * 16, str(tmp_path / "other.npz")


def test_it_says_what_each_solves_and_whether_that_can_be_chance(
    files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*files, "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    flat = " ".join(said.split())
    assert "solved by both 794, by the first alone 150, by the second alone 86, by neither 570" in flat
    assert f"59.0 % {'a' * 16}" in flat
    assert "second less first: −4.0 points" in flat
    assert "p < 0.001" in flat
    assert "another seed" in flat
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize("bad", ["of other puzzles", "torn", "nowhere", "a key of no run", "empty"])
def test_what_cannot_be_compared_is_one_line(
    bad: str, files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = files
    if bad == "of other puzzles":
        write_outcomes(outcomes(SECOND, test_set="c" * 64), Path(second))
    elif bad == "torn":
        Path(second).write_bytes(b"PK")
    elif bad == "nowhere":
        second = "no_such.npz"
    elif bad == "a key of no run":
        first = "b" * 16
    else:
        for file in (tmp_path / "runs" / first / NAME, Path(second)):
            write_outcomes(outcomes(np.array([], dtype=bool)), file)
    assert main([first, second, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
