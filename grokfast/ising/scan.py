"""A temperature scan over several sizes with finite-size estimates, and quenches with growing domains."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_at_least, check_positive, parse_choice
from grokfast.errors import InputError
from grokfast.ising.analysis import Reweighted, crossing, log_slope, reweight
from grokfast.ising.exact import onsager_energy
from grokfast.ising.inputs import Shape, is_finite, parse_shape, parse_temperatures
from grokfast.ising.kinds import Dynamics, Order
from grokfast.ising.measure import Estimate, Measurements
from grokfast.ising.sampler import IsingSampler

FloatArray: TypeAlias = npt.NDArray[np.float64]
Step: TypeAlias = Callable[[str], None]

COLUMNS = ("energy", "specific_heat", "abs_magnetization", "susceptibility", "binder")


class Number(NamedTuple):
    """An estimate with its standard error and 95 % interval."""

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
            reach
            equilibrium from all spins up.
        threads: As for :class:`IsingSampler`.
        step: Called with a few words before each part of the work.

    Returns:
        The measurements and estimates.

    Raises:
        InputError: If an argument is out of range.
    """
    check_positive("J", J)
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
        start = _coarse_crossing(T, measured, seed)
        if start is None:
            reason = "the Binder cumulants of neighbouring sizes do not cross at these temperatures"
        else:
            # Twice: the crossing is found along tangents, which are right only near it.
            for n in (2 * measurements, 4 * measurements):
                found = _finite_size({L: measure(L, start, 32, n) for L in sides}, start)
                if found is None:
                    break
                start = found.Tc.value
            reason = "" if found else "the Binder cumulants do not cross near where they seemed to"
    return Scan(T, measured, found, reason, float(J))


def _silent(what: str) -> None:
    """No progress."""


def _why_not(sides: list[int], T: FloatArray) -> str:
    if len(sides) < 2:
        return "finite-size estimates need at least two sizes"
    return "" if T.size > 1 else "finite-size estimates need at least two temperatures"


def _coarse_crossing(T: FloatArray, measured: dict[int, Measurements], seed: int) -> float | None:
    pairs = itertools.pairwise(measured.values())
    found = [crossing(T, a.binder, b.binder, seed=seed, draws=50) for a, b in pairs]
    there = [cross.temperature for cross in found if cross is not None]
    return float(np.median(there)) if there else None


def _finite_size(measured: dict[int, Measurements], start: float) -> FiniteSize | None:
    """Crossings and exponents from one histogram of each size at the temperature ``start``."""
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
    gamma, gamma_fit = _exponent(there, error, squared=True)
    beta, beta_fit = _exponent(there, error, squared=False)
    return FiniteSize(_number(Tc, error), gamma, beta, (gamma_fit, beta_fit))


def _exponent(there: dict[int, Reweighted], error: float, *, squared: bool) -> tuple[Number, float]:
    """A slope at Tc and at one error below and above, whose spread is added to its own error."""
    del error
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


@dataclass(frozen=True)
class Quench:
    """Domains that grow after a quench from T = ∞.

    Attributes:
        times: Sweeps after the quench, int64 ``[n]``, from 1 on.
        lengths: Domain size L(t) = 4 J / (e(t) - e_eq), the inverse density of walls, in sites: mean over replicas.
        errors: Its standard errors.
        exponent: d ln L / d ln t between times ``fitted``, with its standard error over replicas.
        fitted: First and last time of the fit.
        striped: Share of replicas that end with straight walls, |m| < 0.5.
        pictures: Spins of the first replica at some of the times, int8 ``[p, Ly, Lx]``.
        picture_times: Those times.
        temperature: T.
        dynamics: The update, in words.
    """

    times: npt.NDArray[np.int64]
    lengths: FloatArray
    errors: FloatArray
    exponent: tuple[float, float]
    fitted: tuple[int, int]
    striped: float
    pictures: npt.NDArray[np.int8]
    picture_times: list[int]
    temperature: float
    dynamics: str


def quench(
    L: Shape = 256,
    temperature: float = 0.0,
    *,
    sweeps: int = 1000,
    replicas: int = 16,
    dynamics: str | Dynamics = Dynamics.GLAUBER,
    order: str | Order = Order.CHECKERBOARD,
    J: float = 1.0,
    seed: int = 0,
    threads: int | None = None,
    pictures: int = 6,
) -> Quench:
    """Sweep random spins below Tc and follow their domains, whose size grows as t^(1/2) (Allen and Cahn).

    Args:
        L: Side, or ``(Ly, Lx)``.
        temperature: T in [0, Tc).
        sweeps: To the end, at least 8.
        replicas: Independent quenches, at least 2.
        dynamics: ``"glauber"`` or ``"metropolis"``; the latter in checkerboard order does not coarsen as t^(1/2).
        order: ``"checkerboard"`` or ``"random"``.
        J: Ferromagnetic coupling > 0.
        seed: Integer of at least 0.
        threads: As for :class:`IsingSampler`.
        pictures: How many snapshots to keep, at least 1.

    Returns:
        Times, domain sizes, the exponent and snapshots.

    Raises:
        InputError: If an argument is out of range.

    Source:
        Allen and Cahn, Acta Metall. 27, 1085 (1979); Bray, Adv. Phys. 43, 357 (1994).
    """
    from grokfast.ising.exact import critical_temperature

    check_at_least("sweeps", sweeps, 8)
    check_at_least("replicas", replicas, 2)
    check_at_least("pictures", pictures, 1)
    dynamics, order = parse_choice("dynamics", dynamics, Dynamics), parse_choice("order", order, Order)
    Tc = critical_temperature(J)
    if not dynamics.is_local:
        raise InputError(f"dynamics must be 'glauber' or 'metropolis' for a quench, got '{dynamics}'")
    if not is_finite(temperature) or not 0.0 <= temperature < Tc:
        raise InputError(f"temperature must lie in [0, Tc = {Tc:.4g}) for a quench, got {temperature!r}")
    options = {"dynamics": dynamics, "order": order, "J": J, "seed": seed, "threads": threads}
    sampler = IsingSampler(L, temperature, replicas, **options)  # type: ignore[arg-type]
    times = np.unique(np.geomspace(1, sweeps, 40).round().astype(np.int64))
    shown = times[np.unique(np.linspace(0, times.size - 1, min(pictures, times.size)).round().astype(int))]
    ground = -2.0 * J if temperature == 0.0 else float(onsager_energy(temperature, J))
    walls, kept = np.empty((times.size, replicas)), []
    for i, t in enumerate(times):
        sampler.sweep(int(t) - sampler.sweeps)
        walls[i] = (sampler.energy()[0] - ground) / (4.0 * J)
        if t in shown:
            kept.append(sampler.spins[0, 0])
    density = np.maximum(walls.mean(axis=1), 1e-12)
    lengths = 1.0 / density
    errors = walls.std(axis=1, ddof=1) / math.sqrt(replicas) * lengths**2
    # From 8 sweeps on, and only while domains are small against the lattice.
    side = min(sampler.shape[2:])
    usable = np.flatnonzero((times >= 8) & (lengths < side / 5.0))
    exponent, fitted = (math.nan, math.nan), (int(times[0]), int(times[-1]))
    if usable.size >= 4:
        fitted = int(times[usable[0]]), int(times[usable[-1]])
        exponent = _growth(times[usable], walls[usable])
    magnetization = np.abs(sampler.magnetization()[0])
    how = f"{dynamics.value} in {'random' if order is Order.RANDOM else 'checkerboard'} order"
    return Quench(
        times, lengths, errors, exponent, fitted, float((magnetization < 0.5).mean()), np.array(kept), shown.tolist(),
        float(temperature), how,
    )  # fmt: skip


def _growth(times: npt.NDArray[np.int64], walls: FloatArray) -> tuple[float, float]:
    """Minus the slope of ln(mean wall density) against ln t, with its jackknife error over replicas."""
    x = np.log(times) - np.log(times).mean()

    def slope(density: FloatArray) -> float:
        return -float((x * np.log(density)).sum() / (x**2).sum())

    R = walls.shape[1]
    left_out = np.array([slope(np.delete(walls, r, axis=1).mean(axis=1)) for r in range(R)])
    error = math.sqrt((R - 1) / R * float(np.square(left_out - left_out.mean()).sum()))
    return slope(walls.mean(axis=1)), error
