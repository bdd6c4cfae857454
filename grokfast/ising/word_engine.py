"""The fast engine: blocks of packed words, in the replica or the site layout."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from grokfast.ising import _count, _general, _masks, _pack, _record, _words
from grokfast.ising._edges import find_edges
from grokfast.ising._halo import refresh_halo
from grokfast.ising._progress import LINE
from grokfast.ising._rng import splitmix64
from grokfast.ising._threads import run_tasks, run_together
from grokfast.ising.engine import (
    FLIPS_WORTH_A_THREAD,
    Arrays,
    Counts,
    IntArray,
    Problem,
    SeriesArray,
    SpinArray,
)
from grokfast.ising.kinds import Boundary, Dynamics, Layout
from grokfast.ising.mask_tables import mask_tables
from grokfast.ising.word_shapes import aligned_words, block_shape, site_lanes, strip_rows, tall_lanes

WordArray = npt.NDArray[np.uint64]


class WordEngine:
    """Multi-spin coded lattices; see :mod:`grokfast.ising._words` for the layouts and the kernel.

    Args:
        problem: What to sample.
        layout: ``REPLICA`` or ``SITE``.
        bits: Ladder steps K that the probabilities use, at most 12. Fewer only make the exact correction
            work harder: a test runs it at very few.
    """

    def __init__(self, problem: Problem, layout: Layout, bits: int = _masks.STEPS) -> None:
        self.layout = layout
        self._sites = layout is Layout.SITE
        self._lanes = site_lanes(problem.rows) if self._sites else 0
        self._tall = np.uint64(tall_lanes(problem.rows)) if self._sites else _pack.ALL
        self._open = problem.boundary is Boundary.OPEN
        self._ladder = bits
        blocks, height, n, W = block_shape(problem, layout)
        self._width = W
        self._words = np.zeros((blocks, 2, height + 2, n + 2 * W), dtype=np.uint64)
        self._strip = strip_rows(n)
        strips = math.ceil(height / self._strip)
        self._done = np.zeros((blocks, strips), dtype=np.int64)
        self._asked = 0
        self._log_stay = math.log1p(-math.ldexp(1.0, -bits))
        states = splitmix64(problem.key, blocks * strips * _masks.STATE).reshape(blocks, strips, -1)
        uniform = 1.0 - (states[..., -1] >> np.uint64(11)) * 2.0**-53
        states[..., -1] = np.floor(np.log(uniform) / self._log_stay).astype(np.uint64)
        # Two threads that write to one cache line wait for each other at every word they draw.
        self._padded_states = aligned_words((blocks, strips, _masks.PADDED_STATE))
        self._states[...] = states
        self._edges = find_edges(height, n, W, self._lanes, int(self._tall), self._strip, strips, is_open=self._open)
        self.retune(problem)

    @property
    def _states(self) -> WordArray:
        """The generators without the padding: a view made anew each time, so that a copy has its own."""
        return self._padded_states[..., : _masks.STATE]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Go on from a copy or a pickle, whose arrays start anywhere, with generators at the start of cache lines."""
        self.__dict__.update(state)
        loose = self._padded_states
        self._padded_states = aligned_words(loose.shape)
        self._padded_states[...] = loose

    def retune(self, problem: Problem) -> None:
        """Go on at other temperatures or in another field.

        Ladder bits and corrections are made for each block; blocks with the same temperatures share them.
        """
        self._problem = problem
        lanes = 1 if self._sites else 64 * self._width
        padded = np.full(self._words.shape[0] * lanes, problem.temperatures[-1])
        padded[: problem.count] = problem.temperatures
        self._tables = mask_tables(problem, padded.reshape(-1, lanes), self._width, self._ladder)

    def load(self, spins: SpinArray) -> None:
        """Take int8 ``[count, Ly, Lx]``."""
        lanes = 64 * self._width
        for block, words in enumerate(self._words):
            if self._sites:
                _pack.pack_sites(self._gauged(spins[block]), words, self._lanes, self._tall, self._open)
            else:
                part = self._gauged(spins[block * lanes : (block + 1) * lanes])
                _pack.pack_replicas(part, words, self._width, self._open)

    def _gauged(self, spins: SpinArray) -> SpinArray:
        """The spins, those with y + x odd upside down if J < 0."""
        if self._problem.J >= 0.0:
            return spins
        turned = spins.copy()
        turned[..., ::2, 1::2] *= -1
        turned[..., 1::2, ::2] *= -1
        return turned

    def spins(self) -> SpinArray:
        """A new int8 ``[count, Ly, Lx]``."""
        problem = self._problem
        spins = np.empty((problem.count, problem.rows, problem.columns), dtype=np.int8)
        lanes = 64 * self._width
        for block, words in enumerate(self._words):
            if self._sites:
                part = spins[block]
                _pack.unpack_sites(words, part, self._lanes, self._tall)
            else:
                part = spins[block * lanes : (block + 1) * lanes]
                _pack.unpack_replicas(words, part, self._width)
            if problem.J < 0.0:
                part[...] = self._gauged(part)
        return spins

    def packed(self) -> npt.NDArray[Any]:
        """Read-only uint64 ``[blocks, 2, H, Lx / 2, W]`` without the halo: a view, or a copy if J < 0."""
        W = self._width
        blocks, _, height, row = self._words.shape
        view = self._words.reshape(blocks, 2, height, row // W, W)[:, :, 1:-1, 1:-1]
        if self._problem.J < 0.0:
            view = view.copy()
            view[:, 1] = ~view[:, 1]
        view.flags.writeable = False
        return view

    def counts(self) -> Counts:
        """Bond sums and magnetisations, int64 ``[count]`` each."""
        return Counts(*self._count(staggered=False))

    def staggered(self) -> IntArray:
        """Staggered magnetisations, int64 ``[count]``."""
        return self._count(staggered=True)[1]

    def _count(self, *, staggered: bool) -> tuple[IntArray, IntArray]:
        unlike, up = (np.empty(self._problem.count, dtype=np.int32) for _ in range(2))
        shape = (self._width, self._lanes, self._tall, self._open, self._turn(staggered=staggered))
        for block, words in enumerate(self._words):
            _count.count_block(words, *shape, self._first(block), unlike, up)
        # Numbers of bonds of the largest lattices need the 32nd bit.
        bonds, magnetizations = (x.view(np.uint32).astype(np.int64) for x in (unlike, up))
        self._as_sums(bonds, magnetizations)
        return bonds, magnetizations

    def _first(self, block: int) -> int:
        """The first lattice of a block."""
        return block if self._sites else 64 * self._width * block

    def _turn(self, *, staggered: bool) -> np.uint64:
        """All ones where the odd sites of the words count the other way round; with J < 0 they are upside down."""
        return _count.ALL if staggered != (self._problem.J < 0.0) else np.uint64(0)

    def _as_sums(self, bonds: npt.NDArray[Any], magnetizations: npt.NDArray[Any]) -> None:
        """Turn bonds between unlike spins and numbers of up spins into sums, in place."""
        problem = self._problem
        bonds *= -2
        bonds += problem.bonds
        if problem.J < 0.0:
            bonds *= -1
        magnetizations *= 2
        magnetizations -= problem.sites

    def exchange(self, first: IntArray, second: IntArray) -> None:
        """Swap the spins of lattices ``first[i]`` and ``second[i]``, all different."""
        if self._sites:
            self._words[first], self._words[second] = self._words[second], self._words[first]
        else:
            _pack.exchange_replicas(self._words, self._width, first, second)

    @property
    def sweeps(self) -> int:
        """Sweeps that every lattice has had, once :meth:`catch_up` is done."""
        return self._asked

    def sweep(self, sweeps: int, threads: int, share_rows: bool = False) -> None:
        """Update every lattice ``sweeps`` times, over blocks or, if they are few, over strips of rows.

        Threads that share rows wait for each other's borders thousands of times a second: on idle processors that is
        fast, on busy ones slower than one thread. So it must be asked for.
        """
        blocks, strips = self._done.shape
        if self._problem.count * self._problem.sites * sweeps < FLIPS_WORTH_A_THREAD:
            threads = 1
        if not self._shares_rows(threads, share_rows):
            tasks = [partial(self._sweep_block, block) for block in range(blocks)]
            self._asked += sweeps
            run_tasks(tasks, threads)
            return
        workers = min(threads, strips)
        self._asked += sweeps
        for block in range(blocks):
            progress = np.zeros((strips, LINE), dtype=np.int64)
            run_together([partial(self._sweep_block, block, w, workers, progress) for w in range(workers)])

    def _shares_rows(self, threads: int, share_rows: bool) -> bool:
        """Whether threads are for rows of a block rather than for blocks."""
        blocks, strips = self._done.shape
        return threads > blocks and strips > 1 and share_rows and self._tall == _pack.ALL

    def record(
        self, every: int, bonds: SeriesArray, magnetizations: SeriesArray, threads: int, share_rows: bool = False
    ) -> None:
        """Sweep ``every`` times and count, as often as the series have rows; a block after the other where it can."""
        rounds = len(bonds)
        if self._shares_rows(threads, share_rows):
            for i in range(rounds):
                self.sweep(every, threads, share_rows)
                bonds[i], magnetizations[i] = self._count(staggered=False)
            return
        if self._problem.count * self._problem.sites * every * rounds < FLIPS_WORTH_A_THREAD:
            threads = 1
        turn = self._turn(staggered=False)
        tasks = [
            partial(self._record_block, block, every, turn, bonds, magnetizations) for block in range(len(self._words))
        ]
        self._asked += every * rounds
        run_tasks(tasks, threads)
        self._as_sums(bonds, magnetizations)

    def _record_block(
        self, block: int, every: int, turn: np.uint64, bonds: SeriesArray, magnetizations: SeriesArray
    ) -> None:
        series: tuple[Any, ...] = (turn, self._first(block), bonds, magnetizations)
        if self._tables.general is None:
            _record.record_words(*self._arguments(block, every), *series)
        else:
            _record.record_general(*self._arguments(block, every), *series)

    def catch_up(self) -> None:
        """Finish the sweeps that an interrupted :meth:`sweep` or :meth:`record` left undone."""
        for block in range(self._done.shape[0]):
            self._sweep_block(block)

    def _sweep_block(self, block: int, worker: int = 0, workers: int = 1, progress: IntArray | None = None) -> None:
        sweeps = self._asked - int(self._done[block, self._done.shape[1] * worker // workers])
        if sweeps == 0:
            return
        if self._tables.general is None:
            _words.sweep_words(*self._arguments(block, sweeps, worker, workers, progress))
        else:
            _general.sweep_general(*self._arguments(block, sweeps, worker, workers, progress))

    def _arguments(
        self, block: int, sweeps: int, worker: int = 0, workers: int = 1, progress: IntArray | None = None
    ) -> tuple[Any, ...]:
        """Those of the kernel that sweeps a block."""
        glauber, tables = self._problem.dynamics is Dynamics.GLAUBER, self._tables
        table = tables.of_block[block]
        counters = np.zeros((1, LINE), dtype=np.int64) if progress is None else progress
        how = (sweeps, worker, workers, counters, self._done[block])
        where = (self._words[block], self._width, self._lanes, self._tall)
        strips = (glauber, self._padded_states[block], self._strip)
        if tables.general is None:
            return (*where, *strips, *tables.plain[table], self._log_stay, *how)
        masks = (*tables.plain[table], *tables.general[table], tables.favour, self._log_stay)
        return (*where, self._open, *strips, *masks, *self._edges, *how)

    def randomize(self, which: npt.NDArray[np.bool_], generator: np.random.Generator) -> None:
        """Draw fair spins for the lattices in ``which``."""
        lanes = 1 if self._sites else 64 * self._width
        for block, words in enumerate(self._words):
            chosen = which[block * lanes : (block + 1) * lanes]
            if not chosen.any():
                continue
            if self._sites:
                mask = np.array([~np.uint64(0)])
            else:
                padded = np.zeros(lanes, dtype=np.bool_)
                padded[: chosen.size] = chosen
                mask = np.packbits(padded, bitorder="little").view("<u8").astype(np.uint64)
            repeated = np.tile(mask, words.shape[2] // self._width)
            fresh = np.frombuffer(generator.bytes(words.nbytes), dtype="<u8").reshape(words.shape)
            words[...] = (words & ~repeated) | (fresh & repeated)
            for color in range(2):
                if self._open:  # the halo is no part of the lattice
                    words[color, 0], words[color, -1] = 0, 0
                    words[color, :, : self._width], words[color, :, -self._width :] = 0, 0
                last = words.shape[1] - 1
                refresh_halo(words[color], 1, last, self._width, self._lanes, self._tall, self._open)

    def arrays(self) -> Arrays:
        """Copies of the packed lattices and of the generators."""
        return {"words": self._words.copy(), "states": self._states.copy()}

    def restore(self, arrays: Arrays, sweeps: int) -> None:
        """Take what :meth:`arrays` gave after so many sweeps."""
        self._words[...] = arrays["words"]
        self._states[...] = arrays["states"]
        self._done[...] = self._asked = sweeps
