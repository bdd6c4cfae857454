"""Exact results for the Ising model: the infinite square lattice, finite tori, and tiny lattices state by state.

Energies are per site in the units of J, temperatures are k_B T in the same unit, specific heats per
site in units of k_B.
"""

from __future__ import annotations

from grokfast.ising.enumeration import EnumeratedAverages, density_of_states, enumerated_averages
from grokfast.ising.infinite import (
    critical_temperature,
    onsager_energy,
    onsager_specific_heat,
    spontaneous_magnetization,
)
from grokfast.ising.torus import (
    kaufman_energy,
    kaufman_free_energy,
    kaufman_log_partition,
    kaufman_specific_heat,
)

__all__ = [
    "EnumeratedAverages",
    "critical_temperature",
    "density_of_states",
    "enumerated_averages",
    "kaufman_energy",
    "kaufman_free_energy",
    "kaufman_log_partition",
    "kaufman_specific_heat",
    "onsager_energy",
    "onsager_specific_heat",
    "spontaneous_magnetization",
]
