"""Where a thought is drawn into: a picture, a film, a page; each file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from trm_core.solving import page, picture
from trm_core.solving.thought import Thought


class CannotDraw(ValueError):
    """A drawing that cannot be written where it was asked for."""


class Writer(NamedTuple):
    """A kind of drawing: what a person calls it, and its bytes."""

    what: str
    draw: Callable[[Sequence[Thought]], bytes]


WRITERS = {
    "png": Writer("picture", lambda thoughts: picture.png(picture.sheet(thoughts))),
    "gif": Writer("film", picture.gif),
    "html": Writer("page", lambda thoughts: page.page(thoughts).encode()),
}


def check_place(path: Path, suffix: str) -> None:
    """Raises CannotDraw where the file cannot be written, or is named for another kind."""
    if path.suffix.lower() != f".{suffix}":
        raise CannotDraw(f"{path}: expected a name that ends in .{suffix} (--{suffix})")
    if path.is_dir() or not path.absolute().parent.is_dir():
        found = "is a folder" if path.is_dir() else "its folder is not there"
        raise CannotDraw(f"{path}: {found}; name a file in a folder that exists (--{suffix})")


def write(thoughts: Sequence[Thought], path: Path, suffix: str) -> None:
    """Draw thoughts into a file. Raises CannotDraw."""
    drawn = WRITERS[suffix].draw(thoughts)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        try:
            partial.write_bytes(drawn)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise CannotDraw(
            f"{path}: cannot be written ({error.strerror or error}); nothing was left there; choose another place"
            f" (--{suffix})"
        ) from error
