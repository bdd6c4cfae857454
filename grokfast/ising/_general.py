"""The word kernel for fields and open edges: five masks, one for each number of neighbours that are up.

It is :mod:`grokfast.ising._words` with a flip probability (Glauber: a probability to be up) for each number n of
neighbours up, and with classes of sites. A missing neighbour is a 0 in the halo, which counts as down: a site with z
neighbours has the local field J (2n - z) + h, so sites with 4, 3 and 2 neighbours (classes 0, 1, 2: inside, edge, corner)
have tables of their own. Edges and corners are updated as if they were inside, and then overwritten.

For Metropolis the mask of n is the chance to flip out of the sign that ``favour`` gives, which is that of the local field;
a spin of the other sign always flips. The five masks of a site share their random words: it uses one of them only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._jit import kernel
from grokfast.ising._progress import advance, wait
from grokfast.ising._rng import ONE, ZERO, WordArray, geometric_gap, next_uniform
from grokfast.ising._words import CHUNK, LANES, STEPS, refresh_halo

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CLASSES = 3
"""Sites with 4, 3 and 2 neighbours."""

_S17, _S19, _S45 = np.uint64(17), np.uint64(19), np.uint64(45)


@kernel
def draw_five(state: WordArray, bits: WordArray, masks: WordArray, size: int) -> None:
    """Draw five masks by the ladder, see :func:`grokfast.ising._words.draw_masks`.

    Args:
        state: uint64 ``[PADDED_STATE]``, updated.
        bits: uint64 ``[5, STEPS + 1, LANES]``.
        masks: uint64 ``[5 CHUNK]``, output: word i of mask n at ``n CHUNK + i``.
        size: Words of each mask, a multiple of LANES, at most CHUNK.
    """
    for group in range(size // LANES):
        start = group * LANES
        for w in range(LANES):
            s0, s1 = state[w], state[LANES + w]
            s2, s3 = state[2 * LANES + w], state[3 * LANES + w]
            a, b, c, d, e = ZERO, ZERO, ZERO, ZERO, ZERO
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
                c = (c ^ bits[2, k, w]) & r
                d = (d ^ bits[3, k, w]) & r
                e = (e ^ bits[4, k, w]) & r
            masks[start + w] = a ^ bits[0, STEPS, w]
            masks[start + w + 1 * CHUNK] = b ^ bits[1, STEPS, w]
            masks[start + w + 2 * CHUNK] = c ^ bits[2, STEPS, w]
            masks[start + w + 3 * CHUNK] = d ^ bits[3, STEPS, w]
            masks[start + w + 4 * CHUNK] = e ^ bits[4, STEPS, w]
            state[w], state[LANES + w] = s0, s1
            state[2 * LANES + w], state[3 * LANES + w] = s2, s3


@kernel
def correct_five(state: WordArray, redraw: FloatArray, log_stay: float, masks: WordArray, size: int) -> None:
    """Make the masks exact: draw rare bits again, with probability ``redraw`` (float64 ``[5, 64 W]``)."""
    lanes = redraw.shape[1] - 1
    events = state[4 * LANES : 4 * LANES + 4]
    gap = np.int64(state[4 * LANES + 4])
    end = np.int64(size) * 64
    while gap < end:
        lane = gap & lanes
        bit = ONE << np.uint64(gap & 63)
        u = next_uniform(events)
        for n in range(5):
            i = n * CHUNK + (gap >> 6)
            masks[i] = masks[i] | bit if u < redraw[n, lane] else masks[i] & ~bit
        gap += 1 + geometric_gap(events, log_stay)
    state[4 * LANES + 4] = np.uint64(gap - end)


@kernel
def update_general(
    spins: WordArray,
    old: WordArray,
    up: WordArray,
    here: WordArray,
    beside: WordArray,
    down: WordArray,
    favour: WordArray,
    glauber: bool,
    masks: WordArray,
) -> None:
    """Set ``spins`` from ``old`` (which may be the same), their neighbours and the masks (``[>= 4 CHUNK + words]``)."""
    f0, f1, f2, f3, f4 = favour[0], favour[1], favour[2], favour[3], favour[4]
    for j in range(spins.size):
        n1, n2, n3, n4 = up[j], down[j], here[j], beside[j]
        sum12, both12 = n1 ^ n2, n1 & n2
        sum34, both34 = n3 ^ n4, n3 & n4
        odd = sum12 ^ sum34
        three = odd & ((both12 & sum34) | (both34 & sum12))
        one = odd & ~three
        four = both12 & both34
        none = ~(n1 | n2 | n3 | n4)
        two = ~(odd | four | none)
        mask = (none & masks[j]) | (one & masks[j + CHUNK]) | (two & masks[j + 2 * CHUNK])
        mask |= (three & masks[j + 3 * CHUNK]) | (four & masks[j + 4 * CHUNK])
        if not glauber:
            s = old[j]
            wanted = (none & f0) | (one & f1) | (two & f2) | (three & f3) | (four & f4)
            mask = s ^ (mask | (s ^ wanted))
        spins[j] = mask


@kernel
def sweep_general(
    words: WordArray,
    width: int,
    lanes: int,
    tall: np.uint64,
    is_open: bool,
    glauber: bool,
    states: WordArray,
    strip: int,
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
) -> None:
    """Sweep a block, or one worker's share of its strips; see :func:`grokfast.ising._words.sweep_words`.

    Args:
        words: uint64 ``[2, H + 2, n + 2 W]``, updated.
        width: W.
        lanes: B in the site layout, 0 in the replica layout.
        tall: As for :func:`grokfast.ising._words.refresh_halo`.
        is_open: Whether the edges see nothing.
        glauber: Whether masks are probabilities to be up.
        states: uint64 ``[strips, PADDED_STATE]``, updated.
        strip: Rows of a strip.
        bits: uint64 ``[2, CLASSES, 5, STEPS + 1, LANES]``, for each colour and class.
        redraw: float64 ``[2, CLASSES, 5, 64 W]``.
        favour: uint64 ``[2, CLASSES, 5]``, all ones where the local field is up.
        log_stay: ln(1 - 2^-K).
        edges: int64 ``[E, 2]``, row and column in ``words`` of each word with sites at an edge, by colour, class, strip.
        edge_bits: uint64 ``[E]``, which of its bits are of that class.
        edge_starts: int64 ``[2, CLASSES - 1, strips + 1]``, where a strip's entries begin in ``edges``.
        sweeps: How many.
        worker: Which of the workers this is.
        workers: How many threads share the block.
        progress: int64 ``[strips, LINE]``.
        done: int64 ``[strips]``, increased at the end.
    """
    height = words.shape[1] - 2
    n = words.shape[2] - 2 * width
    masks = np.empty(5 * CHUNK, np.uint64)
    before = np.empty(edges.shape[0], np.uint64)
    near = np.empty((4, CHUNK), np.uint64)
    fresh = np.empty(CHUNK, np.uint64)
    strips = states.shape[0]
    top = strips * worker // workers
    end = strips * (worker + 1) // workers
    for turn in range(2 * sweeps):
        color = turn & 1
        other = words[1 - color]
        for i in range(end - top):
            s = end - 1 - i if worker & 1 else top + i
            first = 1 + s * strip
            last = min(first + strip, height + 1)
            if workers > 1:
                wait(progress[(s + strips - 1) % strips], turn)
                wait(progress[(s + 1) % strips], turn)
            for kind in range(CLASSES - 1):
                for e in range(edge_starts[color, kind, s], edge_starts[color, kind, s + 1]):
                    before[e] = words[color, edges[e, 0], edges[e, 1]]
            total = (last - first) * n
            for start in range(0, total, CHUNK):
                size = min(CHUNK, (total - start + LANES - 1) // LANES * LANES)
                draw_five(states[s], bits[color, 0], masks, size)
                correct_five(states[s], redraw[color, 0], log_stay, masks, size)
                at = 0
                while at < size:
                    y = first + (start + at) // n
                    if y >= last:
                        break
                    j = (start + at) % n
                    m = min(n - j, size - at)
                    left = width + j
                    beside = left + (width if (y - 1 + color) & 1 else -width)
                    mine = words[color, y, left : left + m]
                    update_general(
                        mine,
                        mine,
                        other[y - 1, left : left + m],
                        other[y, left : left + m],
                        other[y, beside : beside + m],
                        other[y + 1, left : left + m],
                        favour[color, 0],
                        glauber,
                        masks[at:],
                    )
                    at += m
            for kind in range(CLASSES - 1):
                e_end = edge_starts[color, kind, s + 1]
                for e in range(edge_starts[color, kind, s], e_end, CHUNK):
                    m = min(CHUNK, e_end - e)
                    size = (m + LANES - 1) // LANES * LANES
                    draw_five(states[s], bits[color, kind + 1], masks, size)
                    correct_five(states[s], redraw[color, kind + 1], log_stay, masks, size)
                    for k in range(m):
                        y, x = edges[e + k, 0], edges[e + k, 1]
                        near[0, k], near[1, k] = other[y - 1, x], other[y, x]
                        near[2, k] = other[y, x + (width if (y - 1 + color) & 1 else -width)]
                        near[3, k] = other[y + 1, x]
                    update_general(
                        fresh[:m],
                        before[e : e + m],
                        near[0, :m],
                        near[1, :m],
                        near[2, :m],
                        near[3, :m],
                        favour[color, kind + 1],
                        glauber,
                        masks,
                    )
                    for k in range(m):
                        y, x, mask = edges[e + k, 0], edges[e + k, 1], edge_bits[e + k]
                        words[color, y, x] = (words[color, y, x] & ~mask) | (fresh[k] & mask)
            refresh_halo(words[color], first, last, width, lanes, tall, is_open)
            if workers > 1:
                advance(progress[s])
    for s in range(top, end):
        done[s] += sweeps
