"""The command line: `python -m data_prep sudoku|maze|arc --source FOLDER|hub|generate --out DIR`; verify; show."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, get_args

from data_prep import pictures
from data_prep.arc import build_arc
from data_prep.arc_tasks import SUBSETS
from data_prep.maze import MazeAugmentation, build_maze
from data_prep.places import local_path, not_elsewhere
from data_prep.puzzle_set import SPLITS, PuzzleError, PuzzleSet
from data_prep.show import for_this_terminal, look
from data_prep.sudoku import build_sudoku
from data_prep.terminal import clean, settle_output


class _Parser(argparse.ArgumentParser):
    """argparse that says a mistake in one line."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """As argparse does; a NUL, which no path can have, is refused here and nowhere else."""
        if any("\0" in argument for argument in args or ()):
            self.error("an argument has a NUL in it, expected text that can be a path")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(_refuse(f"{message}; see {self.prog} --help"))


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


def _range(text: str) -> tuple[int | None, int | None]:
    """A range as people write it, 10:50, either number left out for no bound."""
    low, colon, high = text.partition(":")
    if not colon or not all(bound == "" or bound.isdigit() for bound in (low, high)):
        raise argparse.ArgumentTypeError(f"{text!r} found, expected LOW:HIGH such as 10:50, 10: or :50")
    return (int(low) if low else None), (int(high) if high else None)


def parser() -> argparse.ArgumentParser:
    """Every option of the command line."""
    top = _Parser(prog="python -m data_prep", description="Puzzle files to arrays.", allow_abbrev=False)
    commands = top.add_subparsers(dest="command", required=True, metavar="sudoku|maze|arc|verify|show")

    sudoku = commands.add_parser("sudoku", help="Sudoku of any box size, on boards up to 12x12", allow_abbrev=False)
    _add_build_options(sudoku)
    sudoku.add_argument("--box", type=_box, help="rows x columns of a box, such as 2x3 (default: 3x3, or by the file)")
    sudoku.add_argument("--train", type=_count, default=1000, help="training puzzles, or `all` (default: 1000)")
    sudoku.add_argument("--validation", type=int, default=1000, help="held out of the training puzzles (default: 1000)")
    sudoku.add_argument(
        "--clues", type=int, help="generated: stop removing clues here (default: go on to a minimal puzzle)"
    )
    sudoku.add_argument(
        "--rating",
        type=_range,
        default=(None, None),
        metavar="LOW:HIGH",
        help="generated: keep puzzles rated so, such as 10:50, 10: or :50; the rating is the number of guesses of a "
        "fixed solver: naked and hidden singles to a fixed point, then branch on the cell with fewest candidates (the "
        "lowest among equals), digits ascending, each digit tried being one guess, up to the first solution",
    )
    sudoku.add_argument("--verify", action="store_true", help="files: prove that every puzzle has its answer alone")

    maze = commands.add_parser("maze", help="mazes and one shortest path of each", allow_abbrev=False)
    _add_build_options(maze)
    maze.add_argument("--side", type=int, help="cells of a side (default: 30, or by the file)")
    maze.add_argument("--train", type=_count, help="training mazes (default: all that are left, 1000 generated)")
    maze.add_argument("--validation", type=int, default=100, help="held out of the training mazes (default: 100)")
    maze.add_argument(
        "--least-path", type=int, help="generated: cells of the shortest path at least (default: 110, 18 at side 10)"
    )
    maze.add_argument("--verify", action="store_true", help="files: hold every answer against the tie-break")

    _add_arc_options(commands.add_parser("arc", help="ARC-AGI-1, ARC-AGI-2 and ConceptARC", allow_abbrev=False))

    verify = commands.add_parser("verify", help="hash every array of a set again", allow_abbrev=False)
    verify.add_argument("folder", type=local_path, help="a puzzle set")

    shown = commands.add_parser("show", help="draw a puzzle and its answer", allow_abbrev=False)
    shown.add_argument("folder", type=local_path, help="a puzzle set")
    shown.add_argument("number", type=int, help="which puzzle, of ARC which task, counted from 0")
    shown.add_argument("--split", choices=SPLITS, default="test", help="of which split (default: test)")
    shown.add_argument("--variant", type=int, help="which augmentation (default: 0, the original; 1 with --augment)")
    shown.add_argument(
        "--augment",
        nargs="?",
        const=True,
        choices=get_args(MazeAugmentation),
        help="show a variant; of mazes also how it comes by its answer (default: recomputed)",
    )
    shown.add_argument("--png", type=local_path, metavar="FILE", help="draw it as a picture too")
    return top


def _add_build_options(puzzle: argparse.ArgumentParser) -> None:
    """The options that every puzzle has."""
    puzzle.add_argument(
        "--source",
        required=True,
        type=not_elsewhere,
        help="a folder with train.csv and test.csv, `hub` (the published files, fetched once, checked and kept; "
        "HF_ENDPOINT names a mirror) or `generate`",
    )
    puzzle.add_argument(
        "--out", required=True, type=local_path, help="the folder to write; reused if built with these settings"
    )
    puzzle.add_argument("--test", type=_count, help="test puzzles (default: all of the file, 1000 generated)")
    puzzle.add_argument("--seed", type=int, default=0, help="of every choice (default: 0)")


def _add_arc_options(arc: argparse.ArgumentParser) -> None:
    """The options of ARC, whose puzzles are tasks: a few demonstrations and one test or more."""
    arc.add_argument(
        "--source", required=True, type=not_elsewhere, help="a folder in the Kaggle or the GitHub format, or `generate`"
    )
    arc.add_argument(
        "--out", required=True, type=local_path, help="the folder to write; reused if built with these settings"
    )
    arc.add_argument(
        "--subsets",
        nargs="+",
        default=["training", "evaluation", "concept"],
        metavar="SUBSET",
        help=f"what is learnt from, of {', '.join(SUBSETS)} (default: training evaluation concept)",
    )
    arc.add_argument("--test-subset", default="evaluation", help="the one whose tests are asked (default: evaluation)")
    arc.add_argument("--train", type=_count, help="training tasks (default: all, 400 generated)")
    arc.add_argument("--validation", type=int, default=0, help="training tasks whose tests are held out (default: 0)")
    arc.add_argument("--test", type=_count, help="test tasks (default: all, 400 generated)")
    arc.add_argument("--variants", type=int, default=1000, help="of each task beside the original (default: 1000)")
    arc.add_argument("--side", type=int, default=30, help="cells of a side of the canvas (default: 30)")
    arc.add_argument("--seed", type=int, default=0, help="of every choice (default: 0)")
    arc.add_argument(
        "--allow-leak", action="store_true", help="even if tasks to be tested are learnt from; it is noted"
    )


def describe(out: Path, puzzles: PuzzleSet) -> str:
    """What was built, for a person."""
    manifest = puzzles.manifest
    counts = ", ".join(f"{name} {n:,}" for name, n in manifest.counts.items())
    boxes = f"{manifest.box_rows}x{manifest.box_cols} boxes" if manifest.box_rows else f"{manifest.cells} cells"
    lines = [
        f"{out}: {manifest.puzzle}, {boxes}, protocol {manifest.protocol}",
        *([manifest.origin] if manifest.origin else []),
        *manifest.notes,
        f"{'examples' if manifest.puzzle == 'arc' else 'puzzles'}: {counts}",
        f"content hash: {manifest.content_hash}",
    ]
    return "\n".join(lines)


def run(options: argparse.Namespace) -> str:
    """Do what the command line asks for; what to print. Raises PuzzleError."""
    if options.command == "verify":
        puzzles = PuzzleSet.open(options.folder)
        return f"{describe(options.folder, puzzles)}\nverified: every array has the sha256 that the manifest says"
    if options.command == "show":
        return _show(options)
    numbers = {name: getattr(options, name) for name in (*SPLITS, "seed")}
    if options.command == "arc":
        names = ("source", "subsets", "test_subset", "variants", "side", "allow_leak")
        puzzles = build_arc(options.out, **{name: getattr(options, name) for name in names}, **numbers)
    elif options.command == "maze":
        puzzles = build_maze(
            options.out,
            source=options.source,
            side=options.side,
            least_path=options.least_path,
            verify=options.verify,
            **numbers,
        )
    else:
        puzzles = build_sudoku(
            options.out,
            source=options.source,
            box=options.box,
            clues=options.clues,
            rating=options.rating,
            verify=options.verify,
            **numbers,
        )
    return describe(options.out, puzzles)


def _show(options: argparse.Namespace) -> str:
    """A puzzle drawn for this terminal, and as a picture where one is asked for."""
    seen = look(
        PuzzleSet.open(options.folder),
        options.number,
        split=options.split,
        variant=int(options.augment is not None) if options.variant is None else options.variant,
        augmentation=None if options.augment is True else options.augment,
    )
    drawn = for_this_terminal(seen)
    if options.png is None:
        return drawn
    pictures.save(pictures.draw(seen), options.png)
    return f"{drawn}\n\npicture: {options.png}"


def _refuse(message: str) -> int:
    """Say in one line what the user can mend, as every other command does. Returns the exit code."""
    print(f"error: {clean(message)}", file=sys.stderr)
    return 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 2 after a user's mistake, told in one line on stderr."""
    settle_output()
    options = parser().parse_args(arguments)
    try:
        print(run(options))
    except PuzzleError as error:
        return _refuse(str(error))
    except OSError as error:  # a path that may not even be looked at, an output that is full
        place = error.filename or "standard output"
        return _refuse(f"{place}: {error.strerror}; name a path that can be read and written")
    except MemoryError as error:
        return _refuse(f"not enough memory ({error}); ask for fewer puzzles, or take a larger machine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
