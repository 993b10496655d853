"""What the commands share: a mistake in the options or of any other kind a person can mend is one line on stderr."""

from __future__ import annotations

import argparse
import shutil
import sys
import textwrap
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


def is_for_the_user(error: ValueError) -> bool:
    """Whether one of our modules raised it on purpose; any other ValueError is a mistake of ours and shown whole."""
    return type(error).__module__.split(".")[0] in OURS


def refuse(message: str) -> int:
    """Say in one line what the user can mend; a terminal breaks it between words. Returns the exit code."""
    line = f"error: {' '.join(clean(message).split())}"
    if sys.stderr is not None and sys.stderr.isatty():
        room = shutil.get_terminal_size((80, 24)).columns
        line = textwrap.fill(line, max(40, room), break_long_words=False, break_on_hyphens=False)
    print(line, file=sys.stderr)
    return USER_ERROR
