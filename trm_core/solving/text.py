"""A thought in a terminal: the board after every step, as many side by side as fit, what changed and is wrong marked.

In characters everywhere, in colours too where the terminal has them; NO_COLOR turns them off. A terminal that cannot
say a letter is given another one.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from rich.console import Console
from rich.text import Text

from data_prep.maze import CHARACTERS
from data_prep.maze_kernels import PATH, WALL
from data_prep.show import BLOCK, COLOURS, DIGITS, FOUND
from trm_core.solving.thought import FIRST_COLOUR, U8, Bool, Thought

COLUMNS = 80
GAP = "   "
CHANGED, WRONG, BOTH = "+", "x", "*"
STYLES = {" ": "", CHANGED: "green", WRONG: "bold red", BOTH: "bold magenta"}
LEGEND = f"{CHANGED} changed in this step   {WRONG} wrong   {BOTH} changed, and wrong"
WIDE_UP_TO = 18  # cells of a side; larger boards have no room for a mark beside each cell: it takes the cell's place


def for_this_terminal(thoughts: Sequence[Thought]) -> str:
    """The drawing for standard output: its width, its letters, and the codes of its colours if it has any."""
    console = Console(highlight=False)
    coloured = console.is_terminal and console.color_system is not None and not console.no_color
    columns = console.width if console.is_terminal else COLUMNS
    letters = can_say(BLOCK, sys.stdout.encoding)
    drawn = in_characters(thoughts, columns=columns, coloured=coloured, letters=letters)
    if not coloured:
        return drawn.plain
    with console.capture() as captured:
        console.print(drawn, soft_wrap=True)
    return captured.get().removesuffix("\n")


def can_say(text: str, encoding: str | None) -> bool:
    """Whether an output of this encoding has these letters."""
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def in_characters(
    thoughts: Sequence[Thought], *, columns: int = COLUMNS, coloured: bool = False, letters: bool = True
) -> Text:
    """All of them, on lines of so many columns where a board fits in them. letters: beyond ASCII."""
    lines = _wrapped(thoughts[0].model, columns) + _wrapped(LEGEND, columns)
    for thought in thoughts:
        blocks = [_captioned("question", "", _board(thought, thought.question, None, None, coloured, letters))]
        for step in range(1, thought.steps + 1):
            answer, changed = thought.answers[step - 1], thought.changed(step)
            wrong = thought.wrong(answer)
            found = f"{changed.sum()} changed" if thought.answer is None else f"{wrong.sum()} wrong"
            marked = _board(thought, answer, changed, wrong, coloured, letters)
            blocks.append(_captioned(f"step {step}, {found}", f"halts p={thought.halting[step - 1]:.2f}", marked))
        if thought.answer is not None and not thought.solved:
            blocks.append(_captioned("answer", "", _board(thought, thought.answer, None, None, coloured, letters)))
        title = _wrapped(f"{thought.name}: {thought.outcome()}", columns, style="bold")
        lines += [Text(), *title, Text(), *beside(blocks, columns)]
    return Text("\n").join(lines)


def _wrapped(text: str, columns: int, style: str = "") -> list[Text]:
    return [Text(line, style=style) for line in textwrap.wrap(text, columns, drop_whitespace=True)]


def beside(blocks: Sequence[list[Text]], columns: int) -> list[Text]:
    """Blocks of lines in rows, as many beside each other as fit, every one as wide as the widest."""
    width = max(len(line) for block in blocks for line in block)
    at_once = max(1, (columns + len(GAP)) // (width + len(GAP)))
    lines: list[Text] = []
    for first in range(0, len(blocks), at_once):
        lines += [Text()] if lines else []
        for parts in zip_longest(*blocks[first : first + at_once], fillvalue=Text()):
            line = Text()
            for i, part in enumerate(parts):
                line.append_text(part)
                if i + 1 < len(parts):
                    line.append(" " * (width - len(part)) + GAP)
            line.rstrip()
            lines.append(line)
    return lines


def _captioned(first: str, second: str, board: list[Text]) -> list[Text]:
    """A board below its caption of two lines, so that boards beside each other align."""
    return [Text(first), Text(second), *board]


def _board(
    thought: Thought, tokens: U8, changed: Bool | None, wrong: Bool | None, coloured: bool, letters: bool
) -> list[Text]:
    """The lines of a board [L]; changed, wrong [L], where there is something to mark."""
    cells, question = thought.board(tokens), thought.board(thought.question)
    nothing = np.zeros(len(tokens), dtype=bool)
    marks = np.full(len(tokens), " ")
    for mark, which in (
        (CHANGED, nothing if changed is None else changed),
        (WRONG, nothing if wrong is None else wrong),
        (BOTH, nothing if changed is None or wrong is None else changed & wrong),
    ):
        marks[which] = mark
    drawn = thought.board(marks)
    wide = cells.shape[1] <= WIDE_UP_TO
    lines: list[Text] = []
    for r, row in enumerate(cells.tolist()):
        if thought.box is not None and r and r % thought.box[0] == 0:
            lines.append(Text("".join("+" if c == "|" else "-" for c in lines[0].plain)))
        line = Text()
        for c, token in enumerate(row):
            mark = str(drawn[r, c])
            if thought.box is not None and c and c % thought.box[1] == 0:
                line.append("| ")
            letter, style = _cell(thought, token, bool(token == question[r, c]), coloured, letters)
            if wide:
                line.append(letter, style=f"{style} {STYLES[mark]}".strip())
                line.append(
                    letter if token == WALL and thought.puzzle == "maze" and mark == " " else mark, STYLES[mark]
                )
            elif mark == " ":
                line.append(letter, style=style)
            else:
                line.append(mark, style=f"{STYLES[mark]} reverse" if coloured else "")
        lines.append(line)
    return lines


def _cell(thought: Thought, token: int, given: bool, coloured: bool, letters: bool) -> tuple[str, str]:
    """A cell's letter and style."""
    if thought.puzzle == "sudoku":
        return (DIGITS[token] if token < len(DIGITS) else "?"), "" if given else FOUND
    if thought.puzzle == "maze":
        if token == WALL:
            return (BLOCK if letters else "#"), "dim"
        letter = CHARACTERS[token] if 0 < token < len(CHARACTERS) else "?"
        return letter, FOUND if token == PATH else ""
    colour = token - FIRST_COLOUR
    if not 0 <= colour < len(COLOURS):
        return ".", ""
    return str(colour), f"{'black' if colour in LIGHT else 'white'} on {COLOURS[colour]}" if coloured else ""


LIGHT = (3, 4, 5, 7, 8)  # ARC's colours on which black can be read
