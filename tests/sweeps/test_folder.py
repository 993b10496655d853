"""A run's folder: whether it is still there, what is noted of a failure in it, and who may write there."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.arc import build_arc
from data_prep.puzzle_set import PuzzleSet
from sweeps.failures import FolderGone
from sweeps.folder import Place, Task, earlier_failure, note_failure, noted_failure
from sweeps.journal import read_journal
from sweeps.locks import hold_folder
from sweeps.records.types import Measurement
from sweeps.worker import train_run
from trm_core.config import RunConfig
from trm_core.settings import BadSetting
from trm_core.trainer import train


def test_a_failure_counts_in_the_launch_that_it_ended(tmp_path: Path) -> None:
    assert note_failure(tmp_path, "one launch", ValueError("two\nlines")) == "ValueError: two lines"
    assert earlier_failure(tmp_path, "one launch") == "ValueError: two lines"
    assert earlier_failure(tmp_path, "another launch") is None


def test_a_failure_that_cannot_be_written_down_is_told_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file where the folder should be")
    full = OSError(28, "No space left on device")
    assert note_failure(tmp_path / "folder", "one launch", full) == "OSError: [Errno 28] No space left on device"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_run_given_a_gpu_that_torch_cannot_see_is_refused(puzzles: Path, tmp_path: Path, tiny_run: RunConfig) -> None:
    task = Task("a_key", tiny_run, puzzles, tmp_path, 1, "a launch", "cuda")
    with pytest.raises(BadSetting, match="torch finds no GPU"):
        train_run(task, lambda *_: None)


def test_a_run_on_arc_keeps_its_predictions_in_its_folder(tmp_path: Path, tiny_run: RunConfig) -> None:
    counts: dict[str, Any] = {"train": 4, "validation": 1, "test": 2, "side": 10}
    build_arc(tmp_path / "arc", subsets=("training", "evaluation"), variants=2, **counts)
    arc = {"puzzle": "arc", "subsets": "training,evaluation", "augmentations": 2, "clues": None, **counts}
    run = tiny_run.change({"data": arc, "train": {"steps": 2}})
    told: list[Measurement] = []
    task = Task("a_key", run, tmp_path / "arc", tmp_path / "run", 1, "a launch", "cpu")
    train_run(task, lambda rows, _: told.extend(rows))
    assert told[-1].metrics["test/votes"] == 3
    assert 0 <= told[-1].metrics["test/pass_at_2"] <= 1
    files = {path.name for path in (tmp_path / "run" / "predictions").iterdir()}
    assert files == {"part-0-of-1.parquet", "votes.csv", "submission.json"}


@pytest.mark.slow
def test_every_worker_reads_checkpoints_only_once_the_folder_is_held(
    puzzles: Path, tmp_path: Path, tiny_run: RunConfig
) -> None:
    program = (
        "import sys; from pathlib import Path; import torch.distributed as dist\n"
        "from sweeps.worker import Task, train_run; from tests.conftest import TINY\n"
        "from trm_core.config import RunConfig\n"
        "rank, puzzles, here = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])\n"
        "dist.init_process_group('gloo', init_method=f'file://{here}/meeting', rank=rank, world_size=2)\n"
        "task = Task('a_key', RunConfig.parse(TINY), puzzles, here / 'run', 1, 'a launch', 'cpu')\n"
        "print('ready', flush=True)\n"
        "train_run(task, lambda *_: None, rank=rank, workers=2, agreed=lambda due: True)\n"
    )
    folder = tmp_path / "run"
    folder.mkdir()
    data = PuzzleSet.open(puzzles)
    with hold_folder(folder):
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(rank), str(puzzles), str(tmp_path)],
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        time.sleep(1)  # long enough for a worker that does not wait to see an empty folder
        train(tiny_run, data, lambda *_: None, checkpoints=folder / "checkpoints", device="cpu")
    ends = [(worker.communicate(), worker.returncode) for worker in workers]
    assert [code for _, code in ends] == [0, 0], ends
    assert [row.step for row in read_journal(folder / "metrics.jsonl")] == [12]  # nothing left but to evaluate


def test_a_folder_that_is_there_is_not_gone_whatever_becomes_of_what_lies_in_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "a file").touch()
    place.refuse_if_gone()
    with pytest.raises(ZeroDivisionError), place.named_if_gone():
        raise ZeroDivisionError


@pytest.mark.parametrize("another", [False, True], ids=["nothing in its place", "another in its place"])
def test_a_folder_that_has_gone_is_named_whatever_could_not_be_found_first(another: bool, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    place = Place(folder)

    def work() -> None:
        with place.named_if_gone():
            folder.rename(tmp_path / "away")
            if another:
                folder.mkdir()
            raise FileNotFoundError("a puzzle set")

    with pytest.raises(FolderGone, match="results is not there any more; see that its disk is mounted"):
        work()
    if another:
        folder.rmdir()
    (tmp_path / "away").rename(folder)
    place.refuse_if_gone()


def test_a_failure_is_noted_in_a_folder_that_is_new_and_nowhere_where_the_results_have_gone(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    note_failure(results / "runs" / "a key", "a launch", ValueError("no puzzles"))
    found = noted_failure(results / "runs" / "a key", "a launch")
    assert found is not None
    assert found.reason == "ValueError: no puzzles"
    note_failure(results / "runs" / "another", "a launch", FolderGone("runs is not there any more"))
    assert not (results / "runs" / "another").exists()
    results.rename(tmp_path / "away")
    note_failure(results / "runs" / "a key", "a launch", ValueError("no puzzles"))
    assert not results.exists()
