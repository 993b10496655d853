"""Outcomes per puzzle in a table: read from a run's folder or MLflow, bound to the run, paired with the baseline."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from reports import outcomes as outcomes_of
from reports.outcomes import read_all, solved, with_outcomes
from reports.tables import outcomes as sheets
from reports.types import Table
from reports.write.outcomes_csv import paired_csv
from sweeps.study import Row, Study
from tests.reports.records import DATA, record, table_of
from trm_core.outcomes import NAME, Outcomes, Place, write_outcomes

ROWS = (Row(name="a", base="trm", paper=87.4), Row(name="b", base="trm_att", paper=80.0))
STUDY = Study(name="of_outcomes", title="A table", source="nowhere", puzzle="sudoku", rows=ROWS, baseline=("a",))
KEPT = {outcomes_of.KEPT: 0.5}


def outcomes(
    right: np.ndarray, *, data: str = DATA, test_set: str = "a" * 64, places: tuple[Place, ...] = ()
) -> Outcomes:
    steps = np.full(len(right), 4, dtype=np.uint8)
    return Outcomes(
        test_set, data, 100, 4, right.astype(bool), steps, steps, right.astype(bool), np.zeros((10, 3)), places
    )


def kept(table: Table, out: Path, of: Mapping[tuple[str, int], Outcomes]) -> None:
    """Outcomes in the folders of a table's runs, by row and seed."""
    for row in table.rows:
        for run in row.runs:
            if (row.name, run.seed) in of:
                folder = out / "runs" / run.key
                folder.mkdir(parents=True)
                write_outcomes(of[row.name, run.seed], folder / NAME)


@pytest.fixture
def right() -> dict[tuple[str, int], np.ndarray]:
    """Which of 400 puzzles each run solves: b fewer, mostly the same ones."""
    rng = np.random.default_rng(0)
    hard = rng.random(400)
    return {
        (row, seed): rng.random(400) < hard * share for row, share in (("a", 1.2), ("b", 0.9)) for seed in (0, 1, 2)
    }


@pytest.fixture
def table(right: dict[tuple[str, int], np.ndarray]) -> Table:
    return table_of(
        STUDY,
        "mini",
        [record(STUDY, row, of.mean(), seed=seed, puzzles=400, more=KEPT) for (row, seed), of in right.items()],
    )


@pytest.fixture
def nothing_in_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes_of, "artefact_file", lambda *_: None)


def test_a_row_stands_beside_its_baseline_on_the_puzzles_that_both_were_asked(
    table: Table, right: dict[tuple[str, int], np.ndarray], tmp_path: Path
) -> None:
    kept(table, tmp_path, {key: outcomes(of) for key, of in right.items()})
    found, notes = read_all(table, tmp_path)
    assert (len(found), notes) == (6, ())
    (pair,) = with_outcomes(table, found).paired
    assert (pair.row, pair.other, pair.runs, pair.puzzles) == ("b", "a", (3, 3), 400)
    a, b = (np.array([right[row, seed] for seed in (0, 1, 2)], dtype=float) for row in "ab")
    assert pair.parts.difference == pytest.approx(b.mean() - a.mean())
    by_seed = np.sqrt(a.mean(1).var(ddof=1) / 3 + b.mean(1).var(ddof=1) / 3)
    assert pair.parts.seeds == pytest.approx(by_seed)
    unpaired = np.sqrt(a.mean() * (1 - a.mean()) / 400 + b.mean() * (1 - b.mean()) / 400)
    assert pair.parts.puzzles < unpaired  # the same puzzles are hard for both
    assert pair.bootstrap is not None
    assert pair.bootstrap.holds(pair.parts.difference)
    (told,) = csv.DictReader(paired_csv(with_outcomes(table, found)).splitlines())
    assert (told["row"], told["baseline"], told["runs"], told["test_puzzles"]) == ("b", "a", "3", "400")
    assert float(told["difference"]) == pair.parts.difference
    assert float(told["standard_error_puzzles"]) == pair.parts.puzzles
    assert told["test"] == "Dunnett"
    (line,) = sheets.paired(with_outcomes(table, found)).lines
    assert [cell.text for cell in line[:4]] == ["b", "3", "400", f"−{100 * abs(pair.parts.difference):.1f}"]


def test_runs_of_other_test_puzzles_are_not_paired(
    table: Table, right: dict[tuple[str, int], np.ndarray], tmp_path: Path
) -> None:
    """Two of three runs of b were asked others: one pair of runs is left."""
    asked = {("b", 1): "c" * 64, ("b", 2): "c" * 64}
    kept(table, tmp_path, {key: outcomes(of, test_set=asked.get(key, "a" * 64)) for key, of in right.items()})
    (pair,) = with_outcomes(table, read_all(table, tmp_path)[0]).paired
    assert pair.runs == (1, 3)
    assert pair.bootstrap is None
    assert pair.parts.seeds is None
    others = {key: outcomes(of, test_set=key[0] * 64) for key, of in right.items()}
    found = {run.run_id: others[row.name, run.seed] for row in table.rows for run in row.runs}
    assert with_outcomes(table, found).paired == ()


@pytest.mark.usefixtures("nothing_in_mlflow")
@pytest.mark.parametrize("what", ["torn", "of other puzzles", "of another accuracy", "gone", "a folder"])
def test_outcomes_that_are_not_the_runs_are_named_and_left_out(
    what: str, table: Table, right: dict[tuple[str, int], np.ndarray], tmp_path: Path
) -> None:
    kept(table, tmp_path, {key: outcomes(of) for key, of in right.items()})
    run = table.rows[1].runs[1]
    file = tmp_path / "runs" / run.key / NAME
    if what == "torn":
        file.write_bytes(file.read_bytes()[:100])
    elif what == "of other puzzles":
        write_outcomes(outcomes(right["b", 1], data="e" * 16), file)
    elif what == "of another accuracy":
        write_outcomes(outcomes(~right["b", 1]), file)
    else:
        file.unlink()
        if what == "a folder":
            file.mkdir()
    found, (note,) = read_all(table, tmp_path)
    assert run.run_id not in found
    assert len(found) == 5
    assert note.startswith("Outcomes per puzzle are not known of 1 run: b, seed 1: ")
    assert "\n" not in note
    said = {"torn": "torn or foreign", "of other puzzles": "of the puzzles eeee", "of another accuracy": "comes to"}
    assert said.get(what, "neither in") in note


def test_where_a_runs_folder_is_not_here_mlflows_file_is_read(
    table: Table, right: dict[tuple[str, int], np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def from_mlflow(run_id: str, name: str, folder: Path) -> Path:
        asked.append(run_id)
        of = next((row.name, run.seed) for row in table.rows for run in row.runs if run.run_id == run_id)
        write_outcomes(outcomes(right[of]), folder / name)
        return folder / name

    monkeypatch.setattr(outcomes_of, "artefact_file", from_mlflow)
    kept(table, tmp_path, {("a", 0): outcomes(right["a", 0])})
    found, notes = read_all(table, tmp_path)
    assert (len(found), len(asked), notes) == (6, 5, ())


def test_runs_that_kept_none_are_not_asked_for_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes_of, "artefact_file", lambda *_: pytest.fail("MLflow was asked"))
    assert read_all(table_of(STUDY, "mini", [record(STUDY, "a", 0.5)]), tmp_path) == ({}, ())


def test_a_task_of_arc_is_solved_to_the_share_of_its_test_inputs() -> None:
    places = (Place("x", 0, 1), Place("x", 1, 0), Place("y", 0, 2), Place("z", 0, 3))
    found = outcomes(np.array([True, False, False]), places=places)
    for k, expected in ((1, [0.5, 0, 0]), (2, [0.5, 1, 0])):
        scores = solved(found, f"test/pass_at_{k}")
        assert scores is not None
        assert scores.tolist() == expected
    assert solved(outcomes(np.array([True])), "test/pass_at_2") is None
    assert solved(found, "test/cell_accuracy") is None


def test_a_check_that_says_otherwise_than_the_test_is_a_note(
    table: Table, right: dict[tuple[str, int], np.ndarray], tmp_path: Path
) -> None:
    kept(table, tmp_path, {key: outcomes(of) for key, of in right.items()})
    found = with_outcomes(table, read_all(table, tmp_path)[0])
    against = found.rows[1].against
    assert against is not None
    assert against.is_real
    assert sheets.disagreements(found) == ()
    one = [
        record(STUDY, row, right[row, 0].mean(), seed=seed, puzzles=400, more=KEPT) for row in "ab" for seed in (0, 1)
    ]
    alike = table_of(STUDY, "mini", one)
    same = {run.run_id: outcomes(right["a", 0]) for row in alike.rows for run in row.runs}
    (pair,) = (doubtful := with_outcomes(alike, same)).paired
    assert pair.parts.difference == 0
    assert pair.bootstrap is not None
    assert pair.bootstrap.holds(0.0)
    difference = doubtful.rows[1].against
    assert difference is not None
    assert difference.is_real  # no seed moved anything, and the accuracies differ
    (note,) = sheets.disagreements(doubtful)
    assert "disagrees with the test of b" in note
