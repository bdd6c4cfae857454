"""Sweeping and counting in one go, while a block of words is in the cache."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._count import CountArray, count_block
from grokfast.ising._general import sweep_general
from grokfast.ising._rng import WordArray
from grokfast.ising._words import sweep_words
from grokfast.ising.jit import kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@kernel
def record_words(
    words: WordArray,
    width: int,
    lanes: int,
    tall: np.uint64,
    glauber: bool,
    states: WordArray,
    strip: int,
    bits: WordArray,
    redraw: FloatArray,
    log_stay: float,
    sweeps: int,
    worker: int,
    workers: int,
    progress: IntArray,
    done: IntArray,
    turn: np.uint64,
    first: int,
    unlike: CountArray,
    up: CountArray,
) -> None:
    """``sweeps`` sweeps of :func:`grokfast.ising._words.sweep_words` and a count of a block, again and again.

    Args:
        words: As all down to ``done``, for ``sweep_words``.
        width: See there.
        lanes: See there.
        tall: See there.
        glauber: See there.
        states: See there.
        strip: See there.
        bits: See there.
        redraw: See there.
        log_stay: See there.
        sweeps: See there.
        worker: See there.
        workers: See there.
        progress: See there.
        done: See there.
        turn: As for :func:`grokfast.ising._count.count_replicas`.
        first: Number of the block's first lattice.
        unlike: int32 ``[rounds, lattices]``, output: bonds between unlike spins.
        up: int32 ``[rounds, lattices]``, output: up spins.
    """
    for i in range(unlike.shape[0]):
        sweep_words(
            words, width, lanes, tall, glauber, states, strip, bits, redraw, log_stay, sweeps, worker, workers,
            progress, done,
        )  # fmt: skip
        count_block(words, width, lanes, tall, False, turn, first, unlike[i], up[i])


@kernel
def record_general(
    words: WordArray,
    width: int,
    lanes: int,
    tall: np.uint64,
    is_open: bool,
    glauber: bool,
    states: WordArray,
    strip: int,
    plain_bits: WordArray,
    plain_redraw: FloatArray,
    bits: WordArray,
    redraw: FloatArray,
    favour: WordArray,
    log_stay: float,
    edges: IntArray,
    edge_bits: WordArray,
    edge_starts: IntArray,
    sweeps: int,
    worker: int,
    workers: int,
    progress: IntArray,
    done: IntArray,
    turn: np.uint64,
    first: int,
    unlike: CountArray,
    up: CountArray,
) -> None:
    """:func:`record_words` with :func:`grokfast.ising._general.sweep_general`."""
    for i in range(unlike.shape[0]):
        sweep_general(
            words, width, lanes, tall, is_open, glauber, states, strip, plain_bits, plain_redraw, bits, redraw, favour,
            log_stay, edges, edge_bits, edge_starts, sweeps, worker, workers, progress, done,
        )  # fmt: skip
        count_block(words, width, lanes, tall, is_open, turn, first, unlike[i], up[i])
