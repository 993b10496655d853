"""Where a thought is drawn into: a picture, a film, a page; each file whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from data_prep.files import whole
from trm_core.solving import page, picture
from trm_core.solving.thought import Thought


class CannotDraw(ValueError):
    """A drawing that cannot be written where it was asked for."""


class Writer(NamedTuple):
    """A kind of drawing, by its option: what a person calls it, how its file's name ends, and its bytes."""

    what: str
    suffix: str
    draw: Callable[[Sequence[Thought]], bytes]


WRITERS = {
    "png": Writer("picture", ".png", lambda thoughts: picture.png(picture.sheet(thoughts))),
    "strip": Writer("strip", ".png", lambda thoughts: picture.png(picture.strip(*thoughts))),
    "gif": Writer("film", ".gif", picture.gif),
    "html": Writer("page", ".html", lambda thoughts: page.page(thoughts).encode()),
}


def check_place(path: Path, option: str) -> None:
    """Raises CannotDraw where the file cannot be written, or is named for another kind."""
    suffix = WRITERS[option].suffix
    if path.suffix.lower() != suffix:
        raise CannotDraw(f"{path}: expected a name that ends in {suffix} (--{option})")
    if path.is_dir() or not path.absolute().parent.is_dir():
        found = "is a folder" if path.is_dir() else "its folder is not there"
        raise CannotDraw(f"{path}: {found}; name a file in a folder that exists (--{option})")


def write(thoughts: Sequence[Thought], path: Path, option: str) -> None:
    """Draw thoughts into a file. Raises CannotDraw."""
    drawn = WRITERS[option].draw(thoughts)
    try:
        with whole(path) as new:
            new.write_bytes(drawn)
    except OSError as error:
        raise CannotDraw(
            f"{path}: cannot be written ({error.strerror or error}); nothing was left there; choose another place"
            f" (--{option})"
        ) from error
