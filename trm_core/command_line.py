"""What the commands share: a mistake in the options or of any other kind a person can mend is one line on stderr."""

from __future__ import annotations

import argparse
import contextlib
import errno
import gc
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import NoReturn

from data_prep.terminal import clean
from data_prep.terminal import settle_output as settle_output

OURS = ("data_prep", "trm_core", "sweeps", "reports", "__main__")
USER_ERROR = 2  # the exit code


class BadCommand(ValueError):
    """An option that does not exist, is missing, or has no sense in this place."""


class Parser(argparse.ArgumentParser):
    """argparse that raises BadCommand, so that its mistakes are told like every other."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse does; a NUL, which no path can have, is refused here and nowhere else."""
        if any("\0" in argument for argument in args or ()):
            self.error("an argument has a NUL in it, expected text that can be a path")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Called by argparse for whatever it refuses. Raises BadCommand."""
        raise BadCommand(f"{message}; see --help")


@contextlib.contextmanager
def seldom_collecting() -> Iterator[None]:
    """Inside, Python looks for garbage in circles one time in seventy: a command imports a million objects that stay,
    and would look through all of them again and again. For commands that train nothing in their own process."""
    before = gc.get_threshold()
    gc.set_threshold(70 * 700, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def is_for_the_user(error: ValueError) -> bool:
    """Whether one of our modules raised it on purpose; any other ValueError is a mistake of ours and shown whole."""
    return type(error).__module__.split(".")[0] in OURS


def answered(act: Callable[[], int]) -> int:
    """Do what a command was asked for and return its exit code; what a person can mend is one line, and 2."""
    settle_output()
    try:
        return act()
    except ValueError as error:
        if not is_for_the_user(error):
            raise
        return refuse(str(error))
    except OSError as error:
        if (said := of_the_system(error)) is None:
            raise
        return refuse(said)
    except MemoryError as error:
        return refuse(f"not enough memory ({error or 'no more is given'}); ask for less, or take a larger machine")


def of_the_system(error: OSError) -> str | None:
    """What the system refuses, and what a person can do about it; None where that is not known."""
    place = f"{error.filename}: " if error.filename is not None else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error}; make room, then give the same command again"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{place}{error.strerror}; give `ulimit -n 4096`, then the same command again"
    if error.errno in (errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO):
        return f"{place}{error.strerror}; see that the disk is still there, then give the same command again"
    if error.errno == errno.ENOENT and not place and _is_nowhere():
        return "the current folder is not there any more; go to one that is, `cd ~`, then give the same command again"
    if error.errno == errno.ENOENT and "temporary directory" in str(error):  # Python's words; none can be written
        return f"{error.strerror}; make room there, or set TMPDIR to a folder with room"
    if error.errno == errno.ENOMEM:
        return f"{place}{error.strerror}; ask for less, or take a larger machine"
    return f"{place}{error.strerror}; name a path that can be read and written" if place else None


def _is_nowhere() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def refuse(message: str) -> int:
    """Say in one line what the user can mend; a terminal breaks it between words. Returns the exit code."""
    line = f"error: {' '.join(clean(message).split())}"
    if sys.stderr is not None and sys.stderr.isatty():
        room = shutil.get_terminal_size((80, 24)).columns
        line = textwrap.fill(line, max(40, room), break_long_words=False, break_on_hyphens=False)
    print(line, file=sys.stderr)
    return USER_ERROR
