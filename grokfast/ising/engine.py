"""What the sampler asks of the code that holds and updates the spins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from grokfast.ising.kinds import Boundary, Dynamics, Layout

SpinArray: TypeAlias = npt.NDArray[np.int8]
IntArray: TypeAlias = npt.NDArray[np.int64]
FloatArray: TypeAlias = npt.NDArray[np.float64]
Arrays: TypeAlias = dict[str, npt.NDArray[Any]]

FLIPS_WORTH_A_THREAD = 2_000_000
"""Below this many attempts, starting threads costs more than it saves."""


@dataclass(frozen=True)
class Problem:
    """What is sampled: ``count`` lattices, each at its own temperature.

    Attributes:
        rows: Ly.
        columns: Lx.
        temperatures: float64 ``[count]``.
        dynamics: The update.
        boundary: The edges.
        J: Coupling.
        field: External field.
        key: 64-bit key of the generators.
    """

    rows: int
    columns: int
    temperatures: FloatArray
    dynamics: Dynamics
    boundary: Boundary
    J: float
    field: float
    key: int

    @property
    def count(self) -> int:
        """Number of lattices."""
        return self.temperatures.size

    @property
    def sites(self) -> int:
        """Sites of one lattice."""
        return self.rows * self.columns

    @property
    def has_checkerboard(self) -> bool:
        """Whether no two sites with y + x even are neighbours."""
        return self.boundary is Boundary.OPEN or (self.rows % 2 == 0 and self.columns % 2 == 0)

    @property
    def fits_words(self) -> bool:
        """Whether the replica layout can take it."""
        return (
            self.dynamics.is_local
            and self.boundary is Boundary.PERIODIC
            and self.has_checkerboard
            and self.field == 0.0
            and self.J > 0.0
        )

    @property
    def fits_sites(self) -> bool:
        """Whether the site layout can take it."""
        return self.fits_words and self.rows % 128 == 0


class PackedSpins(NamedTuple):
    """The spins as the sampler holds them, one bit each, without a copy.

    Attributes:
        layout: Which of the three meanings the bits have.
        words: ``replica``: read-only uint64 ``[blocks, 2, Ly, Lx / 2, W]``. Bit b of word w of a block is
            lattice ``64 (W block + w) + b`` in the order of ``spins.reshape(-1, Ly, Lx)``; entry
            ``[color, y, j]`` is its site (y, x) with ``x = 2 j + (y + color) % 2``.
            ``site``: read-only uint64 ``[lattices, 2, Ly / 64, Lx / 2, 1]``; bit b of ``[color, y, j]`` is
            row ``b Ly / 64 + y``, columns as above.
            ``scalar``: uint8 ``[lattices, Ly, ceil(Lx / 8)]``, lowest bit first; a copy, since this layout
            holds bytes.
    """

    layout: Layout
    words: npt.NDArray[Any]


class Engine(Protocol):
    """Holds the spins of a :class:`Problem` and updates them."""

    layout: Layout

    def load(self, spins: SpinArray) -> None:
        """Take int8 ``[count, Ly, Lx]``."""

    def spins(self) -> SpinArray:
        """A new int8 ``[count, Ly, Lx]``."""

    def packed(self) -> npt.NDArray[Any]:
        """The bits, see :class:`PackedSpins`."""

    def counts(self) -> tuple[IntArray, IntArray]:
        """Bond sums Σ_<ij> σi σj and magnetisations Σ σi, int64 ``[count]`` each."""

    def sweep(self, sweeps: int, threads: int, share_rows: bool) -> None:
        """Update every lattice ``sweeps`` times, over lattices or, if wanted, over rows of one in parallel."""

    def randomize(self, which: npt.NDArray[np.bool_], generator: np.random.Generator) -> None:
        """Draw fair spins for the lattices in ``which`` (bool ``[count]``)."""

    def arrays(self) -> Arrays:
        """All that :meth:`restore` needs: spins and generators."""

    def restore(self, arrays: Arrays) -> None:
        """Take what :meth:`arrays` gave."""


def words_abreast(lattices: int, columns: int) -> int:
    """How many words of lattices stand side by side in a row: 1, 2, 4 or 8.

    It depends on sizes only, never on the machine or its threads, because generators belong to blocks. Cost
    of a word ~ 1 + 14 / (words in a row), measured; half-filled blocks cost as much as full ones.
    """
    words = math.ceil(lattices / 64)
    return min(
        (1, 2, 4, 8),
        key=lambda W: math.ceil(words / W) * W * (1.0 + 14.0 / (columns // 2 * W)),
    )
