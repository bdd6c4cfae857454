"""Figures without a window that a notebook shows as they are; imported only where one is drawn."""

from __future__ import annotations

import io

from matplotlib.figure import Figure

from grokfast._html import picture

_SCREEN = 100
"""Pixels an inch in a notebook; twice as many are drawn, for fine screens."""


class ShownFigure(Figure):
    """A figure that shows itself as the last expression of a cell, whether or not pyplot is used there."""

    def _repr_html_(self) -> str:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=2 * _SCREEN, bbox_inches="tight")
        return picture(file.getvalue(), round(self.get_figwidth() * _SCREEN), "figure")
