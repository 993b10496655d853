"""python -m trm_core solve."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trm_core.__main__ import main

ROOT = Path(__file__).parents[3]


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = main(["solve", *map(str, arguments)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_it_prints_the_board_after_each_step_and_writes_what_it_is_asked(
    sudoku_model: Path, puzzle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("a.png", "a.gif", "a.html")]
    asked = [part for file in files for part in (f"--{file.suffix[1:]}", file)]
    code, out, err = command(capsys, sudoku_model, f"{puzzle_folder}:0", f"{puzzle_folder}:3", "--steps", "5", *asked)
    assert (code, err) == (0, "")
    assert out.count("halts p=") == 10
    assert max(map(len, out.split("picture:")[0].splitlines())) <= 80
    assert all(file.stat().st_size > 1000 for file in files)


@pytest.mark.parametrize(
    ("change", "ascii_alone", "coloured"),
    [
        ({}, False, False),
        ({"PYTHONIOENCODING": "ascii"}, True, False),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
    ],
)
def test_a_terminal_is_given_the_letters_and_colours_that_it_has(
    maze_model: Path, change: dict[str, str], ascii_alone: bool, coloured: bool
) -> None:
    maze = "S#   " + " #   " * 3 + "    G"
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    ended = subprocess.run(
        [sys.executable, "-m", "trm_core", "solve", str(maze_model), maze, "--steps", "1"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        env={**plain, "PYTHONIOENCODING": "utf-8", "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **change},
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    out = ended.stdout.decode()
    assert out.isascii() == ascii_alone
    assert ("#" in out, "█" in out) == (ascii_alone, not ascii_alone)  # walls
    assert ("\x1b[" in out) == coloured


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere", "."], "nowhere: no checkpoint there; expected a step_… folder"),
        (["{model}", "12"], "2 cells, expected the 16 of a 4x4 sudoku"),
        (["{model}"], "the following arguments are required: PUZZLE|FILE|SET:17"),
        (["{model}", "." * 16, "--steps", "0"], "'0' found, expected a number of 1 or more"),
        (["{model}", "." * 16, "--png", "a.jpg"], "a.jpg: expected a name that ends in .png"),
        (["{model}", "." * 16, "--html", "no folder/a.html"], "its folder is not there"),
        (["{model}", "." * 16, "--split", "dev"], "invalid choice: 'dev'"),
        (["{model}", "." * 16, "--steps", "500", "--gif", "{tmp}/a.gif"], "501 frames, expected at most 400"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    sudoku_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    filled = [one.replace("{model}", str(sudoku_model)).replace("{tmp}", str(tmp_path)) for one in arguments]
    code, _, err = command(capsys, *filled)
    assert code == 2
    assert told in err
    assert err.count("\n") == 1
