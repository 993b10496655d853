"""Signals: what lets a process end well. Knows no other file of ours."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGHUP)  # `kill` and a closed terminal


@contextlib.contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """`kill` and a closed terminal end the command as Ctrl-C does, so that no run is left RUNNING."""

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    with _handled(ENDING, interrupt):
        yield


@contextlib.contextmanager
def asked_to_end(act: Callable[[int], None]) -> Iterator[None]:
    """Ctrl-C, `kill` and a closed terminal call `act`; the second time they have their usual, sudden effect."""

    def heard(number: int) -> None:
        act(number)
        for each in heeded:
            signal.signal(each, signal.SIG_DFL)

    with _handled((signal.SIGINT, *ENDING), heard) as heeded:
        yield


@contextlib.contextmanager
def _handled(numbers: tuple[signal.Signals, ...], act: Callable[[int], None]) -> Iterator[list[signal.Signals]]:
    """These signals call `act`, but for those that are ignored (nohup); before and after, things are as they were."""
    if threading.current_thread() is not threading.main_thread():
        yield []
        return

    def handler(number: int, _: FrameType | None) -> None:
        act(number)

    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield heeded
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
