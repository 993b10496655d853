"""The command line: `python -m data_prep sudoku --source FOLDER|generate --out DIR`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from data_prep.puzzle_set import PuzzleError, PuzzleSet
from data_prep.sudoku import build_sudoku


class _Parser(argparse.ArgumentParser):
    """argparse that says a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _box(text: str) -> tuple[int, int]:
    """A box size as people write it: 2x3 is 2 rows by 3 columns."""
    rows, cross, cols = text.partition("x")
    if not (cross and rows.isdigit() and cols.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} found, expected ROWSxCOLUMNS such as 2x3")
    return int(rows), int(cols)


def _count(text: str) -> int | None:
    """A number of puzzles, or `all`."""
    if text == "all":
        return None
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} found, expected a number of puzzles or `all`")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Every option of the command line."""
    top = _Parser(prog="python -m data_prep", description="Puzzle files to arrays.", allow_abbrev=False)
    puzzles = top.add_subparsers(dest="puzzle", required=True, metavar="sudoku")
    sudoku = puzzles.add_parser("sudoku", help="Sudoku of any box size up to 12x12", allow_abbrev=False)
    sudoku.add_argument("--source", required=True, help="a folder with train.csv and test.csv, or `generate`")
    sudoku.add_argument(
        "--out", required=True, type=Path, help="the folder to write; reused if built with these settings"
    )
    sudoku.add_argument("--box", type=_box, help="rows x columns of a box, such as 2x3 (default: 3x3, or by the file)")
    sudoku.add_argument("--train", type=_count, default=1000, help="training puzzles, or `all` (default: 1000)")
    sudoku.add_argument("--validation", type=int, default=1000, help="held out of the training puzzles (default: 1000)")
    sudoku.add_argument("--test", type=_count, help="test puzzles (default: all of the file, 1000 generated)")
    sudoku.add_argument("--seed", type=int, default=0, help="of every choice (default: 0)")
    sudoku.add_argument("--clues", type=int, help="stop removing clues here (default: go on to a minimal puzzle)")
    return top


def describe(out: Path, puzzles: PuzzleSet) -> str:
    """What was built, for a person."""
    manifest = puzzles.manifest
    counts = ", ".join(f"{name} {n:,}" for name, n in manifest.counts.items())
    lines = [
        f"{out}: {manifest.puzzle}, {manifest.box_rows}x{manifest.box_cols} boxes, protocol {manifest.protocol}",
        *manifest.notes,
        f"puzzles: {counts}",
        f"content hash: {manifest.content_hash}",
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a user's mistake, told in one line on stderr."""
    options = parser().parse_args(arguments)
    try:
        puzzles = build_sudoku(
            options.out,
            source=options.source,
            box=options.box,
            train=options.train,
            validation=options.validation,
            test=options.test,
            seed=options.seed,
            clues=options.clues,
        )
    except PuzzleError as error:
        print(error, file=sys.stderr)
        return 2
    print(describe(options.out, puzzles))
    return 0


if __name__ == "__main__":
    sys.exit(main())
