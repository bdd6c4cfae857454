"""A temperature scan over several sizes, and what the sizes say together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_at_least
from grokfast.errors import InputError
from grokfast.ising.estimates import Estimate
from grokfast.ising.finite_size import FiniteSize, coarse_crossings, finite_size
from grokfast.ising.inputs import check_energy, parse_shape, parse_temperatures
from grokfast.ising.kinds import Dynamics
from grokfast.ising.measure import Measurements
from grokfast.ising.sampler import IsingSampler

FloatArray: TypeAlias = npt.NDArray[np.float64]
Step: TypeAlias = Callable[[str], None]

COLUMNS = ("energy", "specific_heat", "abs_magnetization", "susceptibility", "binder")


@dataclass(frozen=True)
class Scan:
    """Measurements of several sizes at the same temperatures.

    Attributes:
        temperatures: float64 ``[T]``, rising.
        measured: By L.
        finite_size: Estimates, or None where :attr:`why_not` says why there are none.
        why_not: The reason, or an empty string.
        J: Coupling.
    """

    temperatures: FloatArray
    measured: dict[int, Measurements]
    finite_size: FiniteSize | None
    why_not: str
    J: float

    def rows(self) -> list[dict[str, float | int | str]]:
        """The table: a row for each size and temperature, with a standard error beside each mean."""
        rows: list[dict[str, float | int | str]] = []
        for L, measured in self.measured.items():
            for i, T in enumerate(self.temperatures):
                row: dict[str, float | int | str] = {"L": L, "T": float(T)}
                statuses = []
                for name in COLUMNS:
                    estimate: Estimate = getattr(measured, name)
                    row[name], row[f"{name}_error"] = float(estimate.mean[i]), float(estimate.error[i])
                    statuses.append(str(measured.trust[name].status[i]))
                row["status"] = max(statuses, key=("reliable", "frozen", "short").index)
                rows.append(row)
        return rows


def temperature_scan(
    sizes: Sequence[int],
    temperatures: npt.ArrayLike,
    *,
    J: float = 1.0,
    seed: int = 0,
    replicas: int = 4,
    measurements: int = 500,
    threads: int | None = None,
    step: Step | None = None,
) -> Scan:
    """Energy, specific heat, |m|, susceptibility and Binder cumulant of several sizes, and what they say about Tc.

    Clusters (Swendsen and Wang) go through the transition without slowing down. Where the Binder cumulants of
    neighbouring sizes cross, all sizes are measured again, twice, with 32 replicas; the last histograms, reweighted,
    give the crossings and the exponents.

    Args:
        sizes: Sides L, each at least 2.
        temperatures: ``[T]`` numbers > 0.
        J: Ferromagnetic coupling > 0.
        seed: Integer of at least 0.
        replicas: At each temperature.
        measurements: Of each replica, one after each division into clusters, at least 10; a quarter more before, to
            reach equilibrium from all spins up.
        threads: As for :class:`IsingSampler`.
        step: Called with a few words before each part of the work.

    Returns:
        The measurements and estimates.

    Raises:
        InputError: If an argument is out of range.
    """
    check_energy("J", J, positive=True)
    check_at_least("measurements", measurements, 10)
    T = np.unique(parse_temperatures(temperatures))
    if T[0] == 0.0 or not np.isfinite(T).all():
        raise InputError("temperatures of a scan must be finite and > 0")
    sides = sorted({parse_shape("L", L)[0] for L in sizes})
    if len(sides) != len(list(sizes)):
        raise InputError(f"sizes must differ, got {list(sizes)}")
    tell = step or _silent

    def measure(L: int, points: npt.ArrayLike, R: int, n: int) -> Measurements:
        tell(f"L = {L} at {np.size(points)} temperature{'s' if np.size(points) > 1 else ''}")
        options = {"dynamics": Dynamics.SWENDSEN_WANG, "init": "up", "threads": threads}
        sampler = IsingSampler(L, points, R, J=J, seed=seed, **options)  # type: ignore[arg-type]
        sampler.sweep(max(20, n // 4))
        return sampler.measure(n, progress=False)

    measured = {L: measure(L, T, replicas, measurements) for L in sides}
    reason = _why_not(sides, T)
    found = None
    if not reason:
        starts = coarse_crossings(T, measured, seed)
        reason = "the Binder cumulants of neighbouring sizes do not cross at these temperatures"
        for start in starts:
            # Twice: the crossing is found along tangents, which are right only near it.
            for n in (2 * measurements, 4 * measurements):
                found = finite_size({L: measure(L, start, 32, n) for L in sides}, start)
                if found is None:
                    break
                start = found.Tc.value
            reason = "" if found else "the Binder cumulants do not cross near where they seemed to"
            if found:
                break
    return Scan(T, measured, found, reason, float(J))


def _silent(what: str) -> None:
    """No progress."""


def _why_not(sides: list[int], T: FloatArray) -> str:
    if len(sides) < 2:
        return "finite-size estimates need at least two sizes"
    return "" if T.size > 1 else "finite-size estimates need at least two temperatures"
