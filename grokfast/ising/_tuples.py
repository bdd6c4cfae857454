"""What the compiled kernels take together: tuples that Numba takes apart, so that they cost nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from grokfast.ising._rng import WordArray

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
CountArray = npt.NDArray[np.int32]


class Block(NamedTuple):
    """Packed lattices, see :mod:`grokfast.ising._words`.

    Attributes:
        words: uint64 ``[2, H + 2, n + 2 W]``, updated.
        width: W.
        lanes: B in the site layout, 0 in the replica layout.
        tall: The bits that have H rows in the site layout; all bits if every bit has. With bits of unlike heights only
            one worker may sweep.
        is_open: Whether the edges see nothing.
    """

    words: WordArray
    width: int
    lanes: int
    tall: np.uint64
    is_open: bool


class Strips(NamedTuple):
    """The strips of rows of a block, each with random numbers of its own.

    Attributes:
        states: uint64 ``[strips, PADDED_STATE]``, updated.
        rows: Rows of a strip.
        glauber: Whether to draw Glauber's instead of Metropolis' probabilities; masks are then those to be up.
    """

    states: WordArray
    rows: int
    glauber: bool


class Chances(NamedTuple):
    """Probabilities as the ladder draws them, and as it corrects them.

    Attributes:
        bits: uint64 ``[..., masks, STEPS + 1, LANES]``, the bits of the probabilities, lowest first, then the last
            reflection.
        redraw: float64 ``[..., masks, 64 W]``.
        log_stay: ln(1 - 2^-K).
    """

    bits: WordArray
    redraw: FloatArray
    log_stay: float


class Three(NamedTuple):
    """Masks of sites inside, without a field, see :func:`grokfast.ising._masks.draw_masks`.

    Attributes:
        one: uint64 ``[words]``.
        four: uint64 ``[words]``.
        half: uint64 ``[words]``.
    """

    one: WordArray
    four: WordArray
    half: WordArray


class Five(NamedTuple):
    """Masks for 0 … 4 neighbours up.

    Attributes:
        favour: uint64 ``[5]``, all ones where the local field is up.
        glauber: Whether masks are probabilities to be up.
        masks: uint64 ``[5 CHUNK]``, word i of mask n at ``n CHUNK + i``.
    """

    favour: WordArray
    glauber: bool
    masks: WordArray


class EdgeWords(NamedTuple):
    """Words with sites of one class.

    Attributes:
        places: int64 ``[E, 2]``, row and column of each word.
        bits: uint64 ``[E]``, which of its bits are of that class.
        before: uint64 ``[E]``, the words before this half sweep.
        first: Of the words to update.
        last: The one after them.
    """

    places: IntArray
    bits: WordArray
    before: WordArray
    first: int
    last: int


class Share(NamedTuple):
    """What one worker has to do.

    Attributes:
        sweeps: How many.
        worker: Which of the workers this is.
        workers: How many threads share the block.
        progress: int64 ``[strips, LINE]``, 0 at the start, shared by the workers: column 0 counts the half sweeps that
            a strip has finished. Unused with one worker.
        done: int64 ``[strips]``; ``sweeps`` is added for the worker's strips at the end, so that no interrupt can come
            between the two.
    """

    sweeps: int
    worker: int
    workers: int
    progress: IntArray
    done: IntArray


class Counted(NamedTuple):
    """Where counts go.

    Attributes:
        turn: All ones to count odd sites that are down in place of those that are up.
        first: Number of the block's first lattice.
        unlike: int32 ``[..., lattices]``, output: bonds between unlike spins.
        up: int32 ``[..., lattices]``, output: up spins.
    """

    turn: np.uint64
    first: int
    unlike: CountArray
    up: CountArray


class Colors(NamedTuple):
    """The words of a block by colour, to be counted.

    Attributes:
        own: uint64, all words of the even colour.
        other: uint64, those of the odd one.
        row: Words from one row to the next.
        turn: As for :class:`Counted`.
    """

    own: WordArray
    other: WordArray
    row: int
    turn: np.uint64


class Beside(NamedTuple):
    """Which neighbours there are: all ones, or 0 where they are missing.

    Attributes:
        above: Those above.
        below: Those below.
        aside: Those beside.
    """

    above: np.uint64
    below: np.uint64
    aside: np.uint64


class Planes(NamedTuple):
    """Counters of a row of words, bit by bit.

    Attributes:
        planes: uint64 ``[(2 used + 2) n]``, updated: planes of bonds and of up spins, and the carries that wait.
        n: Words in a row.
        used: Planes of either.
    """

    planes: WordArray
    n: int
    used: int
