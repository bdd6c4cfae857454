"""Random masks: words whose bits are 1 with given probabilities, two or five masks from the same random words.

With random words r_1 … r_K and the bits C_k of a probability, ``a = (a ^ C_k) & r_k`` halves or reflects the chance of
a 1 at each step: after K steps it is any multiple of 2^-K up to 1/2, and a last ``^ C`` gives the rest of [0, 1]. The
bits are run-time data, a word for each k, so that each lattice has its own temperature.

**Exactness.** With rate 2^-K (geometric gaps) a bit is drawn again with the probability g that makes the whole exact:
p = (1 - 2^-K) n / 2^K + 2^-K g. The masks of a site share their random words, since a site uses only one of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._rng import ONE, ZERO, WordArray, geometric_gap, next_uniform
from grokfast.ising.jit import kernel

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

ROOM = (STEPS + 5) * LANES
"""Words that :func:`draw_five` needs for itself."""

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
def draw_five(state: WordArray, bits: WordArray, room: WordArray, masks: WordArray, size: int) -> None:
    """Draw five masks by the ladder, see :func:`draw_masks`.

    Args:
        state: uint64 ``[STATE]``, updated.
        bits: uint64 ``[5, STEPS + 1, LANES]``.
        room: uint64 ``[ROOM]``: the random words of a group, and its masks.
        masks: uint64 ``[5 CHUNK]``, output: word i of mask n at ``n CHUNK + i``.
        size: Words of each mask, a multiple of LANES, at most CHUNK.
    """
    # Two passes, each short enough for LLVM to unroll and with so few arrays that it vectorises over the lanes.
    for group in range(size // LANES):
        for w in range(LANES):
            s0, s1 = state[w], state[LANES + w]
            s2, s3 = state[2 * LANES + w], state[3 * LANES + w]
            a = ZERO
            b = ZERO
            for k in range(STEPS):
                r = s0 + s3
                room[k * LANES + w] = r
                t = s1 << _S17
                s2 ^= s0
                s3 ^= s1
                s1 ^= s2
                s0 ^= s3
                s2 ^= t
                s3 = (s3 << _S45) | (s3 >> _S19)
                a = (a ^ bits[0, k, w]) & r
                b = (b ^ bits[1, k, w]) & r
            room[STEPS * LANES + w] = a ^ bits[0, STEPS, w]
            room[(STEPS + 1) * LANES + w] = b ^ bits[1, STEPS, w]
            state[w], state[LANES + w] = s0, s1
            state[2 * LANES + w], state[3 * LANES + w] = s2, s3
        for w in range(LANES):
            c = ZERO
            d = ZERO
            e = ZERO
            for k in range(STEPS):
                r = room[k * LANES + w]
                c = (c ^ bits[2, k, w]) & r
                d = (d ^ bits[3, k, w]) & r
                e = (e ^ bits[4, k, w]) & r
            room[(STEPS + 2) * LANES + w] = c ^ bits[2, STEPS, w]
            room[(STEPS + 3) * LANES + w] = d ^ bits[3, STEPS, w]
            room[(STEPS + 4) * LANES + w] = e ^ bits[4, STEPS, w]
        for n in range(5):
            mask = masks[n * CHUNK + group * LANES : n * CHUNK + (group + 1) * LANES]
            drawn = room[(STEPS + n) * LANES : (STEPS + n + 1) * LANES]
            for w in range(LANES):
                mask[w] = drawn[w]


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
