"""Estimates from series of energies and magnetisations: errors, autocorrelation times and whether to trust them."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_fraction, nearest
from grokfast._html import heading, table
from grokfast.errors import InputError
from grokfast.ising.autocorrelation import Autocorrelation, autocorrelation, student_quantile
from grokfast.ising.series import Series

FloatArray: TypeAlias = npt.NDArray[np.float64]

BLOCKS = 32
"""Jackknife blocks for each temperature, at least (if there are as many measurements)."""

LONG = 50.0
"""A chain of fewer autocorrelation times than this is short (Foreman-Mackey et al., PASP 125, 306 (2013): emcee)."""

LONG_WITH_REPLICAS = 5.0
"""The same where whole replicas are the blocks: errors need no autocorrelation time, only the start be forgotten."""

_REPLICAS_FOR_TIMES = 8

_SHOWN = 20  # temperatures in a notebook

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


@dataclass(frozen=True)
class Measurements:
    """What :meth:`IsingSampler.measure` returns; everything is for each temperature, float64 ``[T]``.

    With 32 replicas or more, errors are jackknife errors over whole replicas. With fewer, they come from the
    autocorrelations of each quantity's linearised series (the Γ-method: Wolff, Comput. Phys. Commun. 156, 143 (2004)).
    ``trust`` says for each quantity how long the series was against its autocorrelation time, and its status: ``short``
    below 50 times (5 with 32 replicas or more), ``frozen`` if nothing ever changed.

    Attributes:
        temperatures: T, k_B T in the energy unit of J.
        energy: ⟨E⟩ / N, in the units of J.
        magnetization: ⟨M⟩ / N.
        abs_magnetization: ⟨|M|⟩ / N.
        specific_heat: (⟨E²⟩ - ⟨E⟩²) / (N T²), in units of k_B per site.
        susceptibility: (⟨M²⟩ - ⟨|M|⟩²) / (N T), in units of 1 / J per site.
        binder: 1 - ⟨M⁴⟩ / (3 ⟨M²⟩²), which is 2/3 in the ordered phase and 0 in the disordered, L → ∞; 0 where M
            was always 0.
        trust: By the name of the quantity.
        series: E and M as they were measured.
        every: Sweeps between two measurements.
    """

    temperatures: FloatArray
    energy: Estimate
    magnetization: Estimate
    abs_magnetization: Estimate
    specific_heat: Estimate
    susceptibility: Estimate
    binder: Estimate
    trust: Mapping[str, Trust]
    series: Series
    every: int

    @classmethod
    def from_series(
        cls, temperatures: FloatArray, energies: FloatArray, magnetizations: FloatArray, *, sites: int, every: int
    ) -> Measurements:
        """Estimate everything from series per site, ``[T, R, n]`` each."""
        series = Series.of_values(temperatures, energies, magnetizations, sites=sites)
        # Variances do not feel a shift, and a shift near the mean saves them from cancellation.
        shift = energies.mean(axis=(1, 2))
        e, m = energies - shift[:, None, None], magnetizations
        T, R, n = e.shape
        parts = parts_of(n, R)
        sums = np.stack([np.add.reduceat(x, parts, axis=2).reshape(T, -1) for x in _powers(e, m)])
        return cls.from_sums(series, sums, shift, every=every)

    @classmethod
    def from_sums(cls, series: Series, sums: FloatArray, shift: FloatArray, *, every: int) -> Measurements:
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
        return cls(
            temperatures=series.temperatures,
            **{name: Estimate(values[name], errors[name]) for name in QUANTITIES},
            trust=trust,
            series=series,
            every=every,
        )

    @property
    def energy_time(self) -> FloatArray:
        """Autocorrelation time 1/2 + Σ ρ(t) of E, in sweeps: ``every`` / 2 if independent, NaN if E never changed."""
        return self.trust["energy"].time

    @property
    def magnetization_time(self) -> FloatArray:
        """The same of |M|."""
        return self.trust["abs_magnetization"].time

    @property
    def energies(self) -> FloatArray:
        """The series E / N, ``[T, R, n]``, made anew at each call."""
        return self.series.energies()

    @property
    def magnetizations(self) -> FloatArray:
        """The series M / N, ``[T, R, n]``, made anew at each call."""
        return self.series.magnetizations()

    def interval(self, quantity: str, level: float = 0.95) -> tuple[FloatArray, FloatArray]:
        """A confidence interval: mean ± t error, with Student's t for the freedom of the error.

        Args:
            quantity: ``"energy"``, ``"binder"``, … .
            level: Chance to hold the truth, in (0, 1), where the status is ``reliable``.

        Returns:
            Lower and upper ends, float64 ``[T]`` each.

        Raises:
            InputError: If there is no such quantity or the level is out of range.
        """
        if quantity not in QUANTITIES:
            raise InputError(
                f"quantity must be one of {list(QUANTITIES)}, got {quantity!r}{nearest(str(quantity), QUANTITIES)}"
            )
        check_fraction("level", level)
        mean, error = getattr(self, quantity)
        reach = student_quantile(level, self.trust[quantity].freedom) * error
        return mean - reach, mean + reach

    def df(self) -> Any:
        """A pandas data frame, a row for each temperature: every quantity, its error and whether to trust it.

        Raises:
            InputError: If pandas is not installed.
        """
        if importlib.util.find_spec("pandas") is None:
            raise InputError("a data frame needs pandas: pip install pandas")
        import pandas as pd

        columns: dict[str, Any] = {"T": self.temperatures}
        for name in QUANTITIES:
            mean, error = getattr(self, name)
            columns |= {name: mean, f"{name}_error": error, f"{name}_status": self.trust[name].status}
        return pd.DataFrame(columns)

    def _repr_html_(self) -> str:
        rows = []
        for k, T in enumerate(self.temperatures[:_SHOWN]):
            cells = [f"{float(T):.6g}"]
            for name in QUANTITIES:
                mean, error = getattr(self, name)
                mark = "" if self.trust[name].status[k] == Status.RELIABLE else " *"
                cells.append(f"{mean[k]:.5g} ± {error[k]:.2g}{mark}")
            rows.append(cells)
        n, T_count, R = self.series.shape
        marked = (
            "* short or frozen: the error is not to be trusted" if any("*" in c for row in rows for c in row) else ""
        )
        more = f"and {T_count - _SHOWN} more temperatures; .df() has all of them" if T_count > _SHOWN else ""
        about = f"{n} measurements, {self.every} sweeps apart, of {R} replicas at {T_count} temperatures"
        head = ("T", *(name.replace("_", " ") for name in QUANTITIES))
        return heading("Ising measurements", about) + table(head, rows, "; ".join(filter(None, [more, marked])))

    def warn_if_short(self) -> None:
        """One warning that names the quantities whose errors are not to be trusted, and where."""
        short = {name: trust.status == Status.SHORT for name, trust in self.trust.items()}
        if self.series.field == 0.0:
            del short["magnetization"]  # 0 by symmetry; its sign may last for ever, which nobody waits for
        names = [name for name, where in short.items() if where.any()]
        if names:
            T = self.temperatures[np.any([short[name] for name in names], axis=0)]
            where = f"T = {T[0]:.4g}" if T.size == 1 else f"{T.size} temperatures from {T.min():.4g} to {T.max():.4g}"
            warnings.warn(
                f"the series is short against its autocorrelation time for {', '.join(names)} at {where}: "
                "errors there are too small; measure longer, or see Measurements.trust",
                UnreliableErrorWarning,
                stacklevel=3,
            )


def parts_of(n: int, replicas: int) -> npt.NDArray[np.int64]:
    """Where jackknife blocks begin in a series of ``n``: one block, or more where there are few replicas."""
    parts = min(n, max(1, math.ceil(BLOCKS / replicas)))
    return np.linspace(0, n, parts + 1).astype(np.int64)[:-1]


def _powers(e: FloatArray, m: FloatArray) -> tuple[FloatArray, ...]:
    square = m**2
    return e, e**2, m, np.abs(m), square, square**2


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
    powers = _powers(series.energies() - shift[:, None, None], m)
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
