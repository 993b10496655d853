"""What is compiled for mazes: the search, the answer by the tie-break, the judge of answers, the generator.

Boards are uint8 [L], L = side * side, row by row, in the tokens below; the order of the tokens is what the searches
rely on: a cell may be entered if its token is at least `lowest` (OPEN: all but walls, START: S, G and path alone).
"""

import numpy as np
from numpy.typing import NDArray

from data_prep.sudoku_kernels import GOLDEN, below, compiled, mix

U8 = NDArray[np.uint8]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]

PAD, WALL, OPEN, START, GOAL, PATH = 0, 1, 2, 3, 4, 5  # tokens of the released builder: pad, then `# SGo`
PAIRS = 10  # of S and G, drawn at most for a layout
LEAST_WALLS, MOST_WALLS = 2**32 // 5, 2**32 // 2  # 0.2 and 0.5: where the probability of a wall is drawn, in 2**-32


@compiled
def find(board: U8, token: int) -> int:
    """The first cell of a token, or -1."""
    for cell in range(board.shape[0]):
        if board[cell] == token:
            return cell
    return -1


@compiled
def search(board: U8, side: int, lowest: int, start: int, goal: int, work: I64) -> int:
    """Moves of a shortest path from start to goal through cells of `lowest` or more; -1 if there is none.

    Breadth-first, neighbours down, left, right, up; the first to reach a cell is its parent. work: int64 [3, L]; after
    it work[0] holds the moves to each cell seen (else -1) and work[1] its parent; work[2] is the queue.
    """
    n_cells = board.shape[0]
    moves, parents, queue = work[0], work[1], work[2]
    for cell in range(n_cells):
        moves[cell] = -1
    if start < 0 or goal < 0:
        return -1
    moves[start], queue[0] = 0, start
    head, tail = 0, 1
    while head < tail:
        cell = queue[head]
        head += 1
        column = cell % side
        for direction in range(4):
            other = -1
            if direction == 0 and cell + side < n_cells:
                other = cell + side
            elif direction == 1 and column > 0:
                other = cell - 1
            elif direction == 2 and column + 1 < side:
                other = cell + 1
            elif direction == 3 and cell >= side:
                other = cell - side
            if other >= 0 and moves[other] < 0 and board[other] >= lowest:
                moves[other], parents[other] = moves[cell] + 1, cell
                if other == goal:
                    return int(moves[other])
                queue[tail] = other
                tail += 1
    return -1


@compiled
def solve_all(inputs: U8, side: int, labels: U8, n_moves: I64) -> None:
    """The answer of each question [N, L] by the tie-break into labels, the moves it takes into n_moves [N] (-1: none).

    Without a way from S to G the answer is the question.
    """
    work = np.empty((3, inputs.shape[1]), dtype=np.int64)
    for row in range(inputs.shape[0]):
        board = inputs[row]
        start, goal = find(board, START), find(board, GOAL)
        n_moves[row] = search(board, side, OPEN, start, goal, work)
        for cell in range(board.shape[0]):
            labels[row, cell] = board[cell]
        if n_moves[row] > 0:
            cell = work[1, goal]
            while cell != start:
                labels[row, cell] = PATH
                cell = work[1, cell]


@compiled
def judge_all(inputs: U8, labels: U8, side: int, found: I64) -> None:
    """What answers [N, L] of any origin are worth, into found [N, 4].

    The first cell where an answer differs from its question by more than a path on an open cell (-1: none); its path
    cells, S and G counted; moves from S to G on these alone (-1: no way); moves of a shortest path (-1: no way).
    """
    work = np.empty((3, inputs.shape[1]), dtype=np.int64)
    for row in range(inputs.shape[0]):
        question, answer = inputs[row], labels[row]
        start, goal = find(question, START), find(question, GOAL)
        changed, n_path = -1, 2
        for cell in range(question.shape[0]):
            if answer[cell] == PATH and question[cell] == OPEN:
                n_path += 1
            elif answer[cell] != question[cell] and changed < 0:
                changed = cell
        found[row, 0], found[row, 1], found[row, 2] = changed, n_path, -1
        if changed < 0:
            found[row, 2] = search(answer, side, START, start, goal, work)
        found[row, 3] = search(question, side, OPEN, start, goal, work)


@compiled
def is_far(free: U32, side: int, start: int, goal: int, least_moves: int, work: U32) -> bool:
    """Whether goal is reached from start, and in no fewer than least_moves.

    Breadth-first on whole rows: free [side + 2] has bit c of word r + 1 set where row r, column c is no wall.
    work: uint32 [3, side + 2], its first and last words zero.
    """
    unseen, frontier, fresh = work[0], work[1], work[2]
    for r in range(1, side + 1):
        unseen[r], frontier[r] = free[r], 0
    bit = np.uint32(1) << np.uint32(start % side)
    frontier[start // side + 1] = bit
    unseen[start // side + 1] &= ~bit
    goal_row, goal_bit = goal // side + 1, np.uint32(1) << np.uint32(goal % side)
    n_moves = 0
    while True:
        n_moves += 1
        any_new = np.uint32(0)
        for r in range(1, side + 1):
            here = frontier[r]
            new = np.uint32(
                ((here << np.uint32(1)) | (here >> np.uint32(1)) | frontier[r - 1] | frontier[r + 1]) & unseen[r]
            )
            fresh[r] = new
            unseen[r] ^= new
            any_new |= new
        if any_new == 0:
            return False
        if fresh[goal_row] & goal_bit:
            return n_moves >= least_moves
        frontier, fresh = fresh, frontier


@compiled
def generate(seed: np.uint64, first: int, n: int, side: int, least_moves: int, inputs: U8, layouts: I64) -> int:
    """Layouts first .. first + n - 1 of a seed; those kept go into inputs [n, L], their numbers into layouts [n].

    Each is drawn from its own stream, so what is drawn depends neither on `first` nor on `n`. A layout is kept with
    the first of at most PAIRS pairs of S and G that are least_moves or more apart. Returns how many are kept.
    """
    n_cells = side * side
    stream = np.empty(1, dtype=np.uint64)
    free = np.zeros(side + 2, dtype=np.uint32)
    work = np.zeros((3, side + 2), dtype=np.uint32)
    n_kept = 0
    for layout in range(first, first + n):
        stream[0] = mix(mix(seed) ^ np.uint64(layout))
        threshold = LEAST_WALLS + below(stream, MOST_WALLS - LEAST_WALLS)
        n_open = 0
        for r in range(side):
            word = 0
            for c in range(side):
                is_open = (mix(stream[0]) >> np.uint64(32)) >= np.uint64(threshold)
                stream[0] += GOLDEN
                if is_open:
                    word |= 1 << c
                    n_open += 1
            free[r + 1] = word
        if n_open < 2:
            continue
        for _ in range(PAIRS):
            start = goal = below(stream, n_cells)
            while not (free[start // side + 1] >> np.uint32(start % side)) & 1:
                start = below(stream, n_cells)
            goal = start
            while goal == start or not (free[goal // side + 1] >> np.uint32(goal % side)) & 1:
                goal = below(stream, n_cells)
            if is_far(free, side, start, goal, least_moves, work):
                for cell in range(n_cells):
                    is_open = (free[cell // side + 1] >> np.uint32(cell % side)) & 1
                    inputs[n_kept, cell] = OPEN if is_open else WALL
                inputs[n_kept, start], inputs[n_kept, goal] = START, GOAL
                layouts[n_kept] = layout
                n_kept += 1
                break
    return n_kept
