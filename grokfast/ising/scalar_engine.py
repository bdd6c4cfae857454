"""The plain engine: int8 lattices, a generator each; single-spin and cluster updates."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from grokfast.ising import _cluster, _scalar
from grokfast.ising._rng import splitmix64
from grokfast.ising._threads import run_tasks
from grokfast.ising.engine import FLIPS_WORTH_A_THREAD, Arrays, Counts, IntArray, Problem, SeriesArray, SpinArray
from grokfast.ising.kinds import Boundary, Dynamics, Layout, Order


class ScalarEngine:
    """Lattices of int8; takes every shape, boundary, field and dynamics.

    Args:
        problem: What to sample.
    """

    layout = Layout.SCALAR

    def __init__(self, problem: Problem) -> None:
        self._spins = np.ones((problem.count, problem.rows, problem.columns), dtype=np.int8)
        self._states = splitmix64(problem.key, 4 * problem.count).reshape(-1, 4)
        self._done = np.zeros((problem.count, 1), dtype=np.int64)
        self._asked = 0
        self.retune(problem)

    def retune(self, problem: Problem) -> None:
        """Go on at other temperatures or in another field."""
        self._problem = problem
        distinct, self._table_of = np.unique(problem.temperatures, return_inverse=True)
        glauber = problem.dynamics is Dynamics.GLAUBER
        self._tables = [_scalar.flip_table(float(T), problem.J, problem.field, glauber) for T in distinct]
        self._join, self._freeze = (
            np.array([-np.expm1(-_scalar.energy_over_temperature(2.0 * abs(x), float(T))) for T in distinct])
            for x in (problem.J, problem.field)
        )

    def load(self, spins: SpinArray) -> None:
        """Take int8 ``[count, Ly, Lx]``."""
        self._spins[...] = spins

    def spins(self) -> SpinArray:
        """A new int8 ``[count, Ly, Lx]``."""
        return self._spins.copy()

    def packed(self) -> npt.NDArray[Any]:
        """uint8 ``[count, Ly, ceil(Lx / 8)]``, lowest bit first."""
        return np.packbits(self._spins > 0, axis=-1, bitorder="little")

    def counts(self) -> Counts:
        """Bond sums and magnetisations, int64 ``[count]`` each."""
        bonds, even, odd = self._sums()
        return Counts(bonds, even + odd)

    def staggered(self) -> IntArray:
        """Staggered magnetisations, int64 ``[count]``."""
        _, even, odd = self._sums()
        return np.asarray(even - odd)

    def _sums(self) -> IntArray:
        """int64 ``[3, count]``: bond sums, and sums of the spins with y + x even and odd."""
        sums = np.empty((3, self._problem.count), dtype=np.int64)
        _scalar.count_scalar(self._spins, self._problem.boundary is Boundary.PERIODIC, sums)
        return sums

    def exchange(self, first: IntArray, second: IntArray) -> None:
        """Swap the spins of lattices ``first[i]`` and ``second[i]``, all different."""
        self._spins[first], self._spins[second] = self._spins[second], self._spins[first]

    @property
    def sweeps(self) -> int:
        """Sweeps that every lattice has had, once :meth:`catch_up` is done."""
        return self._asked

    def sweep(self, sweeps: int, threads: int, share_rows: bool = False) -> None:
        """Update every lattice ``sweeps`` times (Wolff: as many clusters), over lattices in parallel."""
        problem = self._problem
        if problem.count * problem.sites * sweeps < FLIPS_WORTH_A_THREAD // 10:
            threads = 1
        share = max(1, -(-problem.count // (4 * threads)))
        tasks = [
            partial(self._sweep_range, range(first, min(first + share, problem.count)))
            for first in range(0, problem.count, share)
        ]
        self._asked += sweeps
        run_tasks(tasks, threads)

    def record(
        self,
        every: int,
        bonds: SeriesArray,
        magnetizations: SeriesArray,
        threads: int,
        share_rows: bool = False,
    ) -> None:
        """Sweep ``every`` times and count, as often as the series have rows."""
        for i in range(len(bonds)):
            self.sweep(every, threads, share_rows)
            bonds[i], magnetizations[i] = self.counts()

    def catch_up(self) -> None:
        """Finish what an interrupted :meth:`sweep` left undone."""
        self._sweep_range(range(self._problem.count))

    def _sweep_range(self, lattices: range) -> None:
        problem = self._problem
        periodic = problem.boundary is Boundary.PERIODIC
        along = int(np.sign(problem.field))
        for i in lattices:
            spins, state, table, done = self._spins[i], self._states[i], self._table_of[i], self._done[i]
            sweeps = self._asked - int(done[0])
            if sweeps == 0:
                continue
            if not problem.dynamics.is_local:
                grow = _cluster.wolff if problem.dynamics is Dynamics.WOLFF else _cluster.swendsen_wang
                join, freeze = float(self._join[table]), float(self._freeze[table])
                grow(spins, state, join, along, freeze, periodic, sweeps, done)
            elif problem.order is Order.RANDOM:
                _scalar.sweep_random(spins, state, self._tables[table], periodic, sweeps, done)
            else:
                checkerboard = problem.has_checkerboard
                _scalar.sweep_scalar(spins, state, self._tables[table], checkerboard, periodic, sweeps, done)

    def randomize(self, which: npt.NDArray[np.bool_], generator: np.random.Generator) -> None:
        """Draw fair spins for the lattices in ``which``."""
        shape = (int(which.sum()), *self._spins.shape[1:])
        self._spins[which] = 2 * generator.integers(0, 2, shape, dtype=np.int8) - 1

    def arrays(self) -> Arrays:
        """Copies of the lattices and of the generators."""
        return {"spins": self._spins.copy(), "states": self._states.copy()}

    def restore(self, arrays: Arrays, sweeps: int) -> None:
        """Take what :meth:`arrays` gave after so many sweeps."""
        self._spins[...] = arrays["spins"]
        self._states[...] = arrays["states"]
        self._done[...] = self._asked = sweeps
