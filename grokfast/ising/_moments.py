"""Sums for estimates, from series of counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising.jit import kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
SeriesArray = npt.NDArray[np.int32]

MOMENTS = 6
"""E, E², M, |M|, M², M⁴."""

_TOGETHER = 256  # lattices whose sums stay in the first-level cache


@kernel
def sum_moments(
    bonds: SeriesArray,
    magnetizations: SeriesArray,
    J: float,
    field: float,
    scale: float,
    shift: FloatArray,
    parts: IntArray,
    sums: FloatArray,
) -> None:
    """Add up the measurements of each part of the series, lattice by lattice, in the order of time.

    Args:
        bonds: int32 ``[n, count]``.
        magnetizations: int32 ``[n, count]``.
        J: Coupling.
        field: h.
        scale: 1 / N.
        shift: float64 ``[count]``: energy per site near the mean, which is taken off before squaring.
        parts: int64 ``[parts + 1]``, where the parts begin, and n.
        sums: float64 ``[parts, MOMENTS, count]``, output; per site.
    """
    count = bonds.shape[1]
    # In one array of its own: with as many arrays as sums LLVM would not make vectors of the loop.
    room = np.empty(MOMENTS * _TOGETHER)
    for first in range(0, count, _TOGETHER):
        size = min(_TOGETHER, count - first)
        zero = shift[first : first + size]
        for part in range(parts.size - 1):
            room[:] = 0.0
            for k in range(parts[part], parts[part + 1]):
                b, moment = bonds[k, first : first + size], magnetizations[k, first : first + size]
                for i in range(size):
                    e = (-J * b[i] - field * moment[i]) * scale - zero[i]
                    m = moment[i] * scale
                    square = m * m
                    room[np.uint64(i)] += e
                    room[np.uint64(i + _TOGETHER)] += e * e
                    room[np.uint64(i + 2 * _TOGETHER)] += m
                    room[np.uint64(i + 3 * _TOGETHER)] += abs(m)
                    room[np.uint64(i + 4 * _TOGETHER)] += square
                    room[np.uint64(i + 5 * _TOGETHER)] += square * square
            for which in range(MOMENTS):
                for i in range(size):
                    sums[part, which, first + i] = room[which * _TOGETHER + i]
