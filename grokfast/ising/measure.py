"""What a measurement gives back: estimates with errors for each temperature, and the series behind them."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_fraction, nearest
from grokfast._html import heading, table
from grokfast.errors import InputError
from grokfast.ising.autocorrelation import student_quantile
from grokfast.ising.estimates import (
    QUANTITIES,
    Estimate,
    Status,
    Trust,
    UnreliableErrorWarning,
    estimate,
    parts_of,
    powers_of,
)
from grokfast.ising.series import Series

FloatArray: TypeAlias = npt.NDArray[np.float64]

_SHOWN = 20  # temperatures in a notebook


@dataclass(frozen=True)
class Measurements:
    """What :meth:`IsingSampler.measure` returns; everything is for each temperature, float64 ``[T]``.

    With 32 replicas or more, errors are jackknife errors over whole replicas. With fewer, they come from the
    autocorrelations of each quantity's linearised series (the Γ-method: Wolff, Comput. Phys. Commun. 156, 143 (2004)).
    ``trust`` says for each quantity how long the series was against its autocorrelation time, and its status: ``short``
    below 50 times (5 with 32 replicas or more) or where rare events decide, ``frozen`` if nothing ever changed.

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
        sums = np.stack([np.add.reduceat(x, parts, axis=2).reshape(T, -1) for x in powers_of(e, m)])
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
        found = estimate(series, sums, shift, every=every)
        return cls(temperatures=series.temperatures, **found.values, trust=found.trust, series=series, every=every)

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

    def to_xarray(self) -> Any:
        """An xarray data set over ``temperature``, ``replica`` and ``measurement``.

        It has every quantity with its error, autocorrelation time and status, and the series ``energies`` and
        ``magnetizations``.

        Raises:
            InputError: If xarray is not installed.
        """
        if importlib.util.find_spec("xarray") is None:
            raise InputError("a data set needs xarray: pip install xarray")
        import xarray

        variables: dict[str, Any] = {}
        for name in QUANTITIES:
            mean, error = getattr(self, name)
            trust = self.trust[name]
            parts = {"": mean, "_error": error, "_time": trust.time, "_status": trust.status}
            variables |= {f"{name}{end}": ("temperature", values) for end, values in parts.items()}
        every = ("temperature", "replica", "measurement")
        variables |= {"energies": (every, self.energies), "magnetizations": (every, self.magnetizations)}
        about = {"J": self.series.J, "field": self.series.field, "sites": self.series.sites, "every": self.every}
        return xarray.Dataset(variables, {"temperature": self.temperatures}, about)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the series, with a checksum; :meth:`load` makes the same measurements of them.

        Args:
            path: Ends in ``.npz``, or in ``.parquet`` for a row for each measurement of each lattice: its energy and
                magnetisation per site, and what they were counted from.

        Raises:
            InputError: If the ending is another.
            OSError: If it cannot be written.
        """
        from grokfast.ising.measure_files import save_series

        save_series(self.series, self.every, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Measurements:
        """Read what :meth:`save` wrote: equal bit for bit, with the same estimates.

        Args:
            path: Ends in ``.npz`` or ``.parquet``.

        Raises:
            InputError: If the file holds no measurements, or is damaged.
            FileNotFoundError: If there is none.
        """
        from grokfast.ising.measure_files import load_series
        from grokfast.ising.record import estimated

        return estimated(*load_series(path))

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
                f"the series is short against its autocorrelation time, or has few of the rare events that matter, "
                f"for {', '.join(names)} at {where}: errors there are too small; measure longer, or see "
                "Measurements.trust",
                UnreliableErrorWarning,
                stacklevel=3,
            )
