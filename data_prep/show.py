"""A puzzle and its answer drawn in characters, side by side where the terminal is wide enough."""

import math
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from data_prep.augment import augment_sudoku
from data_prep.maze import CHARACTERS, MazeAugmentation, augment_maze, is_published_path, is_shortest_path, solve
from data_prep.maze_kernels import WALL
from data_prep.puzzle_set import SPLITS, PuzzleError, PuzzleSet

GAP = "   "
DIGITS = "?.123456789ABC"  # of a Sudoku, by token
BLOCK = "\N{FULL BLOCK}"


class CannotShow(PuzzleError):
    """A puzzle that is not there, or of a kind that is not drawn."""


def show(
    puzzles: PuzzleSet,
    number: int,
    *,
    split: str = "test",
    variant: int = 0,
    augmentation: MazeAugmentation | None = None,
    columns: int = 80,
) -> str:
    """Puzzle `number` (counted from 0) of a split, in one of its variants, on lines of so many columns if they fit it.

    augmentation: for mazes, "recomputed" if None. Variants are those of the set's own seed. Raises CannotShow.
    """
    manifest = puzzles.manifest
    if split not in SPLITS:
        raise CannotShow(f"split {split!r}: expected one of {', '.join(SPLITS)} (--split)")
    rows = puzzles.splits[split]
    if not 0 <= number < len(rows):
        expected = f"0 to {len(rows) - 1}" if len(rows) else "another split, it is empty"
        raise CannotShow(f"puzzle {number}: the {split} split has {len(rows)} puzzles, expected {expected}")
    if variant < 0:
        raise CannotShow(f"variant {variant}: expected 0 (the original) or more (--variant)")
    board, answer = np.array(rows.inputs[number : number + 1]), np.array(rows.labels[number : number + 1])
    index, variants = np.array([number]), np.array([variant])
    told = [f"{split} {number}, variant {variant}, rating {rows.ratings[number]}"]
    if manifest.puzzle == "sudoku" and manifest.box_rows and manifest.box_cols:
        if augmentation is not None:
            raise CannotShow(f"augment {augmentation}: mazes alone have a choice; leave --augment out")
        box = {"box_rows": manifest.box_rows, "box_cols": manifest.box_cols}
        board, answer = augment_sudoku(board, answer, index, variants, seed=manifest.seed, **box)
        drawn = [_sudoku(cells[0], **box) for cells in (board, answer)]
    elif manifest.puzzle == "maze":
        board, answer = augment_maze(
            board, answer, index, variants, seed=manifest.seed, augmentation=augmentation or "recomputed"
        )
        told.append(_told(board, answer))
        side = math.isqrt(manifest.cells)
        wide = 2 * (2 * side + 2) + len(GAP) <= columns
        drawn = [_maze(cells[0], side, 2 if wide else 1) for cells in (board, answer)]
    else:
        raise CannotShow(f"a set of {manifest.puzzle!r}: expected sudoku or maze, no other is drawn")
    return "\n".join([*told, "", *_side_by_side(*drawn, columns=columns)])


def _told(board: NDArray[np.uint8], answer: NDArray[np.uint8]) -> str:
    """Which path the answer of a maze is."""
    if is_published_path(solve(board)[0], answer)[0]:
        return "the answer is the path of the tie-break"
    if is_shortest_path(board, answer)[0]:
        return "the answer is a shortest path, but not that of the tie-break"
    return "the answer is no shortest path"


def _sudoku(cells: NDArray[np.uint8], box_rows: int, box_cols: int) -> list[str]:
    """The lines of a Sudoku, with rules between its boxes."""
    side = box_rows * box_cols
    lines: list[str] = []
    for r, row in enumerate(cells.reshape(side, side).tolist()):
        if r and r % box_rows == 0:
            lines.append("".join("+" if mark == "|" else "-" for mark in lines[0]))
        letters = [DIGITS[token] for token in row]
        lines.append(" | ".join(" ".join(letters[c : c + box_cols]) for c in range(0, side, box_cols)))
    return lines


def _maze(cells: NDArray[np.uint8], side: int, cell_width: int) -> list[str]:
    """The lines of a maze in a frame, every cell so many characters wide."""
    rule = "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (side * cell_width)
    upright = "\N{BOX DRAWINGS LIGHT VERTICAL}"
    lines = [f"\N{BOX DRAWINGS LIGHT DOWN AND RIGHT}{rule}\N{BOX DRAWINGS LIGHT DOWN AND LEFT}"]
    for row in cells.reshape(side, side).tolist():
        drawn = "".join(BLOCK * cell_width if token == WALL else CHARACTERS[token].ljust(cell_width) for token in row)
        lines.append(f"{upright}{drawn}{upright}")
    lines.append(f"\N{BOX DRAWINGS LIGHT UP AND RIGHT}{rule}\N{BOX DRAWINGS LIGHT UP AND LEFT}")
    return lines


def _side_by_side(question: list[str], answer: list[str], *, columns: int) -> list[str]:
    """Both beside each other if that fits, else one below the other."""
    width = max(map(len, question))
    if 2 * width + len(GAP) > columns:
        return [*question, "", *answer]
    return [f"{left:<{width}}{GAP}{right}" for left, right in zip_longest(question, answer, fillvalue="")]
