"""A study of two models and two depths, small enough to write its table out by hand."""

from __future__ import annotations

import pytest

from sweeps.study import Row, Study


@pytest.fixture
def study() -> Study:
    """Like Table 3, with an "OOM", a depth that the paper prints otherwise, and a row that mini leaves out."""

    def place(k: int, model: str) -> dict[str, str]:
        return {"k": str(k), "T": str(k), "model": model}

    return Study(
        name="small_depth",
        title="Small depth",
        puzzle="sudoku",
        source="Table 0",
        rows=(
            Row(name="TRM k=1", base="trm", change={"model": {"n": 2, "T": 1}}, paper=63.2, paper_depth=7,
                place=place(1, "TRM")),
            Row(name="HRM k=1", base="hrm", change={"model": {"n": 1, "T": 1}}, paper=46.4, place=place(1, "HRM")),
            Row(name="TRM k=6", base="trm", change={"model": {"n": 12, "T": 6}}, paper="OOM", place=place(6, "TRM"),
                profiles=("official", "paper")),
        ),
        note="A note.",
    )  # fmt: skip
