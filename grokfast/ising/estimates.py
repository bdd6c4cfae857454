"""From series of energies and magnetisations to means with errors, autocorrelation times and whether to trust them."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from grokfast.ising.autocorrelation import Autocorrelation, autocorrelation
from grokfast.ising.rare import few_events
from grokfast.ising.series import Series

FloatArray: TypeAlias = npt.NDArray[np.float64]

BLOCKS = 32
"""Jackknife blocks for each temperature, at least (if there are as many measurements)."""

LONG = 50.0
"""A chain of fewer autocorrelation times than this is short (Foreman-Mackey et al., PASP 125, 306 (2013): emcee)."""

LONG_WITH_REPLICAS = 5.0
"""The same where whole replicas are the blocks: errors need no autocorrelation time, only the start be forgotten."""

SKEWED = 0.08
"""A series of B independent parts with skewness γ is short if γ² / B is more than this.

Intervals of 95 % lose the share 0.25 γ² / B of their cover (Hall, The Bootstrap and Edgeworth Expansion
(1992), sec. 2.6). Where few of the events that matter were seen, such as the reversals of a small lattice
below Tc that make up most of χ, γ² / B is near 1.
"""

_REPLICAS_FOR_TIMES = 8

QUANTITIES = ("energy", "magnetization", "abs_magnetization", "specific_heat", "susceptibility", "binder")

_NEEDS_PASSAGES = ("abs_magnetization", "specific_heat", "susceptibility", "binder")


class Status(StrEnum):
    """Whether an error is to be trusted.

    Members:
        RELIABLE: The series is long against its autocorrelation time, and so even that its mean is nearly normal.
        SHORT: It is not, or rare events decide its mean (see :data:`SKEWED` and :func:`few_events`): the error is
            probably too small.
        FROZEN: Nothing ever changed, in any replica: there is no error.
    """

    RELIABLE = "reliable"
    SHORT = "short"
    FROZEN = "frozen"


class UnreliableErrorWarning(UserWarning):
    """Errors of a measurement are not to be trusted."""


class Estimate(NamedTuple):
    """A mean and its standard error, float64 ``[T]`` each.

    Attributes:
        mean: By temperature.
        error: Its standard error; NaN where there is none.
    """

    mean: FloatArray
    error: FloatArray


class Trust(NamedTuple):
    """How far an error may be trusted, ``[T]`` each.

    Attributes:
        time: Integrated autocorrelation time of the quantity, in sweeps.
        time_error: Its standard error (Madras and Sokal, J. Stat. Phys. 50, 109 (1988)).
        ratio: Length of one replica's series in autocorrelation times.
        status: ``"reliable"``, ``"short"`` or ``"frozen"``; see :class:`Status`.
        freedom: Degrees of freedom of the error, for Student's t.
    """

    time: FloatArray
    time_error: FloatArray
    ratio: FloatArray
    status: npt.NDArray[np.str_]
    freedom: FloatArray


def parts_of(n: int, replicas: int) -> npt.NDArray[np.int64]:
    """Where jackknife blocks begin in a series of ``n``: one block, or more where there are few replicas."""
    parts = min(n, max(1, math.ceil(BLOCKS / replicas)))
    return np.linspace(0, n, parts + 1).astype(np.int64)[:-1]


def powers_of(e: FloatArray, m: FloatArray) -> tuple[FloatArray, ...]:
    """The series whose means the quantities are functions of: e, e², m, |m|, m², m⁴."""
    square = m**2
    return e, e**2, m, np.abs(m), square, square**2


class Estimates(NamedTuple):
    """Every quantity with its error and how far that may be trusted, by name.

    Attributes:
        values: Means and their errors.
        trust: What speaks for those errors.
    """

    values: dict[str, Estimate]
    trust: dict[str, Trust]


@np.errstate(over="ignore", divide="ignore", invalid="ignore")  # a specific heat may be infinite, and its error NaN
def estimate(series: Series, sums: FloatArray, shift: FloatArray, *, every: int) -> Estimates:
    """Estimate everything.

    Args:
        series: What was measured.
        sums: Of e, e², m, |m|, m², m⁴ over the blocks that :func:`parts_of` makes: float64 ``[6, T, R parts]``.
        shift: Taken off every e, float64 ``[T]``.
        every: Sweeps between two measurements.
    """
    n, T, R = series.shape
    sizes = np.tile(np.diff([*parts_of(n, R), n]), R)
    whole = sums.sum(axis=-1) / sizes.sum()
    functions = _functions(series.temperatures[:, None], series.sites, shift[:, None])
    values = {name: np.asarray(function(whole[..., None]))[:, 0] for name, function in functions.items()}
    if R >= BLOCKS:
        leave_one_out = (sums.sum(axis=-1, keepdims=True) - sums) / (sizes.sum() - sizes)  # [6, T, blocks]
        without = {name: np.asarray(f(leave_one_out)) for name, f in functions.items()}
        errors = {name: _jackknife(x) for name, x in without.items()}
        skewed = {name: _skewness(x) for name, x in without.items()}
        times = _times_of_some_replicas(series)
        freedom = {name: np.full(T, float(R - 1)) for name in QUANTITIES}
    else:
        times, errors, freedom, skewed = _gamma_method(series, whole, shift)
    long = _long(R)
    passages, reversals = few_events(series, whole[3], whole[4], long=long)
    rare = {name: skewed[name] > SKEWED for name in QUANTITIES}
    rare["magnetization"] |= reversals
    for name in _NEEDS_PASSAGES:
        rare[name] |= passages
    trust = {name: _trust(times[name], freedom[name], rare[name], n, long, every) for name in QUANTITIES}
    return Estimates({name: Estimate(values[name], errors[name]) for name in QUANTITIES}, trust)


def _long(replicas: int) -> float:
    """Autocorrelation times in a series that is not short."""
    return LONG if replicas < BLOCKS else LONG_WITH_REPLICAS


def _functions(T: FloatArray, sites: int, shift: FloatArray) -> dict[str, Callable[[FloatArray], FloatArray]]:
    """Every quantity as a function of the means of e - shift, its square, m, |m|, m², m⁴, ``[6, T, …]``."""

    def heat(x: FloatArray) -> FloatArray:
        spread = np.maximum(x[1] - x[0] ** 2, 0.0)
        return np.where(spread == 0.0, 0.0, sites * (spread / T) / T)

    def susceptibility(x: FloatArray) -> FloatArray:
        spread = np.maximum(x[4] - x[3] ** 2, 0.0)
        return np.where(spread == 0.0, 0.0, sites * spread / T)

    def binder(x: FloatArray) -> FloatArray:
        flat = x[4] == 0.0
        return np.where(flat, 0.0, 1.0 - x[5] / (3.0 * np.where(flat, 1.0, x[4]) ** 2))

    return {
        "energy": lambda x: x[0] + shift,
        "magnetization": lambda x: x[2],
        "abs_magnetization": lambda x: x[3],
        "specific_heat": heat,
        "susceptibility": susceptibility,
        "binder": binder,
    }


def _jackknife(each: FloatArray) -> FloatArray:
    """The error from values with one block left out, ``[T, blocks]``."""
    blocks = each.shape[-1]
    spread = np.square(each - each.mean(axis=-1, keepdims=True)).sum(axis=-1)
    return np.asarray(np.sqrt((blocks - 1) / blocks * spread))


def _times_of_some_replicas(series: Series) -> dict[str, Autocorrelation]:
    """Autocorrelations of E, M and |M|; the other quantities get those of what they are made of."""
    m = series.magnetizations(_REPLICAS_FOR_TIMES)
    energy, sign, size = (autocorrelation(x) for x in (series.energies(_REPLICAS_FOR_TIMES), m, np.abs(m)))
    return dict(zip(QUANTITIES, (energy, sign, size, energy, size, size), strict=True))


def _skewness(values: FloatArray) -> FloatArray:
    """γ² / B of independent values ``[..., B]``, 0 where all are the same."""
    _, power_of_two = np.frexp(np.abs(values).max(axis=-1, keepdims=True))  # sixth powers of energies may overflow
    values = np.ldexp(values, -power_of_two)
    centred = values - values.mean(axis=-1, keepdims=True)
    squares = centred * centred
    square, cube = squares.mean(axis=-1), (squares * centred).mean(axis=-1)
    flat = square <= 1e-26 * np.square(values).mean(axis=-1)
    return np.asarray(np.where(flat, 0.0, cube**2 / np.where(flat, 1.0, square) ** 3) / values.shape[-1])


def _skewness_of_parts(series: FloatArray, times: FloatArray) -> FloatArray:
    """The same of parts of two autocorrelation times, of series ``[T, R, n]``."""
    T, R, n = series.shape
    found = np.zeros(T)
    for i, time in enumerate(times):
        length = min(n, max(1, math.ceil(2.0 * time))) if time == time else n
        parts = n // length
        means = series[i, :, : parts * length].reshape(R * parts, length).mean(axis=1)
        found[i] = _skewness(means)
    return found


def _gamma_method(
    series: Series, x: FloatArray, shift: FloatArray
) -> tuple[dict[str, Autocorrelation], dict[str, FloatArray], dict[str, FloatArray], dict[str, FloatArray]]:
    """Autocorrelations, errors, their freedom and γ² / B from each quantity's series, linearised about the means."""
    m = series.magnetizations()
    powers = powers_of(series.energies() - shift[:, None, None], m)
    T, R, n = m.shape
    flat = x[4] == 0.0
    square = np.where(flat, 1.0, x[4])
    response = series.sites / series.temperatures
    heat = response / series.temperatures
    one = np.ones(T)
    slopes: dict[str, dict[int, FloatArray]] = {
        "energy": {0: one},
        "magnetization": {2: one},
        "abs_magnetization": {3: one},
        "specific_heat": {0: -2.0 * x[0], 1: one},
        "susceptibility": {3: -2.0 * x[3], 4: one},
        "binder": {4: 2.0 * x[5] / (3.0 * square**3), 5: -1.0 / (3.0 * square**2)},
    }
    scale = {"specific_heat": heat, "susceptibility": response}
    times, errors, freedom, skewed = {}, {}, {}, {}
    for name, slope in slopes.items():
        projected = np.zeros_like(m)
        for i, factor in slope.items():
            projected += factor[:, None, None] * powers[i]
        found = autocorrelation(projected)
        times[name] = found
        skewed[name] = _skewness_of_parts(projected, found.time)
        share = (2.0 * found.window + 1.0) / (R * n)
        corrected = 2.0 * found.time * found.variance * (1.0 + share) / (R * n)
        error = np.sqrt(np.where(np.isnan(found.time), 0.0, corrected))
        errors[name] = np.where(error == 0.0, 0.0, error * scale.get(name, one))  # 0 at T = 0
        freedom[name] = np.maximum(1.0, 1.0 / np.where(np.isnan(share), 1.0, share))
    return times, errors, freedom, skewed


def _trust(
    found: Autocorrelation, freedom: FloatArray, rare: npt.NDArray[np.bool_], n: int, long: float, every: int
) -> Trust:
    ratio = n / found.time
    # At least 1: a time found from fewer than 50 measurements is noise, which must not make them look independent.
    short = n / np.maximum(found.time, 1.0) < long
    short |= rare
    status = np.where(found.frozen, str(Status.FROZEN), np.where(short, str(Status.SHORT), str(Status.RELIABLE)))
    return Trust(every * found.time, every * found.error, ratio, status, freedom)
