from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from data_prep.puzzle_set import PuzzleSet
from sweeps.failures import Failure
from sweeps.folder import Task, note_failure, noted_failure
from sweeps.journal import read_journal
from sweeps.records.types import Measurement
from sweeps.worker import train_alone, train_beside_others, train_run, worth_another_try
from trm_core import __main__ as trm_core_command
from trm_core import checkpoint, official
from trm_core.checkpoint import BadCheckpoint, CheckpointNotWritten
from trm_core.config import RunConfig
from trm_core.memory import peak_bytes
from trm_core.outcomes import hash_of_test_set, read_outcomes
from trm_core.trainer import train

ROOT = Path(__file__).parents[2]


@pytest.fixture
def task(puzzles: Path, tmp_path: Path, tiny_run: RunConfig) -> Task:
    return Task("a_key", tiny_run, puzzles, tmp_path / "run", 1, "a launch", "cpu")


def rows_of(task: Task) -> list[Measurement]:
    """Train, and what was passed on."""
    rows: list[Measurement] = []
    train_run(task, lambda more, _: rows.extend(more))
    return rows


def reports_of(task: Task) -> list[dict[str, Any]]:
    """Train, and what was reported to the driver."""
    reports: list[dict[str, Any]] = []
    train_alone(task, reports.append)
    return reports


def timeless(rows: list[Measurement]) -> list[tuple[int, dict[str, float]]]:
    return [
        (row.step, {name: value for name, value in row.metrics.items() if not name.startswith("time/")}) for row in rows
    ]


@pytest.fixture
def _nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.worker.train", lambda *_, **__: pytest.fail("trained"))


# --- what stays of a run that has ended ------------------------------------------------------------------------------


def test_a_finished_run_takes_the_room_of_its_weights_so_a_hundred_of_five_million_stay_under_6_gb(task: Task) -> None:
    task = replace(task, run=task.run.change({"model": {"D": 64}}))
    train_run(task, lambda *_: None)
    taken = sum(path.stat().st_size for path in task.folder.rglob("*") if path.is_file())
    assert taken <= 1.2 * 4 * task.run.parameters()
    assert 100 * 1.2 * 4 * 5_028_866 < 2.5e9  # bytes; the paper's TRM on Sudoku, float32, and a fifth for the rest


def test_a_finished_run_leaves_what_became_of_each_test_puzzle_bound_to_their_set(task: Task) -> None:
    reports = reports_of(task)
    wanted = hash_of_test_set(PuzzleSet.open(task.data).manifest)
    found = read_outcomes(task.folder / "outcomes.npz", test_set=wanted)
    final = reports[-1]["rows"][-1].metrics
    assert (len(found), found.solved.mean()) == (final["test/puzzles"], final["test/exact_accuracy"])


@pytest.mark.usefixtures("_nothing_is_trained")
def test_a_run_that_had_ended_passes_its_rows_on_again_and_trains_nothing(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("sweeps.worker.train", train)
        first = rows_of(task)
    assert checkpoint.open_at(task.folder / "checkpoints").weights_only
    files = {path: path.read_bytes() for path in task.folder.rglob("*") if path.is_file()}
    for _ in range(2):
        assert rows_of(task) == first == read_journal(task.folder / "metrics.jsonl")
    assert {path: path.read_bytes() for path in task.folder.rglob("*") if path.is_file()} == files


@pytest.mark.usefixtures("_nothing_is_trained")
def test_so_does_one_that_had_looked_at_validation_alone(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    task = replace(task, run=task.run.change({"train": {"evaluate_on": "validation"}}))
    with monkeypatch.context() as patched:
        patched.setattr("sweeps.worker.train", train)
        first = rows_of(task)
    assert not any(name.startswith("test/") for row in first for name in row.metrics)
    assert rows_of(task) == first


def test_a_run_killed_between_its_last_row_and_the_trimming_is_trimmed_when_given_again(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    first: list[Measurement] = []
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "keep_weights", killed)
        with pytest.raises(KeyboardInterrupt):
            train_run(task, lambda more, _: first.extend(more))
    folder = task.folder / "checkpoints"
    whole = checkpoint.open_at(folder)
    assert not whole.weights_only
    monkeypatch.setattr("sweeps.worker.train", lambda *_, **__: pytest.fail("trained"))
    assert rows_of(task) == first
    kept = checkpoint.open_at(folder)
    assert kept.weights_only
    assert all(torch.equal(kept.weights[name], tensor) for name, tensor in whole.weights.items())
    assert [path.name for path in folder.iterdir()] == ["step_00000012"]


@pytest.mark.parametrize("harm", ["journal cut", "journal's last row without test/*", "settings of another run"])
def test_weights_alone_beside_a_damaged_folder_are_refused_and_what_to_delete_is_said(task: Task, harm: str) -> None:
    first = rows_of(task)
    journal, config = task.folder / "metrics.jsonl", task.folder / "config.json"
    *before, last = journal.read_text().splitlines(keepends=True)
    if harm == "journal cut":
        journal.write_text("".join(before) + last[:50])
    elif harm == "settings of another run":
        config.write_text(json.dumps(json.loads(config.read_text()) | {"key": "another"}))
    else:
        journal.write_text("".join(before) + last.replace("test/", "tset/"))
    checkpoints = task.folder / "checkpoints"
    with pytest.raises(BadCheckpoint, match=f"step 12 has weights only .*; .*delete {checkpoints} to start anew"):
        rows_of(task)
    for path in checkpoints.rglob("*"):
        path.unlink() if path.is_file() else None
    next(checkpoints.iterdir()).rmdir()
    assert timeless(rows_of(task))[-1] == timeless(first)[-1]


def test_a_finished_run_can_be_evaluated_and_exported(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = rows_of(task)[-1]
    checkpoints, numbers = task.folder / "checkpoints", tmp_path / "numbers.json"
    assert trm_core_command.main(["evaluate", str(checkpoints), str(task.data), "--json", str(numbers)]) == 0
    (scores,) = json.loads(numbers.read_text())["steps"].values()
    assert scores["exact_accuracy"] == last.metrics["test/exact_accuracy"]
    assert scores["cell_accuracy"] == last.metrics["test/cell_accuracy"]
    assert official.main(["export", str(checkpoints), str(tmp_path / "theirs")]) == 0
    capsys.readouterr()
    assert official.main(["export", str(checkpoints), str(tmp_path / "raw"), "--raw"]) == 2
    assert "no raw weights, it was imported or its run has ended" in capsys.readouterr().err


@pytest.mark.slow
def test_two_workers_given_a_run_that_had_ended_train_nothing(task: Task, tmp_path: Path) -> None:
    first = rows_of(task)
    program = (
        "import json, sys; from pathlib import Path; import torch.distributed as dist; import sweeps.worker as worker\n"
        "from tests.conftest import TINY; from trm_core.config import RunConfig\n"
        "rank, puzzles, folder, here = int(sys.argv[1]), *map(Path, sys.argv[2:])\n"
        "dist.init_process_group('gloo', init_method=f'file://{here}/meeting', rank=rank, world_size=2)\n"
        "task = worker.Task('a_key', RunConfig.parse(TINY), puzzles, folder, 1, 'a launch', 'cpu')\n"
        "worker.train = None\n"
        "worker.train_run(task, lambda rows, _: print(json.dumps(rows)), rank=rank, workers=2)\n"
    )
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(rank), str(task.data), str(task.folder), str(tmp_path)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [json.loads(worker.communicate()[0]) for worker in workers]
    assert said == [[list(row) for row in first], []]


# --- failures --------------------------------------------------------------------------------------------------------


class Failing:
    """train(), which raises once it has reported a step: at each of these once, and then no more."""

    def __init__(self, *steps: int, error: Exception) -> None:
        self.steps, self.error = list(steps), error

    def __call__(self, run: RunConfig, data: PuzzleSet, report: Any, **options: Any) -> dict[str, float]:
        def failing(step: int, metrics: Mapping[str, float], path: Path | None) -> None:
            report(step, metrics, path)
            if self.steps and step >= self.steps[0]:
                del self.steps[0]
                raise self.error

        return train(run, data, failing, **options)


def test_a_run_that_raises_further_on_each_time_ends_as_one_that_never_did(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rows_of(replace(task, folder=tmp_path / "whole"))
    monkeypatch.setattr("sweeps.worker.train", Failing(2, 10, error=OSError(5, "Input/output error")))
    reports = reports_of(task)
    assert [report["retry"] for report in reports if "retry" in report] == [
        "OSError: [Errno 5] Input/output error; begins anew (try 2 of 3)",
        "OSError: [Errno 5] Input/output error; goes on from step 8 (try 3 of 3)",
    ]
    assert not any("failure" in report for report in reports)
    assert timeless(read_journal(task.folder / "metrics.jsonl")) == timeless(whole)
    told = {row.step: row for report in reports for row in report.get("rows", ())}
    assert timeless([told[step] for step in sorted(told)]) == timeless(whole)
    assert not (task.folder / "failure.txt").exists()


@pytest.mark.parametrize(("steps", "tries"), [((4, 8, 10), 3), ((4, 4), 2), ((6, 4), 2)])
def test_the_third_failure_or_one_without_progress_ends_it(
    task: Task, monkeypatch: pytest.MonkeyPatch, steps: tuple[int, ...], tries: int
) -> None:
    monkeypatch.setattr("sweeps.worker.train", Failing(*steps, error=RuntimeError("again")))
    reports = reports_of(task)
    assert sum("retry" in report for report in reports) == tries - 1
    assert reports[-1] == {"failure": "RuntimeError: again", "kind": "failed"}
    assert "Traceback" in (task.folder / "failure.txt").read_text()


class OutOfMemory:
    """train(), with a device that has room for a run only if it recomputes its activations, or not even then."""

    def __init__(self, *, at_step: int, always: bool = False) -> None:
        self.at_step, self.always = at_step, always

    def __call__(self, run: RunConfig, data: PuzzleSet, report: Any, **options: Any) -> dict[str, float]:
        def failing(step: int, metrics: Mapping[str, float], path: Path | None) -> None:
            if step > self.at_step and (self.always or not run.train.recomputes):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            report(step, metrics, path)

        return train(run, data, failing, **options)


@pytest.mark.parametrize(("at_step", "from_where"), [(0, "begins anew"), (8, "goes on from step 8")])
def test_a_run_out_of_memory_goes_on_with_activation_checkpointing_and_ends_as_one_that_had_room(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_step: int, from_where: str
) -> None:
    whole = rows_of(replace(task, folder=tmp_path / "whole"))
    monkeypatch.setattr("sweeps.worker.train", OutOfMemory(at_step=at_step))
    reports = reports_of(task)
    assert [report["retry"] for report in reports if "retry" in report] == [
        f"OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.; {from_where} with"
        " train.activation_checkpointing=true"
    ]
    assert not any("failure" in report for report in reports)
    assert timeless(read_journal(task.folder / "metrics.jsonl")) == timeless(whole)


@pytest.mark.parametrize("recomputes", [False, True])
def test_a_run_that_is_out_of_memory_all_the_same_fails_as_that_after_one_retry_at_most(
    task: Task, monkeypatch: pytest.MonkeyPatch, recomputes: bool
) -> None:
    task = replace(task, run=task.run.change({"train": {"activation_checkpointing": recomputes}}))
    monkeypatch.setattr("sweeps.worker.train", OutOfMemory(at_step=4, always=True))
    reports = reports_of(task)
    assert sum("retry" in report for report in reports) == (0 if recomputes else 1)
    assert reports[-1]["kind"] == "out of memory"
    assert "kind out of memory" in (task.folder / "failure.txt").read_text()


def test_where_memory_is_short_a_run_says_before_its_first_step_that_it_recomputes_and_why(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(task, run=task.run.change({"model": {"n": 12}}))
    whole = rows_of(replace(task, folder=tmp_path / "whole"))
    monkeypatch.setattr("trm_core.devices.free_memory", lambda: peak_bytes(task.run) - 1)
    reports = reports_of(task)
    (settled,) = (report for report in reports if "settled" in report)
    assert settled["settings"] == {"train.activation_checkpointing": "true"}
    assert settled["settled"].startswith("train.activation_checkpointing=true, for a step needs 0.")
    assert reports.index(settled) < min(at for at, report in enumerate(reports) if "rows" in report)
    assert not any("failure" in report or "retry" in report for report in reports)
    assert timeless(read_journal(task.folder / "metrics.jsonl")) == timeless(whole)


def test_what_was_decided_to_recompute_and_is_out_of_memory_all_the_same_is_not_tried_again(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(task, run=task.run.change({"model": {"n": 12}}))
    monkeypatch.setattr("trm_core.devices.free_memory", lambda: peak_bytes(task.run) - 1)
    monkeypatch.setattr("sweeps.worker.train", OutOfMemory(at_step=0, always=True))
    *_, failure = reports = reports_of(task)
    assert failure["kind"] == "out of memory"
    assert not any("retry" in report for report in reports)


def test_a_run_that_fits_no_way_is_not_tried_again(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trm_core.devices.free_memory", lambda: 1000)
    (failure,) = reports_of(task)
    assert failure["failure"].startswith("NotEnoughMemory: depth ")


def tries_of(task: Task, most: int = 4) -> list[list[dict[str, Any]]]:
    """Of one among several workers: what each try reported, begun again where it raised, as Ray Train does it."""
    tries: list[list[dict[str, Any]]] = []
    for _ in range(most):
        tries.append([])
        try:
            train_beside_others(task, tries[-1].append, rank=0, workers=2, agreed=lambda due: due)
            break
        except Exception:  # Train takes any of them for a reason to begin again
            continue
    return tries


@pytest.mark.parametrize(("at_step", "from_where"), [(0, "begins anew"), (8, "goes on from step 8")])
def test_several_workers_out_of_memory_all_go_on_with_activation_checkpointing(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_step: int, from_where: str
) -> None:
    whole = rows_of(replace(task, folder=tmp_path / "whole"))
    monkeypatch.setattr("sweeps.worker.train", OutOfMemory(at_step=at_step))
    first, second = tries_of(task)
    assert not any("failure" in report or "retry" in report for report in first)
    assert [report for report in second if "retry" in report] == [
        {
            "retry": f"OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.; {from_where} with"
            " train.activation_checkpointing=true",
            "settings": {"train.activation_checkpointing": "true"},
        }
    ]
    assert timeless(read_journal(task.folder / "metrics.jsonl")) == timeless(whole)
    assert {path.name for path in task.folder.glob("*.txt")} == set()


def test_another_launch_finds_out_for_itself_whether_there_is_memory(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.worker.train", OutOfMemory(at_step=0))
    tries_of(task, most=1)
    (only,) = tries_of(replace(task, launch="another"), most=1)
    assert not any("retry" in report for report in only)


@pytest.mark.parametrize("recomputes", [False, True])
def test_several_workers_that_lack_memory_all_the_same_fail_as_that(
    task: Task, monkeypatch: pytest.MonkeyPatch, recomputes: bool
) -> None:
    task = replace(task, run=task.run.change({"train": {"activation_checkpointing": recomputes}}))
    monkeypatch.setattr("sweeps.worker.train", OutOfMemory(at_step=4, always=True))
    *tries, last = tries_of(task)
    assert len(tries) == (1 if recomputes else 2)
    assert [report["kind"] for report in last] == ["out of memory"]


def test_what_fails_before_its_first_step_is_not_tried_again_however_far_an_earlier_launch_came(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sweeps.worker.train",
        Failing(8, 10, 12, error=CheckpointNotWritten("no room ([Errno 28] No space left on device)")),
    )
    assert reports_of(task)[-1] == {
        "failure": "CheckpointNotWritten: no room ([Errno 28] No space left on device)",
        "kind": "disk full",
    }
    for path in (task.folder / "checkpoints").glob("*/weights.safetensors"):
        path.write_bytes(b"torn")
    monkeypatch.setattr("sweeps.worker.train", train)
    *torn, failure = reports_of(task)
    assert failure["failure"].startswith("BadCheckpoint: ")
    assert failure["kind"] == "failed"
    assert not any("retry" in report for report in torn)


@pytest.mark.parametrize("another", [False, True], ids=["nothing in its place", "another folder in its place"])
def test_a_run_whose_folder_has_gone_says_so_is_not_tried_again_and_makes_nothing_in_its_place(
    task: Task, monkeypatch: pytest.MonkeyPatch, another: bool
) -> None:
    away = task.folder.with_name("on another disk")

    class Unmounted(Failing):
        def __call__(self, run: RunConfig, data: PuzzleSet, report: Any, **options: Any) -> dict[str, float]:
            def going(step: int, metrics: Mapping[str, float], path: Path | None) -> None:
                if step == 10:
                    task.folder.rename(away)
                    if another:
                        task.folder.mkdir()
                report(step, metrics, path)

            return train(run, data, going, **options)

    monkeypatch.setattr("sweeps.worker.train", Unmounted(error=OSError()))
    *others, failure = reports_of(task)
    assert failure["kind"] == "disk gone"
    assert f"{task.folder} is not there any more; see that its disk is mounted" in failure["failure"]
    assert not any("retry" in report for report in others)
    if not another:
        assert not task.folder.exists()
    shutil.rmtree(task.folder, ignore_errors=True)
    away.rename(task.folder)
    monkeypatch.setattr("sweeps.worker.train", train)
    assert timeless(rows_of(task)) == timeless(rows_of(replace(task, folder=task.folder.with_name("whole"))))


def test_a_run_that_diverges_says_at_which_step_and_is_not_tried_again(task: Task) -> None:
    wild: dict[str, dict[str, Any]] = {"optim": {"name": "adamw", "lr": 1e30, "warmup_steps": 0}}
    *rows, failure = reports_of(replace(task, run=task.run.change(wild)))
    assert failure["kind"] == "diverged"
    assert failure["failure"].startswith("diverged at step 2: the training loss is nan; ")
    assert rows == []
    text = (task.folder / "failure.txt").read_text()
    assert text.startswith(failure["failure"])
    assert "Traceback" in text
    assert "refuse_divergence" in text


def test_a_failure_is_noted_with_its_kind_for_the_launch_it_ended(tmp_path: Path) -> None:
    assert noted_failure(tmp_path, "one launch") is None
    note_failure(tmp_path, "one launch", MemoryError("too much"))
    assert noted_failure(tmp_path, "one launch") == Failure("out of memory", "MemoryError: too much")
    assert noted_failure(tmp_path, "another launch") is None
    (tmp_path / "failure.txt").write_bytes(b"\xff torn")
    assert noted_failure(tmp_path, "one launch") is None


def test_a_run_whose_journal_is_no_file_has_failed_and_says_so(task: Task) -> None:
    (task.folder / "metrics.jsonl").mkdir(parents=True)
    told: list[dict[str, Any]] = []
    train_alone(task, told.append)
    assert "no file, expected a run's journal" in told[-1]["failure"]


def test_damage_in_a_journal_is_reported_with_file_and_line_and_the_run_goes_on(task: Task) -> None:
    task.folder.mkdir(parents=True, exist_ok=True)
    (task.folder / "metrics.jsonl").write_text("no row\n")
    told: list[dict[str, Any]] = []
    train_alone(task, told.append)
    said = [line for report in told for line in report.get("torn", ())]
    assert said == [f"{task.folder}/metrics.jsonl, line 1: damaged, no row of a step; set aside in metrics.damaged"]
    assert not any("failure" in report for report in told)


def test_alone_a_run_would_raise_again_what_it_raised_beside_others_it_may_be_the_death_of_a_peer() -> None:
    assert not worth_another_try(RuntimeError("connection closed by peer"), workers=1)
    assert worth_another_try(RuntimeError("connection closed by peer"), workers=2)
    assert not worth_another_try(ValueError("training loss is nan"), workers=2)
