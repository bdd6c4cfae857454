"""Figures of the paper, drawn from a store of runs."""

from grokfast.figures import (
    demo,
    demo_ising,
    fig01,
    fig02a,
    fig02b,
    fig03,
    fig04,
    fig05a,
    fig05b,
    fig05c,
    fig05d,
    fig06,
    fig07,
    fig08,
    fig09,
    fig10,
    fig11,
    fig12,
    fig13,
    fig14,
    fig15,
    fig16,
    fig17,
    fig18,
    fig19,
    fig20,
    fig21,
    fig22,
    fig23,
    fig24,
    fig25,
    fig26,
    fig27,
    fig28,
    fig29,
    fig30,
    fig31,
    fig32,
    fig33,
    fig34,
)
from grokfast.figures.registry import FigureSpec, draw
from grokfast.figures.style import save

_MODULES = (
    *(demo, demo_ising),
    *(fig01, fig02a, fig02b, fig03, fig04, fig05a, fig05b, fig05c, fig05d, fig06, fig07, fig08, fig09, fig10),
    *(fig11, fig12, fig13, fig14, fig15, fig16, fig17, fig18, fig19),
    *(fig20, fig21, fig22, fig23, fig24, fig25, fig26, fig27, fig28, fig29),
    *(fig30, fig31, fig32, fig33, fig34),
)

FIGURES: dict[str, FigureSpec] = {module.SPEC.name: module.SPEC for module in _MODULES}

__all__ = ["FIGURES", "FigureSpec", "draw", "save"]
