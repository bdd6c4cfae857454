"""Intervals without a normal distribution: the bootstrap over seeds, and proportions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from grokfast._checks import check_at_least, check_fraction
from grokfast._edge import edge
from grokfast.errors import InputError
from grokfast.measures.statistics import Estimate

_T = TypeVar("_T")


@edge
def bootstrap(
    groups: Sequence[_T],
    statistic: Callable[[Sequence[_T]], float],
    *,
    draws: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Percentile bootstrap over independent groups, such as the runs of each seed.

    Args:
        groups: n >= 2 of them.
        statistic: A number from groups, some of which may come several times; NaN where it has none, which is left out.
        draws: Resamples.
        confidence: Coverage, in (0, 1).
        seed: Of the resampling.

    Returns:
        The statistic of all groups, with the percentiles of the resamples; the interval is NaN if more than a
        tenth of them have none.

    Raises:
        InputError: If there are fewer than two groups.

    Source:
        B. Efron, Ann. Stat. 7, 1 (1979).
    """
    check_fraction("confidence", confidence)
    check_at_least("draws", draws, 1)
    if len(groups) < 2:
        raise InputError(f"the bootstrap needs at least two groups, got {len(groups)}")
    generator = np.random.default_rng(seed)
    chosen = generator.integers(len(groups), size=(draws, len(groups)))
    # Which groups, not in which order: few groups give few different resamples.
    unique, counts = np.unique(np.sort(chosen, 1), axis=0, return_counts=True)
    values = np.array([statistic([groups[k] for k in row]) for row in unique], dtype=np.float64)
    values = np.repeat(values, counts)
    low = high = np.nan
    finite = values[np.isfinite(values)]
    if finite.size >= 0.9 * draws:
        low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(float(statistic(groups)), float(low), float(high), len(groups))


@edge
def proportion(successes: int, trials: int, confidence: float = 0.95) -> Estimate:
    """A share with its exact interval.

    Args:
        successes: From 0 to ``trials``.
        trials: At least 1.
        confidence: Coverage, in (0, 1).

    Returns:
        The share, and the interval by Clopper and Pearson.

    Raises:
        InputError: If the numbers do not fit.

    Source:
        C. J. Clopper and E. S. Pearson, Biometrika 26, 404 (1934).
    """
    check_fraction("confidence", confidence)
    if trials < 1 or not 0 <= successes <= trials:
        raise InputError(f"expected 0 to {trials} successes of at least one trial, got {successes} of {trials}")
    from scipy.stats import beta

    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, trials - successes + 1))
    high = 1.0 if successes == trials else float(beta.ppf(1 - tail, successes + 1, trials - successes))
    return Estimate(successes / trials, low, high, trials)


@edge
def regression_slope(y: Sequence[float], x: Sequence[float], controls: Sequence[Sequence[float]] = ()) -> float:
    """Least-squares slope of y on x, with further columns held fixed.

    Args:
        y: ``[n]``.
        x: ``[n]``.
        controls: Columns ``[n]``.

    Returns:
        The slope; NaN where x does not vary beyond the controls, or there are too few points.

    Raises:
        InputError: If lengths differ.
    """
    columns = [np.asarray(x, np.float64), *(np.asarray(one, np.float64) for one in controls)]
    target = np.asarray(y, np.float64)
    if target.ndim != 1 or any(column.shape != target.shape for column in columns):
        raise InputError("expected columns of one length")
    table = np.stack([np.ones_like(target), *(columns[1:])], 1)
    if target.size <= table.shape[1] or not np.isfinite(np.stack([target, *columns])).all():
        return float("nan")
    beyond = columns[0] - table @ np.linalg.lstsq(table, columns[0], rcond=None)[0]
    scale = float(np.abs(columns[0] - columns[0].mean()).max())
    if float(np.abs(beyond).max()) <= 1e-9 * scale or scale == 0:
        return float("nan")
    return float(beyond @ target / (beyond @ beyond))
