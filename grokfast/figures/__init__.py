"""Figures of the paper, drawn from a store of runs."""

from grokfast.figures import (
    demo,
    fig02b,
    fig04,
    fig05a,
    fig05c,
    fig10,
    fig14,
    fig15,
    fig16,
    fig17,
    fig18,
    fig19,
    fig21,
    fig22,
    fig23,
    fig24,
    fig25,
    fig26,
    fig27,
)
from grokfast.figures.registry import FigureSpec, draw
from grokfast.figures.style import save

_MODULES = (
    *(demo, fig02b, fig04, fig05a, fig05c, fig10),
    *(fig14, fig15, fig16, fig17, fig18, fig19),
    *(fig21, fig22, fig23, fig24, fig25, fig26, fig27),
)

FIGURES: dict[str, FigureSpec] = {module.SPEC.name: module.SPEC for module in _MODULES}

__all__ = ["FIGURES", "FigureSpec", "draw", "save"]
