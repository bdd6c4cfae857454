"""Between int8 spins and the packed words of :mod:`grokfast.ising._words`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._halo import refresh_halo
from grokfast.ising._rng import ONE, ZERO, WordArray
from grokfast.ising.jit import kernel

SpinArray = npt.NDArray[np.int8]
IntArray = npt.NDArray[np.int64]

ALL = np.uint64(2**64 - 1)


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
