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
ALL = np.uint64(2**64 - 1)
_S1, _S2, _S4, _S56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
_M1 = np.uint64(0x5555555555555555)
_M2 = np.uint64(0x3333333333333333)
_M4 = np.uint64(0x0F0F0F0F0F0F0F0F)
_H = np.uint64(0x0101010101010101)
_WIDE = 8


@kernel
def pack_replicas(spins: SpinArray, words: WordArray, width: int, is_open: bool) -> None:
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
        refresh_halo(words[color], 1, height + 1, width, 0, ALL, is_open)


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
def _first_row(bit: int, height: int, tall: np.uint64) -> tuple[int, int]:
    """The first lattice row of a bit of the site layout, and how many it has."""
    before = 0
    for b in range(bit):
        before += height if (tall >> np.uint64(b)) & ONE else height - 2
    return before, height if (tall >> np.uint64(bit)) & ONE else height - 2


@kernel
def pack_sites(spins: SpinArray, words: WordArray, bits: int, tall: np.uint64, is_open: bool) -> None:
    """Set ``words[2, H + 2, Lx / 2 + 2]`` from one lattice ``spins[Ly, Lx]``."""
    height = words.shape[1] - 2
    words[:] = ZERO
    for b in range(bits):
        top, rows = _first_row(b, height, tall)
        bit = ONE << np.uint64(b)
        for y in range(rows):
            for x in range(spins.shape[1]):
                if spins[top + y, x] > 0:
                    words[(y + x) & 1, y + 1, x // 2 + 1] |= bit
    for color in range(2):
        refresh_halo(words[color], 1, height + 1, 1, bits, tall, is_open)


@kernel
def unpack_sites(words: WordArray, spins: SpinArray, bits: int, tall: np.uint64) -> None:
    """Set one lattice ``spins[Ly, Lx]`` from ``words[2, H + 2, Lx / 2 + 2]``."""
    height = words.shape[1] - 2
    for b in range(bits):
        top, rows = _first_row(b, height, tall)
        bit = np.uint64(b)
        for y in range(rows):
            odd = y & 1
            for j in range(spins.shape[1] // 2):
                even_site = np.int8((words[0, y + 1, j + 1] >> bit) & ONE)
                odd_site = np.int8((words[1, y + 1, j + 1] >> bit) & ONE)
                spins[top + y, 2 * j + odd] = 2 * even_site - 1
                spins[top + y, 2 * j + 1 - odd] = 2 * odd_site - 1


@kernel
def exchange_replicas(words: WordArray, width: int, first: IntArray, second: IntArray) -> None:
    """Swap lattices ``first[i]`` and ``second[i]`` of ``words[blocks, 2, H + 2, n + 2 W]``, halo and all."""
    for i in range(first.size):
        a, b = first[i], second[i]
        one, two = words[a // (64 * width)], words[b // (64 * width)]
        wa, wb = (a >> 6) % width, (b >> 6) % width
        bit_a, bit_b = np.uint64(a & 63), np.uint64(b & 63)
        for color in range(2):
            for y in range(words.shape[2]):
                for j in range(0, words.shape[3], width):
                    unlike = ((one[color, y, j + wa] >> bit_a) ^ (two[color, y, j + wb] >> bit_b)) & ONE
                    one[color, y, j + wa] ^= unlike << bit_a
                    two[color, y, j + wb] ^= unlike << bit_b


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
def _ripple(planes: WordArray, carry: WordArray, start: int, used: int) -> None:
    """Add 2^start to the counters of the set bits of ``_WIDE`` words; ``carry`` is used up."""
    for k in range(start, used):
        for w in range(_WIDE):
            both = planes[k, w] & carry[w]
            planes[k, w] ^= carry[w]
            carry[w] = both


@kernel
def _add_wide(planes: WordArray, first: WordArray, second: WordArray, third: WordArray, used: int) -> None:
    """Add numbers of three bits to ``_WIDE`` words of counters."""
    for w in range(_WIDE):
        p0, p1, p2 = planes[0, w], planes[1, w], planes[2, w]
        carry = p0 & first[w]
        planes[0, w] = p0 ^ first[w]
        half = p1 ^ second[w]
        planes[1, w] = half ^ carry
        carry = (p1 & second[w]) | (half & carry)
        half = p2 ^ third[w]
        planes[2, w] = half ^ carry
        third[w] = (p2 & third[w]) | (half & carry)
    _ripple(planes, third, 3, used)


@kernel
def _bonds_of(words: WordArray, width: int, is_open: bool, y: int, j: int) -> tuple[np.uint64, np.uint64, np.uint64]:
    """How many bonds of an even site join unlike spins, 64 lattices at once: the bits of a number from 0 to 4."""
    height = words.shape[1] - 2
    n = words.shape[2] - 2 * width
    right = ((y - 1) & 1) == 1
    s = words[0, y, j]
    d1, d2 = s ^ words[1, y - 1, j], s ^ words[1, y + 1, j]
    d3, d4 = s ^ words[1, y, j], s ^ words[1, y, j + (width if right else -width)]
    if is_open:
        if y == 1:
            d1 = ZERO
        if y == height:
            d2 = ZERO
        if (right and j >= n) or (not right and j < 2 * width):
            d4 = ZERO
    sum12, both12 = d1 ^ d2, d1 & d2
    sum34, both34 = d3 ^ d4, d3 & d4
    carry = sum12 & sum34
    return sum12 ^ sum34, both12 ^ both34 ^ carry, (both12 & both34) | (carry & (both12 | both34))


@kernel
def _sum_planes(planes: WordArray, w: int, used: int, counts: IntArray) -> None:
    """Set up to 64 counts from their bits in ``planes[:used, w]``."""
    for i in range(counts.size):
        counts[i] = 0
    for k in range(used):
        word = planes[k, w]
        for i in range(counts.size):
            counts[i] += np.int64((word >> np.uint64(i)) & ONE) << k


@kernel
def count_replicas(
    words: WordArray, width: int, is_open: bool, unlike: IntArray, even: IntArray, odd: IntArray
) -> None:
    """Count the bonds between unlike spins, and the up spins of either colour, for up to 64 W lattices."""
    height = words.shape[1] - 2
    n = words.shape[2] - 2 * width
    bonds = np.zeros((_PLANES, _WIDE), np.uint64)
    evens = np.zeros((_PLANES, _WIDE), np.uint64)
    odds = np.zeros((_PLANES, _WIDE), np.uint64)
    used = 1
    while (1 << used) <= 2 * height * (n // width):
        used += 1
    used += 1
    if width == _WIDE:
        first = np.empty(_WIDE, np.uint64)
        second = np.empty(_WIDE, np.uint64)
        third = np.empty(_WIDE, np.uint64)
        for y in range(1, height + 1):
            for j in range(width, width + n, _WIDE):
                for w in range(_WIDE):
                    first[w], second[w], third[w] = _bonds_of(words, width, is_open, y, j + w)
                _add_wide(bonds, first, second, third, used)
                for w in range(_WIDE):
                    first[w], second[w], third[w] = words[0, y, j + w], ZERO, ZERO
                _ripple(evens, first, 0, used - 1)
                for w in range(_WIDE):
                    first[w] = words[1, y, j + w]
                _ripple(odds, first, 0, used - 1)
    else:
        for y in range(1, height + 1):
            for j in range(width, width + n):
                w = (j - width) % width
                b0, b1, b2 = _bonds_of(words, width, is_open, y, j)
                _add(bonds, b0, 0, w)
                _add(bonds, b1, 1, w)
                _add(bonds, b2, 2, w)
                _add(evens, words[0, y, j], 0, w)
                _add(odds, words[1, y, j], 0, w)
    for w in range(width):
        part = slice(min(64 * w, unlike.size), min(64 * w + 64, unlike.size))
        _sum_planes(bonds, w, used, unlike[part])
        _sum_planes(evens, w, used, even[part])
        _sum_planes(odds, w, used, odd[part])


@kernel
def _ones(word: np.uint64) -> np.uint64:
    """Number of set bits (LLVM recognises the pattern)."""
    word = word - ((word >> _S1) & _M1)
    word = (word & _M2) + ((word >> _S2) & _M2)
    word = (word + (word >> _S4)) & _M4
    return (word * _H) >> _S56


@kernel
def count_sites(words: WordArray, bits: int, tall: np.uint64, is_open: bool) -> tuple[np.int64, np.int64, np.int64]:
    """The bonds between unlike spins and the up spins of either colour of one lattice in the site layout."""
    height = words.shape[1] - 2
    n = words.shape[2] - 2
    every = ALL >> np.uint64(64 - bits)
    last = ONE << np.uint64(bits - 1)
    unlike, even, odd = ZERO, ZERO, ZERO
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
            even += _ones(s & here_too)
            odd += _ones(here[j] & here_too)
        if is_open:  # the bond to the halo that there is not
            j = n - 1 if left == 2 else 0
            unlike -= _ones((same[j] ^ beside[j]) & here_too)
    return np.int64(unlike), np.int64(even), np.int64(odd)
