"""How a problem's lattices are cut into blocks of words."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from grokfast.ising.engine import Problem, words_abreast
from grokfast.ising.kinds import Layout

WordArray = npt.NDArray[np.uint64]

STRIP_WORDS = 2048
"""Words of one colour in a strip, about: the rows that share generators and that a thread takes at once."""

_LINES = 16  # words of two cache lines, which processors fetch together


def block_shape(problem: Problem, layout: Layout) -> tuple[int, int, int, int]:
    """Blocks, rows of words H, words in a row of one colour n, and words abreast W."""
    if layout is Layout.SITE:
        return problem.count, 2 * math.ceil(problem.rows // 2 / site_lanes(problem.rows)), problem.columns // 2, 1
    W = words_abreast(problem.count, problem.columns)
    return math.ceil(problem.count / (64 * W)), problem.rows, problem.columns // 2 * W, W


def site_lanes(rows: int) -> int:
    """B, the bits of a word that hold blocks of rows in the site layout."""
    return min(64, rows // 2)


def tall_lanes(rows: int) -> int:
    """Those of the B bits that have H rows and not H - 2; all 64 bits if every one has."""
    lanes = site_lanes(rows)
    rest = rows // 2 % lanes
    return (1 << rest) - 1 if rest else (1 << 64) - 1


def strip_rows(n: int) -> int:
    """Rows of a strip, where a row has ``n`` words of one colour."""
    return max(1, math.ceil(STRIP_WORDS / n))


def aligned_words(shape: tuple[int, ...]) -> WordArray:
    """Zeros, uint64, from the start of a pair of cache lines on."""
    size = math.prod(shape)
    raw = np.zeros(size + _LINES, dtype=np.uint64)
    start = -(raw.ctypes.data // 8) % _LINES
    return raw[start : start + size].reshape(shape)


def word_bytes(problem: Problem, layout: Layout) -> int:
    """Memory of the packed lattices."""
    blocks, height, n, W = block_shape(problem, layout)
    return blocks * 2 * (height + 2) * (n + 2 * W) * 8
