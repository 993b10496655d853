"""Pictures, films and pages."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trm_core.solving.conftest import by_hand
from trm_core.solving.ask import solve
from trm_core.solving.files import WRITERS, CannotDraw, check_place, write
from trm_core.solving.page import page
from trm_core.solving.picture import TooMuch, gif, png, sheet, strip, svg, telling
from trm_core.solving.thought import Thought


@pytest.fixture(scope="module")
def thoughts(
    sudoku_model: Path, maze_model: Path, arc_model: Path, puzzle_folder: Path, arc_folder: Path
) -> list[Thought]:
    """Of each kind of puzzle one."""
    maze = "S#   " + " #   " * 3 + "    G"
    sudoku, task = f"{puzzle_folder}:0", f"{arc_folder}:1"
    return [*solve(sudoku_model, sudoku), *solve(maze_model, maze), *solve(arc_model, task)[:1], by_hand()]


def test_a_sheet_has_every_step_and_equal_thoughts_are_equal_bytes(thoughts: list[Thought]) -> None:
    figure = sheet(thoughts)
    assert len(figure.axes) == sum(1 + thought.steps for thought in thoughts)
    first, second = png(figure), png(sheet(thoughts))
    assert first == second
    assert Image.open(io.BytesIO(first)).width > 400


def test_a_strip_shows_the_steps_that_tell_most() -> None:
    thought = by_hand()
    assert telling(thought, 6) == [0, 1, 2, 3]
    long = replace(thought, boards=thought.boards[[0, 0, 1, 1, 1, 2, 2, 2]], halting=np.ones(8, dtype=np.float32))
    assert long.settled_at == 6
    assert telling(long, 6) == telling(long, 4) == [0, 1, 3, 6]
    assert telling(long, 3) == [0, 1, 6]
    assert telling(long, 2) == [0, 6]
    assert telling(replace(thought, boards=thought.boards[[2, 2, 2]]), 6) == [0, 1]
    assert len(strip(long, thought, most=3).axes) == 6


def test_a_strip_is_also_an_svg_that_stands_in_a_page() -> None:
    text = svg(strip(by_hand(), title=""))
    assert text.startswith("<svg")
    assert text == svg(strip(by_hand(), title=""))
    assert "halts p=0.90" in text


def test_a_film_has_a_frame_for_the_question_and_each_step(thoughts: list[Thought]) -> None:
    film = Image.open(io.BytesIO(gif(thoughts[:2])))
    assert getattr(film, "n_frames", 1) == sum(1 + thought.steps for thought in thoughts[:2])


def test_too_many_boards_are_refused() -> None:
    with pytest.raises(TooMuch, match="404 boards, expected at most 400"):
        sheet([by_hand()] * 101)
    with pytest.raises(TooMuch, match="404 frames"):
        gif([by_hand()] * 101)


def test_the_page_needs_nothing_else_and_holds_every_board(thoughts: list[Thought]) -> None:
    text = page(thoughts)
    assert not re.search(r"https?:|src=|@import|url\(", text)
    found = json.loads(text.split('id="data">')[1].split("</script>")[0])["thoughts"]
    for thought, facts in zip(thoughts, found, strict=True):
        assert base64.b64decode(facts["boards"]) == thought.boards.tobytes()
        assert len(base64.b64decode(facts["moved"])) == thought.moved.size
        assert facts["outcome"] == thought.outcome()


def test_a_name_cannot_end_the_pages_script() -> None:
    text = page([replace(by_hand(), name="</script><b>x", model="<i>&")])
    assert text.count("</script>") == 2
    assert "<b>x" not in text
    assert "<i>" not in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium here")
def test_a_browser_shows_the_page(thoughts: list[Thought], tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(page(thoughts), encoding="utf-8")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    seen = subprocess.run(["chromium", *options, profile, file.as_uri()], capture_output=True, text=True, check=True)
    assert f"{thoughts[0].name}: {thoughts[0].outcome()}" in seen.stdout
    assert f"step 1 of {thoughts[0].steps}" in seen.stdout
    assert seen.stdout.count("<option") == len(thoughts)
    assert "CONSOLE" not in seen.stderr


@pytest.mark.parametrize("option", WRITERS)
def test_a_file_is_written_whole_and_replaces_what_was_there(tmp_path: Path, option: str) -> None:
    path = tmp_path / f"a{WRITERS[option].suffix}"
    path.write_text("old")
    write([by_hand()], path, option)
    assert path.stat().st_size > 1000
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_places_that_take_no_file_are_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for path, told in (
        (tmp_path / "a.jpg", "expected a name that ends in .png"),
        (tmp_path / "no" / "a.png", "its folder is not there"),
        (tmp_path / "folder.png", "is a folder"),
    ):
        with pytest.raises(CannotDraw, match=told):
            check_place(path, "png")
