"""Whether chains have mixed, and how sure their mean is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from grokfast.errors import InputError

Draws = NDArray[np.float64]
"""``[chains, steps]``."""


def split_r_hat(draws: Draws) -> float:
    r"""Potential scale reduction of chains cut in halves, :math:`\sqrt{\widehat{\mathrm{var}}^+ / W}`.

    Args:
        draws: ``[chains, steps]``, at least 4 steps.

    Returns:
        1 where the halves agree; NaN where nothing varies.

    Source:
        Gelman et al., Bayesian Data Analysis, 3rd ed., sec. 11.4.
    """
    halves = _halves(_checked(draws))
    n = halves.shape[1]
    within = halves.var(axis=1, ddof=1).mean()
    between = n * halves.mean(axis=1).var(ddof=1)
    if within == 0:
        return math.nan if between == 0 else math.inf
    return math.sqrt(((n - 1) / n * within + between / n) / within)


def effective_sample_size(draws: Draws) -> float:
    r"""Number of independent draws that say as much about the mean, over all chains.

    :math:`m n / (1 + 2 \sum_t \hat\rho_t)`, the correlations from all chains together and cut where pairs of them are
    no longer positive (Geyer), falling monotonically.

    Args:
        draws: ``[chains, steps]``, at least 4 steps.

    Returns:
        At most the number of draws times their base-10 logarithm; 0 where nothing varies.

    Source:
        Vehtari et al. 2021, eq. 10 and 11, arXiv 1903.08008.
    """
    halves = _halves(_checked(draws))
    chains, n = halves.shape
    centred = halves - halves.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, n=2 * n, axis=1)
    covariance = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, :n] / n
    within = covariance[:, 0].mean() * n / (n - 1)
    if within == 0:
        return 0.0
    variance = within * (n - 1) / n + (halves.mean(axis=1).var(ddof=1) if chains > 1 else 0.0)
    rho = 1 - (within - covariance.mean(axis=0) * n / (n - 1)) / variance
    rho[0] = 1.0
    total, last = 0.0, math.inf
    for t in range(0, n - 1, 2):
        pair = rho[t] + rho[t + 1]
        if pair <= 0:
            break
        last = min(last, pair)
        total += last
    time = max(-1 + 2 * total, 1 / math.log10(chains * n))
    return float(chains * n / time)


def standard_error(draws: Draws) -> float:
    """Standard error of the mean: the larger of that between chains and that of batch means.

    Batches are square roots of the chain's length, as many as fit, of all chains together.

    Args:
        draws: ``[chains, steps]``, at least 4 steps.
    """
    draws = _checked(draws)
    chains, n = draws.shape
    size = max(1, math.isqrt(n))
    count = n // size
    means = draws[:, n - count * size :].reshape(chains, count, size).mean(axis=2)
    batches = math.sqrt(means.var(axis=1, ddof=1).mean() / (count * chains))
    if chains == 1:
        return batches
    return max(batches, float(draws.mean(axis=1).std(ddof=1)) / math.sqrt(chains))


def drift(draws: Draws) -> float:
    """Z of the difference between the means of the later and the earlier half, over their standard errors.

    Args:
        draws: ``[chains, steps]``, at least 8 steps, so that each half has an error.
    """
    draws = _checked(draws, 8)
    half = draws.shape[1] // 2
    early, late = draws[:, :half], draws[:, -half:]
    error = math.hypot(standard_error(early), standard_error(late))
    difference = float(late.mean() - early.mean())
    return difference / error if error > 0 else (0.0 if difference == 0 else math.copysign(math.inf, difference))


def _checked(draws: Draws, least: int = 4) -> Draws:
    draws = np.asarray(draws, dtype=np.float64)
    if draws.ndim != 2 or draws.shape[0] < 1 or draws.shape[1] < least:
        raise InputError(f"draws must be [chains, steps] with at least {least} steps, got {list(draws.shape)}")
    return draws


def _halves(draws: Draws) -> Draws:
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])
