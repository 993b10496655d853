import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.augment import augment_sudoku, variant_symmetry
from data_prep.puzzle_set import PuzzleSet
from data_prep.sudoku import generate, is_valid_solution

BOXES = [(2, 2), (2, 3), (3, 2), (3, 3)]
numbers = st.integers(min_value=0, max_value=2**31)


@pytest.fixture(scope="module")
def sets() -> dict[tuple[int, int], PuzzleSet]:
    return {box: generate(*box, train=6, validation=0, test=0, seed=1) for box in BOXES}


@settings(max_examples=30, deadline=None)
@given(box=st.sampled_from(BOXES), seed=numbers, variant=st.integers(0, 1000))
def test_a_shuffled_sudoku_is_still_a_sudoku_with_its_givens(
    sets: dict[tuple[int, int], PuzzleSet], box: tuple[int, int], seed: int, variant: int
) -> None:
    split = sets[box].train
    index, variants = np.arange(6), np.full(6, variant)
    inputs, labels = augment_sudoku(
        split.inputs, split.labels, index, variants, seed=seed, box_rows=box[0], box_cols=box[1]
    )
    assert inputs.dtype == labels.dtype == np.uint8
    assert is_valid_solution(inputs, labels, box_rows=box[0], box_cols=box[1]).all()
    assert ((inputs > 1).sum(axis=1) == (split.inputs > 1).sum(axis=1)).all()


@settings(max_examples=30, deadline=None)
@given(box=st.sampled_from(BOXES), seed=numbers, first=numbers)
def test_the_inverse_is_exact_on_both_sides(box: tuple[int, int], seed: int, first: int) -> None:
    side = box[0] * box[1]
    index = np.arange(40)
    symmetry = variant_symmetry(index, index + first, seed=seed, box_rows=box[0], box_cols=box[1])
    boards = np.random.default_rng(0).integers(0, side + 2, (40, side * side)).astype(np.uint8)
    assert np.array_equal(symmetry.inverse().apply(symmetry.apply(boards)), boards)
    assert np.array_equal(symmetry.apply(symmetry.inverse().apply(boards)), boards)


@settings(max_examples=20, deadline=None)
@given(seed=numbers, chosen=st.lists(st.integers(0, 29), min_size=1, max_size=8))
def test_a_variant_does_not_depend_on_the_batch_it_stands_in(
    small_set: PuzzleSet, seed: int, chosen: list[int]
) -> None:
    split, box = small_set.train, {"box_rows": 2, "box_cols": 3}
    index, variants = np.arange(30), np.arange(30) * 7 % 11
    whole = augment_sudoku(split.inputs, split.labels, index, variants, seed=seed, **box)
    some = np.array(chosen)
    part = augment_sudoku(split.inputs[some], split.labels[some], index[some], variants[some], seed=seed, **box)
    assert np.array_equal(part[0], whole[0][some])
    assert np.array_equal(part[1], whole[1][some])


def test_variant_zero_is_the_original(small_set: PuzzleSet) -> None:
    split, zeros = small_set.train, np.zeros(30, dtype=np.int64)
    inputs, labels = augment_sudoku(split.inputs, split.labels, np.arange(30), zeros, seed=9, box_rows=2, box_cols=3)
    assert np.array_equal(inputs, split.inputs)
    assert np.array_equal(labels, split.labels)


def test_seed_puzzle_and_variant_each_change_the_symmetry() -> None:
    index, variant = np.array([5, 6, 5]), np.array([1, 1, 2])
    box = {"box_rows": 3, "box_cols": 3}
    one, other = variant_symmetry(index, variant, seed=0, **box), variant_symmetry(index, variant, seed=1, **box)
    assert len({tuple(row) for row in np.concatenate([one.digits, other.digits]).tolist()}) == 6
    assert len({tuple(row) for row in np.concatenate([one.rows, other.rows]).tolist()}) == 6


@pytest.mark.parametrize("box", BOXES)
def test_rows_keep_their_bands_columns_their_stacks_and_only_a_square_box_is_transposed(box: tuple[int, int]) -> None:
    index = np.arange(2000)
    symmetry = variant_symmetry(index, index + 1, seed=0, box_rows=box[0], box_cols=box[1])
    for lines, size in ((symmetry.rows, box[0]), (symmetry.columns, box[1])):
        groups = (lines // size).reshape(2000, -1, size)
        assert (groups == groups[:, :, :1]).all()
        assert (np.sort(lines, axis=1) == np.arange(box[0] * box[1])).all()
    assert (np.sort(symmetry.digits, axis=1) == np.arange(box[0] * box[1])).all()
    share = symmetry.transposed.mean()
    assert 0.45 < share < 0.55 if box[0] == box[1] else share == 0


def test_all_3072_symmetries_of_a_4x4_board_are_reached_about_equally_often() -> None:
    index = np.arange(100_000)
    symmetry = variant_symmetry(index, index * 0 + 1, seed=0, box_rows=2, box_cols=2)
    found = np.column_stack([symmetry.rows, symmetry.columns, symmetry.digits, symmetry.transposed])
    _, counts = np.unique(found, axis=0, return_counts=True)
    assert len(counts) == 2 * 8 * 8 * 24
    mean = 100_000 / 3072
    chi_squared = ((counts - mean) ** 2 / mean).sum()
    assert abs(chi_squared - 3071) < 5 * np.sqrt(2 * 3071)
