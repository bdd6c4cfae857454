"""Counts over packed words: bonds between unlike spins, and up spins, for each lattice.

In the replica layout the counts of 64 lattices are numbers whose bits lie in *planes*: plane k holds bit k of each.
Every word of a row has counters of its own; rows are added by full adders, two rows before a carry is passed on. At the
end the counters of a row's sites are added to each other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._count_sites import count_sites
from grokfast.ising._rng import ZERO, WordArray
from grokfast.ising.jit import kernel

CountArray = npt.NDArray[np.int32]

ALL = np.uint64(2**64 - 1)
_BYTE = np.uint64(0xFF)
_S8, _S16, _S24, _S32 = np.uint64(8), np.uint64(16), np.uint64(24), np.uint64(32)
_S40, _S48, _S56 = np.uint64(40), np.uint64(48), np.uint64(56)
_S7, _S14, _S28 = np.uint64(7), np.uint64(14), np.uint64(28)
_T7, _T14, _T28 = np.uint64(0x00AA00AA00AA00AA), np.uint64(0x0000CCCC0000CCCC), np.uint64(0x00000000F0F0F0F0)


@kernel
def majority(a: np.uint64, b: np.uint64, c: np.uint64) -> np.uint64:
    """The carry of a full adder."""
    return (a & b) | (c & (a ^ b))


@kernel
def add_first(
    own: WordArray,
    other: WordArray,
    row: int,
    x: int,
    to: int,
    size: int,
    above: np.uint64,
    below: np.uint64,
    aside: np.uint64,
    turn: np.uint64,
    planes: WordArray,
    at: int,
    n: int,
    used: int,
) -> None:
    """Add words of even sites and the odd ones beside them; carries of weight 4 and 2 wait for :func:`add_second`.

    Args:
        own: uint64, all words of the even colour.
        other: uint64, those of the odd one.
        row: Words from one row to the next.
        x: First word.
        to: Where the neighbour beside a site is.
        size: How many words.
        above: 0 where the neighbours above are missing, else all ones.
        below: The same for those below.
        aside: The same for those beside.
        turn: All ones to count odd sites that are down in place of those that are up.
        planes: uint64 ``[(2 used + 2) n]``, updated: planes of bonds and of up spins, and the carries that wait.
        at: Which of the n counters of a row is the first word's.
        n: Words in a row.
        used: Planes of either.
    """
    ups, wait = used * n + at, 2 * used * n + at
    for w in range(size):
        j = np.uint64(x + w)
        s, o = own[j], other[j]
        d1, d2 = (s ^ other[np.uint64(x + w - row)]) & above, (s ^ other[np.uint64(x + w + row)]) & below
        d3, d4 = s ^ o, (s ^ other[np.uint64(x + w + to)]) & aside
        ones, twos = planes[np.uint64(at + w)], planes[np.uint64(at + n + w)]
        c1 = majority(ones, d1, d2)
        ones ^= d1 ^ d2
        c2 = majority(ones, d3, d4)
        planes[np.uint64(at + w)] = ones ^ d3 ^ d4
        planes[np.uint64(wait + w)] = majority(twos, c1, c2)
        planes[np.uint64(at + n + w)] = twos ^ c1 ^ c2
        e, up = o ^ turn, planes[np.uint64(ups + w)]
        planes[np.uint64(wait + n + w)] = majority(up, s, e)
        planes[np.uint64(ups + w)] = up ^ s ^ e


@kernel
def add_second(
    own: WordArray,
    other: WordArray,
    row: int,
    x: int,
    to: int,
    size: int,
    above: np.uint64,
    below: np.uint64,
    aside: np.uint64,
    turn: np.uint64,
    planes: WordArray,
    at: int,
    n: int,
    used: int,
) -> None:
    """:func:`add_first` for the next row: takes the carries that wait in, and leaves those of weight 8 and 4."""
    ups, wait = used * n + at, 2 * used * n + at
    for w in range(size):
        j = np.uint64(x + w)
        s, o = own[j], other[j]
        d1, d2 = (s ^ other[np.uint64(x + w - row)]) & above, (s ^ other[np.uint64(x + w + row)]) & below
        d3, d4 = s ^ o, (s ^ other[np.uint64(x + w + to)]) & aside
        ones, twos = planes[np.uint64(at + w)], planes[np.uint64(at + n + w)]
        c1 = majority(ones, d1, d2)
        ones ^= d1 ^ d2
        c2 = majority(ones, d3, d4)
        planes[np.uint64(at + w)] = ones ^ d3 ^ d4
        c4 = majority(twos, c1, c2)
        planes[np.uint64(at + n + w)] = twos ^ c1 ^ c2
        e, up = o ^ turn, planes[np.uint64(ups + w)]
        u2 = majority(up, s, e)
        planes[np.uint64(ups + w)] = up ^ s ^ e
        fours, b4 = planes[np.uint64(at + 2 * n + w)], planes[np.uint64(wait + w)]
        planes[np.uint64(at + 2 * n + w)] = fours ^ b4 ^ c4
        planes[np.uint64(wait + w)] = majority(fours, b4, c4)
        twos, b2 = planes[np.uint64(ups + n + w)], planes[np.uint64(wait + n + w)]
        planes[np.uint64(ups + n + w)] = twos ^ b2 ^ u2
        planes[np.uint64(wait + n + w)] = majority(twos, b2, u2)


@kernel
def pass_on(planes: WordArray, start: int, wait: int, n: int, first: int, last: int) -> None:
    """Add n carries, which are cleared, to planes ``first`` to ``last`` - 1 of the counters at ``start``."""
    for k in range(first, last):
        for w in range(n):
            i, j = np.uint64(start + k * n + w), np.uint64(wait + w)
            both = planes[i] & planes[j]
            planes[i] ^= planes[j]
            planes[j] = both


@kernel
def add_sites(planes: WordArray, start: int, wait: int, n: int, width: int, used: int) -> None:
    """Add all counters of a row to its first W ones; the W words at ``wait`` are 0 before and after."""
    for first in range(width, n, width):
        for k in range(used):
            a, b = start + k * n, start + k * n + first
            for w in range(width):
                i, j, c = np.uint64(a + w), np.uint64(b + w), np.uint64(wait + w)
                one, two, carry = planes[i], planes[j], planes[c]
                planes[i] = one ^ two ^ carry
                planes[c] = majority(carry, one, two)


@kernel
def read_planes(planes: WordArray, start: int, n: int, width: int, used: int, counts: CountArray) -> None:
    """Set up to 64 W counts from their bits in the first W words of planes, which are n apart.

    Eight bits of eight planes are a square in a word, which is turned over (Warren, Hacker's Delight, 7-3): its bytes
    are then the counts of eight lattices.

    Args:
        planes: uint64, there are ``used`` of them and then zeros up to a multiple of 8.
        start: Where they begin.
        n: Words of one.
        width: W.
        used: How many.
        counts: int32 ``[lattices]``, output.
    """
    turned = np.empty(8 * width, np.uint64)
    squares = turned.size // width  # 8, which LLVM must not know: it would unroll the loop instead of making vectors
    for lowest in range(0, used, 8):
        for w in range(width):
            first = start + lowest * n + w
            p0, p1 = planes[np.uint64(first)], planes[np.uint64(first + n)]
            p2, p3 = planes[np.uint64(first + 2 * n)], planes[np.uint64(first + 3 * n)]
            p4, p5 = planes[np.uint64(first + 4 * n)], planes[np.uint64(first + 5 * n)]
            p6, p7 = planes[np.uint64(first + 6 * n)], planes[np.uint64(first + 7 * n)]
            for byte in range(squares):
                shift = np.uint64(8 * byte)
                x = ((p0 >> shift) & _BYTE) | ((p1 >> shift) & _BYTE) << _S8
                x |= ((p2 >> shift) & _BYTE) << _S16 | ((p3 >> shift) & _BYTE) << _S24
                x |= ((p4 >> shift) & _BYTE) << _S32 | ((p5 >> shift) & _BYTE) << _S40
                x |= ((p6 >> shift) & _BYTE) << _S48 | ((p7 >> shift) & _BYTE) << _S56
                t = (x ^ (x >> _S7)) & _T7
                x ^= t ^ (t << _S7)
                t = (x ^ (x >> _S14)) & _T14
                x ^= t ^ (t << _S14)
                t = (x ^ (x >> _S28)) & _T28
                turned[np.uint64(8 * w + byte)] = x ^ t ^ (t << _S28)
        as_bytes = turned.view(np.uint8)
        if lowest == 0:
            for i in range(counts.size):
                counts[i] = as_bytes[i]
        else:
            for i in range(counts.size):
                counts[i] += np.int32(as_bytes[i]) << lowest


@kernel
def count_replicas(
    words: WordArray, width: int, is_open: bool, turn: np.uint64, unlike: CountArray, up: CountArray
) -> None:
    """Count for up to 64 W lattices.

    Args:
        words: uint64 ``[2, H + 2, n + 2 W]``.
        width: W.
        is_open: Whether the edges see nothing.
        turn: All ones to count odd sites that are down in place of those that are up.
        unlike: int32 ``[lattices]``, output: bonds between unlike spins.
        up: int32 ``[lattices]``, output: up spins.
    """
    height = words.shape[1] - 2
    row = words.shape[2]
    n = row - 2 * width
    own, other = words[0].reshape(-1), words[1].reshape(-1)
    tall, used = 3, 3  # planes of a column of sites, and of all of them
    while (1 << tall) <= 4 * height:
        tall += 1
    while (1 << used) <= 4 * height * (n // width):
        used += 1
    room = (used + 7) // 8 * 8
    planes = np.zeros((2 * room + 2) * n, np.uint64)
    ups, wait = room * n, 2 * room * n
    for y in range(1, height + 1):
        above = ZERO if is_open and y == 1 else ALL
        below = ZERO if is_open and y == height else ALL
        right = (y - 1) & 1
        to = width if right else -width
        # Of an open lattice the words at one end of the row have no neighbour beside them.
        inside = n - width if is_open else n
        first = width if is_open and not right else 0
        end = n - width if right else 0
        x = y * row + width
        if right:
            add_second(own, other, row, x + first, to, inside, above, below, ALL, turn, planes, first, n, room)
            if is_open:
                add_second(own, other, row, x + end, to, width, above, below, ZERO, turn, planes, end, n, room)
            pass_on(planes, 0, wait, n, 3, tall)
            pass_on(planes, ups, wait + n, n, 2, tall - 1)
        else:
            add_first(own, other, row, x + first, to, inside, above, below, ALL, turn, planes, first, n, room)
            if is_open:
                add_first(own, other, row, x + end, to, width, above, below, ZERO, turn, planes, end, n, room)
    if height & 1:
        pass_on(planes, 0, wait, n, 2, tall)
        pass_on(planes, ups, wait + n, n, 1, tall - 1)
    for start, most, counts in ((0, used, unlike), (ups, used - 1, up)):
        add_sites(planes, start, wait, n, width, most)
        read_planes(planes, start, n, width, most, counts)


@kernel
def count_block(
    words: WordArray,
    width: int,
    lanes: int,
    tall: np.uint64,
    is_open: bool,
    turn: np.uint64,
    first: int,
    unlike: CountArray,
    up: CountArray,
) -> None:
    """Count the lattices of a block in either layout (site: ``lanes`` > 0), from entry ``first`` on.

    See :func:`count_replicas`.
    """
    if lanes > 0:
        unlike[first], up[first] = count_sites(words, lanes, tall, is_open, turn)
    else:
        last = min(first + 64 * width, unlike.size)
        count_replicas(words, width, is_open, turn, unlike[first:last], up[first:last])
