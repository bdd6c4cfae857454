"""Many lattices that are swept together: spins, updates and what is counted, without the user's steering."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_at_least, parse_choice
from grokfast.ising._memory import check_memory
from grokfast.ising._signals import HeldSignals
from grokfast.ising._threads import usable_threads
from grokfast.ising.engine import FloatArray, PackedSpins, SpinArray
from grokfast.ising.inputs import first_spins, given_spins, philox
from grokfast.ising.kinds import Dynamics, Layout, Seeding, Start
from grokfast.ising.layouts import choose_layout, make_engine, peak_bytes
from grokfast.ising.parameters import INFINITE_STREAM, START_STREAM, Parameters

if TYPE_CHECKING:
    from grokfast.ising.record import Recorder

# A kernel cannot be interrupted: sweeps are handed to it in pieces of about a second of one thread.
_ATTEMPTS_BETWEEN_SIGNALS = {Layout.REPLICA: 10**10, Layout.SITE: 10**10, Layout.SCALAR: 2 * 10**8}


class Lattices:
    """The state of an :class:`IsingSampler`.

    Args:
        parameters: What to sample.
        init: The first spins: a :class:`Start` or an array.
        layout: How to hold them, or None for the fastest.
        threads: At most this many, or None for all processors over lattices.

    Raises:
        InputError: If an argument is out of range, or there is not enough memory.
    """

    def __init__(
        self,
        parameters: Parameters,
        init: str | Start | npt.ArrayLike,
        layout: str | Layout | None,
        threads: int | None,
    ) -> None:
        if threads is not None:
            check_at_least("threads", threads, 1)
        check_memory(parameters.what, parameters.spins)  # at the very least
        self._parameters = parameters
        self._identity = parameters.identity
        self._share_rows = threads is not None
        self._threads = usable_threads() if threads is None else int(threads)
        self._drawn = 0
        self._problem = parameters.problem()
        if layout is None:
            layout = choose_layout(self._problem, as_first=parameters.seeding is Seeding.SEED)
        layout = parse_choice("layout", layout, Layout)
        init = init if isinstance(init, str) else given_spins(init)
        check_memory(parameters.what, peak_bytes(self._problem, layout, None if isinstance(init, str) else init))
        self._engine = make_engine(self._problem, layout)
        self._engine.load(first_spins(init, self.shape, self._key(START_STREAM)))

    def _key(self, stream: int) -> int:
        """The key of one use of the seed."""
        return self._parameters.key(stream, self._identity)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(T, R, Ly, Lx)``."""
        return self._parameters.shape

    @property
    def temperatures(self) -> FloatArray:
        """float64 ``[T]``, k_B T in the energy unit of J."""
        return self._parameters.temperatures.copy()

    @property
    def dynamics(self) -> Dynamics:
        """The update."""
        return self._problem.dynamics

    @property
    def layout(self) -> Layout:
        """How the spins are held, which decides the kernel."""
        return self._engine.layout

    @property
    def sweeps(self) -> int:
        """Sweeps done since the start."""
        return self._engine.sweeps

    @property
    def threads(self) -> int:
        """The most threads that a sweep uses."""
        return self._threads

    @property
    def spins(self) -> SpinArray:
        """A new int8 array ``[T, R, Ly, Lx]`` of ±1."""
        return self._engine.spins().reshape(self.shape)

    @property
    def packed(self) -> PackedSpins:
        """The spins as bits, without unpacking them; see :class:`PackedSpins`."""
        return PackedSpins(self.layout, self._engine.packed())

    def sweep(self, n: int = 1) -> None:
        """Update every lattice ``n`` times.

        Args:
            n: Sweeps, at least 0.

        Raises:
            InputError: If ``n`` is not an integer of at least 0.
        """
        check_at_least("n", n, 0)
        left = int(n)
        piece = self._sweeps_between_signals()
        while left > 0:
            now = min(piece, left)
            with HeldSignals():
                self._advance(partial(self._engine.sweep, now))
            left -= now

    def _record(self, recorder: Recorder, n: int, every: int, advance: Callable[[int], None]) -> None:
        """Sweep ``every`` times and count, ``n`` times; ``advance`` is told how often from time to time."""
        together = max(1, self._sweeps_between_signals() // (8 * every))
        if self._problem.draws_fresh.any():  # fresh spins each time that somebody looks
            together = 1
        left = n
        while left > 0:
            rounds = min(together, left)
            bonds, magnetizations = recorder.rows(rounds)
            if rounds == 1:
                self.sweep(every)
                bonds[0], magnetizations[0] = self._engine.counts()
            else:
                with HeldSignals():
                    self._advance(partial(self._engine.record, every, bonds, magnetizations))
            advance(rounds)
            left -= rounds

    def _sweeps_between_signals(self) -> int:
        """Sweeps that take about a second."""
        return max(1, _ATTEMPTS_BETWEEN_SIGNALS[self.layout] // (self._problem.count * self._problem.sites))

    def _advance(self, work: Callable[[int, bool], None]) -> None:
        """Sweep; whatever is raised on the way, all lattices have had the same number of sweeps after it."""
        try:
            work(self._threads, self._share_rows)
        except BaseException:
            self._engine.catch_up()
            raise
        finally:
            self._draw_fresh()

    def _draw_fresh(self) -> None:
        """Draw the spins of free lattices, once for the sweeps there have been: only the last would be seen."""
        free = self._problem.draws_fresh
        if self._drawn != self.sweeps and free.any():
            self._engine.randomize(free, philox(self._key(INFINITE_STREAM), self.sweeps))
        self._drawn = self.sweeps

    def _retune(self, temperatures: FloatArray, field: float) -> None:
        """Go on at other temperatures or in another field, with the same spins and random numbers."""
        parameters = dataclasses.replace(self._parameters, temperatures=temperatures, field=field)
        each = np.repeat(temperatures, parameters.replicas)
        problem = dataclasses.replace(self._problem, temperatures=each, field=field)
        with HeldSignals():
            self._engine.retune(problem)
            self._problem, self._parameters = problem, parameters

    def energy(self) -> FloatArray:
        """Energy per site E / N in the units of J: float64 ``[T, R]``."""
        counts, problem = self._engine.counts(), self._problem
        total = -problem.J * counts.bonds - problem.field * counts.magnetizations
        return np.asarray(total / problem.sites).reshape(self.shape[:2]) + 0.0

    def magnetization(self) -> FloatArray:
        """Magnetisation per site M / N in [-1, 1]: float64 ``[T, R]``."""
        return np.asarray(self._engine.counts().magnetizations / self._problem.sites).reshape(self.shape[:2])

    def staggered_magnetization(self) -> FloatArray:
        """Staggered magnetisation per site, Σ (-1)^(y+x) σ / N in [-1, 1]: float64 ``[T, R]``."""
        return np.asarray(self._engine.staggered() / self._problem.sites).reshape(self.shape[:2])
