"""A Chromium, and a study that was made as a person makes it: small, but long enough for its numbers to be some."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from sweeps.campaign import Campaign, read_file
from tests.browser.chromium import Chromium, find_chromium
from tests.sweeps.records.stores import Server

STUDY = """
from sweeps.study import Row, Study

BOARD = {"source": "generated", "box_rows": 2, "box_cols": 2, "clues": 7}
RUN = {
    "data": {**BOARD, "train": 64, "validation": 16, "test": 32},
    "optim": {"lr": 4e-3, "warmup_steps": 10, "weight_decay": 0.1, "ema": 0.95, "schedule": "constant", "beta2": 0.95},
    "train": {"steps": 80, "batch_size": 32, "precision": "fp32", "eval_every": 40, "checkpoint_every": 80},
}
MODEL = {"D": 32, "n_heads": 2, "N_sup": 4, "T": 1, "puzzle_prefix": 1, "inner_multiple": 256, "exploration": 0.1}

study = Study(
    name="small",
    title="Small recursions",
    puzzle="sudoku",
    source="Table 0",
    rows=tuple(
        Row(name=f"TRM n={n}", base="trm", change={**RUN, "model": {**MODEL, "n": n}}, paper=paper)
        for n, paper in ((2, 87.4), (1, 75.0))
    ),
)
"""


class Made(NamedTuple):
    """A finished study: 2 rows x 2 seeds."""

    said: str  # by the command
    folder: Path  # of its report
    campaign: Campaign
    server: str  # address of an MLflow that shows it


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium on this machine")
    browser = Chromium(program, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def made(chromium: Chromium, one_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """Made by the command, against a server, whose address the command then prints."""
    from sweeps import run as command

    here = tmp_path_factory.mktemp("study")
    (here / "small.py").write_text(STUDY)
    (here / "artefacts").mkdir()
    server = Server(here / "mlflow.db", here / "artefacts")
    server.start()
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.chdir(here)
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setenv("MLFLOW_TRACKING_URI", server.address)
        assert command.main(["--study", "small.py", "--profile", "mini", "--seeds", "2"]) == 0, said.getvalue()
    (document,) = (here / "results").rglob("campaign.json")
    yield Made(said.getvalue(), document.parent, read_file(document), server.address)
    server.kill()
