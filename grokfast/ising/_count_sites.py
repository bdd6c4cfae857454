"""Counts over one lattice in the site layout, by the number of set bits of words."""

from __future__ import annotations

import numpy as np

from grokfast.ising._rng import ONE, ZERO, WordArray
from grokfast.ising.jit import kernel

_ALL = np.uint64(2**64 - 1)
_S1, _S2, _S4, _S56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
_M1 = np.uint64(0x5555555555555555)
_M2 = np.uint64(0x3333333333333333)
_M4 = np.uint64(0x0F0F0F0F0F0F0F0F)
_H = np.uint64(0x0101010101010101)


@kernel
def _ones(word: np.uint64) -> np.uint64:
    """Number of set bits (LLVM recognises the pattern)."""
    word = word - ((word >> _S1) & _M1)
    word = (word & _M2) + ((word >> _S2) & _M2)
    word = (word + (word >> _S4)) & _M4
    return (word * _H) >> _S56


@kernel
def count_sites(
    words: WordArray, bits: int, tall: np.uint64, is_open: bool, turn: np.uint64
) -> tuple[np.int64, np.int64]:
    """The bonds between unlike spins and the up spins of one lattice.

    Args:
        words: uint64 ``[2, H + 2, Lx / 2 + 2]``.
        bits: B.
        tall: The bits that have H rows.
        is_open: Whether the edges see nothing.
        turn: All ones to count odd sites that are down in place of those that are up.
    """
    height = words.shape[1] - 2
    n = words.shape[2] - 2
    every = _ALL >> np.uint64(64 - bits)
    last = ONE << np.uint64(bits - 1)
    unlike, up = ZERO, ZERO
    for y in range(1, height + 1):
        here_too = every if y <= height - 2 else every & tall
        above_too, below_too = here_too, here_too
        if is_open:
            if y == 1:
                above_too &= ~ONE
            if y == (height if tall & last else height - 2):
                below_too &= ~last
        left = 2 if (y - 1) & 1 else 0
        same = words[0, y, 1 : n + 1]
        above, below = words[1, y - 1, 1 : n + 1], words[1, y + 1, 1 : n + 1]
        here, beside = words[1, y, 1 : n + 1], words[1, y, left : left + n]
        for j in range(n):
            s = same[j]
            unlike += _ones((s ^ above[j]) & above_too) + _ones((s ^ below[j]) & below_too)
            unlike += _ones((s ^ here[j]) & here_too) + _ones((s ^ beside[j]) & here_too)
            up += _ones(s & here_too) + _ones((here[j] ^ turn) & here_too)
        if is_open:  # the bond to the halo that there is not
            j = n - 1 if left == 2 else 0
            unlike -= _ones((same[j] ^ beside[j]) & here_too)
    return np.int64(unlike), np.int64(up)
