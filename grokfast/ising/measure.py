"""Estimates from series of energies and magnetisations: jackknife errors and autocorrelation times."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]

BLOCKS = 32
"""Jackknife blocks for each temperature, at least (if there are as many measurements)."""

WINDOW = 6.0
"""The sum of autocorrelations stops at the first lag of at least this many autocorrelation times."""


class Estimate(NamedTuple):
    """A mean and its standard error, float64 ``[T]`` each."""

    mean: FloatArray
    error: FloatArray


@dataclass(frozen=True)
class Measurements:
    """What :meth:`IsingSampler.measure` returns; everything is for each temperature, float64 ``[T]``.

    Errors are jackknife errors over blocks: whole replicas, cut in time as well if there are few of them.
    They hold if a block is long against the autocorrelation time.

    Attributes:
        temperatures: T, k_B T in the energy unit of J.
        energy: ⟨E⟩ / N, in the units of J.
        magnetization: ⟨M⟩ / N.
        abs_magnetization: ⟨|M|⟩ / N.
        specific_heat: (⟨E²⟩ - ⟨E⟩²) / (N T²), in units of k_B per site.
        susceptibility: (⟨M²⟩ - ⟨|M|⟩²) / (N T), in units of 1 / J per site.
        binder: 1 - ⟨M⁴⟩ / (3 ⟨M²⟩²), which is 2/3 in the ordered phase and 0 in the disordered, L → ∞.
        energy_time: Integrated autocorrelation time 1/2 + Σ ρ(t) of E, in sweeps; half of ``every`` if the
            measurements are independent, NaN if E never changed.
        magnetization_time: The same of |M|.
        energies: The series E / N, ``[T, R, n]``.
        magnetizations: The series M / N, ``[T, R, n]``.
        every: Sweeps between two measurements.
    """

    temperatures: FloatArray
    energy: Estimate
    magnetization: Estimate
    abs_magnetization: Estimate
    specific_heat: Estimate
    susceptibility: Estimate
    binder: Estimate
    energy_time: FloatArray
    magnetization_time: FloatArray
    energies: FloatArray
    magnetizations: FloatArray
    every: int

    @classmethod
    def from_series(
        cls,
        temperatures: FloatArray,
        energies: FloatArray,
        magnetizations: FloatArray,
        *,
        sites: int,
        every: int,
    ) -> Measurements:
        """Estimate everything from series per site, ``[T, R, n]`` each."""
        T = temperatures
        # Variances do not feel a shift, and a shift near the mean saves them from cancellation.
        shift = energies.mean(axis=(1, 2), keepdims=True)
        e, m = energies - shift, magnetizations
        moments = np.stack([_block_sums(x) for x in (e, e**2, m, np.abs(m), m**2, m**4)])
        counts = _block_sums(np.ones((1, *e.shape[1:])))
        leave_one_out = (moments.sum(axis=-1, keepdims=True) - moments) / (counts.sum() - counts)
        whole = moments.sum(axis=-1) / counts.sum()

        def estimate(function: object) -> Estimate:
            assert callable(function)
            value = function(*whole)
            each = function(*np.moveaxis(leave_one_out, -1, 1))  # [blocks, T]
            blocks = each.shape[0]
            spread = np.square(each - each.mean(axis=0)).sum(axis=0)
            return Estimate(np.asarray(value), np.sqrt((blocks - 1) / blocks * spread))

        def binder(*x: FloatArray) -> FloatArray:
            return np.asarray(1.0 - x[5] / (3.0 * x[4] ** 2))

        return cls(
            temperatures=T,
            energy=estimate(lambda *x: x[0] + shift[:, 0, 0]),
            magnetization=estimate(lambda *x: x[2]),
            abs_magnetization=estimate(lambda *x: x[3]),
            specific_heat=estimate(lambda *x: sites * (np.maximum(x[1] - x[0] ** 2, 0.0) / T) / T),
            susceptibility=estimate(lambda *x: sites * np.maximum(x[4] - x[3] ** 2, 0.0) / T),
            binder=estimate(binder),
            energy_time=every * integrated_time(energies),
            magnetization_time=every * integrated_time(np.abs(magnetizations)),
            energies=energies,
            magnetizations=magnetizations,
            every=every,
        )


def integrated_time(series: FloatArray, window: float = WINDOW) -> FloatArray:
    """Integrated autocorrelation time τ = 1/2 + Σ_{t=1}^{w} ρ(t), cut at the first w >= ``window`` τ.

    The autocorrelation ρ is the mean over replicas, about the mean of all of them.

    Args:
        series: float64 ``[..., R, n]``.
        window: The cut, in autocorrelation times.

    Returns:
        float64 ``[...]``, in steps of the series; NaN where a series is constant.

    Source:
        Sokal, Monte Carlo Methods in Statistical Mechanics (1989), sec. 3; Madras and Sokal, J. Stat. Phys.
        50, 109 (1988).
    """
    n = series.shape[-1]
    flat = series.reshape(-1, *series.shape[-2:])
    times = np.full(flat.shape[0], np.nan)
    size = 1 << (2 * n - 1).bit_length()
    for i, replicas in enumerate(flat):
        centred = replicas - replicas.mean()
        power = np.zeros(size // 2 + 1)
        for one in centred:
            power += np.abs(np.fft.rfft(one, size)) ** 2
        covariance = np.fft.irfft(power, size)[:n] / (np.arange(n, 0, -1) * len(centred))
        if covariance[0] <= 1e-14 * max(float(np.square(replicas).mean()), 1e-300):
            continue
        tau = np.cumsum(covariance / covariance[0]) - 0.5
        inside = np.arange(n) >= window * tau
        times[i] = tau[int(np.argmax(inside))] if inside.any() else tau[-1]
    return times.reshape(series.shape[:-2])


def record(n: int, progress: bool | None) -> Iterable[int]:
    """``range(n)`` with a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    shown = console.is_terminal if progress is None else progress
    return track(range(n), description="Measuring", console=console, disable=not shown)


def _block_sums(series: FloatArray) -> FloatArray:
    """Sums over jackknife blocks of ``[T, R, n]``: ``[T, blocks]``."""
    T, R, n = series.shape
    parts = min(n, max(1, math.ceil(BLOCKS / R)))
    starts = np.linspace(0, n, parts + 1).astype(np.int64)[:-1]
    return np.add.reduceat(series, starts, axis=2).reshape(T, R * parts)
