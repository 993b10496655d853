"""Paths that a command is given: on this machine's file systems, never an address elsewhere."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def local_path(text: str) -> Path:
    """A command's path. Raises ArgumentTypeError for s3://bucket and the like, which would make a folder "s3:"."""
    return Path(not_elsewhere(text))


def not_elsewhere(text: str) -> str:
    """The text, unless it is an address with a scheme, of whatever kind. Raises ArgumentTypeError."""
    if found := SCHEME.match(text):
        raise argparse.ArgumentTypeError(
            f"{text}: {found[0]} is no path of this machine, and nothing else is read or written; mount it and give the"
            " path, or copy it"
        )
    return text
