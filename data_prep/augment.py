"""Symmetries of a puzzle as a pure function of (seed, puzzle, variant): nothing is stored, nothing is carried on."""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_prep.counter_hash import draws, states


@dataclass(frozen=True)
class Symmetry:
    """One symmetry per board of a batch: new[r, c] = digits[old[rows[r], columns[c]]], old turned first if transposed.

    rows, columns: int64 [B, side]. digits: int64 [B, side], the new digit (0-based) of each old one.
    transposed: bool [B].
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    digits: NDArray[np.int64]
    transposed: NDArray[np.bool_]

    def apply(self, boards: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The images of token boards uint8 [B, L]; pad and blank stay."""
        sources, tokens = self._maps()
        return _look_up(tokens, _look_up(boards, sources))

    def apply_pair(
        self, inputs: NDArray[np.uint8], labels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """apply() to questions and answers alike, uint8 [B, L] each."""
        sources, tokens = self._maps()
        return _look_up(tokens, _look_up(inputs, sources)), _look_up(tokens, _look_up(labels, sources))

    def inverse(self) -> "Symmetry":
        """The symmetry that undoes this one, exactly."""
        rows, columns = np.argsort(self.rows, axis=1), np.argsort(self.columns, axis=1)
        turned = self.transposed[:, None]
        return Symmetry(
            rows=np.where(turned, columns, rows),
            columns=np.where(turned, rows, columns),
            digits=np.argsort(self.digits, axis=1),
            transposed=self.transposed,
        )

    def _maps(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """The old cell of each new cell, int64 [B, L], and the new token of each old token, uint8 [B, side + 2]."""
        n, side = self.rows.shape
        down = np.where(self.transposed, 1, side)[:, None]  # how far apart two cells of a column lie
        across = np.where(self.transposed, side, 1)[:, None]
        sources = ((self.rows * down)[:, :, None] + (self.columns * across)[:, None, :]).reshape(n, side * side)
        tokens = np.empty((n, side + 2), dtype=np.uint8)
        tokens[:, :2] = 0, 1
        tokens[:, 2:] = self.digits + 2
        return sources, tokens


def _look_up(table: NDArray[np.uint8], index: NDArray[np.int64] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """table[b, index[b, i]] for all b and i: uint8 [B, any] by [B, L] to uint8 [B, L]."""
    starts = np.arange(table.shape[0], dtype=np.int64)[:, None] * table.shape[1]
    found: NDArray[np.uint8] = np.take(table.reshape(-1), index + starts)
    return found


def _grouped_order(keys: NDArray[np.uint64], size: int) -> NDArray[np.int64]:
    """An order of the lines that keeps groups of `size` together: groups and the lines within them in random order.

    keys: uint64 [B, n_groups + side], first one for each group, then one for each line. Returns int64 [B, side].
    """
    n = keys.shape[0]
    n_groups = keys.shape[1] // (size + 1)
    groups = np.argsort(keys[:, :n_groups], axis=1, kind="stable")
    within = np.argsort(keys[:, n_groups:].reshape(n, n_groups, size), axis=2, kind="stable")
    return (groups[:, :, None] * size + within).reshape(n, n_groups * size)


def variant_symmetry(
    puzzle_index: NDArray[np.int64], variant: NDArray[np.int64], *, seed: int, box_rows: int, box_cols: int
) -> Symmetry:
    """The symmetry of each (puzzle, variant) under a seed; variant 0 is the identity.

    Digits, bands, rows within bands, stacks and columns within stacks are each in uniformly random order (sorted by
    64-bit hashes); a square box is transposed half the time. puzzle_index, variant: int64 [B].
    """
    side = box_rows * box_cols
    counts = np.cumsum([side, box_cols + side, box_rows + side])
    keys = draws(states(seed, puzzle_index, variant), int(counts[-1]) + 1)
    original = (variant == 0)[:, None]
    in_place = np.arange(side)
    digits = np.argsort(keys[:, : counts[0]], axis=1, kind="stable")
    rows = _grouped_order(keys[:, counts[0] : counts[1]], box_rows)
    columns = _grouped_order(keys[:, counts[1] : counts[2]], box_cols)
    coin = keys[:, -1] >> np.uint64(63) == 1
    return Symmetry(
        rows=np.where(original, in_place, rows),
        columns=np.where(original, in_place, columns),
        digits=np.where(original, in_place, digits),
        transposed=coin & (variant != 0) & (box_rows == box_cols),
    )


def augment_sudoku(
    inputs: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    puzzle_index: NDArray[np.int64],
    variant: NDArray[np.int64],
    *,
    seed: int,
    box_rows: int,
    box_cols: int,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The given variant of each Sudoku and of its answer; variant 0 is the original.

    inputs, labels: uint8 [B, L]. puzzle_index, variant: int64 [B]. Returns new arrays of the same shape. Each row
    depends on its own puzzle, index and variant and on the seed, not on the batch it stands in.
    """
    symmetry = variant_symmetry(puzzle_index, variant, seed=seed, box_rows=box_rows, box_cols=box_cols)
    return symmetry.apply_pair(inputs, labels)


# --- the eight symmetries of a square ---

MIRROR = 4  # the left-right mirror's place among the moves
INVERSE_MOVES = np.array([0, 3, 2, 1, 4, 5, 6, 7])  # the move that undoes each


@functools.lru_cache
def dihedral_sources(side: int) -> NDArray[np.int64]:
    """The old cell of each new cell of a square board for each of its symmetries: int64 [8, L].

    In the released code's order: as it is, turned left by 90, 180 and 270 degrees, mirrored left-right, upside down,
    transposed, transposed along the other diagonal.
    """
    board = np.arange(side * side, dtype=np.int64).reshape(side, side)
    images = [np.rot90(board, turns) for turns in range(4)]
    images += [np.fliplr(board), np.flipud(board), board.T, np.fliplr(np.rot90(board))]
    sources = np.stack(images).reshape(8, -1)
    sources.flags.writeable = False
    return sources


def move(boards: NDArray[np.uint8], moves: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The image of each square board uint8 [B, L] under its move int64 [B], 0 .. 7; INVERSE_MOVES[moves] undoes it."""
    return _look_up(boards, dihedral_sources(math.isqrt(boards.shape[1]))[moves])


def variant_moves(puzzle_index: NDArray[np.int64], variant: NDArray[np.int64], *, seed: int) -> NDArray[np.int64]:
    """The move of each (puzzle, variant) under a seed, int64 [B]; variant 0 is the identity.

    Variants 0 .. 7 of a puzzle are the eight moves, each once, the seven others in an order of the puzzle's own; then
    they repeat.
    """
    keys = draws(states(seed, puzzle_index, np.zeros_like(puzzle_index)), 7)
    others = np.argsort(keys, axis=1, kind="stable").astype(np.int64) + 1
    order = np.concatenate([np.zeros((len(others), 1), dtype=np.int64), others], axis=1)
    return np.asarray(order[np.arange(len(order)), variant % 8])
