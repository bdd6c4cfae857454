"""Rare events that errors cannot show: states between the two signs of the magnetisation, and reversals."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from grokfast.ising.series import Series

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

FEW = 12
"""Fewer events than this are few: 12 of them give a rare event's share to 30 %, and skewness γ²/B = 1/12."""

_TWO_PEAKS = 2.0  # ⟨|m|⟩ in standard deviations of |m|, from which on M has two peaks (a normal M has 1.3)

_WIDE = 3.0  # where ⟨|m|⟩ is fewer standard deviations of |m|, a tenth of the time is spent between the signs

_NARROW = 40.0  # where it is more, what lies between the signs has no weight

_SITES = 40.0  # of a lattice so small that it takes more


def few_events(series: Series, size: FloatArray, square: FloatArray, *, long: float) -> tuple[BoolArray, BoolArray]:
    """Where a series below Tc saw so little of what lies between the signs of M that its errors are too small.

    A finite lattice without a field is up and down equally often, and the walls on the way from one to the other make
    up a good part of χ: of 8×8 at T = 1.9 J, 21 % in 0.3 % of the time. A chain that met none of them looks as good
    as any. So passages from |m| > 0.9 ⟨|m|⟩ to |m| < 0.5 ⟨|m|⟩ are counted, in all replicas together. Where ⟨|m|⟩ is
    more than 40 standard deviations of |m|, walls have less than 1 % of χ, by the transfer matrices of L = 6 and 8
    (4×4 needs 100, and the bound rises so for fewer than 40 sites), and none are asked for.

    Where M has two peaks, also at Tc, its mean is decided by when it turns over. A sign that turns over at a constant
    rate has the autocorrelation time (measurements) / (2 reversals): a count over all replicas says it far better than
    the correlations of a series that hardly left one side, whose time comes out too short. So a series that is
    to be ``long`` times its autocorrelation time needs ``long`` / 2 reversals in each replica, on average.

    Args:
        series: What was measured.
        size: ⟨|m|⟩, float64 ``[T]``.
        square: ⟨m²⟩, float64 ``[T]``.
        long: Autocorrelation times in a series that is not short.

    Returns:
        Whether there were few passages that matter, and whether there were few reversals of M: bool ``[T]`` each.
    """
    from grokfast.ising._events import count_events  # only now is Numba imported

    spread = np.sqrt(np.maximum(square - size**2, 0.0))
    reversible = abs(series.field) * series.sites * size < series.temperatures  # the field does not forbid one sign
    ordered = size > _WIDE * spread
    narrow = size > _NARROW * max(1.0, _SITES / series.sites) * spread
    passages, reversals = np.full(size.size, FEW), np.full(size.size, np.inf)
    for i in np.flatnonzero(reversible & (size > _TWO_PEAKS * spread)):
        low, high = 0.5 * size[i], 0.9 * size[i]
        passages[i], reversals[i] = count_events(series.moments[:, i], series.unit, low, high)
    return (passages < FEW) & ordered & ~narrow, reversals < long / 2.0 * series.shape[2]
