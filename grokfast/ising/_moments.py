"""Sums for estimates, in one pass over a measurement of all lattices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._jit import kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
SeriesArray = npt.NDArray[np.int32]

MOMENTS = 6
"""E, E², M, |M|, M², M⁴."""


@kernel
def add_moments(
    bonds: IntArray,
    magnetizations: IntArray,
    J: float,
    field: float,
    scale: float,
    shift: FloatArray,
    sums: FloatArray,
    bond_row: SeriesArray,
    magnetization_row: SeriesArray,
) -> None:
    """Add one measurement of each lattice to its sums, and keep it.

    Args:
        bonds: int64 ``[count]``.
        magnetizations: int64 ``[count]``.
        J: Coupling.
        field: h.
        scale: 1 / N.
        shift: float64 ``[count]``: energy per site near the mean, which is taken off before squaring.
        sums: float64 ``[MOMENTS, count]``, updated; per site.
        bond_row: int32 ``[count]``, output.
        magnetization_row: int32 ``[count]``, output.
    """
    for i in range(bonds.size):
        e = (-J * bonds[i] - field * magnetizations[i]) * scale - shift[i]
        m = magnetizations[i] * scale
        square = m * m
        sums[0, i] += e
        sums[1, i] += e * e
        sums[2, i] += m
        sums[3, i] += abs(m)
        sums[4, i] += square
        sums[5, i] += square * square
        bond_row[i] = bonds[i]
        magnetization_row[i] = magnetizations[i]
