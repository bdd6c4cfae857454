"""The plain engine: int8 lattices, a generator each; single-spin and cluster updates."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from grokfast.ising import _cluster, _scalar
from grokfast.ising._rng import splitmix64
from grokfast.ising._threads import run_tasks
from grokfast.ising.engine import FLIPS_WORTH_A_THREAD, Arrays, IntArray, Problem, SpinArray
from grokfast.ising.kinds import Boundary, Dynamics, Layout


class ScalarEngine:
    """Lattices of int8; takes every shape, boundary, field and dynamics.

    Args:
        problem: What to sample.
    """

    layout = Layout.SCALAR

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._spins = np.ones((problem.count, problem.rows, problem.columns), dtype=np.int8)
        self._states = splitmix64(problem.key, 4 * problem.count).reshape(-1, 4)
        distinct, self._table_of = np.unique(problem.temperatures, return_inverse=True)
        glauber = problem.dynamics is Dynamics.GLAUBER
        self._tables = [_scalar.flip_table(float(T), problem.J, problem.field, glauber) for T in distinct]
        with np.errstate(over="ignore"):
            self._join = -np.expm1(-2.0 * problem.J / distinct)

    def load(self, spins: SpinArray) -> None:
        """Take int8 ``[count, Ly, Lx]``."""
        self._spins[...] = spins

    def spins(self) -> SpinArray:
        """A new int8 ``[count, Ly, Lx]``."""
        return self._spins.copy()

    def packed(self) -> npt.NDArray[Any]:
        """uint8 ``[count, Ly, ceil(Lx / 8)]``, lowest bit first."""
        return np.packbits(self._spins > 0, axis=-1, bitorder="little")

    def counts(self) -> tuple[IntArray, IntArray]:
        """Bond sums and magnetisations, int64 ``[count]`` each."""
        periodic = self._problem.boundary is Boundary.PERIODIC
        pairs = [_scalar.count_scalar(lattice, periodic) for lattice in self._spins]
        both = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        return both[:, 0].copy(), both[:, 1].copy()

    def sweep(self, sweeps: int, threads: int, share_rows: bool = False) -> None:
        """Update every lattice ``sweeps`` times (Wolff: as many clusters), over lattices in parallel."""
        problem = self._problem
        if problem.count * problem.sites * sweeps < FLIPS_WORTH_A_THREAD // 10:
            threads = 1
        share = max(1, -(-problem.count // (4 * threads)))
        run_tasks(
            [
                partial(self._sweep_range, range(first, min(first + share, problem.count)), sweeps)
                for first in range(0, problem.count, share)
            ],
            threads,
        )

    def _sweep_range(self, lattices: range, sweeps: int) -> None:
        problem = self._problem
        periodic = problem.boundary is Boundary.PERIODIC
        for i in lattices:
            spins, state, table = self._spins[i], self._states[i], self._table_of[i]
            if problem.dynamics is Dynamics.WOLFF:
                _cluster.wolff(spins, state, float(self._join[table]), periodic, sweeps)
            elif problem.dynamics is Dynamics.SWENDSEN_WANG:
                _cluster.swendsen_wang(spins, state, float(self._join[table]), periodic, sweeps)
            else:
                checkerboard = problem.has_checkerboard
                _scalar.sweep_scalar(spins, state, self._tables[table], checkerboard, periodic, sweeps)

    def randomize(self, which: npt.NDArray[np.bool_], generator: np.random.Generator) -> None:
        """Draw fair spins for the lattices in ``which``."""
        shape = (int(which.sum()), *self._spins.shape[1:])
        self._spins[which] = 2 * generator.integers(0, 2, shape, dtype=np.int8) - 1

    def arrays(self) -> Arrays:
        """Copies of the lattices and of the generators."""
        return {"spins": self._spins.copy(), "states": self._states.copy()}

    def restore(self, arrays: Arrays) -> None:
        """Take what :meth:`arrays` gave."""
        self._spins[...] = arrays["spins"]
        self._states[...] = arrays["states"]
