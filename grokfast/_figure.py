"""Figures without a window that a notebook shows as they are; imported only where one is drawn."""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from grokfast._html import picture

_SCREEN = 100
"""Pixels an inch in a notebook; twice as many are drawn, for fine screens."""


class ShownFigure(Figure):
    """A figure that shows itself as the last expression of a cell, whether or not pyplot is used there.

    It is written with the rc settings that it was made under, whatever a user's own say by then.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._settings = {name: value for name, value in mpl.rcParams.copy().items() if not name.startswith("backend")}

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """As of any figure."""
        with mpl.rc_context(self._settings):
            super().savefig(*arguments, **options)

    def _repr_html_(self) -> str:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=2 * _SCREEN)
        return picture(file.getvalue(), round(self.get_figwidth() * _SCREEN), "figure")
