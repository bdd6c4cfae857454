"""Time series of energies and magnetisations, kept as small as they were counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Series:
    """Measurements in the order in which they were made.

    Attributes:
        temperatures: float64 ``[T]``.
        interactions: ``[n, T, R]``; times ``-J`` it is the energy of the bonds: bond sums, or values per site.
        moments: ``[n, T, R]``, magnetisations in the same unit.
        unit: What makes both per site.
        sites: Sites of a lattice.
        J: Coupling.
        field: h at which it was measured.
    """

    temperatures: FloatArray
    interactions: npt.NDArray[Any]
    moments: npt.NDArray[Any]
    unit: float
    sites: int
    J: float
    field: float

    @classmethod
    def of_values(
        cls, temperatures: FloatArray, energies: FloatArray, magnetizations: FloatArray, *, sites: int
    ) -> Series:
        """From values per site ``[T, R, n]`` without a field, J = 1."""
        first, second = (np.moveaxis(x, -1, 0) for x in (-energies, magnetizations))
        return cls(temperatures, first, second, 1.0, sites, 1.0, 0.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(n, T, R)``."""
        n, T, R = self.interactions.shape
        return n, T, R

    def energies(self, replicas: int | None = None) -> FloatArray:
        """E / N with the field's share, float64 ``[T, R, n]``, of the first replicas only if a number is given."""
        total = self.bond_energies(replicas)
        if self.field != 0.0:
            total -= self.field * self.magnetizations(replicas)
        return total

    def bond_energies(self, replicas: int | None = None) -> FloatArray:
        """E / N without the field's share, float64 ``[T, R, n]``."""
        values = np.ascontiguousarray(np.moveaxis(self.interactions[:, :, :replicas], 0, -1), dtype=np.float64)
        return np.asarray(values * (-self.J * self.unit) + 0.0)

    def magnetizations(self, replicas: int | None = None) -> FloatArray:
        """M / N, float64 ``[T, R, n]``."""
        values = np.ascontiguousarray(np.moveaxis(self.moments[:, :, :replicas], 0, -1), dtype=np.float64)
        return np.asarray(values * self.unit + 0.0)
