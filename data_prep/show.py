"""Looking at puzzles: what is to be seen of one (a Look) and how a terminal draws it; pictures are drawn elsewhere.

In characters everywhere; in colours where the terminal has them (NO_COLOR turns them off).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from data_prep.arc import draw_arc, n_variants, restore, unpack
from data_prep.augment import augment_sudoku
from data_prep.maze import CHARACTERS, MazeAugmentation, augment_maze, is_published_path, is_shortest_path, solve
from data_prep.maze_kernels import PATH, WALL
from data_prep.puzzle_set import SPLITS, Groups, PuzzleError, PuzzleSet, Split

U8 = NDArray[np.uint8]
LAST_VARIANT = 2**63 - 1  # a counter of 64 bits
GAP = "   "
RIGHT = "\N{RIGHTWARDS ARROW}"
DIGITS = "?.123456789ABC"  # of a Sudoku, by token
BLOCK = "\N{FULL BLOCK}"
FOUND = "bright_blue"  # a cell that the answer adds to its question
COLOURS = (  # the usual ten of ARC
    *("#000000", "#0074d9", "#ff4136", "#2ecc40", "#ffdc00"),  # black, blue, red, green, yellow
    *("#aaaaaa", "#f012be", "#ff851b", "#7fdbff", "#870c25"),  # grey, fuchsia, orange, sky, maroon
)


class CannotShow(PuzzleError):
    """A puzzle that is not there, or of a kind that is not drawn."""


@dataclass(frozen=True, eq=False)
class Pair:
    """A question and its answer, uint8 [rows, columns] each: tokens of a Sudoku or maze, colours 0 .. 9 of ARC."""

    question: U8
    answer: U8
    kind: str = ""  # of a task's pairs: "demonstration", "test"
    number: int = 0  # among those of its kind, from 1

    @property
    def name(self) -> str:
        """What a person calls it; "" for the one pair of a Sudoku or maze."""
        return f"{self.kind} {self.number}" if self.kind else ""


@dataclass(frozen=True, eq=False)
class Look:
    """What is to be seen of a puzzle, in one of its variants. box: rows and columns of a Sudoku's box."""

    puzzle: str
    title: tuple[str, ...]
    pairs: tuple[Pair, ...]
    box: tuple[int, int] | None = None


def look(
    puzzles: PuzzleSet,
    number: int,
    *,
    split: str = "test",
    variant: int = 0,
    augmentation: MazeAugmentation | None = None,
) -> Look:
    """Puzzle `number` (counted from 0) of a split, in one of its variants; of ARC the whole task.

    augmentation: for mazes, "recomputed" if None. Variants are those of the set's own seed. Raises CannotShow.
    """
    manifest = puzzles.manifest
    if manifest.puzzle not in ("sudoku", "maze", "arc"):
        raise CannotShow(f"a set of {manifest.puzzle!r}: expected sudoku, maze or arc, no other is drawn")
    if split not in SPLITS:
        raise CannotShow(f"split {split!r}: expected one of {', '.join(SPLITS)} (--split)")
    if not 0 <= variant <= LAST_VARIANT:
        raise CannotShow(f"variant {variant}: expected 0 (the original) to {LAST_VARIANT} (--variant)")
    if augmentation is not None and manifest.puzzle != "maze":
        raise CannotShow(f"augment {augmentation}: mazes alone have a choice; say --augment without a word behind it")
    if manifest.puzzle == "arc":
        if puzzles.groups is None:
            raise CannotShow("a set of ARC without groups: expected tasks; build it with `python -m data_prep arc`")
        return _look_at_task(puzzles, puzzles.groups, number, split, variant)
    rows = puzzles.splits[split]
    _check_number(number, len(rows), split, "puzzles")
    title = f"{split} {number}, variant {variant}, rating {rows.ratings[number]}"
    if manifest.box_rows and manifest.box_cols:
        return _look_at_sudoku(rows, number, variant, manifest.seed, (manifest.box_rows, manifest.box_cols), title)
    return _look_at_maze(rows, number, variant, manifest.seed, augmentation or "recomputed", title)


def _check_number(number: int, n: int, split: str, what: str) -> None:
    """Raises CannotShow where a split has no such puzzle or task."""
    if not 0 <= number < n:
        expected = f"0 to {n - 1}" if n else "another split, it is empty"
        raise CannotShow(f"{what[:-1]} {number}: the {split} split has {n} {what}, expected {expected}")


def _look_at_sudoku(split: Split, number: int, variant: int, seed: int, box: tuple[int, int], title: str) -> Look:
    one = slice(number, number + 1)
    boards = augment_sudoku(
        np.array(split.inputs[one]),
        np.array(split.labels[one]),
        np.array([number]),
        np.array([variant]),
        seed=seed,
        box_rows=box[0],
        box_cols=box[1],
    )
    return Look("sudoku", (title,), (_square_pair(*boards),), box)


def _look_at_maze(
    split: Split, number: int, variant: int, seed: int, augmentation: MazeAugmentation, title: str
) -> Look:
    one = slice(number, number + 1)
    boards = np.array(split.inputs[one]), np.array(split.labels[one])
    board, answer = augment_maze(*boards, np.array([number]), np.array([variant]), seed=seed, augmentation=augmentation)
    return Look("maze", (title, _told(board, answer)), (_square_pair(board, answer),))


def _square_pair(board: U8, answer: U8) -> Pair:
    """One square board and its answer, [1, L] each."""
    side = math.isqrt(board.shape[1])
    return Pair(board.reshape(side, side), answer.reshape(side, side))


def _told(board: U8, answer: U8) -> str:
    """Which path the answer of a maze is."""
    if is_published_path(solve(board)[0], answer)[0]:
        return "the answer is the path of the tie-break"
    if is_shortest_path(board, answer)[0]:
        return "the answer is a shortest path, but not that of the tie-break"
    return "the answer is no shortest path"


def _look_at_task(puzzles: PuzzleSet, groups: Groups, number: int, split: str, variant: int) -> Look:
    """Task `number` of those with a pair in the split, whole: what is learnt from, then its tests."""
    tasks = np.unique(puzzles.splits[split].puzzle_ids)
    _check_number(number, len(tasks), split, "tasks")
    task = tasks[number : number + 1]
    name = groups.names[groups.of(task)[0]].decode()
    n = int(n_variants(groups, task)[0])
    if variant >= n:
        raise CannotShow(
            f"variant {variant}: expected 0 (the original) to {n - 1}, as many as task {name} has (--variant)"
        )
    parts = {part: _pairs(puzzles, groups, part, int(task[0]), variant) for part in SPLITS}
    tests = parts["validation"] + parts["test"]
    title = [f"{split} {number}: task {name}, variant {variant} of {n - 1}"]
    if not tests:
        title.append("all of it is learnt from: the last examples are its tests")
    learnt = [Pair(*grids, "demonstration" if tests else "example", i) for i, grids in enumerate(parts["train"], 1)]
    return Look("arc", tuple(title), (*learnt, *(Pair(*grids, "test", i) for i, grids in enumerate(tests, 1))))


def _pairs(puzzles: PuzzleSet, groups: Groups, split: str, task: int, variant: int) -> list[tuple[U8, U8]]:
    """The grids of a task in a split, as colours [rows, columns]."""
    rows, side = puzzles.splits[split], math.isqrt(puzzles.cells)
    examples = np.flatnonzero(rows.puzzle_ids == task)
    untouched = np.zeros(len(examples), dtype=np.int32)  # the code that undoes nothing
    drawn = draw_arc(
        rows,
        groups,
        examples,
        np.full(len(examples), variant),
        side=side,
        seed=puzzles.manifest.seed,
        translate=False,
    )
    questions, answers = (map(unpack, restore(boards, untouched, side=side)) for boards in drawn[:2])
    return list(zip(questions, answers, strict=True))


# --- in a terminal ---


def for_this_terminal(seen: Look) -> str:
    """The drawing for standard output: its width, and the codes of its colours if it has any."""
    console = Console(highlight=False)
    coloured = console.is_terminal and console.color_system is not None and not console.no_color
    with console.capture() as captured:
        console.print(in_characters(seen, columns=console.width, coloured=coloured), soft_wrap=True)
    return captured.get().removesuffix("\n")


def in_characters(seen: Look, *, columns: int = 80, coloured: bool = False) -> Text:
    """The drawing, on lines of so many columns if they fit it.

    coloured: for a terminal that shows styles: ARC's cells are then blocks of colour in place of digits.
    """
    first = seen.pairs[0]
    if seen.puzzle == "arc":
        lines = _task(seen.pairs, columns, coloured)
    elif seen.box is not None:
        boards = [_sudoku(cells, first.question, seen.box) for cells in (first.question, first.answer)]
        lines = _side_by_side(*boards, columns=columns)
    else:
        wide = 2 * (2 * first.question.shape[1] + 2) + len(GAP) <= columns
        boards = [_maze(cells, 2 if wide else 1) for cells in (first.question, first.answer)]
        lines = _side_by_side(*boards, columns=columns)
    return Text("\n").join([*map(Text, seen.title), Text(), *lines])


def _stacked(*blocks: list[Text]) -> list[Text]:
    """Blocks one below the other, an empty line between them."""
    lines: list[Text] = []
    for block in blocks:
        lines += [Text(), *block] if lines else block
    return lines


def _side_by_side(*blocks: list[Text], columns: int, gap: str = GAP) -> list[Text]:
    """Blocks beside each other if that fits, else one below the other."""
    if _width(blocks, gap) > columns:
        return _stacked(*blocks)
    lines = []
    for parts in zip_longest(*blocks, fillvalue=Text()):
        line = Text()
        for i, (part, block) in enumerate(zip(parts, blocks, strict=True)):
            line.append_text(part)
            if i + 1 < len(blocks):
                line.append(" " * (_width([block]) - len(part)) + gap)
        lines.append(line)
    return lines


def _width(blocks: Sequence[list[Text]], gap: str = GAP) -> int:
    """Columns of blocks beside each other."""
    return sum(max(map(len, block)) for block in blocks) + len(gap) * (len(blocks) - 1)


def _sudoku(cells: U8, question: U8, box: tuple[int, int]) -> list[Text]:
    """The lines of a Sudoku, with rules between its boxes; what the question leaves blank is coloured."""
    box_rows, box_cols = box
    lines: list[Text] = []
    for r, row in enumerate(cells.tolist()):
        if r and r % box_rows == 0:
            lines.append(Text("".join("+" if mark == "|" else "-" for mark in lines[0].plain)))
        line = Text()
        for c, token in enumerate(row):
            line.append(" | " if c and c % box_cols == 0 else " " if c else "")
            line.append(DIGITS[token], style=FOUND if token != question[r, c] else "")
        lines.append(line)
    return lines


def _maze(cells: U8, cell_width: int) -> list[Text]:
    """The lines of a maze in a frame, every cell so many characters wide."""
    rule = "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * (cells.shape[1] * cell_width)
    upright = "\N{BOX DRAWINGS LIGHT VERTICAL}"
    lines = [Text(f"\N{BOX DRAWINGS LIGHT DOWN AND RIGHT}{rule}\N{BOX DRAWINGS LIGHT DOWN AND LEFT}")]
    for row in cells.tolist():
        line = Text(upright)
        for token in row:
            mark = BLOCK * cell_width if token == WALL else CHARACTERS[token].ljust(cell_width)
            line.append(mark, style=FOUND if token == PATH else "")
        lines.append(line.append(upright))
    lines.append(Text(f"\N{BOX DRAWINGS LIGHT UP AND RIGHT}{rule}\N{BOX DRAWINGS LIGHT UP AND LEFT}"))
    return lines


def _task(pairs: Sequence[Pair], columns: int, coloured: bool) -> list[Text]:
    """The pairs of a task, as many beside each other as fit, tests on lines of their own; narrow cells if need be."""
    wide = all(_width(_grids(pair, 2, coloured), " ") <= columns for pair in pairs)
    rows: list[list[list[Text]]] = []
    kind = None
    for pair in pairs:
        drawn = _side_by_side(*_grids(pair, 2 if wide else 1, coloured), columns=columns, gap=" ")
        block = [Text(f"{pair.name}, {_size(pair.question)} {RIGHT} {_size(pair.answer)}"), *drawn]
        if pair.kind == kind and _width([*rows[-1], block]) <= columns:
            rows[-1].append(block)
        else:
            rows.append([block])
        kind = pair.kind
    return _stacked(*(_side_by_side(*row, columns=columns) for row in rows))


def _size(grid: U8) -> str:
    """How a grid's size is written, rows first."""
    return f"{grid.shape[0]}x{grid.shape[1]}"


def _grids(pair: Pair, cell_width: int, coloured: bool) -> list[list[Text]]:
    """Input, arrow and output of a pair: three blocks."""
    arrow = [*[Text()] * ((len(pair.question) - 1) // 2), Text(RIGHT)]
    return [_grid(pair.question, cell_width, coloured), arrow, _grid(pair.answer, cell_width, coloured)]


def _grid(cells: U8, cell_width: int, coloured: bool) -> list[Text]:
    """The lines of a grid: blocks of colour, or digits."""
    if not coloured:
        return [Text((" " * (cell_width - 1)).join(map(str, row))) for row in cells.tolist()]
    return [
        Text.assemble(*((" " * cell_width * len(list(run)), f"on {COLOURS[colour]}") for colour, run in groupby(row)))
        for row in cells.tolist()
    ]
