from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.guard import (
    FolderHeld,
    asked_to_end,
    hold_folder,
    one_at_a_time,
    process_lives,
    termination_as_interrupt,
    this_machine,
)
from tests.sweeps.records.stores import another_process, hear

HOLDS = (
    "import sys, time; from pathlib import Path; from sweeps.guard import hold_folder\n"
    "with hold_folder(Path(sys.argv[1])): print('held', flush=True); input()\n"
)


def test_a_folder_that_another_process_holds_is_refused_with_its_name(tmp_path: Path) -> None:
    holder = another_process(HOLDS, str(tmp_path))
    assert hear(holder) == "held"
    with pytest.raises(FolderHeld, match=f"process {holder.pid} on"), hold_folder(tmp_path, wait_s=0):
        pass
    holder.kill()
    holder.communicate()
    with hold_folder(tmp_path):  # whatever ends its holder lets go of it
        pass


def test_a_folder_that_is_let_go_of_while_one_waits_is_had(tmp_path: Path) -> None:
    holder = another_process(HOLDS, str(tmp_path))
    assert hear(holder) == "held"
    assert holder.stdin is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    with hold_folder(tmp_path):
        assert f"process {os.getpid()} on" in (tmp_path / ".lock").read_text()
    holder.communicate()


def test_one_at_a_time_leaves_no_file_behind(tmp_path: Path) -> None:
    with one_at_a_time(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_process_lives_until_it_has_ended() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not process_lives(ended.pid)
    assert process_lives(os.getpid())
    assert process_lives(1)  # another's
    assert not process_lives(2**40)


def test_this_machine_has_one_name_in_all_its_processes_of_one_container() -> None:
    text = subprocess.run(
        [sys.executable, "-c", "from sweeps.guard import this_machine; print(this_machine())"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert text.strip() == this_machine()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_kill_and_a_closed_terminal_end_as_ctrl_c_does(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), termination_as_interrupt():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_nohup_stays_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with termination_as_interrupt():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_first_ctrl_c_asks_to_end_and_the_second_ends() -> None:
    asked: list[str] = []
    with asked_to_end(lambda: asked.append("once")):
        os.kill(os.getpid(), signal.SIGINT)
        assert asked == ["once"]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
