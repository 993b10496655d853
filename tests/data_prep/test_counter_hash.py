import numpy as np

from data_prep import sudoku_kernels as kernels
from data_prep.counter_hash import draws, mix, shuffled, states

# The first outputs of splitmix64 from state 0, as published with its reference implementation.
REFERENCE = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_the_stream_of_state_zero_is_that_of_the_reference_implementation() -> None:
    assert draws(np.zeros(1, dtype=np.uint64), 3)[0].tolist() == REFERENCE


def test_the_compiled_hash_equals_the_one_on_arrays() -> None:
    values = np.array([0, 1, 2**63, 2**64 - 1], dtype=np.uint64)
    assert [int(kernels.mix(value)) for value in values] == mix(values).tolist()


def test_a_shuffle_is_a_permutation_that_seed_and_purpose_change() -> None:
    orders = [shuffled(50, 0, 1), shuffled(50, 1, 1), shuffled(50, 0, 2)]
    assert all(sorted(order.tolist()) == list(range(50)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 3
    assert np.array_equal(shuffled(50, 0, 1), orders[0])


def test_negative_and_huge_seeds_are_seeds_like_others() -> None:
    counter = np.arange(4, dtype=np.int64)
    found = {int(states(seed, counter)[0]) for seed in (-1, 0, 1, 2**70 + 5)}
    assert len(found) == 4
