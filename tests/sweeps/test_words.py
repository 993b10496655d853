from __future__ import annotations

import pytest

from sweeps.words import clean, shorten, shorten_run, wrapped


@pytest.mark.parametrize("width", range(6, 40))
def test_a_name_shortens_in_its_middle_and_its_seeds_never(width: int) -> None:
    short = shorten("HRM k=1, T=1", "seed 0", width)
    assert len(short) <= width
    assert short.endswith("seed 0")
    assert (short == "HRM k=1, T=1 seed 0") == (width >= 19)
    assert shorten_run("HRM k=1, T=1 seed 0", width) == short


def test_names_that_differ_at_their_ends_still_differ_when_short() -> None:
    assert shorten("HRM k=1, T=1", "seed 0", 16) == "HRM…, T=1 seed 0"
    assert shorten("HRM with two networks, T=1", "", 12).endswith("T=1")


def test_the_seeds_of_other_puzzles_are_seeds_too() -> None:
    assert shorten_run("TRM w/ self-attention seed 4, data seed 3", 32) == "TRM…tention seed 4, data seed 3"


@pytest.mark.parametrize("width", [0, 1, 2, 3])
def test_no_width_is_too_small(width: int) -> None:
    assert len(shorten("HRM k=1, T=1", "seed 0", width)) <= width
    assert len(shorten("HRM k=1, T=1", "", width)) <= width


def test_a_text_breaks_between_words_and_a_word_that_is_longer_than_a_line_loses_its_middle() -> None:
    lines = wrapped("the file /home/me/experiments/2026/puzzles.csv is not there-at-all", 24)
    assert lines == ["the file", "  /home/m…26/puzzles.csv", "  is not there-at-all"]
    assert wrapped("", 24) == [""]


def test_text_of_strangers_moves_no_cursor() -> None:
    assert clean("a\x1b[2J\r\nb\u202ec\x00²λ") == "a [2J  b c ²λ"
