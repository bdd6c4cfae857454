"""The public sampler: many lattices at many temperatures, updated by the fastest kernel that fits them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Annotated, Required, TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from grokfast._checks import check_at_least
from grokfast._options import takes_options
from grokfast.errors import InputError
from grokfast.ising._notebook import sampler_html
from grokfast.ising._signals import HeldSignals
from grokfast.ising.engine import Arrays, FloatArray
from grokfast.ising.inputs import Shape, check_energy, parse_temperatures, philox
from grokfast.ising.kinds import Boundary, Dynamics, Layout, Order, Seeding, Start
from grokfast.ising.lattices import Lattices
from grokfast.ising.measure import Measurements
from grokfast.ising.parameters import EXCHANGE_STREAM, Parameters
from grokfast.ising.state import check_arrays, decode_config, encode_config
from grokfast.ising.tempering import exchange


class SamplerOptions(TypedDict, total=False):
    """The keyword options of :class:`IsingSampler`."""

    dynamics: Annotated[str | Dynamics, "metropolis"]
    J: Annotated[float, 1.0]
    field: Annotated[float, 0.0]
    boundary: Annotated[str | Boundary, "periodic"]
    init: Annotated[str | Start | npt.ArrayLike, "random"]
    seed: Required[int]
    threads: Annotated[int | None, None]
    layout: Annotated[str | Layout | None, None]
    order: Annotated[str | Order, "checkerboard"]
    seeding: Annotated[str | Seeding, "parameters"]


class IsingSampler(Lattices):
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
        J: Coupling, 0 or of size 1e-60 to 1e60; negative is antiferromagnetic (single-spin dynamics only).
        field: External field h, of such size too; with clusters it is a ghost spin.
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

    @takes_options
    def __init__(
        self,
        L: Shape,
        temperatures: npt.ArrayLike,
        replicas: int = 1,
        **options: Unpack[SamplerOptions],
    ) -> None:
        init, layout, threads = options.pop("init"), options.pop("layout"), options.pop("threads")
        super().__init__(Parameters.parse(L, temperatures, replicas, **options), init, layout, threads)
        self._rounds = 0

    def _repr_html_(self) -> str:
        of = self._parameters
        about = f"{of.dynamics}, J = {of.J:g}, h = {of.field:g}, {self.sweeps} sweeps, seed {of.seed}"
        return sampler_html(self.shape, of.temperatures, about, lambda: self.spins)

    def set(self, *, temperatures: npt.ArrayLike | None = None, field: float | None = None) -> None:
        """Go on at other temperatures or in another field, with the same spins and random numbers.

        Args:
            temperatures: As many as before, or one number for all.
            field: h.

        Raises:
            InputError: If a value is out of range or the number of temperatures is another; nothing has changed then.
        """
        if field is not None:
            check_energy("field", field)
        T = self.temperatures if temperatures is None else self._as_many("temperatures", temperatures)
        self._retune(T, self._problem.field if field is None else float(field))

    def _as_many(self, name: str, temperatures: npt.ArrayLike) -> FloatArray:
        """Temperatures, as many as there are."""
        T, count = parse_temperatures(temperatures), self.shape[0]
        if T.size not in (1, count):
            raise InputError(f"{name} must be 1 or {count} numbers, as before, got {T.size}")
        return np.broadcast_to(T, (count,)).copy()

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
            check_at_least("sweeps in the schedule", step[1], 0)
            steps.append((self._as_many("temperatures in the schedule", step[0]), int(step[1])))
        energies = []
        for T, sweeps in steps:
            self.set(temperatures=T)
            self.sweep(sweeps)
            energies.append(self.energy())
        return np.array(energies).reshape(len(steps), *self.shape[:2])

    def temper(self, rounds: int, every: int = 1) -> FloatArray:
        """Replica exchange (parallel tempering) between neighbouring temperatures.

        Each round sweeps ``every`` times and then offers each replica of a temperature an exchange of spins with the
        same replica of the next temperature, which is accepted with probability min(1, exp((1/T - 1/T')(E - E'))).
        Rounds take turns between the pairs (1st, 2nd), (3rd, 4th), … and (2nd, 3rd), … in rising order of temperatures.

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
        for _ in range(int(rounds)):
            self.sweep(every)
            draw = philox(self._key(EXCHANGE_STREAM), self._rounds)
            offers = exchange(self._parameters.temperatures, self.energy() * self._problem.sites, self._rounds, draw)
            with HeldSignals():
                self._engine.exchange(offers.first, offers.second)
                self._rounds += 1
            made[offers.pairs] += R
            accepted[offers.pairs] += offers.accepted.sum(axis=1)
        return np.asarray(np.divide(accepted, made, out=np.full(T - 1, np.nan), where=made > 0))

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
        recorder = Recorder(int(n), count, problem.sites, self.shape[1], problem.J, problem.field)
        with shown_progress(int(n), progress) as advance:
            self._record(recorder, int(n), int(every), advance)
        measured = recorder.measurements(self.temperatures, every=int(every))
        measured.warn_if_short()
        return measured

    def state(self) -> Arrays:
        """Everything that :meth:`from_state` needs to go on as if never stopped, generators included.

        Returns:
            NumPy arrays by name, fit for ``np.savez`` or safetensors; ``config`` is JSON in UTF-8 bytes.
        """
        config = {
            **self._parameters.config(),
            "layout": self.layout.value,
            "parameters": self._identity,
            "rounds": self._rounds,
            "sweeps": self.sweeps,
        }
        return {"config": encode_config(config), "temperatures": self.temperatures, **self._engine.arrays()}

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
            parameters = Parameters.from_config(config, arrays["temperatures"])
            sampler = cls.__new__(cls)
            Lattices.__init__(sampler, parameters, Start.UP, config["layout"], threads)
            sweeps, rounds = config["sweeps"], config.get("rounds", 0)
            identity = config.get("parameters", parameters.identity)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"state is damaged: {error}") from error
        check_at_least("sweeps in the state", sweeps, 0)
        check_at_least("rounds in the state", rounds, 0)
        problem = check_arrays(sampler._engine.arrays(), arrays)
        if problem is not None:
            raise InputError(f"state is damaged: {problem}")
        sampler._engine.restore(arrays, int(sweeps))
        sampler._rounds, sampler._drawn = int(rounds), int(sweeps)
        sampler._identity = str(identity)  # of the start, where set() may have changed parameters since
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
