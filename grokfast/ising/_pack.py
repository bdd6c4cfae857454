"""Between int8 spins and the packed words of :mod:`grokfast.ising._words`, and counts over packed words."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._halo import refresh_halo
from grokfast.ising._jit import kernel
from grokfast.ising._rng import ONE, ZERO, WordArray

SpinArray = npt.NDArray[np.int8]
IntArray = npt.NDArray[np.int64]

_PLANES = 34
ALL = np.uint64(2**64 - 1)
_S1, _S2, _S4, _S56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)
_M1 = np.uint64(0x5555555555555555)
_M2 = np.uint64(0x3333333333333333)
_M4 = np.uint64(0x0F0F0F0F0F0F0F0F)
_H = np.uint64(0x0101010101010101)
_BYTE, _S7 = np.uint64(0xFF), np.uint64(7)
_DIAGONAL = np.uint64(0x8040201008040201)
_M7F = np.uint64(0x7F7F7F7F7F7F7F7F)
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
def _bonds_of(
    s: np.uint64, up: np.uint64, down: np.uint64, here: np.uint64, beside: np.uint64, edge: WordArray
) -> tuple[np.uint64, np.uint64, np.uint64]:
    """How many bonds of an even site join unlike spins, 64 lattices at once: the bits of a number from 0 to 4."""
    d1, d2 = (s ^ up) & edge[0], (s ^ down) & edge[1]
    d3, d4 = s ^ here, (s ^ beside) & edge[2]
    sum12, both12 = d1 ^ d2, d1 & d2
    sum34, both34 = d3 ^ d4, d3 & d4
    carry = sum12 & sum34
    return sum12 ^ sum34, both12 ^ both34 ^ carry, (both12 & both34) | (carry & (both12 | both34))


@kernel
def _find_edge(edge: WordArray, height: int, n: int, width: int, is_open: bool, y: int, j: int) -> int:
    """Set ``edge`` to 0 for neighbours above, below, beside that are missing, else to all ones; the step beside."""
    right = ((y - 1) & 1) == 1
    edge[0] = ZERO if is_open and y == 1 else ALL
    edge[1] = ZERO if is_open and y == height else ALL
    outside = j >= n if right else j < 2 * width
    edge[2] = ZERO if is_open and outside else ALL
    return width if right else -width


@kernel
def _sum_planes(planes: WordArray, w: int, used: int, counts: IntArray) -> None:
    """Set up to 64 counts from their bits in ``planes[:used, w]``, eight at a time in the bytes of a word."""
    for byte in range((counts.size + 7) // 8):
        first = 8 * byte
        shift = np.uint64(first)
        for i in range(first, min(first + 8, counts.size)):
            counts[i] = 0
        for lowest in range(0, used, 8):
            bytes_ = ZERO
            for k in range(lowest, min(lowest + 8, used)):
                spread = (((planes[k, w] >> shift) & _BYTE) * _H) & _DIAGONAL
                bytes_ |= (((spread + _M7F) >> _S7) & _H) << np.uint64(k - lowest)
            for i in range(first, min(first + 8, counts.size)):
                counts[i] += np.int64((bytes_ >> np.uint64(8 * (i - first))) & _BYTE) << lowest


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
    edge = np.empty(3, np.uint64)
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
                shift = _find_edge(edge, height, n, width, is_open, y, j)
                own, up = words[0, y, j : j + _WIDE], words[1, y - 1, j : j + _WIDE]
                down = words[1, y + 1, j : j + _WIDE]
                here, beside = words[1, y, j : j + _WIDE], words[1, y, j + shift : j + shift + _WIDE]
                for w in range(_WIDE):
                    first[w], second[w], third[w] = _bonds_of(own[w], up[w], down[w], here[w], beside[w], edge)
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
                shift = _find_edge(edge, height, n, width, is_open, y, j)
                b0, b1, b2 = _bonds_of(
                    words[0, y, j], words[1, y - 1, j], words[1, y + 1, j], words[1, y, j], words[1, y, j + shift], edge
                )
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
