from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.guard import asked_to_end, process_lives, termination_as_interrupt, this_machine


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
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts beside itself ignores it
    try:
        with asked_to_end(asked.append):
            os.kill(os.getpid(), signal.SIGINT)
            assert asked == [signal.SIGINT]
            assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
