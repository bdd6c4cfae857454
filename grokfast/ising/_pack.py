"""Between int8 spins and the packed words of :mod:`grokfast.ising._words`, and counts over packed words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._jit import kernel
from grokfast.ising._rng import ONE, ZERO, WordArray
from grokfast.ising._words import refresh_halo

SpinArray = npt.NDArray[np.int8]
IntArray = npt.NDArray[np.int64]

_PLANES = 34
_S1, _S2, _S4, _S56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
_M1 = np.uint64(0x5555555555555555)
_M2 = np.uint64(0x3333333333333333)
_M4 = np.uint64(0x0F0F0F0F0F0F0F0F)
_H = np.uint64(0x0101010101010101)


@kernel
def pack_replicas(spins: SpinArray, words: WordArray, width: int) -> None:
    """Set ``words[2, Ly + 2, n + 2 W]`` from at most 64 W lattices ``spins[lattices, Ly, Lx]``."""
    lattices, height, columns = spins.shape
    for color in range(2):
        for y in range(height):
            odd = (y + color) & 1
            for j in range(columns // 2):
                for w in range(width):
                    word = ZERO
                    for bit in range(min(64, lattices - 64 * w)):
                        if spins[64 * w + bit, y, 2 * j + odd] > 0:
                            word |= ONE << np.uint64(bit)
                    words[color, y + 1, (j + 1) * width + w] = word
        refresh_halo(words[color], 1, height + 1, width, False)


@kernel
def unpack_replicas(words: WordArray, spins: SpinArray, width: int) -> None:
    """Set ``spins[lattices, Ly, Lx]`` from ``words[2, Ly + 2, n + 2 W]``."""
    lattices, height, columns = spins.shape
    for lattice in range(lattices):
        w = lattice >> 6
        bit = np.uint64(lattice & 63)
        for y in range(height):
            odd = y & 1
            for j in range(columns // 2):
                at = (j + 1) * width + w
                even_site = np.int8((words[0, y + 1, at] >> bit) & ONE)
                odd_site = np.int8((words[1, y + 1, at] >> bit) & ONE)
                spins[lattice, y, 2 * j + odd] = 2 * even_site - 1
                spins[lattice, y, 2 * j + 1 - odd] = 2 * odd_site - 1


@kernel
def pack_sites(spins: SpinArray, words: WordArray) -> None:
    """Set ``words[2, H + 2, Lx / 2 + 2]`` from one lattice ``spins[64 H, Lx]``."""
    height = words.shape[1] - 2
    for color in range(2):
        for y in range(height):
            odd = (y + color) & 1
            for j in range(spins.shape[1] // 2):
                word = ZERO
                for bit in range(64):
                    if spins[bit * height + y, 2 * j + odd] > 0:
                        word |= ONE << np.uint64(bit)
                words[color, y + 1, j + 1] = word
        refresh_halo(words[color], 1, height + 1, 1, True)


@kernel
def unpack_sites(words: WordArray, spins: SpinArray) -> None:
    """Set one lattice ``spins[64 H, Lx]`` from ``words[2, H + 2, Lx / 2 + 2]``."""
    height = words.shape[1] - 2
    for block in range(64):
        bit = np.uint64(block)
        for y in range(height):
            odd = y & 1
            for j in range(spins.shape[1] // 2):
                even_site = np.int8((words[0, y + 1, j + 1] >> bit) & ONE)
                odd_site = np.int8((words[1, y + 1, j + 1] >> bit) & ONE)
                spins[block * height + y, 2 * j + odd] = 2 * even_site - 1
                spins[block * height + y, 2 * j + 1 - odd] = 2 * odd_site - 1


@kernel
def _add(planes: WordArray, word: np.uint64, weight: int, w: int) -> None:
    """Add 2^weight to the counter of each set bit; ``planes[k, w]`` holds bit k of 64 counters."""
    k = weight
    while word:
        carry = planes[k, w] & word
        planes[k, w] ^= word
        word = carry
        k += 1


@kernel
def count_replicas(words: WordArray, width: int, unlike: IntArray, up: IntArray) -> None:
    """Count, for each of up to 64 W lattices, the bonds between unlike spins and the up spins."""
    height = words.shape[1] - 2
    n = words.shape[2] - 2 * width
    bonds = np.zeros((_PLANES, width), np.uint64)
    ups = np.zeros((_PLANES, width), np.uint64)
    for y in range(1, height + 1):
        shift = width if (y - 1) & 1 else -width
        for j in range(width, width + n):
            w = (j - width) % width
            s = words[0, y, j]
            t = words[1, y, j]
            d1, d2 = s ^ words[1, y - 1, j], s ^ words[1, y + 1, j]
            d3, d4 = s ^ t, s ^ words[1, y, j + shift]
            sum12, both12 = d1 ^ d2, d1 & d2
            sum34, both34 = d3 ^ d4, d3 & d4
            carry = sum12 & sum34
            _add(bonds, sum12 ^ sum34, 0, w)
            _add(bonds, both12 ^ both34 ^ carry, 1, w)
            _add(bonds, (both12 & both34) | (carry & (both12 | both34)), 2, w)
            _add(ups, s ^ t, 0, w)
            _add(ups, s & t, 1, w)
    for lattice in range(unlike.size):
        w = lattice >> 6
        bit = np.uint64(lattice & 63)
        unlike[lattice] = 0
        up[lattice] = 0
        for k in range(_PLANES):
            unlike[lattice] += np.int64((bonds[k, w] >> bit) & ONE) << k
            up[lattice] += np.int64((ups[k, w] >> bit) & ONE) << k


@kernel
def _ones(word: np.uint64) -> np.uint64:
    """Number of set bits (LLVM recognises the pattern)."""
    word = word - ((word >> _S1) & _M1)
    word = (word & _M2) + ((word >> _S2) & _M2)
    word = (word + (word >> _S4)) & _M4
    return (word * _H) >> _S56


@kernel
def count_sites(words: WordArray) -> tuple[np.int64, np.int64]:
    """The bonds between unlike spins and the up spins of one lattice in the site layout."""
    height = words.shape[1] - 2
    n = words.shape[2] - 2
    bonds = ZERO
    ups = ZERO
    for y in range(1, height + 1):
        left = 2 if (y - 1) & 1 else 0
        same = words[0, y, 1 : n + 1]
        above, below = words[1, y - 1, 1 : n + 1], words[1, y + 1, 1 : n + 1]
        here, beside = words[1, y, 1 : n + 1], words[1, y, left : left + n]
        for j in range(n):
            s = same[j]
            bonds += _ones(s ^ above[j]) + _ones(s ^ below[j]) + _ones(s ^ here[j]) + _ones(s ^ beside[j])
            ups += _ones(s) + _ones(here[j])
    return np.int64(bonds), np.int64(ups)
