"""From measurements to physics: reweighting, crossings, exponents, correlations in space."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_at_least
from grokfast.errors import InputError
from grokfast.ising.estimates import BLOCKS, Estimate
from grokfast.ising.inputs import check_energy, check_temperature
from grokfast.ising.measure import Measurements

FloatArray: TypeAlias = npt.NDArray[np.float64]


class Reweighted(NamedTuple):
    """Averages at other temperatures and fields from one measurement, ``[points]`` each.

    Attributes:
        temperatures: T.
        energy: ⟨E⟩ / N, with the new field's share.
        magnetization: ⟨M⟩ / N.
        abs_magnetization: ⟨|M|⟩ / N.
        specific_heat: (⟨E²⟩ - ⟨E⟩²) / (N T²).
        susceptibility: (⟨M²⟩ - ⟨|M|⟩²) / (N T).
        binder: 1 - ⟨M⁴⟩ / (3 ⟨M²⟩²).
        overlap: Effective share of the measurements (Σ w)² / (n Σ w²): where it is small, the histogram does not reach.
    """

    temperatures: FloatArray
    energy: Estimate
    magnetization: Estimate
    abs_magnetization: Estimate
    specific_heat: Estimate
    susceptibility: Estimate
    binder: Estimate
    overlap: FloatArray


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # out of reach: no weight, or NaN
def reweight(
    measured: Measurements, index: int, temperatures: npt.ArrayLike, field: float | None = None, blocks: int = BLOCKS
) -> Reweighted:
    """Single-histogram reweighting in T and h of the measurements at one temperature.

    Args:
        measured: What :meth:`IsingSampler.measure` returned.
        index: Of the temperature at which they were made.
        temperatures: Where the averages are wanted, numbers > 0.
        field: h there; that of the measurement if None.
        blocks: Jackknife blocks, at least 2: whole replicas, cut in time if there are few of them.

    Returns:
        Averages with jackknife errors.

    Raises:
        InputError: If an argument is out of range.

    Source:
        Ferrenberg and Swendsen, Phys. Rev. Lett. 61, 2635 (1988).
    """
    series = measured.series
    T0 = measured.temperatures
    if not 0 <= index < T0.size or not 0.0 < T0[index] < math.inf:
        raise InputError(f"index must be that of a temperature in (0, ∞), 0 to {T0.size - 1}, got {index}")
    check_at_least("blocks", blocks, 2)
    if field is not None:
        check_energy("field", field)
    h = series.field if field is None else float(field)
    T = np.atleast_1d(check_temperature(temperatures))
    N, n = series.sites, series.shape[0]
    bonds, m = (x[index].ravel() * N for x in (series.bond_energies(), series.magnetizations()))
    groups = _groups(series.shape[2], n, blocks)
    exponent = (bonds - series.field * m) / T0[index] - (bonds - h * m) / T[:, None]
    weights = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    energy, m = (bonds - h * m) / N, m / N
    shift = float(energy.mean())
    e = energy - shift
    powers = np.stack([np.ones_like(e), e, e**2, m, np.abs(m), m**2, m**4])
    sums = np.zeros((len(groups), T.size, len(powers)))
    for b, members in enumerate(groups):
        sums[b] = weights[:, members] @ powers[:, members].T
    whole = sums.sum(axis=0)
    values, each = _averages(whole, T, N, shift), _averages(whole - sums, T, N, shift)
    B = len(groups)
    estimates = [
        Estimate(value, np.sqrt((B - 1) / B * np.square(one - one.mean(axis=0)).sum(axis=0)))
        for value, one in zip(values, each, strict=True)
    ]
    overlap = weights.sum(axis=1) ** 2 / (weights.shape[1] * np.square(weights).sum(axis=1))
    return Reweighted._make([T, *estimates, overlap])


def _groups(replicas: int, n: int, blocks: int) -> list[npt.NDArray[np.int64]]:
    """Indices of ``[R, n]``, flattened, in blocks of whole replicas, or of stretches of time in all of them."""
    every = np.arange(replicas * n).reshape(replicas, n)
    if replicas >= blocks:
        return [part.ravel() for part in np.array_split(every, blocks, axis=0)]
    return [part.ravel() for part in np.array_split(every, min(blocks, n), axis=1)]


def _averages(sums: FloatArray, T: FloatArray, N: int, shift: float) -> list[FloatArray]:
    """The quantities from weighted sums ``[..., points, 7]``."""
    e, ee, m, a, mm, mmmm = np.moveaxis(sums[..., 1:] / sums[..., :1], -1, 0)
    return [
        e + shift,
        m,
        a,
        N * np.maximum(ee - e**2, 0.0) / T / T,
        N * np.maximum(mm - a**2, 0.0) / T,
        1.0 - mmmm / (3.0 * np.where(mm == 0.0, 1.0, mm) ** 2) * (mm != 0.0) - (mm == 0.0),
    ]


class Crossing(NamedTuple):
    """Where two curves cross, with standard errors.

    Attributes:
        temperature: Where.
        temperature_error: Its standard error.
        value: Of both curves there.
        value_error: Its standard error.
    """

    temperature: float
    temperature_error: float
    value: float
    value_error: float


def crossing(
    temperatures: FloatArray, first: Estimate, second: Estimate, *, seed: int = 0, draws: int = 400
) -> Crossing | None:
    """Where two curves, such as the Binder cumulants of two sizes, cross: the second falls below the first there.

    Noise makes curves that lie on each other cross many times. The crossing is where Σ z over the temperatures below
    it is
    largest, z being the difference in its standard errors, at most 3. Between the temperatures, curves are straight
    lines.
    The errors are those of curves drawn again from the errors of the points (parametric bootstrap).

    Args:
        temperatures: float64 ``[T]``, rising.
        first: The curve of the smaller lattice, which lies below the other one in the ordered phase.
        second: That of the larger.
        seed: Of the draws.
        draws: How many curves.

    Returns:
        The crossing, or None if they do not cross.
    """
    rng = np.random.default_rng(seed)
    error = np.hypot(first.error, second.error)

    def find(a: FloatArray, b: FloatArray) -> tuple[float, float] | None:
        d = b - a
        z = np.clip(np.divide(d, error, out=np.zeros_like(d), where=error > 0), -3.0, 3.0)
        i = int(np.argmax(np.cumsum(z)))
        if i == d.size - 1 or not d[i] > 0.0 > d[i + 1]:
            return None
        s = float(d[i] / (d[i] - d[i + 1]))
        T = temperatures[i] + s * (temperatures[i + 1] - temperatures[i])
        return float(T), float(a[i] + s * (a[i + 1] - a[i]))

    here = find(first.mean, second.mean)
    if here is None:
        return None
    drawn = [
        found
        for _ in range(draws)
        if (found := find(rng.normal(first.mean, first.error), rng.normal(second.mean, second.error))) is not None
    ]
    spread = np.std(np.array(drawn), axis=0, ddof=1) if len(drawn) > 1 else (math.nan, math.nan)
    return Crossing(here[0], float(spread[0]), here[1], float(spread[1]))


class Slope(NamedTuple):
    """A straight line's slope with its standard error, and how well the points lie on it.

    Attributes:
        slope: The slope.
        error: Its standard error.
        chi_square: χ² for each degree of freedom; of two points, which have none, 0.
    """

    slope: float
    error: float
    chi_square: float


def log_slope(sizes: npt.ArrayLike, values: FloatArray, errors: FloatArray) -> Slope:
    """Weighted least squares of ln y against ln L: the exponent of y ~ L^slope.

    Args:
        sizes: L, at least two different ones.
        values: float64 ``[sizes]``, greater than 0.
        errors: Their standard errors.

    Raises:
        InputError: If there are too few points or values that have no logarithm.
    """
    x = np.log(np.asarray(sizes, dtype=np.float64))
    y = np.asarray(values, dtype=np.float64)
    if x.size < 2 or np.unique(x).size < 2 or not (y > 0).all():
        raise InputError("a slope needs values > 0 at two sizes or more")
    weight = (y / np.maximum(errors, 1e-12 * y)) ** 2
    centre = (weight * x).sum() / weight.sum()
    spread = (weight * (x - centre) ** 2).sum()
    slope = (weight * (x - centre) * np.log(y)).sum() / spread
    offset = (weight * np.log(y)).sum() / weight.sum() - slope * centre
    chi = (weight * (np.log(y) - offset - slope * x) ** 2).sum()
    return Slope(float(slope), float(1.0 / math.sqrt(spread)), float(chi / max(1, x.size - 2)))


def correlation_function(spins: npt.ArrayLike) -> FloatArray:
    """Spin correlations along rows and columns of periodic lattices, ⟨σ(0) σ(r)⟩ over sites, both axes, lattices.

    Args:
        spins: ±1, ``[..., L, L]``.

    Returns:
        float64 ``[L // 2 + 1]`` for r = 0, 1, …; it is not connected: ⟨σ⟩² is not taken off.

    Raises:
        InputError: If the lattices are not square.
    """
    s = _squares(spins)
    L = s.shape[-1]
    total = np.zeros(L)
    for axis in (-1, -2):
        transform = np.fft.rfft(s, axis=axis)
        power = transform.real**2 + transform.imag**2
        power = power.reshape(-1, *power.shape[-2:])
        total += np.fft.irfft(power.mean(axis=(0, 1 if axis == -1 else 2)), L) / L
    return np.asarray(total[: L // 2 + 1] / 2.0)


def second_moment_length(spins: npt.ArrayLike) -> FloatArray:
    """Second-moment correlation length ξ = √(S(0) / S(k) - 1) / (2 sin(π / L)), k = 2π / L, of periodic lattices.

    Args:
        spins: ±1, ``[..., R, L, L]``; the structure factors S(0) = ⟨M²⟩ and S(k) are means over R.

    Returns:
        float64 ``[...]`` in sites, 0 where S(0) <= S(k). Above Tc it is the correlation length; below, ⟨M⟩ is part of
        S(0).

    Raises:
        InputError: If the lattices are not square or there is no axis of replicas.

    Source:
        Cooper, Freedman and Preston, Nucl. Phys. B 210, 210 (1982).
    """
    s = _squares(spins)
    if s.ndim < 3:
        raise InputError(f"spins must be [..., R, L, L], got shape {s.shape}")
    L = s.shape[-1]
    zero = np.square(s.sum(axis=(-1, -2))).mean(axis=-1)
    wave = np.exp(2j * math.pi * np.arange(L) / L)
    first = np.mean([np.abs(s.sum(axis=axis) @ wave) ** 2 for axis in (-1, -2)], axis=0).mean(axis=-1)
    return np.asarray(np.sqrt(np.maximum(zero / first - 1.0, 0.0)) / (2.0 * math.sin(math.pi / L)))


def _squares(spins: npt.ArrayLike) -> FloatArray:
    s = np.asarray(spins, dtype=np.float64)
    if s.ndim < 2 or s.shape[-1] != s.shape[-2]:
        raise InputError(f"spins must be square lattices [..., L, L], got shape {s.shape}")
    return s
