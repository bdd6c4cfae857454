"""The word kernel for fields and open edges: masks for each number of neighbours that are up, and classes of sites.

It is :mod:`grokfast.ising._words` with a flip probability (Glauber: a probability to be up) for each number n of
neighbours up. A missing neighbour is a 0 in the halo, which counts as down: a site with z neighbours has the local
field J (2n - z) + h, so sites with 4, 3 and 2 neighbours (classes 0, 1, 2: inside, edge, corner) have tables of their
own. Edges and corners are updated as if they were inside, and then overwritten. Without a field, sites inside are
updated as periodic lattices are, with two masks.

For Metropolis the mask of n is the chance to flip out of the sign that ``favour`` gives, which is that of the local
field; a spin of the other sign always flips. The five masks of a site share their random words: it uses one of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._halo import refresh_halo
from grokfast.ising._masks import CHUNK, LANES, ROOM, correct_five, correct_masks, draw_five, draw_masks
from grokfast.ising._progress import advance, wait
from grokfast.ising._rng import WordArray
from grokfast.ising._words import LONG, update_rows
from grokfast.ising.jit import kernel

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CLASSES = 3
"""Sites with 4, 3 and 2 neighbours."""


@kernel
def general_word(
    s: np.uint64,
    n1: np.uint64,
    n2: np.uint64,
    n3: np.uint64,
    n4: np.uint64,
    favour: WordArray,
    glauber: bool,
    m0: np.uint64,
    m1: np.uint64,
    m2: np.uint64,
    m3: np.uint64,
    m4: np.uint64,
) -> np.uint64:
    """The new bits of a word from its neighbours and the masks for 0 … 4 of them up."""
    sum12, both12 = n1 ^ n2, n1 & n2
    sum34, both34 = n3 ^ n4, n3 & n4
    odd = sum12 ^ sum34
    three = odd & ((both12 & sum34) | (both34 & sum12))
    one = odd & ~three
    four = both12 & both34
    none = ~(n1 | n2 | n3 | n4)
    two = ~(odd | four | none)
    mask = (none & m0) | (one & m1) | (two & m2) | (three & m3) | (four & m4)
    if glauber:
        return mask
    f0, f1, f2, f3, f4 = favour[0], favour[1], favour[2], favour[3], favour[4]
    wanted: np.uint64 = (none & f0) | (one & f1) | (two & f2) | (three & f3) | (four & f4)
    return s ^ (mask | (s ^ wanted))


@kernel
def masked_word(
    own: WordArray,
    other: WordArray,
    row: int,
    x: int,
    beside: int,
    favour: WordArray,
    glauber: bool,
    masks: WordArray,
    i: int,
) -> np.uint64:
    """Word ``x`` of a colour after its update with word i of the masks, see :func:`grokfast.ising._words.new_word`."""
    return general_word(
        own[np.uint64(x)],
        other[np.uint64(x - row)],
        other[np.uint64(x + row)],
        other[np.uint64(x)],
        other[np.uint64(beside)],
        favour,
        glauber,
        masks[np.uint64(i)],
        masks[np.uint64(CHUNK + i)],
        masks[np.uint64(2 * CHUNK + i)],
        masks[np.uint64(3 * CHUNK + i)],
        masks[np.uint64(4 * CHUNK + i)],
    )


@kernel
def update_general(
    words: WordArray,
    color: int,
    first: int,
    last: int,
    width: int,
    favour: WordArray,
    glauber: bool,
    start: int,
    masks: WordArray,
    size: int,
) -> None:
    """Apply ``size`` words of five masks to the sites of a strip, row after row, from its ``start``-th word on."""
    r = words.shape[2]
    n = r - 2 * width
    o, q = words[color].reshape(-1), words[1 - color].reshape(-1)
    y, j = first + start // n, start % n
    i, f, g = 0, favour, glauber
    while i < size and y < last:
        m = min(n - j, size - i)
        x = y * r + width + j
        b = x + (width if (y - 1 + color) & 1 else -width)
        if n >= LONG:
            for k in range(m):
                o[np.uint64(x + k)] = masked_word(o, q, r, x + k, b + k, f, g, masks, i + k)
        else:
            for k in range(0, m - 3, 4):
                a0 = masked_word(o, q, r, x + k, b + k, f, g, masks, i + k)
                a1 = masked_word(o, q, r, x + k + 1, b + k + 1, f, g, masks, i + k + 1)
                a2 = masked_word(o, q, r, x + k + 2, b + k + 2, f, g, masks, i + k + 2)
                a3 = masked_word(o, q, r, x + k + 3, b + k + 3, f, g, masks, i + k + 3)
                o[np.uint64(x + k)], o[np.uint64(x + k + 1)] = a0, a1
                o[np.uint64(x + k + 2)], o[np.uint64(x + k + 3)] = a2, a3
            for k in range(m // 4 * 4, m):
                o[np.uint64(x + k)] = masked_word(o, q, r, x + k, b + k, f, g, masks, i + k)
        i, y, j = i + m, y + 1, 0


@kernel
def update_edges(
    words: WordArray,
    color: int,
    width: int,
    state: WordArray,
    bits: WordArray,
    redraw: FloatArray,
    favour: WordArray,
    log_stay: float,
    glauber: bool,
    edges: IntArray,
    edge_bits: WordArray,
    before: WordArray,
    first: int,
    last: int,
    room: WordArray,
    masks: WordArray,
) -> None:
    """Update sites of one class in the words ``edges[first:last]``, from what the words were before the sites inside.

    Args:
        words: uint64 ``[2, H + 2, n + 2 W]``, updated.
        color: Which of the two.
        width: W.
        state: uint64 ``[PADDED_STATE]``, updated.
        bits: uint64 ``[5, STEPS + 1, LANES]``.
        redraw: float64 ``[5, 64 W]``.
        favour: uint64 ``[5]``.
        log_stay: ln(1 - 2^-K).
        glauber: Whether masks are probabilities to be up.
        edges: int64 ``[E, 2]``, row and column of each word.
        edge_bits: uint64 ``[E]``, which of its bits are of that class.
        before: uint64 ``[E]``, the words before this half sweep.
        first: Of the words to update.
        last: The one after them.
        room: uint64 ``[ROOM]``.
        masks: uint64 ``[5 CHUNK]``.
    """
    row = words.shape[2]
    own, other = words[color].reshape(-1), words[1 - color].reshape(-1)
    for start in range(first, last, CHUNK):
        m = min(CHUNK, last - start)
        size = (m + LANES - 1) // LANES * LANES
        draw_five(state, bits, room, masks, size)
        correct_five(state, redraw, log_stay, masks, size)
        for k in range(m):
            y, j, mine = edges[start + k, 0], edges[start + k, 1], edge_bits[start + k]
            x = y * row + j
            now = own[x]
            own[x] = before[start + k]
            new = masked_word(
                own, other, row, x, x + (width if (y - 1 + color) & 1 else -width), favour, glauber, masks, k
            )
            own[x] = (now & ~mine) | (new & mine)


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
        plain_bits: uint64 ``[2, STEPS + 1, LANES]``, for the sites inside where there is no field; else ``[0, …]``.
        plain_redraw: float64 ``[2, 64 W]``.
        bits: uint64 ``[2, CLASSES, 5, STEPS + 1, LANES]``, for each colour and class.
        redraw: float64 ``[2, CLASSES, 5, 64 W]``.
        favour: uint64 ``[2, CLASSES, 5]``, all ones where the local field is up.
        log_stay: ln(1 - 2^-K).
        edges: int64 ``[E, 2]``, row and column in ``words`` of each word with sites at an edge, by colour, class,
            strip.
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
    one, four, half = masks[:CHUNK], masks[CHUNK : 2 * CHUNK], masks[2 * CHUNK : 3 * CHUNK]
    room = np.empty(ROOM, np.uint64)
    before = np.empty(edges.shape[0], np.uint64)
    strips = states.shape[0]
    top = strips * worker // workers
    end = strips * (worker + 1) // workers
    for turn in range(2 * sweeps):
        color = turn & 1
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
                if plain_bits.shape[0] > 0:
                    draw_masks(states[s], plain_bits, one[:size], four[:size], half[:size])
                    correct_masks(states[s], plain_redraw, log_stay, one[:size], four[:size])
                    update_rows(words, color, first, last, width, glauber, start, one[:size], four[:size], half[:size])
                else:
                    draw_five(states[s], bits[color, 0], room, masks, size)
                    correct_five(states[s], redraw[color, 0], log_stay, masks, size)
                    update_general(words, color, first, last, width, favour[color, 0], glauber, start, masks, size)
            for kind in range(CLASSES - 1):
                at = kind + 1
                update_edges(
                    words, color, width, states[s], bits[color, at], redraw[color, at], favour[color, at], log_stay,
                    glauber, edges, edge_bits, before, edge_starts[color, kind, s], edge_starts[color, kind, s + 1],
                    room, masks,
                )  # fmt: skip
            refresh_halo(words[color], first, last, width, lanes, tall, is_open)
            if workers > 1:
                advance(progress[s])
    for s in range(top, end):
        done[s] += sweeps
