"""The fast engine: blocks of packed words, in the replica or the site layout."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from grokfast.ising import _pack, _words
from grokfast.ising._ladder import ladder_bits, mask_probabilities, split_probability
from grokfast.ising._progress import LINE
from grokfast.ising._rng import splitmix64
from grokfast.ising._threads import run_tasks, run_together
from grokfast.ising.engine import (
    FLIPS_WORTH_A_THREAD,
    Arrays,
    FloatArray,
    IntArray,
    Problem,
    SpinArray,
    words_abreast,
)
from grokfast.ising.kinds import Dynamics, Layout

WordArray = npt.NDArray[np.uint64]

STRIP_WORDS = 2048
"""Words of one colour in a strip, about: the rows that share generators and that a thread takes at once."""


_LINES = 16  # words of two cache lines, which processors fetch together


def block_shape(problem: Problem, layout: Layout) -> tuple[int, int, int, int]:
    """Blocks, rows of words H, words in a row of one colour n, and words abreast W."""
    if layout is Layout.SITE:
        return problem.count, problem.rows // 64, problem.columns // 2, 1
    W = words_abreast(problem.count, problem.columns)
    return math.ceil(problem.count / (64 * W)), problem.rows, problem.columns // 2 * W, W


def aligned_words(shape: tuple[int, ...]) -> WordArray:
    """Zeros, uint64, from the start of a pair of cache lines on."""
    size = math.prod(shape)
    raw = np.zeros(size + _LINES, dtype=np.uint64)
    start = -(raw.ctypes.data // 8) % _LINES
    return raw[start : start + size].reshape(shape)


def word_bytes(problem: Problem, layout: Layout) -> int:
    """Memory of the packed lattices."""
    blocks, height, n, W = block_shape(problem, layout)
    return blocks * 2 * (height + 2) * (n + 2 * W) * 8


class WordEngine:
    """Multi-spin coded lattices; see :mod:`grokfast.ising._words` for the layouts and the kernel.

    Args:
        problem: What to sample.
        layout: ``REPLICA`` or ``SITE``.
        bits: Ladder steps K that the probabilities use, at most 12. Fewer only make the exact correction
            work harder: a test runs it at very few.
    """

    def __init__(self, problem: Problem, layout: Layout, bits: int = _words.STEPS) -> None:
        self.layout = layout
        self._problem = problem
        self._sites = layout is Layout.SITE
        blocks, height, n, W = block_shape(problem, layout)
        self._width = W
        self._words = np.zeros((blocks, 2, height + 2, n + 2 * W), dtype=np.uint64)
        self._strip = max(1, math.ceil(STRIP_WORDS / n))
        strips = math.ceil(height / self._strip)
        self._log_stay = math.log1p(-math.ldexp(1.0, -bits))
        states = splitmix64(problem.key, blocks * strips * _words.STATE).reshape(blocks, strips, -1)
        uniform = 1.0 - (states[..., -1] >> np.uint64(11)) * 2.0**-53
        states[..., -1] = np.floor(np.log(uniform) / self._log_stay).astype(np.uint64)
        # Two threads that write to one cache line wait for each other at every word they draw.
        self._padded_states = aligned_words((blocks, strips, _words.PADDED_STATE))
        self._states = self._padded_states[..., : _words.STATE]
        self._states[...] = states
        self._make_tables(bits)

    def _make_tables(self, bits: int) -> None:
        """Ladder bits and corrections of each block; blocks with the same temperatures share them."""
        problem, W = self._problem, self._width
        blocks = self._words.shape[0]
        lanes = 1 if self._sites else 64 * W
        padded = np.full(blocks * lanes, problem.temperatures[-1])
        padded[: problem.count] = problem.temperatures
        groups, self._table_of = np.unique(padded.reshape(blocks, lanes), axis=0, return_inverse=True)
        self._table_of = self._table_of.reshape(-1)
        self._bits: list[WordArray] = []
        self._redraw: list[FloatArray] = []
        for temperatures in groups:
            full = np.broadcast_to(temperatures, (64 * W,)) if self._sites else temperatures
            n, g = split_probability(mask_probabilities(full, problem.J, problem.dynamics), bits)
            lane_bits = ladder_bits(n << (_words.STEPS - bits), _words.STEPS)  # [K + 1, 2, 64 W]
            as_words = np.packbits(lane_bits, axis=-1, bitorder="little").view("<u8").astype(np.uint64)
            repeated = np.tile(as_words, (1, 1, _words.LANES // W)).transpose(1, 0, 2)
            self._bits.append(np.ascontiguousarray(repeated))
            self._redraw.append(np.ascontiguousarray(g))

    def load(self, spins: SpinArray) -> None:
        """Take int8 ``[count, Ly, Lx]``."""
        lanes = 64 * self._width
        for block, words in enumerate(self._words):
            if self._sites:
                _pack.pack_sites(spins[block], words)
            else:
                _pack.pack_replicas(spins[block * lanes : (block + 1) * lanes], words, self._width)

    def spins(self) -> SpinArray:
        """A new int8 ``[count, Ly, Lx]``."""
        problem = self._problem
        spins = np.empty((problem.count, problem.rows, problem.columns), dtype=np.int8)
        lanes = 64 * self._width
        for block, words in enumerate(self._words):
            if self._sites:
                _pack.unpack_sites(words, spins[block])
            else:
                _pack.unpack_replicas(words, spins[block * lanes : (block + 1) * lanes], self._width)
        return spins

    def packed(self) -> npt.NDArray[Any]:
        """Read-only uint64 view ``[blocks, 2, H, Lx / 2, W]`` without the halo."""
        W = self._width
        blocks, _, height, row = self._words.shape
        view = self._words.reshape(blocks, 2, height, row // W, W)[:, :, 1:-1, 1:-1]
        view.flags.writeable = False
        return view

    def counts(self) -> tuple[IntArray, IntArray]:
        """Bond sums and magnetisations, int64 ``[count]`` each."""
        problem, lanes = self._problem, 64 * self._width
        unlike = np.empty(problem.count, dtype=np.int64)
        up = np.empty(problem.count, dtype=np.int64)
        for block, words in enumerate(self._words):
            if self._sites:
                unlike[block], up[block] = _pack.count_sites(words)
            else:
                part = slice(block * lanes, (block + 1) * lanes)
                _pack.count_replicas(words, self._width, unlike[part], up[part])
        return 2 * problem.sites - 2 * unlike, 2 * up - problem.sites

    def sweep(self, sweeps: int, threads: int, share_rows: bool = False) -> None:
        """Update every lattice ``sweeps`` times, over blocks or, if they are few, over strips of rows.

        Threads that share rows wait for each other's borders thousands of times a second: on idle processors that is
        fast, on busy ones slower than one thread. So it must be asked for.
        """
        blocks, strips = self._states.shape[:2]
        if self._problem.count * self._problem.sites * sweeps < FLIPS_WORTH_A_THREAD:
            threads = 1
        if threads <= blocks or strips == 1 or not share_rows:
            run_tasks([partial(self._sweep_block, block, sweeps) for block in range(blocks)], threads)
            return
        workers = min(threads, strips)
        for block in range(blocks):
            progress = np.zeros((strips, LINE), dtype=np.int64)
            run_together([partial(self._sweep_block, block, sweeps, w, workers, progress) for w in range(workers)])

    def _sweep_block(
        self, block: int, sweeps: int, worker: int = 0, workers: int = 1, progress: IntArray | None = None
    ) -> None:
        table = self._table_of[block]
        _words.sweep_words(
            self._words[block],
            self._width,
            self._sites,
            self._problem.dynamics is Dynamics.GLAUBER,
            self._padded_states[block],
            self._strip,
            self._bits[table],
            self._redraw[table],
            self._log_stay,
            sweeps,
            worker,
            workers,
            np.zeros((1, LINE), dtype=np.int64) if progress is None else progress,
        )

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
                _words.refresh_halo(words[color], 1, words.shape[1] - 1, self._width, self._sites)

    def arrays(self) -> Arrays:
        """Copies of the packed lattices and of the generators."""
        return {"words": self._words.copy(), "states": self._states.copy()}

    def restore(self, arrays: Arrays) -> None:
        """Take what :meth:`arrays` gave."""
        self._words[...] = arrays["words"]
        self._states[...] = arrays["states"]
