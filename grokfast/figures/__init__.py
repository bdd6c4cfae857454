"""Figures of the paper, drawn from a store of runs."""

from grokfast.figures import demo, fig02b, fig04, fig05a, fig05c, fig10
from grokfast.figures.registry import FigureSpec, draw
from grokfast.figures.style import save

FIGURES: dict[str, FigureSpec] = {
    module.SPEC.name: module.SPEC for module in (demo, fig02b, fig04, fig05a, fig05c, fig10)
}

__all__ = ["FIGURES", "FigureSpec", "draw", "save"]
