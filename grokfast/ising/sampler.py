"""The public sampler: many lattices at many temperatures, updated by the fastest kernel that fits them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_at_least, parse_choice
from grokfast.errors import InputError
from grokfast.ising._memory import check_memory
from grokfast.ising._threads import usable_threads
from grokfast.ising.engine import Arrays, FloatArray, PackedSpins, Problem, SpinArray
from grokfast.ising.inputs import Shape, first_spins, is_finite, parse_shape, parse_temperatures, philox, stream_key
from grokfast.ising.kinds import Boundary, Dynamics, Layout, Start
from grokfast.ising.layouts import make_engine
from grokfast.ising.measure import Measurements, record
from grokfast.ising.state import check_arrays, decode_config, encode_config

_ENGINE_STREAM, _START_STREAM, _INFINITE_STREAM = 1, 2, 3
# A kernel cannot be interrupted: sweeps are handed to it in pieces of about a second of one thread.
_ATTEMPTS_BETWEEN_SIGNALS = {Layout.REPLICA: 10**10, Layout.SITE: 10**10, Layout.SCALAR: 2 * 10**8}


class IsingSampler:
    """Monte Carlo sampler of the two-dimensional Ising model E = -J Σ_<ij> σi σj - h Σ σi.

    ``temperatures`` and ``replicas`` make ``T × R`` independent lattices. One sweep is one flip attempt for
    each site, all sites with y + x even first and then the others, except:

    * a periodic lattice with an odd side has no such checkerboard: its sites are visited row by row;
    * ``dynamics="wolff"``: one sweep grows and flips one cluster; ``"swendsen-wang"``: divides the lattice
      into clusters once;
    * at T = ∞ a sweep of Metropolis draws fresh spins (the checkerboard would flip every spin every time).

    The same seed gives the same spins for any number of threads, any cutting of ``sweep(n)`` into pieces, and
    after :meth:`state` and :meth:`from_state`. On tiny lattices checkerboard Metropolis is not ergodic: a
    state in which every spin has as many neighbours up as down flips as a whole for ever.

    Args:
        L: Side of the lattice, or ``(Ly, Lx)``, each at least 2.
        temperatures: A number or ``[T]`` numbers > 0, k_B T in the energy unit of J; infinity is allowed.
        replicas: R, independent lattices for each temperature.
        dynamics: ``"metropolis"``, ``"glauber"``, ``"wolff"`` or ``"swendsen-wang"``; see :class:`Dynamics`.
        J: Coupling; negative is antiferromagnetic (single-spin dynamics only).
        field: External field h (single-spin dynamics only).
        boundary: ``"periodic"`` or ``"open"``. A periodic side of 2 has two bonds between the same two sites.
        init: ``"random"``, ``"up"``, ``"down"``, ``"checkerboard"``, or spins ±1 that broadcast to
            ``[T, R, Ly, Lx]``.
        seed: Integer of at least 0.
        threads: At most this many. If None, all processors that this process may use, but only over lattices:
            the rows of one large lattice are shared if a number is given, since threads that wait for each other
            that often are slow on a busy machine.
        layout: ``"replica"``, ``"site"`` or ``"scalar"`` instead of the fastest; see :class:`Layout`.

    Raises:
        InputError: If an argument is out of range or has the wrong shape, or there is not enough memory.

    Example:
        >>> sampler = IsingSampler(16, [2.0, 2.5], replicas=64, seed=0)
        >>> sampler.sweep(100)
        >>> sampler.energy().shape
        (2, 64)
    """

    def __init__(
        self,
        L: Shape,
        temperatures: npt.ArrayLike,
        replicas: int = 1,
        *,
        dynamics: str | Dynamics = Dynamics.METROPOLIS,
        J: float = 1.0,
        field: float = 0.0,
        boundary: str | Boundary = Boundary.PERIODIC,
        init: str | Start | npt.ArrayLike = Start.RANDOM,
        seed: int,
        threads: int | None = None,
        layout: str | Layout | None = None,
    ) -> None:
        rows, columns = parse_shape("L", L)
        self._temperatures = parse_temperatures(temperatures)
        check_at_least("replicas", replicas, 1)
        check_at_least("seed", seed, 0)
        if threads is not None:
            check_at_least("threads", threads, 1)
        dynamics = parse_choice("dynamics", dynamics, Dynamics)
        boundary = parse_choice("boundary", boundary, Boundary)
        for name, value in (("J", J), ("field", field)):
            if not is_finite(value):
                raise InputError(f"{name} must be a finite number, got {value!r}")
        if not dynamics.is_local and not (J > 0 and field == 0):
            raise InputError(f"dynamics '{dynamics}' needs J > 0 and field = 0, got J = {J}, field = {field}")
        self._replicas = int(replicas)
        self._seed = int(seed)
        self._share_rows = threads is not None
        self._threads = usable_threads() if threads is None else int(threads)
        self._sweeps = 0
        count = self._temperatures.size * self._replicas
        # The spins as int8 are held while they are packed, whatever the layout.
        check_memory(
            f"sampling {self._temperatures.size} x {replicas} lattices of {rows} x {columns}",
            int(2.5 * count * rows * columns),
        )
        self._problem = Problem(
            rows=rows,
            columns=columns,
            temperatures=np.repeat(self._temperatures, self._replicas),
            dynamics=dynamics,
            boundary=boundary,
            J=float(J),
            field=float(field),
            key=stream_key(self._seed, _ENGINE_STREAM),
        )
        self._engine = make_engine(self._problem, layout)
        infinite = np.isinf(self._problem.temperatures)
        self._infinite = infinite if dynamics is Dynamics.METROPOLIS and infinite.any() else None
        self._engine.load(first_spins(init, self.shape, stream_key(self._seed, _START_STREAM)))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """``(T, R, Ly, Lx)``."""
        return self._temperatures.size, self._replicas, self._problem.rows, self._problem.columns

    @property
    def temperatures(self) -> FloatArray:
        """float64 ``[T]``, k_B T in the energy unit of J."""
        return self._temperatures.copy()

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
        return self._sweeps

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
        if n == 0:
            return
        attempts = self._problem.count * self._problem.sites
        piece = max(1, _ATTEMPTS_BETWEEN_SIGNALS[self.layout] // attempts)
        left = int(n)
        while left > 0:
            now = min(piece, left)
            self._engine.sweep(now, self._threads, self._share_rows)
            self._sweeps += now
            left -= now
        if self._infinite is not None:
            # Only the last sweep's fresh spins are seen, so only they are drawn.
            self._engine.randomize(self._infinite, philox(stream_key(self._seed, _INFINITE_STREAM), self._sweeps))

    def energy(self) -> FloatArray:
        """Energy per site E / N in the units of J: float64 ``[T, R]``."""
        bonds, magnetizations = self._engine.counts()
        problem = self._problem
        total = -problem.J * bonds - problem.field * magnetizations
        return np.asarray(total / problem.sites).reshape(self.shape[:2]) + 0.0

    def magnetization(self) -> FloatArray:
        """Magnetisation per site M / N in [-1, 1]: float64 ``[T, R]``."""
        return np.asarray(self._engine.counts()[1] / self._problem.sites).reshape(self.shape[:2])

    def measure(self, n: int, every: int = 1, *, progress: bool | None = None) -> Measurements:
        """Sweep and measure: ``n`` times, ``every`` sweeps and then one measurement of each lattice.

        The lattices should be in equilibrium before: call :meth:`sweep` first.

        Args:
            n: Measurements, at least 2.
            every: Sweeps before each, at least 1.
            progress: Whether to show a bar on standard error; only in a terminal if None.

        Returns:
            Means, jackknife errors and autocorrelation times for each temperature; see :class:`Measurements`.

        Raises:
            InputError: If ``n`` or ``every`` is out of range, or the series would not fit into memory.
        """
        check_at_least("n", n, 2)
        check_at_least("every", every, 1)
        count, problem = self._problem.count, self._problem
        check_memory(f"a series of {n} measurements of {count} lattices", 48 * int(n) * count)
        bonds = np.empty((count, int(n)), dtype=np.int64)
        magnetizations = np.empty((count, int(n)), dtype=np.int64)
        for i in record(int(n), progress):
            self.sweep(int(every))
            bonds[:, i], magnetizations[:, i] = self._engine.counts()
        energies = -problem.J * bonds - problem.field * magnetizations
        series = (*self.shape[:2], int(n))
        return Measurements.from_series(
            self._temperatures,
            (energies / problem.sites).reshape(series),
            (magnetizations / problem.sites).reshape(series),
            sites=problem.sites,
            every=int(every),
        )

    def state(self) -> Arrays:
        """Everything that :meth:`from_state` needs to go on as if never stopped, generators included.

        Returns:
            NumPy arrays by name, fit for ``np.savez`` or safetensors; ``config`` is JSON in UTF-8 bytes.
        """
        problem = self._problem
        return {
            "config": encode_config(
                {
                    "L": [problem.rows, problem.columns],
                    "replicas": self._replicas,
                    "dynamics": problem.dynamics.value,
                    "J": problem.J,
                    "field": problem.field,
                    "boundary": problem.boundary.value,
                    "seed": str(self._seed),
                    "layout": self.layout.value,
                    "sweeps": self._sweeps,
                }
            ),
            "temperatures": self._temperatures.copy(),
            **self._engine.arrays(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, npt.ArrayLike], *, threads: int | None = None) -> IsingSampler:
        """A sampler that goes on where :meth:`state` was taken.

        Args:
            state: What :meth:`state` returned, or the same arrays read back from a file.
            threads: As for the constructor; the spins do not depend on it.

        Returns:
            A new sampler.

        Raises:
            InputError: If the arrays are not a state of this version, or damaged.
        """
        arrays = {name: np.asarray(array) for name, array in state.items()}
        config = decode_config(arrays)
        try:
            sampler = cls(
                tuple(config["L"]),
                arrays["temperatures"],
                config["replicas"],
                dynamics=config["dynamics"],
                J=config["J"],
                field=config["field"],
                boundary=config["boundary"],
                init=Start.UP,
                seed=int(config["seed"]),
                threads=threads,
                layout=config["layout"],
            )
            sweeps = config["sweeps"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"state is damaged: {error}") from error
        check_at_least("sweeps in the state", sweeps, 0)
        problem = check_arrays(sampler._engine.arrays(), arrays)
        if problem is not None:
            raise InputError(f"state is damaged: {problem}")
        sampler._engine.restore(arrays)
        sampler._sweeps = sweeps
        return sampler

    def __repr__(self) -> str:
        T, R, Ly, Lx = self.shape
        return (
            f"IsingSampler({Ly} x {Lx}, {T} temperatures, {R} replicas, {self.dynamics}, "
            f"layout={self.layout}, sweeps={self._sweeps})"
        )
