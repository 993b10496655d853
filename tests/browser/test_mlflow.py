"""MLflow's own pages, as a person finds them behind the link that the command prints."""

from __future__ import annotations

import re

import numpy as np
import pytest

from data_prep.puzzle_set import PuzzleSet
from sweeps.records.pages import address_of, address_of_run
from sweeps.records.read import campaigns, finished
from sweeps.records.types import RunRecord
from tests.browser.chromium import Chromium, Seen
from tests.browser.conftest import Made

pytestmark = [pytest.mark.browser, pytest.mark.ray]

ITS_OWN = "/ajax-api/2.0/mlflow/users/current"  # asked for by every page, there only where users log in


def complaints(seen: Seen) -> list[str]:
    return [one for one in seen.complaints if ITS_OWN not in one]


@pytest.fixture(scope="module")
def runs(made: Made) -> list[RunRecord]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", made.server)
        return list(finished(made.campaign.keys).values())


@pytest.fixture(scope="module")
def parent(made: Made) -> tuple[str, str]:
    """(experiment, run) of the campaign."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", made.server)
        (found,) = campaigns("small")
    return found.experiment_id, found.run_id


def test_the_link_that_is_printed_opens_on_every_run_row_by_row(
    chromium: Chromium, made: Made, parent: tuple[str, str], runs: list[RunRecord]
) -> None:
    link = next(line.removeprefix("the runs: ") for line in made.said.splitlines() if line.startswith("the runs: "))
    assert link == f"{made.server}{address_of(parent[0], made.campaign.id)}"
    rows = [row.name for row in made.campaign.rows]
    means = [np.mean([run.metrics["test/exact_accuracy"] for run in runs if run.row == row]) for row in rows]
    each = [f"{row} seed {seed}" for row in rows for seed in (0, 1)]
    seen = chromium.look(link, until=["(average)", "4 matching runs", *each])
    assert complaints(seen) == []
    at = [seen.text.index(f"Group: {row}") for row in rows]
    assert at == sorted(at), "in the table's order"
    for mean in means:  # of shares of 32 puzzles: exact, so MLflow writes them alike
        assert f"{mean:.10g} (average)" in seen.text
    assert "Small recursions, mini" in seen.text, "the experiment's description"


def test_the_campaigns_run_shows_the_table_and_a_metric_per_row(
    chromium: Chromium, made: Made, parent: tuple[str, str]
) -> None:
    table = (made.folder / "table.md").read_text()
    ours = re.findall(r"\d+\.\d ± \d+\.\d", table)
    seen = chromium.look(f"{made.server}{address_of_run(*parent)}", until=["TRM n 2", "TRM n 1", "Finished", *ours])
    assert complaints(seen) == []
    assert len(ours) >= 2
    for words in (*ours, "87.4", "TRM n=2", "TRM n=1", "mlflow.pyfunc.load_model", "run.py"):
        assert words in seen.text


def test_a_runs_page_shows_its_puzzles_its_source_and_its_model(
    chromium: Chromium, made: Made, parent: tuple[str, str], runs: list[RunRecord]
) -> None:
    address = f"{made.server}{address_of_run(parent[0], runs[0].run_id)}"
    wanted = [
        f"sudoku 4x4, generated ({runs[0].data[:16]})",
        "Train, Validation, Test",
        "run.py",
        "test/exact_accuracy",
    ]
    seen = chromium.look(address, until=[*wanted, "model"])
    assert complaints(seen) == []
    for words in wanted:
        assert words in seen.text


def test_its_model_is_loaded_from_the_server_and_solves_puzzles(
    made: Made, runs: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.pyfunc

    test = PuzzleSet.open(next((made.folder.parents[1] / "data").iterdir())).test
    best = max(runs, key=lambda run: run.metrics["test/exact_accuracy"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.server)
    solver = mlflow.pyfunc.load_model(f"runs:/{best.run_id}/model")
    answers = solver.predict(np.asarray(test.inputs, dtype=np.int64))
    share = float((answers == test.labels).all(axis=1).mean())
    assert share == best.metrics["test/exact_accuracy"] > 0
