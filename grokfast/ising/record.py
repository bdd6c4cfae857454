"""Measuring in one pass: series and jackknife sums are kept while the lattices are swept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from grokfast.errors import InputError
from grokfast.ising._memory import check_memory
from grokfast.ising._moments import MOMENTS, add_moments
from grokfast.ising.engine import Counts, FloatArray
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
        self._parts = parts_of(n, replicas)
        self._sums = np.zeros((len(self._parts), MOMENTS, count))
        self._shift = np.zeros(count)
        self._sites, self._replicas, self._J, self._field = sites, replicas, float(J), float(field)
        self._taken = 0

    def add(self, counts: Counts) -> None:
        """Keep one measurement of each lattice."""
        i = self._taken
        if i == 0:
            energies = (-self._J * counts.bonds - self._field * counts.magnetizations) / self._sites
            means = energies.reshape(-1, self._replicas).mean(axis=1)
            self._shift = np.repeat(means, self._replicas)
        part = int(np.searchsorted(self._parts, i, side="right")) - 1
        add_moments(
            counts.bonds,
            counts.magnetizations,
            self._J,
            self._field,
            1.0 / self._sites,
            self._shift,
            self._sums[part],
            self._bonds[i],
            self._magnetizations[i],
        )
        self._taken += 1

    def measurements(self, temperatures: FloatArray, *, every: int) -> Measurements:
        """The estimates, after all measurements."""
        T, R = temperatures.size, self._replicas
        n = self._bonds.shape[0]
        sums = self._sums.reshape(-1, MOMENTS, T, R).transpose(1, 2, 3, 0).reshape(MOMENTS, T, -1)
        shift = self._shift.reshape(T, R)[:, 0].copy()
        series = Series(
            temperatures=temperatures.copy(),
            interactions=self._bonds.reshape(n, T, R),
            moments=self._magnetizations.reshape(n, T, R),
            unit=1.0 / self._sites,
            sites=self._sites,
            J=self._J,
            field=self._field,
        )
        return Measurements.from_sums(series, sums, shift, every=every)


@contextmanager
def shown_progress(n: int, progress: bool | None) -> Iterator[Callable[[], None]]:
    """A progress bar on standard error, which ends with the context also when that is left by an interrupt.

    Args:
        n: Steps.
        progress: Whether to show it; only in a terminal if None.

    Yields:
        What to call after each step.
    """
    import sys

    if not (sys.stderr.isatty() if progress is None else progress):
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Measuring", total=n)
        yield lambda: bar.advance(task)


def _nothing() -> None:
    """No bar."""
