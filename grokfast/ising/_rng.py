"""Seeds and generator states: SplitMix64 fills the states, xoshiro256+ runs on them.

Sources: Steele, Lea and Flood, OOPSLA 2014 (SplitMix64); Blackman and Vigna, ACM TOMS 47, 36 (2021)
(xoshiro256+).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from grokfast.ising.jit import kernel

WordArray = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)

# Numba turns a global of type np.uint64 into a constant of that type, which keeps arithmetic unsigned.
ONE = np.uint64(1)
ZERO = np.uint64(0)
_S11, _S17, _S19, _S45 = np.uint64(11), np.uint64(17), np.uint64(19), np.uint64(45)
_UNIT = 1.0 / (1 << 53)


def splitmix64(key: int, count: int) -> WordArray:
    """The first ``count`` outputs of SplitMix64 started at ``key``: uint64 ``[count]``."""
    with np.errstate(over="ignore"):
        z = np.uint64(key) + _GOLDEN * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return np.asarray(z ^ (z >> np.uint64(31)))


@kernel
def advance(
    s0: np.uint64, s1: np.uint64, s2: np.uint64, s3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:
    """One step of xoshiro256+: its output, and the four words of its new state."""
    result = s0 + s3
    t = s1 << _S17
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= t
    s3 = (s3 << _S45) | (s3 >> _S19)
    return result, s0, s1, s2, s3


@kernel
def next_word(state: WordArray) -> np.uint64:
    """The next output of the xoshiro256+ generator in ``state`` (uint64 ``[4]``)."""
    result, s0, s1, s2, s3 = advance(state[0], state[1], state[2], state[3])
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    return result


@kernel
def to_uniform(word: np.uint64) -> float:
    """A float64 in [0, 1) from the upper 53 bits of a random word."""
    return float(word >> _S11) * _UNIT


@kernel
def next_uniform(state: WordArray) -> float:
    """A float64 in [0, 1) with 53 random bits."""
    return to_uniform(next_word(state))


@kernel
def geometric_gap(state: WordArray, log_stay: float) -> np.int64:
    """How many trials fail before the next success, where ``log_stay`` = ln(1 - rate)."""
    u = 1.0 - next_uniform(state)  # in (0, 1]
    return np.int64(min(math.log(u) / log_stay, 4.0e18))
