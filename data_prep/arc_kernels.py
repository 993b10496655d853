"""What is compiled for ARC: hashes of a task's variants, examples drawn from a set, predictions turned back.

A variant of a task is a code: move * N_PERMUTATIONS + the rank of a permutation of colours 1 .. 9. The colours are
permuted, then the grid is moved; colour 0 stays; code 0 leaves the task as it is. Moves are those of
augment.dihedral_sources. A canvas is uint8 [side * side] in tokens: 0 pad, 1 end mark, colour c is c + 2.
"""

import numpy as np
from numpy.typing import NDArray

from data_prep.sudoku_kernels import compiled, mix

U8 = NDArray[np.uint8]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

N_COLOURS = 10
N_PERMUTATIONS = 362880  # of colours 1 .. 9
N_MOVES = 8
END, FIRST_COLOUR = 1, 2  # tokens
TRANSPOSED = (False, True, False, True, False, False, True, True)  # by move: the old row is the new column …
ROWS_TURNED = (False, False, True, True, False, True, False, True)  # … then counted from the other end …
COLUMNS_TURNED = (False, True, True, False, True, False, False, True)  # … and so for columns


@compiled
def colours_of(rank: int, new: U8) -> None:
    """The new colour of each old one, into new [10]: the permutation of 1 .. 9 of this rank, in lexicographic order."""
    new[0] = 0
    base = N_PERMUTATIONS
    for i in range(1, N_COLOURS):
        base //= N_COLOURS - i
        place = rank // base
        rank -= place * base
        new[i] = 1 + place
    for i in range(N_COLOURS - 2, 0, -1):  # from places among those left over to colours
        for j in range(i + 1, N_COLOURS):
            if new[j] >= new[i]:
                new[j] += 1


@compiled
def old_row(move: int, row: int, column: int, rows: int) -> int:
    """The row that a cell of the moved grid comes from; rows: of the old grid."""
    at = column if TRANSPOSED[move] else row
    return rows - 1 - at if ROWS_TURNED[move] else at


@compiled
def old_column(move: int, row: int, column: int, columns: int) -> int:
    """The column that a cell of the moved grid comes from; columns: of the old grid."""
    at = row if TRANSPOSED[move] else column
    return columns - 1 - at if COLUMNS_TURNED[move] else at


@compiled
def weigh(grid: U8, keys: U64, weights: U64) -> None:
    """Add to weights [8, 10], for each move, the keys of the cells that a colour then stands on.

    grid: colours [rows, columns]. keys: of each cell of a canvas that holds every moved grid, [side, side].
    """
    rows, columns = grid.shape
    for move in range(N_MOVES):
        new_rows, new_columns = (columns, rows) if TRANSPOSED[move] else (rows, columns)
        for r in range(new_rows):
            for c in range(new_columns):
                colour = grid[old_row(move, r, c, rows), old_column(move, r, c, columns)]
                weights[move, colour] += keys[r, c]


@compiled
def hash_variants(weights: U64, values: U64, codes: I64, hashes: U64) -> None:
    """A hash of each variant of a task, into hashes [T]: equal where two variants hold the same pairs in any order.

    weights: [pairs, 8, 10] by weigh(), over input and output. values: random, [10], by colour. codes: [T].
    A grid is hashed by the sum over its cells of key times value, so a variant costs 10 products a pair.
    """
    new = np.empty(N_COLOURS, dtype=np.uint8)
    for trial in range(codes.shape[0]):
        move = codes[trial] // N_PERMUTATIONS
        colours_of(codes[trial] % N_PERMUTATIONS, new)
        task = np.uint64(0)
        for pair in range(weights.shape[0]):
            total = np.uint64(0)
            for colour in range(N_COLOURS):
                total += weights[pair, move, colour] * values[new[colour]]
            task += mix(total)
        hashes[trial] = task


@compiled
def height(canvas: U8, side: int) -> int:
    """Rows of the grid in the top left corner of a canvas."""
    for row in range(side):
        if canvas[row * side] < FIRST_COLOUR:
            return row
    return side


@compiled
def width(canvas: U8, side: int) -> int:
    """Columns of the grid in the top left corner of a canvas."""
    for column in range(side):
        if canvas[column] < FIRST_COLOUR:
            return column
    return side


@compiled
def put(old: U8, side: int, move: int, colours: U8, down: int, right: int, new: U8) -> None:
    """The grid in the top left corner of `old`, recoloured, moved and laid at (down, right), into the canvas `new`.

    End marks stand in the row below it and in the column right of it, without the corner, where the canvas goes on.
    """
    rows, columns = height(old, side), width(old, side)
    new_rows, new_columns = (columns, rows) if TRANSPOSED[move] else (rows, columns)
    new[:] = 0
    for r in range(new_rows):
        for c in range(new_columns):
            token = old[old_row(move, r, c, rows) * side + old_column(move, r, c, columns)]
            new[(down + r) * side + right + c] = FIRST_COLOUR + colours[token - FIRST_COLOUR]
    if down + new_rows < side:
        for c in range(new_columns):
            new[(down + new_rows) * side + right + c] = END
    if right + new_columns < side:
        for r in range(new_rows):
            new[(down + r) * side + right + new_columns] = END


@compiled
def draw(old_inputs: U8, old_labels: U8, codes: I64, shifts: U64, side: int, inputs: U8, labels: U8) -> None:
    """Variant codes[b] of each example [B, L], into inputs and labels [B, L].

    shifts: [B, 2], down and right: of the space that both grids leave, this share of 2**32. 0: none.
    """
    colours = np.empty(N_COLOURS, dtype=np.uint8)
    for b in range(codes.shape[0]):
        question, answer = old_inputs[b], old_labels[b]
        move = codes[b] // N_PERMUTATIONS
        colours_of(codes[b] % N_PERMUTATIONS, colours)
        rows = max(height(question, side), height(answer, side))
        columns = max(width(question, side), width(answer, side))
        if TRANSPOSED[move]:
            rows, columns = columns, rows
        down = int((shifts[b, 0] * np.uint64(side - rows + 1)) >> np.uint64(32))
        right = int((shifts[b, 1] * np.uint64(side - columns + 1)) >> np.uint64(32))
        put(question, side, move, colours, down, right, inputs[b])
        put(answer, side, move, colours, down, right, labels[b])


@compiled
def crop(canvas: U8, side: int) -> tuple[int, int]:
    """Rows and columns of the largest rectangle from the top left corner that holds colours alone; the lowest first."""
    largest, at_rows, at_columns = 0, 0, 0
    columns = side
    for row in range(side):
        for column in range(columns):
            token = canvas[row * side + column]
            if token < FIRST_COLOUR or token >= FIRST_COLOUR + N_COLOURS:
                columns = column
                break
        if (row + 1) * columns > largest:
            largest, at_rows, at_columns = (row + 1) * columns, row + 1, columns
    return at_rows, at_columns


@compiled
def restore(tokens: U8, codes: I64, side: int, packed: U8) -> None:
    """Each prediction [B, L] cropped and its variant undone, into packed [B, 2 + L]: rows, columns, colours."""
    new, old = np.empty(N_COLOURS, dtype=np.uint8), np.empty(N_COLOURS, dtype=np.uint8)
    for b in range(tokens.shape[0]):
        move = codes[b] // N_PERMUTATIONS
        colours_of(codes[b] % N_PERMUTATIONS, new)
        for colour in range(N_COLOURS):
            old[new[colour]] = colour
        new_rows, new_columns = crop(tokens[b], side)
        rows, columns = (new_columns, new_rows) if TRANSPOSED[move] else (new_rows, new_columns)
        packed[b, 0], packed[b, 1] = rows, columns
        for r in range(new_rows):
            for c in range(new_columns):
                at = old_row(move, r, c, rows) * columns + old_column(move, r, c, columns)
                packed[b, 2 + at] = old[tokens[b, r * side + c] - FIRST_COLOUR]
