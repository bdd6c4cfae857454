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

from typing import TypeAlias

import numpy as np

from grokfast.ising._edges import Edges
from grokfast.ising._halo import refresh_halo
from grokfast.ising._masks import CHUNK, LANES, ROOM, correct_five, correct_masks, draw_five, draw_masks
from grokfast.ising._progress import advance, wait
from grokfast.ising._rng import WordArray
from grokfast.ising._tuples import Block, Chances, EdgeWords, Five, Share, Strips, Three
from grokfast.ising._words import LONG, update_rows
from grokfast.ising.jit import kernel

_FourWords: TypeAlias = tuple[np.uint64, np.uint64, np.uint64, np.uint64]
_FiveWords: TypeAlias = tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]

CLASSES = 3
"""Sites with 4, 3 and 2 neighbours."""


@kernel
def general_word(s: np.uint64, near: _FourWords, favour: WordArray, glauber: bool, masks: _FiveWords) -> np.uint64:
    """The new bits of a word from its neighbours and the masks for 0 … 4 of them up."""
    n1, n2, n3, n4 = near
    m0, m1, m2, m3, m4 = masks
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
def masked_word(own: WordArray, other: WordArray, row: int, x: int, beside: int, of: Five, i: int) -> np.uint64:
    """Word ``x`` of a colour after its update with word i of the masks, see :func:`grokfast.ising._words.new_word`."""
    masks = of.masks
    return general_word(
        own[np.uint64(x)],
        (other[np.uint64(x - row)], other[np.uint64(x + row)], other[np.uint64(x)], other[np.uint64(beside)]),
        of.favour,
        of.glauber,
        (
            masks[np.uint64(i)],
            masks[np.uint64(CHUNK + i)],
            masks[np.uint64(2 * CHUNK + i)],
            masks[np.uint64(3 * CHUNK + i)],
            masks[np.uint64(4 * CHUNK + i)],
        ),
    )


@kernel
def update_general(
    words: WordArray, color: int, first: int, last: int, width: int, start: int, of: Five, size: int
) -> None:
    """Apply ``size`` words of five masks to the sites of a strip, row after row, from its ``start``-th word on."""
    r = words.shape[2]
    n = r - 2 * width
    o, q = words[color].reshape(-1), words[1 - color].reshape(-1)
    y, j = first + start // n, start % n
    i = 0
    while i < size and y < last:
        m = min(n - j, size - i)
        x = y * r + width + j
        b = x + (width if (y - 1 + color) & 1 else -width)
        if n >= LONG:
            for k in range(m):
                o[np.uint64(x + k)] = masked_word(o, q, r, x + k, b + k, of, i + k)
        else:
            for k in range(0, m - 3, 4):
                a0 = masked_word(o, q, r, x + k, b + k, of, i + k)
                a1 = masked_word(o, q, r, x + k + 1, b + k + 1, of, i + k + 1)
                a2 = masked_word(o, q, r, x + k + 2, b + k + 2, of, i + k + 2)
                a3 = masked_word(o, q, r, x + k + 3, b + k + 3, of, i + k + 3)
                o[np.uint64(x + k)], o[np.uint64(x + k + 1)] = a0, a1
                o[np.uint64(x + k + 2)], o[np.uint64(x + k + 3)] = a2, a3
            for k in range(m // 4 * 4, m):
                o[np.uint64(x + k)] = masked_word(o, q, r, x + k, b + k, of, i + k)
        i, y, j = i + m, y + 1, 0


@kernel
def update_edges(
    words: WordArray, color: int, width: int, state: WordArray, chances: Chances, of: Five, edges: EdgeWords,
    room: WordArray,
) -> None:  # fmt: skip
    """Update sites of one class in words at an edge, from what the words were before the sites inside.

    Args:
        words: uint64 ``[2, H + 2, n + 2 W]``, updated.
        color: Which of the two.
        width: W.
        state: uint64 ``[PADDED_STATE]``, updated.
        chances: Of the five masks of that class.
        of: What decides its flips; the masks are drawn here.
        edges: The words.
        room: uint64 ``[ROOM]``.
    """
    row = words.shape[2]
    own, other = words[color].reshape(-1), words[1 - color].reshape(-1)
    for start in range(edges.first, edges.last, CHUNK):
        m = min(CHUNK, edges.last - start)
        size = (m + LANES - 1) // LANES * LANES
        draw_five(state, chances.bits, room, of.masks, size)
        correct_five(state, chances.redraw, chances.log_stay, of.masks, size)
        for k in range(m):
            y, j, mine = edges.places[start + k, 0], edges.places[start + k, 1], edges.bits[start + k]
            x = y * row + j
            now = own[x]
            own[x] = edges.before[start + k]
            new = masked_word(own, other, row, x, x + (width if (y - 1 + color) & 1 else -width), of, k)
            own[x] = (now & ~mine) | (new & mine)


@kernel
def sweep_general(
    of: Block, strips: Strips, plain: Chances, classes: Chances, favour: WordArray, edges: Edges, share: Share
) -> None:
    """Sweep a block, or one worker's share of its strips; see :func:`grokfast.ising._words.sweep_words`.

    Args:
        of: Updated.
        strips: Their random numbers are updated.
        plain: Of the two masks of sites inside where there is no field; else none, ``[0, …]``.
        classes: For each colour and class of the five masks, ``[2, CLASSES, 5, …]``.
        favour: uint64 ``[2, CLASSES, 5]``, all ones where the local field is up.
        edges: The words with sites at an edge.
        share: What this worker does.
    """
    words, width, glauber = of.words, of.width, strips.glauber
    height = words.shape[1] - 2
    n = words.shape[2] - 2 * width
    masks = np.empty(5 * CHUNK, np.uint64)
    one, four, half = masks[:CHUNK], masks[CHUNK : 2 * CHUNK], masks[2 * CHUNK : 3 * CHUNK]
    room = np.empty(ROOM, np.uint64)
    before = np.empty(edges.edges.shape[0], np.uint64)
    states, progress = strips.states, share.progress
    count = states.shape[0]
    top = count * share.worker // share.workers
    end = count * (share.worker + 1) // share.workers
    for turn in range(2 * share.sweeps):
        color = turn & 1
        for i in range(end - top):
            s = end - 1 - i if share.worker & 1 else top + i
            first = 1 + s * strips.rows
            last = min(first + strips.rows, height + 1)
            if share.workers > 1:
                wait(progress[(s + count - 1) % count], turn)
                wait(progress[(s + 1) % count], turn)
            for kind in range(CLASSES - 1):
                for e in range(edges.starts[color, kind, s], edges.starts[color, kind, s + 1]):
                    before[e] = words[color, edges.edges[e, 0], edges.edges[e, 1]]
            total = (last - first) * n
            for start in range(0, total, CHUNK):
                size = min(CHUNK, (total - start + LANES - 1) // LANES * LANES)
                if plain.bits.shape[0] > 0:
                    draw_masks(states[s], plain.bits, one[:size], four[:size], half[:size])
                    correct_masks(states[s], plain.redraw, plain.log_stay, one[:size], four[:size])
                    three = Three(one[:size], four[:size], half[:size])
                    update_rows(words, color, first, last, width, glauber, start, three)
                else:
                    draw_five(states[s], classes.bits[color, 0], room, masks, size)
                    correct_five(states[s], classes.redraw[color, 0], classes.log_stay, masks, size)
                    five = Five(favour[color, 0], glauber, masks)
                    update_general(words, color, first, last, width, start, five, size)
            for kind in range(CLASSES - 1):
                at = kind + 1
                chances = Chances(classes.bits[color, at], classes.redraw[color, at], classes.log_stay)
                starts = edges.starts[color, kind]
                some = EdgeWords(edges.edges, edges.bits, before, starts[s], starts[s + 1])
                five = Five(favour[color, at], glauber, masks)
                update_edges(words, color, width, states[s], chances, five, some, room)
            refresh_halo(words[color], first, last, width, of.lanes, of.tall, of.is_open)
            if share.workers > 1:
                advance(progress[s])
    for s in range(top, end):
        share.done[s] += share.sweeps
