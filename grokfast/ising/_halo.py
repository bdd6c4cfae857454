"""The border of a block of words, where rows and columns find their periodic neighbours."""

from __future__ import annotations

import numpy as np

from grokfast.ising._rng import ONE, WordArray
from grokfast.ising.jit import kernel


@kernel
def from_bit_above(word: np.uint64, bits: int, is_open: bool) -> np.uint64:
    """Bit b becomes what bit b - 1 was, of the ``bits`` lowest ones; the first what the last was, or 0."""
    if is_open:
        return word << ONE
    return (word << ONE) | ((word >> np.uint64(bits - 1)) & ONE)


@kernel
def from_bit_below(word: np.uint64, bits: int, is_open: bool) -> np.uint64:
    """Bit b becomes what bit b + 1 was; the last what the first was, or 0."""
    top = ONE << np.uint64(bits - 1)
    inner = (word >> ONE) & (top - ONE)
    return inner if is_open or not word & ONE else inner | top


@kernel
def refresh_halo(rows: WordArray, first: int, last: int, width: int, bits: int, tall: np.uint64, is_open: bool) -> None:
    """Copy the edges of rows ``first`` to ``last`` - 1 (from 1) of one colour to where neighbours look for them.

    Args:
        rows: uint64 ``[H + 2, n + 2 W]``, updated.
        first: First row that has changed.
        last: Row after the last.
        width: W.
        bits: B in the site layout, 0 in the replica layout.
        tall: The bits that have H rows in the site layout, see above; all bits if every bit has.
        is_open: Whether the lattice's edges see nothing: then their halo stays 0.
    """
    height = rows.shape[0] - 2
    n = rows.shape[1] - 2 * width
    if not is_open:
        for y in range(first, last):
            for w in range(width):
                rows[y, w] = rows[y, n + w]
                rows[y, n + width + w] = rows[y, width + w]
    if bits == 0 and is_open:
        return
    if last == height + 1:
        for j in range(rows.shape[1]):
            word = rows[height, j]
            if bits > 0:
                if ~tall:
                    word = (word & tall) | (rows[height - 2, j] & ~tall)
                    rows[height - 1, j] = (rows[height - 1, j] & tall) | (
                        from_bit_below(rows[1, j], bits, is_open) & ~tall
                    )
                word = from_bit_above(word, bits, is_open)
            rows[0, j] = word
    if first == 1:
        for j in range(rows.shape[1]):
            word = rows[1, j]
            rows[height + 1, j] = from_bit_below(word, bits, is_open) if bits > 0 else word
