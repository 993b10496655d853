"""What is compiled: the solver, the generator, the canonical form, the CSV scanner. All of it in one file on purpose.

numba's cache notices a change of the file a function stands in, not of one it calls into; so callers and callees
share this file. Boards inside are bitmasks (0 blank, digit d is 1 << (d - 1)); a geometry is the pair
(places, units): places int64 [L, 3] = row, column and box of a cell; units int64 [3 * side, side] = the cells of each.
"""

import contextlib
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

# Where Ray has brought colorama along, numba colours its errors, and colorama then ends every program with an escape.
os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")

import numba
import numpy as np
from numpy.typing import NDArray

from data_prep import counter_hash

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile with numba, keep the machine code beside this file, release the GIL while it runs."""
    try:
        found = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # nowhere to keep it: code that can only be read, and no home. It is compiled each time
        return cast(Callable[P, R], numba.njit(nogil=True)(function))
    save = found._cache.save_overload

    def save_if_there_is_room(*compiled: object) -> None:
        with contextlib.suppress(OSError):  # a full disk; it is compiled each time
            save(*compiled)

    found._cache.save_overload = save_if_there_is_room
    return cast(Callable[P, R], found)


U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

GOLDEN = np.uint64(counter_hash.GOLDEN)
MULTIPLIER_1 = np.uint64(counter_hash.MULTIPLIER_1)
MULTIPLIER_2 = np.uint64(counter_hash.MULTIPLIER_2)
SHIFT_27, SHIFT_30, SHIFT_31 = np.uint64(27), np.uint64(30), np.uint64(31)

CONTRADICTION, STUCK, SOLVED = 0, 1, 2

# Offences the scanner finds in a CSV file, in the order in which it looks for them.
FINE, FIELD_COUNT, QUESTION_LENGTH, ANSWER_LENGTH, QUESTION_CHARACTER, ANSWER_CHARACTER = 0, 1, 2, 3, 4, 5
ANSWER_CONTRADICTS, NO_SUDOKU, RATING = 6, 7, 8


@compiled
def mix(state: np.uint64) -> np.uint64:
    """One step of splitmix64, as in counter_hash.mix."""
    z = state + GOLDEN
    z = (z ^ (z >> SHIFT_30)) * MULTIPLIER_1
    z = (z ^ (z >> SHIFT_27)) * MULTIPLIER_2
    return z ^ (z >> SHIFT_31)


@compiled
def below(stream: U64, bound: int) -> int:
    """A number in 0 .. bound-1 from the stream (its state [1] moves on); the bias is below bound / 2**32."""
    value = mix(stream[0])
    stream[0] += GOLDEN
    return int(((value >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@compiled
def shuffle(order: I64, stream: U64) -> None:
    """Fisher-Yates, in place."""
    for i in range(order.shape[0] - 1, 0, -1):
        j = below(stream, i + 1)
        order[i], order[j] = order[j], order[i]


@compiled
def n_bits(mask: int) -> int:
    """How many digits a mask holds."""
    count = 0
    while mask:
        mask = mask & (mask - 1)
        count += 1
    return count


@compiled
def copy(source: I64, target: I64) -> None:
    """target[:] = source for one axis, as a loop: numba takes seconds to compile the slice."""
    for i in range(source.shape[0]):
        target[i] = source[i]


@compiled
def fill_masks(board: I64, used: I64, places: I64) -> bool:
    """Which digits each row, column and box holds, into used [3, side]; False if one holds a digit twice."""
    for kind in range(3):
        for unit in range(used.shape[1]):
            used[kind, unit] = 0
    for cell in range(board.shape[0]):
        bit = board[cell]
        if bit:
            for kind in range(3):
                unit = places[cell, kind]
                if used[kind, unit] & bit:
                    return False
                used[kind, unit] |= bit
    return True


@compiled
def candidates(used: I64, places: I64, cell: int, full: int) -> int:
    """The digits that no row, column or box of an empty cell holds yet."""
    held = used[0, places[cell, 0]] | used[1, places[cell, 1]] | used[2, places[cell, 2]]
    return int(full & ~held)


@compiled
def put(board: I64, used: I64, places: I64, cell: int, bit: int) -> None:
    """Write a digit and note it in its row, column and box."""
    board[cell] = bit
    for kind in range(3):
        used[kind, places[cell, kind]] |= bit


@compiled
def propagate(board: I64, used: I64, places: I64, units: I64, full: int) -> tuple[int, int]:
    """Naked and hidden singles to a fixed point, in place.

    Returns (CONTRADICTION, -1), (SOLVED, -1), or (STUCK, the empty cell with fewest candidates, lowest among equals).
    """
    n_cells = board.shape[0]
    changed = True
    while changed:
        changed = False
        for cell in range(n_cells):
            if board[cell] == 0:
                options = candidates(used, places, cell, full)
                if options == 0:
                    return CONTRADICTION, -1
                if options & (options - 1) == 0:
                    put(board, used, places, cell, options)
                    changed = True
        for unit in range(units.shape[0]):
            once, twice, held = 0, 0, 0
            for k in range(units.shape[1]):
                cell = units[unit, k]
                if board[cell]:
                    held |= board[cell]
                else:
                    options = candidates(used, places, cell, full)
                    twice |= once & options
                    once |= options
            if once | held != full:
                return CONTRADICTION, -1
            hidden = once & ~twice
            if hidden:
                for k in range(units.shape[1]):
                    cell = units[unit, k]
                    if board[cell] == 0:
                        found = candidates(used, places, cell, full) & hidden
                        if found:
                            if found & (found - 1):
                                return CONTRADICTION, -1
                            put(board, used, places, cell, found)
                            changed = True
    fewest, best = 99, -1
    for cell in range(n_cells):
        if board[cell] == 0:
            n_options = n_bits(candidates(used, places, cell, full))
            if n_options < fewest:
                fewest, best = n_options, cell
    return (SOLVED, -1) if best < 0 else (STUCK, best)


@compiled
def solve(givens: I64, places: I64, units: I64, limit: int, solution: I64) -> tuple[int, int]:
    """Count solutions up to a limit: (number found, guesses made up to the first).

    Singles to a fixed point, then branch on the cell with fewest candidates, digits ascending; each digit tried is one
    guess. givens: bitmasks [L]. The first solution goes into solution [L].
    """
    n_cells, side = givens.shape[0], units.shape[1]
    full = (1 << side) - 1
    boards = np.empty((n_cells + 1, n_cells), dtype=np.int64)  # the board at each open branching
    cells = np.empty(n_cells + 1, dtype=np.int64)
    options = np.empty(n_cells + 1, dtype=np.int64)  # the digits not tried yet there
    used = np.empty((3, side), dtype=np.int64)
    board = np.empty(n_cells, dtype=np.int64)
    copy(givens, board)
    depth, n_solutions, guesses, guesses_to_first = 0, 0, 0, 0
    while True:
        state, cell = CONTRADICTION, -1
        if fill_masks(board, used, places):
            state, cell = propagate(board, used, places, units, full)
        if state == SOLVED:
            n_solutions += 1
            if n_solutions == 1:
                copy(board, solution)
                guesses_to_first = guesses
            if n_solutions == limit:
                return n_solutions, guesses_to_first
        elif state == STUCK:
            copy(board, boards[depth])
            cells[depth] = cell
            options[depth] = candidates(used, places, cell, full)
            depth += 1
        while depth > 0 and options[depth - 1] == 0:
            depth -= 1
        if depth == 0:
            return n_solutions, guesses_to_first
        bit = options[depth - 1] & -options[depth - 1]
        options[depth - 1] ^= bit
        guesses += 1
        copy(boards[depth - 1], board)
        board[cells[depth - 1]] = bit


@compiled
def to_bits(tokens: U8, board: I64) -> None:
    """Tokens (0 pad, 1 blank, digit d is d + 1) to bitmasks, in place in board [L]."""
    for cell in range(tokens.shape[0]):
        board[cell] = 0 if tokens[cell] < 2 else 1 << (int(tokens[cell]) - 2)


@compiled
def to_tokens(board: I64, tokens: U8) -> None:
    """Bitmasks to tokens, in place in tokens [L]."""
    for cell in range(board.shape[0]):
        digit, bit = 0, board[cell]
        while bit:
            digit += 1
            bit >>= 1
        tokens[cell] = digit + 1


@compiled
def solve_all(inputs: U8, places: I64, units: I64, limit: int, counts: I64, guesses: I64, labels: U8) -> None:
    """solve() for every board of inputs [N, L]; counts [N], guesses [N] and labels [N, L] are filled."""
    board = np.empty(inputs.shape[1], dtype=np.int64)
    solution = np.empty(inputs.shape[1], dtype=np.int64)
    for i in range(inputs.shape[0]):
        to_bits(inputs[i], board)
        for cell in range(inputs.shape[1]):
            solution[cell] = 0
        counts[i], guesses[i] = solve(board, places, units, limit, solution)
        to_tokens(solution, labels[i])


@compiled
def fill_grid(places: I64, units: I64, stream: U64, grid: I64) -> bool:
    """A random full grid: always the cell with fewest candidates next, its digits in random order.

    Ties between cells are broken at random. Gives up (False) after 100 guesses per cell; the caller draws again.
    """
    n_cells, side = grid.shape[0], units.shape[1]
    full = (1 << side) - 1
    boards = np.empty((n_cells + 1, n_cells), dtype=np.int64)
    cells = np.empty(n_cells + 1, dtype=np.int64)
    options = np.empty(n_cells + 1, dtype=np.int64)
    used = np.empty((3, side), dtype=np.int64)
    for cell in range(n_cells):
        grid[cell] = 0
    depth = 0
    for _ in range(100 * n_cells):
        fill_masks(grid, used, places)
        fewest, n_equal, best = 99, 0, -1
        for cell in range(n_cells):
            if grid[cell] == 0:
                n_options = n_bits(candidates(used, places, cell, full))
                if n_options < fewest:
                    fewest, n_equal, best = n_options, 1, cell
                elif n_options == fewest:
                    n_equal += 1
                    if below(stream, n_equal) == 0:
                        best = cell
        if best < 0:
            return True
        copy(grid, boards[depth])
        cells[depth] = best
        options[depth] = candidates(used, places, best, full)
        depth += 1
        while depth > 0 and options[depth - 1] == 0:
            depth -= 1
        if depth == 0:
            return False
        rest = options[depth - 1]
        for _ in range(below(stream, n_bits(rest))):
            rest &= rest - 1
        bit = rest & -rest
        options[depth - 1] ^= bit
        copy(boards[depth - 1], grid)
        grid[cells[depth - 1]] = bit
    return False


@compiled
def generate(seed: np.uint64, first: int, clues: int, places: I64, units: I64, inputs: U8, labels: U8) -> None:
    """Candidates number first, first + 1, ... into inputs and labels [N, L].

    Each is a pure function of (seed, number, clues, geometry): a random full grid, its clues removed in random order
    while the solution stays unique and more than `clues` of them are left.
    """
    n_cells = inputs.shape[1]
    stream = np.empty(1, dtype=np.uint64)
    order = np.empty(n_cells, dtype=np.int64)
    grid = np.empty(n_cells, dtype=np.int64)
    board = np.empty(n_cells, dtype=np.int64)
    solution = np.empty(n_cells, dtype=np.int64)
    for i in range(inputs.shape[0]):
        stream[0] = mix(mix(seed) ^ np.uint64(first + i))
        while not fill_grid(places, units, stream, grid):
            pass
        for cell in range(n_cells):
            order[cell] = cell
        shuffle(order, stream)
        copy(grid, board)
        n_clues = n_cells
        for k in range(n_cells):
            cell = order[k]
            if n_clues <= clues:
                break
            board[cell] = 0
            n_solutions, _ = solve(board, places, units, 2, solution)
            if n_solutions == 1:
                n_clues -= 1
            else:
                board[cell] = grid[cell]
        to_tokens(board, inputs[i])
        to_tokens(grid, labels[i])


@compiled
def class_hashes(inputs: U8, box_rows: int, box_cols: int, hashes: U64) -> None:
    """A hash of each puzzle's givens that no symmetry changes, into hashes [N]: equal puzzles have equal hashes.

    Colour refinement on rows, columns, boxes, digits, bands and stacks: in each of four rounds every given tells its
    row, column, box and digit what the others are. All sums commute, so no order shows. Unequal puzzles nearly always
    differ, but need not: equality is for canonical_forms to tell.
    """
    side = box_rows * box_cols
    turned = np.uint64(0) if box_rows == box_cols else np.uint64(7)  # a square box lets rows and columns change places
    row, col = np.empty(side, dtype=np.uint64), np.empty(side, dtype=np.uint64)
    digit, box = np.empty(side, dtype=np.uint64), np.empty(side, dtype=np.uint64)
    sums = np.empty((4, side), dtype=np.uint64)
    for i in range(inputs.shape[0]):
        for k in range(side):
            row[k], col[k], digit[k], box[k] = np.uint64(1), np.uint64(1) + turned, np.uint64(2), np.uint64(3)
        total = np.uint64(0)
        for _ in range(4):
            for k in range(side):
                sums[0, k], sums[1, k], sums[2, k], sums[3, k] = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
            total = np.uint64(0)
            for r in range(side):
                for c in range(side):
                    token = int(inputs[i, r * side + c])
                    if token >= 2:
                        b = (r // box_rows) * box_rows + c // box_cols
                        h = mix(
                            mix(row[r]) + mix(col[c] + turned) + mix(digit[token - 2] * GOLDEN) + box[b] * MULTIPLIER_1
                        )
                        total += h
                        sums[0, r] += h
                        sums[1, c] += h
                        sums[2, token - 2] += h
                        sums[3, b] += h
            for k in range(side):
                row[k], col[k] = mix(row[k] + sums[0, k]), mix(col[k] + sums[1, k])
                digit[k], box[k] = mix(digit[k] + sums[2, k]), mix(box[k] + sums[3, k])
            for band in range(side // box_rows):
                whole = np.uint64(0)
                for k in range(band * box_rows, (band + 1) * box_rows):
                    whole += mix(row[k])
                total += mix(whole)
                for k in range(band * box_rows, (band + 1) * box_rows):
                    row[k] = mix(row[k] ^ mix(whole))
            for stack in range(side // box_cols):
                whole = np.uint64(0)
                for k in range(stack * box_cols, (stack + 1) * box_cols):
                    whole += mix(col[k])
                total += mix(whole + turned)
                for k in range(stack * box_cols, (stack + 1) * box_cols):
                    col[k] = mix(col[k] ^ mix(whole))
        hashes[i] = total


@compiled
def canonical_forms(inputs: U8, labels: U8, box_rows: int, box_cols: int, orders: I64, forms: U8) -> None:
    """The least image of each (puzzle, answer) under all symmetries, into forms [N, L].

    orders: every column order that keeps the stacks, [n_orders, side]. An image counts if its answer's top row reads
    1, 2, 3, ... and its left column ascends within each band and from band to band; every choice of top row, column
    order and (square boxes) transposition has exactly one such image, so the set of them belongs to the class and its
    least member, read as 2 * digit + (1 if given), is exact: equal if and only if the puzzles are equivalent.
    """
    side = box_rows * box_cols
    n_turns = 2 if box_rows == box_cols else 1
    answer, given = np.empty((side, side), dtype=np.int64), np.empty((side, side), dtype=np.int64)
    best = np.empty((side, side), dtype=np.int64)
    name = np.empty(side, dtype=np.int64)  # the new digit of each old one
    row_with = np.empty(side, dtype=np.int64)  # the row whose left cell holds each new digit
    order = np.empty(side, dtype=np.int64)
    for i in range(inputs.shape[0]):
        for r in range(side):
            for c in range(side):
                best[r, c] = 999
        for turn in range(n_turns):
            for r in range(side):
                for c in range(side):
                    cell = c * side + r if turn else r * side + c
                    answer[r, c] = int(labels[i, cell]) - 2
                    given[r, c] = 1 if inputs[i, cell] >= 2 else 0
            for top in range(side):
                for k in range(orders.shape[0]):
                    columns = orders[k]
                    verdict = 0  # below 0: less than the best so far; above: greater
                    for c in range(side):
                        verdict = 2 * c + given[top, columns[c]] - best[0, c]
                        if verdict != 0:
                            break
                    if verdict > 0:
                        continue
                    for c in range(side):
                        name[answer[top, columns[c]]] = c
                    for r in range(side):
                        row_with[name[answer[r, columns[0]]]] = r
                    n_placed = 0
                    for v in range(side):  # the row of least digit opens its band; the band follows, ascending
                        band = row_with[v] // box_rows
                        opens = True
                        for w in range(v):
                            if row_with[w] // box_rows == band:
                                opens = False
                        if opens:
                            for w in range(v, side):
                                if row_with[w] // box_rows == band:
                                    order[n_placed] = row_with[w]
                                    n_placed += 1
                    for r in range(side):
                        if verdict != 0:
                            break
                        for c in range(side):
                            row, column = order[r], columns[c]
                            verdict = 2 * name[answer[row, column]] + given[row, column] - best[r, c]
                            if verdict != 0:
                                break
                    if verdict < 0:
                        for r in range(side):
                            for c in range(side):
                                row, column = order[r], columns[c]
                                best[r, c] = 2 * name[answer[row, column]] + given[row, column]
        for r in range(side):
            for c in range(side):
                forms[i, r * side + c] = best[r, c] + 2


@compiled
def count_lines(data: U8) -> int:
    """Lines in a file, the last one with or without its line end."""
    n = 0
    for byte in data:
        if byte == 10:
            n += 1
    if data.shape[0] > 0 and data[-1] != 10:
        n += 1
    return n


@compiled
def digit_of(byte: int, side: int) -> int:
    """A character's digit: 1-9, then A, B, C for 10 to 12; 0 for a blank (. or 0); -1 for anything else."""
    value = -1
    if byte == 46 or byte == 48:
        return 0
    if 49 <= byte <= 57:
        value = byte - 48
    elif 65 <= byte <= 67:
        value = byte - 55
    return value if value <= side else -1


@compiled
def scan_rows(
    data: U8, start: int, places: I64, side: int, inputs: U8, labels: U8, ratings: I32
) -> tuple[int, int, int, int]:
    """Read `source,question,answer,rating` rows from data[start:] into inputs, labels [N, L] and ratings [N].

    Returns (offence, row, where in the row's field or -1, what was found there), FINE if every row is in order.
    """
    n_cells = places.shape[0]
    used = np.empty((3, side), dtype=np.int64)
    board = np.empty(n_cells, dtype=np.int64)
    commas = np.empty(3, dtype=np.int64)
    at = start
    for row in range(inputs.shape[0]):
        end, n_commas = at, 0
        while end < data.shape[0] and data[end] != 10:
            if data[end] == 44:
                if n_commas < 3:
                    commas[n_commas] = end
                n_commas += 1
            end += 1
        following = end + 1
        if end > at and data[end - 1] == 13:
            end -= 1
        if n_commas != 3:
            return FIELD_COUNT, row, -1, n_commas + 1 if end > at else 0
        question, answer, rating = commas[0] + 1, commas[1] + 1, commas[2] + 1
        if commas[1] - question != n_cells:
            return QUESTION_LENGTH, row, -1, commas[1] - question
        if commas[2] - answer != n_cells:
            return ANSWER_LENGTH, row, -1, commas[2] - answer
        for cell in range(n_cells):
            digit = digit_of(int(data[question + cell]), side)
            if digit < 0:
                return QUESTION_CHARACTER, row, cell, int(data[question + cell])
            inputs[row, cell] = digit + 1
        for cell in range(n_cells):
            digit = digit_of(int(data[answer + cell]), side)
            if digit < 1:
                return ANSWER_CHARACTER, row, cell, int(data[answer + cell])
            labels[row, cell] = digit + 1
        for cell in range(n_cells):
            if inputs[row, cell] > 1 and inputs[row, cell] != labels[row, cell]:
                return ANSWER_CONTRADICTS, row, cell, int(data[answer + cell])
        to_bits(labels[row], board)
        if not fill_masks(board, used, places):
            return NO_SUDOKU, row, -1, 0
        negative = end > rating and data[rating] == 45
        first = rating + 1 if negative else rating
        value = 0
        if first >= end or end - first > 10:
            return RATING, row, -1, 0
        for k in range(first, end):
            if data[k] < 48 or data[k] > 57:
                return RATING, row, -1, 0
            value = value * 10 + int(data[k]) - 48
        if value > 2147483647:
            return RATING, row, -1, 0
        ratings[row] = -value if negative else value
        at = following
    return FINE, -1, -1, 0
