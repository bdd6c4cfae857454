"""What the sampler asks of the code that holds and updates the spins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from grokfast.ising.kinds import Boundary, Dynamics, Layout, Order

SpinArray: TypeAlias = npt.NDArray[np.int8]
IntArray: TypeAlias = npt.NDArray[np.int64]
SeriesArray: TypeAlias = npt.NDArray[np.int32]
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
        order: In which order single-spin dynamics visits the sites.
    """

    rows: int
    columns: int
    temperatures: FloatArray
    dynamics: Dynamics
    boundary: Boundary
    J: float
    field: float
    key: int
    order: Order = Order.CHECKERBOARD

    @property
    def count(self) -> int:
        """Number of lattices."""
        return self.temperatures.size

    @property
    def sites(self) -> int:
        """Sites of one lattice."""
        return self.rows * self.columns

    @property
    def bonds(self) -> int:
        """Bonds of one lattice."""
        if self.boundary is Boundary.PERIODIC:
            return 2 * self.sites
        return 2 * self.sites - self.rows - self.columns

    @property
    def odd_field(self) -> float:
        """The field on sites with y + x odd where J < 0 is turned into J > 0: those spins are upside down then."""
        return -self.field if self.J < 0.0 else self.field

    @property
    def has_checkerboard(self) -> bool:
        """Whether no two sites with y + x even are neighbours."""
        return self.boundary is Boundary.OPEN or (self.rows % 2 == 0 and self.columns % 2 == 0)

    @property
    def fits_words(self) -> bool:
        """Whether the replica layout can take it."""
        return (
            self.dynamics.is_local
            and self.order is Order.CHECKERBOARD
            and self.has_checkerboard
            and self.columns % 2 == 0
        )

    @property
    def fits_sites(self) -> bool:
        """Whether the site layout can take it."""
        return self.fits_words and self.rows % 2 == 0 and self.rows >= 4

    @cached_property
    def draws_fresh(self) -> npt.NDArray[np.bool_]:
        """Which lattices are free spins under Metropolis, which would flip every spin every time: bool ``[count]``."""
        free = self.J == 0.0 and self.field == 0.0
        return (np.isinf(self.temperatures) | free) & (self.dynamics is Dynamics.METROPOLIS)


class Counts(NamedTuple):
    """Sums over each lattice, int64 ``[count]`` each.

    Attributes:
        bonds: Σ_<ij> σi σj.
        magnetizations: Σ σi.
    """

    bonds: IntArray
    magnetizations: IntArray


class PackedSpins(NamedTuple):
    """The spins as the sampler holds them, one bit each, without a copy (with one if J < 0).

    Attributes:
        layout: Which of the three meanings the bits have.
        words: ``replica``: read-only uint64 ``[blocks, 2, Ly, Lx / 2, W]``. Bit b of word w of a block is
            lattice ``64 (W block + w) + b`` in the order of ``spins.reshape(-1, Ly, Lx)``; entry
            ``[color, y, j]`` is its site (y, x) with ``x = 2 j + (y + color) % 2``.
            ``site``: read-only uint64 ``[lattices, 2, H, Lx / 2, 1]``; bit b of ``[color, y, j]`` is row
            ``b Ly / 64 + y`` where 64 divides Ly / 2, so that H = Ly / 64; columns as above. Otherwise the
            B = min(64, Ly / 2) lowest bits hold blocks of rows, the first ``Ly / 2 % B`` of H = 2 ceil(Ly / 2B) rows
            and
            the others of H - 2, one below the other; what else is in the words means nothing.
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

    def counts(self) -> Counts:
        """Bond sums and magnetisations."""

    def staggered(self) -> IntArray:
        """Σ (-1)^(y+x) σ(y, x) of each lattice, int64 ``[count]``."""

    def exchange(self, first: IntArray, second: IntArray) -> None:
        """Swap the spins of lattices ``first[i]`` and ``second[i]``, all different."""

    def retune(self, problem: Problem) -> None:
        """Go on at other temperatures or in another field; everything else is the same."""

    @property
    def sweeps(self) -> int:
        """Sweeps that every lattice has had, once :meth:`catch_up` is done."""

    def sweep(self, sweeps: int, threads: int, share_rows: bool) -> None:
        """Update every lattice ``sweeps`` times, over lattices or, if wanted, over rows of one in parallel."""

    def record(
        self, every: int, bonds: SeriesArray, magnetizations: SeriesArray, threads: int, share_rows: bool
    ) -> None:
        """Sweep ``every`` times and count, as often as the series have rows.

        Args:
            every: Sweeps before each count.
            bonds: int32 ``[rounds, count]``, output: bond sums.
            magnetizations: int32 ``[rounds, count]``, output.
            threads: As for :meth:`sweep`.
            share_rows: As for :meth:`sweep`.
        """

    def catch_up(self) -> None:
        """Finish the sweeps that an interrupted :meth:`sweep` or :meth:`record` left undone."""

    def randomize(self, which: npt.NDArray[np.bool_], generator: np.random.Generator) -> None:
        """Draw fair spins for the lattices in ``which`` (bool ``[count]``)."""

    def arrays(self) -> Arrays:
        """All that :meth:`restore` needs: spins and generators."""

    def restore(self, arrays: Arrays, sweeps: int) -> None:
        """Take what :meth:`arrays` gave after so many sweeps."""


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
