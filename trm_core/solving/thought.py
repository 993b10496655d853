"""What is recorded of a model that solves a puzzle; no torch, so that whoever draws it needs none."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
Bool = NDArray[np.bool_]
F32 = NDArray[np.float32]

FIRST_COLOUR = 2  # the token of ARC's colour 0; below it pad and end mark


@dataclass(frozen=True, eq=False)
class Asked:
    """One puzzle: tokens [L], the right answer where it is known and alone, and the identifier it is asked under."""

    name: str
    question: U8
    answer: U8 | None
    puzzle_id: int = 0


def printable(text: str) -> str:
    """A name as any terminal and page can show it: what is no letter is a question mark."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


@dataclass(frozen=True, eq=False)
class Thought:
    """S supervision steps of R = T(n+1) recursions on one puzzle of L cells, a square board row by row.

    boards: what the model would answer after each of the T deep recursions of a step; the last is the step's answer.
    moved: how far each cell's feature went in each recursion, ‖new − old‖ / √D of the feature that was renewed. (The
    networks end in an RMS norm without gain: ‖z‖ itself is √D in every cell after every recursion.)
    """

    name: str  # of the puzzle: "test 17"
    puzzle: str  # "sudoku", "maze", "arc"
    model: str  # which model it was, in a line
    box: tuple[int, int] | None  # rows and columns of a Sudoku's box
    question: U8  # tokens [L]
    answer: U8 | None  # tokens [L]; None where there are several
    boards: U8  # tokens [S, T, L]
    halting: F32  # the halting head's probability after each step [S]
    halted_at: int  # the first step after which it asks to halt; 0: none
    moved: F32  # [S, R, L]
    renewed: tuple[str, ...]  # "z" or "y", by recursion [R]

    @property
    def side(self) -> int:
        """Cells along a side of the board."""
        return math.isqrt(len(self.question))

    @property
    def steps(self) -> int:
        """S."""
        return len(self.boards)

    @property
    def answers(self) -> U8:
        """The answer after each supervision step [S, L]."""
        return self.boards[:, -1]

    @cached_property
    def counts(self) -> Bool:
        """Which cells an answer is held to [L]: of ARC those of the answer's grid and of its end marks."""
        if self.answer is None:
            return np.zeros(len(self.question), dtype=bool)
        return np.asarray(self.answer != 0)

    def wrong(self, board: U8) -> Bool:
        """Which cells of a board [..., L] are not as in the answer; none where that is not known."""
        return np.asarray(self.counts & (board != (self.question if self.answer is None else self.answer)))

    def changed(self, step: int) -> Bool:
        """Which cells of the answer [L] were changed by step, counted from 1: in the first, those it filled in."""
        before = self.question if step == 1 else self.answers[step - 2]
        changed = self.answers[step - 1] != before
        if self.puzzle == "arc" and step == 1:  # the question is another picture
            changed = np.zeros_like(changed)
        return np.asarray(changed & (self.counts | (self.answer is None)))

    @property
    def solved(self) -> bool:
        """Whether the last answer is right in every cell."""
        return self.answer is not None and not self.wrong(self.answers[-1]).any()

    @property
    def settled_at(self) -> int:
        """The step after which the answer did not change any more."""
        same = (self.answers == self.answers[-1])[:, self.counts | (self.answer is None)].all(axis=1)
        return int(self.steps - np.argmin(same[::-1])) + 1 if not same.all() else 1

    def outcome(self) -> str:
        """What came of it, in a sentence."""
        last = self.answers[-1]
        if self.answer is None:
            found = "not judged: the puzzle has several answers"
        elif self.solved:
            found = "solved"
        else:
            n = int(self.wrong(last).sum())
            found = f"not solved, {n} cell{'s' * (n != 1)} wrong"
        halts = f"asks to halt at step {self.halted_at}" if self.halted_at else "never asks to halt"
        return f"{found}; settled at step {self.settled_at} of {self.steps}; {halts}"

    @cached_property
    def shown(self) -> tuple[int, int]:
        """Rows and columns that are worth drawing: of ARC's canvas what the question and the answer cover."""
        if self.puzzle != "arc":
            return self.side, self.side
        covers = ((self.question >= FIRST_COLOUR) | self.counts).reshape(self.side, self.side)
        rows, columns = (int(np.flatnonzero(covers.any(axis=axis)).max(initial=0)) + 1 for axis in (1, 0))
        return rows, columns

    def board(self, tokens: NDArray[np.generic]) -> NDArray[np.generic]:
        """Values of cells [L], as the rows and columns that are drawn."""
        rows, columns = self.shown
        return tokens.reshape(self.side, self.side)[:rows, :columns]
