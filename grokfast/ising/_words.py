"""Multi-spin coding: 64 spins of one colour of the checkerboard in each word, updated by bit operations.

One kernel serves both layouts, because both are a lattice of *words* with ``H`` rows:

* ``replica``: bit b of a word is the same site of lattice b; ``H = Ly``;
* ``site``: bit b of a word is the site H rows below that of bit b - 1 in one lattice; ``H = Ly / 64``, even. Where
  64 does not divide Ly / 2, ``B = min(64, Ly / 2)`` bits are used and the ``tall`` bits, the first ``Ly / 2 % B``, have H
  rows and the others H - 2. In a bit that is not tall, row H - 1 (from 1) holds the first row of the next bit: so its
  last row finds its neighbour where every row does.

A block is ``words[2, H + 2, n + 2 W]``: the two colours (0 where y + x is even), one halo row above and
below, W halo words left and right, and ``n = (Lx / 2) W`` words a row: W words (64 W lattices) side by side
for each site of the colour. Site (y, x) of colour c is column j = x // 2. Its neighbours, all of the other
colour, are column j of the rows y - 1, y and y + 1, and column j - 1 or j + 1 of row y, as (y + c) is even or
odd. In the site layout the halo rows are the far rows with their bits rotated by one.

**Masks.** A half sweep first draws, for each word, masks whose bits are 1 with the flip probabilities. With
random words r_1 … r_K and the bits C_k of a probability, ``a = (a ^ C_k) & r_k`` halves or reflects the
chance of a 1 at each step: after K steps it is any multiple of 2^-K up to 1/2, and a last ``^ C`` gives the
rest of [0, 1]. The bits are run-time data, a word for each k, so that each lattice has its own temperature.

**Exactness.** With rate 2^-K (geometric gaps) a bit is drawn again with the probability g that makes the
whole exact: p = (1 - 2^-K) n / 2^K + 2^-K g. The two masks of a site share their random words, since a site
uses only one of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._jit import kernel
from grokfast.ising._progress import advance, wait
from grokfast.ising._rng import ONE, ZERO, WordArray, geometric_gap, next_uniform

FloatArray = npt.NDArray[np.float64]

STEPS = 12
"""Ladder steps K: random words used for each word of spins."""

LANES = 16
"""Words drawn together, each with its own generator: two interleaved vectors of AVX-512, or four of AVX2."""

CHUNK = 512
"""Words of masks drawn at a time, a multiple of LANES: they stay in the first-level cache."""

STATE = 4 * LANES + 5
"""Words of generator state of a strip: 4 for each lane, 4 for the rare events, and the gap to the next."""

PADDED_STATE = 16 * ((STATE + 15) // 16)
"""Words from one strip's state to the next: whole pairs of cache lines, so that no two threads share one."""

_S17, _S19, _S45 = np.uint64(17), np.uint64(19), np.uint64(45)


@kernel
def draw_masks(state: WordArray, bits: WordArray, one: WordArray, four: WordArray, half: WordArray) -> None:
    """Draw masks by the ladder: the vectorised loop in which most of the time goes.

    Args:
        state: uint64 ``[STATE]``, generator states, updated.
        bits: uint64 ``[2, STEPS + 1, LANES]``, the bits of the two probabilities, lowest first, then the last
            reflection.
        one: uint64 ``[words]``, output, words a multiple of LANES: the mask for a site with three neighbours
            of its own sign (or for an up-probability, see :func:`update_glauber`).
        four: uint64 ``[words]``, output: the mask for a site with four.
        half: uint64 ``[words]``, output: fair bits. A site uses its own only if it uses neither other mask.
    """
    for group in range(one.size // LANES):
        start = group * LANES
        for w in range(LANES):
            s0, s1 = state[w], state[LANES + w]
            s2, s3 = state[2 * LANES + w], state[3 * LANES + w]
            a = ZERO
            b = ZERO
            r = ZERO
            for k in range(STEPS):
                r = s0 + s3
                t = s1 << _S17
                s2 ^= s0
                s3 ^= s1
                s1 ^= s2
                s0 ^= s3
                s2 ^= t
                s3 = (s3 << _S45) | (s3 >> _S19)
                a = (a ^ bits[0, k, w]) & r
                b = (b ^ bits[1, k, w]) & r
            one[start + w] = a ^ bits[0, STEPS, w]
            four[start + w] = b ^ bits[1, STEPS, w]
            half[start + w] = r
            state[w], state[LANES + w] = s0, s1
            state[2 * LANES + w], state[3 * LANES + w] = s2, s3


@kernel
def correct_masks(state: WordArray, redraw: FloatArray, log_stay: float, one: WordArray, four: WordArray) -> None:
    """Make the masks exact: draw rare bits again, with probability ``redraw`` (float64 ``[2, 64 W]``)."""
    lanes = redraw.shape[1] - 1  # a power of two, less one
    events = state[4 * LANES : 4 * LANES + 4]
    gap = np.int64(state[4 * LANES + 4])
    end = np.int64(one.size) * 64
    while gap < end:
        word = gap >> 6
        lane = gap & lanes
        mask = ONE << np.uint64(gap & 63)
        u = next_uniform(events)
        one[word] = one[word] | mask if u < redraw[0, lane] else one[word] & ~mask
        four[word] = four[word] | mask if u < redraw[1, lane] else four[word] & ~mask
        gap += 1 + geometric_gap(events, log_stay)
    state[4 * LANES + 4] = np.uint64(gap - end)


@kernel
def update_metropolis(
    spins: WordArray,
    up: WordArray,
    here: WordArray,
    beside: WordArray,
    down: WordArray,
    one: WordArray,
    four: WordArray,
) -> None:
    """Flip bits that disagree with two or more neighbours; with one, by mask ``one``; with none, ``four``."""
    for j in range(spins.size):
        s = spins[j]
        d1 = s ^ up[j]
        d2 = s ^ down[j]
        d3 = s ^ here[j]
        d4 = s ^ beside[j]
        first, second = d1 | d2, d3 | d4
        either = first | second
        several = (d1 & d2) | (d3 & d4) | (first & second)
        spins[j] = s ^ (several | (either & one[j]) | (~either & four[j]))


@kernel
def update_glauber(
    spins: WordArray,
    up: WordArray,
    here: WordArray,
    beside: WordArray,
    down: WordArray,
    one: WordArray,
    four: WordArray,
    half: WordArray,
) -> None:
    """Set bits by how many neighbours are up: ``four``, ``one``, ``half``, ``~one``, ``~four`` for 0 … 4."""
    for j in range(spins.size):
        n1, n2, n3, n4 = up[j], down[j], here[j], beside[j]
        sum12, both12 = n1 ^ n2, n1 & n2
        sum34, both34 = n3 ^ n4, n3 & n4
        odd = sum12 ^ sum34
        three = (both12 & sum34) | (both34 & sum12)  # with odd: three up, else one
        all_up = both12 & both34
        none = ~(n1 | n2 | n3 | n4)
        middle = ~(odd | all_up | none)
        spins[j] = (odd & (one[j] ^ three)) | (all_up & ~four[j]) | (none & four[j]) | (middle & half[j])


@kernel
def from_bit_above(word: np.uint64, bits: int, is_open: bool) -> np.uint64:
    """Bit b becomes what bit b - 1 was, of the ``bits`` lowest ones; the first what the last was, or 0."""
    if is_open:
        return word << ONE
    return (word << ONE) | ((word >> np.uint64(bits - 1)) & ONE)


@kernel
def from_bit_below(word: np.uint64, bits: int, is_open: bool) -> np.uint64:
    """Bit b becomes what bit b + 1 was; the last what the first was, or 0."""
    top = ONE << np.uint64(bits - 1)
    inner = (word >> ONE) & (top - ONE)
    return inner if is_open or not word & ONE else inner | top


@kernel
def refresh_halo(
    rows: WordArray, first: int, last: int, width: int, bits: int, tall: np.uint64, is_open: bool
) -> None:
    """Copy the edges of rows ``first`` to ``last`` - 1 (from 1) of one colour to where neighbours look for them.

    Args:
        rows: uint64 ``[H + 2, n + 2 W]``, updated.
        first: First row that has changed.
        last: Row after the last.
        width: W.
        bits: B in the site layout, 0 in the replica layout.
        tall: The bits that have H rows in the site layout, see above; all bits if every bit has.
        is_open: Whether the lattice's edges see nothing: then their halo stays 0.
    """
    height = rows.shape[0] - 2
    n = rows.shape[1] - 2 * width
    if not is_open:
        for y in range(first, last):
            for w in range(width):
                rows[y, w] = rows[y, n + w]
                rows[y, n + width + w] = rows[y, width + w]
    if bits == 0 and is_open:
        return
    if last == height + 1:
        for j in range(rows.shape[1]):
            word = rows[height, j]
            if bits > 0:
                if ~tall:
                    word = (word & tall) | (rows[height - 2, j] & ~tall)
                    rows[height - 1, j] = (rows[height - 1, j] & tall) | (
                        from_bit_below(rows[1, j], bits, is_open) & ~tall
                    )
                word = from_bit_above(word, bits, is_open)
            rows[0, j] = word
    if first == 1:
        for j in range(rows.shape[1]):
            word = rows[1, j]
            rows[height + 1, j] = from_bit_below(word, bits, is_open) if bits > 0 else word


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
    """Apply masks to the sites of a strip, row after row, from its ``start``-th word on."""
    n = words.shape[2] - 2 * width
    i = 0
    while i < one.size:
        y = first + (start + i) // n
        j = (start + i) % n
        if y >= last:
            break  # the masks beyond the last word of the strip
        m = min(n - j, one.size - i)
        left = width + j
        shift = width if (y - 1 + color) & 1 else -width
        spins = words[color, y, left : left + m]
        other = words[1 - color]
        up, down = other[y - 1, left : left + m], other[y + 1, left : left + m]
        here, beside = other[y, left : left + m], other[y, left + shift : left + shift + m]
        if glauber:
            update_glauber(spins, up, here, beside, down, one[i : i + m], four[i : i + m], half[i : i + m])
        else:
            update_metropolis(spins, up, here, beside, down, one[i : i + m], four[i : i + m])
        i += m


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
