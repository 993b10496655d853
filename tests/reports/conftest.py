"""A study of two models and two depths, small enough to write its table out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.comparison import Comparison, compare
from reports.curves import with_losses, with_votes
from reports.types import Table
from sweeps.study import Losses, Quoted, Row, Study
from tests.reports.compared import LR, tables
from tests.reports.records import depth_row, record, table_of


@pytest.fixture
def study() -> Study:
    """Like Table 3, with an "OOM", a depth that the paper prints otherwise, and a row that mini leaves out."""

    return Study(
        name="small_depth",
        title="Small depth",
        puzzle="sudoku",
        source="Table 0",
        rows=(
            depth_row("TRM", 1, 2, paper=63.2, paper_depth=7),
            depth_row("HRM", 1, 1, paper=46.4),
            depth_row("TRM", 6, 12, paper="OOM", profiles=("official", "paper")),
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


# --- their tables -----------------------------------------------------------------------------------------------------


@pytest.fixture
def table(study: Study) -> Table:
    records = [record(study, "TRM k=1", value, seed=seed, cells=0.98) for seed, value in enumerate((0.7, 0.72))]
    failed = record(study, "HRM k=1", None, status="FAILED", tags={"failure": "out of memory | 20 MiB & more_words"})
    return table_of(study, "mini", [*records, failed])


@pytest.fixture
def two_puzzles(puzzles_study: Study) -> Table:
    paths = {"test/shortest_path_accuracy": 0.9}
    records = [
        record(puzzles_study, "TRM-MLP, Sudoku-Extreme", 0.874, profile="official", puzzles=422_786),
        record(puzzles_study, "TRM-Att, Maze-Hard", 0.8, profile="official", puzzles=1000, more=paths),
    ]
    return table_of(puzzles_study, "official", records)


@pytest.fixture
def arc(arc_study: Study) -> Table:
    votes = {"test/votes": 1000.0}
    run = record(arc_study, "TRM-Att, ARC-AGI-1", 0.4, profile="official", puzzles=419, more=votes)
    curve = {run.run_id: [(1, 0.1, 0.2), (1000, 0.3, 0.4)]}
    return with_votes(table_of(arc_study, "official", [run]), curve)


@pytest.fixture
def losses(losses_study: Study) -> Table:
    records = [record(losses_study, "No EMA", 0.0, seed=seed, profile="official") for seed in (0, 1)]
    records.append(record(losses_study, "Bigger brain", 0.0, profile="official"))
    curves = [[(10, 2.0), (20, 0.9), (30, 1.0)], [(10, 1.8), (20, 1.0), (30, 1.1)], [(10, 1.5), (20, 1.5)]]
    table = table_of(losses_study, "official", records)
    return with_losses(table, {(run.run_id, "train/lm_loss"): c for run, c in zip(records, curves, strict=True)})


@pytest.fixture
def by_lr(study: Study) -> Comparison:
    """The best on validation is the worst on the test set."""
    return compare(
        tables(
            study,
            {
                LR[0]: {"TRM k=1": (0.75, 0.111), "HRM k=1": (0.5, 0.222)},
                LR[1]: {"TRM k=1": (0.5, 0.333), "HRM k=1": (0.5, 0.444)},
                LR[2]: {"TRM k=1": (0.25, 0.555)},
            },
        )
    )


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The results folder beside an empty store of our own, in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return tmp_path / "results"
