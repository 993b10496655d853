"""Randomness without a generator: splitmix64 of a seed and counters, on whole arrays.

A draw is a pure function of what it is drawn for, so neither the order of the draws nor the version of numpy
(whose Generator streams may change between releases) has a say in it: only wrapping 64-bit integer arithmetic has.
"""

import numpy as np
from numpy.typing import NDArray

GOLDEN = 0x9E3779B97F4A7C15  # the increment of splitmix64 (Steele, Lea, Flood 2014)
MULTIPLIER_1 = 0xBF58476D1CE4E5B9
MULTIPLIER_2 = 0x94D049BB133111EB

UINT64 = 2**64


def mix(states: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of splitmix64 for each state: uint64 of any shape to uint64 of the same shape."""
    z = states + np.uint64(GOLDEN)
    z ^= z >> np.uint64(30)
    z *= np.uint64(MULTIPLIER_1)
    z ^= z >> np.uint64(27)
    z *= np.uint64(MULTIPLIER_2)
    z ^= z >> np.uint64(31)
    return z


def states(seed: int, *counters: NDArray[np.int64]) -> NDArray[np.uint64]:
    """One state [B] for each row of counters (int64 [B] each), all of them under one seed (any integer)."""
    state = mix(np.full(counters[0].shape, seed % UINT64, dtype=np.uint64))
    for counter in counters:
        state = mix(state ^ counter.astype(np.uint64))
    return state


def draws(state: NDArray[np.uint64], n_draws: int) -> NDArray[np.uint64]:
    """The first n_draws outputs of the splitmix64 streams that start at state [B]: uint64 [B, n_draws]."""
    steps = np.arange(n_draws, dtype=np.uint64) * np.uint64(GOLDEN)
    return mix(state[:, None] + steps)


def shuffled(n: int, seed: int, purpose: int) -> NDArray[np.int64]:
    """The numbers 0 .. n-1 in an order fixed by the seed and by what the order is for."""
    index = np.arange(n, dtype=np.int64)
    keys = states(seed, np.full(n, purpose, dtype=np.int64), index)
    return np.argsort(keys, kind="stable").astype(np.int64)
