"""Where the words with edge sites of an open lattice are, for :mod:`grokfast.ising._general`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
WordArray = npt.NDArray[np.uint64]


class Edges(NamedTuple):
    """The arguments of the kernel with the same names.

    Attributes:
        edges: int64 ``[E, 2]``, row and column of each word, by colour, number of missing neighbours, row.
        bits: uint64 ``[E]``, which bits of it have so many missing neighbours.
        starts: int64 ``[2, 2, strips + 1]``.
    """

    edges: IntArray
    bits: WordArray
    starts: IntArray


def find_edges(
    height: int, n: int, width: int, lanes: int, tall: int, strip: int, strips: int, *, is_open: bool
) -> Edges:
    """List the words of a block that hold sites with a missing neighbour.

    Args:
        height: Rows of words H.
        n: Words in a row of one colour.
        width: W.
        lanes: B in the site layout, 0 in the replica layout.
        tall: Bits of the site layout that have H rows.
        strip: Rows of a strip.
        strips: How many strips.
        is_open: Whether there are edges at all.

    Returns:
        The list; empty for periodic lattices.
    """
    everything = (1 << 64) - 1
    first = 1 if lanes else everything
    last = 1 << (lanes - 1) if lanes else everything
    bottom = height if not lanes or tall & last else height - 2
    entries: list[tuple[int, int, int]] = []
    starts = np.zeros((2, 2, strips + 1), dtype=np.int64)
    for color in range(2):
        found: dict[int, list[tuple[int, int, int]]] = {1: [], 2: []}
        for y in range(1, height + 1) if is_open else ():
            side = n - width if (y - 1 + color) & 1 else 0
            across = (first if y == 1 else 0, last if y == bottom else 0)
            whole_row = any(across)
            for j in range(0, n, width) if whole_row else (side,):
                along = everything if j == side else 0
                twice = (along & (across[0] | across[1])) | (across[0] & across[1])
                once = (along | across[0] | across[1]) & ~twice
                for missing, bits in ((1, once), (2, twice)):
                    if bits:
                        found[missing] += [(y, width + j + w, bits) for w in range(width)]
        for missing in (1, 2):
            rows = np.array([y for y, _, _ in found[missing]], dtype=np.int64)
            borders = np.minimum(1 + strip * np.arange(strips + 1), height + 1)
            starts[color, missing - 1] = len(entries) + np.searchsorted(rows, borders)
            entries += found[missing]
    places = np.array([(y, j) for y, j, _ in entries], dtype=np.int64).reshape(-1, 2)
    return Edges(places, np.array([bits for _, _, bits in entries], dtype=np.uint64), starts)
