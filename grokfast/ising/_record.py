"""Sweeping and counting in one go, while a block of words is in the cache."""

from __future__ import annotations

from grokfast.ising._count import count_block
from grokfast.ising._edges import Edges
from grokfast.ising._general import sweep_general
from grokfast.ising._rng import WordArray
from grokfast.ising._tuples import Block, Chances, Counted, Share, Strips
from grokfast.ising._words import sweep_words
from grokfast.ising.jit import kernel


@kernel
def record_words(of: Block, strips: Strips, chances: Chances, share: Share, into: Counted) -> None:
    """Sweeps of :func:`grokfast.ising._words.sweep_words` and a count of a block, for each row of the counts."""
    for i in range(into.unlike.shape[0]):
        sweep_words(of, strips, chances, share)
        count_block(of, Counted(into.turn, into.first, into.unlike[i], into.up[i]))


@kernel
def record_general(
    of: Block, strips: Strips, plain: Chances, classes: Chances, favour: WordArray, edges: Edges, share: Share,
    into: Counted,
) -> None:  # fmt: skip
    """:func:`record_words` with :func:`grokfast.ising._general.sweep_general`."""
    for i in range(into.unlike.shape[0]):
        sweep_general(of, strips, plain, classes, favour, edges, share)
        count_block(of, Counted(into.turn, into.first, into.unlike[i], into.up[i]))
