"""Exact averages of tiny lattices by listing every state."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from grokfast._checks import parse_choice
from grokfast.errors import InputError
from grokfast.ising.inputs import Shape, check_energy, check_temperature, parse_shape
from grokfast.ising.kinds import Boundary

MAX_SITES = 24

IntArray = npt.NDArray[np.int64]


class EnumeratedAverages(NamedTuple):
    """Exact averages over all states, per site.

    Attributes:
        energy: ⟨E⟩ / N in the units of J.
        magnetization: ⟨M⟩ / N.
        abs_magnetization: ⟨|M|⟩ / N.
        square_magnetization: ⟨M²⟩ / N².
        specific_heat: (⟨E²⟩ - ⟨E⟩²) / (N T²).
        log_partition: ln Z.
    """

    energy: float
    magnetization: float
    abs_magnetization: float
    square_magnetization: float
    specific_heat: float
    log_partition: float


def state_table(shape: Shape, boundary: str | Boundary = Boundary.PERIODIC) -> tuple[IntArray, IntArray]:
    """Bond sum Σ_<ij> σi σj and magnetisation Σ σi of every state, in order of its bits.

    Args:
        shape: L or (Ly, Lx), each at least 2, with at most 24 sites. Site (y, x) is bit y Lx + x; a set bit
            is an up spin. A periodic side of 2 has two bonds between the same two sites.
        boundary: ``"periodic"`` or ``"open"``.

    Returns:
        Two int64 arrays ``[2**N]``.

    Raises:
        InputError: If the shape or the boundary is not one of those.
    """
    boundary = parse_choice("boundary", boundary, Boundary)
    rows, columns = parse_shape("shape", shape)
    sites = rows * columns
    if sites > MAX_SITES:
        raise InputError(f"enumeration needs at most {MAX_SITES} sites, got {rows} x {columns} = {sites}")
    states = np.arange(1 << sites, dtype=np.int64)

    def bit(y: int, x: int) -> IntArray:
        return (states >> (y * columns + x)) & 1

    bonds = np.zeros(1 << sites, dtype=np.int64)
    ups = np.zeros(1 << sites, dtype=np.int64)
    for y in range(rows):
        for x in range(columns):
            here = bit(y, x)
            ups += here
            if x + 1 < columns or boundary is Boundary.PERIODIC:
                bonds += 1 - 2 * (here ^ bit(y, (x + 1) % columns))
            if y + 1 < rows or boundary is Boundary.PERIODIC:
                bonds += 1 - 2 * (here ^ bit((y + 1) % rows, x))
    return bonds, 2 * ups - sites


def density_of_states(
    shape: Shape, boundary: str | Boundary = Boundary.PERIODIC
) -> tuple[IntArray, IntArray, IntArray]:
    """Number of states with each bond sum and magnetisation.

    Args:
        shape: As in :func:`state_table`.
        boundary: ``"periodic"`` or ``"open"``.

    Returns:
        Bond sums, magnetisations and counts, three int64 arrays ``[n]``; the counts sum to 2^N.

    Raises:
        InputError: If the shape or the boundary is not allowed.
    """
    bonds, magnetizations = state_table(shape, boundary)
    pairs, counts = np.unique(np.stack([bonds, magnetizations], axis=1), axis=0, return_counts=True)
    return pairs[:, 0], pairs[:, 1], counts.astype(np.int64)


def enumerated_averages(
    shape: Shape,
    temperature: float,
    *,
    J: float = 1.0,
    field: float = 0.0,
    boundary: str | Boundary = Boundary.PERIODIC,
) -> EnumeratedAverages:
    """Averages under exp(-E/T) / Z with E = -J Σ_<ij> σi σj - h Σ σi.

    Args:
        shape: As in :func:`state_table`.
        temperature: T > 0; infinity is allowed.
        J: Coupling of either sign.
        field: h, in the units of J.
        boundary: ``"periodic"`` or ``"open"``.

    Returns:
        The averages, per site.

    Raises:
        InputError: If an argument is out of range.
    """
    check_energy("J", J)
    check_energy("field", field)
    if check_temperature(temperature).ndim:
        raise InputError(f"temperature must be one number, got {temperature!r}")
    bonds, magnetizations, counts = density_of_states(shape, boundary)
    rows, columns = parse_shape("shape", shape)
    sites = rows * columns
    energies = -J * bonds - field * magnetizations
    lowest = energies.min()
    with np.errstate(over="ignore"):  # colder than float64 can tell: the ground states alone
        weights = counts * np.exp((lowest - energies) / temperature)
        log_partition = float(np.log(weights.sum()) - lowest / temperature)
        weights /= weights.sum()
        energy = float(weights @ energies)
        seen = weights > 0.0
        heat = float(weights[seen] @ np.square((energies[seen] - energy) / temperature)) / sites
    return EnumeratedAverages(
        energy=energy / sites,
        magnetization=float(weights @ magnetizations) / sites,
        abs_magnetization=float(weights @ np.abs(magnetizations)) / sites,
        square_magnetization=float(weights @ magnetizations**2) / sites**2,
        specific_heat=heat,
        log_partition=log_partition,
    )
