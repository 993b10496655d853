import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_prep import maze_kernels as kernels
from data_prep.augment import INVERSE_MOVES, move, variant_moves
from data_prep.counter_hash import GOLDEN, UINT64, mix
from data_prep.maze import (
    CHARACTERS,
    BadPuzzleFile,
    BadSettings,
    MazeAugmentation,
    TooFewPuzzles,
    augment_maze,
    build_maze,
    from_csv,
    generate,
    is_published_path,
    is_shortest_path,
    layout_keys,
    read_csv,
    solve,
)
from data_prep.puzzle_set import OtherContent, PuzzleSet

U8 = NDArray[np.uint8]
FIXTURE = Path(__file__).parent.parent / "fixtures" / "maze-30x30-hard-gen"
HEADER = "source,question,answer,rating"
numbers = st.integers(min_value=0, max_value=2**31)


@pytest.fixture(scope="session")
def published() -> tuple[U8, U8]:
    """The 30 mazes of the fixture and their answers, by another program than ours."""
    train, test = read_csv(FIXTURE / "train.csv"), read_csv(FIXTURE / "test.csv")
    return np.concatenate([train.inputs, test.inputs]), np.concatenate([train.labels, test.labels])


@pytest.fixture(scope="session")
def mazes() -> PuzzleSet:
    """Generated 10x10 mazes, in memory."""
    return generate(train=40, validation=10, test=20, seed=3, side=10)


def way(board: U8, lowest: int) -> list[int]:
    """The cells of the tie-break's path through tokens of `lowest` or more, S and G included; [] if there is none."""
    side = round(len(board) ** 0.5)
    cells = {divmod(i, side): int(token) for i, token in enumerate(board)}
    (start,) = (at for at, token in cells.items() if token == kernels.START)
    (goal,) = (at for at, token in cells.items() if token == kernels.GOAL)
    parents: dict[tuple[int, int], tuple[int, int] | None] = {start: None}
    queue = deque([start])
    while queue:
        r, c = queue.popleft()
        for other in ((r + 1, c), (r, c - 1), (r, c + 1), (r - 1, c)):
            if other not in parents and cells.get(other, 0) >= lowest:
                parents[other] = (r, c)
                queue.append(other)
    path, at = [], goal if goal in parents else None
    while at is not None:
        path.append(at[0] * side + at[1])
        at = parents[at]
    return path[::-1]


def random_boards(seed: int, side: int, n: int) -> U8:
    """Boards of any wall density with one S and one G each, connected or not."""
    random = np.random.default_rng(seed)
    walls = random.random((n, side * side)) < random.uniform(0, 0.6, (n, 1))
    boards = np.where(walls, kernels.WALL, kernels.OPEN).astype(np.uint8)
    ends = np.argsort(random.random((n, side * side)), axis=1)[:, :2]
    np.put_along_axis(boards, ends[:, :1], kernels.START, axis=1)
    np.put_along_axis(boards, ends[:, 1:], kernels.GOAL, axis=1)
    return boards


# --- the answer by the tie-break ---


def test_the_answers_of_another_program_are_found_cell_for_cell(published: tuple[U8, U8]) -> None:
    labels, lengths = solve(published[0])
    assert np.array_equal(labels, published[1])
    assert lengths.tolist() == [len(way(board, kernels.OPEN)) for board in published[0]]


@settings(max_examples=40, deadline=None)
@given(seed=numbers, side=st.integers(3, 9))
def test_solve_is_the_tie_break_written_out_in_words(seed: int, side: int) -> None:
    boards = random_boards(seed, side, 8)
    labels, lengths = solve(boards)
    for board, label, length in zip(boards, labels, lengths, strict=True):
        path = way(board, kernels.OPEN)
        expected = board.copy()
        expected[path[1:-1]] = kernels.PATH
        assert length == len(path)
        assert np.array_equal(label, expected)


# --- what an answer is worth ---


def test_of_the_answers_moved_by_a_symmetry_all_are_shortest_and_only_identity_and_mirror_are_published(
    published: tuple[U8, U8],
) -> None:
    inputs, labels = published
    exact = []
    for symmetry in range(8):
        moves = np.full(len(inputs), symmetry)
        question, answer = move(inputs, moves), move(labels, moves)
        assert is_shortest_path(question, answer).all()
        exact.append(int(is_published_path(solve(question)[0], answer).sum()))
    assert exact[0] == 30
    assert exact[4] > 20
    assert sum(exact) == exact[0] + exact[4]


@settings(max_examples=60, deadline=None)
@given(seed=numbers, n_changes=st.integers(1, 4))
def test_is_shortest_path_agrees_with_its_definition_on_spoilt_answers(
    mazes: PuzzleSet, seed: int, n_changes: int
) -> None:
    random = np.random.default_rng(seed)
    inputs = np.array(mazes.train.inputs)
    predicted = np.array(mazes.train.labels)
    for _ in range(n_changes):
        cells = random.integers(0, 100, len(inputs))
        predicted[np.arange(len(inputs)), cells] = random.choice([0, 1, 2, 5, 200], len(inputs))
    for row, found in enumerate(is_shortest_path(inputs, predicted)):
        question, answer = inputs[row], predicted[row]
        kept = ((question == answer) | ((question == kernels.OPEN) & (answer == kernels.PATH))).all()
        n_path = int((answer == kernels.PATH).sum()) + 2
        expected = kept and len(way(answer, kernels.START)) == n_path == len(way(question, kernels.OPEN))
        assert found == expected


BOARD = "S    ##  G   ####   #    "  # 5x5: shortest paths of 6 cells


def tokens(board: str) -> U8:
    return np.array([[CHARACTERS.index(character) for character in board]], dtype=np.uint8)


@pytest.mark.parametrize(
    ("answer", "is_shortest"),
    [
        ("Soooo##  G   ####   #    ", True),
        ("Sooo ## oG   ####   #    ", True),
        ("Sooo ##ooG   ####   #    ", False),  # a cell beside the way
        ("Soo o##  G   ####   #    ", False),  # a gap
        ("Soooo##  G   ####   #  o ", False),  # a cell far from the way
        ("Soooo#   G   ####   #    ", False),  # a wall gone
        ("Soooo##  o   ####   #    ", False),  # G gone
        ("S    ##  G   ####   #    ", False),  # nothing drawn
        ("So oo##ooG   ####   #    ", False),
    ],
)
def test_an_answer_by_hand(answer: str, is_shortest: bool) -> None:
    assert is_shortest_path(tokens(BOARD), tokens(answer)).tolist() == [is_shortest]


def test_where_no_way_leads_to_g_no_answer_is_right() -> None:
    walled = tokens("S# ## G  ")
    assert solve(walled)[1].tolist() == [0]
    assert not is_shortest_path(walled, walled).any()


# --- the generator ---


def test_generated_mazes_follow_the_procedure(mazes: PuzzleSet) -> None:
    assert (mazes.cells, mazes.vocab, mazes.manifest.box_rows, mazes.manifest.puzzle) == (100, 6, None, "maze")
    for split in mazes.splits.values():
        labels, lengths = solve(split.inputs)
        assert np.array_equal(labels, split.labels)
        assert np.array_equal(lengths, split.ratings)
        assert lengths.min() >= 18
        assert np.array_equal((split.labels == kernels.PATH).sum(axis=1) + 2, split.ratings)
    keys = [key for split in mazes.splits.values() for key in layout_keys(split.inputs)]
    assert len(set(keys)) == 70


def test_the_generator_is_the_procedure_written_out_in_words() -> None:
    seed, side, least_moves, n = 11, 6, 9, 150
    inputs, layouts = np.empty((n, side * side), dtype=np.uint8), np.empty(n, dtype=np.int64)
    n_kept = kernels.generate(np.uint64(seed), 40, n, side, least_moves, inputs, layouts)

    def once(state: int) -> int:
        return int(mix(np.array([state % UINT64], dtype=np.uint64))[0])

    expected = []
    for layout in range(40, 40 + n):
        state = once(once(seed) ^ layout)

        def draw() -> int:
            nonlocal state
            value = once(state) >> 32
            state = (state + GOLDEN) % UINT64
            return value

        low, high = 2**32 // 5, 2**32 // 2
        threshold = low + (draw() * (high - low) >> 32)
        board = np.array([2 if draw() >= threshold else 1 for _ in range(side * side)], dtype=np.uint8)

        def draw_open(board: U8 = board, taken: int = -1) -> int:
            while True:
                cell = draw() * side * side >> 32
                if board[cell] == kernels.OPEN and cell != taken:
                    return cell

        for _ in range(10):
            start = draw_open()
            goal = draw_open(taken=start)
            maze = board.copy()
            maze[start], maze[goal] = kernels.START, kernels.GOAL
            if len(way(maze, kernels.OPEN)) > least_moves:
                expected.append((layout, maze.tobytes()))
                break
    assert n_kept > 5
    assert [(int(at), maze.tobytes()) for at, maze in zip(layouts[:n_kept], inputs[:n_kept], strict=True)] == expected


def test_equal_seeds_give_equal_mazes_on_any_machine_and_any_number_of_cores(
    mazes: PuzzleSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    again = generate(train=40, validation=10, test=20, seed=3, side=10)
    assert again.manifest == mazes.manifest
    assert again.content_hash == "b63ddb9508beb7230bb9ca8da7733bd7610fb34a856a6247f9674c562b3d1e82"
    assert generate(train=40, validation=10, test=20, seed=4, side=10).content_hash != again.content_hash


def test_more_training_mazes_leave_the_other_splits_alone(mazes: PuzzleSet) -> None:
    more = generate(train=60, validation=10, test=20, seed=3, side=10)
    assert np.array_equal(more.test.inputs, mazes.test.inputs)
    assert np.array_equal(more.validation.inputs, mazes.validation.inputs)
    assert np.array_equal(more.train.inputs[:40], mazes.train.inputs)


def test_a_board_at_full_size_with_its_path_of_110_cells_or_more() -> None:
    puzzles = generate(train=1, validation=0, test=1, seed=0)
    assert puzzles.cells == 900
    assert min(puzzles.train.ratings[0], puzzles.test.ratings[0]) >= 110


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"side": 33}, r"side 33: expected 3 to 32 cells .*\(data\.side; --side\)"),
        ({"side": 12}, r"least path: none asked for on a 12x12 board, expected 2 to 144 cells; usual are 18 at 10x10"),
        ({"least_path": 101}, r"least path: 101 asked for on a 10x10 board"),
        ({"train": 0}, r"train: 0 puzzles asked for, expected at least 1"),
    ],
)
def test_settings_that_cannot_be_are_named(change: dict[str, int], message: str) -> None:
    with pytest.raises(BadSettings, match=message):
        generate(**({"train": 1, "validation": 0, "test": 0, "seed": 0, "side": 10} | change))


def test_a_board_with_too_few_mazes_says_how_many_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_prep.maze.EXHAUSTED_AFTER", 50_000)
    with pytest.raises(TooFewPuzzles, match=r"\d+ different 3x3 mazes with a path of 7 cells found .* expected 500"):
        generate(train=500, validation=0, test=0, seed=0, side=3, least_path=7)


# --- symmetries ---


@settings(max_examples=30, deadline=None)
@given(seed=numbers, first=numbers, side=st.integers(3, 9))
def test_the_inverse_of_a_move_is_exact_on_both_sides(seed: int, first: int, side: int) -> None:
    boards = random_boards(seed, side, 16)
    moves = variant_moves(np.arange(16), np.arange(16) + first, seed=seed)
    back = INVERSE_MOVES[moves]
    assert np.array_equal(move(move(boards, moves), back), boards)
    assert np.array_equal(move(move(boards, back), moves), boards)


def test_moves_are_in_the_order_of_the_released_code() -> None:
    board = np.arange(9, dtype=np.uint8).reshape(3, 3)
    images = [np.rot90(board, turns) for turns in range(4)]
    images += [np.fliplr(board), np.flipud(board), board.T, board[::-1, ::-1].T]
    moved = move(np.repeat(board.reshape(1, 9), 8, axis=0), np.arange(8)).reshape(8, 3, 3)
    assert np.array_equal(moved, images)
    assert len({image.tobytes() for image in moved}) == 8


@settings(max_examples=20, deadline=None)
@given(seed=numbers, puzzle=numbers)
def test_variants_0_to_7_of_a_puzzle_are_the_eight_moves_each_once(seed: int, puzzle: int) -> None:
    moves = variant_moves(np.full(16, puzzle), np.arange(16), seed=seed)
    assert moves[0] == 0
    assert sorted(moves[:8].tolist()) == list(range(8))
    assert np.array_equal(moves[8:], moves[:8])


def test_seed_and_puzzle_each_change_the_order_of_the_moves() -> None:
    def orders(seed: int) -> list[int]:
        return [int(each) for each in variant_moves(np.arange(200), np.ones(200, dtype=np.int64), seed=seed)]

    assert set(orders(0)) == set(range(1, 8))
    assert orders(0) != orders(1)


@settings(max_examples=20, deadline=None)
@given(
    seed=numbers,
    chosen=st.lists(st.integers(0, 39), min_size=1, max_size=8),
    augmentation=st.sampled_from(["none", "mirror", "released", "recomputed"]),
)
def test_a_variant_does_not_depend_on_the_batch_it_stands_in(
    mazes: PuzzleSet, seed: int, chosen: list[int], augmentation: MazeAugmentation
) -> None:
    split, some = mazes.train, np.array(chosen)
    index, variants = np.arange(40), np.arange(40) * 7 % 11
    whole = augment_maze(split.inputs, split.labels, index, variants, seed=seed, augmentation=augmentation)
    part = augment_maze(
        split.inputs[some], split.labels[some], index[some], variants[some], seed=seed, augmentation=augmentation
    )
    assert np.array_equal(part[0], whole[0][some])
    assert np.array_equal(part[1], whole[1][some])
    assert is_shortest_path(*whole).all()
    if augmentation in ("mirror", "recomputed"):
        assert is_published_path(solve(whole[0])[0], whole[1]).all()


def test_released_moves_the_answer_with_the_question_and_recomputed_does_not(published: tuple[U8, U8]) -> None:
    inputs, labels = published
    index, variants = np.arange(30), np.full(30, 3)
    moves = variant_moves(index, variants, seed=5)
    released = augment_maze(inputs, labels, index, variants, seed=5, augmentation="released")
    recomputed = augment_maze(inputs, labels, index, variants, seed=5, augmentation="recomputed")
    assert np.array_equal(released[0], move(inputs, moves))
    assert np.array_equal(released[1], move(labels, moves))
    assert np.array_equal(recomputed[0], released[0])
    assert not is_published_path(recomputed[1], released[1])[~np.isin(moves, (0, 4))].any()


def test_variant_zero_is_the_original_none_changes_nothing_and_mirror_mirrors(mazes: PuzzleSet) -> None:
    split, index = mazes.train, np.arange(40)
    for augmentation, variant in (("none", 5), ("mirror", 0), ("mirror", 2), ("released", 0), ("recomputed", 8)):
        same = augment_maze(
            split.inputs,
            split.labels,
            index,
            np.full(40, variant),
            seed=1,
            augmentation=augmentation,  # type: ignore[arg-type]
        )
        assert np.array_equal(same[0], split.inputs)
        assert np.array_equal(same[1], split.labels)
    mirrored, _ = augment_maze(split.inputs, split.labels, index, np.full(40, 3), seed=1, augmentation="mirror")
    assert np.array_equal(mirrored.reshape(-1, 10, 10), split.inputs.reshape(-1, 10, 10)[:, :, ::-1])


@settings(max_examples=20, deadline=None)
@given(seed=numbers, side=st.integers(3, 8))
def test_a_layout_keeps_its_key_under_every_move_and_loses_it_with_a_wall(seed: int, side: int) -> None:
    boards = random_boards(seed, side, 8)
    keys = layout_keys(boards)
    assert layout_keys(move(boards, np.arange(8))) == keys
    spoilt = boards.copy()
    spoilt[:, 0] = np.where(spoilt[:, 0] == kernels.WALL, kernels.OPEN, kernels.WALL)
    assert not any(a == b for a, b in zip(layout_keys(spoilt), keys, strict=True))


# --- published files ---


def lines_of(name: str) -> list[str]:
    return (FIXTURE / name).read_text().split("\n")[1:-1]


def write(path: Path, lines: list[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_published_files_become_a_set_with_spaces_kept_and_a_validation_split_held_out() -> None:
    puzzles = from_csv(FIXTURE, validation=5, seed=0, verify=True)
    assert puzzles.manifest.counts == {"train": 15, "validation": 5, "test": 10}
    question = lines_of("test.csv")[0].split(",")[1]
    assert "".join(CHARACTERS[token] for token in puzzles.test.inputs[0]) == question
    assert set(puzzles.manifest.source_sha256) == {"train.csv", "test.csv"}
    everything = {row.tobytes() for split in (puzzles.train, puzzles.validation) for row in split.inputs}
    assert everything == {row.tobytes() for row in read_csv(FIXTURE / "train.csv").inputs}
    fewer = from_csv(FIXTURE, train=3, validation=5, seed=0)
    assert np.array_equal(fewer.validation.inputs, puzzles.validation.inputs)


def test_training_mazes_with_a_layout_of_the_test_split_moved_are_left_out_counted_and_told(tmp_path: Path) -> None:
    rows = read_csv(FIXTURE / "train.csv")
    turned = move(rows.inputs[:8], np.arange(8))
    answers, lengths = solve(turned)
    extra = [
        f",{''.join(CHARACTERS[t] for t in question)},{''.join(CHARACTERS[t] for t in answer)},{length}"
        for question, answer, length in zip(turned, answers, lengths, strict=True)
    ]
    write(tmp_path / "train.csv", lines_of("train.csv"))
    write(tmp_path / "test.csv", lines_of("test.csv") + extra)
    puzzles = from_csv(tmp_path, validation=0, seed=0)
    assert puzzles.manifest.counts == {"train": 12, "validation": 0, "test": 18}
    assert puzzles.manifest.dropped_from_train == 8
    assert puzzles.manifest.notes == ("train.csv: 8 mazes with a layout of the test split were left out of train",)
    write(tmp_path / "train.csv", lines_of("train.csv") + extra)
    write(tmp_path / "test.csv", lines_of("test.csv"))
    puzzles = from_csv(tmp_path, validation=10, seed=0)
    assert not set(layout_keys(puzzles.train.inputs)) & set(layout_keys(puzzles.validation.inputs))
    assert puzzles.manifest.dropped_from_train == 28 - 10 - len(puzzles.train) > 0


def spoil(text: str, at: int, character: str) -> str:
    return text[:at] + character + text[at + 1 :]


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (lambda q, a, r: f",{q[:-1]},{a},{r}", r"question has 899 characters, expected 900 for 30x30"),
        (lambda q, a, r: f",{q},{a} ,{r}", r"answer has 901 characters, expected 900"),
        (
            lambda q, a, r: f",{spoil(q, 31, 'x')},{a},{r}",
            r"question has 'x' at row 2, column 2, expected '#', ' ', 'S'",
        ),
        (
            lambda q, a, r: f",{spoil(q, 0, 'o')},{a},{r}",
            r"question has 'o' at row 1, column 1, expected '#', ' ', 'S'",
        ),
        (lambda q, a, r: f",{q},{spoil(a, 899, '.')},{r}", r"answer has '\.' at row 30, column 30, expected .* or 'o'"),
        (lambda q, a, r: f",{q.replace('S', ' ')},{a},{r}", r"question has 0 S, expected one"),
        (lambda q, a, r: f",{spoil(q, q.index(' '), 'G')},{a},{r}", r"question has 2 G, expected one"),
        (
            lambda q, a, r: f",{q},{spoil(a, a.index('#'), ' ')},{r}",
            r"answer has ' ' at row \d+, column \d+, expected the question's '#'",
        ),
        (lambda q, a, r: f",{q},{spoil(a, a.index('o'), ' ')},{r}", r"answer's 'o' do not lead from S to G"),
        (lambda q, a, r: f",{q},{stray(a)},{r}", r"answer has \d+ cells from S to G of which \d+ are enough"),
        (lambda q, a, r: f",{q},{a},{int(r) - 1}", r"rating '\d+', expected \d+, the cells of the path"),
        (lambda q, a, r: f",{q},{a}", r"3 fields, expected 4 \(source,question,answer,rating\)"),
    ],
)
def test_a_wrong_line_is_named_with_what_was_found_and_expected(
    tmp_path: Path, spoilt: Callable[[str, str, str], str], message: str
) -> None:
    rows = lines_of("train.csv")
    _, question, answer, rating = rows[6].split(",")
    rows[6] = spoilt(question, answer, rating)
    with pytest.raises(BadPuzzleFile, match=rf"train\.csv, line 8: {message}") as caught:
        read_csv(write(tmp_path / "train.csv", rows))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("correct the line or remove it")


def stray(answer: str) -> str:
    """An answer with an `o` on an open cell that has no neighbour on the path."""
    for at in range(31, 868):
        if answer[at] == " " and not set("oSG") & {answer[at + step] for step in (-30, -1, 1, 30)}:
            return spoil(answer, at, "o")
    raise AssertionError("no such cell")


def test_a_path_that_is_not_shortest_is_named_and_another_shortest_one_only_on_request(tmp_path: Path) -> None:
    detour = ",S G      ,S Go oooo,7"
    with pytest.raises(BadPuzzleFile, match=r"line 2: answer is a path of 7 cells, expected a shortest one \(3\)"):
        read_csv(write(tmp_path / "train.csv", [detour]))
    path = write(tmp_path / "train.csv", [",S       G,S  o  ooG,5", ",S       G,Soo  o  G,5"])
    assert len(read_csv(path)) == 2
    with pytest.raises(
        BadPuzzleFile, match=r"line 3: answer is a shortest path, but not that of the tie-break .* row 1, column 2"
    ):
        read_csv(path, verify=True)


def test_a_wrong_header_a_missing_and_a_bare_file_and_an_odd_board_are_named(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    with pytest.raises(BadPuzzleFile, match=r"line 1: columns 'question,way', expected question and answer, quizzes"):
        read_csv(write(path, [], "question,way"))
    with pytest.raises(BadPuzzleFile, match=r"train\.csv: a header and no mazes"):
        read_csv(write(path, []))
    with pytest.raises(BadPuzzleFile, match=r"line 2: question has 8 characters, expected a square board.*spaces are"):
        read_csv(write(path, [",S      G,S  o  ooG,5"]))
    with pytest.raises(BadPuzzleFile, match=r"nothing\.csv: missing"):
        read_csv(tmp_path / "nothing.csv")
    with pytest.raises(BadPuzzleFile, match=r"20 mazes that no other split holds, expected 16 for train and 5 for val"):
        from_csv(FIXTURE, train=16, validation=5, seed=0)
    with pytest.raises(BadPuzzleFile, match=r"10 mazes, expected 11; ask for fewer test mazes"):
        from_csv(FIXTURE, validation=0, test=11, seed=0)


# --- building into a folder ---


def test_a_built_set_is_reused_for_the_same_settings_and_refused_for_others(tmp_path: Path) -> None:
    generated = {"side": 10, "train": 5, "validation": 2, "test": 3}
    first = build_maze(tmp_path / "made", **generated)  # type: ignore[arg-type]
    before = (tmp_path / "made" / "manifest.json").stat().st_mtime_ns
    assert build_maze(tmp_path / "made", **generated).manifest == first.manifest  # type: ignore[arg-type]
    assert (tmp_path / "made" / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(OtherContent, match="least_path = 18, expected 12"):
        build_maze(tmp_path / "made", least_path=12, **generated)  # type: ignore[arg-type]
    read = build_maze(tmp_path / "read", source=FIXTURE, validation=5)
    assert build_maze(tmp_path / "read", source=FIXTURE, validation=5).manifest == read.manifest
    assert build_maze(tmp_path / "read", source=FIXTURE, validation=5, verify=True).manifest == read.manifest
    with pytest.raises(OtherContent, match="validation = 5, expected 4"):
        build_maze(tmp_path / "read", source=FIXTURE, validation=4)


@pytest.mark.parametrize("source", ["files", "generate"])
def test_two_builds_are_byte_identical_and_no_validation_is_asked_for(source: str, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"source": FIXTURE, "train": None, "validation": 0}
    if source == "generate":
        asked = {"side": 10, "train": 4, "validation": 0, "test": 3}
    for name in ("one", "two"):
        assert len(build_maze(tmp_path / name, **asked).validation) == 0
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert len(one) == 13


def test_options_that_do_not_belong_to_a_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="leave --verify out"):
        build_maze(tmp_path / "set", side=10, verify=True)
    with pytest.raises(BadSettings, match="leave --least-path out"):
        build_maze(tmp_path / "set", source=FIXTURE, least_path=110)
