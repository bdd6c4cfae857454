"""Quenches: random spins below Tc, and how fast their domains grow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, TypeAlias, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_at_least, parse_choice
from grokfast._options import takes_options
from grokfast.errors import InputError
from grokfast.ising.exact import critical_temperature, onsager_energy
from grokfast.ising.inputs import Shape, is_finite
from grokfast.ising.kinds import Dynamics, Order
from grokfast.ising.sampler import IsingSampler

FloatArray: TypeAlias = npt.NDArray[np.float64]


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


class QuenchOptions(TypedDict, total=False):
    """The keyword options of :func:`quench`."""

    sweeps: Annotated[int, 1000]
    replicas: Annotated[int, 16]
    dynamics: Annotated[str | Dynamics, "glauber"]
    order: Annotated[str | Order, "checkerboard"]
    J: Annotated[float, 1.0]
    seed: Annotated[int, 0]
    threads: Annotated[int | None, None]
    pictures: Annotated[int, 6]


@takes_options
def quench(L: Shape = 256, temperature: float = 0.0, **options: Unpack[QuenchOptions]) -> Quench:
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
    sweeps, replicas, pictures = options["sweeps"], options["replicas"], options["pictures"]
    J = options["J"]
    check_at_least("sweeps", sweeps, 8)
    check_at_least("replicas", replicas, 2)
    check_at_least("pictures", pictures, 1)
    dynamics = parse_choice("dynamics", options["dynamics"], Dynamics)
    order = parse_choice("order", options["order"], Order)
    Tc = critical_temperature(J)
    if not dynamics.is_local:
        raise InputError(f"dynamics must be 'glauber' or 'metropolis' for a quench, got '{dynamics}'")
    if not is_finite(temperature) or not 0.0 <= temperature < Tc:
        raise InputError(f"temperature must lie in [0, Tc = {Tc:.4g}) for a quench, got {temperature!r}")
    sampler = IsingSampler(
        L, temperature, replicas, dynamics=dynamics, order=order, J=J, seed=options["seed"], threads=options["threads"]
    )
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
