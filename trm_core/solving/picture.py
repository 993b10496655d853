"""A thought as a picture (a sheet of all its steps, a strip of a few) and as a film; equal thoughts, equal bytes.

What a step changed is yellow in a Sudoku and has a dot elsewhere; what is wrong is red, with a cross.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.maze_kernels import GOAL, OPEN, PATH, START, WALL
from data_prep.pictures import FAINT, FOUND, INK, LINE, MAZE
from data_prep.show import COLOURS, DIGITS
from trm_core.solving.thought import FIRST_COLOUR, U8, Bool, Thought

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

DOTS_PER_INCH = 120
BOARD, LARGE_BOARD = 1.7, 3.4  # inches along a side: in a sheet or strip, and in a film
GAP, CAPTION, TITLE = 0.18, 0.42, 0.36  # inches
IN_A_ROW = 6
MOST_BOARDS = 400  # of one picture, or frames of a film
PAPER, YELLOW, RED, PALE_RED, NOTHING = "#ffffff", "#fff0b3", "#c62f2d", "#ffd6d2", "#eceff1"
N_COLOURS = 96
FRAME_MS, LAST_FRAME_MS = 700, 2500


class TooMuch(ValueError):
    """More boards than a picture or a film can take."""


def sheet(thoughts: Sequence[Thought]) -> Figure:
    """The question and the answer after every step, a block of rows for each puzzle. Raises TooMuch."""
    n_boards = sum(1 + thought.steps for thought in thoughts)
    if n_boards > MOST_BOARDS:
        raise TooMuch(f"a picture of {n_boards} boards, expected at most {MOST_BOARDS}; give fewer puzzles or --steps")
    return _drawn([(thought, f"{thought.name}: {thought.outcome()}", _every(thought)) for thought in thoughts])


def strip(*thoughts: Thought, most: int = IN_A_ROW, title: str | None = None) -> Figure:
    """One row each: the question and the steps that tell most, `most` boards in all. title: its own if None, "": none.

    For the top of a page: a study's, README's. `png` and `svg` turn it into bytes and text.
    """
    titles = [f"{one.model} · {one.name}: {one.outcome()}" if title is None else title for one in thoughts]
    return _drawn([(one, text, telling(one, most)) for one, text in zip(thoughts, titles, strict=True)], in_a_row=most)


def telling(thought: Thought, most: int) -> list[int]:
    """Steps to show, the question (0) first: the first, that after which nothing changed, and of those between them
    the ones that changed most cells."""
    last = thought.settled_at
    chosen = {last, 1} if most > 2 else {last}
    between = [step for step in range(2, last) if thought.changed(step).any()]
    between.sort(key=lambda step: (-int(thought.changed(step).sum()), step))
    return [0, *sorted(chosen | set(between[: most - 1 - len(chosen)]))]


def png(figure: Figure) -> bytes:
    """A figure's bytes."""
    file = io.BytesIO()
    _image(figure).save(file, "PNG", optimize=True)
    return file.getvalue()


def svg(figure: Figure) -> str:
    """A figure as an <svg> element, to stand in a page."""
    import matplotlib

    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "trm", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()[file.getvalue().index("<svg") :]


def gif(thoughts: Sequence[Thought]) -> bytes:
    """A film: a frame per step, the board and beside it how far z moved in each cell; one puzzle after another."""
    n_frames = sum(1 + thought.steps for thought in thoughts)
    if n_frames > MOST_BOARDS:
        raise TooMuch(f"a film of {n_frames} frames, expected at most {MOST_BOARDS}; give fewer puzzles or --steps")
    frames, lengths = [], []
    for thought in thoughts:
        for step in range(thought.steps + 1):
            frames.append(_image(_frame(thought, step)))
            lengths.append(LAST_FRAME_MS if step == thought.steps else FRAME_MS)
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=lengths, loop=0, optimize=True)
    return file.getvalue()


def _image(figure: Figure) -> Image:
    """A figure's pixels, in as many colours as it takes to look the same."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())[:, :, :3]  # type: ignore[no-untyped-call]
    return Image.fromarray(pixels.copy()).quantize(N_COLOURS, dither=Image.Dither.NONE)


def _every(thought: Thought) -> list[int]:
    return list(range(thought.steps + 1))


def _drawn(blocks: Sequence[tuple[Thought, str, list[int]]], in_a_row: int = IN_A_ROW) -> Figure:
    """Boards in rows below a title for each puzzle; step 0 is the question."""
    from matplotlib.figure import Figure

    columns = max(min(in_a_row, len(steps)) for _, _, steps in blocks)
    across, down = BOARD + GAP, BOARD + CAPTION
    heights = [(TITLE if title else 0.1) + down * -(-len(steps) // columns) for _, title, steps in blocks]
    width, height = columns * across + GAP, sum(heights) + GAP
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor=PAPER)
    top = height
    for (thought, title, steps), block in zip(blocks, heights, strict=True):
        if title:
            size = min(10.0, 72 * (width - 2 * GAP) / (0.55 * len(title)))  # points, so that it fits
            figure.text(
                GAP / width,
                (top - 0.12) / height,
                title,
                ha="left",
                va="top",
                fontsize=size,
                color=INK,
                parse_math=False,
            )
        for i, step in enumerate(steps):
            left = GAP + i % columns * across
            bottom = top - (TITLE if title else 0.1) - (i // columns + 1) * down
            axes = figure.add_axes((left / width, bottom / height, BOARD / width, BOARD / height))
            _step(axes, thought, step)
            axes.set_title(caption(thought, step), fontsize=8, color=INK, pad=3, linespacing=1.25)
        top -= block
    return figure


def caption(thought: Thought, step: int) -> str:
    """What stands over a board."""
    if step == 0:
        return "question"
    wrong = int(thought.wrong(thought.answers[step - 1]).sum())
    judged = "" if thought.answer is None else "solved, " if not wrong else f"{wrong} wrong, "
    return f"step {step}\n{judged}halts p={thought.halting[step - 1]:.2f}"


def _frame(thought: Thought, step: int) -> Figure:
    from matplotlib.figure import Figure

    width, height = 2 * LARGE_BOARD + 3 * GAP, LARGE_BOARD + TITLE + CAPTION + GAP
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH * 3 / 4, facecolor=PAPER)
    figure.text(
        GAP / width, 1 - 0.1 / height, thought.name[:60], ha="left", va="top", fontsize=10, color=INK, parse_math=False
    )
    places = [(GAP, caption(thought, step).replace("\n", ": ")), (LARGE_BOARD + 2 * GAP, "how far z moved, by cell")]
    for i, (left, text) in enumerate(places):
        axes = figure.add_axes((left / width, GAP / height, LARGE_BOARD / width, LARGE_BOARD / height))
        axes.set_title(text, fontsize=10, color=INK, pad=5)
        if i == 0:
            _step(axes, thought, step)
        else:
            heat = np.sqrt(thought.moved.mean(axis=1))  # the first step goes furthest by far
            now = np.zeros(len(thought.question)) if step == 0 else heat[step - 1]
            axes.imshow(thought.board(now), cmap="magma", vmin=0, vmax=float(heat.max()) or 1)
            _bare(axes)
    return figure


def _step(axes: Axes, thought: Thought, step: int) -> None:
    if step == 0:
        draw_board(axes, thought, thought.question)
    else:
        answer = thought.answers[step - 1]
        draw_board(axes, thought, answer, thought.changed(step), thought.wrong(answer))


def draw_board(
    axes: Axes, thought: Thought, tokens: U8, changed: Bool | None = None, wrong: Bool | None = None
) -> None:
    """A board [L], marked where it changed and is wrong [L]."""
    nothing = np.zeros(len(tokens), dtype=bool)
    cells, question = thought.board(tokens), thought.board(thought.question)
    marks = [thought.board(nothing if which is None else which) for which in (changed, wrong)]
    draw = {"sudoku": _sudoku, "maze": _maze, "arc": _arc}[thought.puzzle]
    draw(axes, thought, cells, question, *marks)


def _colours(axes: Axes, colours: Any) -> None:
    """Cells as squares of their colours, names [rows, columns], the first at the top left."""
    from matplotlib.colors import to_rgb

    axes.imshow(np.array([[to_rgb(colour) for colour in row] for row in colours]), interpolation="nearest")
    _bare(axes)


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0, labelbottom=False, labelleft=False)
    for spine in axes.spines.values():
        spine.set(color=LINE, linewidth=1)


def _rules(axes: Axes, shape: tuple[int, ...], every: tuple[int, int], color: str, width: float) -> None:
    rows, columns = shape
    axes.hlines(np.arange(every[0], rows, every[0]) - 0.5, -0.5, columns - 0.5, colors=color, linewidth=width)
    axes.vlines(np.arange(every[1], columns, every[1]) - 0.5, -0.5, rows - 0.5, colors=color, linewidth=width)


def _size(axes: Axes, n: int, share: float) -> float:
    """Points that are this share of a cell, of n along the side."""
    assert axes.figure is not None
    return float(72 * axes.get_position().width * axes.figure.get_figwidth() / n * share)  # type: ignore[union-attr]


def _sudoku(axes: Axes, thought: Thought, cells: Any, question: Any, changed: Any, wrong: Any) -> None:
    assert thought.box is not None
    _colours(axes, np.where(wrong, PALE_RED, np.where(changed, YELLOW, PAPER)))
    _rules(axes, cells.shape, (1, 1), FAINT, 0.6)
    _rules(axes, cells.shape, thought.box, INK, 1.4)
    for spine in axes.spines.values():
        spine.set(color=INK, linewidth=1.4)
    for (row, column), token in np.ndenumerate(cells):
        if token == 1 and not wrong[row, column]:
            continue
        given = token == question[row, column]
        axes.text(
            column,
            row,
            DIGITS[token] if token < len(DIGITS) else "?",
            ha="center",
            va="center_baseline",
            fontsize=_size(axes, len(cells), 0.62),
            fontweight="bold" if wrong[row, column] else "normal",
            color=RED if wrong[row, column] else INK if given else FOUND,
        )


def _maze(axes: Axes, thought: Thought, cells: Any, question: Any, changed: Any, wrong: Any) -> None:
    colours = np.full(cells.shape, NOTHING)
    for token in (WALL, OPEN, START, GOAL, PATH):
        colours[cells == token] = MAZE[token]
    _colours(axes, colours)
    for token, letter in ((START, "S"), (GOAL, "G")):
        for row, column in np.argwhere(cells == token):
            size = _size(axes, len(cells), 0.7)
            axes.text(column, row, letter, ha="center", va="center_baseline", fontsize=size, color=INK)
    _marks(axes, cells, changed, wrong)


def _arc(axes: Axes, thought: Thought, cells: Any, question: Any, changed: Any, wrong: Any) -> None:
    colours = np.full(cells.shape, NOTHING)
    for colour, name in enumerate(COLOURS):
        colours[cells == FIRST_COLOUR + colour] = name
    _colours(axes, colours)
    _rules(axes, cells.shape, (1, 1), LINE, 0.4)
    _marks(axes, cells, changed, wrong)


def _marks(axes: Axes, cells: Any, changed: Any, wrong: Any) -> None:
    """A dot where a step changed a cell, a cross where it is wrong; each on a rim, to be seen on any colour."""
    for which, marker, colour, share in ((changed & ~wrong, "o", FOUND, 0.28), (wrong, "X", RED, 0.5)):
        rows, columns = np.nonzero(which)
        size = _size(axes, max(cells.shape), share)
        axes.scatter(columns, rows, s=size**2, marker=marker, color=colour, edgecolors=PAPER, linewidths=size / 9)
    axes.set(xlim=(-0.5, cells.shape[1] - 0.5), ylim=(cells.shape[0] - 0.5, -0.5))
