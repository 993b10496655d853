"""Words for a terminal: names that shorten, lines that break between words, strangers' text made safe."""

from __future__ import annotations

import re
import textwrap

from data_prep.terminal import clean as clean

GAP = "…"


def shorten(name: str, seeds: str, width: int) -> str:
    """A row's name and its seeds in `width` columns: the name loses its middle, the seeds stay whole.

    "HRM k=1, T=1", "seed 0" in 16 columns: "HRM…, T=1 seed 0". Where not even the seeds fit, they lose their end.
    """
    if not seeds:
        return _middle(name, width)
    room = width - len(seeds) - 1
    return f"{_middle(name, room)} {seeds}" if room > 0 else seeds[: max(0, width)]


def shorten_run(name: str, width: int) -> str:
    """A run's name, "HRM k=1, T=1 seed 0, data seed 1", in `width` columns."""
    found = re.fullmatch(r"(.*?) (seed \d+(?:, data seed \d+)?)", name)
    return shorten(found[1], found[2], width) if found else shorten(name, "", width)


def wrapped(text: str, width: int, indent: str = "  ") -> list[str]:
    """A text as lines of at most `width` columns, broken between words; a longer word (a path) loses its middle."""
    words = [_middle(word, width - len(indent)) for word in text.split(" ")]
    lines = textwrap.wrap(
        " ".join(words), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return lines or [""]


def _middle(text: str, width: int) -> str:
    """A text without its middle; its end, which tells rows apart, stays longest."""
    if len(text) <= width:
        return text
    tail = max(0, min(width - 2, (width - 1) * 2 // 3))
    return (text[: max(0, width - 1 - tail)].rstrip() + GAP + text[len(text) - tail :].lstrip())[: max(0, width)]


def whole_number(text: str) -> int | None:
    """A text of up to fifteen digits as a number; None for anything else: a sign, another alphabet's digits, a book."""
    return int(text) if re.fullmatch(r"[0-9]{1,15}", text) else None
