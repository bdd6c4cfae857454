"""Counts over packed words: bonds between unlike spins, and up spins, for each lattice.

In the replica layout the counts of 64 lattices are numbers whose bits lie in *planes*: plane k holds bit k of each.
Each word of a row has counters of its own, up to :data:`SIDE` of them; words further right share them. Four rows are
added by full adders before a carry is passed on (Harley and Seal; Warren, Hacker's Delight, 5-1). At the end the
counters of a row's sites are added to each other, half of them to the other half.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from grokfast.ising._count_sites import count_sites
from grokfast.ising._rng import ZERO, WordArray
from grokfast.ising.jit import kernel

CountArray = npt.NDArray[np.int32]

ALL = np.uint64(2**64 - 1)

SIDE = 64
"""Counters of a plane: known to LLVM, which must not ask at each call whether planes overlap."""

MOST = 40
"""Planes of a count, of which 32 are used: four more may be read, and eight are turned over together."""

FEW = 12
"""Planes of a count that most lattices do with."""

_P1, _P2, _P3 = np.uint64(SIDE), np.uint64(2 * SIDE), np.uint64(3 * SIDE)
_P4, _P5, _P6, _P7 = np.uint64(4 * SIDE), np.uint64(5 * SIDE), np.uint64(6 * SIDE), np.uint64(7 * SIDE)
_UPS, _WAIT, _UPS_WAIT = np.uint64(MOST * SIDE), np.uint64(2 * MOST * SIDE), np.uint64((2 * MOST + 1) * SIDE)
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
def add_four(
    own: WordArray,
    other: WordArray,
    row: int,
    x: int,
    width: int,
    size: int,
    above: np.uint64,
    below: np.uint64,
    left: np.uint64,
    right: np.uint64,
    turn: np.uint64,
    planes: WordArray,
    at: int,
) -> None:
    """Add words of even sites and the odd ones beside them of four rows; carries of weight 256 and 128 wait.

    Args:
        own: uint64, all words of the even colour.
        other: uint64, those of the odd one.
        row: Words from one row to the next.
        x: First word, in the first row, where the neighbour beside an even site is on the left.
        width: Words from a site to the next.
        size: How many words of a row.
        above: 0 where the neighbours above the first row are missing, else all ones.
        below: The same for those below the last row.
        left: The same for those on the left, in the first and third row.
        right: The same for those on the right, in the others.
        turn: All ones to count odd sites that are down in place of those that are up.
        planes: uint64, updated: see :func:`count_replicas`.
        at: Which counter is the first word's.
    """
    for w in range(size):
        j = x + w
        s0, s1 = own[np.uint64(j)], own[np.uint64(j + row)]
        s2, s3 = own[np.uint64(j + 2 * row)], own[np.uint64(j + 3 * row)]
        o0, o1 = other[np.uint64(j)], other[np.uint64(j + row)]
        o2, o3 = other[np.uint64(j + 2 * row)], other[np.uint64(j + 3 * row)]
        first, last = (s0 ^ other[np.uint64(j - row)]) & above, (s3 ^ other[np.uint64(j + 4 * row)]) & below
        b0, b1 = (s0 ^ other[np.uint64(j - width)]) & left, (s1 ^ other[np.uint64(j + row + width)]) & right
        b2, b3 = (
            (s2 ^ other[np.uint64(j + 2 * row - width)]) & left,
            (s3 ^ other[np.uint64(j + 3 * row + width)]) & right,
        )

        i = np.uint64(at + w)
        ones, twos, fours, eights = planes[i], planes[i + _P1], planes[i + _P2], planes[i + _P3]
        c0, ones = majority(ones, first, s0 ^ o1), ones ^ first ^ s0 ^ o1
        c1, ones = majority(ones, s0 ^ o0, b0), ones ^ s0 ^ o0 ^ b0
        d0, twos = majority(twos, c0, c1), twos ^ c0 ^ c1
        c0, ones = majority(ones, s1 ^ o0, s1 ^ o2), ones ^ o0 ^ o2
        c1, ones = majority(ones, s1 ^ o1, b1), ones ^ s1 ^ o1 ^ b1
        d1, twos = majority(twos, c0, c1), twos ^ c0 ^ c1
        e0, fours = majority(fours, d0, d1), fours ^ d0 ^ d1
        c0, ones = majority(ones, s2 ^ o1, s2 ^ o3), ones ^ o1 ^ o3
        c1, ones = majority(ones, s2 ^ o2, b2), ones ^ s2 ^ o2 ^ b2
        d0, twos = majority(twos, c0, c1), twos ^ c0 ^ c1
        c0, ones = majority(ones, s3 ^ o2, last), ones ^ s3 ^ o2 ^ last
        c1, ones = majority(ones, s3 ^ o3, b3), ones ^ s3 ^ o3 ^ b3
        d1, twos = majority(twos, c0, c1), twos ^ c0 ^ c1
        e1, fours = majority(fours, d0, d1), fours ^ d0 ^ d1
        planes[i], planes[i + _P1], planes[i + _P2] = ones, twos, fours
        planes[i + _P3], carry = eights ^ e0 ^ e1, majority(eights, e0, e1)
        p4, p5, p6, p7 = planes[i + _P4], planes[i + _P5], planes[i + _P6], planes[i + _P7]
        planes[i + _P4], carry = p4 ^ carry, p4 & carry
        planes[i + _P5], carry = p5 ^ carry, p5 & carry
        planes[i + _P6], carry = p6 ^ carry, p6 & carry
        planes[i + _P7], planes[i + _WAIT] = p7 ^ carry, p7 & carry

        ones, twos, fours = planes[i + _UPS], planes[i + _UPS + _P1], planes[i + _UPS + _P2]
        c0, ones = majority(ones, s0, o0 ^ turn), ones ^ s0 ^ o0 ^ turn
        c1, ones = majority(ones, s1, o1 ^ turn), ones ^ s1 ^ o1 ^ turn
        d0, twos = majority(twos, c0, c1), twos ^ c0 ^ c1
        c0, ones = majority(ones, s2, o2 ^ turn), ones ^ s2 ^ o2 ^ turn
        c1, ones = majority(ones, s3, o3 ^ turn), ones ^ s3 ^ o3 ^ turn
        d1, twos = majority(twos, c0, c1), twos ^ c0 ^ c1
        planes[i + _UPS], planes[i + _UPS + _P1] = ones, twos
        planes[i + _UPS + _P2], carry = fours ^ d0 ^ d1, majority(fours, d0, d1)
        p3, p4 = planes[i + _UPS + _P3], planes[i + _UPS + _P4]
        p5, p6 = planes[i + _UPS + _P5], planes[i + _UPS + _P6]
        planes[i + _UPS + _P3], carry = p3 ^ carry, p3 & carry
        planes[i + _UPS + _P4], carry = p4 ^ carry, p4 & carry
        planes[i + _UPS + _P5], carry = p5 ^ carry, p5 & carry
        planes[i + _UPS + _P6], planes[i + _UPS_WAIT] = p6 ^ carry, p6 & carry


@kernel
def add_one(
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
) -> None:
    """:func:`add_four` for one row, whose neighbours beside are ``to`` words on; carries of weight 4 and 2 wait."""
    for w in range(size):
        j = x + w
        s, o = own[np.uint64(j)], other[np.uint64(j)]
        d1, d2 = (s ^ other[np.uint64(j - row)]) & above, (s ^ other[np.uint64(j + row)]) & below
        d3, d4 = s ^ o, (s ^ other[np.uint64(j + to)]) & aside
        i = np.uint64(at + w)
        ones, twos = planes[i], planes[i + _P1]
        c1, ones = majority(ones, d1, d2), ones ^ d1 ^ d2
        c2, ones = majority(ones, d3, d4), ones ^ d3 ^ d4
        planes[i], planes[i + _P1], planes[i + _WAIT] = ones, twos ^ c1 ^ c2, majority(twos, c1, c2)
        e, ups = o ^ turn, planes[i + _UPS]
        planes[i + _UPS], planes[i + _UPS_WAIT] = ups ^ s ^ e, majority(ups, s, e)


@kernel
def pass_on(planes: WordArray, start: int, wait: int, first: int, last: int, at: int, size: int) -> None:
    """Add carries, which are cleared, to planes ``first`` to ``last`` - 1, and zeros to some more.

    Args:
        planes: uint64, updated.
        start: Where plane 0 of the counters begins.
        wait: Where the carries begin.
        first: The carries' plane.
        last: The first plane that stays 0.
        at: The first counter.
        size: How many counters.
    """
    for lowest in range(first, last, 4):
        begin = start + lowest * SIDE + at
        for w in range(size):
            i, c = np.uint64(begin + w), np.uint64(wait + at + w)
            p0, p1, p2, p3, carry = planes[i], planes[i + _P1], planes[i + _P2], planes[i + _P3], planes[c]
            planes[i], carry = p0 ^ carry, p0 & carry
            planes[i + _P1], carry = p1 ^ carry, p1 & carry
            planes[i + _P2], carry = p2 ^ carry, p2 & carry
            planes[i + _P3], planes[c] = p3 ^ carry, p3 & carry


@kernel
def add_beyond(planes: WordArray, start: int, by: int, size: int, few: bool) -> None:
    """Add counters ``by`` to ``by + size`` - 1, of FEW planes or of MOST, to the first ones."""
    # All distances are constants: LLVM makes no vectors where it cannot know how far apart planes are.
    if few:
        for w in range(size):
            carry = ZERO
            for k in range(FEW):
                i, j = np.uint64(start + k * SIDE + w), np.uint64(start + k * SIDE + by + w)
                a, b = planes[i], planes[j]
                planes[i], carry = a ^ b ^ carry, majority(carry, a, b)
    else:
        for w in range(size):
            carry = ZERO
            for k in range(MOST):
                i, j = np.uint64(start + k * SIDE + w), np.uint64(start + k * SIDE + by + w)
                a, b = planes[i], planes[j]
                planes[i], carry = a ^ b ^ carry, majority(carry, a, b)


@kernel
def add_sites(planes: WordArray, start: int, n: int, width: int, few: bool) -> None:
    """Add all n counters to the first W ones."""
    if n > 32:
        add_beyond(planes, start, 32, n - 32, few)
    if n > 16:
        add_beyond(planes, start, 16, min(n, 32) - 16, few)
    if n > 8:
        add_beyond(planes, start, 8, min(n, 16) - 8, few)
    if n > 4 and width <= 4:
        add_beyond(planes, start, 4, min(n, 8) - 4, few)
    if n > 2 and width <= 2:
        add_beyond(planes, start, 2, min(n, 4) - 2, few)
    if n > 1 and width == 1:
        add_beyond(planes, start, 1, 1, few)


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
    tall, used = 4, 4  # planes of a counter, and of the sum of all
    while (1 << tall) <= 4 * height * ((n + SIDE - 1) // SIDE):
        tall += 1
    while (1 << used) <= 4 * height * (n // width):
        used += 1
    # Planes of bonds, of up spins, and the carries that wait for either.
    planes = np.empty((2 * MOST + 2) * SIDE, np.uint64)
    ups, wait, ups_wait = MOST * SIDE, 2 * MOST * SIDE, (2 * MOST + 1) * SIDE
    few = used <= FEW
    room = (16 if few else MOST) * SIDE
    for begin, end in ((0, room), (ups, ups + room), (wait, planes.size)):
        for i in range(begin, end):
            planes[np.uint64(i)] = ZERO
    start = 0
    while start < n:
        size = min(SIDE, n - start)
        left, right = ALL, ALL
        if is_open:  # the words at the ends of a row have no neighbour on one side
            if start == 0:
                left, size = ZERO, width
            elif start < n - width:
                size = min(size, n - width - start)
            if start == n - width:
                right = ZERO
        # Words of other sites share counters; those of one site in all lattices lie beside each other.
        at = start % SIDE if start % SIDE + size <= SIDE else 0
        y = 1
        while y <= height:
            above = ZERO if is_open and y == 1 else ALL
            x = y * row + width + start
            if y + 3 <= height:
                below = ZERO if is_open and y + 3 == height else ALL
                add_four(own, other, row, x, width, size, above, below, left, right, turn, planes, at)
                if tall > 8:
                    pass_on(planes, 0, wait, 8, tall, at, size)
                    pass_on(planes, ups, ups_wait, 7, tall - 1, at, size)
                y += 4
            else:
                below = ZERO if is_open and y == height else ALL
                odd = (y - 1) & 1
                aside, to = (right, width) if odd else (left, -width)
                add_one(own, other, row, x, to, size, above, below, aside, turn, planes, at)
                pass_on(planes, 0, wait, 2, tall, at, size)
                pass_on(planes, ups, ups_wait, 1, tall - 1, at, size)
                y += 1
        start += size
    for begin, most, counts in ((0, used, unlike), (ups, used - 1, up)):
        add_sites(planes, begin, min(n, SIDE), width, few)
        read_planes(planes, begin, SIDE, width, most, counts)


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
