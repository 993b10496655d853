"""Puzzles as pictures: a Look drawn with matplotlib, question left, answer right; two draws give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from data_prep.files import whole
from data_prep.maze_kernels import GOAL, OPEN, PATH, START, WALL
from data_prep.puzzle_set import PuzzleError
from data_prep.show import COLOURS, DIGITS, RIGHT, Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

U8 = NDArray[np.uint8]
SUFFIX = ".png"
DOTS_PER_INCH = 150
BOARD, LARGE_BOARD = 2.2, 3.6  # inches, a side of a grid of ARC, and of a Sudoku or maze, which stand alone
MARGIN, CAPTION, LINE_HEIGHT = 0.15, 0.3, 0.2  # inches
MOST_IN_A_COLUMN = 3  # pairs of a task; more stand in two columns
INK, FAINT, LINE, FOUND = "#1f2429", "#c8ced4", "#5b6670", "#3b82c4"
MAZE = {WALL: "#3a4048", OPEN: "#ffffff", START: "#8fd19e", GOAL: "#f2a29b", PATH: "#f6c85f"}  # by token


class CannotDraw(PuzzleError):
    """A picture that cannot be written where it was asked for."""


def draw(seen: Look) -> Figure:
    """The picture of a Look: a Sudoku or maze beside its answer, or a task's demonstrations and, below, its tests."""
    from matplotlib.figure import Figure

    n_columns, places = _places(seen)
    n_rows = 1 + max(row for row, _ in places)
    board = BOARD if seen.puzzle == "arc" else LARGE_BOARD
    across, down = board + 2 * MARGIN, board + MARGIN + CAPTION
    width = 2 * n_columns * across
    height = 2 * MARGIN + LINE_HEIGHT * len(seen.title) + n_rows * down
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    title = "\n".join(seen.title)
    figure.text(0.5, 1 - MARGIN / height, title, ha="center", va="top", fontsize=10, linespacing=1.4, color=INK)
    for pair, (row, column) in zip(seen.pairs, places, strict=True):
        for half, cells in enumerate((pair.question, pair.answer)):
            left, bottom = (2 * column + half) * across + MARGIN, (n_rows - 1 - row) * down + MARGIN
            axes = figure.add_axes((left / width, bottom / height, board / width, board / height))
            if half:
                middle = ((left - MARGIN) / width, (bottom + board / 2) / height)
                figure.text(*middle, RIGHT, ha="center", va="center", fontsize=11, color=LINE)
            if seen.puzzle == "arc":
                _arc(axes, cells)
                caption = f"{pair.name} {('input', 'output')[half]}"
            else:
                caption = ("question", "answer")[half]
                if seen.box is not None:
                    _sudoku(axes, cells, pair.question, seen.box)
                else:
                    _maze(axes, cells)
            axes.set_title(caption, fontsize=9, color=INK, pad=4)
    return figure


def _places(seen: Look) -> tuple[int, list[tuple[int, int]]]:
    """How many columns of pairs there are, and the (row, column) of each pair: every kind begins a row of its own."""
    n_columns = 1 if len(seen.pairs) <= MOST_IN_A_COLUMN else 2
    places: list[tuple[int, int]] = []
    for pair, before in zip(seen.pairs, (None, *seen.pairs), strict=False):
        row, column = places[-1] if places else (-1, 0)
        same_row = before is not None and before.kind == pair.kind and column + 1 < n_columns
        places.append((row, column + 1) if same_row else (row + 1, 0))
    return n_columns, places


def _cells(axes: Axes, cells: U8, colours: tuple[str, ...]) -> None:
    """Cells uint8 [rows, columns] as squares of their colours, cell (0, 0) at the top left, with a frame."""
    from matplotlib.colors import ListedColormap

    axes.imshow(cells, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5, interpolation="nearest")
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
    for spine in axes.spines.values():
        spine.set(color=LINE, linewidth=1.2)


def _rules(axes: Axes, shape: tuple[int, int], every: tuple[int, int], color: str, width: float) -> None:
    """Rules between the cells of a board, after every so many rows and columns."""
    rows, columns = shape
    axes.hlines(np.arange(every[0], rows, every[0]) - 0.5, -0.5, columns - 0.5, colors=color, linewidth=width)
    axes.vlines(np.arange(every[1], columns, every[1]) - 0.5, -0.5, rows - 0.5, colors=color, linewidth=width)


def _arc(axes: Axes, grid: U8) -> None:
    """A grid of ARC in its ten colours."""
    _cells(axes, grid, COLOURS)
    _rules(axes, (grid.shape[0], grid.shape[1]), (1, 1), LINE, 0.6)


def _sudoku(axes: Axes, cells: U8, question: U8, box: tuple[int, int]) -> None:
    """A Sudoku: givens in black, what the answer adds lighter, thick rules between the boxes."""
    side = len(cells)
    _cells(axes, np.zeros_like(cells), ("white",))
    _rules(axes, (side, side), (1, 1), FAINT, 0.8)
    _rules(axes, (side, side), box, INK, 2)
    for spine in axes.spines.values():
        spine.set(color=INK, linewidth=2)
    size = 150 / side  # points
    for (row, column), token in np.ndenumerate(cells):
        if token > 1:
            given = token == question[row, column]
            axes.text(
                column,
                row,
                DIGITS[token],
                ha="center",
                va="center_baseline",
                fontsize=size,
                color=INK if given else FOUND,
            )


def _maze(axes: Axes, cells: U8) -> None:
    """A maze: walls dark, the path coloured, S and G by letter."""
    _cells(axes, cells, ("white", *(MAZE[token] for token in range(WALL, PATH + 1))))
    size = 160 / len(cells)  # points
    for token, letter in ((START, "S"), (GOAL, "G")):
        for row, column in np.argwhere(cells == token):
            axes.text(
                column,
                row,
                letter,
                ha="center",
                va="center_baseline",
                fontsize=size,
                fontweight="bold",
                color=INK,
            )


def save(figure: Figure, path: Path) -> None:
    """Write a picture whole or not at all, whatever was there before; raises CannotDraw."""
    if path.suffix.lower() != SUFFIX:
        found = f"suffix {path.suffix}" if path.suffix else "no suffix"
        raise CannotDraw(f"{path}: {found}, expected {SUFFIX}; give a file name that ends so (--png)")
    try:
        with whole(path) as new:
            figure.savefig(new, format="png", metadata={"Software": None})
    except OSError as error:
        raise CannotDraw(
            f"{path}: cannot be written ({error.strerror or error}); nothing was left there; choose a folder that "
            "exists and can be written to (--png)"
        ) from error
