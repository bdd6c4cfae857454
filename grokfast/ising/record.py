"""What a measurement keeps, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from grokfast.errors import InputError
from grokfast.ising._memory import check_memory
from grokfast.ising._moments import MOMENTS, sum_moments
from grokfast.ising.engine import FloatArray, SeriesArray
from grokfast.ising.estimates import parts_of
from grokfast.ising.measure import Measurements
from grokfast.ising.series import Series


class Recorder:
    """Takes ``n`` measurements of ``count`` lattices.

    Args:
        n: Measurements.
        count: Lattices.
        sites: Sites of one.
        replicas: Lattices at one temperature.
        J: Coupling.
        field: h.

    Raises:
        InputError: If they would not fit into memory.
    """

    def __init__(self, n: int, count: int, sites: int, replicas: int, J: float, field: float) -> None:
        if 2 * sites >= 2**31:
            raise InputError(f"measure takes lattices of less than 2^30 sites, got {sites}")
        check_memory(f"a series of {n} measurements of {count} lattices", 8 * n * count + 200 * count)
        self._bonds = np.empty((n, count), dtype=np.int32)
        self._magnetizations = np.empty((n, count), dtype=np.int32)
        self._sites, self._replicas, self._J, self._field = sites, replicas, float(J), float(field)
        self._taken = 0

    def rows(self, n: int) -> tuple[SeriesArray, SeriesArray]:
        """Where the next ``n`` bond sums and magnetisations belong: int32 ``[n, count]`` each, to be filled."""
        part = slice(self._taken, self._taken + n)
        self._taken += n
        return self._bonds[part], self._magnetizations[part]

    def measurements(self, temperatures: FloatArray, *, every: int) -> Measurements:
        """The estimates, after all measurements."""
        shape = (self._bonds.shape[0], temperatures.size, self._replicas)
        series = Series(
            temperatures=temperatures.copy(),
            interactions=self._bonds.reshape(shape),
            moments=self._magnetizations.reshape(shape),
            unit=1.0 / self._sites,
            sites=self._sites,
            J=self._J,
            field=self._field,
        )
        return estimated(series, every)


def estimated(series: Series, every: int) -> Measurements:
    """The estimates from series, as they were counted (int32) or per site.

    Args:
        series: What was measured.
        every: Sweeps between two measurements.
    """
    n, T, R = series.shape
    if series.interactions.dtype != np.int32:
        values = series.energies(), series.magnetizations()
        return Measurements.from_series(series.temperatures, *values, sites=series.sites, every=every)
    bonds, moments = (x.reshape(n, T * R) for x in (series.interactions, series.moments))
    parts = parts_of(n, R)
    sums = np.empty((len(parts), MOMENTS, T * R))
    first = (-series.J * bonds[0] - series.field * moments[0]) / series.sites
    shift = first.reshape(T, R).mean(axis=1)
    each, borders = np.repeat(shift, R), np.array([*parts, n])
    sum_moments(bonds, moments, series.J, series.field, series.unit, each, borders, sums)
    sums = sums.reshape(-1, MOMENTS, T, R).transpose(1, 2, 3, 0).reshape(MOMENTS, T, -1)
    return Measurements.from_sums(series, sums, shift, every=every)


@contextmanager
def shown_progress(n: int, progress: bool | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, which ends with the context also when that is left by an interrupt.

    Args:
        n: Steps.
        progress: Whether to show it; only in a terminal if None.

    Yields:
        What to call with the number of steps done since the last call.
    """
    import sys

    if not (sys.stderr.isatty() if progress is None else progress):
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Measuring", total=n)
        yield lambda steps: bar.advance(task, steps)


def _nothing(steps: int) -> None:
    """No bar."""
