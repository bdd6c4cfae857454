"""Integrated autocorrelation times with errors, and Student's t."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]

WINDOW = 6.0
"""The sum of autocorrelations stops at the first lag of at least this many autocorrelation times."""


_AT_ONCE = 1 << 15  # numbers whose transforms are made together


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
    together = max(1, _AT_ONCE // (R * n))
    parts = [_autocorrelation(flat[i : i + together], window) for i in range(0, len(flat), together)]
    lead = series.shape[:-2]
    time, error, cut, variance, frozen = (np.concatenate(x).reshape(lead) for x in zip(*parts, strict=True))
    return Autocorrelation(time, error, cut, variance, frozen)


def _autocorrelation(series: FloatArray, window: float) -> Autocorrelation:
    """Of some series ``[S, R, n]`` at once."""
    _, R, n = series.shape
    size = 1 << (2 * n - 1).bit_length()
    centred = series - series.mean(axis=(1, 2), keepdims=True)
    transform = np.fft.rfft(centred, size, axis=-1)
    power = (transform.real**2 + transform.imag**2).sum(axis=1)
    covariance = np.fft.irfft(power, size)[:, :n] / (np.arange(n, 0, -1) * R)
    variance = covariance[:, 0]
    frozen = (series == series[..., :1]).all(axis=(1, 2))
    frozen |= variance <= 1e-26 * np.maximum(np.square(series).mean(axis=(1, 2)), 1e-280)
    tau = np.cumsum(covariance / np.where(frozen, 1.0, variance)[:, None], axis=-1) - 0.5
    inside = np.arange(n) >= window * tau
    w = np.where(inside.any(axis=-1), inside.argmax(axis=-1), n - 1)
    found = np.take_along_axis(tau, w[:, None], axis=-1)[:, 0]
    positive = np.maximum(found, 1.0 / (2.0 * n))  # anticorrelated series may come out at or below 0
    error = positive * np.sqrt((4.0 * w + 2.0) / (R * n))
    time, error, cut = (np.where(frozen, np.nan, x) for x in (positive, error, w))
    return Autocorrelation(time, error, cut, np.where(frozen, 0.0, variance), frozen)


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
