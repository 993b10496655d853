from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.failures import Preempted
from sweeps.folder import Task, last_checkpoint
from sweeps.locks import FolderHeld, Lease
from sweeps.notice import SAVED_WITHIN_S, Due, Notice
from sweeps.worker import train_alone, train_beside_others, train_run
from tests.sweeps.test_worker import timeless
from trm_core.config import RunConfig

STEPS = (4, 8, 12)  # of the checkpoints that are due by step


@pytest.fixture
def task(puzzles: Path, tmp_path: Path, tiny_run: RunConfig) -> Task:
    return Task("a_key", tiny_run, puzzles, tmp_path / "run", 1, "a launch", "cpu")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


# --- what is heard ---------------------------------------------------------------------------------------------------


@pytest.fixture
def terminated() -> Iterator[list[int]]:
    """SIGTERMs that came through to whoever handled them before."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    yield heard
    signal.signal(signal.SIGTERM, before)


def test_sigterm_is_heard_in_any_thread_and_has_its_old_effect_afterwards(terminated: list[int]) -> None:
    said: list[str] = []
    for _ in range(2):  # a process may train one run after the other

        def listen() -> None:
            with Notice("a launch", draining=lambda: False, told=lambda _: False) as notice:
                said.append(notice.why())
                os.kill(os.getpid(), signal.SIGTERM)
                while not notice.why():  # whichever thread the kernel interrupts
                    time.sleep(0.001)
                said.append(notice.why())
                said.append(notice.why())  # it stays so

        thread = threading.Thread(target=listen)
        thread.start()
        thread.join()
    assert said == ["", *["its process was told to end (SIGTERM)"] * 2] * 2
    assert terminated == []
    os.kill(os.getpid(), signal.SIGTERM)
    assert terminated == [signal.SIGTERM]


def test_a_machine_that_is_drained_is_heard_of_and_a_ray_that_does_not_answer_is_none(terminated: list[int]) -> None:
    asked = threading.Semaphore(0)
    answers: list[Any] = [ConnectionError("gone"), False, True]

    def unheard(_: str) -> bool:
        raise ConnectionError("gone")

    def draining() -> bool:
        answer = answers.pop(0)
        asked.release()
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    with Notice("a launch", draining=draining, told=unheard, look_s=0.001) as notice:
        for _ in range(3):
            asked.acquire()
        notice._looking.join()
        assert notice.why() == "its machine is being taken away (drained)"
    assert answers == []


def test_a_command_that_was_told_to_end_is_heard_of_by_its_own_runs(terminated: list[int]) -> None:
    asked: list[str] = []

    def told(launch: str) -> bool:
        asked.append(launch)
        return len(asked) == 2

    with Notice("a launch", draining=lambda: False, told=told, look_s=0.001) as notice:
        notice._looking.join()
        assert notice.why() == "its command was told to end"
    assert asked == ["a launch"] * 2


# --- what is due -----------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_due_when_the_last_one_is_old_and_then_not_again_for_a_while() -> None:
    clock = Clock()
    due = Due(clock=clock)
    assert not due.due(1)
    clock.now = SAVED_WITHIN_S + 1
    assert due.due(2)
    due.saved(2)
    assert not due.due(3)
    clock.now += SAVED_WITHIN_S - 1
    due.saved(4)  # due by step
    clock.now += 2
    assert not due.due(5)


def test_at_a_notice_one_is_due_at_once_and_the_run_ends_when_it_is_written() -> None:
    why = [""]
    due = Due(lambda: why[0])
    assert not due.due(1)
    why[0] = "told to end"
    assert due.due(2)
    with pytest.raises(Preempted, match="^told to end; a checkpoint of step 2 is written$"):
        due.saved(2)


def test_of_several_workers_one_that_is_told_ends_all_at_a_step_at_which_they_speak_to_each_other() -> None:
    told = [Due(lambda: "told", every=5), Due(every=5)]
    asked: list[int] = []
    for due in told:
        due._agreed = lambda mine: asked.append(mine) or 2  # type: ignore[func-returns-value]  # the largest of all
    assert [due.due(4) for due in told] == [False, False]
    assert asked == []
    assert [due.due(5) for due in told] == [True, True]
    assert asked == [2, 0]
    for due in told:
        with pytest.raises(Preempted):
            due.saved(5)


# --- in training -----------------------------------------------------------------------------------------------------


def trained(task: Task, **options: Any) -> list[tuple[int, dict[str, float]]]:
    rows: list[Any] = []
    train_run(task, lambda more, _: rows.extend(more), **options)
    return timeless(rows)


@pytest.mark.parametrize("at", [3, 4, 6])  # in the middle; where one is due by step; at an evaluation
def test_a_run_told_to_end_has_saved_the_step_it_was_at_and_goes_on_bit_for_bit(
    at: int, task: Task, tmp_path: Path, tiny_run: RunConfig
) -> None:
    undisturbed = trained(Task("a_key", tiny_run, task.data, tmp_path / "undisturbed", 1, "a launch", "cpu"))
    asked = 0

    def noticed() -> str:
        nonlocal asked
        asked += 1
        return "told to end" if asked == at else ""

    reports: list[dict[str, Any]] = []
    with pytest.raises(Preempted, match=f"a checkpoint of step {at} is written"):
        train_alone(task, reports.append, noticed)
    assert last_checkpoint(task.folder) == at
    assert not any("failure" in report or "retry" in report for report in reports)
    assert not (task.folder / "failure.txt").exists()
    assert trained(task) == undisturbed


def test_checkpoints_by_the_clock_move_no_number(
    task: Task, tmp_path: Path, tiny_run: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = trained(Task("a_key", tiny_run, task.data, tmp_path / "undisturbed", 1, "a launch", "cpu"))
    saved: list[int] = []
    monkeypatch.setattr(Due, "due", lambda _, step: step % 3 == 0)
    monkeypatch.setattr(Due, "saved", lambda _, step: saved.append(step))
    assert trained(task) == undisturbed
    assert saved == [3, 4, 6, 8, 9]


def test_several_workers_are_told_through_one_and_no_failure_is_noted(task: Task) -> None:
    with pytest.raises(Preempted):
        train_beside_others(
            task, lambda _: None, rank=0, workers=2, agreed=lambda asked: asked, noticed=lambda: "told to end"
        )
    assert last_checkpoint(task.folder) == 2  # they speak where they report
    assert not (task.folder / "failure.txt").exists()


def test_a_run_whose_folder_was_taken_over_ends_before_it_writes_there_again(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(lease: Lease) -> bool:
        return True

    monkeypatch.setattr(Lease, "lost", property(lost, lambda *_: None), raising=False)
    with pytest.raises(FolderHeld, match="taken over by another process"):
        train_run(task, lambda *_: None)
    assert last_checkpoint(task.folder) is None


def test_the_last_checkpoint_is_told_by_name(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path / "never made") is None
    for name in ("step_00000002", "step_00000010", "step_of a stranger"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    assert last_checkpoint(tmp_path) == 10
