"""Figure 27: magnitude pruning one layer at a time, modular addition."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from grokfast.figures.registry import MAIN_TEXT, FigureSpec
from grokfast.figures.schemes import magnitude_layers
from grokfast.runs import Run, RunTable


def _draw(runs: Sequence[Run], table: RunTable) -> Figure:
    return magnitude_layers(runs)


SPEC = FigureSpec(
    name="fig27",
    title="magnitude pruning of modular addition one layer at a time, smallest and largest w0",
    condition=MAIN_TEXT,
    command="grokfast sweep fig27 --size laptop",
    draw=_draw,
)
