"""Finite-size estimates: where Binder cumulants cross, and the exponents there."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from grokfast.ising.analysis import Reweighted, crossing, log_slope, reweight
from grokfast.ising.measure import Measurements

FloatArray: TypeAlias = npt.NDArray[np.float64]


class Number(NamedTuple):
    """An estimate with its standard error and 95 % interval.

    Attributes:
        value: The estimate.
        error: Its standard error.
        low: Lower end of the interval.
        high: Its upper end.
    """

    value: float
    error: float
    low: float
    high: float


class FiniteSize(NamedTuple):
    """What sizes together say about the transition. Corrections to scaling are not part of the errors.

    Attributes:
        Tc: Where the Binder cumulants of neighbouring sizes cross, weighted mean.
        gamma_over_nu: Slope of ln(N ⟨m²⟩) against ln L at Tc; 7/4 is exact.
        beta_over_nu: Minus the slope of ln ⟨|m|⟩ there; 1/8 is exact.
        chi_square: χ² for each degree of freedom of the two fits, with three sizes or more.
    """

    Tc: Number
    gamma_over_nu: Number
    beta_over_nu: Number
    chi_square: tuple[float, float]


def coarse_crossings(T: FloatArray, measured: dict[int, Measurements], seed: int) -> list[float]:
    """Where the Binder cumulants of neighbouring sizes seem to cross: the median, the highest and the lowest.

    Between points far apart straight lines cross too cold, where the larger lattice's cumulant is flat at 2/3 and no
    tangent leads to the crossing: so the highest is the second to try.

    Args:
        T: float64 ``[T]``, rising.
        measured: By L, rising; each at these temperatures.
        seed: Of the bootstrap.

    Returns:
        Different temperatures, best first; none if no cumulants cross.
    """
    pairs = itertools.pairwise(measured.values())
    found = [crossing(T, a.binder, b.binder, seed=seed, draws=50) for a, b in pairs]
    there = [cross.temperature for cross in found if cross is not None]
    return list(dict.fromkeys(float(f(there)) for f in (np.median, np.max, np.min))) if there else []


def finite_size(measured: dict[int, Measurements], start: float) -> FiniteSize | None:
    """Crossings and exponents from one histogram of each size.

    Args:
        measured: By L, rising; each at one temperature.
        start: That temperature, near the crossing.

    Returns:
        The estimates, or None if the cumulants do not cross within 5 % of ``start``.
    """
    step = 2e-3 * start
    near = {L: reweight(m, 0, [start - step, start, start + step]) for L, m in measured.items()}
    sides = list(near)
    crossings = []
    for small, large in itertools.pairwise(sides):
        a, b = near[small].binder, near[large].binder
        slope = ((b.mean[2] - b.mean[0]) - (a.mean[2] - a.mean[0])) / (2.0 * step)
        if slope >= 0.0:
            return None
        shift = -(b.mean[1] - a.mean[1]) / slope
        crossings.append((start + shift, math.hypot(a.error[1], b.error[1]) / abs(slope)))
    values, errors = np.array(crossings).T
    weights = errors**-2.0
    Tc = float((weights * values).sum() / weights.sum())
    # Neighbouring pairs share a size; their errors are added as if they were one, not independent.
    error = float((weights * errors).sum() / weights.sum())
    if abs(Tc - start) > 0.05 * start:
        return None
    at = [Tc - error, Tc, Tc + error]
    there = {L: reweight(m, 0, at) for L, m in measured.items()}
    gamma, gamma_fit = _exponent(there, squared=True)
    beta, beta_fit = _exponent(there, squared=False)
    return FiniteSize(_number(Tc, error), gamma, beta, (gamma_fit, beta_fit))


def _exponent(there: dict[int, Reweighted], *, squared: bool) -> tuple[Number, float]:
    """A slope at Tc and at one error below and above, whose spread is added to its own error."""
    slopes = []
    for i in range(3):
        values, errors = [], []
        for L, found in there.items():
            m = found.abs_magnetization
            if squared:
                # N ⟨m²⟩ = T χ + N ⟨|m|⟩²
                square = L * L * m.mean[i] ** 2 + found.temperatures[i] * found.susceptibility.mean[i]
                values.append(square)
                errors.append(2.0 * square * m.error[i] / m.mean[i])
            else:
                values.append(m.mean[i])
                errors.append(m.error[i])
        slopes.append(log_slope(list(there), np.array(values), np.array(errors)))
    sign = 1.0 if squared else -1.0
    total = math.hypot(slopes[1].error, (slopes[2].slope - slopes[0].slope) / 2.0)
    return _number(sign * slopes[1].slope, total), slopes[1].chi_square


def _number(value: float, error: float) -> Number:
    return Number(value, error, value - 1.96 * error, value + 1.96 * error)
