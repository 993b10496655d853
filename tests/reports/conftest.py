"""A study of two models and two depths, small enough to write its table out by hand."""

from __future__ import annotations

import pytest

from sweeps.study import Losses, Quoted, Row, Study


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


@pytest.fixture
def puzzles_study() -> Study:
    """Like Table 4: methods on two puzzles, one of them with 5M parameters here and 19M there; two rows quoted."""
    sudoku, maze = "Sudoku-Extreme", "Maze-Hard"
    cells = [("TRM-MLP", "trm", 87.4, 0.0), ("TRM-Att", "trm_att", 74.7, 85.3), ("HRM", "hrm", 55.0, 74.5)]
    rows = [
        Row(
            name=f"{method}, {column}", base=base, puzzle=puzzle, paper=paper, place={"method": method, "model": column}
        )
        for method, base, *papers in cells
        for column, puzzle, paper in ((sudoku, "sudoku", papers[0]), (maze, "maze", papers[1]))
    ]
    return Study(
        name="small_puzzles",
        title="Small puzzles",
        puzzle="sudoku",
        source="Table 0",
        rows=tuple(rows),
        quoted=(
            Quoted(name="DeepSeek R1", parameters="671B", cells={sudoku: 0.0, maze: 0.5}),
            Quoted(name="o3-mini-high", cells={sudoku: 0.1}),
        ),
    )


@pytest.fixture
def arc_study() -> Study:
    """Like Table 5: two methods on ARC-1 and ARC-2, two attempts."""
    subsets = {
        "ARC-AGI-1": {"subsets": "training,evaluation", "test_subset": "evaluation"},
        "ARC-AGI-2": {"subsets": "training2,evaluation2", "test_subset": "evaluation2"},
    }
    papers = {"TRM-Att": (44.6, 7.8), "TRM-MLP": (29.6, 2.4)}
    return Study(
        name="small_arc",
        title="Small ARC",
        puzzle="arc",
        source="Table 0",
        metric="test/pass_at_2",
        rows=tuple(
            Row(
                name=f"{method}, {column}",
                base="trm_att" if method == "TRM-Att" else "trm",
                change={"data": dict(data)},
                paper=papers[method][at],
                place={"method": method, "model": column},
            )
            for method in papers
            for at, (column, data) in enumerate(subsets.items())
        ),
        quoted=(Quoted(name="Gemini 2.5 Pro 32K", cells={"ARC-AGI-1": 37.0, "ARC-AGI-2": 4.9}),),
    )


@pytest.fixture
def losses_study() -> Study:
    """Like the tutorial's ablation: training losses, three of them with the source's."""
    return Study(
        name="small_losses",
        title="Small losses",
        puzzle="maze",
        source="A tutorial",
        metric="train/lm_loss",
        layout="losses",
        rows=(
            Row(name="Baseline TRM", base="trm_att", paper_losses=Losses(initial=1.789, final=1.062, minimum=1.045)),
            Row(name="No EMA", base="trm_att", change={"optim": {"ema": None}},
                paper_losses=Losses(initial=1.789, final=1.042, minimum=1.041, improvement=41.7)),
            Row(name="Fewer recursions", base="trm_att", change={"model": {"T": 2, "n": 2}},
                paper_losses=Losses(initial=2.1, final=1.1, minimum=1.042)),
            Row(name="Bigger brain", base="trm_att", change={"model": {"n_layers": 4}}),
        ),
    )  # fmt: skip
