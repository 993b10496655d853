"""python -m trm_core solve CHECKPOINT PUZZLE|FILE|SET:17 [--steps 16] [--png FILE] [--gif FILE] [--html FILE]."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from data_prep.places import local_path
from data_prep.puzzle_set import SPLITS

EXAMPLES = """\
python -m trm_core solve results/runs/KEY results/data/SET:17       puzzle 17 of the test puzzles
python -m trm_core solve results/runs/KEY results/data/SET:3,5-8    several
python -m trm_core solve models/sudoku 53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79
python -m trm_core solve models/maze maze.txt --steps 64 --html maze.html       with a page to look at
"""


def add_options(solve: argparse.ArgumentParser, count: Callable[[str], int]) -> None:
    """Every option of the command. count: reads a number of 1 or more."""
    solve.formatter_class = argparse.RawDescriptionHelpFormatter
    solve.epilog = EXAMPLES
    add = solve.add_argument
    add(
        "checkpoint",
        type=local_path,
        metavar="CHECKPOINT",
        help="a step_… folder, a folder of them (newest), or a run's",
    )
    add(
        "puzzles",
        nargs="+",
        metavar="PUZZLE|FILE|SET:17",
        help="a puzzle row by row, a file of them, or a puzzle set's by number, of ARC a task's tests",
    )
    add("--steps", type=count, metavar="S", help="supervision steps (default: as many as it was evaluated with)")
    add("--split", choices=SPLITS, default="test", help="of a puzzle set (default: test)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto, a GPU where there is one")
    add("--png", type=local_path, metavar="FILE.png", help="draw it as a picture too")
    add("--strip", type=local_path, metavar="FILE.png", help="or as one row, of the steps that tell most")
    add("--gif", type=local_path, metavar="FILE.gif", help="and as a film of its steps")
    add("--html", type=local_path, metavar="FILE.html", help="and as a page: steps and recursions to slide through")
    add("--allow-leak", action="store_true", help="ARC: even if the model has learnt from tasks it is asked")


def solve_command(options: argparse.Namespace) -> None:
    """Ask, and draw what was answered on the way: for this terminal, and into files where asked."""
    from trm_core.solving import files, text
    from trm_core.solving.ask import solve

    asked = {option: path for option in files.WRITERS if (path := getattr(options, option)) is not None}
    for option, path in asked.items():
        files.check_place(path, option)  # before the work
    thoughts = solve(
        options.checkpoint,
        options.puzzles,
        steps=options.steps,
        split=options.split,
        allow_leak=options.allow_leak,
        device=options.device,
    )
    print(text.for_this_terminal(thoughts))
    for option, path in asked.items():
        files.write(thoughts, path, option)
        print(f"{files.WRITERS[option].what}: {path}")
