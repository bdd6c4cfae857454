"""Which layout and engine a problem gets."""

from __future__ import annotations

import math

from grokfast._checks import parse_choice
from grokfast.errors import InputError
from grokfast.ising._memory import check_memory
from grokfast.ising.engine import Engine, Problem, words_abreast
from grokfast.ising.kinds import Layout


def choose_layout(problem: Problem) -> Layout:
    """The fastest layout that can take the problem, by a rough count of nanoseconds per site and sweep."""
    if not problem.fits_words:
        return Layout.SCALAR
    overhead = 14.0 / (problem.columns // 2)
    W = words_abreast(problem.count, problem.columns)
    blocks = math.ceil(problem.count / (64 * W))
    cost = {
        Layout.REPLICA: blocks * W * 64 * (1.0 + overhead / W) / 17.0,
        Layout.SCALAR: problem.count * 4.0,
    }
    if problem.fits_sites:
        cost[Layout.SITE] = problem.count * (1.0 + overhead) / 17.0
    return min(cost, key=cost.__getitem__)


def make_engine(problem: Problem, layout: str | Layout | None) -> Engine:
    """The engine of the layout, or of the fastest; only now are the kernels imported."""
    chosen = choose_layout(problem) if layout is None else parse_choice("layout", layout, Layout)
    fits = {Layout.REPLICA: problem.fits_words, Layout.SITE: problem.fits_sites, Layout.SCALAR: True}
    if not fits[chosen]:
        raise InputError(
            f"layout '{chosen}' needs metropolis or glauber dynamics, periodic even sides"
            f"{' with Ly divisible by 128' if chosen is Layout.SITE else ''}, J > 0 and no field; "
            "use layout 'scalar' or None"
        )
    if chosen is Layout.SCALAR:
        from grokfast.ising.scalar_engine import ScalarEngine

        return ScalarEngine(problem)
    from grokfast.ising.word_engine import WordEngine, word_bytes

    check_memory("the packed lattices", word_bytes(problem, chosen))
    return WordEngine(problem, chosen)
