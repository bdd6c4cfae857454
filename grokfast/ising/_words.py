"""Multi-spin coding: 64 spins of one colour of the checkerboard in each word, updated by bit operations.

One kernel serves both layouts, because both are a lattice of *words* with ``H`` rows:

* ``replica``: bit b of a word is the same site of lattice b; ``H = Ly``;
* ``site``: bit b of a word is the site H rows below that of bit b - 1 in one lattice; ``H = Ly / 64``, even. Where
  64 does not divide Ly / 2, ``B = min(64, Ly / 2)`` bits are used and the ``tall`` bits, the first ``Ly / 2 % B``,
  have H
  rows and the others H - 2. In a bit that is not tall, row H - 1 (from 1) holds the first row of the next bit: so its
  last row finds its neighbour where every row does.

A block is ``words[2, H + 2, n + 2 W]``: the two colours (0 where y + x is even), one halo row above and
below, W halo words left and right, and ``n = (Lx / 2) W`` words a row: W words (64 W lattices) side by side
for each site of the colour. Site (y, x) of colour c is column j = x // 2. Its neighbours, all of the other
colour, are column j of the rows y - 1, y and y + 1, and column j - 1 or j + 1 of row y, as (y + c) is even or
odd. In the site layout the halo rows are the far rows with their bits rotated by one.

A half sweep first draws, for each word, masks whose bits are 1 with the flip probabilities
(:mod:`grokfast.ising._masks`), and then applies them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._halo import refresh_halo
from grokfast.ising._masks import CHUNK, LANES, correct_masks, draw_masks
from grokfast.ising._progress import advance, wait
from grokfast.ising._rng import WordArray
from grokfast.ising.jit import kernel

FloatArray = npt.NDArray[np.float64]

LONG = 64
"""Words of a row from which on loops along it pay for being vectors; shorter rows are taken 8 words at a time."""


@kernel
def metropolis_word(
    s: np.uint64, n1: np.uint64, n2: np.uint64, n3: np.uint64, n4: np.uint64, one: np.uint64, four: np.uint64
) -> np.uint64:
    """Flip bits that disagree with two or more neighbours; with one, by mask ``one``; with none, ``four``."""
    d1, d2, d3, d4 = s ^ n1, s ^ n2, s ^ n3, s ^ n4
    first, second = d1 | d2, d3 | d4
    either = first | second
    several = (d1 & d2) | (d3 & d4) | (first & second)
    return s ^ (several | (either & one) | (~either & four))


@kernel
def glauber_word(
    n1: np.uint64, n2: np.uint64, n3: np.uint64, n4: np.uint64, one: np.uint64, four: np.uint64, half: np.uint64
) -> np.uint64:
    """Set bits by how many neighbours are up: ``four``, ``one``, ``half``, ``~one``, ``~four`` for 0 … 4."""
    sum12, both12 = n1 ^ n2, n1 & n2
    sum34, both34 = n3 ^ n4, n3 & n4
    odd = sum12 ^ sum34
    three = (both12 & sum34) | (both34 & sum12)  # with odd: three up, else one
    all_up = both12 & both34
    none = ~(n1 | n2 | n3 | n4)
    middle = ~(odd | all_up | none)
    return (odd & (one ^ three)) | (all_up & ~four) | (none & four) | (middle & half)


@kernel
def new_word(
    own: WordArray,
    other: WordArray,
    row: int,
    x: int,
    beside: int,
    glauber: bool,
    one: WordArray,
    four: WordArray,
    half: WordArray,
    i: int,
) -> np.uint64:
    """Word ``x`` of a colour after its update; ``row`` is the distance of the words above and below it."""
    # Unsigned indices spare the test for negative ones, which keeps loops from being vectors.
    n1, n2, n3 = other[np.uint64(x - row)], other[np.uint64(x + row)], other[np.uint64(x)]
    n4, k = other[np.uint64(beside)], np.uint64(i)
    if glauber:
        return glauber_word(n1, n2, n3, n4, one[k], four[k], half[k])
    return metropolis_word(own[np.uint64(x)], n1, n2, n3, n4, one[k], four[k])


@kernel
def update_short_rows(
    words: WordArray,
    color: int,
    first: int,
    last: int,
    width: int,
    glauber: bool,
    start: int,
    one: WordArray,
    four: WordArray,
    half: WordArray,
) -> None:
    """:func:`update_rows`, 8 words at a time, all read before any is written."""
    r = words.shape[2]
    n = r - 2 * width
    o, q = words[color].reshape(-1), words[1 - color].reshape(-1)
    y, j = first + start // n, start % n
    x = y * r + width + j
    to = width if (y - 1 + color) & 1 else -width
    i, g = 0, glauber
    while i < one.size and y < last:
        end = i + min(n - j, one.size - i)
        while i + 8 <= end:
            b = x + to
            a0 = new_word(o, q, r, x, b, g, one, four, half, i)
            a1 = new_word(o, q, r, x + 1, b + 1, g, one, four, half, i + 1)
            a2 = new_word(o, q, r, x + 2, b + 2, g, one, four, half, i + 2)
            a3 = new_word(o, q, r, x + 3, b + 3, g, one, four, half, i + 3)
            a4 = new_word(o, q, r, x + 4, b + 4, g, one, four, half, i + 4)
            a5 = new_word(o, q, r, x + 5, b + 5, g, one, four, half, i + 5)
            a6 = new_word(o, q, r, x + 6, b + 6, g, one, four, half, i + 6)
            a7 = new_word(o, q, r, x + 7, b + 7, g, one, four, half, i + 7)
            o[np.uint64(x)], o[np.uint64(x + 1)] = a0, a1
            o[np.uint64(x + 2)], o[np.uint64(x + 3)] = a2, a3
            o[np.uint64(x + 4)], o[np.uint64(x + 5)] = a4, a5
            o[np.uint64(x + 6)], o[np.uint64(x + 7)] = a6, a7
            x += 8
            i += 8
        while i < end:
            o[np.uint64(x)] = new_word(o, q, r, x, x + to, g, one, four, half, i)
            x += 1
            i += 1
        x += 2 * width
        y += 1
        j = 0
        to = -to


@kernel
def update_long_rows(
    words: WordArray,
    color: int,
    first: int,
    last: int,
    width: int,
    glauber: bool,
    start: int,
    one: WordArray,
    four: WordArray,
    half: WordArray,
) -> None:
    """:func:`update_rows` by a loop along each row."""
    row = words.shape[2]
    n = row - 2 * width
    own, other = words[color].reshape(-1), words[1 - color].reshape(-1)
    y, j = first + start // n, start % n
    i = 0
    while i < one.size and y < last:
        m = min(n - j, one.size - i)
        x = y * row + width + j
        b = x + (width if (y - 1 + color) & 1 else -width)
        if glauber:
            for k in range(m):
                own[np.uint64(x + k)] = new_word(own, other, row, x + k, b + k, True, one, four, half, i + k)
        else:
            for k in range(m):
                own[np.uint64(x + k)] = new_word(own, other, row, x + k, b + k, False, one, four, half, i + k)
        i, y, j = i + m, y + 1, 0


@kernel
def update_rows(
    words: WordArray,
    color: int,
    first: int,
    last: int,
    width: int,
    glauber: bool,
    start: int,
    one: WordArray,
    four: WordArray,
    half: WordArray,
) -> None:
    """Apply masks to the sites of a strip, row after row, from its ``start``-th word on; there may be masks left."""
    if words.shape[2] - 2 * width < LONG:
        update_short_rows(words, color, first, last, width, glauber, start, one, four, half)
    else:
        update_long_rows(words, color, first, last, width, glauber, start, one, four, half)


@kernel
def sweep_words(
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
    progress: npt.NDArray[np.int64],
    done: npt.NDArray[np.int64],
) -> None:
    """Sweep a block, or one worker's share of its strips.

    A strip may be updated when the strips above and below it have finished the half sweep before. Workers own
    strips side by side, so that few rows travel between caches, and take them in turns from the top and from the
    bottom: the two strips at a border between workers then come first, or last, in both, and neither has to wait.

    Args:
        words: uint64 ``[2, H + 2, n + 2 W]``, updated.
        width: W.
        lanes: B in the site layout, 0 in the replica layout.
        tall: As for :func:`refresh_halo`; with bits of unlike heights only one worker may sweep.
        glauber: Whether to draw Glauber's instead of Metropolis' probabilities.
        states: uint64 ``[strips, PADDED_STATE]``, updated.
        strip: Rows of a strip.
        bits: uint64 ``[2, STEPS + 1, LANES]``, see :func:`draw_masks`.
        redraw: float64 ``[2, 64 W]``, see :func:`correct_masks`.
        log_stay: ln(1 - 2^-K).
        sweeps: How many.
        worker: Which of the workers this is.
        workers: How many threads share the block.
        progress: int64 ``[strips, LINE]``, 0 at the start, shared by the workers: column 0 counts the half
            sweeps that a strip has finished. Unused with one worker.
        done: int64 ``[strips]``; ``sweeps`` is added for the worker's strips at the end, so that no interrupt can
            come between the two.
    """
    height = words.shape[1] - 2
    n = words.shape[2] - 2 * width
    one = np.empty(CHUNK, np.uint64)
    four = np.empty(CHUNK, np.uint64)
    half = np.empty(CHUNK, np.uint64)
    strips = states.shape[0]
    top = strips * worker // workers
    end = strips * (worker + 1) // workers
    for turn in range(2 * sweeps):
        color = turn & 1
        for i in range(end - top):
            s = end - 1 - i if worker & 1 else top + i
            first = 1 + s * strip
            last = min(first + strip, height + 1)
            total = (last - first) * n
            for start in range(0, total, CHUNK):
                size = min(CHUNK, (total - start + LANES - 1) // LANES * LANES)
                draw_masks(states[s], bits, one[:size], four[:size], half[:size])
                correct_masks(states[s], redraw, log_stay, one[:size], four[:size])
                if workers > 1 and start == 0:
                    wait(progress[(s + strips - 1) % strips], turn)
                    wait(progress[(s + 1) % strips], turn)
                update_rows(words, color, first, last, width, glauber, start, one[:size], four[:size], half[:size])
            refresh_halo(words[color], first, last, width, lanes, tall, False)
            if workers > 1:
                advance(progress[s])
    for s in range(top, end):
        done[s] += sweeps
