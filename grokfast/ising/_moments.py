"""Sums for estimates, from series of counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._jit import kernel

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
        sums: float64 ``[parts, MOMENTS, count]``, updated; per site.
    """
    count = bonds.shape[1]
    for first in range(0, count, _TOGETHER):
        last = min(first + _TOGETHER, count)
        for part in range(parts.size - 1):
            for k in range(parts[part], parts[part + 1]):
                for i in range(first, last):
                    e = (-J * bonds[k, i] - field * magnetizations[k, i]) * scale - shift[i]
                    m = magnetizations[k, i] * scale
                    square = m * m
                    sums[part, 0, i] += e
                    sums[part, 1, i] += e * e
                    sums[part, 2, i] += m
                    sums[part, 3, i] += abs(m)
                    sums[part, 4, i] += square
                    sums[part, 5, i] += square * square
