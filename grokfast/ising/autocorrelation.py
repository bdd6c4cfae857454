"""Integrated autocorrelation times with errors, and Student's t."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]

WINDOW = 6.0
"""The sum of autocorrelations stops at the first lag of at least this many autocorrelation times."""


class Autocorrelation(NamedTuple):
    """Of series ``[..., R, n]``, one entry for each of the leading axes.

    Attributes:
        time: τ = 1/2 + Σ_{t=1}^{w} ρ(t), in steps; NaN where the series are frozen.
        error: Standard error of τ.
        window: The cut w.
        variance: ρ's denominator, the mean square about the mean.
        frozen: Whether no series ever changed.
    """

    time: FloatArray
    error: FloatArray
    window: FloatArray
    variance: FloatArray
    frozen: npt.NDArray[np.bool_]


def autocorrelation(series: FloatArray, window: float = WINDOW) -> Autocorrelation:
    """Integrated autocorrelation time, cut at the first lag w >= ``window`` τ.

    The autocorrelation ρ is the mean over replicas, about the mean of all of them. The error is
    τ √((4w + 2) / (R n)).

    Args:
        series: float64 ``[..., R, n]``.
        window: The cut, in autocorrelation times.

    Returns:
        The time and what belongs to it.

    Source:
        Sokal, Monte Carlo Methods in Statistical Mechanics (1989), sec. 3; Madras and Sokal, J. Stat. Phys.
        50, 109 (1988).
    """
    R, n = series.shape[-2:]
    flat = series.reshape(-1, R, n)
    size = 1 << (2 * n - 1).bit_length()
    found = np.zeros((4, flat.shape[0]))
    frozen = (flat == flat[..., :1]).all(axis=(-1, -2))
    for i, replicas in enumerate(flat):
        centred = replicas - replicas.mean()
        transform = np.fft.rfft(centred, size, axis=-1)
        power = (transform.real**2 + transform.imag**2).sum(axis=0)
        covariance = np.fft.irfft(power, size)[:n] / (np.arange(n, 0, -1) * R)
        if frozen[i] or covariance[0] <= 1e-26 * max(float(np.square(replicas).mean()), 1e-280):
            frozen[i] = True
            found[:, i] = np.nan, np.nan, np.nan, 0.0
            continue
        tau = np.cumsum(covariance / covariance[0]) - 0.5
        inside = np.arange(n) >= window * tau
        w = int(np.argmax(inside)) if inside.any() else n - 1
        time = max(float(tau[w]), 1.0 / (2.0 * n))  # anticorrelated series may come out at or below 0
        found[:, i] = time, time * np.sqrt((4.0 * w + 2.0) / (R * n)), w, covariance[0]
    lead = series.shape[:-2]
    return Autocorrelation(*(x.reshape(lead) for x in found), frozen.reshape(lead))


def integrated_time(series: FloatArray, window: float = WINDOW) -> FloatArray:
    """The time of :func:`autocorrelation` alone: float64 ``[...]`` in steps, NaN where a series is constant."""
    return autocorrelation(series, window).time


def student_quantile(level: float, freedom: FloatArray) -> FloatArray:
    """The t with P(|t| <= result) = ``level``, by Wallace's approximation (exact to 1 % from 3 degrees of freedom on).

    Source:
        Wallace, Ann. Math. Stat. 30, 1124 (1959).
    """
    z = NormalDist().inv_cdf(0.5 + level / 2.0)
    scaled = z * (8.0 * freedom + 3.0) / (8.0 * freedom + 1.0)
    return np.asarray(np.sqrt(freedom * np.expm1(np.minimum(scaled**2 / freedom, 700.0))))
