"""Counts of rare events in series of magnetisations; :mod:`grokfast.ising.rare` says what they are for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from grokfast.ising.jit import kernel


@kernel
def count_events(moments: npt.NDArray[Any], unit: float, low: float, high: float) -> tuple[int, int]:
    """Passages from |m| > ``high`` to |m| < ``low``, and reversals between m > ``high`` and m < -``high``.

    What lies between ``low`` and ``high`` changes nothing; a series begins on the side of its first value.

    Args:
        moments: ``[n, R]``, n values of each of R series.
        unit: What makes them m.
        low: Of |m|.
        high: The same.

    Returns:
        How many of either, in all series.
    """
    n, R = moments.shape
    between, up = np.zeros(R, np.int64), np.zeros(R, np.int64)
    for r in range(R):
        m = moments[0, r] * unit
        between[r], up[r] = abs(m) < low, m > 0.0
    passages, reversals = 0, 0
    for k in range(1, n):
        for r in range(R):
            m = moments[k, r] * unit
            small, large, positive = np.int64(abs(m) < low), np.int64(abs(m) > high), np.int64(m > 0.0)
            # 0 or 1 throughout and no branches, so that LLVM makes vectors of the loop.
            was_between, was_up = between[np.uint64(r)], up[np.uint64(r)]
            is_between = small | (was_between & ~large)
            is_up = (positive & large) | (was_up & ~large)
            passages += is_between & ~was_between
            reversals += is_up ^ was_up
            between[np.uint64(r)], up[np.uint64(r)] = is_between, is_up
    return passages, reversals
