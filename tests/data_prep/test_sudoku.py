import contextlib
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import sudoku_kernels as kernels
from data_prep.augment import Symmetry, augment_sudoku, variant_symmetry
from data_prep.puzzle_set import BadManifest, OtherContent, PuzzleSet
from data_prep.sudoku import (
    BadPuzzleFile,
    BadSettings,
    Rows,
    TooFewPuzzles,
    _geometry,
    build_sudoku,
    canonical_forms,
    check_box,
    class_hashes,
    from_csv,
    generate,
    is_valid_solution,
    read_csv,
    solve,
)
from trm_core.config import RunConfig
from trm_core.settings import BadSetting

BOXES = [(2, 2), (2, 3), (3, 2), (3, 3), (2, 4)]


@pytest.fixture(scope="module")
def published(sudoku_extreme: Path) -> Rows:
    return read_csv(sudoku_extreme / "train.csv")


def as_lines(inputs: np.ndarray, labels: np.ndarray) -> list[str]:
    characters = np.array(list("?.123456789ABC"))
    return [
        f"some,{''.join(characters[question])},{''.join(characters[answer])},7"
        for question, answer in zip(inputs, labels, strict=True)
    ]


def write(path: Path, lines: list[str], header: str = "source,question,answer,rating") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


# --- the solver ---


def test_the_solver_finds_the_published_answers_and_proves_them_unique(published: Rows) -> None:
    solved = solve(published.inputs, box_rows=3, box_cols=3, limit=2)
    assert (solved.n_solutions == 1).all()
    assert np.array_equal(solved.labels, published.labels)


def test_the_solver_counts_all_288_grids_of_4x4_and_stops_at_its_limit() -> None:
    empty = np.ones((1, 16), dtype=np.uint8)
    assert solve(empty, box_rows=2, box_cols=2, limit=1000).n_solutions.tolist() == [288]
    assert solve(empty, box_rows=2, box_cols=2, limit=5).n_solutions.tolist() == [5]


def test_a_contradictory_board_has_no_solution() -> None:
    board = np.ones((1, 16), dtype=np.uint8)
    board[0, :2] = 2
    assert solve(board, box_rows=2, box_cols=2).n_solutions.tolist() == [0]


def test_the_solver_agrees_with_plain_enumeration_on_random_4x4_boards() -> None:
    empty = np.ones((1, 16), dtype=np.uint8)
    rng = np.random.default_rng(0)
    grids = np.array(all_4x4_grids(), dtype=np.uint8)
    assert is_valid_solution(np.repeat(empty, 288, axis=0), grids, box_rows=2, box_cols=2).all()
    boards = grids[rng.integers(0, 288, 200)] * (rng.random((200, 16)) < 0.3)
    boards[boards == 0] = 1
    expected = [int(((grids == board) | (board == 1)).all(axis=1).sum()) for board in boards]
    assert solve(boards.astype(np.uint8), box_rows=2, box_cols=2, limit=1000).n_solutions.tolist() == expected


def all_4x4_grids() -> list[list[int]]:
    lines = list(itertools.permutations((2, 3, 4, 5)))
    grids = []
    for rows in itertools.product(lines, repeat=4):
        if all(len(set(column)) == 4 for column in zip(*rows, strict=True)):
            boxes = [{rows[r][c], rows[r][c + 1], rows[r + 1][c], rows[r + 1][c + 1]} for r in (0, 2) for c in (0, 2)]
            if all(len(box) == 4 for box in boxes):
                grids.append([cell for row in rows for cell in row])
    return grids


def test_a_changed_answer_or_a_lost_given_is_no_valid_solution(published: Rows) -> None:
    inputs, labels = published.inputs[:3].copy(), published.labels[:3].copy()
    assert is_valid_solution(inputs, labels, box_rows=3, box_cols=3).tolist() == [True, True, True]
    labels[1, 0] = labels[1, 1]
    blank = int(np.flatnonzero(inputs[2] == 1)[0])
    inputs[2, blank] = labels[2, blank] % 9 + 2
    assert is_valid_solution(inputs, labels, box_rows=3, box_cols=3).tolist() == [True, False, False]
    assert not is_valid_solution(inputs, np.zeros_like(labels), box_rows=3, box_cols=3).any()


# --- equivalence ---


@settings(max_examples=25, deadline=None)
@given(box=st.sampled_from(BOXES), seed=st.integers(0, 2**40), variant=st.integers(1, 10**6))
def test_no_symmetry_changes_the_canonical_form_or_the_class_hash(
    box: tuple[int, int], seed: int, variant: int
) -> None:
    size = {"box_rows": box[0], "box_cols": box[1]}
    split = generate(*box, train=4, validation=0, test=0, seed=seed % 3, clues=box[0] * box[1] * 2).train
    moved = augment_sudoku(split.inputs, split.labels, np.arange(4), np.full(4, variant), seed=seed, **size)
    inputs, labels = moved
    assert np.array_equal(canonical_forms(inputs, labels, **size), canonical_forms(split.inputs, split.labels, **size))
    assert np.array_equal(class_hashes(inputs, **size), class_hashes(split.inputs, **size))


def test_canonical_forms_agree_with_trying_all_symmetries_on_4x4() -> None:
    places, units = _geometry(2, 2)
    inputs, labels = np.empty((80, 16), dtype=np.uint8), np.empty((80, 16), dtype=np.uint8)
    kernels.generate(np.uint64(0), 0, 0, places, units, inputs[:40], labels[:40])
    kernels.generate(np.uint64(1), 0, 7, places, units, inputs[40:], labels[40:])
    lines = np.array([(*a, *b) for a, b in ordered_lines()])
    rows, columns, digits, turned = np.meshgrid(range(8), range(8), range(24), range(2), indexing="ij")
    every = Symmetry(
        rows=lines[rows.ravel()],
        columns=lines[columns.ravel()],
        digits=np.array(list(itertools.permutations(range(4))))[digits.ravel()],
        transposed=turned.ravel().astype(bool),
    )
    least = [min(image.tobytes() for image in every.apply(np.repeat(board[None], 3072, axis=0))) for board in inputs]
    forms = [form.tobytes() for form in canonical_forms(inputs, labels, box_rows=2, box_cols=2)]
    assert 10 < len(set(least)) < 80
    assert len(set(zip(least, forms, strict=True))) == len(set(least)) == len(set(forms))


def ordered_lines() -> list[tuple[tuple[int, int], tuple[int, int]]]:
    groups = [((0, 1), (1, 0)), ((2, 3), (3, 2))]
    return [(a, b) for first, second in (groups, groups[::-1]) for a in first for b in second]


def test_inequivalent_published_puzzles_have_different_forms_and_hashes(published: Rows, sudoku_extreme: Path) -> None:
    tests = read_csv(sudoku_extreme / "test.csv")
    inputs = np.concatenate([published.inputs, tests.inputs])
    labels = np.concatenate([published.labels, tests.labels])
    assert len(np.unique(class_hashes(inputs, box_rows=3, box_cols=3))) == 420
    assert len(np.unique(canonical_forms(inputs[-60:], labels[-60:], box_rows=3, box_cols=3), axis=0)) == 60


def test_puzzles_of_one_grid_that_differ_in_a_given_are_told_apart(published: Rows) -> None:
    inputs, labels = published.inputs[:1].repeat(3, axis=0), published.labels[:1].repeat(3, axis=0)
    blanks = np.flatnonzero(inputs[0] == 1)
    inputs[1, blanks[0]], inputs[2, blanks[1]] = labels[0, blanks[0]], labels[0, blanks[1]]
    assert len(np.unique(canonical_forms(inputs, labels, box_rows=3, box_cols=3), axis=0)) == 3
    assert len(np.unique(class_hashes(inputs, box_rows=3, box_cols=3))) == 3


# --- the generator ---


@pytest.mark.parametrize("box", BOXES)
def test_generated_puzzles_have_exactly_one_solution_and_no_clue_too_many(box: tuple[int, int]) -> None:
    size = {"box_rows": box[0], "box_cols": box[1]}
    split = generate(*box, train=3, validation=0, test=0, seed=7).train
    assert is_valid_solution(split.inputs, split.labels, **size).all()
    assert (solve(split.inputs, **size).n_solutions == 1).all()
    for question in split.inputs:
        givens = np.flatnonzero(question > 1)
        fewer = question[None].repeat(len(givens), axis=0)
        fewer[np.arange(len(givens)), givens] = 1
        assert (solve(fewer, **size).n_solutions > 1).all()


def test_generated_splits_share_no_puzzle_up_to_symmetry(small_set: PuzzleSet) -> None:
    splits = small_set.splits.values()
    inputs, labels = np.concatenate([s.inputs for s in splits]), np.concatenate([s.labels for s in splits])
    assert len(np.unique(canonical_forms(inputs, labels, box_rows=2, box_cols=3), axis=0)) == 52


def test_the_number_of_clues_can_be_chosen() -> None:
    split = generate(2, 3, train=5, validation=0, test=0, seed=0, clues=20).train
    assert ((split.inputs > 1).sum(axis=1) == 20).all()
    assert (solve(split.inputs, box_rows=2, box_cols=3).n_solutions == 1).all()


def test_more_training_puzzles_leave_test_and_validation_as_they_are(small_set: PuzzleSet) -> None:
    larger = generate(2, 3, train=60, validation=10, test=12, seed=3)
    assert np.array_equal(larger.test.inputs, small_set.test.inputs)
    assert np.array_equal(larger.validation.inputs, small_set.validation.inputs)
    assert np.array_equal(larger.train.inputs[:30], small_set.train.inputs)


def test_the_content_hash_is_the_same_on_any_machine_and_another_seed_changes_it(small_set: PuzzleSet) -> None:
    assert small_set.content_hash == "3c32a8d5db628dc67bc24104bc0cc951a305917266f4a6a4b0f5f6f0b82f79cb"
    assert generate(2, 3, train=30, validation=10, test=12, seed=4).content_hash != small_set.content_hash


def test_puzzles_of_a_range_of_ratings_are_those_of_the_unbounded_set_that_lie_in_it() -> None:
    every = generate(3, 3, train=60, validation=0, test=0, seed=5)
    few = generate(3, 3, train=4, validation=1, test=3, seed=5, rating=(1, 6))
    fits = np.flatnonzero((every.train.ratings >= 1) & (every.train.ratings <= 6))
    assert len(fits) >= 8
    drawn = np.concatenate([few.test.inputs, few.validation.inputs, few.train.inputs])
    assert np.array_equal(drawn, every.train.inputs[fits[:8]])
    ratings = np.concatenate([few.test.ratings, few.validation.ratings, few.train.ratings])
    assert ratings.tolist() == every.train.ratings[fits[:8]].tolist()
    assert few.manifest.settings["rating"] == "1:6"
    assert few.manifest.notes[1] == f"{fits[7] - 7} of {fits[7] + 1} candidates were not rated 1:6 and were drawn again"
    assert "rating" not in every.manifest.settings


def test_a_rating_is_the_number_of_digits_tried_by_the_solver_in_words(published: Rows) -> None:
    solved = solve(published.inputs[:40], box_rows=3, box_cols=3, limit=1)
    assert solved.guesses.tolist() == [guesses_in_words(board) for board in published.inputs[:40]]
    assert len(set(solved.guesses.tolist())) > 5


def guesses_in_words(board: np.ndarray) -> int:
    """Naked and hidden singles to a fixed point, then the cell of fewest candidates, digits ascending."""
    kinds = [[9 * k + i for i in range(9)] for k in range(9)] + [[9 * i + k for i in range(9)] for k in range(9)]
    kinds += [[27 * (k // 3) + 3 * (k % 3) + 9 * (i // 3) + i % 3 for i in range(9)] for k in range(9)]
    peers = [set().union(*(unit for unit in kinds if cell in unit)) - {cell} for cell in range(81)]
    tried = 0

    def options(grid: list[int], cell: int) -> set[int]:
        return set(range(1, 10)) - {grid[peer] for peer in peers[cell]}

    def singles(grid: list[int]) -> bool:
        while True:
            empty = [cell for cell in range(81) if not grid[cell]]
            naked = [(cell, digit) for cell in empty if len(options(grid, cell)) == 1 for digit in options(grid, cell)]
            hidden = [
                (homes[0], digit)
                for unit in kinds
                for digit in range(1, 10)
                if digit not in {grid[cell] for cell in unit}
                and len(homes := [cell for cell in unit if not grid[cell] and digit in options(grid, cell)]) == 1
            ]
            for cell, digit in (naked or hidden)[:1]:
                grid[cell] = digit
            if not naked and not hidden:
                placed = all(
                    digit in {grid[cell] for cell in unit}
                    or any(digit in options(grid, c) for c in unit if not grid[c])
                    for unit in kinds
                    for digit in range(1, 10)
                )
                return placed and all(options(grid, cell) for cell in empty)

    def search(grid: list[int]) -> bool:
        nonlocal tried
        if not singles(grid):
            return False
        empty = [cell for cell in range(81) if not grid[cell]]
        if not empty:
            return True
        cell = min(empty, key=lambda cell: (len(options(grid, cell)), cell))
        for digit in sorted(options(grid, cell)):
            tried += 1
            if search([*grid[:cell], digit, *grid[cell + 1 :]]):
                return True
        return False

    assert search([int(token) - 1 for token in board])
    return tried


def test_a_board_with_too_few_puzzles_of_a_rating_says_so() -> None:
    with pytest.raises(
        TooFewPuzzles, match=r"0 different 4x4 puzzles rated 90: found .*for a wider range \(--rating\)"
    ):
        generate(2, 2, train=1, validation=0, test=0, seed=0, rating=(90, None))


def test_a_board_with_too_few_puzzles_says_how_many_there_are() -> None:
    with pytest.raises(
        TooFewPuzzles,
        match=r"36 different 4x4 puzzles found \(up to symmetry\), expected 100; .*fewer puzzles \(data\.train, ",
    ):
        generate(2, 2, train=100, validation=0, test=0, seed=0)  # 36 minimal 4x4 puzzles exist


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box_rows": 1}, "box 1x3: expected at least 2 rows"),
        ({"box_rows": 5}, r"at most 12 cells, for boards up to 12x12; .*\(data\.box_rows, data\.box_cols; --box\)"),
        ({"train": 0}, r"train: 0 puzzles asked for, expected at least 1; ask for more \(data\.train; --train\)"),
        ({"validation": -1}, "validation: -1 puzzles"),
        ({"rating": (50, 10)}, r"rating: 50:10, expected 0 or more guesses and the lower bound first \(--rating"),
        ({"clues": 37}, r"clues: 37, expected 0 to 36 .* \(data\.clues; --clues\)"),
    ],
)
def test_settings_that_cannot_be_are_named(change: dict[str, Any], message: str) -> None:
    asked: dict[str, Any] = {"box_rows": 2, "box_cols": 3, "train": 1, "validation": 0, "test": 0, "seed": 0, **change}
    with pytest.raises(BadSettings, match=message):
        generate(**asked)


def test_the_settings_and_the_builder_allow_the_same_boxes() -> None:
    def allowed(check: Callable[[int, int], object], refusal: type[ValueError]) -> set[tuple[int, int]]:
        boxes = set()
        for rows, cols in itertools.product(range(1, 8), range(1, 8)):
            with contextlib.suppress(refusal):
                check(rows, cols)
                boxes.add((rows, cols))
        return boxes

    by_settings = allowed(
        lambda rows, cols: RunConfig.parse({"data": {"box_rows": rows, "box_cols": cols}}), BadSetting
    )
    assert by_settings == allowed(check_box, BadSettings)
    assert {(2, 5), (2, 6), (6, 2), (4, 3)} <= by_settings


# --- published files ---


def test_published_rows_are_read_as_tokens(sudoku_extreme: Path, published: Rows) -> None:
    first = (sudoku_extreme / "train.csv").read_text().splitlines()[1].split(",")
    assert published.inputs[0].tolist() == [1 if c == "." else int(c) + 1 for c in first[1]]
    assert published.labels[0].tolist() == [int(c) + 1 for c in first[2]]
    assert published.ratings[0] == int(first[3])
    assert len(published) == 300


def test_zeros_for_blanks_windows_line_ends_and_a_missing_last_line_end_are_read_alike(
    sudoku_extreme: Path, published: Rows, tmp_path: Path
) -> None:
    header, *rows = (sudoku_extreme / "train.csv").read_text().splitlines()
    path = tmp_path / "train.csv"
    path.write_bytes("\r\n".join([header, *(row.replace(".", "0") for row in rows)]).encode())
    again = read_csv(path)
    assert np.array_equal(again.inputs, published.inputs)
    assert np.array_equal(again.ratings, published.ratings)


@pytest.mark.parametrize("box", [(2, 2), (2, 3), (2, 4), (3, 4)])
def test_other_boards_are_read_by_their_length(box: tuple[int, int], tmp_path: Path) -> None:
    split = generate(*box, train=2, validation=0, test=0, seed=0, clues=box[0] ** 2 * box[1] ** 2 * 3 // 4).train
    rows = read_csv(write(tmp_path / "train.csv", as_lines(split.inputs, split.labels)))
    assert (rows.box_rows, rows.box_cols) == box
    assert np.array_equal(rows.labels, split.labels)
    assert rows.ratings.tolist() == [7, 7]


def test_splits_come_from_their_files_disjoint_and_with_the_asked_counts(sudoku_extreme: Path, published: Rows) -> None:
    puzzles = from_csv(sudoku_extreme, train=100, validation=50, test=40, seed=0)
    assert puzzles.manifest.counts == {"train": 100, "validation": 50, "test": 40}
    known = {row.tobytes() for row in published.inputs}
    train = {row.tobytes() for row in puzzles.train.inputs}
    validation = {row.tobytes() for row in puzzles.validation.inputs}
    assert len(train | validation) == 150
    assert train | validation <= known
    assert not {row.tobytes() for row in puzzles.test.inputs} & known
    assert puzzles.manifest.protocol == "100"
    assert puzzles.manifest.notes == ()
    expected = hashlib.sha256((sudoku_extreme / "test.csv").read_bytes()).hexdigest()
    assert puzzles.manifest.source_sha256["test.csv"] == expected


def test_the_slice_in_the_repository_has_a_fixed_content_hash(sudoku_extreme: Path) -> None:
    whole = from_csv(sudoku_extreme, train=None, validation=60, seed=0)
    assert whole.manifest.counts == {"train": 240, "validation": 60, "test": 120}
    assert whole.manifest.protocol == "full"
    assert whole.content_hash == "ab029fbf4ae2ce8dd8a7069697eca257b56e68c6a97537468b8607d7200a7bcc"


def test_validation_stays_the_same_whatever_train_is(sudoku_extreme: Path) -> None:
    few = from_csv(sudoku_extreme, train=10, validation=20, seed=5)
    many = from_csv(sudoku_extreme, train=200, validation=20, seed=5)
    assert np.array_equal(few.validation.inputs, many.validation.inputs)
    assert not np.array_equal(from_csv(sudoku_extreme, train=10, validation=20, seed=6).train.inputs, few.train.inputs)


def test_train_puzzles_equivalent_to_a_test_puzzle_are_left_out_counted_and_told(
    sudoku_extreme: Path, published: Rows, tmp_path: Path
) -> None:
    index = np.arange(6)
    moved = augment_sudoku(published.inputs[:6], published.labels[:6], index, index + 1, seed=0, box_rows=3, box_cols=3)
    tests = (sudoku_extreme / "test.csv").read_text().splitlines()[1:]
    write(tmp_path / "test.csv", tests + as_lines(*moved))
    (tmp_path / "train.csv").write_bytes((sudoku_extreme / "train.csv").read_bytes())
    puzzles = from_csv(tmp_path, train=None, validation=0, seed=0)
    assert puzzles.manifest.counts == {"train": 294, "validation": 0, "test": 126}
    assert puzzles.manifest.dropped_from_train == 6
    assert puzzles.manifest.notes == (
        "train.csv: 6 puzzles equivalent to one of the test split were left out of train",
    )
    assert np.array_equal(puzzles.train.inputs, published.inputs[6:])


def test_train_puzzles_equivalent_to_a_validation_puzzle_are_left_out_of_train(
    sudoku_extreme: Path, published: Rows, tmp_path: Path
) -> None:
    symmetry = variant_symmetry(np.arange(300), np.arange(300) + 1, seed=0, box_rows=3, box_cols=3)
    lines = as_lines(published.inputs, published.labels) + as_lines(
        *symmetry.apply_pair(published.inputs, published.labels)
    )
    write(tmp_path / "train.csv", lines)
    (tmp_path / "test.csv").write_bytes((sudoku_extreme / "test.csv").read_bytes())
    puzzles = from_csv(tmp_path, train=None, validation=30, seed=0)
    train = class_hashes(puzzles.train.inputs, box_rows=3, box_cols=3)
    validation = class_hashes(puzzles.validation.inputs, box_rows=3, box_cols=3)
    assert not np.isin(train, validation).any()
    assert puzzles.manifest.dropped_from_train > 20
    assert len(puzzles.train) + len(puzzles.validation) + puzzles.manifest.dropped_from_train == 600


def test_a_leaking_puzzle_with_two_solutions_is_named_by_its_line(sudoku_extreme: Path, tmp_path: Path) -> None:
    header, first, second, *rest = (sudoku_extreme / "train.csv").read_text().splitlines()
    source, _, answer, rating = second.split(",")
    empty = ",".join([source, "." * 81, answer, rating])
    write(tmp_path / "train.csv", [first, empty, *rest], header)
    write(tmp_path / "test.csv", [empty], header)
    with pytest.raises(BadPuzzleFile, match=r"train\.csv, line 3: the puzzle has more than one solution"):
        from_csv(tmp_path, train=10, validation=0, seed=0)


def test_a_puzzle_with_more_than_one_solution_is_named_by_its_line_on_request(
    sudoku_extreme: Path, published: Rows, tmp_path: Path
) -> None:
    assert len(read_csv(sudoku_extreme / "train.csv", verify=True)) == 300
    header, *rows = (sudoku_extreme / "train.csv").read_text().splitlines()
    for row in (7, 250):
        source, question, answer, rating = rows[row].split(",")
        given = next(cell for cell in range(81) if question[cell] != ".")
        rows[row] = ",".join([source, question[:given] + "." + question[given + 1 :], answer, rating])
    path = write(tmp_path / "train.csv", rows, header)
    (tmp_path / "test.csv").write_bytes((sudoku_extreme / "test.csv").read_bytes())
    assert len(read_csv(path)) == 300
    for read in (
        lambda: read_csv(path, verify=True),
        lambda: build_sudoku(tmp_path / "set", source=tmp_path, train=5, validation=1, verify=True),
    ):
        with pytest.raises(
            BadPuzzleFile, match=r"train\.csv, line 9: the puzzle has more than one solution, expected its answer alone"
        ):
            read()
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (lambda q, a: f"s,{q[:-1]},{a},1", r"question has 80 characters, expected 81 for 3x3 boxes"),
        (lambda q, a: f"s,{q},{a}1,1", r"answer has 82 characters, expected 81"),
        (lambda q, a: f"s,x{q[1:]},{a},1", r"question has 'x' at row 1, column 1, expected 1-9 or '\.' for a blank"),
        (lambda q, a: f"s,{q},{a[:-1]}.,1", r"answer has '\.' at row 9, column 9, expected 1-9"),
        (lambda q, a: f"s,{q[:9]}é{q[11:]},{a},1", r"question has byte 0xc3 at row 2, column 1"),
        (
            lambda q, a: f"s,{int(a[0]) % 9 + 1}{q[1:]},{a},1",
            r"answer has '.' at row 1, column 1, expected the question",
        ),
        (lambda q, a: f"s,{'.' * 81},{a[1]}{a[1:]},1", r"answer repeats a digit in a row, column or 3x3 box"),
        (lambda q, a: f"s,{q},{a},hard", r"rating 'hard', expected an integer"),
        (lambda q, a: f"s,{q},{a},1.5", r"rating '1\.5'"),
        (lambda q, a: f"s,{q},{a},2147483648", r"rating '2147483648'"),
        (lambda q, a: f"s,{q},{a}", r"3 fields, expected 4 \(source,question,answer,rating\)"),
        (lambda q, a: f"s,{q},{a},1,2", r"5 fields, expected 4"),
    ],
)
def test_a_wrong_line_is_named_with_what_was_found_and_expected(
    sudoku_extreme: Path, tmp_path: Path, spoilt: Callable[[str, str], str], message: str
) -> None:
    header, *rows = (sudoku_extreme / "train.csv").read_text().splitlines()
    _, question, answer, _ = rows[41].split(",")
    rows[41] = spoilt(question, answer)
    path = write(tmp_path / "train.csv", rows, header)
    with pytest.raises(BadPuzzleFile, match=rf"train\.csv, line 43: {message}") as caught:
        read_csv(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("correct the line or remove it")


def test_a_short_board_in_the_first_line_is_named_too(sudoku_extreme: Path, tmp_path: Path) -> None:
    _, row, *_ = (sudoku_extreme / "train.csv").read_text().splitlines()
    source, question, answer, rating = row.split(",")
    path = write(tmp_path / "train.csv", [f"{source},{question[1:]},{answer},{rating}"])
    with pytest.raises(BadPuzzleFile, match=r"line 2: question has 80 characters, expected a board of 16, 36, 64, 81"):
        read_csv(path)


def test_a_wrong_header_a_missing_an_empty_and_a_bare_file_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "train.csv", [], "board,answer")
    with pytest.raises(BadPuzzleFile, match=r"line 1: columns 'board,answer', expected question and answer, quizzes"):
        read_csv(path)
    with pytest.raises(BadPuzzleFile, match=r"train\.csv: a header and no puzzles"):
        read_csv(write(path, []))
    path.write_bytes(b"")
    with pytest.raises(BadPuzzleFile, match=r"train\.csv: an empty file"):
        read_csv(path)
    with pytest.raises(BadPuzzleFile, match=r"nothing\.csv: missing"):
        read_csv(tmp_path / "nothing.csv")
    with pytest.raises(BadPuzzleFile, match="cannot be read"):
        read_csv(tmp_path)
    write(path, ["s,1.34341221434321,1234341221434321,0"])
    with pytest.raises(BadPuzzleFile, match=r"test\.csv: missing"):
        from_csv(tmp_path, train=1, validation=0, seed=0)


def test_fewer_puzzles_than_asked_for_says_how_many_there_are(sudoku_extreme: Path) -> None:
    with pytest.raises(
        BadPuzzleFile, match=r"train\.csv: 300 puzzles .*, expected 290 for train and 11 for validation"
    ):
        from_csv(sudoku_extreme, train=290, validation=11, seed=0)
    with pytest.raises(BadPuzzleFile, match=r"test\.csv: 120 puzzles, expected 121; .*\(data\.test; --test\)"):
        from_csv(sudoku_extreme, train=10, validation=0, test=121, seed=0)


# --- building into a folder ---


def test_a_built_set_is_reused_for_the_same_settings_and_refused_for_others(
    sudoku_extreme: Path, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"source": sudoku_extreme, "train": 20, "validation": 10, "test": 10}
    first = build_sudoku(tmp_path / "set", **asked)
    written = (tmp_path / "set" / "manifest.json").stat().st_mtime_ns
    assert build_sudoku(tmp_path / "set", **asked).content_hash == first.content_hash
    assert (tmp_path / "set" / "manifest.json").stat().st_mtime_ns == written
    with pytest.raises(OtherContent, match=r"holds a set with seed = 0, expected 1; choose another --out"):
        build_sudoku(tmp_path / "set", **asked, seed=1)
    with pytest.raises(OtherContent, match=r"box = 3x3, expected 2x3"):
        build_sudoku(tmp_path / "set", box=(2, 3), train=20, validation=10, test=10)


def test_a_set_whose_source_changed_is_not_reused(sudoku_extreme: Path, tmp_path: Path) -> None:
    for name in ("train.csv", "test.csv"):
        (tmp_path / name).write_bytes((sudoku_extreme / name).read_bytes())
    asked: dict[str, Any] = {"source": tmp_path, "train": 20, "validation": 10, "test": 10}
    build_sudoku(tmp_path / "set", **asked)
    lines = (tmp_path / "train.csv").read_text().splitlines()
    (tmp_path / "train.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(OtherContent, match=r"train\.csv = .*, expected "):
        build_sudoku(tmp_path / "set", **asked)


@pytest.mark.parametrize("source", ["files", "generate"])
def test_two_builds_are_byte_identical_and_no_validation_is_asked_for(
    source: str, sudoku_extreme: Path, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"source": sudoku_extreme, "train": None, "validation": 0}
    if source == "generate":
        asked = {"box": (2, 2), "train": 8, "validation": 0, "test": 3, "rating": (None, 4), "seed": 2}
    for name in ("one", "two"):
        assert len(build_sudoku(tmp_path / name, **asked).validation) == 0
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert len(one) == 13


def test_a_built_set_that_was_damaged_is_not_reused(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"box": (2, 3), "train": 5, "validation": 2, "test": 2}
    build_sudoku(tmp_path / "set", **asked)
    path = tmp_path / "set" / "train_inputs.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x09")
    with pytest.raises(BadManifest, match="train_inputs has sha256"):
        build_sudoku(tmp_path / "set", **asked)


def test_a_generator_without_a_number_and_clues_for_a_file_are_refused(sudoku_extreme: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="train: all puzzles asked for"):
        build_sudoku(tmp_path / "set", train=None)
    with pytest.raises(BadSettings, match="clues: 30 asked for"):
        build_sudoku(tmp_path / "set", source=sudoku_extreme, clues=30)
    with pytest.raises(BadSettings, match=r"rating: 10: asked for, but .* leave --rating out"):
        build_sudoku(tmp_path / "set", source=sudoku_extreme, rating=(10, None))
    with pytest.raises(BadSettings, match="leave --verify out"):
        build_sudoku(tmp_path / "set", verify=True)
    with pytest.raises(BadPuzzleFile, match="missing, expected a folder with train"):
        build_sudoku(tmp_path / "set", source=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
