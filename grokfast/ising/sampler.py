"""The public sampler: many lattices at many temperatures, updated by the fastest kernel that fits them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_at_least, parse_choice
from grokfast.errors import InputError
from grokfast.ising._memory import check_memory
from grokfast.ising._notebook import sampler_html
from grokfast.ising._signals import HeldSignals
from grokfast.ising._threads import usable_threads
from grokfast.ising.engine import Arrays, FloatArray, PackedSpins, Problem, SpinArray
from grokfast.ising.inputs import (
    Shape,
    first_spins,
    given_spins,
    is_finite,
    mixed_seed,
    parse_shape,
    parse_temperatures,
    philox,
    stream_key,
)
from grokfast.ising.kinds import Boundary, Dynamics, Layout, Order, Seeding, Start
from grokfast.ising.layouts import choose_layout, make_engine, peak_bytes
from grokfast.ising.measure import Measurements
from grokfast.ising.state import check_arrays, decode_config, encode_config

_ENGINE_STREAM, _START_STREAM, _INFINITE_STREAM, _EXCHANGE_STREAM = 1, 2, 3, 4
# A kernel cannot be interrupted: sweeps are handed to it in pieces of about a second of one thread.
_ATTEMPTS_BETWEEN_SIGNALS = {Layout.REPLICA: 10**10, Layout.SITE: 10**10, Layout.SCALAR: 2 * 10**8}


class IsingSampler:
    """Monte Carlo sampler of the two-dimensional Ising model E = -J Σ_<ij> σi σj - h Σ σi.

    ``temperatures`` and ``replicas`` make ``T × R`` independent lattices. One sweep is one flip attempt for
    each site, all sites with y + x even first and then the others, except:

    * ``order="random"``: as many attempts, each at a random site;
    * a periodic lattice with an odd side has no checkerboard: its sites are visited row by row;
    * ``dynamics="wolff"``: one sweep grows one cluster; ``"swendsen-wang"``: divides the lattice into clusters once;
    * Metropolis at T = ∞, or with J = 0 and no field, draws fresh spins (it would flip every spin every time).

    At T = 0 a move with ΔE > 0 is never made and one with ΔE < 0 always (clusters: no bond between like spins is
    left out); with ΔE = 0 Metropolis always flips and Glauber half of the time. With J = 0 spins are free.

    **For quenches do not use checkerboard Metropolis**: it flips all sites of a colour with ΔE = 0 at once, and domains
    do not grow as t^(1/2). Use ``"glauber"``, or ``order="random"``; see docs/ising.md. On tiny lattices it is not
    even ergodic: a state in which every spin has as many neighbours up as down flips as a whole for ever.

    The same seed gives the same spins for any number of threads, any cutting of ``sweep(n)`` into pieces, after
    :meth:`state` and :meth:`from_state`, in copies and pickles, and after an interrupt: Ctrl-C comes through between
    sweeps, when all lattices have had :attr:`sweeps` of them.

    Args:
        L: Side of the lattice, or ``(Ly, Lx)``, each at least 2.
        temperatures: A number or ``[T]`` numbers >= 0, k_B T in the energy unit of J; infinity is allowed.
        replicas: R, independent lattices for each temperature.
        dynamics: ``"metropolis"``, ``"glauber"``, ``"wolff"`` or ``"swendsen-wang"``; see :class:`Dynamics`.
        J: Coupling; negative is antiferromagnetic (single-spin dynamics only).
        field: External field h; with clusters it is a ghost spin.
        boundary: ``"periodic"`` or ``"open"``. A periodic side of 2 has two bonds between the same two sites.
        init: ``"random"``, ``"up"``, ``"down"``, ``"checkerboard"``, or spins ±1 that broadcast to
            ``[T, R, Ly, Lx]``.
        seed: Integer of at least 0.
        threads: At most this many. If None, all processors that this process may use, but only over lattices:
            the rows of one large lattice are shared if a number is given, since threads that wait for each other
            that often are slow on a busy machine.
        layout: ``"replica"``, ``"site"`` or ``"scalar"`` instead of the fastest; see :class:`Layout`.
        order: ``"checkerboard"`` or ``"random"``, for single-spin dynamics; see :class:`Order`.
        seeding: ``"parameters"``, or ``"seed"`` for the random numbers of the first version; see :class:`Seeding`.

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
        order: str | Order = Order.CHECKERBOARD,
        seeding: str | Seeding = Seeding.PARAMETERS,
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
        order, self._seeding = parse_choice("order", order, Order), parse_choice("seeding", seeding, Seeding)
        if not dynamics.is_local and (J < 0 or order is Order.RANDOM):
            raise InputError(f"dynamics '{dynamics}' needs J >= 0 and no order of sites, got J = {J}, order '{order}'")
        what = f"sampling {self._temperatures.size} x {replicas} lattices of {rows} x {columns}"
        check_memory(what, self._temperatures.size * int(replicas) * rows * columns)  # at the very least
        self._replicas = int(replicas)
        self._seed = int(seed)
        self._share_rows = threads is not None
        self._threads = usable_threads() if threads is None else int(threads)
        self._rounds = 0
        self._drawn = 0
        self._parameters = repr(
            [
                rows,
                columns,
                self._temperatures.tolist(),
                self._replicas,
                str(dynamics),
                str(order),
                str(boundary),
                float(J) + 0.0,
                float(field) + 0.0,
            ]
        )
        self._problem = Problem(
            rows=rows,
            columns=columns,
            temperatures=np.repeat(self._temperatures, self._replicas),
            dynamics=dynamics,
            boundary=boundary,
            J=float(J),
            field=float(field),
            key=self._key(_ENGINE_STREAM),
            order=order,
        )
        if layout is None:
            layout = choose_layout(self._problem, as_first=self._seeding is Seeding.SEED)
        layout = parse_choice("layout", layout, Layout)
        init = init if isinstance(init, str) else given_spins(init)
        check_memory(what, peak_bytes(self._problem, layout, None if isinstance(init, str) else init))
        self._engine = make_engine(self._problem, layout)
        self._engine.load(first_spins(init, self.shape, self._key(_START_STREAM)))

    def _key(self, stream: int) -> int:
        """The key of one use of the seed."""
        if self._seeding is Seeding.SEED:
            return stream_key(self._seed, stream)
        return stream_key(mixed_seed(self._seed, self._parameters), stream)

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

    def _repr_html_(self) -> str:
        problem = self._problem
        about = f"{problem.dynamics}, J = {problem.J:g}, h = {problem.field:g}, {self.sweeps} sweeps, seed {self._seed}"
        return sampler_html(self.shape, self._temperatures, about, lambda: self.spins)

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
            with HeldSignals():
                self._advance(now)
            left -= now

    def _advance(self, sweeps: int) -> None:
        """Sweep; whatever is raised on the way, all lattices have had the same number of sweeps after it."""
        try:
            self._engine.sweep(sweeps, self._threads, self._share_rows)
        except BaseException:
            self._engine.catch_up()
            raise
        finally:
            self._draw_fresh()

    def _draw_fresh(self) -> None:
        """Draw the spins of free lattices, once for the sweeps there have been: only the last would be seen."""
        free = self._problem.draws_fresh
        if self._drawn != self.sweeps and free.any():
            self._engine.randomize(free, philox(self._key(_INFINITE_STREAM), self.sweeps))
        self._drawn = self.sweeps

    def set(self, *, temperatures: npt.ArrayLike | None = None, field: float | None = None) -> None:
        """Go on at other temperatures or in another field, with the same spins and random numbers.

        Args:
            temperatures: As many as before, or one number for all.
            field: h.

        Raises:
            InputError: If a value is out of range or the number of temperatures is another; nothing has changed then.
        """
        T, h = self._temperatures, self._problem.field
        if temperatures is not None:
            given = parse_temperatures(temperatures)
            if given.size not in (1, T.size):
                raise InputError(f"temperatures must be 1 or {T.size} numbers, as before, got {given.size}")
            T = np.broadcast_to(given, T.shape).copy()
        if field is not None:
            if not is_finite(field):
                raise InputError(f"field must be a finite number, got {field!r}")
            h = float(field)
        problem = dataclasses.replace(self._problem, temperatures=np.repeat(T, self._replicas), field=h)
        with HeldSignals():
            self._engine.retune(problem)
            self._problem, self._temperatures = problem, T

    def anneal(self, schedule: Iterable[tuple[npt.ArrayLike, int]]) -> FloatArray:
        """Set temperatures and sweep, step by step.

        Args:
            schedule: Pairs of temperatures, as for :meth:`set`, and sweeps to spend there.

        Returns:
            Energy per site after each step, float64 ``[steps, T, R]``.

        Raises:
            InputError: If a step is out of range; it is looked for before the first sweep.
        """
        steps = []
        for step in schedule:
            if not isinstance(step, tuple | list) or len(step) != 2:
                raise InputError(f"schedule must hold pairs (temperatures, sweeps), got {step!r}")
            T = parse_temperatures(step[0])
            if T.size not in (1, self._temperatures.size):
                raise InputError(f"schedule must give 1 or {self._temperatures.size} temperatures, got {T.size}")
            check_at_least("sweeps in the schedule", step[1], 0)
            steps.append((T, int(step[1])))
        energies = []
        for T, sweeps in steps:
            self.set(temperatures=T)
            self.sweep(sweeps)
            energies.append(self.energy())
        return np.array(energies).reshape(len(steps), *self.shape[:2])

    def temper(self, rounds: int, every: int = 1) -> FloatArray:
        """Replica exchange (parallel tempering) between neighbouring temperatures.

        Each round sweeps ``every`` times and then offers each replica of a temperature an exchange of spins with the
        same
        replica of the next temperature, which is accepted with probability min(1, exp((1/T - 1/T')(E - E'))). Rounds
        take
        turns between the pairs (1st, 2nd), (3rd, 4th), … and (2nd, 3rd), … in rising order of temperatures.

        Args:
            rounds: How many, at least 1.
            every: Sweeps before each offer, at least 0.

        Returns:
            Shares of accepted offers, float64 ``[T - 1]``, between neighbours in rising order; NaN where none was made.

        Raises:
            InputError: If a number is out of range or there is one temperature only.

        Source:
            Hukushima and Nemoto, J. Phys. Soc. Jpn. 65, 1604 (1996).
        """
        check_at_least("rounds", rounds, 1)
        check_at_least("every", every, 0)
        T, R = self.shape[:2]
        if T < 2:
            raise InputError("temper needs at least 2 temperatures, got 1")
        made, accepted = np.zeros(T - 1), np.zeros(T - 1)
        order = np.argsort(self._temperatures, kind="stable")
        with np.errstate(divide="ignore"):
            beta = 1.0 / self._temperatures
        for _ in range(int(rounds)):
            self.sweep(every)
            pairs = np.arange(self._rounds % 2, T - 1, 2)
            cold, hot = order[pairs], order[pairs + 1]
            energies = self.energy() * self._problem.sites
            with np.errstate(invalid="ignore"):
                gain = (beta[cold] - beta[hot])[:, None] * (energies[cold] - energies[hot])
            chance = np.exp(np.minimum(np.where(np.isnan(gain), 0.0, gain), 0.0))
            swap = philox(self._key(_EXCHANGE_STREAM), self._rounds).random(chance.shape) < chance
            which, replica = np.nonzero(swap)
            with HeldSignals():
                self._engine.exchange(cold[which] * R + replica, hot[which] * R + replica)
                self._rounds += 1
            made[pairs] += R
            accepted[pairs] += swap.sum(axis=1)
        return np.asarray(np.divide(accepted, made, out=np.full(T - 1, np.nan), where=made > 0))

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
        return np.asarray(self._engine.counts().staggered / self._problem.sites).reshape(self.shape[:2])

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
        from grokfast.ising.record import Recorder, shown_progress  # compiles nothing, but imports Numba

        count, problem = self._problem.count, self._problem
        recorder = Recorder(int(n), count, problem.sites, self._replicas, problem.J, problem.field)
        with shown_progress(int(n), progress) as advance:
            for _ in range(int(n)):
                self.sweep(int(every))
                recorder.add(self._engine.counts())
                advance()
        measured = recorder.measurements(self._temperatures, every=int(every))
        measured.warn_if_short()
        return measured

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
                    "order": problem.order.value,
                    "seeding": self._seeding.value,
                    "parameters": self._parameters,
                    "rounds": self._rounds,
                    "sweeps": self.sweeps,
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
                order=config.get("order", Order.CHECKERBOARD),
                seeding=config.get("seeding", Seeding.SEED),
            )
            sweeps, rounds = config["sweeps"], config.get("rounds", 0)
            parameters = config.get("parameters", sampler._parameters)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"state is damaged: {error}") from error
        check_at_least("sweeps in the state", sweeps, 0)
        check_at_least("rounds in the state", rounds, 0)
        problem = check_arrays(sampler._engine.arrays(), arrays)
        if problem is not None:
            raise InputError(f"state is damaged: {problem}")
        sampler._engine.restore(arrays, int(sweeps))
        sampler._rounds, sampler._drawn = int(rounds), int(sweeps)
        sampler._parameters = str(parameters)  # of the start, where set() may have changed them since
        return sampler

    def __copy__(self) -> IsingSampler:
        """A sampler of its own: two that shared lattices would sweep them twice."""
        return copy.deepcopy(self)

    def __repr__(self) -> str:
        T, R, Ly, Lx = self.shape
        return (
            f"IsingSampler({Ly} x {Lx}, {T} temperatures, {R} replicas, {self.dynamics}, "
            f"layout={self.layout}, sweeps={self.sweeps})"
        )
