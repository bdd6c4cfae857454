"""From series of energies and magnetisations to means with errors, autocorrelation times and whether to trust them."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from grokfast.ising.autocorrelation import Autocorrelation, autocorrelation
from grokfast.ising.series import Series

FloatArray: TypeAlias = npt.NDArray[np.float64]

BLOCKS = 32
"""Jackknife blocks for each temperature, at least (if there are as many measurements)."""

LONG = 50.0
"""A chain of fewer autocorrelation times than this is short (Foreman-Mackey et al., PASP 125, 306 (2013): emcee)."""

LONG_WITH_REPLICAS = 5.0
"""The same where whole replicas are the blocks: errors need no autocorrelation time, only the start be forgotten."""

_REPLICAS_FOR_TIMES = 8

QUANTITIES = ("energy", "magnetization", "abs_magnetization", "specific_heat", "susceptibility", "binder")


class Status(StrEnum):
    """Whether an error is to be trusted.

    Members:
        RELIABLE: The series is long against its autocorrelation time.
        SHORT: It is not: the error is probably too small.
        FROZEN: Nothing ever changed, in any replica: there is no error.
    """

    RELIABLE = "reliable"
    SHORT = "short"
    FROZEN = "frozen"


class UnreliableErrorWarning(UserWarning):
    """Errors of a measurement are not to be trusted."""


class Estimate(NamedTuple):
    """A mean and its standard error, float64 ``[T]`` each."""

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
    """Every quantity with its error and how far that may be trusted, by name."""

    values: dict[str, Estimate]
    trust: dict[str, Trust]


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
    functions = _functions(series.temperatures, series.sites, shift)
    values = {name: np.asarray(function(whole)) for name, function in functions.items()}
    if R >= BLOCKS:
        leave_one_out = (sums.sum(axis=-1, keepdims=True) - sums) / (sizes.sum() - sizes)
        each = np.moveaxis(leave_one_out, -1, 1)  # [6, blocks, T]
        errors = {name: _jackknife(f(each)) for name, f in functions.items()}
        times = _times_of_some_replicas(series)
        freedom = {name: np.full(T, float(R - 1)) for name in QUANTITIES}
    else:
        times, errors, freedom = _gamma_method(series, whole, shift)
    trust = {name: _trust(times[name], freedom[name], n, R, every) for name in QUANTITIES}
    return Estimates({name: Estimate(values[name], errors[name]) for name in QUANTITIES}, trust)


def _functions(T: FloatArray, sites: int, shift: FloatArray) -> dict[str, Callable[[FloatArray], FloatArray]]:
    """Every quantity as a function of the means of e - shift, its square, m, |m|, m², m⁴."""

    def heat(x: FloatArray) -> FloatArray:
        spread = np.maximum(x[1] - x[0] ** 2, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spread == 0.0, 0.0, sites * (spread / T) / T)

    def susceptibility(x: FloatArray) -> FloatArray:
        spread = np.maximum(x[4] - x[3] ** 2, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
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
    """The error from values with one block left out, ``[blocks, T]``."""
    blocks = each.shape[0]
    return np.asarray(np.sqrt((blocks - 1) / blocks * np.square(each - each.mean(axis=0)).sum(axis=0)))


def _times_of_some_replicas(series: Series) -> dict[str, Autocorrelation]:
    """Autocorrelations of E, M and |M|; the other quantities get those of what they are made of."""
    m = series.magnetizations(_REPLICAS_FOR_TIMES)
    energy, sign, size = (autocorrelation(x) for x in (series.energies(_REPLICAS_FOR_TIMES), m, np.abs(m)))
    return dict(zip(QUANTITIES, (energy, sign, size, energy, size, size), strict=True))


def _gamma_method(
    series: Series, x: FloatArray, shift: FloatArray
) -> tuple[dict[str, Autocorrelation], dict[str, FloatArray], dict[str, FloatArray]]:
    """Autocorrelations, errors and their freedom from each quantity's series, linearised about the means ``x``."""
    m = series.magnetizations()
    powers = powers_of(series.energies() - shift[:, None, None], m)
    T, R, n = m.shape
    flat = x[4] == 0.0
    square = np.where(flat, 1.0, x[4])
    with np.errstate(divide="ignore", invalid="ignore"):
        heat, response = series.sites / series.temperatures**2, series.sites / series.temperatures
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
    times, errors, freedom = {}, {}, {}
    for name, slope in slopes.items():
        projected = np.zeros_like(m)
        for i, factor in slope.items():
            projected += factor[:, None, None] * powers[i]
        found = autocorrelation(projected)
        times[name] = found
        share = (2.0 * found.window + 1.0) / (R * n)
        corrected = 2.0 * found.time * found.variance * (1.0 + share) / (R * n)
        error = np.sqrt(np.where(np.isnan(found.time), 0.0, corrected))
        with np.errstate(invalid="ignore"):  # 0 times the infinite scale of T = 0
            errors[name] = np.where(error == 0.0, 0.0, error * scale.get(name, one))
        freedom[name] = np.maximum(1.0, 1.0 / np.where(np.isnan(share), 1.0, share))
    return times, errors, freedom


def _trust(found: Autocorrelation, freedom: FloatArray, n: int, replicas: int, every: int) -> Trust:
    with np.errstate(invalid="ignore"):
        ratio = n / found.time
        # At least 1: a time found from fewer than 50 measurements is noise, which must not make them look independent.
        short = n / np.maximum(found.time, 1.0) < (LONG if replicas < BLOCKS else LONG_WITH_REPLICAS)
    status = np.where(found.frozen, str(Status.FROZEN), np.where(short, str(Status.SHORT), str(Status.RELIABLE)))
    return Trust(every * found.time, every * found.error, ratio, status, freedom)
