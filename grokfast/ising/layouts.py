"""Which layout and engine a problem gets."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from grokfast._checks import parse_choice
from grokfast.errors import InputError
from grokfast.ising.engine import Engine, Problem, words_abreast
from grokfast.ising.kinds import Boundary, Layout


def choose_layout(problem: Problem, *, as_first: bool = False) -> Layout:
    """The fastest layout that can take the problem, by a rough count of nanoseconds per site and sweep.

    Args:
        problem: What to sample.
        as_first: Choose as the first version did, which :attr:`Seeding.SEED` keeps: a run's bits depend on it.
    """
    plainly = problem.boundary is Boundary.PERIODIC and problem.field == 0.0 and problem.J > 0.0
    if not problem.fits_words or (as_first and not plainly):
        return Layout.SCALAR
    overhead = 14.0 / (problem.columns // 2)
    W = words_abreast(problem.count, problem.columns)
    blocks = math.ceil(problem.count / (64 * W))
    cost = {
        Layout.REPLICA: blocks * W * 64 * (1.0 + overhead / W) / 17.0,
        Layout.SCALAR: problem.count * 4.0,
    }
    if problem.fits_sites and not (as_first and problem.rows % 128):
        lanes = min(64, problem.rows // 2)
        filled = problem.rows / (64 * 2 * math.ceil(problem.rows // 2 / lanes))
        cost[Layout.SITE] = problem.count * (1.0 + overhead) / 17.0 / filled
    return min(cost, key=cost.__getitem__)


def peak_bytes(problem: Problem, layout: Layout, given: npt.NDArray[Any] | None = None) -> int:
    """The most memory that making a sampler takes, and reading its spins afterwards.

    The start is int8, beside the lattices and the buffer of its random bits; spins that the caller gives are compared
    in copies before. With J < 0 the word layouts turn half of a block's spins over in a copy.

    Args:
        problem: What to sample.
        layout: How the spins are held.
        given: The spins that the caller gave, if any.
    """
    spins = problem.count * problem.sites
    start = spins + spins // 8 if given is None else max(spins, given.nbytes + given.size)
    if layout is Layout.SCALAR:
        return start + spins + 600 * problem.count
    from grokfast.ising.word_shapes import block_shape, word_bytes

    blocks, height, n, _ = block_shape(problem, layout)
    turned = spins // blocks if problem.J < 0.0 else 0
    tables = (30 * 5 if problem.field != 0.0 or problem.boundary is Boundary.OPEN else 10) * 256 * blocks
    states = 2 * 640 * blocks * (height * n // 2048 + 1)
    return start + word_bytes(problem, layout) + turned + tables + states


def make_engine(problem: Problem, layout: str | Layout | None) -> Engine:
    """The engine of the layout, or of the fastest; only now are the kernels imported."""
    chosen = choose_layout(problem) if layout is None else parse_choice("layout", layout, Layout)
    fits = {Layout.REPLICA: problem.fits_words, Layout.SITE: problem.fits_sites, Layout.SCALAR: True}
    if not fits[chosen]:
        raise InputError(
            f"layout '{chosen}' needs metropolis or glauber dynamics in checkerboard order and an even Lx, "
            f"{'an even Ly >= 4' if chosen is Layout.SITE else 'an even Ly where periodic'}; "
            "use layout 'scalar' or None"
        )
    if chosen is Layout.SCALAR:
        from grokfast.ising.scalar_engine import ScalarEngine

        return ScalarEngine(problem)
    from grokfast.ising.word_engine import WordEngine

    return WordEngine(problem, chosen)
