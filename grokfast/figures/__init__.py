"""Figures of the paper, drawn from a store of runs."""

from grokfast.figures import (
    demo,
    fig02b,
    fig04,
    fig05a,
    fig05c,
    fig08,
    fig10,
    fig20,
    fig31,
    fig32,
    fig33,
    fig34,
)
from grokfast.figures.registry import FigureSpec, draw
from grokfast.figures.style import save

FIGURES: dict[str, FigureSpec] = {
    module.SPEC.name: module.SPEC
    for module in (demo, fig02b, fig04, fig05a, fig05c, fig08, fig10, fig20, fig31, fig32, fig33, fig34)
}

__all__ = ["FIGURES", "FigureSpec", "draw", "save"]
