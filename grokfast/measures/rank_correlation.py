"""Correlation of ranks, also with a third quantity held fixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grokfast.errors import InputError
from grokfast.measures.resampling import bootstrap
from grokfast.measures.statistics import Estimate

_LEAST = 4


def rank_correlation(
    x: ArrayLike, y: ArrayLike, given: ArrayLike | None = None, *, draws: int = 2000, seed: int = 0
) -> Estimate:
    r"""Spearman's :math:`r_s`, Pearson's correlation of mid-ranks, with its 95 % bootstrap interval over the points.

    With a third quantity, the partial correlation of the ranks,
    :math:`(r_{xy} - r_{xz} r_{yz}) / \sqrt{(1 - r_{xz}^2)(1 - r_{yz}^2)}`.

    Args:
        x: ``[n]``, finite, n >= 4.
        y: ``[n]``.
        given: ``[n]``, what is held fixed.
        draws: Resamples.
        seed: Of the resampling.

    Raises:
        InputError: If there are fewer than four points, they are not finite, or all values of one are equal.

    Source:
        C. Spearman 1904; the interval as :func:`grokfast.measures.bootstrap`.
    """
    columns = [np.asarray(values, dtype=np.float64) for values in (x, y, *(() if given is None else (given,)))]
    if any(values.shape != (len(columns[0]),) or len(values) < _LEAST for values in columns):
        raise InputError(
            f"a rank correlation needs the same {_LEAST} points or more of each, got {[list(v.shape) for v in columns]}"
        )
    if not all(np.isfinite(values).all() for values in columns):
        raise InputError("a rank correlation needs finite values")
    if any(np.ptp(values) == 0 for values in columns):
        raise InputError("a rank correlation needs values that differ")
    points = np.stack(columns, 1)
    return bootstrap(list(points), lambda chosen: _of(np.array(chosen)), draws=draws, seed=seed)


def _of(points: NDArray[np.float64]) -> float:
    ranks = np.stack([_ranks(column) for column in points.T])
    if (np.ptp(ranks, axis=1) == 0).any():
        return float("nan")
    r: NDArray[np.float64] = np.atleast_2d(np.corrcoef(ranks))
    if len(ranks) == 2:
        return float(r[0, 1])
    left = (1 - r[0, 2] ** 2) * (1 - r[1, 2] ** 2)
    return float((r[0, 1] - r[0, 2] * r[1, 2]) / np.sqrt(left)) if left > 1e-12 else float("nan")


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, where, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[where]
